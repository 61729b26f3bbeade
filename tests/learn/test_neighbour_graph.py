"""Walks on the graph of neighbours, against powers of its transition matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from aepipe.learn import batches, neighbour_graph
from aepipe.learn.batches import Feed
from aepipe.learn.neighbour_graph import Graph, graph_of
from aepipe.recipe import ComputeRecipe

CPU = batches.resolve(ComputeRecipe(device="cpu", precision="float32"))
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
    assert set(ends.tolist()) == {1}, "0 and 1 are mutual neighbours, 2 does not have 0 as one"


def test_the_graph_asks_for_no_more_neighbours_than_there_are() -> None:
    asked = []

    def neighbours(features: np.ndarray, k: int) -> np.ndarray:
        asked.append((features.shape, k))
        assert np.linalg.norm(features, axis=1) == pytest.approx(1.0, abs=1e-5)
        return np.tile(np.arange(k, dtype=np.int32), (len(features), 1))

    rows = Feed(np.random.default_rng(0).random((4, 3), np.float32), CPU)
    _, features = graph_of(rows, neighbours, k=20, components=9, whiten=0.5, one_way=1.0, compute=CPU)
    assert asked == [((4, 3), 3)]
    assert features.shape == (4, 3)


def ring(n: int, k: int) -> tuple[Graph, np.ndarray]:
    """Return points on a circle, each joined with the k / 2 next on both sides."""
    angle = 2 * np.pi * np.arange(n) / n
    offsets = [step for half in range(1, k // 2 + 1) for step in (-half, half)]
    near = (np.arange(n)[:, None] + offsets) % n
    return Graph(near.astype(np.int32), 1.0, CPU), np.stack([np.cos(angle), np.sin(angle)], 1).astype(np.float32)


def test_walks_go_as_far_as_their_ends_resemble_their_starts() -> None:
    graph, features = ring(200, 10)
    # Steps are -5..5 but 0, of variance 11: after t of them the mean cosine is that of a step to the power of t.
    one = np.mean(np.cos(2 * np.pi * np.arange(1, 6) / 200))
    for resemblance in (0.95, 0.9, 0.7):
        mean = np.cumsum(one ** np.arange(1, 300)) / np.arange(1, 300)
        expected = int((mean >= resemblance * mean[0]).sum())
        assert 1 < expected < 200
        assert graph.longest(features, resemblance) == pytest.approx(expected, rel=0.2)
    assert graph.longest(features, 1.0) == 1


def test_walks_are_drawn_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """An edge is the first whose cumulated weight is above the draw; all walks go on, each keeps where it stopped."""
    graph = Graph(NEAR, 0.25, CPU)
    reach = np.cumsum([[1.0 if row in NEAR[end] else 0.25 for end in ends] for row, ends in enumerate(NEAR)], axis=1)
    reach = (reach / reach[:, -1:]).astype(np.float32)
    start, again = np.array([0, 4, 2, 1, 3, 0]), torch.Generator().manual_seed(7)
    steps = torch.randint(1, 5, (6,), generator=again).numpy()
    at, expected = start.copy(), np.zeros(6, int)
    for step in range(1, 5):
        drawn = torch.rand((6, 1), generator=again).numpy()[:, 0]
        edges = [next(edge for edge in range(2) if reach[row, edge] > one) for row, one in zip(at, drawn, strict=True)]
        at = NEAR[at, edges]
        expected[steps == step] = at[steps == step]
    found = graph.walk(torch.from_numpy(start), 4, torch.Generator().manual_seed(7))
    assert (found.dtype, found.tolist()) == (torch.int64, expected.tolist())
    monkeypatch.setattr(neighbour_graph, "WALKED", 2)
    again = torch.Generator().manual_seed(7)
    parts = [graph.walk(torch.tensor(some), 3, again) for some in ([0, 1], [2, 3], [4])]
    assert torch.equal(graph.walk_all(3, torch.Generator().manual_seed(7)), torch.cat(parts))


def test_a_draw_of_a_certain_edge_stays_within_the_edges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounding may leave the last cumulated weight no larger than a draw."""
    monkeypatch.setattr(torch, "rand", lambda size, **_: torch.ones(size))
    ends = Graph(NEAR, 1.0, CPU).walk(torch.arange(5), 1, torch.Generator())
    assert ends.tolist() == NEAR[:, -1].tolist()


def test_the_longest_walk_is_measured_on_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the mean cosine of walks of 1 to so many single steps, where it falls below a share of the first."""
    monkeypatch.setattr(neighbour_graph, "SAMPLED", 30)
    monkeypatch.setattr(neighbour_graph, "LONGEST", 40)
    graph, features = ring(99, 8)
    at, again = torch.from_numpy(np.linspace(0, 98, 30).astype(np.int64)), torch.Generator().manual_seed(0)
    start, cosines = at.numpy(), []
    for _ in range(40):
        at = graph.walk(at, 1, again)
        cosines.append((features[start] * features[at.numpy()]).sum(1).mean())
    mean = [np.mean(cosines[:count]) for count in range(1, 41)]
    for least in (0.99, 0.97, 0.95, 0.9, 0.8, 0.6):
        short = [count for count, one in enumerate(mean) if one < least * mean[0]]
        assert graph.longest(features, least) == max(1, short[0] if short else 40), least


def test_features_of_a_search_have_unit_length() -> None:
    given = np.array([[3.0, 4.0], [0.0, 0.0], [0.0, 1e-3]], np.float32)
    assert neighbour_graph._unit(given).ravel().tolist() == pytest.approx([0.6, 0.8, 0, 0, 0, 1], rel=1e-6)
    lifted = neighbour_graph._lifted(given)
    np.testing.assert_allclose(lifted[:, :2], given)
    np.testing.assert_allclose(lifted[:, 2], [10 * ((25 + 1e-6) / 3) ** 0.5] * 3, rtol=1e-6)


def test_no_walk_is_endless() -> None:
    graph, _ = ring(200, 10)
    assert graph.longest(np.ones((200, 1), np.float32), 0.5) == 256


@pytest.mark.parametrize(("by", "least", "most"), [("distance", 1.0, 1.0), ("angle", 0.0, 0.9)])
def test_neighbours_by_distance_are_those_of_an_exact_search(by: Any, least: float, most: float) -> None:
    """By angle, a row is near to one of another length; by distance it is not."""
    points = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    alone = 1e9 * np.eye(60, dtype=np.float32)
    wanted = np.argsort(np.square(points[:, None] - points[None]).sum(2) + alone, axis=1)[:, :5]
    found: list[np.ndarray] = []

    def neighbours(features: np.ndarray, k: int) -> np.ndarray:
        found.append(np.argsort(alone - features @ features.T, axis=1)[:, :k].astype(np.int32))
        return found[0]

    graph_of(Feed(points, CPU), neighbours, k=5, components=9, whiten=0.0, one_way=1.0, compute=CPU, by=by)
    shared = np.mean([np.isin(one, other).mean() for one, other in zip(wanted, found[0], strict=True)])
    assert least <= shared <= most
