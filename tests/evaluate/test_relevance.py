"""Rows with several labels: one in common is enough, for every metric, exactly as a naive count has it."""

from __future__ import annotations

import time
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from aepipe.codes.bitcodes import BitCodes
from aepipe.evaluate import reranking, retrieval, scores
from aepipe.evaluate.calibration import LABEL, SHARED, calibrate, falling
from aepipe.evaluate.relevance import Labels, NamedRows, are_several, relevance_of
from aepipe.evaluate.scores import Sample

LETTERS = "abcdefgh"


def sets(count: int, seed: int, *, most: int = 3, letters: str = LETTERS) -> NDArray[np.object_]:
    """Random sets of up to ``most`` labels, some of them empty."""
    rng = np.random.default_rng(seed)
    drawn = [frozenset(rng.choice(list(letters), rng.integers(0, most + 1), replace=False)) for _ in range(count)]
    return np.fromiter(drawn, np.object_, count)


def codes(count: int, seed: int, n_bits: int = 16) -> BitCodes:
    return BitCodes.from_bits(np.random.default_rng(seed).integers(0, 2, (count, n_bits)), "f")


def shared(database: Labels, queries: Labels) -> NDArray[np.bool_]:
    return np.array([[bool(set(one) & set(own)) for one in database] for own in queries])


def naive(database: BitCodes, queries: BitCodes, hit: NDArray[np.bool_], cut: int, top: int) -> NDArray[np.float64]:
    """Metrics of one query after another; ties at random, by all orders of the tied rows' relevance."""
    found = []
    for distance, relevant in zip(queries.distances(database).astype(int), hit, strict=True):
        # Every order of a few rows: the mean over them is the expectation.
        orders = [order for order in permutations(range(len(relevant))) if (np.diff(distance[list(order)]) >= 0).all()]
        figures = []
        for order in orders:
            ranked = relevant[list(order)]
            precision = np.cumsum(ranked) / np.arange(1, len(ranked) + 1)
            head = precision[:cut][ranked[:cut]].sum()
            figures.append(
                (
                    precision[ranked].sum() / max(ranked.sum(), 1),
                    head / max(ranked[:cut].sum(), 1),
                    head / max(min(ranked.sum(), cut), 1),
                    ranked[:top].mean(),
                )
            )
        ball = distance <= 2
        found.append([*np.mean(figures, axis=0), relevant[ball].mean() if ball.any() else 0.0])
    return np.array(found)


@pytest.mark.parametrize("seed", range(4))
def test_metrics_are_those_of_a_naive_count(seed: int) -> None:
    database, queries = codes(6, seed, 6), codes(5, seed + 100, 6)
    theirs, own = sets(6, seed), sets(5, seed + 100)
    found = retrieval.retrieval(database, queries, theirs, own, cut=4, top=3)
    expected = naive(database, queries, shared(theirs, own), 4, 3)
    ours = [found.map, found.map_at_cut, found.map_at_cut_r, found.p_at_top, found.ball_precision]
    np.testing.assert_allclose(np.array(ours).T, expected, atol=1e-12)


def test_exact_search_counts_the_same_rows() -> None:
    rng = np.random.default_rng(0)
    rows, asked = rng.random((40, 5)), rng.random((9, 5))
    theirs, own = sets(40, 1), sets(9, 2)
    found = retrieval.retrieval_float(rows, asked, theirs, own, cut=10, top=10)
    order = np.argsort(np.linalg.norm(rows[None] - asked[:, None], axis=2), axis=1)
    hit = np.take_along_axis(shared(theirs, own), order, axis=1)
    precision = np.cumsum(hit, axis=1) / np.arange(1, 41)
    np.testing.assert_allclose(found.map, (precision * hit).sum(axis=1) / np.maximum(hit.sum(axis=1), 1), atol=1e-12)
    np.testing.assert_allclose(found.p_at_top, hit[:, :10].mean(axis=1), atol=1e-12)


def test_blocks_of_rows_count_every_row_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieval, "DATABASE_BLOCK", 7)
    database, queries, theirs, own = codes(60, 1), codes(11, 2), sets(60, 3), sets(11, 4)
    size, relevant = retrieval.distance_counts(database, queries, relevance_of(theirs, own))
    distance, hit = queries.distances(database), shared(theirs, own)
    for query in range(11):
        assert size[query].tolist() == np.bincount(distance[query], minlength=17).tolist()
        assert relevant[query].tolist() == np.bincount(distance[query][hit[query]], minlength=17).tolist()


def test_sets_of_one_label_are_single_labels() -> None:
    rng = np.random.default_rng(5)
    theirs, own = rng.choice(list(LETTERS), 50), rng.choice(list(LETTERS), 12)
    database, queries = codes(50, 1), codes(12, 2)
    single = retrieval.retrieval(database, queries, theirs, own)
    alone = [np.fromiter((frozenset([one]) for one in side), np.object_, len(side)) for side in (theirs, own)]
    assert not are_several(theirs)
    assert are_several(alone[0])
    several = retrieval.retrieval(database, queries, *alone)
    for name, values in single.named().items():
        np.testing.assert_allclose(several.named()[name], values, atol=1e-12)
    mixed = retrieval.retrieval(database, queries, alone[0], own)
    np.testing.assert_allclose(mixed.map, single.map, atol=1e-12)


