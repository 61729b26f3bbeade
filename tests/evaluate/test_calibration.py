"""Calibration: against a loop over all pairs, and against isotonic regression of scikit-learn."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aepipe.codes.bitcodes import BitCodes
from aepipe.evaluate.calibration import Calibration, Curve, calibrate, falling
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
