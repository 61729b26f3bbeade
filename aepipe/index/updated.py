"""Rows added to and removed from an index without building it anew.

What was built, the *base*, stays as it is. Rows that are added are a second, flat index, the *delta*; of rows that are
removed from the base, the ids are kept as *tombstones*. An answer is that of the base without its removed rows, and
that of the delta, put in order. A base of some kind with its delta answers what an index of all rows of that kind
would, exactly so where the kind is exact. Adding costs as much as the delta is large; :meth:`Updated.compact` folds
everything into a new base.

Legend: N rows, Q queries, k neighbours.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from aepipe.bits import BitCodes, check_same, concatenate
from aepipe.disk import REMEDY, mapped
from aepipe.errors import CorruptError, QueryError
from aepipe.index import filters
from aepipe.index.card import CARD
from aepipe.index.hits import Hits, RaggedHits
from aepipe.index.postings import checked_ids

if TYPE_CHECKING:
    from aepipe.index.rows import RowIndex

KIND = "delta"
REMOVED = "removed.npy"


class Updated:
    """A base with added and removed rows.

    Attributes:
        n_bits: bits of a code.
        fingerprint: of the encoder that made the codes.
        base: what was built.
        delta: the rows added since, flat; None where there are none.
        removed: int64[n], ascending, the ids removed from the base.
    """

    def __init__(self, base: RowIndex, delta: RowIndex | None = None, removed: NDArray[np.int64] | None = None) -> None:
        self.n_bits = base.n_bits
        self.fingerprint = base.fingerprint or (delta.fingerprint if delta else "")
        self.base = base
        self.delta = delta
        self.removed = np.zeros(0, np.int64) if removed is None else removed
        self._left = filters.Where(self.removed, inverse=True)

    @classmethod
    def open(cls, base: RowIndex, folder: Path) -> Updated:
        """Open the changes that :meth:`save_changes` wrote.

        Raises:
            CorruptError: the folder does not hold changes of this base.
        """
        from aepipe.index.saved import open_rows

        try:
            card = json.loads((folder / CARD).read_bytes())
            removed = mapped(folder / REMOVED)
            sound = (card["kind"], card["removed"], card["base_rows"]) == (KIND, len(removed), len(base))
            added = int(card["added"])
        except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
            raise CorruptError(f"{folder}: corrupt, not the changes of an index ({error}); {REMEDY}") from None
        if not sound:
            raise CorruptError(f"{folder}: corrupt, not the changes of this index; {REMEDY}")
        return cls(base, open_rows(folder / "added") if added else None, removed)

    def save_changes(self, folder: Path) -> None:
        """Write what has changed since the base was built into an existing folder."""
        np.save(folder / REMOVED, self.removed)
        if self.delta:
            (folder / "added").mkdir()
            self.delta.save(folder / "added")
        counts = {"added": len(self.delta or ()), "removed": len(self.removed), "base_rows": len(self.base)}
        card = {"schema": 1, "kind": KIND, "fingerprint": self.fingerprint, "n_bits": self.n_bits, **counts}
        (folder / CARD).write_text(json.dumps(card), encoding="utf-8")

    def save(self, folder: Path) -> None:
        """Write one index of all rows into an existing folder."""
        self.compact().save(folder)

    @property
    def n_codes(self) -> int:
        """Codes that are searched: those of the base, and those of the delta."""
        return self.base.n_codes + (self.delta.n_codes if self.delta else 0)

    def __len__(self) -> int:
        return len(self.base) - len(self.removed) + len(self.delta or ())

    def compact(self) -> RowIndex:
        """Return an index of the base's kind of all rows that are left."""
        from aepipe.index import build

        codes, ids = self.base.rows()
        left = self._left.allows(ids)
        codes, ids = codes[left], ids[left]
        if self.delta:
            more, further = self.delta.rows()
            marked = BitCodes(codes.packed, codes.n_bits, self.fingerprint)
            codes, ids = concatenate([marked, more]), np.concatenate([ids, further])
        engine = self.base.engine
        return build(codes, ids, kind=engine.kind, options=engine.options)

    def add(self, codes: BitCodes, ids: NDArray[np.int64]) -> Updated:
        """Return an index that has further rows; see :class:`aepipe.index.HammingIndex`."""
        from aepipe.index import build

        check_same(self, codes)
        ids = checked_ids(ids)
        present = ids[self.holds(ids)]
        if len(present):
            least, count = int(present.min()), len(present)
            raise QueryError(f"id {least} is in the index already (of {count:,} such ids); remove it first")
        more = BitCodes(codes.packed, codes.n_bits, self.fingerprint or codes.fingerprint)
        if self.delta:
            own, before = self.delta.rows()
            more, ids = concatenate([own, more]), np.concatenate([before, ids])
        return Updated(self.base, build(more, ids), self.removed)

    def remove(self, ids: NDArray[np.int64]) -> Updated:
        """Return an index without some rows; see :class:`aepipe.index.HammingIndex`."""
        from aepipe.index import build

        ids = checked_ids(ids)
        unknown = ids[~self.holds(ids)]
        if len(unknown):
            raise QueryError(f"id {int(unknown.min())} is not in the index (of {len(unknown):,} such ids)")
        delta = self.delta
        added = delta.postings.places(ids)[1] if delta else np.zeros(len(ids), bool)
        if delta and added.any():
            codes, own = delta.rows()
            left = ~np.isin(own, ids)
            delta = build(codes[left], own[left]) if left.any() else None
        return Updated(self.base, delta, np.union1d(self.removed, ids[~added]))

    def holds(self, ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which of some ids have a row, bool[n]."""
        there = self.base.postings.places(ids)[1] & self._left.allows(ids)
        return there | self.delta.postings.places(ids)[1] if self.delta else there

    def prefix(self, n_bits: int) -> Updated:
        """Return an index of the first bits; see :class:`aepipe.index.HammingIndex`."""
        return Updated(self.base.prefix(n_bits), self.delta and self.delta.prefix(n_bits), self.removed)

    def search(self, codes: BitCodes, k: int, where: NDArray[np.int64] | None = None, *, threads: int = 1) -> Hits:
        """Return the k nearest rows of each code; see :class:`aepipe.index.HammingIndex`."""
        check_same(self, codes)
        if k < 1:
            raise QueryError(f"the {k} nearest: at least 1 can be asked for")
        packed = np.ascontiguousarray(codes.packed)
        hits = filters.search(self.base, packed, k, self._where(where), threads=threads)
        return hits.merge(self.delta.search(codes, k, where, threads=threads)) if self.delta else hits

    def within(
        self, codes: BitCodes, radius: int, where: NDArray[np.int64] | None = None, *, threads: int = 1
    ) -> RaggedHits:
        """Return every row at most ``radius`` bits away; see :class:`aepipe.index.HammingIndex`."""
        found = self.base.within(codes, radius, threads=threads)
        found = found.at(self._where(where).allows(found.ids))
        if not self.delta:
            return found
        more = self.delta.within(codes, radius, where, threads=threads)
        query = np.concatenate([found.query, more.query])
        distances = np.concatenate([found.distances, more.distances])
        return RaggedHits.sort(query, distances, np.concatenate([found.ids, more.ids]), len(codes))

    def _where(self, where: NDArray[np.int64] | None) -> filters.Where:
        """Return which rows of the base may be found."""
        if where is None:
            return self._left
        allowed = filters.Where.of(where).ids
        return filters.Where(allowed[self._left.allows(allowed)])
