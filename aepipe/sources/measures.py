"""Columns that look like measures, and are none: row numbers, ids, codes, units."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field

LEAST_ROWS = 10
"""Rows from which on a column is told to count them."""
LEAST_IDS = 20
"""Numbers that are all different, from which they are ids in a column with such a name."""
UNLIKELY = 5
"""Pairs of equal numbers that measures would have; none at all has a chance of e^-5 then."""
LOOKED_AT = 1 << 17
"""Numbers that are compared with each other."""
CODES = 0.01
"""Share of numbers with zeros in front, from which a column is one of codes."""
ROWS = "row numbers"
_YEARS = (1500, 2100)
_COUNTERS = frozenset(
    [
        *("", "id", "_id", "index", "idx", "row", "rownum", "row_num", "row_number", "rownumber", "row_id", "rowid"),
        *("rowname", "rownames", "level_0", "nr", "nr.", "no", "no.", "#", "pk", "uid", "oid", "fid", "objectid"),
        "record_id",
    ]
)
_NAMED = re.compile(r"unnamed:|__index_level_", re.IGNORECASE)
_ID = re.compile(r"(.*[^a-z])?(id|ids|guid|uuid|key|pk)|.+[^a-z](no|nr|num|number)\.?|.+nummer", re.IGNORECASE)
_CAMEL = re.compile(r".*[a-z](Id|ID)")
_CODE = re.compile(r"0\d\d+|\+\d{7,}", re.ASCII)
_SORTS = {
    "times of day": re.compile(r"\d\d:\d\d(:\d\d(\.\d+)?)?|\d{1,2}:\d\d( ?[AaPp]\.?[Mm]\.?)?"),
    "lengths of time": re.compile(r"-?\d+ days?,? .*|(\d+ ?(d|h|m|min|s|sec) ?){2,3}|-?\d+:\d\d:\d\d(\.\d+)?"),
    "numbers with units": re.compile(r"[-+]?\d[\d.,' ]*[A-Za-zµμ°Ω²³/]{1,8}\.?"),
    "ranges": re.compile(r"\d[\d.,]* ?[-–] ?\d[\d.,]*|[<>≤≥] ?\d[\d.,]*|\d[\d.,]*\+"),
}
_ALIKE = 0.9


@dataclass(slots=True)
class Numbering:
    """Whether numbers only tell rows from each other.

    Attributes:
        over: they do not.
        growing: each is larger than the one before.
        by_one: they grow by one from 0 or 1, in each file.
    """

    over: bool = False
    growing: bool = True
    by_one: bool = True
    _start: float = 0.0
    _last: float | None = None
    _file: str = ""
    _least: float = 0.0
    _largest: float = 0.0
    _seen: set[float] | None = field(default_factory=set)

    def add(self, number: float, place: str) -> None:
        """See the next number of the column.

        Args:
            number: of a row.
            place: of the row, ``file#row``.
        """
        file = place.rpartition("#")[0]
        if self._last is None:
            self._start, self.by_one = number, number in {0.0, 1.0}
            self._least = self._largest = number
        elif file != self._file and number == self._start:
            self.growing = False
        else:
            self.growing = self.growing and number > self._last
            self.by_one = self.by_one and number == self._last + 1
        self._compare(number)
        self.over = not (self.by_one or self.growing or self._seen is not None) or number != int(number)
        self._last, self._file = number, file

    def why(self, name: str, count: int) -> str:
        """Return why the column is no property of its rows; empty where it may be one.

        Args:
            name: of the column.
            count: its values.
        """
        if self.over or count < LEAST_ROWS:
            return ""
        if self.by_one:
            return f"{ROWS}: they count from {self._start:.0f}"
        if self.growing and is_counter(name):
            return f"{ROWS}: each is larger than the one before"
        if self._seen is None:
            return ""
        if is_id(name) and count >= LEAST_IDS:
            return "ids: all numbers are different"
        # A year or a rising number is a property, although each comes up once.
        years = _YEARS[0] <= self._least and self._largest <= _YEARS[1]
        pairs = len(self._seen) ** 2 / 2 / (self._largest - self._least + 1)
        return "" if self.growing or years or pairs < UNLIKELY else "likely ids: all numbers are different"

    def _compare(self, number: float) -> None:
        """Compare a number with those before; where it comes up again, the numbers are no ids."""
        if self._seen is None:
            return
        if len(self._seen) < LOOKED_AT:
            if number in self._seen:
                self._seen = None
                return
            self._seen.add(number)
            self._least, self._largest = min(self._least, number), max(self._largest, number)


def is_counter(name: str) -> bool:
    """Tell whether a column has the name of one that counts rows."""
    return name.strip().lower() in _COUNTERS or bool(_NAMED.match(name))


def is_id(name: str) -> bool:
    """Tell whether a column has the name of one of ids."""
    return is_counter(name) or bool(_ID.fullmatch(name.strip()) or _CAMEL.fullmatch(name.strip()))


def is_code(text: str) -> bool:
    """Tell whether a text of digits has zeros in front, or is the number of a telephone."""
    return text[:1] in {"0", "+"} and _CODE.fullmatch(text) is not None


def sort_of(texts: Collection[str]) -> str:
    """Return what texts are that are nearly numbers, in words; empty for others."""
    for called, pattern in _SORTS.items():
        found = [text for text in texts if pattern.fullmatch(text)]
        if found and len(found) >= _ALIKE * len(texts):
            return f"{called}, as {found[0]!r}"
    return ""
