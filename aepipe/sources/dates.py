"""Dates as people write them, as days since 1970.

``2024-03-01``, with a time and a zone or without; ``01.03.2024``, ``3/1/2024``, ``1 Mar 2024``, ``2024年3月1日``. A
column decides together whether day or month comes first: a 25 is no month. ``1.3.24`` is a date only where the recipe
says so, as a number of a version looks the same.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Literal

Order = Literal["ymd", "dmy", "mdy"]
"""The order of year, month and day in a text of digits."""
Evidence = Literal["", "ymd", "dmy", "mdy", "day?"]
"""What a text tells of that order; empty where it is no date, ``day?`` where day or month may be first."""

_EPOCH = datetime(1970, 1, 1)
_DAY = 86_400.0
_ONE = timedelta(days=1)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_NAME = "|".join(f"{month}[a-z]*" for month in _MONTHS)
_TIME = (
    r"(?:[T ,]+(?P<H>\d{1,2}):(?P<M>\d{2})(?::(?P<S>\d{2})(?:[.,](?P<f>\d{1,9}))?)? ?(?P<half>[ap]\.?m\.?)?"
    r" ?(?P<zone>Z|UTC|GMT|[+-]\d{2}:?\d{2}|[+-]\d{2})?)?"
)
_FORMS = tuple(
    re.compile(form + _TIME, re.IGNORECASE)
    for form in (
        r"(?P<y>\d{4})(?P<sep>[-/.])(?P<m>\d{1,2})(?:(?P=sep)(?P<d>\d{1,2}))?",
        r"(?P<a>\d{1,2})(?P<sep>[-/.])(?P<b>\d{1,2})(?P=sep) ?(?P<y>\d{4})",
        r"(?P<a>\d{2})(?P<sep>[-/.])(?P<b>\d{2})(?P=sep)(?P<y>\d{2})",
        r"(?P<a>\d{1,2})/(?P<b>\d{1,2})/(?P<y>\d{2})",
        rf"(?P<d>\d{{1,2}})(?:st|nd|rd|th|\.)?[- ](?P<m>{_NAME})\.?[-, ]+(?P<y>\d{{4}})",
        rf"(?P<m>{_NAME})\.? (?P<d>\d{{1,2}})(?:st|nd|rd|th)?,? +(?P<y>\d{{4}})",
        r"(?P<y>\d{4})年 ?(?P<m>\d{1,2})月(?: ?(?P<d>\d{1,2})日)?",
    )
)
_SHORT = re.compile(r"(?P<a>\d{1,2})(?P<sep>\.)(?P<b>\d{1,2})\. ?(?P<y>\d{2})" + _TIME, re.IGNORECASE)
_LONGEST = 40
_FEWEST = 2


def readings(text: str, *, short: bool = False) -> dict[Order, float]:
    """Return the days since 1970 that a text may mean, by order; none where it is no date.

    Args:
        text: that may be a date.
        short: ``1.3.24`` is one, too.
    """
    day = _iso_day(text)
    if day is not None:
        return {"ymd": day}
    found = _match(text, short=short)
    if found is None:
        return {}
    orders: tuple[Order, ...] = ("ymd",) if found.groupdict().get("a") is None else ("dmy", "mdy")
    moments = ((order, _moment(found, order)) for order in orders)
    return {order: (moment - _EPOCH) / _ONE for order, moment in moments if moment is not None}


def evidence(found: Mapping[Order, float]) -> Evidence:
    """Return what a text with some :func:`readings` tells of the order of its column."""
    return "day?" if len(found) > 1 else next(iter(found), "")


def order_of(counts: Mapping[str, int], *, dotted: bool = False) -> Order:
    """Return the order of a column.

    Args:
        counts: how often each :data:`Evidence` was found.
        dotted: the dates have dots, as where the day is first.
    """
    days, months = counts.get("dmy", 0), counts.get("mdy", 0)
    if not days and not months:
        return "ymd" if not counts.get("day?", 0) else "dmy" if dotted else "mdy"
    return "dmy" if days >= months else "mdy"


@dataclass(slots=True)
class Written:
    """What the texts of a column tell of the dates in it.

    Attributes:
        counts: how often each :data:`Evidence` was found, among different texts.
        first: the first date.
        short: some are written as ``1.3.24``.
        timed: some have a time of day.
        dotted: all have dots.
        vague: some lack the day, or have a zone.
    """

    counts: Counter[str] = field(default_factory=Counter)
    first: str = ""
    short: bool = False
    timed: bool = False
    dotted: bool = True
    vague: bool = False

    def add(self, text: str) -> bool:
        """Look at a text; tell whether it is a date."""
        found = readings(text, short=True) if len(text) <= _LONGEST else {}
        if not found:
            return False
        self.counts[evidence(found)] += 1
        match = _match(text, short=True)
        parts = match.groupdict() if match else {}
        self.first = self.first or text
        self.short = self.short or _match(text) is None
        self.timed = self.timed or parts.get("H") is not None
        self.dotted = self.dotted and parts.get("sep") == "."
        day = parts.get("d") if "d" in parts else parts.get("a")
        self.vague = self.vague or day is None or parts.get("zone") is not None
        return True

    def merged(self, other: Written) -> Written:
        """Return both together: the column in two files."""
        return Written(
            self.counts + other.counts,
            self.first or other.first,
            self.short or other.short,
            self.timed or other.timed,
            self.dotted and other.dotted,
            self.vague or other.vague,
        )

    def total(self) -> int:
        """Return the number of different dates."""
        return self.counts.total()

    def said(self) -> str:
        """Return the type that a recipe has to say to have dates; empty where none is sure.

        Dots mean that the day is first, but where a value says otherwise. Of slashes and dashes a value has to tell.
        """
        days, months = self.counts["dmy"], self.counts["mdy"]
        likely = self.dotted and not self.short  # of a number of a version, a value has to tell, too
        if self.vague or self.total() < _FEWEST or (days and months):
            return ""
        if self.counts["day?"] and not (days or months or likely):
            return ""
        kind = "timestamp" if self.timed else "date"
        if self.short or not self.dotted or months:
            kind += "-mdy" if months else "-dmy" if days or self.counts["day?"] else ""
        return kind

    def unsure(self) -> bool:
        """Whether no value tells if the day is first."""
        return not (self.said() or self.vague or self.short) and self.counts["day?"] == self.total()


def order_said(said: str) -> Order | None:
    """Return the order that a type of a recipe says: ``date-dmy``; None where it says none."""
    order = said.partition("-")[2]
    return "dmy" if order == "dmy" else "mdy" if order == "mdy" else None


def read_date(value: object, order: Order, *, short: bool = False) -> float:
    """Return a date as days since 1970, the time of day as a part of one.

    Args:
        value: a date, or the text of one.
        order: of the column; texts that tell it themselves do not need it.
        short: ``1.3.24`` is one, too.

    Raises:
        ValueError: it is no date.
    """
    if isinstance(value, date):
        value = value.isoformat()
    day = _iso_day(value) if isinstance(value, str) else None
    if day is not None:
        return day
    found = _match(value, short=short) if isinstance(value, str) else None
    moment = _moment(found, order) if found else None
    if moment is None:
        raise ValueError(f"{value!r} is no date")
    return (moment - _EPOCH) / _ONE


def write_date(days: float, like: str, order: Order) -> str:
    """Write a date as another one of its column, in its zone, to a day, minute or second.

    Args:
        days: since 1970.
        like: a text of the column.
        order: of the column.
    """
    found = _match(like)
    assert found is not None, "like is a date"
    parts = {name: value for name, value in found.groupdict().items() if value is not None}
    finest = _DAY if "H" not in parts else 60.0 if "S" not in parts else 1.0
    moment = _EPOCH + timedelta(seconds=round(days * _DAY / finest) * finest) + _offset(parts.get("zone", ""))
    fields = _fields(moment, parts, order)
    out, at, text = "", 0, found.string
    for name in sorted(fields, key=found.start):
        out += text[at : found.start(name)] + fields[name]
        at = found.end(name)
    return out + text[at:]


def _fields(moment: datetime, parts: Mapping[str, str], order: Order) -> dict[str, str]:
    """Return the fields of a date, as wide as those of another date, by name."""
    first, second = (moment.month, moment.day) if order == "mdy" else (moment.day, moment.month)
    numbers = {"y": moment.year, "m": moment.month, "d": moment.day, "a": first, "b": second}
    hour = (moment.hour - 1) % 12 + 1 if "half" in parts else moment.hour
    numbers |= {"H": hour, "M": moment.minute, "S": moment.second, "f": 0}
    # A field of one digit tells that none is filled up; one of two digits tells nothing.
    short = any(len(parts[name]) == 1 for name in "mdab" if name in parts)
    out = {}
    for name, like in parts.items():
        if name == "half":
            out[name] = _like("pm" if moment.hour >= 12 else "am", like)
        elif name == "m" and not like.isdigit():
            out[name] = _like(moment.strftime("%b" if len(like) <= 4 else "%B"), like)
        elif name in numbers:
            number = numbers[name] % 100 if name == "y" and len(like) == 2 else numbers[name]
            out[name] = str(number).zfill(0 if short and name in "mdab" else len(like))
    return out


def _like(word: str, like: str) -> str:
    return word.upper() if like.isupper() else word.lower() if like.islower() else word


def _iso_day(text: str) -> float | None:
    """Return the day of ``2024-03-01``, the commonest form, which takes less time; None for every other text."""
    if len(text) != 10 or text[4] != "-" or text[7] != "-":
        return None
    try:
        return float(date.fromisoformat(text).toordinal() - _EPOCH.toordinal())
    except ValueError:
        return None


def _match(text: str, *, short: bool = False) -> re.Match[str] | None:
    text = text.strip()
    forms = (*_FORMS, _SHORT) if short else _FORMS
    return next((found for form in forms if (found := form.fullmatch(text))), None)


def _moment(found: re.Match[str], order: str) -> datetime | None:
    """Return the moment of a match, in UTC where it has a zone; None where there is no such date."""
    parts = {name: value for name, value in found.groupdict().items() if value is not None}
    year = int(parts["y"])
    if len(parts["y"]) == 2:
        year += 1900 if year >= 69 else 2000
    if "a" in parts:
        if order == "ymd":
            return None
        day, month = (parts["a"], parts["b"]) if order == "dmy" else (parts["b"], parts["a"])
    else:
        day, month = parts.get("d", "1"), parts["m"]
    number = int(month) if month.isdigit() else _MONTHS.index(month[:3].lower()) + 1
    try:
        moment = datetime(year, number, int(day), *_clock(parts))
    except ValueError:
        return None
    return moment - _offset(parts.get("zone", ""))


def _clock(parts: Mapping[str, str]) -> tuple[int, int, int]:
    hour = int(parts.get("H", 0))
    half = parts.get("half", "").lower()
    if half:
        hour = hour % 12 + (12 if half.startswith("p") else 0)
    return hour, int(parts.get("M", 0)), int(parts.get("S", 0))


def _offset(zone: str) -> timedelta:
    if not zone or zone[0] not in "+-":
        return timedelta()
    digits = zone[1:].replace(":", "").ljust(4, "0")
    away = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return away if zone[0] == "+" else -away
