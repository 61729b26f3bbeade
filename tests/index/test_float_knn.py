"""Nearest neighbours of vectors, against a sort of all pairs."""

from __future__ import annotations

import numpy as np
import pytest

from aepipe.index import float_knn as module
from aepipe.index.float_knn import neighbours


def unit(n_rows: int, width: int, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((n_rows, width)).astype(np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def by_hand(features: np.ndarray, k: int) -> np.ndarray:
    pairs = features @ features.T
    np.fill_diagonal(pairs, -np.inf)
    return np.argsort(-pairs, axis=1)[:, :k]


def test_the_nearest_other_rows_come_nearest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", 64)  # several blocks
    features = unit(500, 8)
    found = neighbours(features, 7)
    assert found.dtype == np.int32
    assert np.array_equal(found, by_hand(features, 7))


def test_no_row_is_its_own_neighbour_even_among_equals() -> None:
    features = np.repeat(unit(4, 6), 30, axis=0)
    found = neighbours(features, 5)
    assert not (found == np.arange(120)[:, None]).any()
    assert (found // 30 == np.arange(120)[:, None] // 30).all(), "equal rows are the nearest"


def test_the_approximate_search_has_high_recall(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EXACT", 1000)
    features = unit(4000, 6)
    found, expected = neighbours(features, 10), by_hand(features, 10)
    recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found.tolist(), expected.tolist(), strict=True)])
    assert recall > 0.9
    assert not (found == np.arange(4000)[:, None]).any()
