"""Rankings as counts: how many rows, and how many relevant ones, lie at each distance of a query. Nothing is sorted.

Legend: N database rows, Q queries, K bits, W 64-bit words of a code, G tie groups.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from aepipe.bits import BitCodes, check_same
from aepipe.evaluate.ties import Floats, Ints, TieGroups

Labels: TypeAlias = NDArray[np.generic]

DATABASE_BLOCK = 1 << 16
"""Rows of one block: the words of 64-bit codes and their distances stay in the processor's cache."""


@dataclass(frozen=True, slots=True, eq=False)
class Relevance:
    """Which database rows bear each query's label: rows ``order[first[i]:last[i]]`` for query i.

    Attributes:
        order: int64[N], the rows sorted by label.
        first: int64[Q].
        last: int64[Q].
    """

    order: Ints
    first: Ints
    last: Ints

    @classmethod
    def of_labels(cls, database: Labels, queries: Labels) -> Relevance:
        """Compare labels: integers, strings or any hashable [N] and [Q]."""
        numbers, wanted = _numbered(np.asarray(database), np.asarray(queries))
        order = np.argsort(numbers, kind="stable").astype(np.int64)
        ordered = numbers[order]
        first, last = (np.searchsorted(ordered, wanted, "left"), np.searchsorted(ordered, wanted, "right"))
        return cls(order, first.astype(np.int64), last.astype(np.int64))

    def of_queries(self, chunk: slice) -> Relevance:
        """Return the relevance of some queries."""
        return Relevance(self.order, self.first[chunk], self.last[chunk])


def distance_counts(database: BitCodes, queries: BitCodes, relevance: Relevance | None = None) -> tuple[Ints, Ints]:
    """Count the rows, and the relevant rows, at each Hamming distance: int64[Q, K+1] twice; zeros without relevance.

    Raises:
        CodeError: the lengths differ.
        FingerprintError: two encoders made the codes.
    """
    check_same(database, queries)
    size = np.zeros((len(queries), database.n_bits + 1), np.int64)
    relevant = np.zeros_like(size)
    wanted = queries.words()
    for start, block in _word_blocks(database, relevance):
        for query, words in enumerate(wanted):
            distance = word_distances(block, words)
            size[query] += np.bincount(distance, minlength=size.shape[1])
            if relevance is not None:
                # The rows are sorted by label, so those of one label are a slice.
                first, last = np.clip((relevance.first[query] - start, relevance.last[query] - start), 0, len(distance))
                relevant[query] += np.bincount(distance[first:last], minlength=size.shape[1])
    return size, relevant


def _word_blocks(database: BitCodes, relevance: Relevance | None) -> Iterator[tuple[int, NDArray[np.uint64]]]:
    """Yield (first row, words uint64[W, rows]) over the database, sorted by label where there are labels."""
    for start in range(0, len(database), DATABASE_BLOCK):
        rows = slice(start, start + DATABASE_BLOCK)
        block = database[rows] if relevance is None else database[relevance.order[rows]]
        yield start, np.ascontiguousarray(block.words().T)


def word_distances(block: NDArray[np.uint64], words: NDArray[np.uint64]) -> Ints:
    """Return one query's distances to a block, int64[rows], one word of all rows at a time."""
    distance: Ints = np.bitwise_count(block[0] ^ words[0]).astype(np.int64)
    for column, word in zip(block[1:], words[1:], strict=True):
        distance += np.bitwise_count(column ^ word)
    return distance


def float_groups(distances: Floats, own: Floats) -> TieGroups:
    """Return the tie groups that hold a relevant row of one float ranking, [1, G].

    Args:
        distances: float64[N], of all rows.
        own: float64, of the relevant rows.
    """
    values, counts = np.unique(own, return_counts=True)
    ranked = np.sort(distances)
    start, end = (np.searchsorted(ranked, values, "left"), np.searchsorted(ranked, values, "right"))
    size = (end - start).astype(np.int64)
    return TieGroups(start.astype(np.int64)[None], size[None], counts.astype(np.int64)[None])


def _numbered(database: Labels, queries: Labels) -> tuple[Ints, Ints]:
    """Return the labels as integers, equal where the labels are."""
    if "O" in (database.dtype.kind, queries.dtype.kind):
        numbers: dict[object, int] = {}
        both = [numbers.setdefault(label, len(numbers)) for label in [*database.tolist(), *queries.tolist()]]
        inverse = np.array(both, np.int64)
    else:
        inverse = np.unique(np.concatenate([database, queries]), return_inverse=True)[1].astype(np.int64)
    return inverse[: len(database)], inverse[len(database) :]
