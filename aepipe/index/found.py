"""What a search among distinct codes finds, before rows are looked up.

Legend: M distinct codes, Q queries, T codes found for all queries together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Codes near queries, ordered by (query, distance, position).

    Attributes:
        query: int64[T], which query each was found for.
        distances: uint16[T], bits.
        positions: int64[T], in 0..M-1.
    """

    query: NDArray[np.int64]
    distances: NDArray[np.uint16]
    positions: NDArray[np.int64]

    @classmethod
    def none(cls) -> Found:
        """Return nothing."""
        return cls(np.zeros(0, np.int64), np.zeros(0, np.uint16), np.zeros(0, np.int64))

    @classmethod
    def sort(cls, query: NDArray[np.int64], distances: NDArray[np.integer], positions: NDArray[np.integer]) -> Found:
        """Put codes into order."""
        if int(query.max(initial=0)) < 1 << 15 and int(positions.max(initial=0)) < 1 << 32:
            # One sort of plain numbers is several times faster.
            keys = np.sort((query << 48) | (distances.astype(np.int64) << 32) | positions)
            return cls(keys >> 48, (keys >> 32).astype(np.uint16), keys & ((1 << 32) - 1))
        order = np.lexsort((positions, distances, query))
        return cls(query[order], distances[order].astype(np.uint16), positions[order].astype(np.int64))

    @classmethod
    def join(cls, parts: Sequence[tuple[Found, NDArray[np.int64]]]) -> Found:
        """Join what was found for several batches of queries.

        Args:
            parts: of each batch what was found, and the numbers of its queries, int64[Q of the batch].
        """
        parts = [(found, own) for found, own in parts if len(found)]
        if not parts:
            return cls.none()
        query = np.concatenate([own[found.query] for found, own in parts])
        order = np.argsort(query, kind="stable")
        distances = np.concatenate([found.distances for found, _ in parts])
        positions = np.concatenate([found.positions for found, _ in parts])
        return cls(query[order], distances[order], positions[order])

    def completed(self, queries: int, open_: NDArray[np.int64], search: Callable[[NDArray[np.int64]], Found]) -> Found:
        """Return the same with the answers of another search to the queries that are open yet.

        Args:
            queries: Q.
            open_: int64[q], the numbers of those of which nothing was found here.
            search: answers queries by their numbers.
        """
        if not len(open_):
            return self
        return Found.join([(self, np.arange(queries)), (search(open_), open_)])

    def __len__(self) -> int:
        return len(self.query)

    def first(self, k: int, queries: int) -> Found:
        """Return the first k of each of Q queries."""
        if queries == 1:
            return self.at(slice(k))
        starts = np.searchsorted(self.query, np.arange(queries))
        return self.at(np.arange(len(self)) - starts[self.query] < k)

    def at(self, which: NDArray[np.generic] | slice) -> Found:
        """Return some of them, by a mask or in ascending order of place."""
        return Found(self.query[which], self.distances[which], self.positions[which])
