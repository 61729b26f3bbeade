"""Results of a search: rows (:class:`Hits`, :class:`RaggedHits`) and codes.

A search among distinct codes gives :class:`CodeHits`; the postings turn these into rows.

Legend: M distinct codes, Q queries, k neighbours, T hits of all queries together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NO_ID = -1
NO_DISTANCE = np.iinfo(np.uint16).max
"""Fill the places beyond the hits that a query has; farther than any hit, so that merging sorts them last."""


@dataclass(frozen=True, slots=True, eq=False)
class Hits:
    """The k nearest rows of each of Q queries, ordered by (distance, id).

    Attributes:
        ids: int64[Q, k]; -1 beyond ``count``.
        distances: uint16[Q, k], bits; undefined beyond ``count``.
        count: int64[Q], the number of hits of each query: k, or fewer where the index (or ``where``) has fewer rows.
    """

    ids: NDArray[np.int64]
    distances: NDArray[np.uint16]
    count: NDArray[np.int64]

    @classmethod
    def none(cls, queries: int, k: int) -> Hits:
        """Return the result of an index without rows."""
        ids = np.full((queries, k), NO_ID, np.int64)
        return cls(ids, np.full((queries, k), NO_DISTANCE, np.uint16), np.zeros(queries, np.int64))

    def __len__(self) -> int:
        return len(self.ids)

    def of(self, query: int) -> tuple[NDArray[np.int64], NDArray[np.uint16]]:
        """Return the ids and distances of one query."""
        count = int(self.count[query])
        return self.ids[query, :count], self.distances[query, :count]

    def merge(self, *others: Hits) -> Hits:
        """Return the first k of these hits and of the hits of other indexes with other rows."""
        parts, k = (self, *others), self.ids.shape[1]
        ids: NDArray[np.int64] = np.concatenate([part.ids for part in parts], axis=1)
        distances: NDArray[np.uint16] = np.concatenate([part.distances for part in parts], axis=1)
        order = np.lexsort((ids, distances), axis=1)[:, :k]
        count = np.minimum(sum(part.count for part in parts), k)
        return Hits(np.take_along_axis(ids, order, 1), np.take_along_axis(distances, order, 1), count)

    def put(self, queries: NDArray[np.int64], hits: Hits) -> None:
        """Replace the hits of some queries, in place; k must be the same."""
        self.ids[queries], self.distances[queries], self.count[queries] = hits.ids, hits.distances, hits.count


@dataclass(frozen=True, slots=True, eq=False)
class RaggedHits:
    """Any number of rows for each of Q queries, ordered by (distance, id).

    Attributes:
        ids: int64[T].
        distances: uint16[T], bits.
        offsets: int64[Q+1]; the hits of query q are ``offsets[q]:offsets[q + 1]``.
    """

    ids: NDArray[np.int64]
    distances: NDArray[np.uint16]
    offsets: NDArray[np.int64]

    @classmethod
    def none(cls, queries: int) -> RaggedHits:
        """Return the result of an index without rows."""
        return cls(np.zeros(0, np.int64), np.zeros(0, np.uint16), np.zeros(queries + 1, np.int64))

    @classmethod
    def sort(
        cls, query: NDArray[np.int64], distances: NDArray[np.uint16], ids: NDArray[np.int64], queries: int
    ) -> RaggedHits:
        """Sort hits.

        Args:
            query: int64[T], the query of each hit.
            distances: uint16[T].
            ids: int64[T].
            queries: Q.
        """
        if queries == 1:
            order = np.lexsort((ids, distances))
            return cls(ids[order], distances[order], np.array([0, len(ids)], np.int64))
        order = np.lexsort((ids, distances, query))
        offsets = np.zeros(queries + 1, np.int64)
        np.cumsum(np.bincount(query, minlength=queries), out=offsets[1:])
        return cls(ids[order], distances[order], offsets)

    @classmethod
    def join(cls, parts: Sequence[RaggedHits]) -> RaggedHits:
        """Join the results of consecutive batches of queries, at least one."""
        sizes = np.concatenate([np.diff(part.offsets) for part in parts])
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
        ids = np.concatenate([part.ids for part in parts])
        return cls(ids, np.concatenate([part.distances for part in parts]), offsets)

    @classmethod
    def merge(cls, parts: Sequence[RaggedHits]) -> RaggedHits:
        """Return the hits of several indexes, at least one, for the same queries; no row is in two."""
        query = np.concatenate([part.query for part in parts])
        distances = np.concatenate([part.distances for part in parts])
        return cls.sort(query, distances, np.concatenate([part.ids for part in parts]), len(parts[0]))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def of(self, query: int) -> tuple[NDArray[np.int64], NDArray[np.uint16]]:
        """Return the ids and distances of one query."""
        part = slice(int(self.offsets[query]), int(self.offsets[query + 1]))
        return self.ids[part], self.distances[part]

    @property
    def query(self) -> NDArray[np.int64]:
        """The query of each hit, int64[T]."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    @property
    def rank(self) -> NDArray[np.int64]:
        """The rank of each hit among those of its query, int64[T], from 0."""
        return np.arange(len(self.ids)) - np.repeat(self.offsets[:-1], np.diff(self.offsets))

    def at(self, kept: NDArray[np.bool_]) -> RaggedHits:
        """Return the hits that a mask keeps, bool[T]."""
        before = np.concatenate([np.zeros(1, np.int64), np.cumsum(kept)])
        return RaggedHits(self.ids[kept], self.distances[kept], before[self.offsets])

    def begin(self, n: int) -> RaggedHits:
        """Return at most the first n hits of each query."""
        return self.at(self.rank < n)

    def first(self, k: int) -> Hits:
        """Return the first k hits of each query as a table."""
        if len(self) == 1 and len(self.ids) >= k:
            return Hits(self.ids[None, :k], self.distances[None, :k], np.array([k], np.int64))
        hits, query, rank = Hits.none(len(self), k), self.query, self.rank
        taken = rank < k
        hits.ids[query[taken], rank[taken]] = self.ids[taken]
        hits.distances[query[taken], rank[taken]] = self.distances[taken]
        np.minimum(np.diff(self.offsets), k, out=hits.count)
        return hits


