"""Rows of tables become cells: kinds of columns, scaling, missing values, refusals."""

from __future__ import annotations

import json
import math
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
    with pytest.raises(SourceError, match="no column can be learned from: of a, b each has one value"):
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
    assert source.notes == ["t.csv: 2 columns have the name 'a'; they are called a, a_2"]


def test_a_parquet_file_whose_text_is_no_utf8_is_named(tmp_path: Path) -> None:
    """The bad byte is in a value, or in the name of a column."""
    pq.write_table(pa.table({"abcdef": [1, 2], "word": ["qwertz", "b"]}), tmp_path / "t.parquet", compression="none")
    whole = (tmp_path / "t.parquet").read_bytes()
    for text in (b"abcdef", b"qwertz"):
        (tmp_path / "t.parquet").write_bytes(whole.replace(text, text[:3] + b"\x80" + text[4:]))
        with pytest.raises(SourceError, match=r"t\.parquet: .*0x80"):
            table(tmp_path, "t.parquet")
