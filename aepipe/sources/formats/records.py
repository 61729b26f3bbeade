"""Records: rows of tables of all formats; each is an item, or has one in a column.

The columns of the items have types, which all rows of all files share; see :mod:`aepipe.sources.formats.schemas`. Those
of Parquet, Arrow and databases are their own; those of the others are told by all values (see
:mod:`aepipe.sources.formats.values`), and there the content of an item is made of values as text, as they stand in the
file. A row that is damaged or too long is one bad item, and the others are read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeAlias

import pyarrow as pa

from aepipe.errors import ExtraError, ItemError, SourceError
from aepipe.sources.dates import Written
from aepipe.sources.files import Files, Found, InMemory, Refused, check_pointer, first_bytes, why_not_like
from aepipe.sources.formats import json_files, schemas, text_tables, typed
from aepipe.sources.formats.contents import other
from aepipe.sources.formats.parquet import split_cell
from aepipe.sources.formats.path_lists import check_names
from aepipe.sources.formats.shards import Shards
from aepipe.sources.formats.text_shards import TextShards, is_text
from aepipe.sources.formats.text_tables import Line, open_table
from aepipe.sources.item import ONLY_TABLE, Given, Item, Reader, Select
from aepipe.sources.passed_over import PassedOver

_ROWS = 256  # of tables with types, read at a time
_FIRST = 32  # of large cells, that tell what a column holds
_ABOUT = 5  # files that may describe a table

Record: TypeAlias = text_tables.Record
Content = Callable[[Record], bytes]
"""Returns the bytes of the item in a record; raises ValueError with the reason where there is none."""


def claims(name: str) -> bool:
    """Whether a file has the name of a file of records."""
    return is_typed(name) or text_tables.kind_of(name) is not None


def holds(found: Found) -> bool:
    """Whether a file is one of records, by its name; by its content where that tells little."""
    return typed.holds(found) or is_text(found)


def prevail(files: Files) -> bool:
    """Tell whether a folder is one of tables, and not of documents with a table next to them."""
    tables = others = 0
    for found in files:
        # A folder of documents is not opened file by file to tell.
        table = (files.single or not found.place.lower().endswith(".txt")) and holds(found)
        tables += table
        others += not table
    if not tables:
        first = next(iter(files), None)
        return first is not None and not why_not_like(first, _is_table, "no table")
    # A table has a handful of files that describe it: a README, a licence.
    return others <= max(_ABOUT, tables)


def name_by_content(name: str, head: bytes) -> str:
    """Return a name for :func:`read`, by the first bytes of a file; empty for other files.

    CSV has no mark of its own, so there the name has to say it, or the cells have to be numbers.
    """
    if suffix := typed.suffix_of(head):
        return f"x{suffix}"
    if text_tables.kind_of(name):
        return name
    return "x.jsonl" if json_files.is_line(head) else name_of_content(name, head)


def name_of_content(name: str, head: bytes) -> str:
    """Return the name if the first bytes of a file are those of a table in text; else nothing."""
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
        yield from _typed(path, given)
    else:
        yield from open_table(path, name, given).lines()


def is_typed(name: str) -> bool:
    """Whether the columns of a file have types of their own, as those of Parquet do."""
    return typed.claims(name)


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
    found = typed.table_of(path, given.select if given else ONLY_TABLE).schema()
    check_names(path, found.names)
    return found


def first_cells(path: Path, column: pa.Field, select: Select = ONLY_TABLE) -> list[object]:
    """Return the first values of a column of a file with types, without the missing ones.

    Args:
        path: of the file.
        column: of it.
        select: the table or the query, where the file is a database.

    Raises:
        SourceError: it cannot be read.
    """
    # A column without values at its beginning is not read to its end.
    batches = islice(typed.table_of(path, select).batches([column.name], _FIRST), _FIRST)
    cells = (value for batch in batches for value in batch.column(0).to_pylist() if value is not None)
    return list(islice(cells, _FIRST))


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
        self._guesses: list[str] = []
        wanted = (*used, *((key,) if key else ()))
        # Where no file has the name of a table, the first bytes tell.
        self._nameless = not any(map(holds, files))
        self._texts = TextShards(files, self._given, self._is_text)
        self._look(wanted)
        has_splits = self._shards.gives_split and not self._texts.found
        self.gives = frozenset({"split"}) if has_splits else frozenset[str]()

    def schema(self) -> pa.Schema:
        """Return the columns except those that hold the items."""
        return self._others

    def keep_types(self, known: pa.Schema) -> None:
        """Let columns have the types that they have in other rows, where their values fit."""
        self._texts.keep_types(known)
        self._unify(known)

    def type_of(self, column: str) -> pa.DataType:
        """Return the type of a column, also of one that holds the items."""
        return self._schema.field(column).type

    def types_in_files(self, column: str) -> Iterator[tuple[str, pa.DataType]]:
        """Yield the tables with types that have a column, by their paths, and its type in each."""
        for found in self._shards.tables():
            own = self._shards.own(found)
            if column in own.names:
                yield found.path, schemas.plain(own.field(column).type)

    @property
    def dates(self) -> dict[str, Written]:
        """Columns of texts that are all dates, as people write them, and what they tell."""
        if self._shards.first is not None:  # tables with types do not tell of their texts
            return {}
        return {name: found for name, found in self._texts.dates().items() if name in self._own}

    @property
    def left_out(self) -> dict[str, str]:
        """Columns that cannot be kept, with the reason."""
        return self._shards.left_out

    @property
    def notes(self) -> list[str]:
        """What was guessed of the files, and values that the last iteration left out, in words."""
        return [*self._guesses, *self._texts.notes(), *self._shards.notes()]

    def note(self, guess: str) -> None:
        """Add what somebody else has guessed of the files."""
        self._guesses.append(guess)

    def total(self) -> int | None:
        """Return the number of rows, where all files have types of their own."""
        return None if self._texts.found else self._shards.total()

    def items(self) -> Iterator[Item]:
        """Yield the records in order, their columns typed."""
        self._texts.begin()
        self._shards.begin()
        return self._items(typed=True)

    def untyped(self) -> Iterator[Item]:
        """Yield the same items, the columns of tables in text as they stand there."""
        self._shards.begin()
        return self._items(typed=False)

    def _items(self, *, typed: bool) -> Iterator[Item]:
        for found in self._files.picked(self._why_not, self.passed_over):
            check_pointer(found)
            yield from self._lines(found, typed=typed) if self._is_text(found) else self._rows(found)

    def _why_not(self, found: Found) -> str | None:
        """Return why a file holds no records; None where it does."""
        if not self._is_text(found):
            return self._shards.reason(found)
        lacks = self._texts.missing.get(found.place)
        return None if lacks is None else f"no column {lacks!r}"

    def _is_text(self, found: Found) -> bool:
        """Whether a file is a table in text."""
        return is_text(found) or (self._nameless and not why_not_like(found, json_files.is_line, "no table"))

    def _lines(self, found: Found, *, typed: bool) -> Iterator[Item]:
        """Yield the records of a table in text."""
        cell = self._cell(self._texts.table(found).names())
        # A place tells what the files do not, so that a cell is found again.
        cell += f"@{said}" if cell and (said := self._given.mark()) else ""
        own = self._texts.typed(found, self._own) if typed else self._plain
        for line in self._texts.lines(found):
            columns = own(line.record)
            columns |= {name: _fitted(columns[name], kind) for name, kind in self._fits.items()} if typed else {}
            yield self._item(line, f"{found.place}#{line.number}", cell, columns)

    def _rows(self, found: Found) -> Iterator[Item]:
        """Yield the records of a table with types."""
        split, cell = self._shards.split(found), self._cell(self._shards.own(found).names)
        if cell and typed.is_database(found):
            cell += f"@{self._given.select.mark()}"
        for number, record in enumerate(self._shards.rows(found, self._schema.names, _ROWS)):
            own = {name: _value(record[name]) for name in self._own}
            yield self._item(Line(number, record), f"{found.place}#{number}", cell, own, split)

    def _cell(self, names: Sequence[str]) -> str:
        """Return the part of a place that names the column of the items, by its number among a file's columns."""
        # With a column, a place can be shown; a row that is made of several columns cannot.
        return f"@{names.index(self._used[0])}" if len(self._used) == 1 and self._used[0] in names else ""

    def _item(self, line: Line, at: str, cell: str, own: dict[str, object], split: str | None = None) -> Item:
        """Return one record as an item."""
        key = line.record.get(self._key) if self._key else None
        key = at if key in (None, "") else str(key)
        return Item(key, at + cell, self._reader(line), split=split, columns=own)

    def _plain(self, record: Record) -> dict[str, object]:
        return {name: record.get(name) for name in self._own}

    def _look(self, wanted: Sequence[str]) -> None:
        """Learn the columns and the types of all files.

        Raises:
            SourceError: there are no tables, none has a column that is wanted, or a column has other types elsewhere.
        """
        self._texts.look(wanted)
        self._unify()
        shards = self._shards
        if shards.first is None and not self._texts.found:
            what = next((other(Path(found.path)) for found in self._files), "") if self._files.single else ""
            none = "no .csv, .tsv, .jsonl, .xlsx, .parquet, .arrow, .sqlite or .duckdb in it"
            raise SourceError(f"{self._files.given}: {what or none}")
        lacks = next((name for name in wanted if name not in shards.schema.names), None)
        if lacks is not None and shards.first is not None:
            known = ", ".join(shards.schema.names) or "none"
            why = f"no column {lacks!r}; it has: {known}"
            why = f"column {lacks!r}: {shards.left_out[lacks]}" if lacks in shards.left_out else why
            raise SourceError(f"{shards.first}: {why}")

    def _unify(self, known: pa.Schema | None = None) -> None:
        """Find the types that hold the values of all files; those of other rows where they hold them, too.

        Raises:
            SourceError: a column has other types elsewhere.
        """
        schema = self._texts.schema() if self._texts.found else pa.schema([])
        more = " and other tables in text" if len(self._texts.found) > 1 else ""
        texts = [(f"{self._texts.found[0].path}{more}", schema)] if self._texts.found else []
        self._shards = shards = Shards(self._files, self._given, texts, nameless=self._nameless)
        if known is not None:
            shards.keep_types(known)
        self._schema = shards.schema
        self._others = pa.schema([field for field in self._schema if field.name not in self._used])
        self._own = self._others.names
        # Where all files together need another type than the tables in text.
        types = {field.name: field.type for field in shards.schema}
        self._fits = {one.name: types[one.name] for one in schema if types.get(one.name, one.type) != one.type}

    def _reader(self, line: Line) -> Reader:
        return Refused(line.trouble) if line.trouble else _Made(self._content, line.record)


