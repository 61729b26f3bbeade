"""Numbers and dates as people write them: what they mean, what they tell of their column, how they are written."""

from __future__ import annotations

from datetime import date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aepipe.sources import dates, notation
from aepipe.sources.dates import Order
from aepipe.sources.notation import Decimal


@pytest.mark.parametrize(
    ("text", "point", "comma"),
    [
        ("1.5", 1.5, None),
        ("1,5", None, 1.5),
        ("1,234", 1234, 1.234),
        ("1.234", 1.234, 1234),
        ("1,234,567.5", 1234567.5, None),
        ("1.234.567,5", None, 1234567.5),
        ("1'234.5", 1234.5, None),
        ("1 234,5", None, 1234.5),
        ("1\u202f234", 1234, 1234),
        ("1\u00a0234", 1234, 1234),
        ("12,34,567", 1234567, None),
        ("0,123", None, 0.123),
        ("$12.50", 12.5, None),
        ("12,50 €", None, 12.5),
        ("EUR 12", 12, 12),
        ("R$ 5", 5, 5),
        ("5 kr", 5, 5),
        ("45%", 45, 45),
        ("45 %", 45, 45),
        ("(123)", -123, -123),
        ("($1,234.50)", -1234.5, None),
        ("-$5", -5, -5),
        ("€-5", -5, -5),
        ("123-", -123, -123),
        ("−5", -5, -5),
        ("+49", 49, 49),
        ("1e5", 1e5, 1e5),
        ("1,5E+03", None, 1500),
        ("12,-", None, 12),
        *(
            (text, None, None)
            for text in ["", "41 years", "12a", "1..2", "--5", "(5", "1-2", "3 4", "1,23,4", "5--", "x"]
        ),
        *((text, None, None) for text in ["1e200", "inf", "192.168.1.1", "030 123", "1.10.0", "12:30", "2024-03-01"]),
    ],
)
def test_signs_are_read_with_the_decimal_sign_of_the_column(
    text: str, point: float | None, comma: float | None
) -> None:
    expected: dict[Decimal, float | None] = {".": point, ",": comma}
    for sign, value in expected.items():
        if value is None:
            with pytest.raises(ValueError, match=r"is no number|is too large"):
                notation.read_number(text, sign)
        else:
            assert notation.read_number(text, sign) == value


@pytest.mark.parametrize(
    ("texts", "others", "sign"),
    [
        (["1,234", "2,500"], False, "."),
        (["1,234", "2,500.75"], False, "."),
        (["1,234", "0,5"], False, ","),
        (["1,234", "1.234,5"], False, ","),
        (["1.234", "2.500"], False, "."),
        (["1.234", "2.500"], True, "."),
        (["1,234", "2,500"], True, ","),
        (["12.5", "1,5", "2,5"], False, ","),
        (["1,234"] * 399 + ["1,5"], False, "."),
        (["1.234"] * 399 + ["1.234,5"], False, ","),
        (["1", "22", "3 333"], False, "."),
    ],
)
def test_a_column_tells_its_decimal_sign(texts: list[str], others: bool, sign: str) -> None:
    counts: dict[str, int] = {}
    for text in texts:
        counts[notation.evidence(text)] = counts.get(notation.evidence(text), 0) + 1
    if others and sign == ".":
        # Where other columns have commas, a dot before three digits parts thousands.
        assert notation.decimal_sign(counts, comma=True) == ","
    else:
        assert notation.decimal_sign(counts, comma=others) == sign


@given(st.floats(-1e9, 1e9), st.sampled_from(["12.5", "$12.50", "12 %", "EUR 3", "-7"]), st.sampled_from([".", ","]))
def test_what_is_written_can_be_read(value: float, like: str, sign: Decimal) -> None:
    text = notation.write_number(value, like.replace(".", sign), sign)
    assert notation.read_number(text, sign) == pytest.approx(value, rel=1e-12, abs=1e-300)
    assert text.count("$") == like.count("$")
    assert text.endswith(" %") == like.endswith(" %")


@pytest.mark.parametrize(
    "text", ["", " ", "?", "NA", "#N/A", "#DIV/0!", "#REF!", "NULL", r"\N", ".", "--", "k.A.", "NaT", "<NA>"]
)
def test_no_value_is_written_in_many_ways(text: str) -> None:
    assert notation.is_missing(text)
    assert notation.present(text) is None


@pytest.mark.parametrize(
    ("text", "order", "moment"),
    [
        ("2024-03-01", "ymd", datetime(2024, 3, 1)),
        ("2024-03", "ymd", datetime(2024, 3, 1)),
        ("2024/3/1", "ymd", datetime(2024, 3, 1)),
        ("2024-03-01T12:30:00Z", "ymd", datetime(2024, 3, 1, 12, 30)),
        ("2024-03-01 12:30:00.123456789+01:00", "ymd", datetime(2024, 3, 1, 11, 30)),
        ("01.03.2024", "dmy", datetime(2024, 3, 1)),
        ("03/01/2024", "mdy", datetime(2024, 3, 1)),
        ("3/1/24 5:07 PM", "mdy", datetime(2024, 3, 1, 17, 7)),
        ("1 Mar 2024", "ymd", datetime(2024, 3, 1)),
        ("March 1st, 2024", "ymd", datetime(2024, 3, 1)),
        ("01-MAR-2024", "ymd", datetime(2024, 3, 1)),
        ("2024年3月1日", "ymd", datetime(2024, 3, 1)),
    ],
)
def test_dates_are_days_since_1970(text: str, order: Order, moment: datetime) -> None:
    expected = (moment - datetime(1970, 1, 1)).total_seconds() / 86_400
    assert dates.read_date(text, order) == pytest.approx(expected, abs=1e-9)
    assert dates.readings(text)[order] == pytest.approx(expected, abs=1e-9)
    again = dates.write_date(expected, text, order)
    assert dates.read_date(again, order) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    "text", ["2024-13-01", "31.02.2024", "1.2.3", "12:30", "2024", "May", "192.168.1.1", "1 Xyz 2024"]
)
def test_other_texts_are_no_dates(text: str) -> None:
    assert dates.readings(text) == {}
    with pytest.raises(ValueError, match="is no date"):
        dates.read_date(text, "dmy")


@given(
    st.dates(date(1970, 1, 1), date(2060, 1, 1)),
    st.sampled_from(["07.12.2024", "7/2/2024", "2024-01-05", "5 May 2024"]),
)
def test_any_date_is_written_as_another_one(day: date, like: str) -> None:
    order: Order = "dmy" if "." in like else "mdy"
    days = float((day - date(1970, 1, 1)).days)
    assert dates.read_date(dates.write_date(days, like, order), order) == days


def test_a_date_is_written_as_wide_as_another_one() -> None:
    written = {dates.write_date(19790.7, like, "mdy") for like in ("3/25/2024", "03/25/2024", "3/1/2024 5:07 PM")}
    assert written == {"3/9/2024", "03/09/2024", "3/8/2024 4:48 PM"}
