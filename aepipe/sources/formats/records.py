"""Records: rows of CSV, JSON, workbooks and Parquet; each is an item, or has one in a column.

The content of an item is made of values as text, as they stand in the file; its columns have types, which all rows of
all files share. Those of Parquet are its own; those of the others are told by all values: see
:mod:`aepipe.sources.formats.values`. A row that is damaged or too long is one bad item, and the others are read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from aepipe.errors import ItemError, SourceError
from aepipe.sources import encoding
from aepipe.sources.files import Files, Found, InMemory, Refused
from aepipe.sources.formats import json_files, text_tables, values
from aepipe.sources.formats.parquet import reading, rows_of
from aepipe.sources.formats.path_lists import check_names
from aepipe.sources.formats.text_tables import Line, Record, TextTable, open_table, refuse_row
from aepipe.sources.item import Given, Item, Reader
from aepipe.sources.passed_over import PassedOver

_ROWS = 256  # of Parquet, read at a time
_PARQUET = (".parquet", ".pq")
_HEAD = 1 << 13

Content = Callable[[Record], bytes]
"""Returns the bytes of the item in a record; raises ValueError with the reason where there is none."""
Convert = Callable[[str], Any] | None


def claims(name: str) -> bool:
    """Whether a file has the name of a file of records."""
    return is_typed(name) or text_tables.kind_of(name) is not None


def holds(found: Found) -> bool:
    """Whether a file is one of records: by its name, and by its content where the name tells little."""
    if claims(found.place) or found.refusal:
        return claims(found.place)
    return name_of_content(found.place, _head(found)) != ""


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
    return not is_typed(name) and open_table(path, name).first is not None


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
        self._strays = _Strays()
        self.passed_over = PassedOver()
        self.gives: frozenset[str] = frozenset()
        self._types = Types(self._given)
        first, wanted = self._first(), (*used, *((key,) if key else ()))
        self._without = {found.place: name for found in self._tables() if (name := self._look(found, wanted))}
        self._schema = self._types.schema()
        if first.place in self._without and len(self._without) == len(list(self._tables())):
            known = ", ".join(columns(Path(first.path), first.place, self._given).names)
            raise SourceError(f"{first.path}: no column {self._without[first.place]!r}; it has: {known or 'none'}")
        self._own = [name for name in self._schema.names if name not in used]

    def schema(self) -> pa.Schema:
        """Return the columns except those that hold the items."""
        return pa.schema([field for field in self._schema if field.name not in self._used])

    @property
    def notes(self) -> list[str]:
        """What was guessed of the files, and values that the last iteration left out, in words."""
        return [*self._types.notes(), *self._strays.notes()]

    def total(self) -> int | None:
        """Return the number of rows, where all files are Parquet."""
        counts = [count(Path(found.path), found.place) for found in self._tables()]
        return None if None in counts else sum(one or 0 for one in counts)

    def items(self) -> Iterator[Item]:
        """Yield the records in order, their columns typed."""
        self._strays.clear()
        yield from self._items(typed=True)

    def untyped(self) -> Iterator[Item]:
        """Yield the same items, the columns of tables in text as they stand there."""
        yield from self._items(typed=False)

    def _items(self, *, typed: bool) -> Iterator[Item]:
        self.passed_over.clear()
        for found in self._files:
            missing = self._without.get(found.place)
            if missing is not None or not holds(found) or found.refusal:
                why = f"no column {missing!r}" if missing else found.refusal or "not a table"
                self.passed_over.add(found.place, why)
                continue
            yield from self._rows(found, typed=typed)

    def _rows(self, found: Found, *, typed: bool) -> Iterator[Item]:
        """Yield the records of one file."""
        path, place = Path(found.path), found.place
        names = self._own
        texts = not is_typed(place)
        converters = self._types.converters(place, names) if typed and texts else [(name, None) for name in names]
        column = self._column(path, place)
        for line in read(path, place, self._given):
            at, record = f"{place}#{line.number}", line.record
            own = {
                name: value if convert is None or value is None else self._strays.converted(name, value, convert)
                for name, convert in converters
                for value in (record.get(name),)
            }
            key = record.get(self._key) if self._key else None
            yield Item(at if key in (None, "") else str(key), f"{at}{column}", self._reader(line), columns=own)

    def _first(self) -> Found:
        """Return the first file of records."""
        first = next(self._tables(), None)
        if first is None:
            raise SourceError(f"{self._files.given}: no .csv, .tsv, .jsonl, .xlsx or .parquet in it")
        return first

    def _tables(self) -> Iterator[Found]:
        return (found for found in self._files if holds(found) and not found.refusal)

    def _look(self, found: Found, wanted: Sequence[str]) -> str | None:
        """Learn the columns of a file; return the first column that it lacks."""
        path = Path(found.path)
        if is_typed(found.place):
            schema = columns(path, found.place)
            self._types.add_typed(schema)
            return next((name for name in wanted if name not in schema.names), None)
        table = open_table(path, found.place, self._given)
        refuse_row(path, table)
        names = table.names()
        missing = next((name for name in wanted if name not in names), None)
        if missing is None:
            self._types.add(found.place, table)
        return missing

    def _column(self, path: Path, name: str) -> str:
        """Return the number of the column that holds the items, as a part of places."""
        # With a column, a place can be shown; a row that is made of several columns cannot.
        if len(self._used) != 1:
            return ""
        return f"@{columns(path, name, self._given).names.index(self._used[0])}"

    def _reader(self, line: Line) -> Reader:
        return Refused(line.trouble) if line.trouble else _Made(self._content, line.record)


class Types:
    """The types of the columns of all files together.

    Args:
        given: what the recipe says of them.
    """

    def __init__(self, given: Given) -> None:
        self._given = given
        self._said = dict(given.types)
        self._columns: dict[str, values.Column] = {}
        self._typed: dict[str, pa.DataType] = {}
        self._names: dict[str, None] = {}
        self._commas: dict[str, bool] = {}
        self._encodings: Counter[str] = Counter()
        self._noted: dict[str, None] = {}

    def add(self, place: str, table: TextTable) -> None:
        """Look at all values of a table in text."""
        seen = table.survey()
        self._commas[place] = seen.has_commas
        self._encodings[table.encoding] += 1
        self._noted |= dict.fromkeys(f"{place}: {note}" for note in table.notes)
        self._names |= dict.fromkeys(table.names())
        for name, column in seen.found.items():
            before = self._columns.get(name)
            self._columns[name] = before.merged(column) if before else column

    def add_typed(self, schema: pa.Schema) -> None:
        """Add the columns of a table that has types of its own."""
        self._names |= dict.fromkeys(schema.names)
        self._typed = {field.name: field.type for field in schema} | self._typed

    def schema(self) -> pa.Schema:
        """Return the columns of all files.

        Raises:
            SourceError: the recipe says the type of a column that is not there, or one that does not exist.
        """
        strange = next((name for name in self._said if name not in self._names), None)
        if strange is not None:
            known = ", ".join(self._names) or "none"
            raise SourceError(f"types: no column {strange!r}; there are: {known}")
        return pa.schema([(name, self._type(name)) for name in self._names])

    def converters(self, place: str, names: Sequence[str]) -> list[tuple[str, Convert]]:
        """Return what makes values of the texts of some columns of a file; None where they stay text."""
        comma = self._commas.get(place, False)
        return [
            (name, values.converter(self._type(name), comma=comma) if name in self._columns else None) for name in names
        ]

    def notes(self) -> list[str]:
        """Return what was guessed, in words."""
        doubts = (
            values.Column.doubt(column, name, self._type(name))
            for name, column in self._columns.items()
            if name not in self._said and name not in self._given.texts and name not in self._typed
        )
        return [*_first_of(self._noted), *encoding.notes_of(self._encodings), *filter(None, doubts)]

    def _type(self, name: str) -> pa.DataType:
        column = self._columns.get(name, values.Column())
        if name in self._typed:
            return self._typed[name]
        if name in self._given.texts:
            return pa.string()
        if name in self._said:
            return values.type_said(name, self._said[name], column)
        return column.type(comma=any(self._commas.values()))


class _Strays:
    """Values that are not of the type that a recipe says of their column; they count as missing."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._first: dict[str, str] = {}

    def clear(self) -> None:
        self._counts.clear()
        self._first.clear()

    def converted(self, name: str, text: str, convert: Callable[[str], Any]) -> object:
        """Return the value of a text; None where it has none of the type."""
        try:
            return convert(text)
        except ValueError:
            if text.strip().lower() not in values.MISSING:
                self._counts[name] += 1
                self._first.setdefault(name, text)
            return None

    def notes(self) -> list[str]:
        """Return how many there were, in words."""
        return [
            f"column {name!r}: {count:,} {'value' if count == 1 else 'values'} not of its type left out, such as "
            f"{self._first[name][:40]!r}"
            for name, count in self._counts.items()
        ]


_MOST_NOTES = 5


def _first_of(notes: Mapping[str, None]) -> list[str]:
    """Return the notes of the first files, and how many there are in all."""
    found = list(notes)
    more = len(found) - _MOST_NOTES
    return [*found[:_MOST_NOTES], *([f"and so on, in {more:,} more notes on files"] if more > 0 else [])]


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


def _head(found: Found) -> bytes:
    """Return the first bytes of a file whose name says that it may be a table; no bytes of others."""
    if not found.place.lower().endswith(tuple(ending for kind in text_tables.UNSURE.values() for ending in kind)):
        return b""
    try:
        with open(found.path, "rb") as stream:
            return stream.read(_HEAD)
    except OSError:
        return b""


def _parquet(path: Path) -> Iterator[Line]:
    with reading(path) as table:
        rows = (row for batch in table.iter_batches(_ROWS) for row in batch.to_pylist())
        for number, row in enumerate(rows):
            yield Line(number, row)
