"""Ask held-out items as users ask: by embedding or by code, among all rows or some.

The answers are what confidence is calibrated on, see :mod:`aepipe.evaluate.calibration`.

Legend: N database rows, Q queries, K bits, k hits, H width of the embedding, D features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aepipe.codes.encoder import cosines, lengths_of
from aepipe.evaluate.calibration import FIRST as TOP
from aepipe.evaluate.calibration import Curve, falling
from aepipe.evaluate.exact_search import nearest
from aepipe.evaluate.relevance import are_several, relevance_of
from aepipe.evaluate.retrieval import NEIGHBOURS, word_distances

if TYPE_CHECKING:
    from aepipe.evaluate.relevance import Labels
    from aepipe.evaluate.scores import Sample
    from aepipe.evaluate.ties import Ints

FIRST_RANKS, LATER_RANKS = slice(0, TOP), slice(TOP, 10 * TOP)
FILTERS = 40
"""Conditions that are tried, each with its share of the queries."""
ASKED = 1000
"""Questions under conditions; of fewer queries, each asks several times."""
BINS, IN_BIN = 40, 25
"""Most parts that the hits are cut into by their cosine, and hits in each of them at least."""
SMALLEST = 0.02
"""Least share of rows that a condition leaves."""
FEWEST = 5 * TOP
"""Rows that a condition leaves at least."""

Chosen = NDArray[np.int64]
Relevant = Callable[[int, Chosen], NDArray[np.bool_]]
"""Says for a query which of some rows are relevant to it."""


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """The first hits of Q queries.

    Attributes:
        n_queries: Q.
        distance: int64[n], of all hits by code, in bits.
        relevant: bool[n], of these.
        apart: float64[m], 1 - cosine of all hits by embedding; empty where there are no embeddings.
        relevant_apart: bool[m], of these.
        nearest: float64[Q], cosine of the nearest row by embedding; NaN where there is none.
        nearest_code: int64[Q], distance of the nearest row by code.
    """

    n_queries: int
    distance: Ints
    relevant: NDArray[np.bool_]
    apart: NDArray[np.float64]
    relevant_apart: NDArray[np.bool_]
    nearest: NDArray[np.float64]
    nearest_code: Ints


def curve_of(found: Answers, of_all: Sequence[float]) -> Curve:
    """Measure the probability of relevance on the hits of held-out queries.

    Args:
        found: the hits.
        of_all: K + 1 probabilities of all rows, which hold beyond the farthest of the hits.
    """
    trials = np.bincount(found.distance, minlength=len(of_all))
    hits = np.bincount(found.distance, found.relevant, minlength=len(of_all)).astype(np.int64)
    distance, farthest = falling(hits, trials), int(found.distance.max())
    distance[farthest + 1 :] = np.minimum(distance[farthest], np.array(of_all)[farthest + 1 :])
    by_cosine = _by_cosine(found.apart, found.relevant_apart)
    return Curve(found.n_queries, tuple(distance.round(6).tolist()), *by_cosine)


def _by_cosine(apart: NDArray[np.float64], relevant: NDArray[np.bool_]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return limits of 1 - cosine, and the probability up to each."""
    if not len(apart):
        return (), ()
    order = np.argsort(apart, kind="stable")
    parts = np.array_split(order, max(1, min(BINS, len(order) // IN_BIN)))
    hits = np.array([relevant[part].sum() for part in parts], np.int64)
    found = falling(hits, np.array([len(part) for part in parts], np.int64))
    limits = [float(apart[part[-1]]) for part in parts]
    last = [i for i in range(len(parts)) if i + 1 == len(parts) or found[i + 1] != found[i]]
    return tuple(round(limits[i], 6) for i in last), tuple(round(float(found[i]), 6) for i in last)


def ask(
    database: Sample,
    queries: Sample,
    factor: int | None,
    ranks: slice = FIRST_RANKS,
    neighbours: NDArray[np.int64] | None = None,
) -> Answers:
    """Ask among all rows.

    Args:
        database: N rows.
        queries: Q of them.
        factor: so many times more hits by code than are wanted are ordered by their embeddings; None for none.
        ranks: of the hits, from 0.
        neighbours: int64[Q, k], the nearest rows of the queries by their features, where they are known.
    """
    everything = [(np.arange(len(database)), np.arange(len(queries)))]
    return _ask(database, queries, factor, everything, ranks, neighbours)


def ask_some(database: Sample, queries: Sample, factor: int | None, seed: int) -> Answers:
    """Ask under conditions: each leaves some rows, drawn at random, or the rows of some labels.

    Args:
        database: N rows.
        queries: Q of them.
        factor: see :func:`ask`.
        seed: of the conditions.
    """
    rng = np.random.default_rng(seed)
    # Few queries ask several times, each time under another condition.
    times = max(1, min(FILTERS // 2, ASKED // len(queries)))
    order = np.concatenate([rng.permutation(len(queries)) for _ in range(times)])
    pairs = list(zip(_subsets(database, rng), np.array_split(order, FILTERS), strict=True))
    return replace(_ask(database, queries, factor, pairs, FIRST_RANKS), n_queries=len(queries))


def _subsets(database: Sample, rng: np.random.Generator) -> Iterator[Chosen]:
    """Yield the rows that conditions leave, int64[n] each, ascending."""
    labels = database.labels
    known = [] if labels is None else _known(labels)
    for number in range(FILTERS):
        share = SMALLEST ** rng.random()
        chosen = rng.random(len(database)) < share
        if labels is not None and number % 2:
            chosen = _of_labels(labels, known, share, rng)
        found = np.flatnonzero(chosen)
        yield found if len(found) >= FEWEST else np.sort(rng.permutation(len(database))[:FEWEST])


def _known(labels: Labels) -> list[Any]:
    """Return the different labels of rows, in a fixed order."""
    return sorted(
        {label for one in _sets(labels) for label in one} if are_several(labels) else set(labels.tolist()), key=str
    )


def _sets(labels: Labels) -> list[frozenset[Any]]:
    return [one if isinstance(one, frozenset) else frozenset([one]) for one in labels.tolist()]


def _of_labels(labels: Labels, known: list[Any], share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return the rows that have one of some of the known labels."""
    wanted = rng.permutation(np.array(known, object))[: max(1, round(share * len(known)))].tolist()
    if are_several(labels):
        return np.array([not one.isdisjoint(wanted) for one in _sets(labels)], bool)
    return np.isin(labels, np.array(wanted, labels.dtype))


def _ask(
    database: Sample,
    queries: Sample,
    factor: int | None,
    turns: list[tuple[Chosen, Chosen]],
    ranks: slice,
    neighbours: NDArray[np.int64] | None = None,
) -> Answers:
    found: list[tuple[NDArray[np.generic], ...]] = []
    lengths = np.full(len(database), np.nan, np.float32)
    for rows, asked in turns:
        if not len(asked):
            continue
        relevant = _relevance(database, queries, rows, asked, neighbours)
        words = np.ascontiguousarray(database.codes[rows].words().T)
        for place, query in enumerate(asked.tolist()):
            far = word_distances(words, queries.codes[query : query + 1].words()[0]).astype(np.uint16)
            near = np.argsort(far, kind="stable")[: ranks.stop * (factor or 1)]  # by radix, which is fast and stable
            cosine = _cosines(database, queries, rows[near], query, lengths) if factor else None
            found.append(_hits(near, far, cosine, partial(relevant, place), ranks))
    columns: list[Any] = [np.concatenate(column) for column in zip(*found, strict=True)]
    return Answers(len(queries), *columns)


def _cosines(
    database: Sample, queries: Sample, rows: Chosen, query: int, lengths: NDArray[np.float32]
) -> NDArray[np.float64] | None:
    """Return the cosines of a query's embedding with those of rows; None where they are not kept.

    Args:
        database: N rows.
        queries: Q of them.
        rows: of the database.
        query: of the queries.
        lengths: float32[N], of the embeddings of all rows; NaN where it is not known yet, and filled in then.
    """
    if database.embeddings is None or queries.embeddings is None:
        return None
    near = database.embeddings[rows].astype(np.float32)
    new = np.isnan(lengths[rows])
    lengths[rows[new]] = lengths_of(near[new])
    return cosines(queries.embeddings[query], near, lengths[rows]).astype(np.float64)


def _hits(
    near: Chosen,
    far: NDArray[np.uint16],
    cosine: NDArray[np.float64] | None,
    relevant: Callable[[Chosen], NDArray[np.bool_]],
    ranks: slice,
) -> tuple[NDArray[np.generic], ...]:
    """Return the columns of :class:`Answers` of one query."""
    by_code, least = near[ranks], far[near[:1]].astype(np.int64)
    plain = far[by_code].astype(np.int64), relevant(by_code)
    if cosine is None:
        return *plain, np.empty(0), np.empty(0, bool), np.array([np.nan]), least
    order = np.argsort(-cosine, kind="stable")
    return *plain, 1 - cosine[order[ranks]], relevant(near[order[ranks]]), cosine[order[:1]], least


def _relevance(
    database: Sample, queries: Sample, rows: Chosen, asked: Chosen, near: NDArray[np.int64] | None
) -> Relevant:
    """Return what says which of some rows are relevant: by label, else the nearest of them by features."""
    if database.labels is not None and queries.labels is not None:
        own, wanted = database.labels[rows], queries.labels[asked]
        if are_several(own) or are_several(wanted):
            known = relevance_of(own, wanted)
            return lambda query, hits: np.isin(hits, known.rows(query))
        return lambda query, hits: np.asarray(own[hits] == wanted[query], bool)
    if near is None:
        near = nearest(database.features[rows], queries.features[asked], min(NEIGHBOURS, len(rows)))
    return lambda query, hits: np.asarray((hits[:, None] == near[query]).any(axis=1))
