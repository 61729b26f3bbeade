"""CSV lists of files: one row for each item, with a column for its path."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from aepipe.errors import SourceError
from aepipe.sources.files import Files, Found, Refused, WholeFile
from aepipe.sources.item import Item, Reader
from aepipe.sources.passed_over import PassedOver

if TYPE_CHECKING:
    import pyarrow as pa

    from aepipe.sources.item import Columns, Container


def claims(name: str) -> bool:
    """Whether a file has the name of a list."""
    return name.lower().endswith(".csv")


def open_container(files: Files, columns: Columns) -> Container:
    """Return the lists.

    Raises:
        SourceError: the first has no header, or lacks a column.
    """
    return Lists(files, columns)


def files_or_lists(files: Files, endings: tuple[str, ...], columns: Columns, called: str) -> Container:
    """Return the files with these endings or first bytes; where there are none, those in lists.

    Args:
        files: where they are.
        endings: of the names of items.
        columns: of lists.
        called: what one item is called, with its article.
    """
    from aepipe.sources.formats.folder import Folder

    named = [found.place for found in files]
    # Files first: a list in a folder of them is about them.
    if not any(name.lower().endswith(endings) for name in named) and any(map(claims, named)):
        return Lists(files, columns)
    return Folder(files, endings, columns.sniff, called=called)


def read_at(path: Path, at: str, key: str) -> bytes:
    """Refuse: an item of a list is a file, so its place is never in the list."""
    raise SourceError(f"{path}: a list holds no images itself")


def listed(root: Path, folder: str, text: object) -> tuple[str, Reader]:
    """Return the place and the reader of a file that a list names.

    Args:
        root: the folder that places are relative to.
        folder: the list's folder, relative to the root.
        text: the path, relative to the list's folder, or absolute.

    Returns:
        The place and the reader, which refuses where the path is missing or leads out of the list's folder.
    """
    if not isinstance(text, str) or not text.strip():
        return "", Refused("no path")
    # Normalised first: ``x/../../c.png`` climbs, too.
    path = os.path.normpath(text.strip())
    if os.path.isabs(path):
        return path, WholeFile(path)
    place = str(PurePosixPath(folder, path))
    if path.split(os.sep)[0] == "..":
        return place, Refused("path leaves the folder of the list")
    return place, WholeFile(str(root / place))


class Lists:
    """CSV files in UTF-8 with a header; all values are text, and an empty cell is no value."""

    def __init__(self, files: Files, columns: Columns) -> None:
        self._files = files
        self._columns = columns
        self.passed_over = PassedOver()
        self.gives: frozenset[str] = frozenset()
        first = files.first(claims)
        if first is None:
            raise SourceError(f"{files.given}: no .csv in it")
        self._names = _header(Path(first.path), columns)

    def schema(self) -> pa.Schema:
        """Return the columns of the first list except the path, as text."""
        import pyarrow as pa

        return pa.schema([(name, pa.string()) for name in self._names if name != self._columns.image])

    def total(self) -> None:
        """Return None: the number is not known before the lists are read."""
        return

    def items(self) -> Iterator[Item]:
        """Yield the rows in order."""
        for found in self._files.claimed(claims, self.passed_over, "not a list"):
            _header(Path(found.path), self._columns)
            yield from self._rows(found)

    def _rows(self, found: Found) -> Iterator[Item]:
        """Yield the rows of one list."""
        folder = str(PurePosixPath(found.place).parent)
        try:
            with open(found.path, encoding="utf-8-sig", newline="") as stream:
                # Without strict, an open quotation mark would swallow the rest of the list.
                for number, row in enumerate(csv.DictReader(stream, strict=True)):
                    yield self._item(row, folder, f"{found.place}#{number}")
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise SourceError(f"{found.path}: not a readable CSV file in UTF-8: {error}") from None

    def _item(self, row: dict[str, str | None], folder: str, at: str) -> Item:
        """Return one row as an item; ``at`` names it where it has no path."""
        place, reader = listed(self._files.root, folder, row.get(self._columns.image))
        own = {name: row.get(name) or None for name in self._names if name != self._columns.image}
        key = (row.get(self._columns.key) or "") if self._columns.key else place
        return Item(key or at, place or at, reader, columns=own)


def _header(path: Path, columns: Columns) -> list[str]:
    """Return the names of a list's columns."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            names = next(csv.reader(stream), [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"{path}: not a readable CSV file in UTF-8: {error}") from None
    check_columns(path, names, columns)
    return names


def check_columns(path: Path, names: list[str], columns: Columns) -> None:
    """Check that a table has the columns that options name.

    Raises:
        SourceError: it lacks one, or two have the same name.
    """
    check_names(path, names)
    for option, name in (("image", columns.image), ("key", columns.key)):
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
