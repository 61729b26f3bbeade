"""Dialects of CSV: delimiter, prologue and header, told by the first lines of a file.

A delimiter is right where the rows have as many cells as the header. Where none is, the file is refused in one line.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from aepipe.sources.notation import MISSING

DELIMITERS = ",;\t|"
NAMED = {"\t": "a tab", " ": "spaces"}
_FITS = 0.5
"""Share of the rows that have to have as many cells as the header."""
_LOOK = 500  # rows that tell whether the first line is one of them
_NUMBER = re.compile(r"[-+]?(\d[\d.,' ]*|[.,]\d+)([eE][-+]?\d+)?%?|[-+]?(inf|nan)", re.IGNORECASE)
_DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([T ]\d{1,2}:\d\d.*)?|\d{1,2}:\d\d(:\d\d.*)?")
_FILE = re.compile(r"\S*[^\s.]\.[A-Za-z][A-Za-z0-9]{1,4}")
_SPACELESS = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff"  # Thai to Chinese
_SENTENCE = re.compile(rf"(?=.{{40}})(\S+\s+){{3,}}.*|([^{_SPACELESS}]*[{_SPACELESS}]){{10}}.*", re.DOTALL)
_YEAR = re.compile(r"(19|20)\d\d")
_MOST_BEFORE = 100
_OPEN = 50
"""Lines of one row from which it is taken for an open quotation mark."""
_COMMENTS = ("#", "%", "//", "sep=")


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a file is to be read.

    Attributes:
        delimiter: between cells.
        skipped: lines before the header, or before the first row.
        header: the first line after them has the names of the columns.
        names: of the columns, each of its own.
        trailing: empty cells that every row has after the last column.
        first: the first line after those that are skipped, in cells.
        spaces: cells begin with spaces that do not belong to them, before quotation marks.
        escape: stands before quotation marks within a cell, which are not doubled.
        is_row: this line seems to be a row, although nobody has said that there is no header.
        notes: what was guessed, in words.
    """

    delimiter: str
    skipped: int
    header: bool
    names: tuple[str, ...]
    trailing: int = 0
    first: tuple[str, ...] = ()
    spaces: bool = False
    escape: str | None = None
    is_row: bool = False
    notes: tuple[str, ...] = ()


def dialect_of(
    lines: Sequence[str],
    *,
    delimiter: str | None = None,
    header: bool | None = None,
    usual: str = ",",
    aligned: bool = False,
) -> Dialect:
    """Return the dialect of a file.

    Args:
        lines: the first of the file, with their ends.
        delimiter: where it is known.
        header: whether there is one, where that is known; else it is told by the lines.
        usual: the delimiter of files of that name, which is taken where several fit.
        aligned: one or more spaces may be the delimiter, too.

    Raises:
        ValueError: no delimiter makes rows that fit the header; the message says what was found.
    """
    others = [one for one in DELIMITERS + " " * aligned if one != usual]
    escape, tried = _escape_of(lines), [delimiter] if delimiter else [usual, *others]
    looks = [look for one in tried if (look := _Look.at(lines, one, escape))]
    if not looks:
        return Dialect(delimiter or usual, 0, header is not False, ())
    # The first of equal ones, which is the usual delimiter.
    best = max(looks, key=lambda look: (look.width > 1 and look.share >= _FITS, look.score))
    skipped = best.start
    _check_fit(best, looks, skipped, header=header)
    is_row = header is None and best.begins_with_a_row(skipped)
    return _described(best, skipped, header=not is_row if header is None else header, is_row=is_row, usual=usual)


def layout_of(rows: Sequence[Sequence[str]], *, header: bool | None = None) -> Dialect:
    """Return where the header of a sheet is; :attr:`Dialect.skipped` counts its rows.

    Args:
        rows: the first of the sheet, in cells; all have the same number of them.
        header: whether there is one, where that is known.
    """
    kept = tuple((place, tuple(row)) for place, row in enumerate(rows) if any(row))
    if not kept:
        return Dialect(",", 0, header is not False, ())
    look = _Look(",", kept, len(kept[0][1]), 1.0, spaces=False)
    skipped = look.start
    is_row = header is None and look.begins_with_a_row(skipped)
    return _described(look, skipped, header=not is_row if header is None else header, is_row=is_row, usual=",")


def shown(delimiter: str) -> str:
    """Return a delimiter as messages show it."""
    return NAMED.get(delimiter, repr(delimiter))


