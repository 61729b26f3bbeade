"""Rows that were read before, in the tables that may hold some of those of a part.

A file with the stamp that it had is not read, and bytes that are known are not decoded: their features are copied.

Legend: n items or rows of a part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aepipe.errors import StoreError
from aepipe.pipeline.parts.opened import store_at, table_at
from aepipe.sources.item import Source
from aepipe.store import layout
from aepipe.store.artifacts import Ref
from aepipe.store.io import mapped
from aepipe.store.kept import key_hashes, within
from aepipe.store.rows import Finder, Rows


class Known:
    """Rows of some tables, numbered through, in the order of the tables.

    Args:
        store: the folder of the store.
        refs: tables, each followed by what it was read from, where that is known; those of other features, and those
            that are gone, are left aside.
        source: that gives the features.
    """

    def __init__(self, store: str, refs: Sequence[Ref], source: Source) -> None:
        self._tables: list[Findable] = []
        for place, ref in enumerate(refs):
            noted = refs[place + 1] if place + 1 < len(refs) and refs[place + 1].kind == "listing" else None
            try:
                if ref.kind == "rows" and store_at(store).manifest(ref).inputs.get("features") == source.features():
                    self._tables.append(_findable(store, ref, noted))
            except StoreError:  # gone or damaged: then everything is made again
                continue
        self._kept = source.kept
        self._starts = np.cumsum([0, *(len(one.rows) for one in self._tables)])

    def with_stamps(self, hashes: NDArray[np.uint64], stamps: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return the rows of items that need not be read, int64[n]; -1 for others.

        Args:
            hashes: of the keys, uint64[n].
            stamps: uint64[n], 0 where they say nothing.
        """
        found = np.full(len(stamps), -1, np.int64)
        for one, start in zip(self._tables, self._starts.tolist(), strict=False):
            if one.stamps is None or not len(one.stamps):
                continue
            order, ordered = one.by_stamp
            rows = order[np.minimum(np.searchsorted(ordered, stamps), len(order) - 1)]
            same = (one.stamps[rows] == stamps) & (one.hashes[rows] == hashes) & (stamps != 0) & (found < 0)
            same &= one.rows.with_features[rows] | ~within(hashes, self._kept)
            found[same] = rows[same] + start
        return found

    def with_bytes(self, key: str, sha256: bytes) -> int:
        """Return the number of a row with these bytes; -1 for none.

        It has its features where those of the key are to stay.
        """
        for one, start in zip(self._tables, self._starts.tolist(), strict=False):
            found = one.finder(sha256)
            if found >= 0 and (one.rows.kept == 1 or one.rows.with_features[found] or not self._stays(key)):
                return int(start) + found
        return -1

    def sha256(self, numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the digests of some rows, uint8[n, 32]."""
        found = np.empty((len(numbers), 32), np.uint8)
        for one, here, rows in self._by_table(numbers):
            found[here] = one.sha256[rows]
        return found

    def copy_features(self, numbers: NDArray[np.int64], out: NDArray[Any]) -> None:
        """Copy the features of some rows into an array, [n, *shape]; a number below 0 is no row."""
        for one, here, rows in self._by_table(numbers):
            out[here] = one.rows.features_at(rows)

    def _stays(self, key: str) -> bool:
        return bool(within(key_hashes([key], 1), self._kept)[0])

    def _by_table(self, numbers: NDArray[np.int64]) -> list[tuple[Findable, NDArray[np.int64], NDArray[np.int64]]]:
        """Return each table with some of these rows, which of them these are, and their positions in it."""
        owners = np.searchsorted(self._starts, numbers, side="right") - 1
        owners[numbers < 0] = -1
        found = []
        for table in np.unique(owners[owners >= 0]).tolist():
            here = np.flatnonzero(owners == table)
            found.append((self._tables[table], here, numbers[here] - self._starts[table]))
        return found


@dataclass(frozen=True)
class Findable:
    """A table of rows, and what finds a row in it.

    Attributes:
        rows: the table.
        stamps: uint64[n], 0 for a row whose stamp says nothing; None where they are not known.
        hashes: of its keys, uint64[n], where stamps are known.
    """

    rows: Rows
    stamps: NDArray[np.uint64] | None
    hashes: NDArray[np.uint64]

    @cached_property
    def sha256(self) -> NDArray[np.uint8]:
        """The digests of the items' bytes, uint8[n, 32]."""
        return self.rows.sha256()

    @cached_property
    def finder(self) -> Finder:
        """Finds rows by the digest of their bytes."""
        return Finder(self.sha256)

    @cached_property
    def by_stamp(self) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
        """The order of the rows by stamp, int64[n], and their stamps in it."""
        assert self.stamps is not None
        order = np.argsort(self.stamps, kind="stable")
        return order, self.stamps[order]


@lru_cache(16)
def _findable(store: str, ref: Ref, noted: Ref | None) -> Findable:
    rows, place = table_at(store, ref), store_at(store)
    stamps = place.output(noted, layout.Listing.STAMPS) if noted and place.has(noted) else None
    hashes = place.output(ref, layout.Rows.HASHES) if stamps else None
    if stamps is None or hashes is None:
        return Findable(rows, None, np.empty(0, np.uint64))
    return Findable(rows, np.asarray(mapped(stamps)), np.asarray(mapped(hashes)))
