"""Nearest neighbours of vectors, against a sort of all pairs."""

from __future__ import annotations

from typing import Any

import faiss
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


def test_beyond_a_number_of_rows_they_are_put_into_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    """About four for each root of the rows, fitted to a sample of rows in their order, each once."""
    fitted: list[np.ndarray] = []

    class Watched(faiss.IndexIVFFlat):
        def train(self, rows: Any) -> None:
            fitted.append(rows.copy())
            super().train(rows)

    monkeypatch.setattr(faiss, "IndexIVFFlat", Watched)
    for name, value in (("EXACT", 80), ("FIT_ROWS_PER_CELL", 2), ("BLOCK", 30), ("CELLS_SEARCHED", 5)):
        monkeypatch.setattr(module, name, value)
    rows = 3 * unit(81, 4) * np.linspace(0.1, 1, 81, dtype=np.float32)[:, None]
    exact = module._index(rows[:80])
    assert (type(exact).__name__, exact.metric_type, exact.ntotal) == ("IndexFlatIP", faiss.METRIC_INNER_PRODUCT, 80)
    found = module._index(rows)
    assert isinstance(found, Watched)
    assert (found.nlist, found.nprobe, found.ntotal) == (36, 5, 81)
    assert (found.metric_type, found.quantizer.metric_type) == (faiss.METRIC_INNER_PRODUCT,) * 2
    places = np.sort(np.random.default_rng(0).choice(81, 72, replace=False))
    np.testing.assert_array_equal(fitted[0], rows[places])
    monkeypatch.setattr(module, "FIT_ROWS_PER_CELL", 9)
    module._index(rows)
    np.testing.assert_array_equal(fitted[1], rows)


def test_the_row_itself_is_left_out_or_else_the_last_one() -> None:
    near = np.array([[0, 4, 2], [4, 1, 2], [7, 8, 9], [6, 3, -1], [5, -1, -1]])
    assert module._others(near, np.arange(5)).tolist() == [[4, 2], [4, 2], [7, 8], [6, 6], [5, 5]]
    with pytest.raises(AssertionError, match="0 neighbours of 5 rows"):
        neighbours(unit(5, 3), 0)
    with pytest.raises(AssertionError, match="5 neighbours of 5 rows"):
        neighbours(unit(5, 3), 5)
    assert neighbours(unit(5, 3), 4).shape == (5, 4)
