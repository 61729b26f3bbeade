"""Ask held-out items as users ask: by embedding or by code, among all rows or some.

The answers are what confidence is calibrated on, see :mod:`aepipe.evaluate.calibration`.

Legend: N database rows, Q queries, K bits, k hits, H width of the embedding, D features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aepipe.codes.encoder import cosines, lengths_of
from aepipe.evaluate.calibration import FIRST as TOP
from aepipe.evaluate.calibration import Curve, falling
from aepipe.evaluate.exact_search import nearest
from aepipe.evaluate.relevance import are_several, relevance_of
from aepipe.evaluate.retrieval import NEIGHBOURS, first_places, in_threads, word_distances

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
    known = None if database.labels is None else _Known.of(database.labels)
    for number in range(FILTERS):
        share = SMALLEST ** rng.random()
        chosen = rng.random(len(database)) < share
        if known is not None and number % 2:
            chosen = known.some(share, rng)
        found = np.flatnonzero(chosen)
        yield found if len(found) >= FEWEST else np.sort(rng.permutation(len(database))[:FEWEST])


@dataclass(frozen=True, slots=True, eq=False)
class _Known:
    """The labels of rows: each different set of labels is looked at once, since many rows have the same one.

    Legend: S different sets, L labels in the order of their texts, P pairs of a set and a label in it.

    Attributes:
        count: L.
        sets: int64[N], the number of each row's set; a single label is a set of one.
        pairs: int64[2, P], the numbers of sets, and those of their labels.
    """

    count: int
    sets: Ints
    pairs: Ints

    @classmethod
    def of(cls, labels: Labels) -> _Known:
        """Read the labels of rows, [N]."""
        numbers: dict[object, int] = {}
        sets = np.array([numbers.setdefault(one, len(numbers)) for one in labels.tolist()], np.int64)
        different = [one if isinstance(one, frozenset) else frozenset([one]) for one in numbers]
        known = sorted({label for one in different for label in one}, key=str)
        place = {label: number for number, label in enumerate(known)}
        pairs = [(number, place[label]) for number, one in enumerate(different) for label in one]
        return cls(len(known), sets, np.array(pairs, np.int64).reshape(-1, 2).T)

    def some(self, share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
        """Return the rows that have one of some labels drawn at random, bool[N]."""
        wanted, chosen = np.zeros(self.count, bool), np.zeros(int(self.sets.max()) + 1, bool)
        wanted[rng.permutation(self.count)[: max(1, round(share * self.count))]] = True
        chosen[self.pairs[0][wanted[self.pairs[1]]]] = True
        return chosen[self.sets]


def _ask(
    database: Sample,
    queries: Sample,
    factor: int | None,
    turns: list[tuple[Chosen, Chosen]],
    ranks: slice,
    neighbours: NDArray[np.int64] | None = None,
) -> Answers:
    lengths = np.full(len(database), np.nan, np.float32)
    wanted = ranks.stop * (factor or 1)

    def of_turn(rows: Chosen, asked: Chosen) -> list[tuple[NDArray[np.generic], ...]]:
        relevant = _relevance(database, queries, rows, asked, neighbours)
        words, codes = np.ascontiguousarray(database.codes[rows].words().T), queries.codes[asked].words()

        def of_query(place: int) -> tuple[NDArray[np.generic], ...]:
            far = word_distances(words, codes[place]).astype(np.uint16)
            near = first_places(far, wanted)
            cosine = _cosines(database, queries, rows[near], int(asked[place]), lengths) if factor else None
            return _hits(near, far, cosine, partial(relevant, place), ranks)

        return in_threads(of_query, range(len(asked)))

    found = [of_turn(rows, asked) for rows, asked in turns if len(asked)]
    columns: list[Any] = [np.concatenate(column) for column in zip(*chain.from_iterable(found), strict=True)]
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
