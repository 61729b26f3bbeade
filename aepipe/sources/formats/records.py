"""Records: rows of CSV, JSON lines, Parquet, Arrow and databases; each is an item, or has one in a column.

CSV has a header; each of the JSON lines is an object; both are in UTF-8, and may be gzipped. Their values are text;
those of the others have types of their own. A row that is damaged or too long is one bad item, and the others are read.
"""

from __future__ import annotations

import csv
import gzip
import json
import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, cast

import pyarrow as pa

from aepipe.errors import ItemError, SourceError
from aepipe.sources.files import Files, Found, InMemory, Refused, check_pointer
from aepipe.sources.formats import schemas, typed
from aepipe.sources.formats.parquet import split_cell
from aepipe.sources.formats.path_lists import check_names
from aepipe.sources.formats.shards import Shards
from aepipe.sources.item import ONLY_TABLE, Item, Reader, Select
from aepipe.sources.passed_over import PassedOver

LONGEST = 1 << 26
"""Bytes of a line; a longer one is a bad item."""
_ROWS = 256  # of tables with types, read at a time
_ABOUT = 5  # files that may describe a table
_FIRST = 32  # of large cells, that tell what a column holds
_LOOK = 1000  # lines of JSON whose keys make the columns
_ENDINGS = {
    "csv": (".csv", ".csv.gz", ".tsv", ".tsv.gz"),
    "json": (".jsonl", ".jsonl.gz", ".ndjson", ".ndjson.gz"),
}

Record = dict[str, Any]
Content = Callable[[Record], bytes]
"""Returns the bytes of the item in a record; raises ValueError with the reason where there is none."""


@dataclass(frozen=True, slots=True)
class Line:
    """A record, or the reason why it cannot be read.

    Attributes:
        number: of the record in its file, from 0; the header is not counted.
        record: its values; empty where it cannot be read.
        trouble: why it cannot be read; None where it can.
    """

    number: int
    record: Record
    trouble: str | None = None


def claims(name: str) -> bool:
    """Whether a file has the name of a file of records."""
    return _kind(name) is not None


def holds(found: Found) -> bool:
    """Whether a file is one of records: by its name, and where that says little, by its first bytes."""
    return typed.holds(found) or _is_text(found)


def prevail(files: Files) -> bool:
    """Tell whether tables are what a folder is about, and not documents with a table next to them."""
    tables = others = 0
    for found in files:
        tables += holds(found)
        others += not holds(found)
    # A table has a handful of files that describe it: a README, a licence.
    return tables > 0 and others <= max(_ABOUT, tables)


def name_by_content(name: str, head: bytes) -> str:
    """Return a name for :func:`read`, by the first bytes of a file; empty for other files.

    CSV has no mark of its own, so there the name has to say it.
    """
    if suffix := typed.suffix_of(head):
        return f"x{suffix}"
    if _kind(name) in {"csv", "json"}:
        return name
    return "x.jsonl" if _is_json_line(head) else ""


def read(path: Path, name: str) -> Iterator[Line]:
    """Yield the records of a file.

    Args:
        path: of the file.
        name: whose ending tells the format.

    Raises:
        SourceError: the file cannot be read to its end.
    """
    return _READERS[cast(str, _kind(name))](path)


def is_typed(name: str) -> bool:
    """Whether the columns of a file have types of their own, as those of Parquet do."""
    return _kind(name) == "typed"


def columns(path: Path, name: str) -> pa.Schema:
    """Return the columns of a file and their types; of JSON lines, by the first 1,000 lines.

    Raises:
        SourceError: it cannot be read, or two of its columns have the same name.
    """
    found = _columns(path, cast(str, _kind(name)))
    check_names(path, found.names)
    return found


def first_cells(path: Path, column: pa.Field) -> list[object]:
    """Return the first values of a column of a file with types, without the missing ones: few where they are large.

    Raises:
        SourceError: it cannot be read.
    """
    # A column without values at its beginning is not read to its end.
    batches = islice(typed.table_of(path).batches([column.name], _FIRST), _FIRST)
    cells = (value for batch in batches for value in batch.column(0).to_pylist() if value is not None)
    return list(islice(cells, _FIRST))