@dataclass(frozen=True, slots=True, eq=False)
class CodeHits:
    """Codes near queries, ordered by (query, distance, position).

    Attributes:
        query: int64[T], the query of each code.
        distances: uint16[T], bits.
        positions: int64[T], in 0..M-1.
    """

    query: NDArray[np.int64]
    distances: NDArray[np.uint16]
    positions: NDArray[np.int64]

    @classmethod
    def none(cls) -> CodeHits:
        """Return an empty result."""
        return cls(np.zeros(0, np.int64), np.zeros(0, np.uint16), np.zeros(0, np.int64))

    @classmethod
    def sort(cls, query: NDArray[np.int64], distances: NDArray[np.integer], positions: NDArray[np.integer]) -> CodeHits:
        """Sort codes by (query, distance, position)."""
        if int(query.max(initial=0)) < 1 << 15 and int(positions.max(initial=0)) < 1 << 32:
            # Sorting one array of numbers that hold all three is several times faster.
            keys = np.sort((query << 48) | (distances.astype(np.int64) << 32) | positions)
            return cls(keys >> 48, (keys >> 32).astype(np.uint16), keys & ((1 << 32) - 1))
        order = np.lexsort((positions, distances, query))
        return cls(query[order], distances[order].astype(np.uint16), positions[order].astype(np.int64))

    @classmethod
    def join(cls, parts: Sequence[tuple[CodeHits, NDArray[np.int64]]]) -> CodeHits:
        """Join the results of several batches of queries.

        Args:
            parts: the result of each batch, and the numbers of its queries, int64[Q of the batch].
        """
        parts = [(found, own) for found, own in parts if len(found)]
        if not parts:
            return cls.none()
        query = np.concatenate([own[found.query] for found, own in parts])
        order = np.argsort(query, kind="stable")
        distances = np.concatenate([found.distances for found, _ in parts])
        positions = np.concatenate([found.positions for found, _ in parts])
        return cls(query[order], distances[order], positions[order])

    def completed(
        self, queries: int, open_: NDArray[np.int64], search: Callable[[NDArray[np.int64]], CodeHits]
    ) -> CodeHits:
        """Add the results of another search for the queries that this one left open.

        Args:
            queries: Q.
            open_: int64[q], the numbers of the open queries, which have no hits here.
            search: the other search, called with these numbers.
        """
        if not len(open_):
            return self
        return CodeHits.join([(self, np.arange(queries)), (search(open_), open_)])

    def __len__(self) -> int:
        return len(self.query)

    def first(self, k: int, queries: int) -> CodeHits:
        """Return the first k codes of each of Q queries."""
        if queries == 1:
            return self.at(slice(k))
        starts = np.searchsorted(self.query, np.arange(queries))
        return self.at(np.arange(len(self)) - starts[self.query] < k)

    def at(self, which: NDArray[np.generic] | slice) -> CodeHits:
        """Return some of the codes, by a mask, a slice, or ascending places."""
        return CodeHits(self.query[which], self.distances[which], self.positions[which])
