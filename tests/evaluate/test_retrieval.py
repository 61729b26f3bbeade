"""Retrieval metrics against shuffles, an independent scorer, and rankings without ties."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from aepipe.codes.bitcodes import BitCodes
from aepipe.errors import CodeError, FingerprintError
from aepipe.evaluate import exact_search
from aepipe.evaluate import retrieval as metrics
from aepipe.evaluate.baselines import Projection
from aepipe.evaluate.bit_health import bit_health
from aepipe.evaluate.exact_search import nearest
from aepipe.evaluate.retrieval import (
    first_places,
    float_groups,
    in_threads,
    neighbour_recall,
    recall_at_10,
    retrieval,
    retrieval_float,
)
from aepipe.evaluate.scores import Sample


def codes(rng: np.random.Generator, n: int, n_bits: int) -> BitCodes:
    """Return random codes."""
    return BitCodes.from_bits(rng.integers(0, 2, (n, n_bits)))


def shuffled_figures(
    distances: np.ndarray, relevant: np.ndarray, cut: int, top: int, rng: np.random.Generator
) -> tuple[float, ...]:
    """Return map, map_at_cut, map_at_cut_r and p_at_top of one query under one random order of ties."""
    hit = relevant[np.lexsort((rng.random(len(distances)), distances))]
    precision = np.cumsum(hit) / np.arange(1, len(hit) + 1)
    head = precision[:cut][hit[:cut]].sum()
    found, every = hit[:cut].sum(), hit.sum()
    whole = precision[hit].sum() / max(every, 1)
    return whole, head / max(found, 1), head / max(min(every, cut), 1), hit[:top].mean()


@pytest.mark.parametrize("n_bits", [3, 8, 70])
def test_metrics_are_the_mean_over_shuffles(n_bits: int) -> None:
    """Every metric of every query lies within 4.5 standard errors of the mean over 1,500 shuffles."""
    rng = np.random.default_rng(n_bits)
    database, queries = codes(rng, 60, n_bits), codes(rng, 5, n_bits)
    db_label, q_label = rng.integers(0, 3, 60), np.array([0, 1, 2, 0, 9])
    figures = retrieval(database, queries, db_label, q_label, cut=17, top=9, radius=1)
    names = ("map", "map_at_17", "map_at_17r", "p_at_9")
    for query, distances in enumerate(queries.distances(database)):
        relevant = db_label == q_label[query]
        drawn = np.array([shuffled_figures(distances, relevant, 17, 9, rng) for _ in range(1500)])
        found = np.array([figures.named()[name][query] for name in names])
        assert np.all(np.abs(found - drawn.mean(0)) <= 4.5 * drawn.std(0) / np.sqrt(1500) + 1e-12)
        ball = distances <= 1
        assert figures.named()["precision_r1"][query] == pytest.approx(relevant[ball].mean() if ball.any() else 0.0)
        assert figures.named()["ball1"][query] == ball.any()


def test_blocks_and_order_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small blocks, small chunks and another order of the database give the same metrics."""
    rng = np.random.default_rng(1)
    database, queries, label, asked = (
        codes(rng, 200, 12),
        codes(rng, 23, 12),
        rng.integers(0, 4, 200),
        np.arange(23) % 4,
    )
    whole = retrieval(database, queries, label, asked, cut=50).named()
    order = rng.permutation(200)
    monkeypatch.setattr(metrics, "DATABASE_BLOCK", 7)
    monkeypatch.setattr(metrics, "QUERY_CHUNK", 5)
    parts = retrieval(database[order], queries, label[order], asked, cut=50).named()
    assert all(parts[name] == pytest.approx(values) for name, values in whole.items())


def test_precision_and_recall_within_each_radius(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "QUERY_CHUNK", 3)
    rng = np.random.default_rng(0)
    database, queries = codes(rng, 80, 10), codes(rng, 7, 10)
    own, asked = rng.integers(0, 3, 80), np.array([0, 1, 2, 0, 1, 2, 9])
    found = retrieval(database, queries, own, asked).within
    assert found is not None
    distances, same = queries.distances(database), asked[:, None] == own[None]
    for radius in range(11):
        inside = distances <= radius
        hits = (inside & same).sum(1)
        assert found[0][radius] == pytest.approx((hits / np.maximum(inside.sum(1), 1)).mean())
        assert found[1][radius] == pytest.approx((hits / np.maximum(same.sum(1), 1)).mean())


