"""Imputation: better than means, present values stay, unreadable tables give a reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("torch")

from aepipe.errors import SourceError
from aepipe.learn import impute


def related(rows: int = 400, seed: int = 0) -> pd.DataFrame:
    """Return a table whose columns depend on each other."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 3, rows)
    return pd.DataFrame(
        {
            "level": kind * 2 + rng.integers(0, 2, rows),
            "size": kind * 10.0 + rng.normal(0, 1, rows),
            "kind": np.array(["a", "b", "c"])[kind],
            "mass": kind * 3.0 + rng.normal(0, 0.3, rows),
        }
    )


@pytest.fixture(scope="module")
def filled() -> tuple[pd.DataFrame, pd.DataFrame, Any]:
    whole = related()
    holes = np.random.default_rng(1).random(whole.shape) < 0.2
    table = whole.mask(holes)
    return whole, table, impute.fill(table, steps=700)


def test_holes_are_filled_and_nothing_else_is_touched(filled: Any) -> None:
    whole, table, found = filled
    for name in whole.columns:
        there = table[name].notna()
        assert found.frame[name].notna().all()
        assert (found.frame[name][there] == table[name][there]).all()
        assert (found.frame[f"{name}_uncertainty"][there] == 0).all()
        assert (found.frame[f"{name}_uncertainty"][~there] > 0).all()
        assert found.holes[name] == (~there).sum()
    assert list(found.frame.columns[:2]) == ["level", "level_uncertainty"]
    assert list(table.columns) == list(whole.columns), "the table itself does not change"


def test_filled_values_are_better_than_means_and_uncertainty_fits_the_errors(filled: Any) -> None:
    whole, table, found = filled
    for name in ("size", "mass"):
        gaps = table[name].isna()
        error = (found.frame[name] - whole[name])[gaps]
        spread = found.frame[f"{name}_uncertainty"][gaps]
        by_mean = whole[name][gaps] - table[name].mean()
        assert np.sqrt((error**2).mean()) < 0.5 * np.sqrt((by_mean**2).mean())
        assert (error.abs() <= 2 * spread).mean() > 0.5
    gaps = table["kind"].isna()
    assert (found.frame["kind"] == whole["kind"])[gaps].mean() > 0.85


def test_the_same_seed_fills_the_same() -> None:
    table = related(60)
    table = table.mask(np.random.default_rng(1).random(table.shape) < 0.2)
    first, second = (impute.fill(table, steps=60, seed=3).frame for _ in range(2))
    pd.testing.assert_frame_equal(first, second)


def test_a_table_without_holes_comes_back() -> None:
    whole = related(30)
    found = impute.fill(whole)
    pd.testing.assert_frame_equal(found.frame, whole)
    assert found.holes == {}


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet", ".csv.gz"])
def test_tables_are_read_as_they_were_written(suffix: str, tmp_path: Path) -> None:
    table = related(25)
    file = tmp_path / f"table{suffix}"
    impute.write(table, file)
    pd.testing.assert_frame_equal(impute.read(file), table, check_dtype=False)


def test_the_usual_words_for_no_value_are_holes(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("a, b\n1, ?\n, x\nNA, y\n3,\n")
    frame = impute.read(file)
    assert frame["a"].isna().tolist() == [False, True, True, False]
    assert frame["b"].isna().tolist() == [True, False, False, True]
    assert list(impute.read(file, header=False).columns) == ["column_0", "column_1"]


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"table\.xlsx: not a table that can be read; allowed: \.csv"):
        impute.read(tmp_path / "table.xlsx")
    with pytest.raises(SourceError, match=r"none\.csv: no such file"):
        impute.read(tmp_path / "none.csv")
    (tmp_path / "bad.parquet").write_bytes(b"no parquet")
    with pytest.raises(SourceError, match=r"bad\.parquet: cannot be read as a table"):
        impute.read(tmp_path / "bad.parquet")
    with pytest.raises(SourceError, match="5 rows are too few to learn from"):
        impute.fill(related(5))


def test_a_taken_name_is_not_overwritten() -> None:
    table = related(40).assign(size_uncertainty=1.0)
    table.loc[3, "size"] = np.nan
    found = impute.fill(table, steps=30)
    assert (found.frame["size_uncertainty"] == 1).all()
    assert found.frame["size_uncertainty_"].iloc[3] > 0
