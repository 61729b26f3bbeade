"""Searches among some rows only, exact also where few of them may be found.

Two ways lead to the same answer. Where few rows are allowed, their codes are gathered and compared, and nothing else
is. Where many are, the index is asked for more rows than are wanted, in (distance, id) order, and those that are not
allowed are dropped: what is left is the beginning of the answer, and if it is too short, more are asked for.

Legend: N rows, Q queries, k neighbours, W bytes of a code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from aepipe.bits import BitCodes
from aepipe.errors import QueryError
from aepipe.index.hits import Hits, RaggedHits
from aepipe.index.scan import Scan

if TYPE_CHECKING:
    from aepipe.index.rows import RowIndex

GATHERED = 64
"""Gathering a row's code and comparing it costs about as much as scanning so many codes."""
MORE = 4
"""How many times as many rows are asked for, where too few of the last were allowed."""


class Where:
    """Which rows may be found.

    Attributes:
        ids: int64[n], ascending, the rows meant.
        inverse: all but those may be found.
    """

    def __init__(self, ids: NDArray[np.int64], *, inverse: bool = False) -> None:
        self.ids = ids
        self.inverse = inverse

    @classmethod
    def of(cls, ids: NDArray[np.int64]) -> Where:
        """Return the filter of ids in any order.

        Raises:
            QueryError: they are not integers.
        """
        ids = np.asarray(ids)
        if ids.size and ids.dtype.kind not in "iu":
            raise QueryError(f"where: the ids that may be found are integers, not {ids.dtype}")
        return cls(np.unique(ids.astype(np.int64)))

    def allows(self, ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which of some ids may be found, bool[n]."""
        if not len(self.ids):
            return np.full(len(ids), self.inverse)
        places = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        allowed: NDArray[np.bool_] = (self.ids[places] == ids) != self.inverse
        return allowed


def search(index: RowIndex, packed: NDArray[np.uint8], k: int, where: Where, *, threads: int = 1) -> Hits:
    """Return the k nearest of the rows that may be found.

    Args:
        index: of all rows.
        packed: uint8[Q, W], the queries.
        k: at least 1.
        where: which rows may be found.
        threads: over how many the queries are spread.
    """
    if not len(index):
        return Hits.none(len(packed), k)
    n_allowed = len(index) - len(where.ids) if where.inverse else len(where.ids)
    wanted = min(len(index), 2 * k * max(1, len(index)) // max(1, n_allowed) + k)
    if not where.inverse and n_allowed * GATHERED <= max(index.n_codes, wanted):
        return _gathered(index, packed, k, where, threads)
    hits = Hits.none(len(packed), k)
    open_queries = np.arange(len(packed))
    while len(open_queries):
        if not where.inverse and wanted > n_allowed:
            hits.put(open_queries, _gathered(index, packed[open_queries], k, where, threads))
            break
        ranked = index.nearest(packed[open_queries], wanted, threads).begin(wanted)
        left = ranked.at(where.allows(ranked.ids)).first(k)
        hits.put(open_queries, left)
        open_queries = open_queries[(left.count < k) & (wanted < len(index))]
        wanted = min(len(index), MORE * wanted)
    return hits


def _gathered(index: RowIndex, packed: NDArray[np.uint8], k: int, where: Where, threads: int) -> Hits:
    """Compare the codes of the allowed rows, which stand in ascending order of id, and no others."""
    places, there = index.postings.places(where.ids)
    ids = where.ids[there]
    codes = index.engine.packed[index.postings.codes_at(places[there])]
    found = Scan.of(BitCodes(codes, index.n_bits)).nearest(packed, k, threads)
    return RaggedHits.sort(found.query, found.distances, ids[found.positions], len(packed)).first(k)