def test_labels_of_any_kind() -> None:
    """Integers, strings and objects give the same metrics."""
    rng = np.random.default_rng(2)
    database, queries, label, asked = codes(rng, 50, 8), codes(rng, 4, 8), rng.integers(0, 3, 50), np.arange(4)
    expected = retrieval(database, queries, label, asked).map
    for kind in (np.dtype("U3"), np.dtype(object)):
        assert retrieval(database, queries, label.astype(kind), asked.astype(kind)).map.tolist() == expected.tolist()
    mixed = np.array([None, ("a", 1), "x", "y"], object)
    assert retrieval(database, queries, mixed[label], mixed[asked]).map.tolist() == expected.tolist()


def test_float_ranking_without_ties_is_plain_average_precision() -> None:
    """Float metrics are those of the sorted distances."""
    rng = np.random.default_rng(4)
    x, q = rng.normal(size=(80, 5)).astype(np.float32), rng.normal(size=(6, 5)).astype(np.float32)
    label, asked = rng.integers(0, 3, 80), rng.integers(0, 3, 6)
    figures = retrieval_float(x, q, label, asked, cut=20, top=10)
    assert "ball2" not in figures.named()
    for query in range(6):
        distances = ((x.astype(float) - q[query]) ** 2).sum(axis=1)
        expected = shuffled_figures(distances, label == asked[query], 20, 10, rng)
        found = [figures.named()[name][query] for name in ("map", "map_at_20", "map_at_20r", "p_at_10")]
        assert found == pytest.approx(expected)


def test_float_ties_equal_those_of_codes() -> None:
    """Bits as integer features have squared L2 = Hamming distance, so both searches give the same metrics."""
    rng = np.random.default_rng(5)
    database, queries = codes(rng, 90, 6), codes(rng, 7, 6)
    label, asked = rng.integers(0, 3, 90), rng.integers(0, 4, 7)
    ours = retrieval(database, queries, label, asked, cut=25, top=10).named()
    theirs = retrieval_float(database.unpack(), queries.unpack(), label, asked, cut=25, top=10).named()
    assert all(ours[name] == pytest.approx(values, abs=1e-12) for name, values in theirs.items())


