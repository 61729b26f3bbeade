"""Retrieval metrics per query, for codes and for float features; ties count by expectation.

A database row is relevant to a query where their labels are equal, or, where rows have several, one is in common (see
:mod:`aepipe.evaluate.relevance`). Rankings by code are histograms: for each query, the
numbers of rows and of relevant rows at each distance, so nothing is sorted. Ties are exact means over random orders
(see :mod:`aepipe.evaluate.ties`), so no metric depends on the order of the database or on a seed.

Two definitions of average precision at a cut are in use, and differ much: hashing papers divide by the relevant rows
*found* before the cut (``map_at_1000``), retrieval evaluations by min(relevant, cut) (``map_at_1000r``).

Legend: N database rows, Q queries, K bits, W 64-bit words of a code, D features, G tie groups.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from aepipe.codes.bitcodes import BitCodes, check_same
from aepipe.errors import CodeError
from aepipe.evaluate.exact_search import Distances, Features, distance_rows, nearest
from aepipe.evaluate.relevance import Labels, Relevance, relevance_of
from aepipe.evaluate.ties import (
    Floats,
    Ints,
    TieGroups,
    expected_ap_of_found,
    expected_hits,
    expected_precision_sum,
    harmonic_numbers,
)

CUT, TOP, RADIUS, NEIGHBOURS = 1000, 100, 2, 10
METRICS = ("map", "map_at_1000", "map_at_1000r", "p_at_100", "precision_r2", "ball2", "recall_at_10", "walk_map")
LABEL_FREE = ("recall_at_10", "walk_map")
"""Metrics that need no labels; the last is that of :mod:`aepipe.evaluate.walks`."""

Counts: TypeAlias = tuple[Ints, Ints]
"""All rows and the relevant rows at each distance, int64[Q, K+1] each."""

Given = TypeVar("Given")
Made = TypeVar("Made")

QUERY_CHUNK = 1000
"""Queries whose histograms are held at a time."""
DATABASE_BLOCK = 1 << 16
"""Rows of one block: the words of 64-bit codes and their distances stay in the processor's cache."""


@dataclass(frozen=True, slots=True, eq=False)
class Retrieval:
    """Metrics of Q queries, float64[Q] each, in 0..1.

    Attributes:
        map: average precision over the whole database; 0 where nothing is relevant.
        map_at_cut: sum of the precisions at the relevant rows among the first ``cut``, divided by their number; 0 if
            there are none.
        map_at_cut_r: the same sum divided by min(relevant, cut).
        p_at_top: share of relevant rows among the first ``top``, or among all where there are fewer.
        ball_precision: share of relevant rows within ``radius``, 0 for an empty ball; None for float rankings.
        ball: 1.0 where the ball is not empty; None for float rankings.
        within: twice float64[K+1], the means over the queries of precision and of recall within each radius from 0 to
            K, where an empty ball counts 0; None for float rankings.
        cut: rows that count for ``map_at_cut`` and ``map_at_cut_r``.
        top: rows that count for ``p_at_top``.
        radius: of the ball.
    """

    map: Floats
    map_at_cut: Floats
    map_at_cut_r: Floats
    p_at_top: Floats
    ball_precision: Floats | None = None
    ball: Floats | None = None
    within: tuple[Floats, Floats] | None = field(default=None, kw_only=True)
    cut: int = field(default=CUT, kw_only=True)
    top: int = field(default=TOP, kw_only=True)
    radius: int = field(default=RADIUS, kw_only=True)

    def named(self) -> dict[str, Floats]:
        """Return the metrics by name: ``map``, ``map_at_1000``, ``map_at_1000r``, ``p_at_100``, ..."""
        named: dict[str, Floats | None] = {
            "map": self.map,
            f"map_at_{self.cut}": self.map_at_cut,
            f"map_at_{self.cut}r": self.map_at_cut_r,
            f"p_at_{self.top}": self.p_at_top,
            f"precision_r{self.radius}": self.ball_precision,
            f"ball{self.radius}": self.ball,
        }
        return {name: values for name, values in named.items() if values is not None}


