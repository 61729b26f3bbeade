"""The index of a collection's rows: a search among distinct codes of whatever kind, and the rows that hang off them.

Legend: N rows, M distinct codes, Q queries, k neighbours, W bytes of a code.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aepipe.bits import BitCodes, check_same
from aepipe.errors import QueryError
from aepipe.index import filters
from aepipe.index.card import CARD
from aepipe.index.hits import Hits, RaggedHits
from aepipe.index.postings import Postings
from aepipe.index.scan import Scan
from aepipe.index.updated import Updated

ROWS_AT_ONCE = 1 << 22  # rows of postings that a search holds at a time


class RowIndex:
    """Rows that are searched by their codes.

    Attributes:
        n_bits: bits of a code.
        fingerprint: of the encoder that made the codes.
        engine: the search among the distinct codes.
        postings: their rows.
    """

    def __init__(self, engine: Scan, postings: Postings, fingerprint: str) -> None:
        self.n_bits = engine.n_bits
        self.fingerprint = fingerprint
        self.engine = engine
        self.postings = postings

    @property
    def n_codes(self) -> int:
        """M, the distinct codes."""
        return len(self.engine)

    def __len__(self) -> int:
        return len(self.postings)

    @property
    def codes(self) -> BitCodes:
        """The distinct codes, in their order."""
        return BitCodes(self.engine.packed, self.n_bits, self.fingerprint)

    def rows(self) -> tuple[BitCodes, NDArray[np.int64]]:
        """Return the code and the id of each row, in the order of the postings."""
        sizes = np.diff(self.postings.offsets)
        return self.codes[np.repeat(np.arange(self.n_codes), sizes)], np.asarray(self.postings.ids)

    def save(self, folder: Path) -> None:
        """Write the index into an existing folder."""
        self.engine.save(folder)
        self.postings.save(folder)
        counts = {"rows": len(self), "codes": self.n_codes, "longest": self.postings.longest}
        card = {"schema": 3, "kind": self.engine.kind, "fingerprint": self.fingerprint, "n_bits": self.n_bits}
        sizes = {file.name: file.stat().st_size for file in sorted(folder.iterdir()) if file.name != CARD}
        card |= {"options": self.engine.options, **counts, "sizes": sizes}
        (folder / CARD).write_text(json.dumps(card), encoding="utf-8")

    def prefix(self, n_bits: int) -> RowIndex:
        """Return a flat index of the first bits; see :class:`aepipe.index.HammingIndex`.

        Codes that become equal keep their postings apart: for the proof in :mod:`aepipe.index.postings` it is enough
        that codes stand in the order of their smallest ids. So a prefix costs one copy of the codes, and no sorting.
        """
        shorter = self.codes.prefix(n_bits)
        return RowIndex(Scan.of(shorter), self.postings, shorter.fingerprint)

    def search(self, codes: BitCodes, k: int, where: NDArray[np.int64] | None = None, *, threads: int = 1) -> Hits:
        """Return the k nearest rows of each code; see :class:`aepipe.index.HammingIndex`."""
        check_same(self, codes)
        if k < 1:
            raise QueryError(f"the {k} nearest: at least 1 can be asked for")
        packed = np.ascontiguousarray(codes.packed)
        if where is not None:
            return filters.search(self, packed, k, filters.Where.of(where), threads=threads)
        return self.nearest(packed, k, threads).first(k)

    def within(
        self, codes: BitCodes, radius: int, where: NDArray[np.int64] | None = None, *, threads: int = 1
    ) -> RaggedHits:
        """Return every row at most ``radius`` bits away; see :class:`aepipe.index.HammingIndex`."""
        check_same(self, codes)
        if radius < 0:
            raise QueryError(f"a radius of {radius} bits: it is at least 0")
        packed = np.ascontiguousarray(codes.packed)
        found = self.postings.all(self.engine.ball(packed, radius, threads), len(packed))
        return found if where is None else found.at(filters.Where.of(where).allows(found.ids))

    def nearest(self, packed: NDArray[np.uint8], k: int, threads: int) -> RaggedHits:
        """Return at least the k first rows of each query, uint8[Q, W], where there are so many."""
        at_once = max(1, ROWS_AT_ONCE // (min(k, self.n_codes or 1) * min(k, self.postings.longest or 1)))
        parts = []
        for start in range(0, max(len(packed), 1), at_once):
            block = packed[start : start + at_once]
            parts.append(self.postings.nearest(self.engine.nearest(block, k, threads), k, len(block)))
        return parts[0] if len(parts) == 1 else RaggedHits.join(parts)

    def add(self, codes: BitCodes, ids: NDArray[np.int64]) -> Updated:
        """Return an index that has further rows; see :class:`aepipe.index.HammingIndex`."""
        return Updated(self).add(codes, ids)

    def remove(self, ids: NDArray[np.int64]) -> Updated:
        """Return an index without some rows; see :class:`aepipe.index.HammingIndex`."""
        return Updated(self).remove(ids)
