"""Linear scan: compare a query with every distinct code, by FAISS.

Every kind of index holds a scan: it is built from the scanned codes, and falls back to them where its own search cannot
give a certain answer.

Legend: M distinct codes, Q queries, W bytes of a code.
"""

from __future__ import annotations

import errno
import os
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
"""Up to this number of bits and of neighbours, FAISS is faster with one bucket for each distance than with a heap: by a
quarter at k = 10, and by two thirds at k = 1,000."""
RANGED_BITS, RANGED, RANGED_EACH = 128, 1 << 18, 1 << 12
"""With codes of at most RANGED_BITS bits, at least RANGED codes, and RANGED_EACH of them for each neighbour, a search
within a radius is a third faster than one for the k nearest. The radius is the k-th distance in a sample of codes."""
SAMPLE_SHARE, SAMPLE_MOST, SAMPLE_PIECES = 16, 1 << 19, 128
"""The sample is one code in 16, at most 2^19 codes, taken from the whole in 128 contiguous pieces."""
FOUND = 1 << 19
"""Approximate number of codes within a radius that are held at a time."""
COUNT_AT = 12
"""Byte offset of the number of codes in a saved FAISS index: after its type, bits, and bytes of a code."""

_REFUSED = (
    errno.ENOENT,
    errno.EACCES,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOSPC,
    errno.ENOMEM,
    errno.EISDIR,
    errno.ELOOP,
)

swig: Any = faiss  # the stubs of FAISS lack part of its functions


@contextmanager
def faiss_errors_named(file: Path) -> Iterator[None]:
    """Make errors of the system out of those of FAISS, which are all of one kind.

    Raises:
        OSError: the file cannot be opened or written.
        RuntimeError: it holds something else.
    """
    try:
        yield
    except RuntimeError as error:
        said = str(error).partition("\n")[0]
        if refused := next((one for one in _REFUSED if os.strerror(one) in said), None):
            raise OSError(refused, os.strerror(refused), str(file)) from None
        if "write error" in said or "could not open" in said:
            raise OSError(errno.EIO, said.rpartition(": ")[2], str(file)) from None
        raise


