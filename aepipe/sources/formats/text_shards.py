"""The tables in text of a source: columns and types that hold the values of all files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from aepipe.errors import SourceError
from aepipe.sources import encoding
from aepipe.sources.dates import Written, order_said
from aepipe.sources.files import Found
from aepipe.sources.formats import text_tables, values
from aepipe.sources.formats.strays import Strays
from aepipe.sources.formats.text_tables import Line, Record, TextTable, open_table, refuse_row
from aepipe.sources.item import Given

Convert = Callable[[str], Any] | None
_MOST_NOTES = 5
_HEAD = 1 << 13


def is_text(found: Found) -> bool:
    """Whether a file is a table in text, by its name; by its content where that tells little."""
    if found.refusal:
        return False
    if text_tables.kind_of(found.place):
        return True
    unsure = tuple(ending for kind in text_tables.UNSURE.values() for ending in kind)
    return found.place.lower().endswith(unsure) and text_tables.kind_of(found.place, _head(found)) is not None


class TextShards:
    """The tables in text among some files.

    Args:
        files: of the source.
        given: what the recipe says of them.
        holds: tells which of the files are such tables.

    Attributes:
        found: these files.
        missing: a column that is wanted and not there, by place.
    """

    def __init__(self, files: Iterable[Found], given: Given, holds: Callable[[Found], bool] = is_text) -> None:
        self.found = list(filter(holds, files))
        self.missing: dict[str, str] = {}
        self._given = given
        self._types = Types(given)
        self._strays = Strays()

    def look(self, wanted: Sequence[str]) -> None:
        """Learn the columns and the types of all files.

        Args:
            wanted: columns that each has to have; those that lack one are passed over.

        Raises:
            SourceError: a file is damaged, its first line seems to be a row, or all of them lack a column.
        """
        for found in self.found:
            self._look(found, wanted)
        if self.found and len(self.missing) == len(self.found):
            first = self.found[0]
            known = ", ".join(self.table(first).names()) or "none"
            raise SourceError(f"{first.path}: no column {self.missing[first.place]!r}; it has: {known}")

    def schema(self) -> pa.Schema:
        """Return the columns of all files, and their types."""
        return self._types.schema()

    def keep_types(self, known: pa.Schema) -> None:
        """Let columns have the types that other rows have, where their values fit."""
        self._types.keep(known)

    def table(self, found: Found) -> TextTable:
        """Return the table in a file."""
        return open_table(Path(found.path), found.place, self._given)

    def lines(self, found: Found) -> Iterator[Line]:
        """Yield the records of a file, as they stand there."""
        return self.table(found).lines()

    def typed(self, found: Found, names: Sequence[str]) -> Callable[[Record], dict[str, object]]:
        """Return what makes the values of some columns of the records of a file."""
        converters, converted = self._types.converters(found.place, names), self._strays.converted

        def values_of(record: Record) -> dict[str, object]:
            own: dict[str, object] = {}
            for name, convert in converters:
                value = record.get(name)
                own[name] = value if convert is None or value is None else converted(name, value, convert)
            return own

        return values_of

    def dates(self) -> dict[str, Written]:
        """Return columns of texts that are all dates, as people write them, and what they tell."""
        return self._types.dates()

    def begin(self) -> None:
        """Forget the values that an iteration left out."""
        self._strays.clear()

    def notes(self) -> list[str]:
        """Return guesses about the files, and values that the last iteration left out, in words."""
        return [*self._types.notes(), *self._strays.notes()]

    def _look(self, found: Found, wanted: Sequence[str]) -> None:
        """Learn the columns of a file, or note that it lacks one."""
        table = self.table(found)
        refuse_row(Path(found.path), table)
        names = table.names()
        lacks = next((name for name in wanted if name not in names), None)
        if lacks is None:
            self._types.add(found.place, table)
        else:
            self.missing[found.place] = lacks


class Types:
    """The types of the columns of all files together.

    Args:
        given: what the recipe says of them.
    """

    def __init__(self, given: Given) -> None:
        self._given = given
        self._said = dict(given.types)
        self._columns: dict[str, values.Column] = {}
        self._kept: dict[str, pa.DataType] = {}
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
        for name, one in seen.found.items():
            column = one if seen.has_commas else one.without_commas()
            before = self._columns.get(name)
            self._columns[name] = before.merged(column) if before else column

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

    def keep(self, known: pa.Schema) -> None:
        """Take known types for columns whose values fit them."""
        for one in known:
            column = self._columns.get(one.name)
            if column and one.name not in self._said and values.fits(self._type(one.name), one.type, column):
                self._kept[one.name] = one.type

    def converters(self, place: str, names: Sequence[str]) -> list[tuple[str, Convert]]:
        """Return what makes values of the texts of some columns; None where they stay text."""
        comma = self._commas.get(place, False)
        return [(name, self._converter(name, comma) if name in self._columns else None) for name in names]

    def _converter(self, name: str, comma: bool) -> Convert:
        said = "" if name in self._given.texts else self._said.get(name, "")
        return values.converter(self._type(name), comma=comma, order=order_said(said))

    def dates(self) -> dict[str, Written]:
        """Return columns of texts that are all dates, as people write them, and what they tell."""
        unsaid = (name for name in self._columns if name not in self._said and name not in self._given.texts)
        found = ((name, self._columns[name].dates()) for name in unsaid)
        return {name: dates for name, dates in found if dates is not None}

    def notes(self) -> list[str]:
        """Return what was guessed, in words."""
        doubts = (
            values.Column.doubt(column, name, self._type(name))
            for name, column in self._columns.items()
            if name not in self._said and name not in self._given.texts
        )
        return [*_first_of(self._noted), *encoding.notes_of(self._encodings), *filter(None, doubts)]

    def _type(self, name: str) -> pa.DataType:
        column = self._columns.get(name, values.Column())
        if name in self._kept:
            return self._kept[name]
        if name in self._given.texts:
            return pa.string()
        if name in self._said:
            return values.type_said(name, self._said[name], column)
        return column.type()


def _first_of(notes: Mapping[str, None]) -> list[str]:
    """Return the notes of the first files, and how many there are in all."""
    found = list(notes)
    more = len(found) - _MOST_NOTES
    return [*found[:_MOST_NOTES], *([f"and so on, in {more:,} more notes on files"] if more > 0 else [])]


def _head(found: Found) -> bytes:
    try:
        with open(found.path, "rb") as stream:
            return stream.read(_HEAD)
    except OSError:
        return b""