def test_nearest_is_exact_in_any_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neighbours of pixels far from the origin equal brute force, in any block size."""
    rng = np.random.default_rng(6)
    x, q = rng.integers(0, 256, (300, 6), dtype=np.uint8), rng.integers(0, 256, (9, 6), dtype=np.uint8)
    monkeypatch.setattr(exact_search, "BLOCK_VALUES", 60)
    squared = ((x[None].astype(int) - q[:, None]) ** 2).sum(axis=2)
    found = nearest(x, q, 10)
    assert all(len(set(row)) == 10 for row in found.tolist())
    near = np.sort(np.take_along_axis(squared, found, axis=1), axis=1)
    assert near.tolist() == np.sort(squared, axis=1)[:, :10].tolist()
    assert nearest(x[:4], q, 10).shape == (9, 4)


@pytest.mark.parametrize("n", [1, 9, 10, 11, 700])
@pytest.mark.parametrize("values", [3, 10_000])
def test_the_smallest_of_a_row(n: int, values: int) -> None:
    """With ties, in short rows and in long ones, where a sample gives the first limit."""
    distances = np.random.default_rng(n).integers(0, values, (20, n)).astype(np.float64)
    found = exact_search.smallest(distances, 10)
    assert found.shape == (20, min(n, 10))
    assert all(len(set(row)) == len(row) for row in found.tolist())
    near = np.sort(np.take_along_axis(distances, found, axis=1), axis=1)
    assert near.tolist() == np.sort(distances, axis=1)[:, :10].tolist()


@pytest.mark.parametrize("count", [1, 2, 40, 900])
@pytest.mark.parametrize("wanted", [1, 7, 1000])
def test_the_first_places_are_those_of_a_stable_sort(count: int, wanted: int) -> None:
    distances = np.random.default_rng(count).integers(0, 9, count).astype(np.uint16)
    assert first_places(distances, wanted).tolist() == np.argsort(distances, kind="stable")[:wanted].tolist()


@pytest.mark.parametrize("top", [3, 50_000, 2**31 - 2])
def test_integers_are_grouped_as_the_same_numbers_in_floats(top: int) -> None:
    """With many ties, with few, and where marks around them need more bits than they have."""
    rng = np.random.default_rng(top)
    distances = rng.integers(0, top, 400, dtype=np.int32, endpoint=True)
    for relevant in (1, 60, 400):
        own = distances[rng.permutation(400)[:relevant]]
        found, floats = float_groups(distances, own), float_groups(distances.astype(float), own.astype(float))
        for name in ("start", "size", "relevant"):
            assert getattr(found, name).tolist() == getattr(floats, name).tolist(), name


@pytest.mark.parametrize("cores", [1, 2, 3, 64])
def test_threads_give_everything_in_order(cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    for count in (0, 1, 2, 10):
        assert in_threads(lambda one: one + 1, range(count)) == list(range(1, count + 1))
    with pytest.raises(ZeroDivisionError):
        in_threads(lambda one: 1 / one, [1, 2, 0])


def test_neighbour_recall_is_the_mean_over_shuffles() -> None:
    """The expected recall agrees with shuffled rankings within 4.5 standard errors."""
    rng = np.random.default_rng(7)
    x, q = rng.normal(size=(70, 4)), rng.normal(size=(5, 4))
    database, queries = BitCodes.from_bits(x > 0), BitCodes.from_bits(q > 0)
    found, near = recall_at_10(database, queries, x, q), nearest(x, q)
    assert found.tolist() == neighbour_recall(database, queries, near).tolist()
    for query, distances in enumerate(queries.distances(database)):
        orders = [np.lexsort((rng.random(70), distances))[:10] for _ in range(2000)]
        drawn = np.array([np.isin(near[query], order).mean() for order in orders])
        assert abs(found[query] - drawn.mean()) <= 4.5 * drawn.std() / np.sqrt(2000) + 1e-12


def test_agrees_with_the_independent_scorer(
    shared: Path, fashion: tuple[Sample, Sample], itq_64: Projection, tmp_path: Path
) -> None:
    """On 1,000 queries, every metric is within 1e-3 of a scorer that sorts and shuffles once."""
    database, queries = fashion
    ours, asked = itq_64.codes(database.features), itq_64.codes(queries.features)
    assert database.labels is not None
    assert queries.labels is not None
    path = tmp_path / "codes.npz"
    np.savez(path, db=ours.packed, q=asked.packed, db_label=database.labels, q_label=queries.labels)
    command = [sys.executable, str(shared / "reference_score.py"), str(path)]
    theirs = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    figures = retrieval(ours, asked, database.labels, queries.labels).named()
    names = ("mAP", "mAP@1000", "mAP@1000r", "P@100", "P@r2", "ball2")
    assert len(asked) == theirs["queries"] == 1000
    for name, values in zip(names, figures.values(), strict=True):
        assert float(values.mean()) == pytest.approx(theirs[name], abs=1e-3), name
    health = bit_health(ours)
    assert health.entropy == pytest.approx(theirs["entropy"], abs=1e-4)
    assert health.unique_share == pytest.approx(theirs["unique"], abs=1e-4)


def test_refusals() -> None:
    """Mismatched inputs raise errors that name them."""
    rng = np.random.default_rng(8)
    database, queries = codes(rng, 10, 8), codes(rng, 2, 8)
    with pytest.raises(CodeError, match="10 database rows need 10 labels"):
        retrieval(database, queries, np.zeros(9), np.zeros(2))
    with pytest.raises(CodeError, match="nothing to rank"):
        retrieval(database, queries[:0], np.zeros(10), np.zeros(0))
    with pytest.raises(CodeError, match="9 bits"):
        retrieval(database, codes(rng, 2, 9), np.zeros(10), np.zeros(2))
    with pytest.raises(FingerprintError):
        retrieval(BitCodes(database.packed, 8, "a"), BitCodes(queries.packed, 8, "b"), np.zeros(10), np.zeros(2))
    with pytest.raises(CodeError, match="row 3 hold"):
        nearest(np.where(np.arange(6)[:, None] == 3, np.nan, np.ones((6, 2))), np.ones((1, 2)))
    with pytest.raises(CodeError, match="columns"):
        nearest(np.ones((6, 2)), np.ones((1, 3)))


def test_metrics_have_the_usual_cut_top_and_radius() -> None:
    """A thousand rows count at the cut, a hundred at the top, and two bits in the ball; with their names."""
    rng = np.random.default_rng(10)
    database, queries = codes(rng, 1200, 8), codes(rng, 3, 8)
    own, asked = rng.integers(0, 2, 1200), np.array([0, 1, 1])
    found = retrieval(database, queries, own, asked)
    said = retrieval(database, queries, own, asked, cut=1000, top=100, radius=2)
    names = ["map", "map_at_1000", "map_at_1000r", "p_at_100", "precision_r2", "ball2"]
    assert list(found.named()) == list(said.named()) == names
    for name, values in said.named().items():
        assert found.named()[name].tolist() == values.tolist()
    other = retrieval(database, queries, own, asked, cut=999, top=99, radius=1)
    assert all(
        (other.named()[a] != found.named()[b]).any()
        for a, b in zip(other.named(), names[:5], strict=False)
        if a != "map"
    )
    floats = retrieval_float(database.unpack(), queries.unpack(), own, asked)
    assert list(floats.named()) == names[:4]
    for name, values in floats.named().items():
        assert values == pytest.approx(said.named()[name], abs=1e-12)


def test_nothing_relevant_and_little_to_rank() -> None:
    """Nothing is divided by zero, and a share of the first rows is a share of all where there are fewer."""
    rng = np.random.default_rng(11)
    database, queries = codes(rng, 5, 8), codes(rng, 2, 8)
    found = retrieval(database, queries, np.array([0, 0, 0, 1, 1]), np.array([0, 7]), radius=9)
    assert found.p_at_top.tolist() == [0.6, 0]
    assert found.ball_precision is not None
    assert found.ball is not None
    assert found.ball_precision.tolist() == [0.6, 0], "no code is farther than its length"
    assert found.ball.tolist() == [1, 1]
    for values in (found.map, found.map_at_cut, found.map_at_cut_r):
        assert values[1] == 0
        assert 0 < values[0] <= 1
    assert found.map.tolist() == pytest.approx(found.map_at_cut_r.tolist())
    whole = retrieval(database[:1], database[:1], np.zeros(1), np.zeros(1))
    assert [values.tolist() for values in whole.named().values()] == [[1.0]] * 6


def test_recall_of_neighbours_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three places, one goes to the row at distance 0, and two to the four at distance 1."""
    database = BitCodes.from_bits(np.array([[0, 0, 0], [0, 0, 1], [0, 1, 0], [1, 0, 0], [0, 0, 1], [1, 1, 1]]))
    queries = BitCodes.from_bits(np.zeros((5, 3)))
    near = np.array([[0, 1, 5], [0, 2, 3], [5, 5, 5], [1, 2, 3], [0, 0, 0]])
    expected = [(1 + 0.5 + 0) / 3, (1 + 0.5 + 0.5) / 3, 0, 0.5, 1]
    assert neighbour_recall(database, queries, near) == pytest.approx(expected)
    monkeypatch.setattr(metrics, "QUERY_CHUNK", 2)
    assert neighbour_recall(database, queries, near) == pytest.approx(expected)
    assert neighbour_recall(database, queries[:0], near[:0]).shape == (0,)
    with pytest.raises(CodeError, match="4 lists of neighbours for 5 queries, 6 codes"):
        neighbour_recall(database, queries, near[:4])
    with pytest.raises(CodeError, match="5 lists of neighbours for 5 queries, 0 codes"):
        neighbour_recall(database[:0], queries, near)


