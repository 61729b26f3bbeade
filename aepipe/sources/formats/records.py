"""Records: rows of CSV, JSON, workbooks and Parquet; each is an item, or has one in a column.

The content of an item is made of values as text, as they stand in the file; its columns have types, which all rows of
all files share. Those of Parquet are its own; those of the others are told by all values: see
:mod:`aepipe.sources.formats.values`. A row that is damaged or too long is one bad item, and the others are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

import pyarrow as pa

from aepipe.errors import ExtraError, ItemError, SourceError
from aepipe.sources.files import Files, Found, InMemory, Refused
from aepipe.sources.formats import json_files, text_tables
from aepipe.sources.formats.parquet import reading, rows_of
from aepipe.sources.formats.path_lists import check_names
from aepipe.sources.formats.text_shards import TextShards, is_text
from aepipe.sources.formats.text_tables import Line, open_table
from aepipe.sources.item import Given, Item, Reader
from aepipe.sources.passed_over import PassedOver

_ROWS = 256  # of Parquet, read at a time
_PARQUET = (".parquet", ".pq")

Record: TypeAlias = text_tables.Record
Content = Callable[[Record], bytes]
"""Returns the bytes of the item in a record; raises ValueError with the reason where there is none."""


def claims(name: str) -> bool:
    """Whether a file has the name of a file of records."""
    return is_typed(name) or text_tables.kind_of(name) is not None


def holds(found: Found) -> bool:
    """Whether a file is one of records: by its name, and by its content where the name tells little."""
    return is_typed(found.place) or is_text(found)


def any_in(files: Files) -> bool:
    """Whether there are tables among some files; a folder of documents is not opened file by file to tell."""
    named = (found for found in files if files.single or not found.place.lower().endswith(".txt"))
    return any(map(holds, named))


def name_by_content(name: str, head: bytes) -> str:
    """Return a name for :func:`read`, by the first bytes of a file; empty for other files.

    CSV has no mark of its own, so there the name has to say it, or the cells have to be numbers.
    """
    if head.startswith(b"PAR1"):
        return "x.parquet"
    if text_tables.kind_of(name):
        return name
    return "x.jsonl" if json_files.is_line(head) else name_of_content(name, head)


def name_of_content(name: str, head: bytes) -> str:
    """Return the name itself where the first bytes of a file tell that it is a table in text; else nothing."""
    return name if text_tables.kind_of(name, head) else ""


def read(path: Path, name: str, given: Given | None = None) -> Iterator[Line]:
    """Yield the records of a file; the values of tables in text are text.

    Args:
        path: of the file.
        name: whose ending tells the format.
        given: what the recipe says.

    Raises:
        SourceError: the file cannot be read to its end.
    """
    if is_typed(name):
        yield from _parquet(path)
    else:
        yield from open_table(path, name, given).lines()


def is_typed(name: str) -> bool:
    """Whether the columns of a file have types of their own, as those of Parquet do."""
    return name.lower().endswith(_PARQUET)


def is_headless(path: Path, name: str) -> bool:
    """Whether the first line of a table in text seems to be a row."""
    try:
        return not is_typed(name) and open_table(path, name).first is not None
    except (SourceError, ExtraError):  # whoever reads it says so
        return False


def columns(path: Path, name: str, given: Given | None = None) -> pa.Schema:
    """Return the columns of a file; those of tables in text as text.

    Raises:
        SourceError: it cannot be read, or two of its columns have the same name.
    """
    if not is_typed(name):
        return pa.schema([(one, pa.string()) for one in open_table(path, name, given).names()])
    with reading(path) as table:
        found = table.schema_arrow
    check_names(path, found.names)
    return found


def count(path: Path, name: str) -> int | None:
    """Return the number of rows of a Parquet file; None for other files."""
    return rows_of(path) if is_typed(name) else None


class Records:
    """The records of some files; the key is a column, or the place ``file#row``.

    Args:
        files: the files of records among them are read.
        content: returns the bytes of an item.
        used: columns that ``content`` reads: they have to be there, and are no columns of the items.
        key: the column with the id of each item.
        given: what the recipe says of tables in text.

    Raises:
        SourceError: a file is damaged, or none has the columns.
    """

    def __init__(
        self,
        files: Files,
        content: Content,
        *,
        used: Sequence[str] = (),
        key: str | None = None,
        given: Given | None = None,
    ) -> None:
        self._files = files
        self._content = content
        self._used = tuple(used)
        self._key = key
        self._given = given or Given()
        self.passed_over = PassedOver()
        self.gives: frozenset[str] = frozenset()
        wanted = (*used, *((key,) if key else ()))
        self._texts = TextShards(files, self._given)
        self._texts.look(wanted)
        self._typed = self._look(wanted)
        self._own = self._all()

    def schema(self) -> pa.Schema:
        """Return the columns except those that hold the items."""
        return self._own

    def keep_types(self, known: pa.Schema) -> None:
        """Let columns of tables in text have the types that other rows have, where their values fit."""
        self._texts.keep_types(known)
        self._own = self._all()

    @property
    def notes(self) -> list[str]:
        """What was guessed of the files, and values that the last iteration left out, in words."""
        return self._texts.notes()

    def total(self) -> int | None:
        """Return the number of rows, where all files are Parquet."""
        counts = [count(Path(found.path), found.place) for found in self._files if holds(found)]
        return None if None in counts else sum(one or 0 for one in counts)

    def items(self) -> Iterator[Item]:
        """Yield the records in order, their columns typed."""
        self._texts.begin()
        return self._items(typed=True)

    def untyped(self) -> Iterator[Item]:
        """Yield the same items, the columns of tables in text as they stand there."""
        return self._items(typed=False)

    def _items(self, *, typed: bool) -> Iterator[Item]:
        self.passed_over.clear()
        for found in self._files:
            lacks = self._texts.missing.get(found.place)
            if found.refusal or lacks is not None or not holds(found):
                why = found.refusal or (f"no column {lacks!r}" if lacks is not None else "not a table")
                self.passed_over.add(found.place, why)
                continue
            yield from self._rows(found, typed=typed)

    def _rows(self, found: Found, *, typed: bool) -> Iterator[Item]:
        """Yield the records of one file."""
        text = is_text(found)
        names = self._texts.table(found).names() if text else columns(Path(found.path), found.place).names
        # With a column, a place can be shown; a row that is made of several columns cannot.
        cell = f"@{names.index(self._used[0])}" if len(self._used) == 1 else ""
        own = self._own.names
        chosen = self._texts.typed(found, own) if typed and text else partial(_chosen, own)
        for line in self._texts.lines(found) if text else _parquet(Path(found.path)):
            yield self._item(line, f"{found.place}#{line.number}", cell, chosen(line.record))

    def _item(self, line: Line, at: str, cell: str, own: dict[str, object]) -> Item:
        """Return one record as an item."""
        key = line.record.get(self._key) if self._key else None
        return Item(at if key in (None, "") else str(key), at + cell, self._reader(line), columns=own)

    def _all(self) -> pa.Schema:
        """Return the columns of all files except those that hold the items."""
        texts = [field for field in self._texts.schema() if field.name not in self._typed.names]
        return pa.schema([field for field in (*self._typed, *texts) if field.name not in self._used])

    def _look(self, wanted: Sequence[str]) -> pa.Schema:
        """Return the columns of Parquet files, after a look at whether there are tables."""
        first = next((found for found in self._files if is_typed(found.place) and not found.refusal), None)
        if first is None and not self._texts.found:
            raise SourceError(f"{self._files.given}: no .csv, .tsv, .jsonl, .xlsx or .parquet in it")
        typed = columns(Path(first.path), first.place) if first else pa.schema([])
        lacks = next((name for name in wanted if first and name not in typed.names), None)
        if first and lacks is not None:
            raise SourceError(f"{first.path}: no column {lacks!r}; it has: {', '.join(typed.names) or 'none'}")
        return typed

    def _reader(self, line: Line) -> Reader:
        return Refused(line.trouble) if line.trouble else _Made(self._content, line.record)


def _chosen(names: Sequence[str], record: Record) -> dict[str, object]:
    return {name: record.get(name) for name in names}


def read_at(path: Path, at: str, key: str) -> bytes:
    """Return the cell ``row@column``, both by number, as text.

    Raises:
        ItemError: there is no such row, or it is damaged.
    """
    number, _, column = at.partition("@")
    names: dict[str, None] = {}
    for line in read(path, path.name):
        names |= dict.fromkeys(line.record)
        if line.number == int(number):
            if line.trouble:
                raise ItemError(key, line.trouble)
            name = next((name for place, name in enumerate(names) if place == int(column)), None)
            return str((line.record.get(name) if name else None) or "").encode("utf-8", "replace")
    raise ItemError(key, f"{path} has no row {number}")


@dataclass(frozen=True, slots=True)
class _Made:
    """Makes the bytes of a record."""

    content: Content
    record: Record

    def __call__(self, key: str) -> bytes:
        """Return the bytes."""
        try:
            return InMemory(self.content(self.record))(key)
        except ValueError as error:
            raise ItemError(key, str(error)) from None


def _parquet(path: Path) -> Iterator[Line]:
    with reading(path) as table:
        rows = (row for batch in table.iter_batches(_ROWS) for row in batch.to_pylist())
        for number, row in enumerate(rows):
            yield Line(number, row)