def own_names(names: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
    """Return a name of its own for each column, and what was changed, in words."""
    counts, taken, found, notes = Counter(names), set(names), list[str](), list[str]()
    seen: Counter[str] = Counter()
    for place, name in enumerate(names):
        seen[name] += 1
        if counts[name] == 1 or (seen[name] == 1 and name):
            found.append(name)
            continue
        stem = f"column_{place}" if not name else f"{name}_{seen[name]}"
        while stem in taken:
            stem += "_"
        taken.add(stem)
        found.append(stem)
    for name, count in counts.items():
        if count > 1:
            called = ", ".join(new for new, old in zip(found, names, strict=True) if old == name)
            notes.append(f"{count} columns have the name {name!r}; they are called {called}")
    return tuple(found), notes


@dataclass(frozen=True, slots=True)
class _Look:
    """The first lines, cut by one delimiter.

    Attributes:
        delimiter: tried.
        rows: of cells, each with the number of lines before it.
        width: cells that most rows have.
        share: of the rows that have so many.
    """

    delimiter: str
    rows: tuple[tuple[int, tuple[str, ...]], ...]
    width: int
    share: float
    spaces: bool
    escape: str | None = None

    @classmethod
    def at(cls, lines: Sequence[str], delimiter: str, escape: str | None) -> _Look | None:
        """Cut the lines; None where there is nothing in them."""
        # A quotation mark counts only where a cell begins.
        spaces = delimiter == " " or (delimiter != "\t" and any(f'{delimiter} "' in line for line in lines))
        rows = tuple(_cut(lines, delimiter, escape, spaces=spaces))
        if not rows:
            return None
        # The header is no row, unless it is all that there is; the end of the file counts most against lines before it.
        counts = Counter(len(row) for _, row in rows[1:] or rows)
        width, count = max(counts.items(), key=lambda entry: (entry[1], entry[0]))
        return cls(delimiter, rows, width, count / counts.total(), spaces, escape)

    @property
    def score(self) -> float:
        """How well the delimiter fits: the rows, the header, and the columns of numbers and dates that it makes."""
        columns = list(zip(*self._below(self.start), strict=True))
        made = sum(any(_all_like(pattern, column) for pattern in (_NUMBER, _DATE)) for column in columns)
        return self.share + self._fits(self.start) + made / max(1, len(columns))

    def trailing_at(self, place: int) -> int:
        """Return the empty cells that all rows have beyond the header at a place; 0 where they have others."""
        surplus = self.width - len(self.rows[place][1])
        if surplus <= 0:
            return 0
        rows = [row for _, row in self.rows[place + 1 :] if len(row) == self.width]
        return surplus if rows and all(not any(row[-surplus:]) for row in rows) else 0

    @property
    def start(self) -> int:
        """The place of the first row that is no comment, title or other line before the header."""
        first = self.rows[0][1]
        if self._fits(0) and not self._is_title(0) and not (_is_comment(first) and self._is_remark(0)):
            return 0
        for place in range(1, min(len(self.rows) - 1, _MOST_BEFORE)):
            if not self._fits(place) or self._is_title(place) or (place > 1 and self._is_remark(place)):
                continue
            # Without marks of a comment, only a header that is unlike its rows proves that it is one.
            marked = all(_is_comment(row) for _, row in self.rows[:place])
            return place if marked or self._is_header(place) else 0
        return 0

    def begins_with_a_row(self, place: int) -> bool:
        """Whether the row at a place is like those below it, and so no header."""
        first, below = self._stripped(place), self._below(place)
        if not below or len(first) != self.width or _counts_up(first):
            return False
        columns = list(zip(*below, strict=True))
        verdicts = [_like(cell, column) for cell, column in zip(first, columns, strict=True)]
        if False in verdicts:
            return False
        if True in verdicts:
            return True
        # Columns of words only: a header's words do not come up again below it.
        again = all(not cell or cell in column for cell, column in zip(first, columns, strict=True))
        return again and len(below) >= 3 and self.width > 1 and any(first)

    def _stripped(self, place: int) -> tuple[str, ...]:
        return tuple(cell.strip() for cell in self.rows[place][1])

    def _below(self, place: int) -> list[tuple[str, ...]]:
        """Return the rows below a place that have as many cells as most."""
        rows = (row for _, row in self.rows[place + 1 : place + 1 + _LOOK] if len(row) == self.width)
        return [tuple(cell.strip() for cell in row) for row in rows]

    def _fits(self, place: int) -> bool:
        return len(self.rows[place][1]) == self.width or self.trailing_at(place) > 0

    def _is_remark(self, place: int) -> bool:
        """Whether a comment only happens to have as many cells as the rows."""
        first = self.rows[place][1][0] if self.rows[place][1] else ""
        if not _is_comment(self.rows[place][1]) or place + 2 >= len(self.rows):
            return False
        return self._is_header(place + 1) or (first[1:2].isspace() and not self._is_header(place))

    def _is_title(self, place: int) -> bool:
        """Whether a row has one cell at most, as the title of a sheet has, and a header follows it."""
        if self.width == 1 or sum(map(bool, self._stripped(place))) > 1:
            return False
        return any(self._is_header(one) for one in range(place + 1, min(place + 4, len(self.rows) - 1)))

    def _is_header(self, place: int) -> bool:
        """Whether some cell at a place is a word above numbers or dates, and none is like those below it."""
        first, below = self._stripped(place), self._below(place)
        if not below or len(first) > self.width or sum(map(bool, first)) < max(1, len(first) - 1):
            return False
        verdicts = [_like(cell, column) for cell, column in zip(first, zip(*below, strict=True), strict=False)]
        return False in verdicts and True not in verdicts


def _escape_of(lines: Sequence[str]) -> str | None:
    """Return the backslash where it stands before quotation marks within cells, and they are not doubled."""
    text = "".join(lines)
    marked = text.count('\\"')
    # At the end of a cell it is a letter: "C:\\".
    within = len(re.findall(r'(?<!\\)\\"[^,;\t|\r\n]', text))
    return "\\" if marked > text.count('""') and within > marked / 3 else None


def _cut(
    lines: Sequence[str], delimiter: str, escape: str | None, *, spaces: bool
) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield the rows of some lines, without empty ones, each with the number of lines before it."""
    reader = csv.reader(iter(lines), delimiter=delimiter, skipinitialspace=spaces, escapechar=escape)
    before = 0
    while True:
        try:
            row = next(reader, None)
        except csv.Error:
            before = reader.line_num
            continue
        if row is None:
            return
        if row and reader.line_num - before < _OPEN:
            yield before, tuple(row)
        before = reader.line_num


def _check_fit(best: _Look, looks: Sequence[_Look], place: int, *, header: bool | None) -> None:
    """Raise ValueError where the rows do not fit the header."""
    first = best.rows[place][1]
    rows = [row for _, row in best.rows[place + 1 :]]
    surplus = best.trailing_at(place)
    if header is not False and rows and len(first) + surplus != best.width and best.share >= _FITS:
        many = f"each of {len(rows):,} rows has" if best.share == 1 else f"most of {len(rows):,} rows have"
        names = "1 name" if len(first) == 1 else f"{len(first)} names"
        single = '; if each line is one cell, say delimiter = "|" under [source]' if len(first) == 1 else ""
        raise ValueError(f"{many} {best.width} cells, the header {names}: {best.delimiter.join(first)[:60]!r}{single}")
    others = [one for one in DELIMITERS if one != best.delimiter and one in "".join(first)]
    if best.width == 1 and others and len(looks) > 1 and header is None:
        raise ValueError(
            f"the header {first[0][:60]!r} seems to have several names, parted by {shown(others[0])}, but the rows "
            "have other numbers of cells; say delimiter = ... under [source], or header = true if it is one name"
        )


def _described(best: _Look, place: int, *, header: bool, is_row: bool, usual: str) -> Dialect:
    """Return the dialect, and what was guessed in words."""
    before, first = best.rows[place]
    trailing = best.trailing_at(place) if header else 0
    # A delimiter at the end of each line, that of the header too.
    rows = best._below(place)
    if header and len(first) > 1 and not first[-1].strip() and rows and not any(row[-1] for row in rows):
        first, trailing = first[:-1], trailing + 1
    names, notes = own_names(first) if header else (tuple(f"column_{one}" for one in range(best.width)), list[str]())
    if best.delimiter != usual and best.width > 1:
        notes.insert(0, f"cells are parted by {shown(best.delimiter)}")
    if before:
        notes.append(f"{before:,} {'line' if before == 1 else 'lines'} before the header left out")
    if header and _counts_up([cell.strip() for cell in first]):
        notes.append(f"the first line is taken for names: {', '.join(first)[:60]}; if it is a row, say header = false")
    if best.escape:
        notes.append("quotation marks within cells have a backslash before them")
    return Dialect(
        best.delimiter, before, header, names, trailing, first, best.spaces, best.escape, is_row, tuple(notes)
    )


def _is_comment(row: Sequence[str]) -> bool:
    return bool(row) and row[0].lower().startswith(_COMMENTS)


def _like(cell: str, column: Sequence[str]) -> bool | None:
    """Tell whether a cell is like those of a column of numbers, dates, files or sentences; None for other columns."""
    for pattern in (_NUMBER, _DATE, _FILE, _SENTENCE):
        if _all_like(pattern, column):
            if cell:
                return None if cell.lower() in MISSING else bool(pattern.fullmatch(cell))
            # A header may lack a name, as that of an index does; a row may lack a value where others do.
            return None if not all(column) else False
    return None


def _all_like(pattern: re.Pattern[str], column: Sequence[str]) -> bool:
    held = [value for value in column if value.lower() not in MISSING]
    return bool(held) and all(map(pattern.fullmatch, held))


def _counts_up(cells: Sequence[str]) -> bool:
    """Whether cells are numbers that programs write for names: 0, 1, 2 and so on, or years."""
    numbers = [cell for cell in cells if cell.isdecimal()]
    if len(numbers) < 2 or any(cell and not cell.isdecimal() for cell in cells[1:]):
        return False
    if all(map(_YEAR.fullmatch, numbers)):
        return not cells[0].isdecimal() and _each_by_one(numbers)
    named = cells[0] in {"", "0"} and (len(numbers) > 2 or not cells[0])
    return named and numbers[0] == "0" and _each_by_one(numbers)


def _each_by_one(numbers: Sequence[str]) -> bool:
    return all(int(after) == int(before) + 1 for before, after in pairwise(numbers))
