"""Rows of tables become cells: kinds of columns, scaling, missing values, refusals."""

from __future__ import annotations

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

from aepipe import sources
from aepipe.errors import ItemError, QueryError, SourceError
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
        (b'{"height": 3}', "no value in any column that the collection is known by: age, job, smokes"),
    ],
)
def test_bad_rows_are_refused(tmp_path: Path, body: bytes, says: str) -> None:
    source = table(write(tmp_path), units={"age": "years"}, leave_out=("note",)).fitted(None)
    with pytest.raises(ItemError, match=says):
        sources.decoder("table", source.features())(body, "q")


def test_a_table_without_a_useful_column_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "a,b\n1,?\n1,\n1,NA\n")
    with pytest.raises(SourceError, match="no column can be learned from: a: one value: '1'; b: no value"):
        table(tmp_path)


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