def _value(value: object) -> object:
    # In a comparison of SQL, NaN would be larger than every number.
    return None if isinstance(value, float) and math.isnan(value) else value


def _fitted(value: object, kind: pa.DataType) -> object:
    """Return a value of a table in text as one of the type that all files have."""
    return None if value is None else schemas.converted(pa.array([value]), kind)[0].as_py()


def read_at(path: Path, at: str, key: str) -> bytes:
    """Return the cell ``row@column``, both by number, as text or as the bytes in it.

    In a database the place also tells the table or the query, and in other tables what the recipe says of them:
    ``row@column@table``.

    Raises:
        ItemError: there is no such row, or it is damaged.
    """
    number, _, column = at.partition("@")
    column, _, mark = column.partition("@")
    if typed.suffix_of(first_bytes(str(path))):
        table = typed.table_of(path, Select.of(mark))
        return _shown(table.cell(int(number), table.schema().names[int(column)]))
    names: dict[str, None] = {}
    for line in read(path, path.name, Given.of(mark)):
        names |= dict.fromkeys(line.record)
        if line.number == int(number):
            if line.trouble:
                raise ItemError(key, line.trouble)
            name = next((name for place, name in enumerate(names) if place == int(column)), None)
            return _shown(line.record.get(name) if name else None)
    raise ItemError(key, f"{path} has no row {number}")


def _shown(value: object) -> bytes:
    """Return the bytes in a cell, or its text."""
    return split_cell(value)[0] or str(value or "").encode("utf-8", "replace")


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


def _is_table(head: bytes) -> bool:
    return bool(name_by_content("", head))


def _typed(path: Path, given: Given | None) -> Iterator[Line]:
    table = typed.table_of(path, given.select if given else ONLY_TABLE)
    kept = [field.name for field in table.schema() if schemas.can_be_kept(schemas.plain(field.type))]
    rows = (row for batch in table.batches(kept, _ROWS) for row in batch.to_pylist())
    for number, row in enumerate(rows):
        yield Line(number, row)