class Records:
    """The records of some files; the key is a column, or the place ``file#row``.

    Attributes:
        notes: what was guessed of them, in words.

    Args:
        files: the files of records among them are read.
        content: returns the bytes of an item.
        used: columns that ``content`` reads: they have to be there, and are no columns of the items.
        key: the column with the id of each item.
        select: what is read of a database.

    Raises:
        SourceError: a file is damaged, lacks a column, or has a column of another type than the rest.
    """

    def __init__(
        self,
        files: Files,
        content: Content,
        *,
        used: Sequence[str] = (),
        key: str | None = None,
        select: Select = ONLY_TABLE,
    ) -> None:
        self._files = files
        self._content = content
        self._used = tuple(used)
        self._key = key
        self.passed_over = PassedOver()
        self.notes: list[str] = []
        texts = [found for found in files if _is_text(found)]
        parts = [(found.path, columns(Path(found.path), found.place)) for found in texts]
        self._shards = Shards(files, select, parts)
        self.gives = frozenset({"split"}) if self._shards.gives_split and not texts else frozenset[str]()
        self._schema = self._shards.schema
        first = texts[0].path if texts else self._shards.first
        if first is None:
            raise SourceError(f"{files.given}: no .csv, .jsonl, .parquet, .arrow, .sqlite or .duckdb in it")
        for name in (*used, *((key,) if key else ())):
            if name not in self._schema.names:
                why = self.left_out.get(name)
                raise SourceError(
                    f"{first}: column {name!r} cannot be used: {why}"
                    if why
                    else f"{first}: no column {name!r}; it has: {', '.join(self._schema.names) or 'none'}"
                )
        self._own = [name for name in self._schema.names if name not in used]

    @property
    def left_out(self) -> dict[str, str]:
        """Columns that cannot be kept, with the reason."""
        return self._shards.left_out

    def type_of(self, column: str) -> pa.DataType:
        """Return the type of a column, also of one that holds the items."""
        return self._schema.field(column).type

    def schema(self) -> pa.Schema:
        """Return the columns except those that hold the items."""
        return pa.schema([field for field in self._schema if field.name not in self._used])

    def total(self) -> int | None:
        """Return the number of rows, where all files have types."""
        return None if any(map(_is_text, self._files)) else self._shards.total()

    def items(self) -> Iterator[Item]:
        """Yield the records in order."""
        for found in self._files.picked(self._reason, self.passed_over):
            yield from self._lines(found) if _is_text(found) else self._typed(found)

    def _reason(self, found: Found) -> str | None:
        """Return why a file holds no records; None where it does."""
        return None if _is_text(found) else self._shards.reason(found)

    def _lines(self, found: Found) -> Iterator[Item]:
        """Yield the records of a file whose values are text."""
        check_pointer(found)
        cell = self._cell(columns(Path(found.path), found.place).names)
        yield from (self._item(line, found, cell) for line in read(Path(found.path), found.place))

    def _typed(self, found: Found) -> Iterator[Item]:
        """Yield the records of a file with types."""
        split, cell = self._shards.split(found), self._cell(self._shards.own(found).names)
        if cell and typed.is_database(found):
            cell += f"@{self._shards.select.mark()}"
        for number, record in enumerate(self._shards.rows(found, self._schema.names, _ROWS)):
            yield self._item(Line(number, record), found, cell, split)

    def _cell(self, names: Sequence[str]) -> str:
        """Return the part of a place that names the column of the items, by its number among a file's columns."""
        # With a column, a place can be shown; a row that is made of several columns cannot.
        return f"@{names.index(self._used[0])}" if len(self._used) == 1 and self._used[0] in names else ""

    def _item(self, line: Line, found: Found, cell: str, split: str | None = None) -> Item:
        """Return one record as an item."""
        at = f"{found.place}#{line.number}"
        own = {name: _value(line.record.get(name)) for name in self._own}
        key = line.record.get(self._key) if self._key else None
        key = at if key in (None, "") else str(key)
        return Item(key, f"{at}{cell}", self._reader(line), split=split, columns=own)

    def _reader(self, line: Line) -> Reader:
        return Refused(line.trouble) if line.trouble else _Made(self._content, line.record)


