"""Types of columns of tables in text: told once by all values, the same for every row.

A type is only taken where each value can be written back: ``00123``, ``+49`` and integers of more than 64 bits stay
text. Numbers may have decimal commas where commas do not part the cells. A recipe may say the type of a column.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any, Literal

import pyarrow as pa

from aepipe.errors import SourceError
from aepipe.sources.dates import Order, Written, order_said, read_date, readings
from aepipe.sources.item import SAID
from aepipe.sources.notation import LONGEST_MISSING, MISSING, read_number

Kind = Literal["integer", "number", "comma", "grouped", "unclear", "bool", "date", "timestamp", "text"]
"""What one value looks like. ``comma``: a number with a decimal comma; ``grouped``: that, or with thousands parted;
``unclear``: one of both, in a file without decimal commas."""
_PATTERNS: Mapping[Kind, re.Pattern[str]] = {
    "integer": re.compile(r"-?(?:0|[1-9]\d*)", re.ASCII),
    "number": re.compile(r"-?(?:(?:0|[1-9]\d*)(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?|[-+]?[iI]nf(?:inity)?", re.ASCII),
    "grouped": re.compile(r"-?[1-9]\d{0,2},\d{3}", re.ASCII),
    "comma": re.compile(r"-?(?:(?:0|[1-9]\d*)|[1-9]\d{0,2}(?:\.\d{3})+),\d+", re.ASCII),
    "bool": re.compile(r"true|false|TRUE|FALSE|True|False"),
    "date": re.compile(r"\d{4}-\d\d-\d\d", re.ASCII),
    "timestamp": re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?", re.ASCII),
}
_ROWS: Mapping[Kind, re.Pattern[str]] = {
    kind: re.compile(rf"(?:(?:{pattern.pattern})\n)+", pattern.flags) for kind, pattern in _PATTERNS.items()
}
_EXACT = 1 << 53
"""Larger integers are not all floats."""
_LEAST, _LARGEST = -(1 << 63), (1 << 63) - 1
_FEW = 0.05
"""Share of other values up to which a column of text is said to be nearly one of numbers."""
_HOPELESS = 1000
_TRUE = frozenset(["true", "1", "yes", "ja", "wahr", "oui", "vrai", "sí", "si", "verdadero", "vero", "sim", "是", "真"])
_FALSE = frozenset(["false", "0", "no", "nein", "falsch", "non", "faux"])
_FALSE |= {"falso", "não", "nao", "否", "假"}  # codespell:ignore falso
"""Only where a recipe says that a column is of truth values."""
_NUMBERS: frozenset[Kind] = frozenset({"integer", "number", "comma", "grouped", "unclear"})


@dataclass(slots=True)
class Column:
    """What the values of a column look like.

    Attributes:
        kinds: how often each kind was found, among different values of some rows.
        largest: of the integers, without sign.
        wide: an integer does not fit into 64 bits.
        strange: the first values that look like nothing but text.
        closed: it is text, whatever comes.
        written: the dates that people have written, among what looks like text.
    """

    kinds: Counter[Kind] = field(default_factory=Counter)
    largest: int = 0
    wide: bool = False
    strange: list[str] = field(default_factory=list)
    closed: bool = False
    written: Written = field(default_factory=Written)

    def add(self, values: Iterable[str | None]) -> None:
        """Look at some values."""
        if self.closed:
            return
        held = {value.strip() for value in values if value}
        held = {value for value in held if len(value) > LONGEST_MISSING or value.lower() not in MISSING}
        if not held:
            return
        kind = self._same(held)
        # Not every date that looks like one is in the calendar.
        found = {kind: held} if kind and kind not in {"date", "timestamp"} else _sorted(held)
        for one, members in found.items():
            self.kinds[one] += len(members)
            if one == "integer":
                self._measure(members)
        if strangers := found.get("text"):
            self.strange += sorted(strangers)[: 3 - len(self.strange)]
            texts = self.kinds["text"] - self._dated(strangers)
            others = self.kinds.total() - self.kinds["text"]
            self.closed = texts > _HOPELESS or (texts > max(20, others))

    def add_typed(self, kind: Kind, value: object) -> None:
        """Count one value of JSON, which has a type of its own."""
        self.kinds[kind] += 1
        if isinstance(value, str) and kind == "text" and self.written.total() == self.kinds["text"] - 1:
            self.written.add(value.strip())
        if kind == "integer" and isinstance(value, int):
            self._fit(value)

    def _dated(self, texts: Collection[str]) -> int:
        """Look for dates among texts of a column that had no other texts; return how many it has."""
        if self.written.total() == self.kinds["text"] - len(texts):
            next((text for text in sorted(texts) if not self.written.add(text)), None)
        return self.written.total()

    def dates(self) -> Written | None:
        """Return what texts tell of dates; None where one is no date, or all are ISO dates."""
        texts = self.kinds["text"]
        others = {kind for kind, count in self.kinds.items() if count} - {"text", "date", "timestamp"}
        if others or not texts or self.written.total() != texts:
            return None
        iso = Written(Counter(ymd=self.kinds["date"] + self.kinds["timestamp"]), timed=bool(self.kinds["timestamp"]))
        return self.written.merged(iso) if iso.total() else self.written

    def _same(self, held: set[str]) -> Kind | None:
        """Return the kind of all values; None where they are of several."""
        lines = "\n".join(held) + "\n"
        if lines.count("\n") > len(held):  # a value of several lines is text
            return None
        likely = [kind for kind, _ in self.kinds.most_common(1) if kind in _ROWS]
        return next((kind for kind in (*likely, *_ROWS) if _ROWS[kind].fullmatch(lines)), None)

    def _measure(self, members: Iterable[str]) -> None:
        for value in members:
            if len(value) > 15:
                self._fit(int(value) if len(value) < 30 else _LARGEST + 1)

    def _fit(self, value: int) -> None:
        self.largest = max(self.largest, abs(value))
        self.wide = self.wide or not _LEAST <= value <= _LARGEST

    def merged(self, other: Column) -> Column:
        """Return both together: the column in two files."""
        strange = [*self.strange, *other.strange][:3]
        closed = self.closed or other.closed
        return Column(
            self.kinds + other.kinds,
            max(self.largest, other.largest),
            self.wide or other.wide,
            strange,
            closed,
            self.written.merged(other.written),
        )

    def without_commas(self) -> Column:
        """Return the column of a file whose commas are no decimal signs."""
        if not self.kinds["comma"] and not self.kinds["grouped"]:
            return self
        kinds = Counter(self.kinds)
        kinds["unclear"] += kinds.pop("comma", 0) + kinds.pop("grouped", 0)
        return replace(self, kinds=kinds)

    def type(self) -> pa.DataType:
        """Return the type that holds all values as they are."""
        kinds = {kind for kind, count in self.kinds.items() if count}
        if self.wide or not kinds or "text" in kinds:
            return pa.string()
        if kinds == {"integer"}:
            return pa.int64()
        if kinds <= {"integer", "number"} or kinds <= {"integer", "comma", "grouped"}:
            return pa.float64() if self.largest <= _EXACT else pa.string()
        if kinds <= {"date", "timestamp"}:
            return pa.timestamp("us") if "timestamp" in kinds else pa.date32()
        return pa.bool_() if kinds == {"bool"} else pa.string()

    def doubt(self, name: str, found: pa.DataType) -> str:
        """Return why a column of text may be one of numbers, in words; empty where it is none."""
        numbers = sum(count for kind, count in self.kinds.items() if kind in _NUMBERS)
        others = self.kinds.total() - numbers
        if not pa.types.is_string(found) or self.closed or numbers < 10 or others > _FEW * numbers:
            return ""
        why = "its commas and points may part thousands"
        if self.strange:
            why = f"not all of its values are numbers: {', '.join(map(repr, self.strange))}"
        elif self.wide or self.largest > _EXACT:
            why = "its integers are too large"
        said = f'types = {{ {_key(name)} = "number" }}'
        return f"column {name!r} is kept as text, because {why}; to have numbers, say {said} under [source]"


@dataclass(slots=True)
class Columns:
    """The columns of one file, or of all.

    Attributes:
        found: what the values look like, by name.
        comma: the cells are not parted by commas, so numbers may have decimal commas.
    """

    found: dict[str, Column] = field(default_factory=dict)
    comma: bool = False

    def add(self, rows: Sequence[Sequence[str | None]], names: Sequence[str]) -> None:
        """Look at some rows, each with a value for each name."""
        for name, values in zip(names, zip(*rows, strict=True), strict=True):
            self.found.setdefault(name, Column()).add(values)

    @property
    def has_commas(self) -> bool:
        """Whether some column has decimal commas for certain; then values like 1,234 have them, too."""
        return self.comma and any(
            column.kinds["comma"] and not column.kinds["number"] and not column.kinds["text"]
            for column in self.found.values()
        )


def fits(found: pa.DataType, known: pa.DataType, column: Column) -> bool:
    """Whether all values of a column can have a known type.

    Args:
        found: the type that the values tell.
        known: another one.
        column: what its values look like.
    """
    if pa.types.is_string(known) or found == known:
        return True
    if not column.kinds.total():  # it has no value at all
        return converter(known, comma=False) is not None
    whole = pa.types.is_integer(found) and pa.types.is_floating(known) and column.largest <= _EXACT
    return whole or (pa.types.is_date(found) and pa.types.is_timestamp(known))


def type_said(name: str, said: str, column: Column) -> pa.DataType:
    """Return the type that a recipe says of a column.

    Raises:
        SourceError: there is no such type.
    """
    if said == "number":
        kinds = {kind for kind, count in column.kinds.items() if count} - {"text"}
        whole = kinds == {"integer"} and not column.wide and not any(map(_is_written, column.strange))
        return pa.int64() if whole else pa.float64()
    known: dict[str, pa.DataType] = {
        "text": pa.string(),
        "category": pa.string(),
        "integer": pa.int64(),
        "bool": pa.bool_(),
    }
    known |= {"date": pa.date32(), "timestamp": pa.timestamp("us")}
    said = said.partition("-")[0] if order_said(said) else said
    if said not in known:
        raise SourceError(f"types: column {name!r} cannot be {said!r}; allowed: {', '.join(SAID)}")
    return known[said]


def converter(kind: pa.DataType, *, comma: bool, order: Order | None = None) -> Callable[[str], Any] | None:
    """Return what makes a value of a text; None where it stays text.

    The function raises ValueError for a text that is no such value.

    Args:
        kind: of the column.
        comma: numbers have decimal commas.
        order: of dates, where the recipe says it.
    """
    if order is not None:
        return partial(_ordered_date if pa.types.is_date(kind) else _ordered, order=order)
    if pa.types.is_integer(kind):
        return _integer
    if pa.types.is_floating(kind):
        return _comma_number if comma else _number
    if pa.types.is_boolean(kind):
        return _bool
    if pa.types.is_date(kind):
        return _date
    return _timestamp if pa.types.is_timestamp(kind) else None


def _integer(text: str) -> int:
    found = int(text)
    if not _LEAST <= found <= _LARGEST:
        raise ValueError
    return found


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text.strip())
    except ValueError:  # only where a recipe says that these are dates
        found = _moment(text)
        if found != found.replace(hour=0, minute=0, second=0, microsecond=0):
            raise
        return found.date()


def _timestamp(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text.strip()).replace(tzinfo=None)
    except ValueError:
        return _moment(text)


def _moment(text: str) -> datetime:
    """Return a date as people write it; with dots, the day is first.

    Raises:
        ValueError: it is none, or either day or month may be first: a value does not know its column.
    """
    found = readings(text.strip())
    dotted = "." in text.strip()[:3]
    days = {found["dmy"]} if len(found) > 1 and dotted else set(found.values())
    if len(days) != 1:
        raise ValueError(f"{text!r} is no date, or may be two")
    return datetime(1970, 1, 1) + timedelta(days=days.pop())


def _ordered(text: str, *, order: Order) -> datetime:
    return datetime(1970, 1, 1) + timedelta(days=read_date(text, order, short=True))


def _ordered_date(text: str, *, order: Order) -> date:
    found = _ordered(text, order=order)
    if found != found.replace(hour=0, minute=0, second=0, microsecond=0):
        raise ValueError(f"{text!r} has a time of day")
    return found.date()


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:  # only where a recipe says that these are numbers
        return read_number(text, ".")


def _comma_number(text: str) -> float:
    try:
        return float(text.replace(".", "").replace(",", ".") if "," in text else text)
    except ValueError:
        return read_number(text, ",")


def _is_written(text: str) -> bool:
    """Whether a text is a number with the signs that people write: ``$12.50``."""
    return _parses(_number, text) or _parses(_comma_number, text)


def _bool(text: str) -> bool:
    word = text.strip().casefold()
    if word not in _TRUE and word not in _FALSE:
        raise ValueError
    return word in _TRUE


def _sorted(values: Iterable[str]) -> dict[Kind, set[str]]:
    """Return some values by their kind."""
    found: dict[Kind, set[str]] = {}
    for value in values:
        kind: Kind = next((one for one, pattern in _PATTERNS.items() if pattern.fullmatch(value)), "text")
        found.setdefault(kind, set()).add(value)
    for kind, parse in (("date", date.fromisoformat), ("timestamp", datetime.fromisoformat)):
        wrong = {value for value in found.get(kind, ()) if not _parses(parse, value)}
        if wrong:
            found["text"] = found.get("text", set()) | wrong
            found[kind] -= wrong
    return found


def _parses(parse: Callable[[str], object], value: str) -> bool:
    try:
        parse(value)
    except ValueError:
        return False
    return True


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else f'"{name}"'