def retrieval(
    database: BitCodes,
    queries: BitCodes,
    db_label: Labels,
    q_label: Labels,
    *,
    cut: int = CUT,
    top: int = TOP,
    radius: int = RADIUS,
    counts: Counts | None = None,
) -> Retrieval:
    """Return the expected metrics of rankings by Hamming distance, ties in random order.

    The rows are counted per distance, never sorted: O(N) per query with a small constant, in blocks of 65,536 rows.

    Args:
        database: N codes.
        queries: Q codes of the same length.
        db_label: [N]; frozensets, where rows have several labels.
        q_label: [Q], the same.
        cut: rows that count for average precision at a cut; at most N.
        top: rows that count for ``p_at_top``.
        radius: of the Hamming ball.
        counts: of :func:`distance_counts`, where they are known.

    Raises:
        CodeError: no codes, codes of two lengths, or another number of labels than of codes.
        FingerprintError: two encoders made the codes.
    """
    _check_labels(len(database), len(queries), db_label, q_label)
    relevance = relevance_of(db_label, q_label)
    harmonic = harmonic_numbers(len(database))
    parts, within = [], np.zeros((2, database.n_bits + 1))
    for start in range(0, len(queries), QUERY_CHUNK):
        chunk = slice(start, start + QUERY_CHUNK)
        if counts is None:
            size, relevant = distance_counts(database, queries[chunk], relevance.of_queries(chunk))
        else:
            size, relevant = (of_all[chunk] for of_all in counts)
        inside_all, hits_all = np.cumsum(size, axis=1), np.cumsum(relevant, axis=1)
        within[0] += (hits_all / np.maximum(inside_all, 1)).sum(axis=0) / len(queries)
        within[1] += (hits_all / np.maximum(hits_all[:, -1:], 1)).sum(axis=0) / len(queries)
        metrics = _ranked(TieGroups.of_counts(size, relevant), relevant.sum(axis=1), harmonic, cut=cut, top=top)
        ball = min(radius, database.n_bits)
        inside, hits = inside_all[:, ball], hits_all[:, ball]
        parts.append([*metrics, hits / np.maximum(inside, 1), (inside > 0).astype(np.float64)])
    return Retrieval(*_joined(parts), within=(within[0], within[1]), cut=cut, top=top, radius=radius)


def retrieval_float(
    database: Features, queries: Features, db_label: Labels, q_label: Labels, *, cut: int = CUT, top: int = TOP
) -> Retrieval:
    """Return the metrics of exact float search (L2), without those of a ball.

    Args:
        database: uint8 or float [N, D].
        queries: uint8 or float [Q, D].
        db_label: [N].
        q_label: [Q].
        cut: see :func:`retrieval`.
        top: see :func:`retrieval`.

    Raises:
        CodeError: features that do not match or are not finite, or another number of labels than of rows.
    """
    _check_labels(len(database), len(queries), db_label, q_label)
    return retrieval_by(distance_rows(database, queries), db_label, q_label, cut=cut, top=top)


def retrieval_by(
    found: Iterator[tuple[int, Distances]], db_label: Labels, q_label: Labels, *, cut: int = CUT, top: int = TOP
) -> Retrieval:
    """Return the metrics of a search whose distances are given, without those of a ball.

    Args:
        found: blocks in order: the first query, and the distances to all rows, [q, N].
        db_label: [N].
        q_label: [Q].
        cut: see :func:`retrieval`.
        top: see :func:`retrieval`.
    """
    relevance = relevance_of(db_label, q_label)
    harmonic = harmonic_numbers(len(db_label))

    def ranked(query: int, row: NDArray[Any]) -> list[Floats]:
        own = row[relevance.rows(query)]
        return _ranked(float_groups(row, own), np.array([len(own)]), harmonic, cut=cut, top=top)

    parts: list[list[Floats]] = []
    # Most of the work is sorting, for which numpy releases Python's lock.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for first, distances in found:
            parts += pool.map(ranked, range(first, first + len(distances)), distances)
    return Retrieval(*_joined(parts), cut=cut, top=top)