def _is_text(found: Found) -> bool:
    """Whether a file is a table whose values are text."""
    return found.refusal is None and _kind(found.place) in _ENDINGS


def _value(value: object) -> object:
    # In a comparison of SQL, NaN would be larger than every number.
    return None if isinstance(value, float) and math.isnan(value) else value


def read_at(path: Path, at: str, key: str) -> bytes:
    """Return the cell ``row@column``, both by number, as text or as the bytes in it.

    In a database the place also tells the table or the query: ``row@column@table``.

    Raises:
        ItemError: there is no such row, or it is damaged.
    """
    number, _, column = at.partition("@")
    column, _, mark = column.partition("@")
    if is_typed(path.name):
        table = typed.table_of(path, Select.of(mark))
        return _shown(table.cell(int(number), table.schema().names[int(column)]))
    name = columns(path, path.name).names[int(column)]
    line = next((line for line in read(path, path.name) if line.number == int(number)), None)
    if line is None or line.trouble:
        raise ItemError(key, line.trouble if line and line.trouble else f"{path} has no row {number}")
    return _shown(line.record.get(name))


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


def _kind(name: str) -> str | None:
    lower = name.lower()
    if typed.claims(name):
        return "typed"
    return next((kind for kind, endings in _ENDINGS.items() if lower.endswith(endings)), None)


def _columns(path: Path, kind: str) -> pa.Schema:
    if kind == "typed":
        return typed.table_of(path).schema()
    if kind == "csv":
        with _stream(path) as stream:
            found = _csv_header(stream, path)
    else:
        found = []
        # Objects may have different names; a name that comes up later is no column.
        for line in read(path, path.name):
            found += [name for name in line.record if name not in found]
            if line.number >= _LOOK:
                break
    return pa.schema([(name, pa.string()) for name in found])


def _csv_header(stream: IO[bytes], path: Path) -> list[str]:
    """Return the names of the columns of a CSV file."""
    try:
        found = next(csv.reader(_decoded(stream, path), delimiter=_delimiter(path)), [])
    except (csv.Error, OSError, EOFError, zlib.error) as error:
        raise SourceError(f"{path}: not a readable CSV file: line 1: {error}") from None
    for name in found:
        bad = _not_utf8(name)
        if bad:
            raise SourceError(f"{path}: not a readable CSV file: a name of a column is not in UTF-8: {bad}")
    return found


def _lines(path: Path) -> Iterator[bytes | None]:
    """Yield the lines of a file; None for a line that is too long, whose rest is skipped."""
    with _stream(path) as stream:
        try:
            while line := stream.readline(LONGEST + 1):
                whole = len(line) <= LONGEST
                # The rest of the line is read in pieces, so that memory holds no more than the limit.
                while not whole and line and not line.endswith(b"\n"):
                    line = stream.readline(LONGEST)
                yield line if whole else None
        except (OSError, EOFError, zlib.error) as error:
            raise SourceError(f"{path}: cannot be read to its end: {error}") from None


def _json(path: Path) -> Iterator[Line]:
    """Yield the objects of a file of JSON lines; empty lines do not count."""
    number = 0
    for line in _lines(path):
        if line is not None and not line.strip():
            continue
        yield Line(number, *_object(line))
        number += 1


