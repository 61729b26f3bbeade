"""Mean average precision without labels: rows that walks on a graph reach are relevant.

Rows and queries are joined with their nearest others by the cosine of their half whitened principal components. Random
walks start at a query; the rows where they are most often are taken in place of those with its label. Single neighbours
would not do: codes that keep classes together best are rarely those that keep the nearest ten rows. Queries and rows of
the graph are rows that may have been in training, and labels are used nowhere.

How well it orders recipes as labels do: ``python -m benchmarks.quality.criterion``. The graph is that of Jegou,
Harzallah and Schmid, CVPR 2007; walks as a scale of similarity are those of Coifman and Lafon, "Diffusion Maps", 2006.

Legend: N database rows, Q queries, M = N + Q nodes of the graph, F components, k edges, R relevant rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aepipe.codes.bitcodes import BitCodes
from aepipe.evaluate.baselines import FitSample
from aepipe.evaluate.exact_search import Features, distance_rows, smallest
from aepipe.evaluate.relevance import NamedRows
from aepipe.evaluate.retrieval import distance_counts, float_groups
from aepipe.evaluate.ties import Floats, Ints, TieGroups, expected_precision_sum, harmonic_numbers

WALK_MAP = "walk_map"
ROWS, QUERIES = 4000, 500
"""Most rows and queries that are looked at, a fixed sample of all: the graph of these takes seconds."""
COMPONENTS, WHITEN = 256, 0.5
EDGES = 10
ONE_WAY = 0.05
"""Weight of an edge whose end does not have its start among its neighbours."""
STEPS = 16
"""Of the longest walk; every number of steps up to it is equally likely."""
REACHED = (0.05, 0.15)
"""Shares of the rows that are relevant to a query, those where its walks are most often: a class may be small or large,
and the figure is the mean over both."""
SEED = 20094


@dataclass(frozen=True, slots=True, eq=False)
class Walks:
    """The rows that are relevant to each query, for codes of any system.

    Attributes:
        rows: int64[n], positions of the database rows that are ranked.
        queries: int64[q], positions of the queries that are asked.
        relevant: to each query, among the ranked rows; one for each share of :data:`REACHED`.
    """

    rows: Ints
    queries: Ints
    relevant: tuple[NamedRows, ...]

    @classmethod
    def of(cls, database: Features, queries: Features) -> Walks:
        """Walk from a sample of the queries among a sample of the rows.

        Args:
            database: uint8 or float [N, D], may be memory-mapped.
            queries: uint8 or float [Q, D].

        Raises:
            CodeError: the features do not match, or are not finite.
        """
        rows, asked = _sample(len(database), ROWS), _sample(len(queries), QUERIES)
        units_MF = _components(np.concatenate([database[rows], queries[asked]]))
        reached = _visits(units_MF, len(rows))
        counts = [max(1, round(share * len(rows))) for share in REACHED]
        found = (np.sort(smallest(-reached, count), axis=1) for count in counts)
        return cls(rows, asked, tuple(NamedRows(np.arange(len(rows)), one) for one in found))

    def of_codes(self, database: BitCodes, queries: BitCodes) -> Floats:
        """Return the average precision of rankings by code, ties by expectation, float64[q].

        Args:
            database: N codes.
            queries: Q codes of the same length.

        Raises:
            CodeError: the lengths differ.
        """
        known, asked = database[self.rows], queries[self.queries]
        return self._mean(
            self._precision(TieGroups.of_counts(*distance_counts(known, asked, one)), one) for one in self.relevant
        )

    def of_floats(self, database: Features, queries: Features) -> Floats:
        """Return the average precision of rankings by L2 distance, float64[q].

        Args:
            database: uint8 or float [N, D].
            queries: uint8 or float [Q, D].

        Raises:
            CodeError: the features do not match, or are not finite.
        """
        found = []
        for first, distances in distance_rows(database[self.rows], queries[self.queries]):
            for query, row in enumerate(distances, first):
                parts = (self._precision(float_groups(row, row[one.rows(query)]), one) for one in self.relevant)
                found.append(self._mean(parts))
        return np.concatenate(found)

    def _precision(self, groups: TieGroups, relevant: NamedRows) -> Floats:
        total = expected_precision_sum(groups, len(self.rows), harmonic_numbers(len(self.rows)))
        precision: Floats = total / relevant.wanted.shape[1]
        return precision

    def _mean(self, parts: Iterable[Floats]) -> Floats:
        mean: Floats = np.mean([*parts], axis=0)
        return mean


def _sample(count: int, most: int) -> Ints:
    """Return at most so many positions, ascending; the same in every run."""
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(SEED).choice(count, most, replace=False))


def _components(features: Features) -> NDArray[np.float32]:
    """Return half whitened principal components of unit length, float32[M, F]."""
    sample = FitSample(features, COMPONENTS, SEED)
    projected = sample.projected()
    spread = projected.std(axis=0)
    # Beyond the rank of the rows there is rounding only, which whitening would blow up.
    kept = spread > 1e-5 * max(float(spread.max(initial=0.0)), 1e-30)
    units = projected[:, kept] / spread[kept] ** WHITEN
    found: NDArray[np.float32] = units / np.maximum(np.linalg.norm(units, axis=1, keepdims=True), 1e-12)
    return found


def _visits(units_MF: NDArray[np.float32], n_rows: int) -> NDArray[np.float32]:
    """Return how often walks from each query are at each row, float32[Q, N]; the queries are the last nodes."""
    move_MM = _moves(units_MF)
    at_MQ = move_MM[n_rows:].toarray().T
    visits_MQ = at_MQ.copy()
    back_MM = move_MM.T.tocsr()
    for _ in range(STEPS - 1):
        at_MQ = back_MM @ at_MQ
        visits_MQ += at_MQ
    found: NDArray[np.float32] = visits_MQ[:n_rows].T
    return found


def _moves(units_MF: NDArray[np.float32]) -> Any:  # noqa: ANN401  scipy has no types
    """Return the chance of each step, a sparse float32[M, M] whose rows sum to one."""
    import scipy.sparse

    count = len(units_MF)
    edges = max(1, min(EDGES, count - 1))
    far = -(units_MF @ units_MF.T)
    np.fill_diagonal(far, np.inf)
    near = smallest(far, edges) if count > 1 else np.zeros((1, 1), np.int64)
    start = np.repeat(np.arange(count), near.shape[1])
    ones = np.ones(near.size, np.float32)
    joined = scipy.sparse.csr_matrix((ones, (start, near.ravel())), shape=(count, count))
    weights = ONE_WAY * joined + (1 - ONE_WAY) * joined.multiply(joined.T)
    return scipy.sparse.csr_matrix(weights / weights.sum(axis=1))
