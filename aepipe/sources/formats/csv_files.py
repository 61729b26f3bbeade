"""CSV files: rows of text, with any delimiter; a damaged row costs no other one.

A row with a wrong quotation mark, or with more or fewer cells than the header, is one bad row. After a quotation mark
that is never closed reading goes on with the next line, so that it does not swallow what follows.
"""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TypeAlias

from aepipe.errors import SourceError
from aepipe.sources import encoding
from aepipe.sources.formats.contents import other
from aepipe.sources.formats.dialect import Dialect, dialect_of
from aepipe.sources.formats.streams import encoding_of, lines_of, stamp
from aepipe.sources.item import Given

MOST_COLUMNS = 100_000
"""Columns of a file."""
LONGEST = 1 << 26
"""Letters of a line, and of a row over several lines."""
_SAMPLE_LINES, _SAMPLE = 1000, 1 << 20
_LEAST_ROW = 1 << 20
_BAD = re.compile("[\udc00-\udcff]")
_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\udc00-\udcff]")
_CONTROLS = 0.1
"""Share of such characters from which a file is no text."""
_MANY = 8
"""Lines from which a row of two cells that is as many rows of two cells is taken for an open quotation mark."""

Cells: TypeAlias = tuple[Sequence[str], str | None]
"""The cells of a row and None; or no cells, and what is wrong with them."""