def recall_at_10(
    database: BitCodes, queries: BitCodes, database_features: Features, query_features: Features
) -> Floats:
    """Return the recall at 10 of the nearest rows by features (L2), float64[Q].

    Raises:
        CodeError: codes or features that do not match.
    """
    return neighbour_recall(database, queries, nearest(database_features, query_features, NEIGHBOURS))


def neighbour_recall(database: BitCodes, queries: BitCodes, neighbours: Ints, counts: Counts | None = None) -> Floats:
    """Return the share of each query's k neighbours among its k nearest codes, float64[Q].

    Ties count by expectation: where the k-th place falls into a group of t codes at one distance, and m places are
    left, each of the t codes is among the k with probability m/t.

    Args:
        database: N codes.
        queries: Q codes of the same length.
        neighbours: int64[Q, k], rows of the database; see :func:`aepipe.evaluate.exact_search.nearest`.
        counts: of :func:`distance_counts`, where they are known.

    Raises:
        CodeError: codes or neighbours that do not match.
        FingerprintError: two encoders made the codes.
    """
    if len(neighbours) != len(queries) or not len(database):
        raise CodeError(f"{len(neighbours)} lists of neighbours for {len(queries)} queries, {len(database)} codes")
    k = neighbours.shape[1]
    parts = []
    for start in range(0, len(queries), QUERY_CHUNK):
        chunk = slice(start, start + QUERY_CHUNK)
        size = distance_counts(database, queries[chunk])[0] if counts is None else counts[0][chunk]
        groups = TieGroups.of_counts(size, np.zeros_like(size))
        inside = groups.taken(k) / np.maximum(size, 1)
        differ = database.packed[neighbours[chunk]] ^ queries.packed[chunk, None, :]
        distance = np.bitwise_count(differ).sum(axis=2, dtype=np.int64)
        parts.append(np.take_along_axis(inside, distance, axis=1).mean(axis=1))
    return np.concatenate(parts) if parts else np.empty(0)


def distance_counts(database: BitCodes, queries: BitCodes, relevance: Relevance | None = None) -> Counts:
    """Count all rows and the relevant rows at each distance: twice int64[Q, K+1].

    Without relevance, the second is zeros.

    Raises:
        CodeError: the lengths differ.
        FingerprintError: two encoders made the codes.
    """
    check_same(database, queries)
    size = np.zeros((len(queries), database.n_bits + 1), np.int64)
    relevant = np.zeros_like(size)
    wanted = queries.words()

    def count(block: NDArray[np.uint64], start: int) -> None:
        def of_query(query: int) -> None:
            distance = word_distances(block, wanted[query])
            size[query] += np.bincount(distance, minlength=size.shape[1])
            if relevance is not None:
                inside = relevance.inside(query, start, start + len(distance))
                relevant[query] += np.bincount(distance[inside], minlength=size.shape[1])

        in_threads(of_query, range(len(queries)))

    for start, block in _word_blocks(database, relevance):
        count(block, start)
    return size, relevant


