"""Rows of tables become cells: kinds of columns, scaling, missing values, refusals."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from aepipe import sources
from aepipe.errors import ItemError, QueryError, SourceError
from aepipe.sources import notation
from aepipe.sources.loader import Outcome, read_all
from aepipe.sources.table.source import Features, Options, Table

LINES = """age,job,smokes,never,always,note,income
41,baker,yes,,1,a1,low
23,smith,no,?,1,a2,high
?,cook,yes,,1,a3,low
35,baker,,NA,1,a4,high
60,,no,,1,a5,low
"""


def table(folder: Path, path: str = "t.csv", units: dict[str, str] | None = None, **options: object) -> Table:
    return Table(Options(path=path, **options), Features(units=units or {}), base=folder, name="t")  # type: ignore[arg-type]


def outcomes(source: Table) -> list[Outcome]:
    return list(read_all(source.fitted(None)))


def write(folder: Path, text: str = LINES, name: str = "t.csv") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_the_values_of_a_column_tell_its_kind(tmp_path: Path) -> None:
    source = table(write(tmp_path), label="income", leave_out=("note",))
    columns: list[dict[str, Any]] = source.features()["columns"]
    assert [(column["name"], column["kind"]) for column in columns] == [
        ("age", "number"),
        ("job", "category"),
        ("smokes", "category"),
    ]
    assert columns[1]["levels"] == ["baker", "cook", "smith"]
    assert source.shape == (5,)
    assert source.spans == [
        {"columns": 1, "likelihood": "gaussian"},
        {"columns": 3, "likelihood": "categorical"},
        {"columns": 1, "likelihood": "bernoulli"},
    ]


def test_cells_follow_the_formula_and_missing_values_are_nan(tmp_path: Path) -> None:
    rows = np.array([one.features for one in outcomes(table(write(tmp_path), label="income", leave_out=("note",)))])
    ages = np.array([41, 23, 35, 60])
    expected = (ages - ages.mean()) / ages.std()
    np.testing.assert_allclose(rows[[0, 1, 3, 4], 0], expected, rtol=1e-5)
    nan = math.nan
    np.testing.assert_array_equal(rows[:, 1:4], [[1, 0, 0], [0, 0, 1], [0, 1, 0], [1, 0, 0], [nan, nan, nan]])
    np.testing.assert_array_equal(rows[:, 4], [1, 0, 1, nan, 0])
    assert np.isnan(rows[2, 0])


def test_numbers_far_from_the_mean_are_clipped(tmp_path: Path) -> None:
    write(tmp_path, "x,y\n" + "\n".join(f"{n % 7},{n % 3}" for n in range(100)) + "\n")
    decode = sources.decoder("table", table(tmp_path).fitted(None).features())
    assert decode(b'{"x": 1e9}', "q")[0] == 5.0
    assert decode(b'{"x": -1e9}', "q")[0] == -5.0


def test_mean_and_scale_are_those_of_the_train_split(tmp_path: Path) -> None:
    write(tmp_path, "x,s\n1,train\n3,train\n1000,test\n")
    (column,) = table(tmp_path, split="s").features()["columns"]
    assert column["mean"] == 2.0
    assert column["scale"] == 1.0


def test_a_table_gives_the_same_rows_in_every_format(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"x": 1.5, "c": "a"},
        {"x": None, "c": "b"},
        {"x": 2.5, "c": "a"},
        {"x": 1.0, "c": "c"},
    ]
    write(tmp_path, "\n".join(json.dumps(row) for row in rows), "t.jsonl")
    write(tmp_path, "x,c\n" + "\n".join(f"{row['x'] or ''},{row['c']}" for row in rows) + "\n")
    pq.write_table(pa.table({name: [row[name] for row in rows] for name in ("x", "c")}), tmp_path / "t.parquet")
    found = [[one.features for one in outcomes(table(tmp_path, f"t.{kind}"))] for kind in ("csv", "jsonl", "parquet")]
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_columns_keep_what_was_learned(tmp_path: Path) -> None:
    before = table(write(tmp_path), leave_out=("note",)).fitted(None)
    write(tmp_path, LINES + "99,baker,no,,1,a6,low\n")
    after = table(tmp_path, leave_out=("note",))
    assert after.features() != before.features()
    assert after.fitted(before.features()).features() == before.features()


def test_a_new_category_counts_as_missing(tmp_path: Path) -> None:
    decode = sources.decoder("table", table(write(tmp_path), leave_out=("note",)).fitted(None).features())
    row = decode(b'{"age": 41, "job": "astronaut", "smokes": "perhaps"}', "q")
    assert np.isfinite(row[0])
    assert np.isnan(row[1:5]).all()


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"[1]", "not a JSON object"),
        (b"{", "not a JSON object"),
        (b'{"age": "old"}', r"column 'age' \(years\): 'old' is not a number"),
        (b'{"age": 1e200}', r"column 'age' \(years\): 1e\+200 is not a number, or too large"),
        (b'{"age": 1%s}' % (b"0" * 400), r"column 'age' \(years\): 10+ is not a number, or too large"),
        (b'{"age": Infinity}', r"column 'age' \(years\): inf is not a number"),
        (b'{"height": 3}', "no value in any column that the collection is known by: age, job, smokes, income$"),
        (b'{"job": "astronaut"}', "column 'job': 'astronaut' is none of its 3 categories: "),
    ],
)
def test_bad_rows_are_refused(tmp_path: Path, body: bytes, says: str) -> None:
    source = table(write(tmp_path), units={"age": "years"}, leave_out=("note",)).fitted(None)
    with pytest.raises(ItemError, match=says):
        sources.decoder("table", source.features())(body, "q")


def test_a_table_without_a_useful_column_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "a,b\n1,?\n1,\n1,NA\n")
    with pytest.raises(SourceError, match="no column can be learned from: a: one value: '1'; b: no value"):
        table(tmp_path).fitted(None).fitted(None)


def test_a_query_is_an_object_or_a_file(tmp_path: Path) -> None:
    write(tmp_path)
    decode = sources.decoder("table", table(tmp_path).fitted(None).features())
    (item,) = sources.query_items("table", '{"age": 41, "job": "baker"}')
    assert np.isfinite(decode(item.read(), "q")[0])
    assert len([decode(item.read(), "q") for item in sources.query_items("table", str(tmp_path / "t.csv"))]) == 5
    with pytest.raises(QueryError, match="no such file; ask with a file, or with a row like"):
        list(sources.query_items("table", "nowhere"))


def test_a_column_with_a_huge_number_is_one_of_texts(tmp_path: Path) -> None:
    """Its mean and scale would not be numbers."""
    for huge in ("1e200", "-1e200", "1" + "0" * 400):
        source = table(write(tmp_path, f"a,b\n1,2\n{huge},3\n4,5\n1,2\n"))
        assert [(column["name"], column["kind"]) for column in source.features()["columns"]] == [
            ("a", "category"),
            ("b", "number"),
        ]


def test_two_columns_with_the_same_name(tmp_path: Path) -> None:
    """An option could not tell which one it names."""
    pq.write_table(pa.table([[1, 4], [2, 5], [3, 6]], names=["a", "b", "a"]), tmp_path / "t.parquet")
    with pytest.raises(SourceError, match=r"t\.\w+: 2 columns have the name 'a'; each needs one of its own"):
        table(tmp_path, "t.parquet")
    source = table(write(tmp_path, "a,b,a\n1,2,3\n4,5,6\n"))
    assert source.schema().names[:3] == ["a", "b", "a_2"]
    assert source.notes[:1] == ("t.csv: 2 columns have the name 'a'; they are called a, a_2",)


def test_a_parquet_file_whose_text_is_no_utf8_is_named(tmp_path: Path) -> None:
    """The bad byte is in a value, or in the name of a column."""
    pq.write_table(pa.table({"abcdef": [1, 2], "word": ["qwertz", "b"]}), tmp_path / "t.parquet", compression="none")
    whole = (tmp_path / "t.parquet").read_bytes()
    for text in (b"abcdef", b"qwertz"):
        (tmp_path / "t.parquet").write_bytes(whole.replace(text, text[:3] + b"\x80" + text[4:]))
        with pytest.raises(SourceError, match=r"t\.parquet: .*0x80"):
            table(tmp_path, "t.parquet")


CELLS = {
    "missing": lambda i: "#N/A" if i % 50 == 0 else f"{i * 0.37:.2f}",
    "thousands": lambda i: f'"{50000 + i * 37:,}"',
    "currency": lambda i: f"${i * 0.37:.2f}",
    "per cent": lambda i: f"{i * 0.37:.2f}%",
    "infinite": lambda i: "inf" if i == 7 else f"{i * 0.37:.2f}",
    "mistake": lambda i: "41 years" if i == 17 else f"{i * 0.37:.2f}",
    "decimal comma": lambda i: f'"{i},5"',
    "date": lambda i: f"2024-{i % 12 + 1:02d}-{i % 28 + 1:02d}",
    "day first": lambda i: f"{i % 28 + 1}.{i % 12 + 1}.2024",
}


def aged(folder: Path, cell: Callable[[int], str], rows: int = 400, **options: Any) -> Table:
    """Return a table of ages as one function writes them, and of cities."""
    text = "age,city\n" + "".join(f"{cell(i)},{('Bonn', 'Ulm', 'Kiel')[i % 3]}\n" for i in range(rows))
    return table(write(folder, text), **options)


@pytest.mark.parametrize("name", CELLS)
def test_one_odd_cell_takes_no_column_out(tmp_path: Path, name: str) -> None:
    source = aged(tmp_path, CELLS[name])
    columns = {column["name"]: column["kind"] for column in source.features()["columns"]}
    assert columns == {"age": "date" if name in {"date", "day first"} else "number", "city": "category"}
    found = outcomes(source)
    assert all(one.reason is None for one in found)
    missing = np.flatnonzero(np.isnan(np.array([one.features for one in found])[:, 0])).tolist()
    assert missing == {"missing": [*range(0, 400, 50)], "infinite": [7], "mistake": [17]}.get(name, [])


@pytest.mark.parametrize(
    ("cell", "query", "like"),
    [
        (lambda i: f'"{1000 + i * 37:,}"', '{"age": "1,037"}', '{"age": 1037}'),
        (lambda i: f'"{i},25"', '{"age": "7,25"}', '{"age": 7.25}'),
        (lambda i: f"{i}.5 €", '{"age": "€ 7.5"}', '{"age": 7.5}'),
        (lambda i: f"{i % 28 + 1:02d}.03.2024", '{"age": "05.03.2024"}', '{"age": "2024-03-05"}'),
    ],
)
def test_a_query_is_read_as_the_column_is_written(
    tmp_path: Path, cell: Callable[[int], str], query: str, like: str
) -> None:
    decode = sources.decoder("table", aged(tmp_path, cell).fitted(None).features())
    first, second = (decode(text.encode(), "q")[0] for text in (query, like))
    assert first == second
    assert np.isfinite(first)


def test_whole_numbers_next_to_decimal_commas_stay_plain(tmp_path: Path) -> None:
    write(tmp_path, "x;n\n" + "".join(f"{i},5;{i % 7}\n" for i in range(40)))
    first, second = table(tmp_path).features()["columns"]
    assert first["decimal"] == ","
    assert set(second) == {"name", "kind", "mean", "scale", "unit"}


def test_plain_columns_learn_nothing_new_of_themselves(tmp_path: Path) -> None:
    """Keys that ordinary columns had not would change the digests of their rows."""
    for column in table(write(tmp_path), label="income", leave_out=("note",)).features()["columns"]:
        assert set(column) in ({"name", "kind", "mean", "scale", "unit"}, {"name", "kind", "levels", "unit"})


def test_every_column_is_learned_from_or_named_with_its_reason(tmp_path: Path) -> None:
    source = table(write(tmp_path), label="income", key="note", leave_out=("smokes",))
    assert source.left_out == {
        "income": "the label",
        "note": "the key",
        "smokes": "leave_out names it",
        "never": "no value",
        "always": "one value: '1'",
    }
    assert source.notes[-1] == "columns learned from: age (number), job (3 categories)"
    write(tmp_path, "a,note\n" + "".join(f"{i % 7},row {i} of some\n" for i in range(80)))
    assert table(tmp_path).left_out == {"note": "more than 64 different texts: an id or a text"}


def test_what_was_guessed_is_said(tmp_path: Path) -> None:
    def notes(cell: Callable[[int], str]) -> list[str]:
        return list(aged(tmp_path, cell).notes)[-1:]

    assert notes(CELLS["mistake"]) == ["column 'age': 1 of 400 values are no numbers, missing: '41 years' (t.csv#17)"]
    assert notes(CELLS["infinite"]) == ["column 'age': 1 infinite values, missing"]
    assert notes(CELLS["currency"]) == ["column 'age': numbers without their signs: $"]
    assert notes(CELLS["decimal comma"]) == ["column 'age': numbers with decimal commas, as '0,5'"]
    assert notes(lambda i: f'"{i + 1},{i % 9 + 100}"') == [
        "column 'age': numbers with commas between thousands, as '1,100': a guess"
    ]
    assert notes(lambda i: f"{i % 12 + 1}/{i % 11 + 1}/2024") == [
        "column 'age': dates with the month first, as '1/1/2024': a guess"
    ]


@pytest.mark.parametrize(
    "cell",
    [lambda i: f"about {i}" if i % 10 == 0 else str(i * 3), lambda i: "unknown" if i % 3 == 0 else str(i * 3)],
)
def test_a_column_that_may_be_numbers_or_texts_stops(tmp_path: Path, cell: Callable[[int], str]) -> None:
    source = aged(tmp_path, cell)
    with pytest.raises(SourceError, match=r"column 'age': \d+ of 400 values are numbers, others are not: .* types = "):
        source.fitted(None)
    told = aged(tmp_path, cell, types={"age": "number"}).fitted(None)
    assert [column["kind"] for column in told.features()["columns"]] == ["number", "category"]
    assert aged(tmp_path, cell, leave_out=("age",)).fitted(None).left_out == {"age": "leave_out names it"}
    assert aged(tmp_path, cell, max_stray_share=0.5).fitted(None).features() == told.features()


def test_types_fix_what_a_column_is(tmp_path: Path) -> None:
    text = "year,code,n\n" + "".join(f"{2000 + i % 20},{i % 40},{i}\n" for i in range(80))
    kinds = {"year": "category", "code": "text", "n": "number"}
    source = table(write(tmp_path, text), types=kinds)
    assert [(one["name"], one["kind"]) for one in source.features()["columns"]] == [
        ("year", "category"),
        ("n", "number"),
    ]
    assert source.left_out == {"code": "a text"}
    with pytest.raises(SourceError, match="types: no column 'yaer'; there are: year, code, n"):
        table(tmp_path, types={"yaer": "number"})
    refused = table(tmp_path, types={"n": "category"})
    assert refused.left_out == {"n": "more than 64 different texts are too many for a category"}


@pytest.mark.parametrize(
    ("name", "cell", "row_number"),
    [
        ("", str, True),
        ("id", lambda i: str(1000 + 3 * i), True),
        ("Unnamed: 0", str, True),
        ("anything", lambda i: str(i + 1), True),
        ("year", lambda i: str(1990 + i), False),
        ("n", lambda i: str(i * 2), False),
        ("id", lambda i: str(i // 2), False),
        ("n", lambda i: str(i % 20), False),
    ],
)
def test_row_numbers_are_not_learned_from(
    tmp_path: Path, name: str, cell: Callable[[int], str], row_number: bool
) -> None:
    write(tmp_path, f"{name},x\n" + "".join(f"{cell(i)},{i % 3}\n" for i in range(40)))
    left_out = dict(table(tmp_path).left_out)
    assert bool(left_out) == row_number
    assert all(reason.startswith("row numbers: ") for reason in left_out.values())


def test_parquet_gives_dates_and_flags(tmp_path: Path) -> None:
    days = [date(2024, 1, 1) + timedelta(i * 3) for i in range(80)]
    moments = [datetime(2024, 1, 1, i % 24, tzinfo=UTC) for i in range(80)]
    flags = [None if i == 5 else i % 3 == 0 for i in range(80)]
    pq.write_table(pa.table({"day": days, "at": moments, "flag": flags}), tmp_path / "t.parquet")
    source = table(tmp_path, "t.parquet")
    assert [one["kind"] for one in source.features()["columns"]] == ["date", "date", "category"]
    rows = np.array([one.features for one in outcomes(source)])
    expected = np.arange(80) * 3.0
    np.testing.assert_allclose(rows[:, 0], (expected - expected.mean()) / expected.std(), rtol=1e-5)
    assert np.flatnonzero(np.isnan(rows[:, 2])).tolist() == [5]
    assert rows[[0, 1, 3], 2].tolist() == [1, 0, 1]


def test_a_known_column_stands_only_for_one_that_is_written_alike(tmp_path: Path) -> None:
    before = aged(tmp_path, lambda i: f'"{i},5"').fitted(None).features()
    assert aged(tmp_path, lambda i: f'"{i + 1},5"').fitted(before).features() == before
    assert aged(tmp_path, lambda i: f"{i + 1}.5").fitted(before).features() != before


WRITTEN = {
    "number": st.floats(-1e6, 1e6).map(lambda x: f"{x:.3f}"),
    "thousands": st.integers(1000, 10**9).map(lambda n: f"{n:,}"),
    "price": st.integers(0, 10**6).map(lambda n: f"{n / 100:.2f} €"),
    "date": st.dates(date(1900, 1, 1), date(2100, 1, 1)).map(str),
    "word": st.sampled_from(["red", "green", "blue", "007", "TRUE"]),
}
ODD = st.sampled_from(["", "?", "#N/A", "inf", "about 7", "x", "NULL"])


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.data())
def test_every_cell_is_read_or_named(tmp_path: Path, data: st.DataObject) -> None:
    rows = 60
    columns: dict[str, list[str]] = {}
    for place in range(data.draw(st.integers(1, 4))):
        kind = data.draw(st.sampled_from(list(WRITTEN)))
        pool = data.draw(st.lists(WRITTEN[kind], min_size=1, max_size=30))
        values = [pool[row % len(pool)] for row in range(rows)]
        odd = data.draw(st.dictionaries(st.integers(0, rows - 1), ODD, max_size=6))
        columns[f"{kind} {place}"] = [odd.get(row, value) for row, value in enumerate(values)]
    with (tmp_path / "t.csv").open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([list(columns), *zip(*columns.values(), strict=True)])
    try:
        source = table(tmp_path, header=True).fitted(None)
    except SourceError as error:
        assume("others are not" not in str(error) and "no column can be learned from" not in str(error))
        raise
    learned = {one["name"]: one for one in source.features()["columns"]}
    assert {*learned, *source.left_out} == {*columns}
    for name, column in learned.items():
        if column["kind"] == "category":
            held = {value for value in columns[name] if notation.present(value) is not None}
            assert set(column["levels"]) == held
            continue
        decode = sources.decoder("table", {**source.features(), "columns": [column, ANCHOR]})
        lost = [
            row
            for row, value in enumerate(columns[name])
            if np.isnan(decode(json.dumps({name: value, "anchor": 1}).encode(), "q")[0])
        ]
        missing = [row for row, value in enumerate(columns[name]) if notation.present(value) is None]
        said = [note for note in source.notes if note.startswith(f"column {name!r}:") and note.count("missing")]
        named = sum(int(note.partition(": ")[2].split(" ")[0]) for note in said)
        assert len(lost) == len(missing) + named


ANCHOR = {"name": "anchor", "kind": "number", "mean": 0.0, "scale": 1.0, "unit": None}
"""A column that each row has, as a row without any value is refused."""


def _shuffled(count: int, step: int = 7) -> list[int]:
    return [1000 + step * one for one in np.random.default_rng(0).permutation(count).tolist()]


@pytest.mark.parametrize(
    ("name", "values", "why"),
    [
        ("customer", _shuffled(120), "likely ids: all numbers are different"),
        ("orderId", [one * 10**9 for one in _shuffled(30)], "ids: all numbers are different"),
        ("customer_id", [f"{one}" for one in _shuffled(30)], "ids: all numbers are different"),
        ("zip", [f"{one * 37 % 900:05d}" for one in range(100)], "more than 64 different texts: codes with zeros"),
        ("phone", [f"+4930{one * 7919 % 10**6:06d}" for one in range(100)], "more than 64 different texts: codes"),
        ("name", [f"person {one}" for one in range(30)], "30 texts, all of them different: an id or a text"),
        ("at", [f"{one % 24:02d}:{one % 60:02d}" for one in range(120)], "different texts: times of day, as '00:00'"),
        ("took", [timedelta(seconds=7 * one) for one in range(100)], "lengths of time"),
    ],
)
def test_what_only_tells_rows_apart_is_left_out(tmp_path: Path, name: str, values: list[Any], why: str) -> None:
    pq.write_table(pa.table({name: values, "x": [one % 7 for one in range(len(values))]}), tmp_path / "t.parquet")
    source = table(tmp_path, "t.parquet")
    assert why in source.left_out[name]
    assert [column["name"] for column in source.features()["columns"]] == ["x"]


def test_an_id_is_learned_from_where_the_recipe_says_so(tmp_path: Path) -> None:
    write(tmp_path, "customer,x\n" + "".join(f"{one},{one % 5}\n" for one in _shuffled(120)))
    assert 'say types = { customer = "number" }' in table(tmp_path).left_out["customer"]
    kept = table(tmp_path, types={"customer": "number"})
    assert kept.left_out == {}
    assert kept.shape == (2,)


@pytest.mark.parametrize(
    "values",
    [
        list(range(1900, 2000)),
        [one * 997 % 101 + 1900 for one in range(100)],
        [one**4 for one in _shuffled(120)],
        [1.5 + one for one in _shuffled(120)],
        [*_shuffled(120), 1000],
        list(range(100, 700, 7)),
    ],
    ids=["years in order", "years", "far apart", "fractions", "one twice", "in order"],
)
def test_measures_that_happen_to_differ_are_learned_from(tmp_path: Path, values: list[float]) -> None:
    write(tmp_path, "size,x\n" + "".join(f"{one},{place % 7}\n" for place, one in enumerate(values)))
    assert table(tmp_path).left_out == {}


def test_codes_and_numbers_with_units_are_categories_and_said(tmp_path: Path) -> None:
    rows = "".join(f"{one % 9:03d},{one % 30} kg,{one % 7}\n" for one in range(90))
    source = table(write(tmp_path, "code,weight,x\n" + rows))
    kinds = [(column["name"], column["kind"]) for column in source.features()["columns"]]
    assert kinds == [("code", "category"), ("weight", "category"), ("x", "number")]
    assert "column 'code': categories, not numbers: codes with zeros or a plus in front, as '000'" in source.notes
    assert "column 'weight': categories, not numbers: numbers with units, as '0 kg'" in source.notes


def test_a_single_row_is_added_to_others_although_nothing_can_be_learned_from_it(tmp_path: Path) -> None:
    known = table(write(tmp_path), leave_out=("note",)).fitted(None)
    write(tmp_path, "age,job\n41,baker\n", "more.csv")
    (item,) = table(tmp_path, "more.csv").items()
    row = sources.decoder("table", known.features())(item.read(), item.key)
    assert np.isfinite(row[:4]).all()


def test_new_rows_are_made_for_an_encoder_although_their_values_tell_something_else(tmp_path: Path) -> None:
    """A column with a first second value would be learned from, and make other rows."""
    known = table(write(tmp_path, "x,c,one\n" + "".join(f"{n % 7},{'ab'[n % 2]},k\n" for n in range(40)))).fitted(None)
    write(tmp_path, "x,c,one\n" + "".join(f"{n % 7},{'ab'[n % 2]},k{n % 2}\n" for n in range(40)))
    assert table(tmp_path).shape == (3,)
    source = table(tmp_path).under(known.features())
    assert source.shape == known.shape == (2,)
    assert source.fitted(known.features()).features() == known.features()
    assert list(source.notes) == [
        "columns learned from: x (number), c (2 categories)",
        "columns that the encoder in service has not learned from: one",
    ]
    write(tmp_path, "x,one\n1,k\n2,k\n")
    with pytest.raises(SourceError, match="column 'c' is gone, which the encoder in service reads"):
        table(tmp_path).under(known.features())


def weighted(folder: Path, text: str, **options: Any) -> Callable[[dict[str, Any]], Any]:
    """Return what makes weighted cells of a row; a missing cell counts as zero."""
    source = Table(Options(path="t.csv", **options), Features(weighted=True), base=write(folder, text), name="t")
    decode = sources.decoder("table", source.fitted(None).features())
    return lambda row: np.nan_to_num(decode(json.dumps(row).encode(), "q"))


def apart(one: Any, other: Any) -> float:
    return float(np.linalg.norm(one - other))


def test_another_category_weighs_as_much_as_one_deviation_of_a_number(tmp_path: Path) -> None:
    """Whatever the number of levels; a missing value is between them."""
    ages = np.random.default_rng(0).normal(40, 10, 300).round(2)
    text = "age,sex,job\n" + "".join(f"{age},{'fm'[n % 2]},{'abcdefg'[n % 7]}\n" for n, age in enumerate(ages))
    cells = weighted(tmp_path, text)
    row = {"age": 40, "sex": "f", "job": "a"}
    for change in ({"sex": "m"}, {"job": "g"}, {"age": 40 + ages.std()}):
        assert apart(cells(row), cells(row | change)) == pytest.approx(1, abs=1e-6)
    for change in ({"sex": None}, {"job": None}, {"job": "astronaut"}):
        assert 0 < apart(cells(row), cells(row | change)) <= 0.5**0.5 + 1e-6


def test_of_heavy_tails_the_ranks_are_compared(tmp_path: Path) -> None:
    """Of incomes, one billionaire would make all others equal; a gain that few have counts like a category."""
    rng = np.random.default_rng(1)
    incomes = np.exp(rng.normal(10, 1.5, 2000)).round()
    gains = np.where(rng.random(2000) < 0.9, 0, incomes)
    text = "income,gain,age\n" + "".join(
        f"{i},{g},{a:.2f}\n" for i, g, a in zip(incomes, gains, rng.normal(40, 9, 2000), strict=True)
    )
    cells = weighted(tmp_path, text)
    quarters = np.quantile(incomes, [0.1, 0.3, 0.5, 0.7, 0.9])
    found = np.array([cells({"income": value})[0] for value in quarters])
    np.testing.assert_allclose(np.diff(found), 0.2 * math.sqrt(12), atol=0.05)
    assert abs(cells({"income": 1e12})[0]) <= math.sqrt(3)
    assert 1 < cells({"gain": 20000})[1] - cells({"gain": 0})[1] < 2
    plain, ranked = (weighted(tmp_path, text, leave_out=out)({"age": 49}) for out in (("income", "gain"), ("gain",)))
    assert plain[0] == ranked[1]
    source = Table(Options(path="t.csv"), Features(weighted=True), base=tmp_path, name="t")
    assert source.notes[-1].endswith("as a few numbers are far from all others: income, gain")


def test_only_weighted_rows_have_other_digests(tmp_path: Path) -> None:
    before = table(write(tmp_path), leave_out=("note",))
    assert "weighted" not in before.features()
    options = Options(path="t.csv", leave_out=("note",))
    after = Table(options, Features(weighted=True), base=tmp_path, name="t")
    assert after.features()["weighted"] is True
    assert after.fitted(before.features()).features() == after.features()
    assert before.fitted(after.features()).features() == before.features()
    assert {span["likelihood"] for span in after.spans} == {"gaussian"}
