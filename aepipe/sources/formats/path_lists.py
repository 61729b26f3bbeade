"""CSV lists of files: one row for each item, with a column for its path."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from aepipe.errors import ItemError, SourceError
from aepipe.sources.confinement import Bounds, path_in
from aepipe.sources.files import Files, Found, Refused, WholeFile, existing
from aepipe.sources.item import Item, Reader
from aepipe.sources.passed_over import PassedOver
from aepipe.sources.walk import place_of

if TYPE_CHECKING:
    import pyarrow as pa

    from aepipe.sources.item import Columns, Container


def claims(name: str) -> bool:
    """Whether a file has the name of a list."""
    return name.lower().endswith((".csv", ".csv.gz", ".tsv", ".tsv.gz"))


def open_container(files: Files, columns: Columns) -> Container:
    """Return the lists.

    Raises:
        SourceError: the first has no header, or lacks a column.
    """
    return Lists(files, columns)


def read_at(path: Path, at: str, key: str) -> bytes:
    """Refuse: an item of a list is a file, so its place is never in the list."""
    raise SourceError(f"{path}: a list holds no items itself")


@dataclass(frozen=True, slots=True)
class Named:
    """A file that a cell names.

    Attributes:
        key: the path as the cell has it, relative to the source where it is relative; empty where there is none.
        place: relative to the source where the file lies in its folder; else the whole path.
        reader: of the file; refuses where it is missing, or outside of the source.
    """

    key: str
    place: str
    reader: Reader


def listed(bounds: Bounds, files: Files, found: Found, text: object) -> Named:
    """Return the file that a cell of a list or a table names.

    Args:
        bounds: of the source.
        files: of the source.
        found: the list or the table.
        text: the path, relative to the folder of the list, or absolute.
    """
    path, why = path_in(text)
    if path is None:
        return Named("", "", Refused(why))
    root, folder = str(files.root), os.path.dirname(found.path)
    full = os.path.normpath(os.path.join(folder, path))
    relative = not os.path.isabs(path)
    near = full[len(root) + 1 :] if full.startswith(f"{root}/") else os.path.relpath(full, root)
    key = place_of(near) if relative else path
    place = key if relative and not key.startswith("../") else full
    if not str(full).isascii():
        full = str(existing(Path(full)))
    if bounds.holds(full):
        return Named(key, place, Listed(full, folder if relative else ""))
    way = "a link on its path leads" if bounds.leads_out(full) else "its path leads"
    return Named(key, place, Refused(f"{way} out of the source; {bounds.remedy(full, files.base)}"))


class Lists:
    """CSV files with a column of paths; the types of other columns are told by all values."""

    def __init__(self, files: Files, columns: Columns) -> None:
        from aepipe.sources.formats.text_shards import TextShards

        self._files = files
        self._columns = columns
        self._bounds = files.bounds
        self.passed_over = PassedOver()
        self.gives: frozenset[str] = frozenset()
        first = files.first(claims)
        if first is None:
            raise SourceError(f"{files.given}: no .csv in it")
        self._lists = TextShards(files, columns.given, _is_list)
        for found in self._lists.found[:1]:
            check_columns(Path(found.path), self._lists.table(found).names(), columns)
        self._lists.look((columns.image, *((columns.key,) if columns.key else ())))

    def schema(self) -> pa.Schema:
        """Return the columns of all lists except the path."""
        import pyarrow as pa

        return pa.schema([field for field in self._lists.schema() if field.name != self._columns.image])

    def keep_types(self, known: pa.Schema) -> None:
        """Let columns have the types that other rows have, where their values fit."""
        self._lists.keep_types(known)

    @property
    def notes(self) -> list[str]:
        """What was guessed of the lists, in words."""
        return self._lists.notes()

    def total(self) -> None:
        """Return None: the number is not known before the lists are read."""
        return

    def items(self) -> Iterator[Item]:
        """Yield the rows in order."""
        self._lists.begin()
        names = [field.name for field in self.schema()]
        for found in self._files.picked(self._why_not, self.passed_over):
            typed = self._lists.typed(found, names)
            for line in self._lists.lines(found):
                at = f"{found.place}#{line.number}"
                if line.trouble:
                    yield Item(at, at, Refused(line.trouble), columns=dict.fromkeys(names))
                else:
                    yield self._item(line.record, found, at, typed(line.record))

    def _why_not(self, found: Found) -> str | None:
        """Return why a file is no list; None where it is one."""
        lacks = self._lists.missing.get(found.place)
        return f"no column {lacks!r}" if lacks is not None else None if claims(found.place) else "not a list"

    def _item(self, row: Mapping[str, str | None], found: Found, at: str, own: dict[str, object]) -> Item:
        """Return one row as an item; ``at`` names it where it has no path."""
        named = listed(self._bounds, self._files, found, row.get(self._columns.image))
        key = (row.get(self._columns.key) or "") if self._columns.key else named.key
        return Item(key or at, named.place or at, named.reader, columns=own)


@dataclass(frozen=True, slots=True)
class Listed(WholeFile):
    """Reads a file that a list names.

    Attributes:
        folder: that its path is relative to; empty for an absolute one.
    """

    folder: str = ""

    def __call__(self, key: str) -> bytes:
        """Return the bytes."""
        try:
            return WholeFile(self.path)(key)
        except FileNotFoundError:
            where = f"; paths are relative to {self.folder}" if self.folder else ""
            raise ItemError(key, f"no such file{where}") from None


def _is_list(found: Found) -> bool:
    return found.refusal is None and claims(found.place)


def check_columns(path: Path, names: Sequence[str], columns: Columns) -> None:
    """Check that a table has the columns that options name.

    Raises:
        SourceError: it lacks one, or two have the same name.
    """
    check_names(path, names)
    for option, name in ((columns.option, columns.image), ("key", columns.key)):
        if name is not None and name not in names:
            raise SourceError(
                f'{path}: no column {name!r}; it has: {", ".join(names) or "none"}. Say {option} = "..." under [source]'
            )


def check_names(path: Path, names: Sequence[str]) -> None:
    """Check that each column has a name of its own.

    Raises:
        SourceError: two have the same name.
    """
    for name, count in Counter(names).items():
        if count > 1:
            raise SourceError(f"{path}: {count} columns have the name {name!r}; each needs one of its own")
