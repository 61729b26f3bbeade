"""Calibration: against a loop over all pairs, and against isotonic regression of scikit-learn."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aepipe.codes.bitcodes import BitCodes
from aepipe.errors import QueryError
from aepipe.evaluate.calibration import (
    ITEMS,
    ITEMS_WHERE,
    SHARED,
    WORDS,
    WORDS_WHERE,
    Calibration,
    Confidence,
    Curve,
    calibrate,
    falling,
)
from aepipe.evaluate.exact_search import nearest


def codes(rng: np.random.Generator, groups: np.ndarray, n_bits: int = 12) -> BitCodes:
    """Codes that are similar within each group."""
    centres = np.random.default_rng(7).random((4, n_bits)) < 0.5
    return BitCodes.from_bits(centres[groups] ^ (rng.random((len(groups), n_bits)) < 0.1))


def pairs(a: BitCodes, b: BitCodes) -> np.ndarray:
    return np.asarray((a.unpack()[:, None] != b.unpack()[None]).sum(2))


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=30))
@settings(max_examples=200, deadline=None)
def test_falling_is_isotonic_regression(counts: list[tuple[int, int]]) -> None:
    isotonic = pytest.importorskip("sklearn.isotonic")
    hits, trials = (np.array(column, np.int64) for column in zip(*((min(h, t), t) for h, t in counts), strict=True))
    found = falling(hits, trials)
    assert (np.diff(found) <= 1e-12).all()
    seen = np.flatnonzero(trials)
    if len(seen):
        fit = isotonic.IsotonicRegression(increasing=False)
        expected = fit.fit(seen, hits[seen] / trials[seen], trials[seen]).predict(seen)
        assert found[seen] == pytest.approx(expected, abs=1e-9)


def test_probabilities_are_shares_of_all_pairs() -> None:
    rng = np.random.default_rng(0)
    own, asked = rng.integers(0, 4, 400), rng.integers(0, 4, 60)
    database, queries = codes(rng, own), codes(rng, asked)
    features = rng.random((400, 3)), rng.random((60, 3))
    near = nearest(*features, 10)
    found = calibrate(database, queries, near, (own, asked))
    distance, same = pairs(queries, database), asked[:, None] == own[None]
    for far in range(13):
        there = distance == far
        if there.sum() > 500:  # where pooling changes little
            assert found.probability[far] == pytest.approx(same[there].mean(), abs=0.05)
    assert found.meaning == "label"
    assert found.usual == np.sort(distance.min(1))[int(np.ceil(0.99 * 59))]
    without = calibrate(database, queries, near, None)
    assert without.meaning == "neighbour"
    is_near = np.zeros((60, 400), bool)
    np.put_along_axis(is_near, near, True, axis=1)
    at_0 = falling(np.bincount(distance[is_near], minlength=13), np.bincount(distance.ravel(), minlength=13))
    assert without.probability == pytest.approx(at_0, abs=1e-6)


def test_through_json() -> None:
    calibration = Calibration("label", (0.9, 0.5, 0.1), 2)
    assert Calibration.from_dict(json.loads(json.dumps(asdict(calibration)))) == calibration


def test_errors_and_curves_are_kept_and_come_back() -> None:
    rng = np.random.default_rng(1)
    own = rng.integers(0, 4, 100)
    errors = np.linspace(0, 1, 30, dtype=np.float32)
    curves = {"items": Curve(30, (0.9, 0.5), (0.1,), (0.8,))}
    found = calibrate(
        codes(rng, own), codes(rng, own[:30]), np.zeros((30, 1), np.int64), (own, own[:30]), errors, curves
    )
    assert (found.usual_error, found.curves) == (1.0, curves)
    assert Calibration.from_dict(json.loads(json.dumps(asdict(found)))) == found
    older = {name: value for name, value in asdict(found).items() if name not in ("curves", "usual_error")}
    assert (Calibration.from_dict(older).usual_error, Calibration.from_dict(older).curves) == (None, {})


def test_the_usual_distance_and_error_hold_for_ninety_nine_in_a_hundred() -> None:
    """Of 200 queries two are farther from their nearest row: what nearly all have is usual."""
    database = BitCodes.from_bits(np.zeros((3, 8)))
    bits = np.zeros((200, 8), int)
    bits[50:, 0] = 1
    bits[196:, 1:3] = 1
    bits[199, :] = 1
    errors = np.concatenate([np.zeros(197), [0.1234567, 0.25, 0.5]]).astype(np.float32)
    near = np.zeros((200, 1), np.int64)
    found = calibrate(database, BitCodes.from_bits(bits), near, (np.zeros(3), np.zeros(200)), errors)
    assert (found.usual, found.usual_error) == (3, 0.25)
    fewer = calibrate(database, BitCodes.from_bits(bits[:199]), near[:199], (np.zeros(3), np.zeros(199)), errors[:199])
    assert (fewer.usual, fewer.usual_error) == (3, 0.123457)
    assert calibrate(database, BitCodes.from_bits(bits), near, None).usual_error is None


@pytest.mark.parametrize("sides", [(True, False), (False, True), (True, True)])
def test_one_side_with_several_labels_makes_them_shared(sides: tuple[bool, bool]) -> None:
    codes_of = BitCodes.from_bits(np.eye(3, 8))
    plain = np.array(["a", "b", "a"])
    several = np.fromiter((frozenset([one]) for one in plain.tolist()), np.object_, 3)
    rows, asked = (several if side else plain for side in sides)
    found = calibrate(codes_of, codes_of, np.zeros((3, 1), np.int64), (rows, asked))
    assert found.meaning == SHARED
    assert found.probability == calibrate(codes_of, codes_of, np.zeros((3, 1), np.int64), (plain, plain)).probability


@pytest.mark.parametrize(
    ("hits", "trials", "expected"),
    [
        ([3, 1], [4, 4], [0.75, 0.25]),
        ([1, 3], [4, 4], [0.5, 0.5]),
        ([1, 1], [2, 2], [0.5, 0.5]),
        ([2, 0, 1], [2, 0, 4], [1, 1, 0.25]),
        ([0, 0], [0, 0], [0, 0]),
        ([0, 1, 0], [0, 2, 0], [0.5, 0.5, 0.5]),
        ([5, 0, 5], [5, 5, 10], [1, 1 / 3, 1 / 3]),
    ],
)
def test_falling_by_hand(hits: list[int], trials: list[int], expected: list[float]) -> None:
    assert falling(np.array(hits), np.array(trials)) == pytest.approx(np.array(expected))


def confidence(distance: tuple[float, ...], n_queries: int = 100, **more: object) -> Confidence:
    scores = {
        "protocol": {"n_queries": n_queries},
        "calibration": {"meaning": "label", "probability": list(distance), "usual": 3, "usual_error": 0.25, **more},
    }
    found = Confidence.of("boots", scores, len(distance) - 1)
    assert found is not None
    return found


@pytest.mark.parametrize(("least", "radius"), [(0.9, 0), (0.85, 0), (0.8, 2), (0.1, 3), (0.11, 2), (0.0, 4)])
def test_the_largest_distance_with_a_probability(least: float, radius: int) -> None:
    assert confidence((0.9, 0.8, 0.8, 0.1, 0.0)).radius(least) == radius


def test_no_distance_has_a_probability() -> None:
    known = confidence((0.9, 0.8))
    with pytest.raises(
        QueryError, match=r"even a row with the same code has the same label with a probability of 0\.90 only"
    ):
        known.radius(0.91)
    with pytest.raises(QueryError, match="for questions under a condition that was not measured"):
        known.radius(0.5, where=True)
    few = confidence((0.9, 0.8), n_queries=99)
    with pytest.raises(QueryError, match="99 items were held out, and it takes 100 of them to tell"):
        few.radius(0.5)


def test_curves_are_told_by_kind_of_question() -> None:
    kinds = {(False, False): ITEMS, (False, True): ITEMS_WHERE, (True, False): WORDS, (True, True): WORDS_WHERE}
    curves = {
        kind: {"n_queries": 100, "distance": [number / 10, 0.0], "apart": [], "cosine": []}
        for number, kind in enumerate(kinds.values())
    }
    known = confidence((0.9, 0.8), curves=curves)
    for number, (words, where) in enumerate(kinds):
        curve = known.curve(words=words, where=where)
        assert curve is not None
        assert curve.distance == (number / 10, 0.0)
    assert Confidence.of("boots", {"protocol": {"n_queries": 100}}, 1) is None


@pytest.mark.parametrize(
    ("nearest_row", "error", "said"),
    [
        (3, 0.25, None),
        (None, None, None),
        (3, 0.2504, None),
        (4, None, "the nearest row is 4 bits away, not 3 at most"),
        (None, 0.251, "its code is off by 0.251 when it is decoded, not 0.250 at most"),
        (
            4,
            0.3,
            "the nearest row is 4 bits away, not 3 at most, and its code is off by 0.300 when it is decoded, "
            "not 0.250 at most",
        ),
    ],
)
def test_what_is_strange_beyond_the_usual(nearest_row: int | None, error: float | None, said: str | None) -> None:
    told = confidence((0.9, 0.8)).strange(nearest_row, error)
    whole = f"nothing like it was learned: {said}, as of 99 % of the queries held out"
    assert told == (None if said is None else whole)
    assert confidence((0.9, 0.8), usual_error=None).strange(None, 0.9) is None


def test_a_cosine_is_looked_up_between_its_limits() -> None:
    curve = Curve(100, (0.5, 0.1), (0.1, 0.2), (0.9, 0.7))
    assert [curve.at(1, 1 - apart) for apart in (0.0, 0.05, 0.15, 0.3)] == [0.9, 0.9, 0.7, 0.1]
    assert Curve(100, (0.5, 0.1), (0.25, 0.5), (0.9, 0.7)).at(1, 0.75) == 0.9, "a limit belongs to its own part"
    assert curve.at(0, 0.5) == 0.5
    assert Curve(100, (0.8, 0.75), (0.1,), (0.7,)).at(1, 0.5) == 0.7
    assert Curve(100, (0.5, 0.1)).at(1, 0.95) == 0.1
