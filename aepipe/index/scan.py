"""The distinct codes themselves, compared one after another; faiss does the comparing.

Every kind of index has them: it is built on them, and where it cannot answer for certain, they can.
Legend: M distinct codes, Q queries, W bytes of a code.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, cast

import faiss
import numpy as np
from numpy.typing import NDArray

from aepipe.codes.bitcodes import BitCodes, n_bytes
from aepipe.index.external_sort import Output
from aepipe.index.hits import CodeHits
from aepipe.store import layout

CODES = layout.Index.CODES
COUNTED_BITS, COUNTED = 128, 4096
"""Up to so many bits and neighbours, faiss is quicker to put what it finds into a place for each distance than in a
heap: by a quarter at k = 10, and by two thirds at 1,000."""
RANGED_BITS, RANGED, RANGED_EACH = 128, 1 << 18, 1 << 12
"""From so many codes on, and so many for each neighbour, those within a radius are found faster than the nearest: by a
third at up to 128 bits. That radius is what the nearest of some codes are within."""
SHARE, MOST_SOME, PIECES = 16, 1 << 19, 128
"""Some codes are one in 16, but not more than that many, taken in so many pieces."""
FOUND = 1 << 19
"""About so many codes within a radius are held at a time."""
COUNT_AT = 12
"""Where a saved index says how many codes it has: after its type, bits, and bytes of a code."""
swig: Any = faiss  # its stubs do not have all that it has


class Scan:
    """M distinct codes in the order of their smallest ids.

    Attributes:
        kind: of index that this is the search of.
        n_bits: bits of a code.
        flat: faiss's index of them.
        options: of that kind, as it was built with them.
        packed: uint8[M, W], where faiss has them; it cannot be written, and outlives what it is of.
        folder: that they are mapped from; None where they are not.
    """

    kind: ClassVar[str] = "flat"

    def __init__(
        self,
        n_bits: int,
        flat: faiss.IndexBinaryFlat,
        options: Mapping[str, Any] = MappingProxyType({}),
        folder: Path | None = None,
    ) -> None:
        self.n_bits = n_bits
        self.folder = folder
        self.options = dict(options)
        self.flat: Any = flat
        self._count = int(flat.ntotal)  # asking faiss takes as long as comparing thousands of codes
        shape = (self._count, n_bytes(n_bits))
        held = np.asarray(_Lent(flat, shape)) if self._count else np.zeros(shape, np.uint8)
        self.packed: NDArray[np.uint8] = held

    @classmethod
    def of(cls, codes: BitCodes) -> Scan:
        """Copy distinct codes."""
        flat = faiss.IndexBinaryFlat(8 * n_bytes(codes.n_bits))
        if len(codes):
            flat.add(np.ascontiguousarray(codes.packed))
        return cls(codes.n_bits, flat)

    @classmethod
    def map(cls, folder: Path, n_bits: int) -> Scan:
        """Map saved codes into memory; the file is at its full length, or faiss would read beyond its end.

        Raises:
            OSError, ValueError, RuntimeError: the file is missing, or something else.
        """
        # Only _IFC maps a flat index; the older IO_FLAG_MMAP copies it into memory.
        flat = swig.read_index_binary(str(folder / CODES), faiss.IO_FLAG_MMAP_IFC)
        if flat.code_size != n_bytes(n_bits):
            raise ValueError(f"{CODES} has codes of {flat.code_size} bytes")
        return cls(n_bits, flat, folder=folder)

    @staticmethod
    def output(n_codes: int, n_bits: int, folder: Path | None) -> Output:
        """Return where M codes are written, uint8[M, W]: into a folder, as faiss would write them, or to memory."""
        shape = (n_codes, n_bytes(n_bits))
        # An index's header, with how many codes follow, and how many bytes these are.
        header = bytearray(swig.serialize_index_binary(faiss.IndexBinaryFlat(8 * shape[1])).tobytes())
        struct.pack_into("<q", header, COUNT_AT, n_codes)
        struct.pack_into("<Q", header, len(header) - 8, shape[0] * shape[1])
        return Output(shape, np.uint8, folder, CODES, header=bytes(header))

    def save(self, folder: Path) -> None:
        """Write the codes, and whatever else a kind has, into an existing folder; not what is mapped from it."""
        if folder == self.folder:
            return
        faiss.write_index_binary(self.flat, str(folder / CODES))

    def __len__(self) -> int:
        return self._count

    def nearest(self, packed: NDArray[np.uint8], k: int, threads: int = 1) -> CodeHits:
        """Return codes that the k nearest rows of each query have.

        Args:
            packed: uint8[Q, W], contiguous.
            k: at least 1.
            threads: over how many the queries are spread.
        """
        k = min(k, len(self))
        if not k or not len(packed):
            return CodeHits.none()
        if ranged(self.n_bits, len(self), k):
            return self._within_limits(packed, k, threads)
        distances, positions = self._searched(self.flat, packed, k, threads)
        query = np.repeat(np.arange(len(packed)), k)
        return CodeHits(query, distances.ravel().astype(np.uint16), positions.ravel())

    def _within_limits(self, packed: NDArray[np.uint8], k: int, threads: int) -> CodeHits:
        """Return the same, found within the distance of the k-th nearest of some codes: that of all is no larger."""
        limits = self._searched(self._some, packed, k, threads)[0][:, -1]
        at_once = max(1, FOUND * int(self._some.ntotal) // (k * len(self)))
        parts = []
        for limit in np.unique(limits):
            asked = np.flatnonzero(limits == limit)
            for some in np.split(asked, range(at_once, len(asked), at_once)):
                parts.append((Scan.ball(self, packed[some], int(limit), threads).first(k, len(some)), some))
        return CodeHits.join(parts)

    def _searched(
        self, codes: faiss.IndexBinaryFlat, packed: NDArray[np.uint8], k: int, threads: int
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Return distances and positions of the k nearest codes, [Q, k] each, in order."""
        # Both ways give the same answer, in the same order.
        cast(Any, codes).use_heap = self.n_bits > COUNTED_BITS or k > COUNTED
        with threads_of_faiss(threads if len(packed) > 1 else 1):
            found: tuple[NDArray[np.int32], NDArray[np.int64]] = codes.search(packed, k)
        return found

    @cached_property
    def _some(self) -> faiss.IndexBinaryFlat:
        """Some of the codes."""
        step = len(self) // PIECES
        size = min(step // SHARE, MOST_SOME // PIECES)
        some = faiss.IndexBinaryFlat(self.flat.d)
        some.add(np.concatenate([self.packed[piece * step : piece * step + size] for piece in range(PIECES)]))
        return some

    def completed(
        self,
        packed: NDArray[np.uint8],
        k: int,
        distances: NDArray[np.int32],
        positions: NDArray[np.int64],
        threads: int,
    ) -> CodeHits:
        """Return what an approximate search of faiss found, in order, and a scan's answer where it found too few.

        Args:
            packed: uint8[Q, W], the queries.
            k: as asked for.
            distances: int32[Q, k].
            positions: int64[Q, k]; -1 where nothing was found.
            threads: of the scan.
        """
        there = positions >= 0
        short = np.nonzero(~there.all(axis=1))[0]
        there[short] = False
        found = CodeHits.sort(np.nonzero(there)[0], distances[there], positions[there])
        return found.completed(len(packed), short, lambda open_: Scan.nearest(self, packed[open_], k, threads))

    def ball(self, packed: NDArray[np.uint8], radius: int, threads: int = 1) -> CodeHits:
        """Return every code at most ``radius`` bits away from each query, uint8[Q, W]."""
        if not len(self) or not len(packed):
            return CodeHits.none()
        with threads_of_faiss(threads if len(packed) > 1 else 1):
            # faiss takes what is strictly nearer than its radius.
            limits, distances, positions = self.flat.range_search(packed, min(radius, self.n_bits) + 1)
        query = np.repeat(np.arange(len(packed)), np.diff(limits).astype(np.int64))
        return CodeHits.sort(query, distances, positions)


def ranged(n_bits: int, n_codes: int, k: int) -> bool:
    """Return whether the k nearest of so many codes are found within a radius."""
    return n_bits <= RANGED_BITS and n_codes >= max(RANGED, RANGED_EACH * k)


class _Lent:
    """The memory of an index, which lives as long as an array of it does."""

    def __init__(self, flat: faiss.IndexBinaryFlat, shape: tuple[int, int]) -> None:
        self._flat = flat
        data = (int(cast(Any, flat).xb.data()), True)  # True: not to be written
        self.__array_interface__ = {"version": 3, "typestr": "|u1", "shape": shape, "data": data}


@contextmanager
def threads_of_faiss(count: int) -> Iterator[None]:
    """Let faiss use so many threads for the block."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(count)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
