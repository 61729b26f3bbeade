"""Walks on the graph of neighbours, against powers of its transition matrix; components against a decomposition."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from aepipe.learn import compute
from aepipe.learn.feed import Feed
from aepipe.learn.graph import Graph, graph_of, principal_components
from aepipe.recipe import ComputeRecipe

CPU = compute.resolve(ComputeRecipe(device="cpu", precision="float32"))
NEAR = np.array([[1, 2], [0, 2], [1, 3], [2, 4], [3, 2]], np.int32)


def transitions(one_way: float) -> np.ndarray:
    """Return the probabilities of single steps: an edge that leads back counts 1."""
    matrix = np.zeros((5, 5))
    for row, ends in enumerate(NEAR):
        for end in ends:
            matrix[row, end] = 1.0 if row in NEAR[end] else one_way
    return np.asarray(matrix / matrix.sum(1, keepdims=True))


@pytest.mark.parametrize("one_way", [1.0, 0.25])
@pytest.mark.parametrize("longest", [1, 3])
def test_walks_end_as_often_as_the_matrix_says(one_way: float, longest: int) -> None:
    step = transitions(one_way)
    expected = np.mean([np.linalg.matrix_power(step, n) for n in range(1, longest + 1)], axis=0)
    graph, generator = Graph(NEAR, one_way, CPU), torch.Generator().manual_seed(0)
    for start in range(5):
        ends = graph.walk(torch.full((20_000,), start), longest, generator)
        shares = np.bincount(ends.numpy(), minlength=5) / 20_000
        assert shares == pytest.approx(expected[start], abs=0.015)


def test_an_edge_of_no_weight_is_never_taken() -> None:
    ends = Graph(NEAR, 0.0, CPU).walk(torch.zeros(500, dtype=torch.int64), 1, torch.Generator().manual_seed(0))
    assert set(ends.tolist()) == {1}, "0 and 1 are each other's neighbours, 2 does not have 0"


@pytest.mark.parametrize("whiten", [0.0, 0.5, 1.0])
def test_components_are_those_of_the_decomposition(whiten: float) -> None:
    rng = np.random.default_rng(0)
    rows = (rng.standard_normal((400, 6)) * [5, 4, 3, 2, 1, 0.5] @ np.linalg.qr(rng.standard_normal((6, 6)))[0]).astype(
        np.float32
    )
    found = principal_components(Feed(rows, CPU), 3, whiten=whiten)
    left, spread, _ = np.linalg.svd(rows - rows.mean(0), full_matrices=False)
    expected = (left * spread)[:, :3] / (spread[:3] / np.sqrt(400)) ** whiten
    assert np.abs(found) == pytest.approx(np.abs(expected), rel=1e-3, abs=1e-3)


def test_very_wide_rows_and_rows_without_variance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aepipe.learn.graph.WIDEST", 32)
    rows = np.zeros((60, 200), np.float32)
    rows[:, :3] = np.random.default_rng(0).standard_normal((60, 3))
    found = principal_components(Feed(rows, CPU), 8, whiten=1.0)
    assert np.isfinite(found).all()
    assert np.abs(found[:, :3]).max() > 0.1
    assert np.abs(found[:, 3:]).max() == 0, "rounding errors are not blown up"


def test_the_graph_asks_for_no_more_neighbours_than_there_are() -> None:
    asked = []

    def neighbours(features: np.ndarray, k: int) -> np.ndarray:
        asked.append((features.shape, k))
        assert np.linalg.norm(features, axis=1) == pytest.approx(1.0, abs=1e-5)
        return np.tile(np.arange(k, dtype=np.int32), (len(features), 1))

    rows = Feed(np.random.default_rng(0).random((4, 3), np.float32), CPU)
    graph_of(rows, neighbours, k=20, components=9, whiten=0.5, one_way=1.0, compute=CPU)
    assert asked == [((4, 3), 3)]
