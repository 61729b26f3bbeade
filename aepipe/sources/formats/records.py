"""Records: rows of CSV, JSON lines and Parquet; each is an item, or has one in a column.

CSV has a header; each of the JSON lines is an object; both are in UTF-8, and may be gzipped. Their values are text;
those of Parquet have types of their own. A row that is damaged or too long is one bad item, and the others are read.
"""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import pyarrow as pa

from aepipe.errors import ItemError, SourceError
from aepipe.sources.files import Files, Found, InMemory, Refused, first_bytes, why_not_like
from aepipe.sources.formats.parquet import reading, rows_of
from aepipe.sources.formats.path_lists import check_names
from aepipe.sources.item import Item, Reader
from aepipe.sources.passed_over import PassedOver

LONGEST = 1 << 26
"""Bytes of a line; a longer one is a bad item."""
_ROWS = 256  # of Parquet, read at a time
_ABOUT = 5  # files that may describe a table
_LOOK = 1000  # lines of JSON whose keys make the columns
_ENDINGS = {
    "csv": (".csv", ".csv.gz", ".tsv", ".tsv.gz"),
    "json": (".jsonl", ".jsonl.gz", ".ndjson", ".ndjson.gz"),
    "parquet": (".parquet", ".pq"),
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


def prevail(files: Files) -> bool:
    """Tell whether a folder is one of tables, and not of documents with a table next to them."""
    tables = others = 0
    for found in files:
        tables += claims(found.place)
        others += not claims(found.place)
    if not tables:
        first = next(iter(files), None)
        return first is not None and not why_not_like(first, _is_table, "no table")
    # A table has a handful of files that describe it: a README, a licence.
    return others <= max(_ABOUT, tables)


def name_by_content(name: str, head: bytes) -> str:
    """Return a name for :func:`read`, by the first bytes of a file; empty for other files.

    CSV has no mark of its own, so there the name has to say it.
    """
    if head.startswith(b"PAR1"):
        return "x.parquet"
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
    return _kind(name) == "parquet"


def columns(path: Path, name: str) -> pa.Schema:
    """Return the columns of a file and their types; of JSON lines, by the first 1,000 lines.

    Raises:
        SourceError: it cannot be read, or two of its columns have the same name.
    """
    found = _columns(path, cast(str, _kind(name)))
    check_names(path, found.names)
    return found


def count(path: Path, name: str) -> int | None:
    """Return the number of rows of a Parquet file; None for other files."""
    return rows_of(path) if _kind(name) == "parquet" else None


class Records:
    """The records of some files; the key is a column, or the place ``file#row``.

    Args:
        files: the files of records among them are read.
        content: returns the bytes of an item.
        used: columns that ``content`` reads: they have to be there, and are no columns of the items.
        key: the column with the id of each item.

    Raises:
        SourceError: the first file is damaged, or lacks a column.
    """

    def __init__(self, files: Files, content: Content, *, used: Sequence[str] = (), key: str | None = None) -> None:
        self._files = files
        self._content = content
        self._used = tuple(used)
        self._key = key
        self.passed_over = PassedOver()
        self.gives: frozenset[str] = frozenset()
        first = files.first(claims, _is_table)
        if first is None:
            raise SourceError(f"{files.given}: no .csv, .jsonl or .parquet in it")
        self._schema = columns(Path(first.path), _name(first))
        for name in (*used, *((key,) if key else ())):
            if name not in self._schema.names:
                raise SourceError(
                    f"{first.path}: no column {name!r}; it has: {', '.join(self._schema.names) or 'none'}"
                )

        self._own = [name for name in self._schema.names if name not in used]
        # With a column, a place can be shown; a row that is made of several columns cannot.
        self._column = f"@{self._schema.names.index(used[0])}" if len(used) == 1 else ""

    def schema(self) -> pa.Schema:
        """Return the columns except those that hold the items."""
        return pa.schema([field for field in self._schema if field.name not in self._used])

    def total(self) -> int | None:
        """Return the number of rows, where all files are Parquet."""
        files = self._files.claimed(claims, sniff=_is_table)
        counts = [count(Path(found.path), _name(found)) for found in files]
        return None if None in counts else sum(one or 0 for one in counts)

    def items(self) -> Iterator[Item]:
        """Yield the records in order."""
        for found in self._files.claimed(claims, self.passed_over, "not a table", _is_table):
            yield from (self._item(line, found) for line in read(Path(found.path), _name(found)))

    def _item(self, line: Line, found: Found) -> Item:
        """Return one record as an item."""
        at = f"{found.place}#{line.number}"
        own = {name: line.record.get(name) for name in self._own}
        key = line.record.get(self._key) if self._key else None
        return Item(at if key in (None, "") else str(key), f"{at}{self._column}", self._reader(line), columns=own)

    def _reader(self, line: Line) -> Reader:
        return Refused(line.trouble) if line.trouble else _Made(self._content, line.record)


def read_at(path: Path, at: str, key: str) -> bytes:
    """Return the cell ``row@column``, both by number, as text.

    Raises:
        ItemError: there is no such row, or it is damaged.
    """
    number, _, column = at.partition("@")
    called = _name(Found(path.name, str(path)))
    name = columns(path, called).names[int(column)]
    line = next((line for line in read(path, called) if line.number == int(number)), None)
    if line is None or line.trouble:
        raise ItemError(key, line.trouble if line and line.trouble else f"{path} has no row {number}")
    return str(line.record.get(name) or "").encode("utf-8", "replace")


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


def _name(found: Found) -> str:
    """Return the name that tells the format of a file: its own, or one by its first bytes."""
    return found.place if claims(found.place) else name_by_content("", first_bytes(found.path))


def _kind(name: str) -> str | None:
    lower = name.lower()
    return next((kind for kind, endings in _ENDINGS.items() if lower.endswith(endings)), None)


def _columns(path: Path, kind: str) -> pa.Schema:
    if kind == "parquet":
        with reading(path) as table:
            return table.schema_arrow
    if kind == "csv":
        with _stream(path) as stream:
            found = _csv_header(stream, path)
    else:
        found = []
        # Objects may have different names; a name that comes up later is no column.
        for line in _READERS[kind](path):
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


def _parquet(path: Path) -> Iterator[Line]:
    with reading(path) as table:
        rows = (row for batch in table.iter_batches(_ROWS) for row in batch.to_pylist())
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


_READERS: dict[str, Callable[[Path], Iterator[Line]]] = {"csv": _csv, "json": _json, "parquet": _parquet}
