"""Imputation: better than means, present values stay, and no more steps than are asked for."""

from __future__ import annotations

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


def test_few_rows_are_refused() -> None:
    with pytest.raises(SourceError, match="5 rows are too few to learn from"):
        impute.fill(related(5))


@pytest.mark.parametrize(("rows", "steps"), [(80, 1), (80, 200), (3000, 20), (100_000, 8000), (10**6, 8000)])
def test_training_takes_about_as_many_steps_as_are_asked_for(rows: int, steps: int) -> None:
    fit = impute.impute_recipe([1], rows, steps=steps).fit
    taken = fit.epochs * -(-min(rows, steps * fit.batch) // fit.batch)
    assert taken == pytest.approx(steps, rel=0.1)
    assert fit.warmup <= max(1, steps / 4)


def test_a_taken_name_is_not_overwritten() -> None:
    table = related(40).assign(size_uncertainty=1.0)
    table.loc[3, "size"] = np.nan
    found = impute.fill(table, steps=30)
    assert (found.frame["size_uncertainty"] == 1).all()
    assert found.frame["size_uncertainty_"].iloc[3] > 0
