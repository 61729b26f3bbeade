"""What a column holds, told by all values: numbers, dates, categories, row numbers, texts.

A :class:`Tally` sees each value once, and then decides the :class:`Reading` of its column.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Literal

from aepipe.sources import dates, measures, notation
from aepipe.sources.dates import Order
from aepipe.sources.notation import Decimal

Kind = Literal["number", "date", "category", "text"]
"""What a column can be said to be, under ``types``."""
MOST_LEVELS = 64
"""Different texts of a category."""
STRAY = 0.05
"""Cells of a column of numbers that may be something else; they count as missing."""
TORN = 0.2
"""From :data:`STRAY` up to this share, nobody can tell whether they are mistakes."""
TORN_WORDS = 0.5
"""The same, where they are a few words that come up again and again."""
FEW_WORDS = 10
FEW_NUMBERS = 20
"""Up to so many different numbers may as well be categories, so that words among them are no mistakes."""
LEAST_TEXTS = 20
"""Texts that are all different are no categories, if they are as many."""
HOPELESS = 1000
"""So many texts, if they are more than half of the column, are looked at before it is taken for one of texts."""
LONG = 40
"""Letters of a text that is longer than any number or date."""
NAMED = 3
"""Cells that a message names."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How a column is read.

    Attributes:
        kind: of its values; None where it is not learned from.
        decimal: sign of its numbers, where some are not as Python writes them; None where all are.
        order: of day and month in its dates.
        short: ``1.3.24`` is one of them.
        reason: why it is not learned from.
        strays: cells that are not of the kind, and count as missing.
        examples: the first of them, each with its place.
        torn: nobody can tell what it is; the text says why.
        notes: what was guessed, in words.
    """

    kind: Kind | None
    decimal: Decimal | None = None
    order: Order = "ymd"
    short: bool = False
    reason: str = ""
    strays: int = 0
    examples: tuple[tuple[str, str], ...] = ()
    torn: str = ""
    notes: tuple[str, ...] = ()

    def read(self, value: object) -> float:
        """Return a value of a column of numbers or dates as a number.

        Raises:
            TypeError, ValueError: it is not one.
        """
        if self.kind == "date":
            return dates.read_date(value, self.order, short=self.short)
        if self.decimal is None or not isinstance(value, str):
            return notation.number(value)
        return notation.read_number(value, self.decimal)


@dataclass(slots=True)
class Sums:
    """Sums of the numbers of a column.

    Attributes:
        count: numbers.
        total: of these numbers.
        squares: sum of their squares.
    """

    count: int = 0
    total: float = 0.0
    squares: float = 0.0

    def add(self, number: float) -> None:
        """Add a number."""
        self.count, self.total, self.squares = self.count + 1, self.total + number, self.squares + number**2


@dataclass(slots=True)
class Tally:
    """A column so far.

    Attributes:
        name: of the column.
        said: the order of its dates, where the recipe says it; then ``1.3.24`` is one, too.
        values: how often each value occurs, while they are few.
        many: there are too many for a category, and they are no longer counted.
        count: values in all, without the missing ones.
        plain: those that Python reads as numbers.
        signs: other numbers, and what each tells of the decimal sign; see :data:`aepipe.sources.notation.Evidence`.
        dates: what each date tells of day and month.
        infinite: values that are.
        words: values that are neither, while they are few, and the place of the first of each.
        strangers: how many of these there are.
        sums: of numbers of the train split by decimal sign, but for commas, and of dates by their order.
    """

    name: str
    said: Order | None = None
    values: Counter[str] = field(default_factory=Counter)
    many: bool = False
    count: int = 0
    plain: int = 0
    signs: Counter[str] = field(default_factory=Counter)
    dates: Counter[str] = field(default_factory=Counter)
    infinite: int = 0
    words: dict[str, str] = field(default_factory=dict)
    strangers: int = 0
    sums: defaultdict[str, Sums] = field(default_factory=lambda: defaultdict(Sums))
    _marks: Counter[str] = field(default_factory=Counter)
    _first: dict[str, tuple[str, str]] = field(default_factory=dict)
    _flags: bool = True
    _dotted: bool = False
    _codes: int = 0
    _code: str = ""
    _numbers: measures.Numbering = field(default_factory=measures.Numbering)

    def add(self, value: object, place: str, *, learn: bool = True) -> None:
        """Count one value that is not missing.

        Args:
            value: a text or what a format with types gives.
            place: of its row, ``file#row``.
            learn: it belongs to the train split, so that it counts for the sums.
        """
        self.count += 1
        if not self.many:
            self.values[str(value)] += 1
            self.many = len(self.values) > MOST_LEVELS
        self._flags = self._flags and isinstance(value, bool)
        if isinstance(value, str) and value in self.words:
            self.strangers += 1
            return
        try:
            number = notation.number(value)
        except (TypeError, ValueError):
            self._add_other(value, place, learn=learn)
            return
        self.plain += 1
        if not self._numbers.over:
            self._numbers.add(number, place)
        if learn:
            self.sums["."].add(number)
        if isinstance(value, str) and measures.is_code(value):
            self._codes += 1
            self._code = self._code or value
        if isinstance(value, str) and "." in value:
            self._see(notation.plain_evidence(value), value, place)
        else:
            self.signs["same"] += 1

    def decided(
        self, kind: Kind | None = None, *, comma: bool = False, stray: float = STRAY, single: bool = False
    ) -> Reading:
        """Return how the column is read.

        Args:
            kind: that the user says it is.
            comma: other columns of the table have decimal commas.
            stray: share of cells that may be something else.
            single: a column with a single value is read, too.
        """
        if kind is not None:
            return self._told(kind, comma)
        reason = self._empty(single)
        if reason:
            return Reading(None, reason=reason)
        number, day = self._as_number(comma), self._as_date()
        best = number if number.strays <= day.strays else day
        if self._flags:
            return Reading("category")
        # Also with a few words among them numbers may be ids.
        whole = self.plain >= (1 - stray) * self.count
        reason = self._numbers.why(self.name, self.plain) if whole else ""
        if self._codes > measures.CODES * self.count and not reason.startswith(measures.ROWS):
            return self._as_category(f"codes with zeros or a plus in front, as {self._code!r}")
        if best.strays:
            return self._with_strays(best, stray)
        return Reading(None, reason=reason) if reason else best

    def _empty(self, single: bool) -> str:
        """Return why there is nothing to learn from in the column; empty where there is something."""
        if not self.count - self.infinite:
            return "no value"
        if not single and not self.many and len(self.values) < 2:
            return f"one value: {_short(next(iter(self.values)))}"
        return ""

    def _with_strays(self, best: Reading, stray: float) -> Reading:
        """Return how a column is read some of whose values are no numbers, or no dates."""
        share = best.strays / (self.count - self.infinite)
        # So many different numbers or dates are no categories.
        measured = self.many or len(self.values) - len(self.words) > FEW_NUMBERS
        if measured and share <= stray:
            return best
        if measured and (share <= TORN or (share <= TORN_WORDS and len(self.words) <= FEW_WORDS)):
            return replace(best, torn=self._torn(best))
        return self._as_category(measures.sort_of(self.words))

    def _as_category(self, sort: str) -> Reading:
        """Return how texts are read.

        Args:
            sort: what they are, where they are nearly numbers.
        """
        if self.many:
            return Reading(None, reason=f"more than {MOST_LEVELS} different texts: {sort or 'an id or a text'}")
        if len(self.values) == self.count >= LEAST_TEXTS:
            return Reading(None, reason=f"{self.count} texts, all of them different: {sort or 'an id or a text'}")
        notes = (f"column {self.name!r}: categories, not numbers: {sort}",) if sort else ()
        return Reading("category", notes=notes)

    @property
    def has_commas(self) -> bool:
        """Whether the column shows that the table has decimal commas."""
        return 2 * self.strangers < self.count and notation.decimal_sign(self.signs) == ","

    def _add_other(self, value: object, place: str, *, learn: bool) -> None:
        """Count a value that Python does not read as a number."""
        if isinstance(value, date):
            self.dates["ymd"] += 1
            if learn:
                self.sums["ymd"].add(dates.read_date(value, "ymd"))
            return
        text = str(value)
        if text.lower() in notation.INFINITE:
            self.infinite += 1
            return
        if len(text) > LONG or not self._may_be_more or not self._is_written(text, place, learn=learn):
            self.strangers += 1
            if len(self.words) <= MOST_LEVELS:
                self.words.setdefault(text, place)

    @property
    def _may_be_more(self) -> bool:
        """Whether the column may be more than texts; else a look at each of them would be lost time."""
        return self.strangers < HOPELESS or len(self.words) <= MOST_LEVELS or 2 * self.strangers < self.count

    def _is_written(self, text: str, place: str, *, learn: bool) -> bool:
        """Count a text that is a number or a date; tell whether it is one."""
        found = notation.evidence(text)
        if found:
            parts = notation.written(text)
            assert parts is not None, "it is a number"
            self._marks[parts.before or parts.after or ""] += 1
            self._see(found, text, place)
            if learn and found not in {"comma", "comma!"}:
                self.sums["."].add(notation.read_number(text, "."))
            return True
        days = dates.readings(text, short=self.said is not None)
        if days:
            self.dates[dates.evidence(days)] += 1
            self._dotted = self._dotted or "." in text[:3]
            self._first.setdefault("date", (text, place))
        for order, day in days.items() if learn else ():
            self.sums[order].add(day)
        return bool(days)

    def _see(self, found: str, text: str, place: str) -> None:
        self.signs[found] += 1
        if found not in self._first:
            self._first[found] = (text, place)

    def _told(self, kind: Kind, comma: bool) -> Reading:
        """Return how the column is read as what the user says it is."""
        if kind in {"number", "date"}:
            found = self._as_number(comma) if kind == "number" else self._as_date()
            if found.strays + self.infinite == self.count:
                return Reading(None, reason=f"no value is a {kind}, as types says of it")
            return found
        if kind == "category":
            if self.many:
                return Reading(None, reason=f"more than {MOST_LEVELS} different texts are too many for a category")
            return Reading("category")
        return Reading(None, reason="a text")

    def _as_number(self, comma: bool) -> Reading:
        """Return how the column is read as numbers."""
        sign = notation.decimal_sign(self.signs, comma=comma)
        other = ("comma", "comma!") if sign == "." else ("point", "point!")
        written = sum(self.signs.values()) - self.plain
        lost = sum(self.signs[found] for found in other)
        strays = self.strangers + sum(self.dates.values()) + lost
        examples = [self._first[found] for found in other if found in self._first]
        examples += [self._first["date"]] if "date" in self._first else []
        examples += self._named_words()
        plain = sign == "." and not written
        notes = () if plain else tuple(self._number_notes(sign))
        return Reading(
            "number",
            decimal=None if plain else sign,
            strays=strays,
            examples=tuple(examples[:NAMED]),
            notes=(*notes, *self._stray_notes("number", strays, examples)),
        )

    def _as_date(self) -> Reading:
        """Return how the column is read as dates."""
        order = self.said or dates.order_of(self.dates, dotted=self._dotted)
        other = self.dates["mdy"] if order == "dmy" else self.dates["dmy"] if order == "mdy" else 0
        numbers = sum(self.signs.values())
        strays = self.strangers + numbers + other
        examples = [one for found, one in self._first.items() if found != "date"] if numbers else []
        examples += self._named_words()
        notes: list[str] = []
        if self.dates["day?"] and not self.dates["dmy"] and not self.dates["mdy"] and not self.said:
            first = "day" if order == "dmy" else "month"
            notes = [f"column {self.name!r}: dates with the {first} first, as {self._first['date'][0]!r}: a guess"]
        return Reading(
            "date",
            order=order,
            short=self.said is not None,
            strays=strays,
            examples=tuple(examples[:NAMED]),
            notes=(*notes, *self._stray_notes("date", strays, examples)),
        )

    def _named_words(self) -> list[tuple[str, str]]:
        return list(self.words.items())[:NAMED]

    def _number_notes(self, sign: Decimal) -> list[str]:
        """Say how numbers are read that people have written."""
        notes = []
        unclear = "comma?" if self.signs["comma?"] else "dot?"
        if sign == "," or self.signs["comma?"]:
            text = next((self._first[one][0] for one in ("comma!", "comma", unclear) if one in self._first), "")
            how = "decimal commas" if sign == "," else "commas between thousands"
            sure = any(self.signs[one] for one in ("comma", "comma!", "point", "point!"))
            notes.append(f"column {self.name!r}: numbers with {how}, as {text!r}{'' if sure else ': a guess'}")
        marks = [mark for mark in self._marks if mark]
        if marks:
            bare = "; some have none" if self.plain or self._marks[""] else ""
            notes.append(f"column {self.name!r}: numbers without their signs: {', '.join(marks[:4])}{bare}")
        return notes

    def _stray_notes(self, kind: str, strays: int, examples: Sequence[tuple[str, str]]) -> list[str]:
        notes = []
        if strays:
            named = ", ".join(f"{_short(text)} ({place})" for text, place in examples[:NAMED])
            notes.append(f"column {self.name!r}: {strays:,} of {self.count:,} values are no {kind}s, missing: {named}")
        if self.infinite:
            notes.append(f"column {self.name!r}: {self.infinite:,} infinite values, missing")
        return notes

    def _torn(self, best: Reading) -> str:
        """Return what is told of a column that may be one of numbers with mistakes, or one of texts."""
        named = ", ".join(f"{_short(text)} ({place})" for text, place in best.examples)
        right = self.count - self.infinite - best.strays
        return f"{right:,} of {self.count:,} values are {best.kind}s, others are not: {named}"


def reading_of(
    kinds: Mapping[str, Kind], tallies: Mapping[str, Tally], *, stray: float = STRAY, single: bool = False
) -> dict[str, Reading]:
    """Return how each column of a table is read.

    Args:
        kinds: that the user says columns have.
        tallies: of all columns, by name.
        stray: share of cells of a column of numbers that may be something else.
        single: columns with a single value are read, too.
    """
    comma = any(one.has_commas for one in tallies.values())
    chosen = {"comma": comma, "stray": stray, "single": single}
    return {name: one.decided(kinds.get(name), **chosen) for name, one in tallies.items()}  # type: ignore[arg-type]


def _short(text: str) -> str:
    return repr(text if len(text) <= 30 else f"{text[:27]}...")