def _object(line: bytes | None) -> tuple[Record, str | None]:
    """Return the object of a line, its values as text; or the reason why there is none."""
    if line is None:
        return {}, f"a line of more than {LONGEST >> 20} MB"
    try:
        # Some programs begin a file with a byte order mark.
        found = json.loads(line.removeprefix(b"\xef\xbb\xbf"))
    except (ValueError, RecursionError) as error:
        return {}, f"not JSON: {str(error).partition(':')[0]}"
    if not isinstance(found, dict):
        return {}, "not a JSON object"
    record = {name: _as_text(value) for name, value in found.items()}
    bad = next((text for text in (*record, *record.values()) if text and _lone_surrogate(text)), None)
    return ({}, f"a lone surrogate, which is no text, in {bad[:40]!r}") if bad else (record, None)


def _lone_surrogate(text: str) -> bool:
    """Tell whether a text from JSON has half a character, which cannot be written as UTF-8."""
    if text.isascii():
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _as_text(value: object) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _csv(path: Path) -> Iterator[Line]:
    """Yield the rows of a CSV file; one with too many cells or not in UTF-8 is a bad item."""
    # The limit of Python's own is 128 KiB, less than a long document; it can only be set for the whole process.
    csv.field_size_limit(LONGEST)
    with _stream(path) as stream:
        # Without strict, an open quotation mark would swallow the rest of the file without a word.
        rows = csv.DictReader(_decoded(stream, path), delimiter=_delimiter(path), strict=True)
        number = 0
        while True:
            try:
                row = next(rows)
            except StopIteration:
                return
            except (csv.Error, OSError, EOFError, zlib.error) as error:
                raise SourceError(f"{path}: not a readable CSV file: line {rows.line_num:,}: {error}") from None
            yield Line(number, *_checked(row))
            number += 1


def _checked(row: dict[Any, Any]) -> tuple[Record, str | None]:
    """Return the cells of a row; or what is wrong with them."""
    if None in row:
        return {}, f"{len(row[None])} more cells than columns"
    for name, value in row.items():
        bad = _not_utf8(value or "")
        if bad:
            return {}, f"column {name!r} is not in UTF-8: {bad}"
    return {name: value or None for name, value in row.items()}, None


def _not_utf8(text: str) -> str | None:
    """Return the first byte of a text that was not UTF-8, in words; None where all were."""
    bad = next((letter for letter in text if "\udc80" <= letter <= "\udcff"), None)
    return f"byte 0x{ord(bad) - 0xDC00:02x}" if bad else None


def _decoded(stream: IO[bytes], path: Path) -> Iterator[str]:
    """Yield the lines of a CSV file as text; bytes that are no UTF-8 become lone surrogates."""
    first = True
    while line := stream.readline(LONGEST + 1):
        if len(line) > LONGEST:
            raise SourceError(f"{path}: has a line of more than {LONGEST >> 20} MB: it is no CSV file")
        # A lone surrogate keeps the byte, so that the row can be refused by name, and the others be read.
        text = (line.removeprefix(b"\xef\xbb\xbf") if first else line).decode("utf-8", "surrogateescape")
        first = False
        yield text


def _delimiter(path: Path) -> str:
    return "\t" if path.name.lower().endswith((".tsv", ".tsv.gz")) else ","


def _typed(path: Path) -> Iterator[Line]:
    table = typed.table_of(path)
    kept = [field.name for field in table.schema() if schemas.can_be_kept(schemas.plain(field.type))]
    rows = (row for batch in table.batches(kept, _ROWS) for row in batch.to_pylist())
    for number, row in enumerate(rows):
        yield Line(number, row)


def _stream(path: Path) -> IO[bytes]:
    """Open a file; its first bytes tell whether it is gzipped."""
    try:
        with path.open("rb") as stream:
            zipped = stream.read(2) == b"\x1f\x8b"
        return cast(IO[bytes], gzip.open(path, "rb")) if zipped else path.open("rb")
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}") from None


def _is_json_line(head: bytes) -> bool:
    first = head.lstrip().partition(b"\n")[0]
    try:
        return first.startswith(b"{") and isinstance(json.loads(first), dict)
    except ValueError:
        return False


_READERS: dict[str, Callable[[Path], Iterator[Line]]] = {"csv": _csv, "json": _json, "typed": _typed}
