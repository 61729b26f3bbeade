"""Rows hang off distinct codes as postings, so that a code is searched once however many rows have it.

Legend: N rows, M distinct codes, Q queries, T codes found for all queries together.

Codes stand in the order of their smallest row id, and a posting holds its ids ascending. That order makes a search for
codes exact in (distance, id) of rows. Take the first k codes in the order (distance, position). Claim: each of the k
rows that are smallest in (distance, id) has one of these codes. Proof: let row r have code c, and let k other codes
stand before c. The smallest row of each of them stands before r: it is nearer, or equally near with an id below the
smallest id of c, which is at most r. So k rows stand before r, and r is not among the first k.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aepipe.disk import mapped
from aepipe.errors import CodeError, QueryError
from aepipe.index import piles
from aepipe.index.found import Found
from aepipe.index.hits import RaggedHits
from aepipe.index.piles import Output

OFFSETS = "offsets.npy"
IDS = "ids.npy"
BY_ID = "by_id.npy"
FEW = 1000
"""So many rows of a query are put in order without asking first which are needed."""


class Postings:
    """The rows of M codes.

    Attributes:
        offsets: int64[M+1]; the rows of code c are ``ids[offsets[c]:offsets[c + 1]]``.
        ids: int64[N].
        longest: rows of the code that has most.

    Args:
        by_id: see :attr:`by_id`; None to make it when it is needed.
        folder: that they are mapped from; None where they are not.
    """

    def __init__(
        self,
        offsets: NDArray[np.int64],
        ids: NDArray[np.int64],
        longest: int,
        by_id: NDArray[np.integer] | None = None,
        folder: Path | None = None,
    ) -> None:
        self.offsets = offsets
        self.ids = ids
        self.longest = longest
        self._by_id = by_id
        self._folder = folder

    @staticmethod
    def output(n_rows: int, n_codes: int, folder: Path | None) -> tuple[Output, Output, Output]:
        """Return where offsets, ids, and their places by id are written: into a folder, or to memory."""
        place = place_type(n_rows)
        kinds = {OFFSETS: ((n_codes + 1,), np.int64), IDS: ((n_rows,), np.int64), BY_ID: ((n_rows,), place)}
        offsets, ids, by_id = (Output(shape, kind, folder, name) for name, (shape, kind) in kinds.items())
        return offsets, ids, by_id

    @classmethod
    def open(cls, folder: Path, longest: int, *, sorted_by_id: bool) -> Postings:
        """Map saved postings.

        Args:
            folder: where they are.
            longest: rows of the code that has most.
            sorted_by_id: the order of ids was saved, too; older indexes lack it, and it is made when it is needed.

        Raises:
            CorruptError: a file is missing, or is no array.
            ValueError: they do not fit one another.
        """
        offsets, ids = mapped(folder / OFFSETS), mapped(folder / IDS)
        by_id = mapped(folder / BY_ID) if sorted_by_id else None
        if by_id is not None and len(by_id) != len(ids):
            raise ValueError("its files do not fit one another")
        return cls(offsets, ids, longest, by_id, folder)

    def save(self, folder: Path) -> None:
        """Write them into an existing folder, where they are not mapped from it."""
        if folder == self._folder:
            return
        np.save(folder / OFFSETS, self.offsets)
        np.save(folder / IDS, self.ids)
        np.save(folder / BY_ID, self.by_id)

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def by_id(self) -> NDArray[np.integer]:
        """Places of all rows in ``ids``, in ascending order of id: uint32[N], or int64[N] of 2^32 rows or more."""
        if self._by_id is not None:
            return self._by_id
        order = np.argsort(self.ids, kind="stable")
        return order.astype(place_type(len(order)), copy=False)

    def places(self, ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return where ids stand in ``ids``, int64[n], and which are there at all, bool[n]."""
        if not len(self):
            return np.zeros(len(ids), np.int64), np.zeros(len(ids), bool)
        ranks = np.minimum(np.searchsorted(self.ids, ids, sorter=self.by_id), len(self) - 1)
        places = self.by_id[ranks].astype(np.int64)
        return places, self.ids[places] == ids

    def codes_at(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the positions of the codes of rows, given by their places in ``ids``."""
        return np.searchsorted(self.offsets, places, side="right") - 1

    def nearest(self, found: Found, k: int, queries: int) -> RaggedHits:
        """Return the rows of the nearest codes: at least the k first rows of each query, where there are so many.

        Args:
            found: codes that the k nearest rows of each query have.
            k: as asked for.
            queries: Q.
        """
        starts = self.offsets[found.positions]
        sizes = np.minimum(self.offsets[found.positions + 1] - starts, k)
        if self.longest > 1 and int(sizes.sum()) > FEW * max(queries, 1):
            kept = _needed(found, sizes, k)
            starts, sizes, found = starts[kept], sizes[kept], found.at(kept)
        return self._expand(found, starts, sizes, queries)

    def all(self, found: Found, queries: int) -> RaggedHits:
        """Return every row of the codes found."""
        starts = self.offsets[found.positions]
        return self._expand(found, starts, self.offsets[found.positions + 1] - starts, queries)

    def _expand(self, found: Found, starts: NDArray[np.int64], sizes: NDArray[np.int64], queries: int) -> RaggedHits:
        """Return some rows of each code found."""
        if self.longest <= 1:
            return RaggedHits.sort(found.query, found.distances, self.ids[starts], queries)
        ids = self.ids[ranges(starts, sizes)]
        return RaggedHits.sort(np.repeat(found.query, sizes), np.repeat(found.distances, sizes), ids, queries)


def _needed(found: Found, sizes: NDArray[np.int64], k: int) -> NDArray[np.bool_]:
    """Return which codes can have a row among the first k of their query.

    Where k rows are strictly nearer than a code, its own cannot be.
    """
    if not len(sizes):
        return np.zeros(0, bool)
    before = np.cumsum(sizes) - sizes
    new_query = np.ones(len(sizes), bool)
    new_query[1:] = found.query[1:] != found.query[:-1]
    new_run = new_query.copy()
    new_run[1:] |= found.distances[1:] != found.distances[:-1]
    nearer = before[np.maximum.accumulate(np.where(new_run, np.arange(len(sizes)), 0))]
    own = before[np.maximum.accumulate(np.where(new_query, np.arange(len(sizes)), 0))]
    kept: NDArray[np.bool_] = nearer - own < k
    return kept


def place_type(n_rows: int) -> type[np.integer]:
    """Return the type of places among so many rows."""
    return np.uint32 if n_rows < 1 << 32 else np.int64


def ranges(starts: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return ``starts[i], starts[i] + 1, ...``, ``sizes[i]`` numbers for each i, one after another."""
    ends = np.cumsum(sizes)
    return np.repeat(starts - ends + sizes, sizes) + np.arange(int(ends[-1]) if len(ends) else 0)


def checked_ids(ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return ids as int64, checked.

    Raises:
        CodeError: an id is negative or not an integer.
        QueryError: an id is given twice.
    """
    found = np.asarray(ids)
    if found.ndim != 1 or (found.size and (found.dtype.kind not in "iu" or int(found.min()) < 0)):
        raise CodeError("ids are int64[N], not negative")
    found = found.astype(np.int64, copy=False)
    parts = (found[start : start + piles.PART + 1] for start in range(0, len(found), piles.PART))
    if all((part[:-1] < part[1:]).all() for part in parts):
        return found
    in_order = np.sort(found)
    twice = in_order[1:][in_order[1:] == in_order[:-1]]
    if len(twice):
        raise QueryError(f"id {twice[0]} is given twice")
    return found
