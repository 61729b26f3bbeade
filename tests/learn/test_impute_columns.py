"""Columns as cells: values survive, missing ones stay missing, refusals have a reason."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from aepipe.errors import SourceError
from aepipe.learn.impute import KNOTS, Layout

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