class Scan:
    """M distinct codes in the order of their smallest ids.

    Attributes:
        kind: the kind of index that searches this way.
        n_bits: bits of a code.
        flat: FAISS's index of the codes.
        options: the options of the kind that it was built with.
        packed: uint8[M, W], a read-only view of FAISS's memory, which it keeps alive.
        folder: the folder that the codes are mapped from; None where they are in memory.
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
        self._count = int(flat.ntotal)  # FAISS takes as long to return it as to compare thousands of codes
        shape = (self._count, n_bytes(n_bits))
        view = np.asarray(_CodesView(flat, shape)) if self._count else np.zeros(shape, np.uint8)
        self.packed: NDArray[np.uint8] = view

    @classmethod
    def of(cls, codes: BitCodes) -> Scan:
        """Copy distinct codes into a scan."""
        flat = faiss.IndexBinaryFlat(8 * n_bytes(codes.n_bits))
        if len(codes):
            flat.add(np.ascontiguousarray(codes.packed))
        return cls(codes.n_bits, flat)

    @classmethod
    def map(cls, folder: Path, n_bits: int) -> Scan:
        """Map saved codes into memory.

        The file must have its full length, or FAISS would read beyond its end.

        Raises:
            OSError, ValueError, RuntimeError: the file is missing, or holds something else.
        """
        # Only IO_FLAG_MMAP_IFC maps a flat index; the older IO_FLAG_MMAP copies it into memory.
        with faiss_errors_named(folder / CODES):
            flat = swig.read_index_binary(str(folder / CODES), faiss.IO_FLAG_MMAP_IFC)
        if flat.code_size != n_bytes(n_bits):
            raise ValueError(f"{CODES} has codes of {flat.code_size} bytes")
        return cls(n_bits, flat, folder=folder)

    @staticmethod
    def output(n_codes: int, n_bits: int, folder: Path | None) -> Output:
        """Return the output for M codes, uint8[M, W]: a file in FAISS's format, or memory."""
        shape = (n_codes, n_bytes(n_bits))
        # The header of an empty index, with the number of codes and of their bytes filled in.
        header = bytearray(swig.serialize_index_binary(faiss.IndexBinaryFlat(8 * shape[1])).tobytes())
        struct.pack_into("<q", header, COUNT_AT, n_codes)
        struct.pack_into("<Q", header, len(header) - 8, shape[0] * shape[1])
        return Output(shape, np.uint8, folder, CODES, header=bytes(header))

    def save(self, folder: Path) -> None:
        """Write the codes and the files of the kind into an existing folder.

        Codes that are mapped from that folder are not written again.
        """
        if folder == self.folder:
            return
        with faiss_errors_named(folder / CODES):
            faiss.write_index_binary(self.flat, str(folder / CODES))

    def __len__(self) -> int:
        return self._count

    def nearest(self, packed: NDArray[np.uint8], k: int, threads: int = 1) -> CodeHits:
        """Return, for each query, codes among which are all codes of its k nearest rows.

        Args:
            packed: uint8[Q, W], contiguous.
            k: at least 1.
            threads: number of threads that share the queries.
        """
        k = min(k, len(self))
        if not k or not len(packed):
            return CodeHits.none()
        if ranged(self.n_bits, len(self), k):
            return self._within_limits(packed, k, threads)
        distances, positions = self._search_flat(self.flat, packed, k, threads)
        query = np.repeat(np.arange(len(packed)), k)
        return CodeHits(query, distances.ravel().astype(np.uint16), positions.ravel())

    def close(self, packed: NDArray[np.uint8], k: int, radius: int, threads: int = 1) -> CodeHits:
        """Return what :meth:`nearest` does, where codes beyond a radius may be missing."""
        return self.nearest(packed, k, threads)

    def _within_limits(self, packed: NDArray[np.uint8], k: int, threads: int) -> CodeHits:
        """Search within the k-th distance among a sample: that among all codes is no larger."""
        limits = self._search_flat(self._sample, packed, k, threads)[0][:, -1]
        at_once = max(1, FOUND * int(self._sample.ntotal) // (k * len(self)))
        parts = []
        for limit in np.unique(limits):
            queries = np.flatnonzero(limits == limit)
            for some in np.split(queries, range(at_once, len(queries), at_once)):
                parts.append((Scan.ball(self, packed[some], int(limit), threads).first(k, len(some)), some))
        return CodeHits.join(parts)

    def _search_flat(
        self, codes: faiss.IndexBinaryFlat, packed: NDArray[np.uint8], k: int, threads: int
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        # Buckets and heap give the same result in the same order.
        cast(Any, codes).use_heap = self.n_bits > COUNTED_BITS or k > COUNTED
        with threads_of_faiss(threads if len(packed) > 1 else 1):
            found: tuple[NDArray[np.int32], NDArray[np.int64]] = codes.search(packed, k)
        return found

    @cached_property
    def _sample(self) -> faiss.IndexBinaryFlat:
        """A sample of the codes."""
        step = len(self) // SAMPLE_PIECES
        size = min(step // SAMPLE_SHARE, SAMPLE_MOST // SAMPLE_PIECES)
        sample = faiss.IndexBinaryFlat(self.flat.d)
        sample.add(np.concatenate([self.packed[piece * step : piece * step + size] for piece in range(SAMPLE_PIECES)]))
        return sample

    def completed(
        self,
        packed: NDArray[np.uint8],
        k: int,
        distances: NDArray[np.int32],
        positions: NDArray[np.int64],
        threads: int,
    ) -> CodeHits:
        """Sort the result of an approximate search; scan where it has fewer than k codes.

        Args:
            packed: uint8[Q, W], the queries.
            k: as requested.
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
            # FAISS returns codes strictly nearer than its radius.
            limits, distances, positions = self.flat.range_search(packed, min(radius, self.n_bits) + 1)
        query = np.repeat(np.arange(len(packed)), np.diff(limits).astype(np.int64))
        return CodeHits.sort(query, distances, positions)


def ranged(n_bits: int, n_codes: int, k: int) -> bool:
    """Return whether a scan for the k nearest codes searches within a radius."""
    return n_bits <= RANGED_BITS and n_codes >= max(RANGED, RANGED_EACH * k)


class _CodesView:
    """A view of the codes in FAISS's memory; an array made of it keeps the index alive."""

    def __init__(self, flat: faiss.IndexBinaryFlat, shape: tuple[int, int]) -> None:
        self._flat = flat
        data = (int(cast(Any, flat).xb.data()), True)  # True: read-only
        self.__array_interface__ = {"version": 3, "typestr": "|u1", "shape": shape, "data": data}


@contextmanager
def threads_of_faiss(count: int) -> Iterator[None]:
    """Set the number of FAISS's threads for the block."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(count)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
