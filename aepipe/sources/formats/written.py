"""A CSV file as it is written: its cells with their places, so that some can be filled.

Lines before the header, a byte order mark, line ends, quotation marks, spaces and the encoding stay as they are.
"""

from __future__ import annotations

import codecs
import gzip
import re
import zlib
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from aepipe.errors import ExtraError, SourceError
from aepipe.sources import encoding
from aepipe.sources.formats.dialect import Dialect, dialect_of

_LOOK = 1000  # lines that tell the dialect
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Added:
    """A column that is put behind another one.

    Attributes:
        name: of it.
        texts: its cells by row.
        other: the text of all other cells.
    """

    name: str
    texts: Mapping[int, str]
    other: str


@dataclass(slots=True)
class Written:
    """The text of a CSV file, and where its cells are.

    Attributes:
        text: all of it, without a byte order mark.
        dialect: delimiter, header and names.
        codec: that makes its bytes of the text again, and how it treats letters that are bad bytes.
        mark: the byte order mark, or nothing.
        notes: what was guessed, in words.
    """

    text: str
    dialect: Dialect
    codec: tuple[str, str] = ("utf-8", "strict")
    mark: bytes = b""
    notes: list[str] = field(default_factory=list)
    _starts: array[int] = field(default_factory=lambda: array("q"))
    _ends: array[int] = field(default_factory=lambda: array("q"))
    _rows: array[int] = field(default_factory=lambda: array("q"))  # the first cell of each row; the header is row 0
    _quoted: set[int] = field(default_factory=set)  # cells that begin with a quotation mark

    @classmethod
    def read(cls, file: Path, *, header: bool | None = None) -> Written:
        """Read a file.

        Args:
            file: CSV or TSV, gzipped or not.
            header: whether the first line holds the names of the columns; None where the lines tell.

        Raises:
            SourceError: the file cannot be read, is no text, or has a line that does not fit the others.
        """
        mark, text, codec = _decoded(_bytes_of(file), file)
        lines = [line.group() for line in islice(_LINE.finditer(text), _LOOK)]
        try:
            usual = "\t" if ".tsv" in file.suffixes or ".tab" in file.suffixes else ","
            dialect = dialect_of(lines, header=header, usual=usual)
        except ValueError as error:
            raise SourceError(f"{file}: {error}") from None
        if dialect.is_row and header is None:
            raise SourceError(
                f"{file}: the first line seems to be a row, and not names of columns: "
                f"{dialect.delimiter.join(dialect.first)[:60]!r}; say --no-header, or --header if it is one"
            )
        found = cls(text, dialect, codec, mark, list(dialect.notes))
        if encoding.is_guess(codec[0]):
            found.notes.append(f"read as {codec[0]}")
        found._cut(file, sum(map(len, lines[: dialect.skipped])))
        return found

    @property
    def width(self) -> int:
        """The number of columns."""
        return len(self.dialect.names)

    def __len__(self) -> int:
        return len(self._rows) - self.dialect.header

    def columns(self) -> list[list[str]]:
        """Return the cells of each column, without quotation marks and spaces around them.

        Where a row ends early, they are empty.
        """
        columns: list[list[str]] = [[] for _ in range(self.width)]
        for row in range(len(self)):
            cells = self._cells(row)
            for place, column in enumerate(columns):
                column.append(self._value(cells[place]) if place < len(cells) else "")
        return columns

    def lines(self) -> list[int]:
        """Return the number of the line that each row begins in, from 1."""
        found, line, at = [], 1, 0
        for row in range(len(self)):
            start = self._starts[self._cells(row)[0]]
            line, at = line + len(_END.findall(self.text, at, start)), start
            found.append(line)
        return found

    def filled(self, values: Mapping[int, Mapping[int, str]], added: Mapping[int, Added]) -> bytes:
        """Return the bytes of the file with some cells filled.

        Args:
            values: new texts by column and row.
            added: new columns, each by the column that it is put behind.
        """
        out, at = list[str](), 0
        for start, end, text in self._edits(values, added):
            out += (self.text[at:start], text)
            at = end
        out.append(self.text[at:])
        return self.mark + "".join(out).encode(*self.codec)

    def _edits(
        self, values: Mapping[int, Mapping[int, str]], added: Mapping[int, Added]
    ) -> Iterator[tuple[int, int, str]]:
        """Yield what is to be replaced, start and end in the text, and by which text, in order."""
        touched = sorted({*values, *added})
        for row in range(-self.dialect.header, len(self)):
            cells = self._cells(row)
            for column in touched:
                if column >= len(cells):
                    break
                cell, new = cells[column], values.get(column, {}).get(row)
                more = self._more(added.get(column), row)
                if new is not None:
                    yield self._starts[cell], self._ends[cell], self._quote(new, always=cell in self._quoted) + more
                elif more:
                    yield self._ends[cell], self._ends[cell], more
            if touched and len(cells) <= touched[-1]:
                end = self._ends[cells[-1]]
                yield end, end, self._tail(row, range(len(cells), touched[-1] + 1), values, added)

    def _tail(
        self, row: int, columns: range, values: Mapping[int, Mapping[int, str]], added: Mapping[int, Added]
    ) -> str:
        """Return the cells that a row lacks, as it ends early."""
        cells = []
        for column in columns:
            new = self._quote(values.get(column, {}).get(row, ""))
            cells.append(self.dialect.delimiter + new + self._more(added.get(column), row))
        return "".join(cells)

    def _more(self, added: Added | None, row: int) -> str:
        """Return the cell of a new column, with a delimiter before it; row -1 is the header."""
        if added is None:
            return ""
        return self.dialect.delimiter + self._quote(added.name if row < 0 else added.texts.get(row, added.other))

    def _quote(self, text: str, *, always: bool = False) -> str:
        """Return a cell as it is to be written."""
        if not always and not re.search(f'[{re.escape(self.dialect.delimiter)}"\r\n]', text):
            return text
        return '"' + text.replace('"', '""') + '"'

    def _cells(self, row: int) -> range:
        """Return the numbers of the cells of a row; row -1 is the header."""
        row += self.dialect.header
        end = self._rows[row + 1] if row + 1 < len(self._rows) else len(self._starts)
        return range(self._rows[row], end)

    def _value(self, cell: int) -> str:
        text = self.text[self._starts[cell] : self._ends[cell]].strip()
        if cell not in self._quoted:
            return text
        inside, _, behind = text[1:].rpartition('"')
        return (inside.replace('""', '"') + behind).strip()

    def _cut(self, file: Path, start: int) -> None:
        """Find the cells.

        Raises:
            SourceError: a quotation mark is not closed, or a row has more cells than the header.
        """
        text, at, size = self.text, start, len(self.text)
        cell = _cell(self.dialect)
        fresh = True
        while at < size or not fresh:
            found = cell.match(text, at)
            assert found is not None, "every text is a cell up to the next delimiter"
            begin, end = found.span(1)
            if fresh and found["end"] != self.dialect.delimiter and not found[1].strip():
                at = found.end()  # an empty line is no row
                continue
            if fresh:
                self._rows.append(len(self._starts))
            if found["quoted"] is not None:
                self._quoted.add(len(self._starts))
            elif text.startswith('"', begin):
                raise SourceError(f"{file}: line {self._line(begin):,}: a quotation mark is not closed")
            self._starts.append(begin)
            self._ends.append(end)
            at, fresh = found.end(), found["end"] != self.dialect.delimiter
            if fresh:
                self._check(file)
        if not self._rows:
            raise SourceError(f"{file}: a table without rows")

    def _check(self, file: Path) -> None:
        """Raise SourceError where the last row does not fit the columns.

        Empty cells behind the last column are let be, and so is a row that ends early, but for a single cell: that is
        a remark below the table.
        """
        cells = range(self._rows[-1], len(self._starts))
        surplus = any(self._value(cell) for cell in cells[self.width :])
        if surplus or (len(cells) == 1 and self.width > 2):
            raise SourceError(
                f"{file}: line {self._line(self._starts[cells[0]]):,} has {len(cells)} "
                f"{'cell' if len(cells) == 1 else 'cells'}, and "
                f"{'the header' if self.dialect.header else 'the others'} {self.width}; mend that line first"
            )

    def _line(self, place: int) -> int:
        return len(_END.findall(self.text, 0, place)) + 1


