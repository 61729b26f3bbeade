"""Scores that were measured twice: the same figures, and the smallest change is named."""

from __future__ import annotations

import json

import numpy as np
import pytest

from aepipe.codes.bitcodes import BitCodes
from aepipe.evaluate import scores as evaluation
from aepipe.evaluate.differences import Difference, differences
from aepipe.evaluate.scores import Sample


@pytest.fixture(scope="module")
def measured() -> evaluation.Scores:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(60, 16)).astype(np.float32)
    labels = np.array([str(n % 3) for n in range(60)])
    codes = BitCodes.from_bits(rows[:, :8] > 0)
    parts = [slice(0, 50), slice(50, 60)]
    database, queries = (Sample(codes[part], rows[part], labels[part]) for part in parts)
    return evaluation.score(database, queries, seed=0)


def test_what_is_read_back_is_the_same(measured: evaluation.Scores) -> None:
    found = measured.to_dict()
    assert differences(json.loads(json.dumps(found)), found) == []
    assert differences(found, evaluation.Scores.from_dict(json.loads(json.dumps(found))).to_dict()) == []


def test_one_figure_that_was_changed_is_named(measured: evaluation.Scores) -> None:
    stored = json.loads(json.dumps(measured.to_dict()))
    stored["rows"][0]["metrics"]["recall_at_10"]["value"] += 0.25
    (one,) = differences(stored, measured.to_dict())
    assert one.name == "ours recall_at_10 value"
    assert not one.rounding
    assert "in the store" in str(one)
    assert "(-0.25)" in str(one)


def test_a_figure_that_is_missing_on_one_side_is_named(measured: evaluation.Scores) -> None:
    stored = json.loads(json.dumps(measured.to_dict()))
    del stored["protocol"]["seed"]
    (one,) = differences(stored, measured.to_dict())
    assert str(one) == "protocol seed: not measured in the store, 0 now"
    (one,) = differences(measured.to_dict(), stored)
    assert str(one) == "protocol seed: 0 in the store, not measured now"


@pytest.mark.parametrize(
    ("before", "again", "rounding"),
    [(0.5, 0.5 + 1e-9, True), (0.5, 0.5001, False), (0, 1, False), (True, False, False), ("a", "b", False)],
)
def test_rounding_is_told_from_a_difference(before: object, again: object, rounding: bool) -> None:
    assert Difference("figure", before, again).rounding == rounding


@pytest.mark.parametrize(
    ("before", "again", "rounding"),
    [
        (1.0, 1 + 0.9e-6, True),
        (1.0, 1 + 1.2e-6, False),
        (-1.0, -1 - 0.9e-6, True),
        (0.0, 1e-9, False),
        (2.0, 2.0 + 1.8e-6, True),
        (1e-3, 1e-3 + 1e-8, False),
        (0.5, None, False),
        (None, 0.5, False),
        (0.5, True, False),
        (1, 1.0 + 1e-9, True),
    ],
)
def test_rounding_is_relative_to_the_larger_number(before: object, again: object, rounding: bool) -> None:
    assert Difference("figure", before, again).rounding is rounding


@pytest.mark.parametrize(
    ("before", "again", "said"),
    [
        (0.123456789, 0.25, "0.123457 in the store, 0.25 now (+0.1265)"),
        (3, 1, "3 in the store, 1 now (-2)"),
        ("a", "b", "a in the store, b now"),
        (None, 0.5, "not measured in the store, 0.5 now"),
        (0.5, None, "0.5 in the store, not measured now"),
    ],
)
def test_a_difference_in_words(before: object, again: object, said: str) -> None:
    assert str(Difference("figure", before, again)) == f"figure: {said}"


def test_figures_are_named_by_their_place_and_rows_by_their_system() -> None:
    before = {"a": {"b": 1}, "rows": [{"system": "itq", "metrics": {"map": {"value": 0.5}}}], "list": [1, {"x": 2}, 3]}
    again = {"a": {"b": 2}, "rows": [{"system": "itq", "metrics": {"map": {"value": 0.6}}}], "list": [1, {"x": 4}, 5]}
    assert [one.name for one in differences(before, again)] == ["a b", "itq map value", "list[1] x", "list[2]"]
    added = differences({"a": 1, "gone": 2}, {"new": 3, "a": 1})
    assert [(one.name, one.before, one.again) for one in added] == [("gone", 2, None), ("new", None, 3)]
    assert differences({"a": None}, {}) == []
