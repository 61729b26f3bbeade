"""Tables in text, all read in the same way: CSV, JSON, sheets of workbooks."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from aepipe.errors import SourceError
from aepipe.sources.files import first_bytes
from aepipe.sources.formats import json_files, sheets
from aepipe.sources.formats.csv_files import CsvFile, open_csv
from aepipe.sources.formats.dialect import dialect_of
from aepipe.sources.formats.streams import encoding_of, stamp
from aepipe.sources.formats.values import Columns
from aepipe.sources.item import Given

Record: TypeAlias = dict[str, Any]

ENDINGS = {
    "csv": (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".tab", ".tab.gz"),
    "json": (".jsonl", ".jsonl.gz", ".ndjson", ".ndjson.gz"),
    "sheet": sheets.ENDINGS,
}
"""Endings of names that tell the format."""
UNSURE = {"json": (".json",), "csv": (".data", ".txt")}
"""Endings of files that are tables only if their content says so."""
_ROWS = 4096  # looked at together, to tell types
_HEAD = 1 << 13
_DELIMITED = 0.8
"""Share of the columns of a ``.txt`` that are numbers, from which it is taken for a table."""
_SHORT = 20
"""Letters of a cell, on average, up to which a ``.data`` is taken for one."""


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


class TextTable(Protocol):
    """A table in a file whose values are text."""

    @property
    def notes(self) -> list[str]:
        """What was guessed, in words."""

    @property
    def encoding(self) -> str:
        """The encoding of the text; UTF-8 for files that say it themselves."""

    @property
    def first(self) -> tuple[str, ...] | None:
        """The first line, where it seems to be a row although nobody has said so; else None."""

    def names(self) -> tuple[str, ...]:
        """Return the names of the columns."""

    def lines(self) -> Iterator[Line]:
        """Yield the records in order."""

    def survey(self) -> Columns:
        """Return what the values of all columns look like; reads the file."""


def kind_of(name: str, head: bytes | None = None) -> str | None:
    """Return the format of a table in text: ``csv``, ``json`` or ``sheet``; else None.

    Args:
        name: of the file.
        head: its first bytes, where names that tell little count, too.
    """
    lower = name.lower()
    sure = next((kind for kind, endings in ENDINGS.items() if lower.endswith(endings)), None)
    if sure or head is None:
        return sure
    if lower.endswith(UNSURE["json"]):
        return "json" if json_files.is_array(head) or json_files.is_line(head) else None
    numbers = 0.0 if lower.endswith(".data") else _DELIMITED
    return "csv" if lower.endswith(UNSURE["csv"]) and _is_delimited(head, numbers) else None


def open_table(path: Path, name: str, given: Given | None = None) -> TextTable:
    """Return a table.

    Args:
        path: of the file.
        name: whose ending tells the format.
        given: what the recipe says.

    Raises:
        SourceError: it cannot be read, or is no such table.
        ExtraError: a package is missing that it needs.
    """
    said, kind = given or Given(), kind_of(name)
    if kind == "sheet":
        return _Sheet(path, said)
    unsure = kind is None and (name.lower().endswith(UNSURE["json"]) or json_files.is_line(first_bytes(str(path))))
    if kind == "json" or unsure:
        return _Json(path, said)
    return _Csv(path, name, said)


class _Csv:
    def __init__(self, path: Path, name: str, given: Given) -> None:
        self._file: CsvFile = open_csv(path, name, given)

    @property
    def notes(self) -> list[str]:
        return list(self._file.dialect.notes)

    @property
    def encoding(self) -> str:
        return self._file.encoding

    @property
    def first(self) -> tuple[str, ...] | None:
        return self._file.dialect.first if self._file.dialect.is_row else None

    def names(self) -> tuple[str, ...]:
        return self._file.names

    def lines(self) -> Iterator[Line]:
        names = self._file.names
        for number, (cells, trouble) in enumerate(self._file.rows()):
            if trouble:
                yield Line(number, {}, trouble)
            else:
                yield Line(number, {name: cell or None for name, cell in zip(names, cells, strict=True)})

    def survey(self) -> Columns:
        return _surveyed_csv(self._file, stamp(self._file.path))


@lru_cache(256)
def _surveyed_csv(file: CsvFile, _: tuple[int, int]) -> Columns:
    found = Columns(comma=file.dialect.delimiter != ",")
    rows = (cells for cells, trouble in file.rows() if not trouble)
    while part := list(islice(rows, _ROWS)):
        found.add(part, file.names)
    return found


class _Sheet:
    encoding = "utf-8"

    def __init__(self, path: Path, given: Given) -> None:
        self._sheet = sheets.Sheet(path, given)

    @property
    def notes(self) -> list[str]:
        return self._sheet.notes

    @property
    def first(self) -> tuple[str, ...] | None:
        return self._sheet.dialect.first if self._sheet.dialect.is_row else None

    def names(self) -> tuple[str, ...]:
        return self._sheet.names

    def lines(self) -> Iterator[Line]:
        for number, cells in enumerate(self._sheet.rows()):
            yield Line(number, {name: cell or None for name, cell in zip(self.names(), cells, strict=True)})

    def survey(self) -> Columns:
        found, rows = Columns(), self._sheet.rows()
        while part := list(islice(rows, _ROWS)):
            found.add(part, self.names())
        return found


class _Json:
    first = None

    def __init__(self, path: Path, given: Given) -> None:
        self._path, self._given = path, given.encoding

    @property
    def notes(self) -> list[str]:
        found = _surveyed_json(self._path, self._given, stamp(self._path)).found
        most = json_files.MOST_COLUMNS
        return [f"the objects have {most:,} names or more; only the first {most:,} are columns"] * (len(found) >= most)

    @property
    def encoding(self) -> str:
        return encoding_of(self._path, self._given)

    def names(self) -> tuple[str, ...]:
        return tuple(self.survey().found)

    def lines(self) -> Iterator[Line]:
        for number, (record, trouble) in enumerate(json_files.objects(self._path, self._given)):
            yield Line(number, {name: json_files.as_text(value) for name, value in record.items()}, trouble)

    def survey(self) -> Columns:
        return _surveyed_json(self._path, self._given, stamp(self._path))


@lru_cache(256)
def _surveyed_json(path: Path, given: str | None, _: tuple[int, int]) -> Columns:
    return Columns(json_files.survey(path, given))


def _is_delimited(head: bytes, least: float) -> bool:
    """Whether the first bytes of a file are rows of short cells, at least a share of the columns numbers."""
    if b"\0" in head:
        return False
    text = head.decode("utf-8", "replace")
    lines = text.splitlines(keepends=True)
    lines = lines[:-1] if len(head) >= _HEAD else lines
    try:
        found = dialect_of(lines, aligned=True)
    except ValueError:
        return False
    if len(found.names) < 2 or len(lines) < 3:
        return False
    below = lines[found.skipped + found.header :]
    rows = [row for row in csv.reader(below, delimiter=found.delimiter, skipinitialspace=found.spaces) if row]
    fits = [row[: len(found.names)] for row in rows if 0 <= len(row) - len(found.names) <= found.trailing]
    if not fits or len(fits) < 0.95 * len(rows):
        return False
    columns = Columns()
    columns.add(fits, found.names)
    numbers = sum(not column.kinds["text"] for column in columns.found.values())
    letters = sum(len(cell) for row in fits for cell in row)
    least = max(least, 0.5) if found.delimiter == " " else least  # lines of words have spaces, too
    return numbers >= least * len(found.names) and letters <= _SHORT * len(fits) * len(found.names)


def refuse_row(path: Path, table: TextTable) -> None:
    """Stop where the first line of a table seems to be a row, and nobody has said whether it is.

    Raises:
        SourceError: it does.
    """
    if table.first is not None:
        raise SourceError(
            f"{path}: the first line seems to be a row: {', '.join(table.first)[:60]}; say header = false under "
            "[source], or header = true if these are the names of the columns"
        )