_END = re.compile(r"\r\n|\n|\r")
_LINE = re.compile(r"[^\r\n]*+(?:\r\n|\n|\r|\Z)")


def _cell(dialect: Dialect) -> re.Pattern[str]:
    """Return what matches a cell, and the delimiter or the line end behind it."""
    delimiter = re.escape(dialect.delimiter)
    spaces = " *+" if dialect.spaces else ""
    quoted = rf'(?P<quoted>"[^"]*+(?:""[^"]*+)*+")[^{delimiter}\r\n]*+'
    return re.compile(rf"{spaces}({quoted}|[^{delimiter}\r\n]*+)(?P<end>{delimiter}|\r\n|\n|\r|\Z)")


def _bytes_of(file: Path) -> bytes:
    try:
        data = file.read_bytes()
        return gzip.decompress(data) if data.startswith(_GZIP) else data
    except FileNotFoundError:
        raise SourceError(f"{file}: no such file") from None
    except (OSError, EOFError, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise SourceError(f"{file}: cannot be read: {reason}") from None


def _decoded(data: bytes, file: Path) -> tuple[bytes, str, tuple[str, str]]:
    """Return the byte order mark, the text, and the codec that makes the bytes again.

    Raises:
        SourceError: it is no text.
    """
    for mark, name in _MARKS:
        if data.startswith(mark):
            try:
                return mark, data[len(mark) :].decode(name), (name, "strict")
            except UnicodeDecodeError:
                break
    try:
        text, name = encoding.decode(data)
        if text.encode(name) == data:
            return b"", text, (name, "strict")
    except ExtraError:
        pass  # without the package that guesses, other bytes are kept as they are
    except ValueError as error:
        if b"\0" in data:
            raise SourceError(f"{file}: cannot be read as a table: {error}") from None
    mark = codecs.BOM_UTF8 if data.startswith(codecs.BOM_UTF8) else b""
    return mark, data[len(mark) :].decode("utf-8", "surrogateescape"), ("utf-8", "surrogateescape")
