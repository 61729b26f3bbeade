"""Relevance: a row is relevant to a query where their labels are equal.

Where they have several labels, one in common is enough. That is the usual rule for collections such as NUS-WIDE, COCO
and Reuters.

Legend: N database rows, Q queries, P pairs of a row and a label.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from aepipe.evaluate.ties import Ints

Labels: TypeAlias = NDArray[np.generic]
"""Of some rows, [N]: integers, strings or other hashable values; or frozensets, where rows have several labels."""


def are_several(labels: Labels) -> bool:
    """Say whether rows have sets of labels, and not a label each."""
    return labels.dtype.kind == "O" and any(isinstance(one, frozenset) for one in labels)


def relevance_of(database: Labels, queries: Labels) -> Relevance:
    """Return which rows are relevant to which queries, by labels [N] and [Q]."""
    database, queries = np.asarray(database), np.asarray(queries)
    if are_several(database) or are_several(queries):
        return SharedLabel.of(database, queries)
    return EqualLabel.of(database, queries)


@dataclass(frozen=True, slots=True, eq=False)
class EqualLabel:
    """The rows with each query's label: rows ``order[first[i]:last[i]]`` for query i.

    Attributes:
        order: int64[N], the rows sorted by label; blocks of rows are read in this order.
        first: int64[Q].
        last: int64[Q].
    """

    order: Ints
    first: Ints
    last: Ints

    @classmethod
    def of(cls, database: Labels, queries: Labels) -> EqualLabel:
        """Compare labels [N] and [Q]."""
        numbers, wanted = _numbered(database, queries)
        order = np.argsort(numbers, kind="stable").astype(np.int64)
        ordered = numbers[order]
        first, last = (np.searchsorted(ordered, wanted, "left"), np.searchsorted(ordered, wanted, "right"))
        return cls(order, first.astype(np.int64), last.astype(np.int64))

    def of_queries(self, chunk: slice) -> EqualLabel:
        """Return the relevance of some queries."""
        return EqualLabel(self.order, self.first[chunk], self.last[chunk])

    def rows(self, query: int) -> Ints:
        """Return the relevant rows, int64[R]."""
        return self.order[self.first[query] : self.last[query]]

    def inside(self, query: int, start: int, stop: int) -> slice:
        """Return which rows of a block in :attr:`order` are relevant."""
        # The rows are sorted by label, so the relevant ones are a slice.
        first, last = np.clip((self.first[query] - start, self.last[query] - start), 0, stop - start)
        return slice(int(first), int(last))


@dataclass(frozen=True, slots=True, eq=False)
class SharedLabel:
    """The rows that share a label with each query.

    Attributes:
        order: int64[N], the rows as they are; blocks of rows are read in this order.
        by_label: int64[P], the rows with the first label, ascending, then those with the second, ...
        start: int64[L + 1], where the rows of each label begin.
        wanted: numbers of the labels of each query.
    """

    order: Ints
    by_label: Ints
    start: Ints
    wanted: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, database: Labels, queries: Labels) -> SharedLabel:
        """Compare sets of labels [N] and [Q]; a label that is no set is one of its own."""
        numbers: dict[object, int] = {}
        sets = [_set(one) for one in database.tolist()]
        labels = [numbers.setdefault(label, len(numbers)) for label in chain.from_iterable(sets)]
        rows = np.repeat(np.arange(len(sets)), [len(one) for one in sets])
        # Stable, so that the rows of a label stay ascending.
        order = np.argsort(np.array(labels, np.int64), kind="stable")
        start = np.concatenate([[0], np.cumsum(np.bincount(np.array(labels, np.int64), minlength=len(numbers)))])
        wanted = tuple(tuple(numbers[label] for label in _set(one) if label in numbers) for one in queries.tolist())
        return cls(np.arange(len(sets)), rows[order].astype(np.int64), start.astype(np.int64), wanted)

    def of_queries(self, chunk: slice) -> SharedLabel:
        """Return the relevance of some queries."""
        return SharedLabel(self.order, self.by_label, self.start, self.wanted[chunk])

    def rows(self, query: int) -> Ints:
        """Return the relevant rows, int64[R]."""
        return np.flatnonzero(self.inside(query, 0, len(self.order)))

    def inside(self, query: int, start: int, stop: int) -> NDArray[np.bool_]:
        """Return which rows of a block are relevant, bool[stop - start]."""
        found = np.zeros(stop - start, bool)
        for rows in self._having(query):
            first, last = np.searchsorted(rows, (start, stop))
            found[rows[first:last] - start] = True
        return found

    def _having(self, query: int) -> Iterator[Ints]:
        for label in self.wanted[query]:
            yield self.by_label[self.start[label] : self.start[label + 1]]


@dataclass(frozen=True, slots=True, eq=False)
class NamedRows:
    """The rows that are relevant to each query, by their positions.

    Attributes:
        order: int64[N], the rows as they are; blocks of rows are read in this order.
        wanted: int64[Q, R], ascending.
    """

    order: Ints
    wanted: Ints

    def of_queries(self, chunk: slice) -> NamedRows:
        """Return the relevance of some queries."""
        return NamedRows(self.order, self.wanted[chunk])

    def rows(self, query: int) -> Ints:
        """Return the relevant rows, int64[R]."""
        found: Ints = self.wanted[query]
        return found

    def inside(self, query: int, start: int, stop: int) -> Ints:
        """Return which rows of a block are relevant, as positions in the block."""
        first, last = np.searchsorted(self.wanted[query], (start, stop))
        found: Ints = self.wanted[query][first:last] - start
        return found


Relevance: TypeAlias = EqualLabel | SharedLabel | NamedRows


def _set(label: object) -> frozenset[object]:
    return label if isinstance(label, frozenset) else frozenset([label])


def _numbered(database: Labels, queries: Labels) -> tuple[Ints, Ints]:
    """Number the labels: integers that are equal where the labels are."""
    if "O" in (database.dtype.kind, queries.dtype.kind):
        numbers: dict[object, int] = {}
        both = [numbers.setdefault(label, len(numbers)) for label in [*database.tolist(), *queries.tolist()]]
        inverse = np.array(both, np.int64)
    else:
        inverse = np.unique(np.concatenate([database, queries]), return_inverse=True)[1].astype(np.int64)
    return inverse[: len(database)], inverse[len(database) :]