def in_threads(work: Callable[[Given], Made], given: Sequence[Given]) -> list[Made]:
    """Return what a function makes of each of some things, in their order; each thread takes a run of them.

    Numpy releases Python's lock in what takes long, so queries can be looked at side by side.
    """
    count = min(os.cpu_count() or 1, len(given))
    if count < 2:
        return [work(one) for one in given]
    limits = [len(given) * at // count for at in range(count + 1)]
    with ThreadPoolExecutor(count) as pool:
        runs = pool.map(lambda some: [work(one) for one in some], (given[a:b] for a, b in pairwise(limits)))
        return [made for run in runs for made in run]


def word_distances(block: NDArray[np.uint64], words: NDArray[np.uint64]) -> Ints:
    """Return the distances from a query to a block, int64[rows]."""
    # Word by word: numpy is slow where the innermost loop is short.
    distance: Ints = np.bitwise_count(block[0] ^ words[0]).astype(np.int64)
    for column, word in zip(block[1:], words[1:], strict=True):
        distance += np.bitwise_count(column ^ word)
    return distance


def first_places(distances: NDArray[np.uint16], count: int) -> Ints:
    """Return the places of the smallest distances, int64[min(count, N)]; equal ones in the order of their places.

    Args:
        distances: uint16[N].
        count: at least 1.
    """
    count = min(count, len(distances))
    # Only those up to the last one that is wanted are sorted; numpy sorts 16-bit integers by radix, which is stable.
    near = np.flatnonzero(distances <= np.partition(distances, count - 1)[count - 1])
    found: Ints = near[np.argsort(distances[near], kind="stable")[:count]]
    return found


def float_groups(distances: NDArray[Any], own: NDArray[Any]) -> TieGroups:
    """Return the tie groups with a relevant row of one ranking by features, [1, G].

    Args:
        distances: int32[N] or float64[N], of all rows; integers from 0 on.
        own: the same of the R relevant rows.
    """
    values, counts = np.unique(own, return_counts=True)
    start, end = _marked(distances, values) if distances.dtype == np.int32 else _searched(distances, values)
    return TieGroups(start[None], (end - start)[None], counts.astype(np.int64)[None])


def _searched(distances: Floats, values: Floats) -> tuple[Ints, Ints]:
    """Return how many distances are smaller than each value, and how many are no larger, int64[G] each."""
    ranked = np.sort(distances)
    start, end = (np.searchsorted(ranked, values, side) for side in ("left", "right"))
    return start.astype(np.int64), end.astype(np.int64)


def _marked(distances: NDArray[np.int32], values: NDArray[np.int32]) -> tuple[Ints, Ints]:
    """Return what :func:`_searched` does, in half the time: marks around each value are sorted with the distances."""
    each: NDArray[np.signedinteger[Any]] = np.concatenate([distances, values, values])
    if int(distances.max()) >= 2**29:
        each = each.astype(np.int64)
    each <<= 2
    n, g = len(distances), len(values)
    each[:n] += 1
    each[n + g :] += 2
    each.sort()
    sort = each & 3
    earlier = 2 * np.arange(g)  # marks before those of each value
    return np.flatnonzero(sort == 0) - earlier, np.flatnonzero(sort == 2) - earlier - 1


def _ranked(groups: TieGroups, relevant: Ints, harmonic: Floats, *, cut: int, top: int) -> list[Floats]:
    """Return the metrics of rankings: map, map_at_cut, map_at_cut_r, p_at_top."""
    n_rows = len(harmonic) - 1
    cut, top = min(cut, n_rows), min(top, n_rows)
    whole = expected_precision_sum(groups, n_rows, harmonic) / np.maximum(relevant, 1)
    head = expected_precision_sum(groups, cut, harmonic) / np.clip(relevant, 1, cut)
    return [whole, expected_ap_of_found(groups, cut, harmonic), head, expected_hits(groups, top) / top]


def _joined(parts: list[list[Floats]]) -> list[Floats]:
    return [np.concatenate(column) for column in zip(*parts, strict=True)]


def _word_blocks(database: BitCodes, relevance: Relevance | None) -> Iterator[tuple[int, NDArray[np.uint64]]]:
    for start in range(0, len(database), DATABASE_BLOCK):
        rows = slice(start, start + DATABASE_BLOCK)
        block = database[rows] if relevance is None else database[relevance.order[rows]]
        yield start, np.ascontiguousarray(block.words().T)


def _check_labels(n_database: int, n_queries: int, db_label: Labels, q_label: Labels) -> None:
    """Check that neither side is empty, and that there is one label for each row."""
    if not n_database or not n_queries:
        raise CodeError(f"nothing to rank: {n_database} rows in the database, {n_queries} queries")
    for what, rows, labels in (("database rows", n_database, db_label), ("queries", n_queries, q_label)):
        if np.shape(labels) != (rows,):
            raise CodeError(f"{rows} {what} need {rows} labels, not an array of shape {list(np.shape(labels))}")