@dataclass(frozen=True, slots=True)
class CsvFile:
    """One file, and how it is read.

    Attributes:
        path: of the file.
        encoding: of its text.
        dialect: delimiter and header.
    """

    path: Path
    encoding: str
    dialect: Dialect

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns."""
        return self.dialect.names

    def rows(self) -> Iterator[Cells]:
        """Yield the rows in order, without empty lines.

        Raises:
            SourceError: the file cannot be read to its end.
        """
        # The limit of Python's own is 128 KiB, less than a long document; it can only be set for the whole process.
        csv.field_size_limit(LONGEST)
        lines = _Lines(self._lines(), self.dialect.skipped)
        # Without strict, an open quotation mark would swallow the rest of the file without a word.
        reader = csv.reader(
            lines,
            delimiter=self.dialect.delimiter,
            skipinitialspace=self.dialect.spaces,
            escapechar=self.dialect.escape,
            strict=True,
        )
        if self.dialect.header:
            _next(reader, lines)
        while (cells := _next(reader, lines)) is not None:
            if cells[1] is None:
                cells = self._checked(cells[0], lines)
            if cells is not _EMPTY:
                yield cells

    def _lines(self) -> Iterator[str]:
        for line in lines_of(self.path, self.encoding, LONGEST):
            if line is None:
                raise SourceError(f"{self.path}: has a line of more than {LONGEST >> 20} MB: it is no CSV file")
            yield line

    def _checked(self, cells: Sequence[str], lines: _Lines) -> Cells:
        """Return the cells of a row; or what is wrong with them."""
        if not cells:
            return _EMPTY
        width, taken = len(self.dialect.names), lines.taken
        if len(taken) > 1 and self._swallowed(len(cells) == width, taken):
            return lines.refuse(_OPEN)
        if lines.given_back and not self.dialect.escape and '"' in "".join(cells) and '""' not in taken[0]:
            return (), f"a quotation mark within a cell{lines.at}"
        if len(cells) != width:
            if len(cells) < width or any(cells[width:]) or len(cells) > width + max(1, self.dialect.trailing):
                return (), _miscounted(len(cells), width, header=self.dialect.header) + lines.at
            cells = cells[:width]
        for line in taken:
            if not line.isascii() and _BAD.search(line):
                return (), self._undecoded(cells) + lines.at
        return cells, None

    def _swallowed(self, fits: bool, lines: Sequence[str]) -> bool:
        """Whether the lines of one row are rows themselves, if quotation marks are taken for letters."""
        width = len(self.dialect.names)
        if not fits:
            inner = [line.count(self.dialect.delimiter) + 1 for line in lines[1:-1]]
            return len(inner) > 0 and inner.count(width) > len(inner) / 2
        least = 3 if width > 2 else _MANY
        return (
            width > 1 and len(lines) >= least and all(line.count(self.dialect.delimiter) + 1 == width for line in lines)
        )

    def _undecoded(self, cells: Sequence[str]) -> str:
        name = self.encoding.removesuffix("-sig").upper() if self.encoding.startswith("utf") else self.encoding
        found = ((column, encoding.bad_byte(cell)) for column, cell in zip(self.names, cells, strict=True))
        column, bad = next(((column, bad) for column, bad in found if bad), ("", "a bad byte"))
        return f"column {column!r} is not in {name}: {bad}"


def open_csv(path: Path, name: str, given: Given | None = None) -> CsvFile:
    """Return a file; where the recipe does not say them, its content tells encoding and dialect.

    Args:
        path: of the file.
        name: whose ending tells the usual delimiter.
        given: what the recipe says.

    Raises:
        SourceError: it cannot be read, or its rows do not fit its header.
        ExtraError: it is not in UTF-8, and the package that guesses is not installed.
    """
    usual = "\t" if name.lower().endswith((".tsv", ".tsv.gz", ".tab", ".tab.gz")) else ","
    usual = " " if name.lower().endswith((".txt", ".data")) else usual
    said = given or Given()
    return _opened(path, usual, said.encoding, said.delimiter, said.header, stamp(path))


@lru_cache(4096)
def _opened(
    path: Path, usual: str, given: str | None, delimiter: str | None, header: bool | None, _: tuple[int, int]
) -> CsvFile:
    name = encoding_of(path, given)
    lines, size = list[str](), 0
    for line in islice(lines_of(path, name, LONGEST), _SAMPLE_LINES):
        if line is None:
            raise SourceError(f"{path}: has a line of more than {LONGEST >> 20} MB: it is no CSV file")
        lines.append(line)
        size += len(line)
        if size > _SAMPLE:
            break
    if _controls(lines) > _CONTROLS * size:
        why = other(path) or "no text, or in an unknown encoding; if you know it, say encoding = ... under [source]"
        raise SourceError(f"{path}: not a CSV file: {why}")
    try:
        told = "," if usual == " " else usual
        found = dialect_of(lines, delimiter=delimiter, header=header, usual=told, aligned=usual == " ")
    except ValueError as error:
        raise SourceError(f"{path}: {error}") from None
    if len(found.names) > MOST_COLUMNS:
        raise SourceError(
            f"{path}: {len(found.names):,} columns, and {MOST_COLUMNS:,} are allowed; keep one value a row"
        )
    for column in found.names:
        if bad := encoding.bad_byte(column):
            raise SourceError(f"{path}: not a readable CSV file: a name of a column is not in UTF-8: {bad}")
    return CsvFile(path, name, found)


def _controls(lines: Sequence[str]) -> int:
    """Return how many control characters and bytes of no encoding some lines have."""
    return sum(len(_CONTROL.findall(line)) for line in lines)


class _Lines:
    """The lines of a file for a reader, those of the last row kept so that they can be given back.

    Attributes:
        taken: lines of the last row.
        given_back: lines that are read again, after an open quotation mark.
    """

    def __init__(self, lines: Iterator[str], skipped: int) -> None:
        self._lines = lines
        self._again: deque[str] = deque()
        self._number = sum(1 for _ in islice(lines, skipped))
        self._most = LONGEST
        self._size = 0
        self.taken: list[str] = []
        self.given_back = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._lines)
        self._number += 1
        if self.taken:
            self._size += len(line)
            if self._size > self._most:
                self._again.appendleft(line)
                self._number -= 1
                raise csv.Error(_TOO_LONG)
        self.taken.append(line)
        return line

    @property
    def at(self) -> str:
        """The number of the first line of the row, for messages."""
        return f" (line {self._number - len(self.taken) + 1:,})"

    def begin(self) -> None:
        """Begin a row."""
        self.given_back = max(0, self.given_back - len(self.taken))
        self.taken.clear()
        self._size = 0

    def refuse(self, reason: str) -> Cells:
        """Give all lines of a row but the first back, and return what is wrong with that."""
        at, rest = self.at, self.taken[1:]
        if self._size > _LEAST_ROW:
            # Each further search for the end of a row is shorter, so that many cannot take forever.
            self._most = max(_LEAST_ROW, self._most // 2)
        self._again.extendleft(reversed(rest))
        self._number -= len(rest)
        self.given_back = max(self.given_back, len(rest) + 1)
        del self.taken[1:]
        return (), reason + at


_EMPTY: Cells = ((), None)
_TOO_LONG = "too long"
_OPEN = "a quotation mark that is not closed"
_INSIDE = "a quotation mark within a cell, or one that is not closed"


def _next(reader: Iterator[list[str]], lines: _Lines) -> Cells | None:
    """Return the next row; None at the end."""
    lines.begin()
    try:
        return next(reader), None
    except StopIteration:
        return None
    except csv.Error as error:
        inside = "expected after" in str(error)
        return lines.refuse(
            _INSIDE if inside else _OPEN if len(lines.taken) > 1 or "end of data" in str(error) else str(error)
        )


def _miscounted(found: int, width: int, *, header: bool) -> str:
    cells = "1 cell" if found == 1 else f"{found} cells"
    names = "1 name" if width == 1 else f"{width} names"
    return f"{cells}, the header has {names}" if header else f"{cells}, most rows have {width}"