@pytest.mark.parametrize("n_bits", [5, 64, 65, 200])
def test_distances_are_counted_over_all_words(n_bits: int) -> None:
    rng = np.random.default_rng(n_bits)
    database, queries = codes(rng, 40, n_bits), codes(rng, 3, n_bits)
    far = (database.unpack()[None] != queries.unpack()[:, None]).sum(axis=2)
    size, relevant = metrics.distance_counts(database, queries)
    assert size.tolist() == [np.bincount(one, minlength=n_bits + 1).tolist() for one in far]
    assert not relevant.any()
    words = np.ascontiguousarray(database.words().T)
    assert [metrics.word_distances(words, one).tolist() for one in queries.words()] == far.tolist()


def test_labels_of_either_side_must_fit() -> None:
    rng = np.random.default_rng(8)
    database, queries = codes(rng, 10, 8), codes(rng, 2, 8)
    with pytest.raises(CodeError, match=r"2 queries need 2 labels, not an array of shape \[3\]"):
        retrieval(database, queries, np.zeros(10), np.zeros(3))
    with pytest.raises(CodeError, match=r"10 database rows need 10 labels, not an array of shape \[10, 1\]"):
        retrieval(database, queries, np.zeros((10, 1)), np.zeros(2))
    with pytest.raises(CodeError, match="nothing to rank: 0 rows in the database, 2 queries"):
        retrieval(database[:0], queries, np.zeros(0), np.zeros(2))
    with pytest.raises(CodeError, match="10 database rows need 10 labels"):
        retrieval_float(np.ones((10, 1)), np.ones((2, 1)), np.zeros(9), np.zeros(2))