def test_confidence_is_the_share_of_rows_with_a_label_in_common() -> None:
    database, queries, theirs, own = codes(80, 1, 8), codes(30, 2, 8), sets(80, 3), sets(30, 4)
    neighbours = np.zeros((30, 3), np.int64)
    found = calibrate(database, queries, neighbours, (theirs, own))
    distance, hit = queries.distances(database), shared(theirs, own)
    counts = np.bincount(distance[hit], minlength=9), np.bincount(distance.ravel(), minlength=9)
    assert found.meaning == SHARED
    np.testing.assert_allclose(found.probability, falling(*counts).round(6))
    assert calibrate(database, queries, neighbours, (np.zeros(80), np.zeros(30))).meaning == LABEL


def test_scores_know_sets_of_labels() -> None:
    rng = np.random.default_rng(0)
    sides = []
    for count, seed in ((120, 1), (20, 2)):
        labels = sets(count, seed, most=2)
        rows = np.array([[letter in one for letter in LETTERS] for one in labels]) + rng.normal(0, 0.1, (count, 8))
        embeddings = (100 * rows).clip(-127, 127).astype(np.int8)
        sides.append(Sample(BitCodes.from_bits(rows > 0.5, "f"), rows, labels, embeddings=embeddings))
    found = scores.score(*sides, seed=0)
    assert found.protocol.labelled
    assert found.calibration is not None
    assert found.calibration.meaning == SHARED
    hit = shared(sides[0].labels, sides[1].labels)  # type: ignore[arg-type]
    order = np.argsort(sides[1].codes.distances(sides[0].codes), axis=1, kind="stable")[:, :10]
    assert found.reranking is not None
    assert found.reranking.precision_codes == pytest.approx(np.take_along_axis(hit, order, axis=1).mean())
    assert reranking.TOP == 10


def test_sixty_thousand_rows_of_a_hundred_labels_take_seconds() -> None:
    database, queries = codes(60_000, 1, 64), codes(200, 2, 64)
    letters = "".join(chr(200 + number) for number in range(100))
    theirs, own = sets(60_000, 3, most=5, letters=letters), sets(200, 4, most=5, letters=letters)
    began = time.process_time()
    several = retrieval.retrieval(database, queries, theirs, own)
    took = time.process_time() - began
    began = time.process_time()
    retrieval.retrieval(database, queries, np.arange(60_000) % 100, np.arange(200) % 100)
    plain = time.process_time() - began
    assert several.map.shape == (200,)
    assert took < 3 * plain + 1


@pytest.mark.parametrize("kind", ["numbers", "texts", "objects", "sets", "named"])
def test_relevant_rows_are_the_same_whole_and_in_blocks(kind: str) -> None:
    """By rows, by blocks of rows in the order that is read, and for some of the queries."""
    rng = np.random.default_rng(6)
    theirs, own = rng.integers(0, 4, 30), rng.integers(0, 6, 9)
    hit = own[:, None] == theirs
    made = {
        "numbers": (theirs, own),
        "texts": (theirs.astype("U2"), own.astype("U2")),
        "objects": (theirs.astype(object), own.astype(object)),
        "sets": (sets(30, 1), sets(9, 2)),
    }
    if kind == "named":
        wanted = np.sort(rng.permuted(np.tile(np.arange(30), (9, 1)), axis=1)[:, :7], axis=1)
        relevance: Any = NamedRows(np.arange(30), wanted)
        hit = np.array([np.isin(np.arange(30), one) for one in wanted])
    else:
        relevance = relevance_of(*made[kind])
        hit = shared(*made[kind]) if kind == "sets" else hit
    assert sorted(relevance.order.tolist()) == list(range(30))
    for query in range(9):
        assert sorted(relevance.rows(query).tolist()) == np.flatnonzero(hit[query]).tolist()
        for start, stop in ((0, 30), (0, 7), (7, 14), (14, 30), (29, 30), (10, 10)):
            block = relevance.order[start:stop]
            assert sorted(block[relevance.inside(query, start, stop)].tolist()) == sorted(
                block[hit[query][block]].tolist()
            )
        chunk = relevance.of_queries(slice(query, query + 2))
        assert sorted(chunk.rows(0).tolist()) == np.flatnonzero(hit[query]).tolist()
        assert chunk.order is relevance.order


def test_rows_may_have_equal_labels_of_other_types() -> None:
    """Sets on one side only, also empty ones; None is a label like others."""
    plain, several = np.array(["a", "b", None], object), sets(3, 0)
    several[:] = [frozenset({"a", "b"}), frozenset(), frozenset({None})]
    expected = [[True, True, False], [False, False, False], [False, False, True]]
    for query in range(3):
        found = relevance_of(plain, several).rows(query).tolist()
        assert found == np.flatnonzero(expected[query]).tolist()
        found = relevance_of(several, plain).rows(query).tolist()
        assert found == np.flatnonzero(np.array(expected).T[query]).tolist()
    assert not are_several(np.array([1, None], object))
    assert are_several(np.array([1, frozenset()], object))
