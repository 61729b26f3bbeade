"""Columns as cells: values survive, missing ones stay missing, refusals have a reason."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from aepipe.errors import SourceError
from aepipe.learn import batches, impute
from aepipe.learn.impute import KNOTS, Column, Estimate, Layout
from aepipe.recipe import ComputeRecipe

CPU = batches.resolve(ComputeRecipe(device="cpu", precision="float32"))

FRAME = pd.DataFrame(
    {
        "grade": [1, 2, 5, 2, 1, 5],
        "height": [1.5, 1.7, np.nan, 1.61, 1.9, 1.4],
        "colour": ["red", None, "blue", "red", "blue", "green"],
        "same": [7, 7, 7, 7, np.nan, 7],
        "flag": [True, False, True, True, False, False],
        "empty": [np.nan] * 6,
    }
)


def test_values_come_back_through_their_cells() -> None:
    layout = Layout.of(FRAME)
    cells = layout.encode(FRAME)
    assert cells.shape == (6, sum(layout.spans))
    assert cells.dtype == np.float32
    for column, part in layout.parts(cells):
        there = FRAME[column.name].notna().to_numpy()
        assert np.isnan(part[~there]).all()
        np.testing.assert_allclose(part[there].sum(1), 1, atol=1e-6)
        values, uncertainty = column.decode(part[there])
        expected = FRAME[column.name][there].tolist()
        if column.kind == "number":
            np.testing.assert_allclose(values.astype(float), expected, atol=1e-5)
        else:
            assert values.tolist() == expected
            np.testing.assert_allclose(uncertainty, 0, atol=1e-6)


def test_a_number_of_many_values_lies_between_two_knots() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": np.exp(rng.normal(size=5000))})
    (column,) = Layout.of(frame).columns
    assert len(column.levels) == KNOTS
    cells = column.encode(frame["x"])
    assert ((cells > 0).sum(1) <= 2).all()
    np.testing.assert_allclose(column.decode(cells)[0], frame["x"], rtol=1e-4)
    beyond = column.encode(pd.Series([-5.0, 1e9]))
    np.testing.assert_allclose(column.decode(beyond)[0], [column.levels[0], column.levels[-1]])


def test_the_uncertainty_of_a_number_is_the_spread_of_its_distribution() -> None:
    (column,) = Layout.of(pd.DataFrame({"x": [0, 10, 0, 10]})).columns
    mean, deviation = column.decode(np.array([[0.5, 0.5], [0.9, 0.1]], np.float32))
    np.testing.assert_allclose(mean, [5, 1], atol=1e-5)
    np.testing.assert_allclose(deviation, [5, 3], atol=1e-5)


def test_unreadable_columns_give_a_reason() -> None:
    frame = FRAME.assign(words=[f"text {i}" for i in range(6)])
    many = pd.DataFrame({"words": [f"text {i}" for i in range(100)], "n": range(100), "far": [np.inf] * 100})
    assert Layout.of(frame).left_out == {"empty": "it has no value at all"}
    left_out = Layout.of(many).left_out
    assert left_out["words"] == "it has 100 different texts, and 64 categories are the most"
    assert left_out["far"] == "it has infinite values"
    with pytest.raises(SourceError, match="no column can be learned from: words: it has 100"):
        Layout.of(many[["words"]])


def test_shares_of_a_number_are_its_places_between_two_knots() -> None:
    column = Column("x", "number", (0.0, 0.5, 10.0), 1)
    found = column.encode(pd.Series([0, 0.125, 0.5, np.nan, 2.875, 10, -4, 99]))
    missing = [np.nan] * 3
    shares = [[1, 0, 0], [0.75, 0.25, 0], [0, 1, 0], missing, [0, 0.75, 0.25], [0, 0, 1], [1, 0, 0], [0, 0, 1]]
    np.testing.assert_allclose(found, np.array(shares), rtol=1e-6)
    alone = Column("x", "number", (7.0,), 0)
    assert alone.encode(pd.Series([7.0, 8.0])).tolist() == [[1], [1]]
    values, uncertainty = alone.decode(np.ones((2, 1), np.float32))
    assert (values.tolist(), uncertainty.tolist()) == ([7.0, 7.0], [0.0, 0.0])
    kinds = Column("x", "category", ("a", "b", "c"), 0)
    assert kinds.encode(pd.Series(["c", "a"])).tolist() == [[0, 0, 1], [1, 0, 0]]
    values, uncertainty = kinds.decode(np.array([[0.25, 0.5, 0.25], [0.75, 0.25, 0]], np.float32))
    assert (values.tolist(), uncertainty.tolist()) == (["b", "a"], [0.5, 0.25])


def test_few_values_are_levels_and_of_more_there_are_quantiles() -> None:
    few, more = (np.square(np.arange(count, dtype=np.float64)) for count in (KNOTS, KNOTS + 1))
    assert impute._levels(np.repeat(few, 2)) == tuple(few)
    assert impute._levels(more) == pytest.approx(tuple(np.quantile(more, np.arange(32) / 31)))
    assert len(impute._levels(np.append(more, [4.0] * 900))) < KNOTS, "equal quantiles fall together"


def test_the_kind_of_a_column_is_that_of_its_values() -> None:
    def of(*values: object) -> Any:
        return impute._column("x", pd.Series(values))

    assert of(2, 1, None, 2) == Column("x", "number", (1.0, 2.0), 1)
    assert of(True, None, False, None) == Column("x", "category", (False, True), 2)
    assert of("b", 10, "a", 2) == Column("x", "category", (10, 2, "a", "b"), 0)
    assert of(None, np.nan) == "it has no value at all"
    assert len(of(*map(str, range(64))).levels) == 64
    assert of(*map(str, range(65))) == "it has 65 different texts, and 64 categories are the most"
    assert of(1.0, np.inf) == "it has infinite values"
    with pytest.raises(SourceError, match="no column can be learned from: there is none"):
        Layout.of(pd.DataFrame(index=range(3)))


def test_filled_values_stand_in_the_gaps_and_their_uncertainty_next_to_them(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = 20
    frame = pd.DataFrame({"n": [1, 2] * 10, "text": ["a", "b"] * 10, "whole": [5.0] * rows}, index=range(50, 70))
    frame.loc[[50, 53], "n"] = None
    frame.loc[52, "text"] = None
    asked: list[dict[str, object]] = []

    def estimate(given: pd.DataFrame, layout: Layout, **how: object) -> list[Estimate]:
        asked.append(how)
        spread = np.arange(rows) / 4 + 1
        return [
            Estimate("n", np.arange(rows) + 0.5, spread),
            Estimate("text", np.array(["b"] * rows, object), spread / 10),
        ]

    monkeypatch.setattr(impute, "estimate", estimate)
    found = impute.fill(frame, seed=4, device="cpu", steps=9)
    assert asked == [{"seed": 4, "device": "cpu", "steps": 9}]
    assert list(found.frame.columns) == ["n", "n_uncertainty", "text", "text_uncertainty", "whole"]
    assert found.frame["n"].tolist() == [0.5, 2.0, 1.0, 3.5, *[1.0, 2.0] * 8]
    assert found.frame["n_uncertainty"].tolist() == [1.0, 0.0, 0.0, 1.75, *[0.0] * 16]
    assert found.frame["text"].tolist() == ["a", "b", "b", "b", *["a", "b"] * 8]
    assert found.spread == pytest.approx({"n": 1.375, "text": 0.15})
    assert found.holes == {"n": 2, "text": 1}
    assert frame["n"].isna().sum() == 2
    impute.fill(frame)
    assert asked[-1] == {"seed": 0, "device": "auto", "steps": 8000}
    with pytest.raises(SourceError, match="19 rows are too few to learn from: at least 20 are needed"):
        impute.fill(frame[:19])


@pytest.mark.parametrize(
    ("dtype", "values", "filled"),
    [
        ("Int64", [1.5, 2.5], "float64"),
        ("boolean", [True, False], "object"),
        ("category", ["a", "b"], "object"),
        ("string", ["a", "b"], "string"),
    ],
)
def test_a_filled_column_has_a_type_for_its_values(dtype: Any, values: list[Any], filled: str) -> None:
    known = 3 if dtype == "Int64" else values[0]
    frame = pd.DataFrame({"x": pd.Series([known, None], dtype=dtype)})
    impute._put(frame, "x", frame["x"].isna().to_numpy(), np.array(values, float if dtype == "Int64" else object))
    assert frame["x"].tolist() == [known, values[1]]
    assert frame["x"].dtype == filled


def test_a_free_name_is_that_of_no_other_column() -> None:
    assert impute.free_name("x", []) == "x_uncertainty"
    assert impute.free_name("x", ["x_uncertainty", "x_uncertainty_"]) == "x_uncertainty__"


@pytest.mark.parametrize(
    ("rows", "steps", "batch", "epochs", "patience", "warmup"),
    [
        (0, 8000, 16, 400, 80, 240),
        (320, 100, 16, 5, 5, 25),
        (400, 2, 20, 1, 5, 1),
        (400, 800, 20, 40, 8, 200),
        (4999, 8000, 249, 398, 79, 240),
        (5000, 8000, 250, 400, 0, 240),
        (100_000, 8000, 256, 20, 0, 240),
    ],
)
def test_a_small_table_has_small_batches_and_many_epochs(
    rows: int, steps: int, batch: int, epochs: int, patience: int, warmup: int
) -> None:
    recipe = impute.impute_recipe([1, 3], rows, steps=steps)
    fit = recipe.fit
    assert (fit.batch, fit.epochs, fit.patience, fit.warmup) == (batch, epochs, patience, warmup)
    assert (fit.lr, fit.weight_decay) == (2e-3, 0.01)
    given = recipe.model_dump()
    whole = {"width": 256, "hidden": 256, "blocks": 2, "activation": "relu", "holes": True}
    assert given["net"] == {"kind": "residual", "options": whole}
    assert given["corruption"] == {"kind": "mcar", "options": {"rate": 0.05, "rate_max": 0.5, "spans": (1, 3)}}
    assert given["objective"] == {"kind": "masked", "options": {"hidden": 1.0, "seen": 0.1}}
    kinds = [("gaussian", 1), ("categorical", 3)]
    spans = [{"columns": n, "likelihood": {"kind": kind}} for kind, n in kinds]
    assert given["likelihood"] == {"kind": "columns", "options": {"of": spans}}
    assert impute.impute_recipe([2], 700) == impute.impute_recipe([2], 700, steps=8000)


@pytest.mark.parametrize(("rows", "most", "kept_back"), [(39, None, 3), (40, 7, 4), (5000, None, 0), (4999, 99, 499)])
def test_a_tenth_of_few_rows_is_held_out_by_chance(
    rows: int, most: int | None, kept_back: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Both in the order of the table; and no more than so many are trained on."""
    seen: dict[str, Any] = {}

    def trainer(model: object, training: object, **given: Any) -> Any:
        seen.update(given, model=model)
        return SimpleNamespace(model="trained", run=lambda checkpoint, report: seen.update(report=report))

    monkeypatch.setattr(impute, "Trainer", trainer)
    cells = (np.arange(rows)[:, None] / rows).astype(np.float32)
    recipe, report = impute.impute_recipe([1], rows), print
    found: Any = impute.fit(cells, recipe, seed=3, compute=CPU, work=tmp_path, report=report, most=most)
    assert found == "trained"
    order = np.random.default_rng(3).permutation(rows)
    for feed, own in ((seen["held_out"], order[:kept_back]), (seen["train"], order[kept_back:][:most])):
        places = np.sort(own)
        assert np.round(feed.block(0, rows).numpy()[:, 0] * rows).tolist() == places.tolist()
    assert (seen["seed"], seen["compute"], seen["report"]) == (3, CPU, report)
