"""How people write numbers, and how they write that there is none.

A column decides together what its values mean: ``1,234`` is a thousand where other values are ``2,500.75``, and little
more than one where they are ``0,5``. So texts are first counted by what they show, and read when the decimal sign is
known; see :class:`aepipe.sources.tally.Tally`. Signs of currencies, per cent, thousands separators, brackets or a minus
behind a negative number are taken off: ``45%`` is 45.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Decimal = Literal[".", ","]
DECIMALS: tuple[Decimal, Decimal] = (".", ",")
Evidence = Literal["", "same", "point", "comma", "point!", "comma!", "dot?", "comma?"]
"""What one text tells of the decimal sign of its column.

Empty: it is no number. ``same``: both signs give the same number. ``point`` and ``comma``: only that sign makes it a
number; with ``!``, because another separator stands before it, or the other one stands in it twice. ``dot?`` and
``comma?``: a dot or a comma before three digits, which may be either.
"""
LARGEST = 1e150
"""Larger numbers are refused: the squares of smaller ones can still be summed up."""
SURE = 20
"""A text with two separators tells as much as so many with one; and one in so many is a slip."""
MISSING = frozenset(
    {
        "",
        "?",
        "na",
        "n/a",
        "nan",
        "null",
        "none",
        "-",
        ".",
        "--",
        "---",
        "–",
        "—",
        "…",
        "n.a.",
        "n. a.",
        "k.a.",
        "k. a.",
    }
    | {"#n/a", "#n/a n/a", "#na", "#null!", "#div/0!", "#ref!", "#value!", "#name?", "#num!", "#null", "\\n", "<na>"}
    | {"nat", "-nan", "+nan", "1.#qnan", "-1.#qnan", "1.#ind", "-1.#ind", "(null)", "<null>", "[null]", "<none>"}
)
"""Ways to write that there is no value, in small letters."""
INFINITE = frozenset(sign + word for sign in ("", "+", "-") for word in ("inf", "infinity", "∞", "1.#inf"))

_SPACES = " \u00a0\u2007\u2009\u202f"
_MINUS = str.maketrans({"−": "-", "–": "-", "﹣": "-", "－": "-", "’": "'", **dict.fromkeys(_SPACES, " ")})
_SIGNS = "$€£¥￥₹₽₩₺₴₪₫฿₦₱₡₲₵₸₼₾₿¢"
_CODES = (
    "USD|EUR|GBP|JPY|CNY|RMB|CHF|CAD|AUD|NZD|SEK|NOK|DKK|ISK|PLN|CZK|HUF|RON|BGN|TRY|RUB|UAH|ILS|INR|IDR|KRW|THB|VND|"
    "PHP|MYR|SGD|HKD|TWD|BRL|MXN|ARS|CLP|COP|PEN|ZAR|EGP|NGN|KES|SAR|AED|QAR|KWD|PKR|BDT|LKR"
)
_WORDS = ("zł", "Kč", r"kr\.?", "Ft", r"Fr\.?", r"Rs\.?", "lei", r"руб\.?", r"р\.", "元", "円", "원")
_MONEY = rf"(?:[A-Z]{{0,3}}[{_SIGNS}]|{'|'.join([_CODES, *_WORDS])})"
_AFFIXED = re.compile(
    rf"(?P<open>\()? ?(?P<first>[+-])? ?(?P<before>{_MONEY})? ?(?P<second>[+-])? ?"
    rf"(?P<body>[\d.,'][\d.,' ]*?)(?P<power>[eE][+-]?\d+)? ?(?P<third>-{{1,2}})? ?(?P<after>{_MONEY}|[%％‰])? ?"
    rf"(?P<close>\))?"
)
_DIGIT = re.compile(r"\d")
_DOTTED = re.compile(r"[+-]?[1-9]\d{0,2}\.\d{3}")


def _bodies(decimal: str, group: str) -> re.Pattern[str]:
    """Return what matches the digits of a number with a decimal sign; the group is its thousands separator."""
    point, groups = re.escape(decimal), f"[{group}' ]"
    whole = rf"\d+|[1-9]\d{{0,2}}(?P<sign>{groups})\d{{3}}(?:(?P=sign)\d{{3}})*"
    # India parts lakhs and crores: 12,34,567.
    whole += rf"|[1-9]\d?(?:{re.escape(group)}\d{{2}})+{re.escape(group)}\d{{3}}"
    return re.compile(rf"(?:{whole})(?:{point}\d*)?|{point}\d+")


_BODIES: Mapping[str, re.Pattern[str]] = {".": _bodies(".", ","), ",": _bodies(",", ".")}


def is_missing(text: str) -> bool:
    """Tell whether a text says that there is no value."""
    return text.strip().lower() in MISSING


def present(value: object) -> object:
    """Return a value, a text without spaces around it; None where there is none."""
    # Parquet writes a missing number as NaN or as null.
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, str):
        value = value.strip()
        return None if value.lower() in MISSING else value
    return value


def number(value: object) -> float:
    """Return a value as a number, a text as Python writes it.

    Raises:
        TypeError, ValueError: it is no number, not finite, or larger than :data:`LARGEST`.
    """
    try:
        found = float(value)  # type: ignore[arg-type]
    except OverflowError:  # JSON has integers of any length
        found = math.inf
    if not abs(found) <= LARGEST:
        raise ValueError(f"{value!r} is too large")
    return found


@dataclass(frozen=True, slots=True)
class Written:
    """A number as it is written.

    Attributes:
        negative: it is below zero.
        before: what stands before the digits: ``$``.
        body: digits and separators.
        power: the exponent with its letter, or nothing.
        after: what stands behind the digits: ``%``.
    """

    negative: bool
    before: str
    body: str
    power: str
    after: str


def written(text: str) -> Written | None:
    """Part the signs of a number from its digits; None where a text is no number."""
    if not _DIGIT.search(text):
        return None
    found = _AFFIXED.fullmatch(text.strip().translate(_MINUS))
    if found is None or bool(found["open"]) != bool(found["close"]):
        return None
    body, behind = found["body"].strip(), found["third"]
    # Prices end in a dash where there are no cents: 12,- or 12.--
    price = bool(behind) and body[-1:] in {".", ","}
    minus = (found["first"] == "-") + (found["second"] == "-") + bool(found["open"]) + (bool(behind) and not price)
    if minus > 1 or (found["first"] and found["second"]) or (behind == "--" and not price):
        return None
    return Written(minus == 1, found["before"] or "", body, found["power"] or "", found["after"] or "")


def read_number(text: str, decimal: Decimal) -> float:
    """Return a text as a number.

    Args:
        text: with any of the signs that people write.
        decimal: sign of its column.

    Raises:
        ValueError: it is no number, not finite, or larger than :data:`LARGEST`.
    """
    if decimal == ".":
        try:
            return number(text)
        except ValueError:
            pass
    parts = written(text)
    if parts is None or not _BODIES[decimal].fullmatch(parts.body):
        raise ValueError(f"{text!r} is no number")
    digits = re.sub(r"[,' ]" if decimal == "." else r"[.' ]", "", parts.body).replace(",", ".")
    found = number(digits + parts.power)
    return -found if parts.negative else found


def evidence(text: str) -> Evidence:
    """Return what a text tells of the decimal sign of its column."""
    parts = written(text)
    if parts is None:
        return ""
    point, comma = (_is_number(text, sign) for sign in DECIMALS)
    if not point and not comma:
        return ""
    if point and comma:
        return "dot?" if "." in parts.body else "comma?" if "," in parts.body else "same"
    sure = len(re.findall(r"[.,' ]", parts.body)) > 1
    if point:
        return "point!" if sure else "point"
    return "comma!" if sure else "comma"


def _is_number(text: str, decimal: Decimal) -> bool:
    try:
        read_number(text, decimal)
    except ValueError:
        return False
    return True


def plain_evidence(text: str) -> Evidence:
    """Return the same of a text that Python reads as a number, in less time."""
    if "." not in text:
        return "same"
    return "dot?" if _DOTTED.fullmatch(text) else "point"


def decimal_sign(counts: Mapping[str, int], *, comma: bool = False) -> Decimal:
    """Return the decimal sign of a column.

    Args:
        counts: how often each :data:`Evidence` was found.
        comma: other columns of the table have decimal commas.
    """
    points = counts.get("point", 0) + SURE * counts.get("point!", 0)
    commas = counts.get("comma", 0) + SURE * counts.get("comma!", 0)
    unclear = counts.get("comma?", 0) + counts.get("dot?", 0)
    # Whole numbers without separators are the same with both signs, and stay as they are.
    if comma and commas >= points and commas + unclear:
        return ","
    # A single 1,5 among many 1,234 is a slip, and not what tells how to read the others.
    return "," if commas > points and commas * SURE >= unclear else "."


def write_number(value: float, like: str, decimal: Decimal) -> str:
    """Write a number with the signs of another one of its column.

    Args:
        value: to write.
        like: a text of the column.
        decimal: sign of the column.
    """
    parts, sign = written(like), "-" if value < 0 else ""
    digits = format(abs(value), ".15g").replace(".", decimal)
    if parts is None or not (parts.before or parts.after):
        return sign + digits
    text = like.strip()
    place = text.translate(_MINUS).find(parts.body)
    gap = " " if parts.after and text[place + len(parts.body) :].lstrip("- ") != text[place + len(parts.body) :] else ""
    space = " " if parts.before and text[:place] != text[:place].rstrip() else ""
    return f"{sign}{parts.before}{space}{digits}{gap}{parts.after}"
