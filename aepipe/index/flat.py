"""The flat index: every distinct code is compared, so answers are exact; faiss does the comparing.

Legend: N rows, M distinct codes, Q queries, k neighbours, W bytes of a code.

Each distinct code is held once, in the order of its smallest row id; its rows hang off it as a *posting*, ids
ascending. That order makes a search exact in (distance, id) although faiss knows codes only. ``faiss.IndexBinaryFlat``
returns the first k codes in (distance, position) order. Claim: every one of the k rows that are smallest in
(distance, id) has one of these k codes. Proof: let row r have code c, and let k other codes stand before c in
(distance, position). The smallest row of each of them stands before r: it is nearer, or equally near with an id below
the smallest id of c, which is at most r. So k rows stand before r, and r is not among the first k. Therefore one scan
for k codes is enough, however many rows share a code.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import faiss
import numpy as np
from numpy.typing import NDArray

from aepipe.bits import BitCodes, check_same, concatenate, n_bytes
from aepipe.errors import CodeError, CorruptError, QueryError
from aepipe.index import CARD, REMEDY
from aepipe.index.hits import Hits, RaggedHits

if TYPE_CHECKING:
    from aepipe.recipe import Options

KIND = "flat"
CODES = "codes.faiss"
OFFSETS = "offsets.npy"
IDS = "ids.npy"
ROWS_AT_ONCE = 1 << 22  # rows of postings that a search holds at a time


class FlatIndex:
    """An exact index; see the module for how it is laid out.

    Attributes:
        n_bits: bits of a code.
        fingerprint: of the encoder that made the codes.
    """

    def __init__(
        self, codes: faiss.IndexBinary, offsets: NDArray[np.int64], ids: NDArray[np.int64], card: dict[str, object]
    ) -> None:
        self.n_bits = int(str(card["n_bits"]))
        self.fingerprint = str(card["fingerprint"])
        self._longest = int(str(card["longest"]))
        self._codes = codes
        self._offsets = offsets
        self._ids = ids

    @property
    def n_codes(self) -> int:
        """M, the distinct codes."""
        return len(self._offsets) - 1

    def __len__(self) -> int:
        return len(self._ids)

    def save(self, folder: Path) -> None:
        """Write the index into an existing folder."""
        faiss.write_index_binary(self._codes, str(folder / CODES))
        np.save(folder / OFFSETS, self._offsets)
        np.save(folder / IDS, self._ids)
        card = self._card() | {"bytes": (folder / CODES).stat().st_size}
        (folder / CARD).write_text(json.dumps(card), encoding="utf-8")

    def add(self, codes: BitCodes, ids: NDArray[np.int64]) -> FlatIndex:
        """Return an index that has further rows; see :class:`aepipe.index.HammingIndex`."""
        check_same(self._bits(), codes)
        ids = _checked_ids(ids)
        present = np.intersect1d(ids, self._ids)
        if len(present):
            raise QueryError(f"id {present[0]} is in the index already (of {len(present):,} such ids); remove it first")
        sizes = np.diff(self._offsets)
        own = self._bits()[np.repeat(np.arange(self.n_codes), sizes)]
        marked = BitCodes(codes.packed, codes.n_bits, self.fingerprint or codes.fingerprint)
        return build(concatenate([own, marked]), np.concatenate([self._ids, ids]))

    def remove(self, ids: NDArray[np.int64]) -> FlatIndex:
        """Return an index without some rows; see :class:`aepipe.index.HammingIndex`."""
        ids = _checked_ids(ids)
        unknown = np.setdiff1d(ids, self._ids)
        if len(unknown):
            raise QueryError(f"id {unknown[0]} is not in the index (of {len(unknown):,} such ids)")
        return self._restrict(~np.isin(self._ids, ids))

    def prefix(self, n_bits: int) -> FlatIndex:
        """Return an index of the first bits; see :class:`aepipe.index.HammingIndex`.

        Codes that become equal keep their postings apart: for the module's proof it is enough that codes stand in the
        order of their smallest ids. So a prefix costs one copy of the codes, and no sorting.
        """
        shorter = self._bits().prefix(n_bits)
        flat = faiss.IndexBinaryFlat(8 * n_bytes(n_bits))
        if len(shorter):
            flat.add(np.ascontiguousarray(shorter.packed))
        card = self._card() | {"n_bits": n_bits, "fingerprint": shorter.fingerprint}
        return FlatIndex(flat, self._offsets, self._ids, card)

    def search(self, codes: BitCodes, k: int, where: NDArray[np.int64] | None = None, *, threads: int = 1) -> Hits:
        """Return the k nearest rows of each code; see :class:`aepipe.index.HammingIndex`."""
        self._check(codes)
        if k < 1:
            raise QueryError(f"the {k} nearest: at least 1 can be asked for")
        if where is not None:
            return self._where(where).search(codes, k, threads=threads)
        nearest = min(k, self.n_codes)
        if not nearest or not len(codes):
            return Hits.none(len(codes), k)
        at_once = max(1, ROWS_AT_ONCE // (nearest * min(k, self._longest)))
        parts = []
        for start in range(0, len(codes), at_once):
            packed = np.ascontiguousarray(codes.packed[start : start + at_once])
            with _threads(threads if len(packed) > 1 else 1):
                distances, positions = self._codes.search(packed, nearest)
            parts.append(self._rows(distances.astype(np.uint16), positions, k))
        return RaggedHits.join(parts).first(k)

    def within(
        self, codes: BitCodes, radius: int, where: NDArray[np.int64] | None = None, *, threads: int = 1
    ) -> RaggedHits:
        """Return every row at most ``radius`` bits away; see :class:`aepipe.index.HammingIndex`."""
        self._check(codes)
        if radius < 0:
            raise QueryError(f"a radius of {radius} bits: it is at least 0")
        if where is not None:
            return self._where(where).within(codes, radius, threads=threads)
        packed = np.ascontiguousarray(codes.packed)
        if not len(self) or not len(packed):
            return RaggedHits.none(len(codes))
        with _threads(threads if len(packed) > 1 else 1):
            # faiss takes what is strictly nearer than its radius.
            limits, distances, positions = self._codes.range_search(packed, min(radius, self.n_bits) + 1)
        query = np.repeat(np.arange(len(codes)), np.diff(limits).astype(np.int64))
        sizes = self._offsets[positions + 1] - self._offsets[positions]
        ids = self._ids[_ranges(self._offsets[positions], sizes)]
        far = distances.astype(np.uint16)
        return RaggedHits.sort(np.repeat(query, sizes), np.repeat(far, sizes), ids, len(codes))

    def _rows(self, distances: NDArray[np.uint16], positions: NDArray[np.int64], k: int) -> RaggedHits:
        """Return the rows of the nearest codes: at least the k first rows of each query, where there are so many.

        Args:
            distances: uint16[Q, k], ascending.
            positions: int64[Q, k] of codes.
            k: as asked for.
        """
        starts = self._offsets[positions]
        sizes = np.minimum(self._offsets[positions + 1] - starts, k)
        before = np.cumsum(sizes, axis=1) - sizes
        first = np.ones(distances.shape, bool)
        first[:, 1:] = distances[:, 1:] != distances[:, :-1]
        # Rows strictly nearer than a code: where there are k of them, its own rows cannot be among the first k.
        nearer = np.maximum.accumulate(np.where(first, before, 0), axis=1)
        kept = nearer < k
        sizes = sizes[kept]
        query = np.repeat(np.nonzero(kept)[0], sizes)
        ids = self._ids[_ranges(starts[kept], sizes)]
        return RaggedHits.sort(query, np.repeat(distances[kept], sizes), ids, len(distances))

    def _restrict(self, kept: NDArray[np.bool_]) -> FlatIndex:
        """Return the index of some rows, bool[N] in the order of the postings."""
        before = np.concatenate([np.zeros(1, np.int64), np.cumsum(kept)])
        sizes = before[self._offsets[1:]] - before[self._offsets[:-1]]
        left = np.nonzero(sizes)[0]
        return _assemble(self._bits()[left], self._ids[kept], sizes[left])

    def _where(self, ids: NDArray[np.int64]) -> FlatIndex:
        """Return the index of the rows that may be found."""
        ids = np.asarray(ids)
        if ids.size and ids.dtype.kind not in "iu":
            raise QueryError(f"where: the ids that may be found are integers, not {ids.dtype}")
        return self._restrict(np.isin(self._ids, ids.astype(np.int64)))

    def _bits(self) -> BitCodes:
        """Return the distinct codes, in their order."""
        empty = np.zeros((0, n_bytes(self.n_bits)), np.uint8)
        packed = self._codes.reconstruct_n(0, self.n_codes) if self.n_codes else empty
        return BitCodes(packed, self.n_bits, self.fingerprint)

    def _check(self, codes: BitCodes) -> None:
        """Check that codes may be compared with those of the index."""
        check_same(BitCodes(np.zeros((0, n_bytes(self.n_bits)), np.uint8), self.n_bits, self.fingerprint), codes)

    def _card(self) -> dict[str, object]:
        """Return what stands in the index's card."""
        counts = {"rows": len(self), "codes": self.n_codes, "longest": self._longest}
        return {"schema": 1, "kind": KIND, "fingerprint": self.fingerprint, "n_bits": self.n_bits, **counts}


def options() -> type[Options]:
    """Return the model of this kind's options; a function, so that a query need not import the recipe."""
    from aepipe.recipe import Options

    class Flat(Options):
        """The flat index has nothing to choose."""

    return Flat


def build(codes: BitCodes, ids: NDArray[np.int64]) -> FlatIndex:
    """Build a flat index; see :func:`aepipe.index.build`."""
    ids = _checked_ids(ids)
    if len(ids) != len(codes):
        raise CodeError(f"{len(codes):,} codes and {len(ids):,} ids: each code needs one id")
    words = codes.words()
    # Rows sorted by code, and by id where codes are equal: a posting is a run.
    order = np.lexsort((ids, *words.T[::-1]))
    changes = (words[order[1:]] != words[order[:-1]]).any(axis=1)
    starts = np.concatenate([np.zeros(min(len(ids), 1), np.int64), np.nonzero(changes)[0] + 1])
    sizes = np.diff(np.append(starts, len(ids)))
    return _assemble(codes[order[starts]], ids[order], sizes)


def open(folder: Path) -> FlatIndex:
    """Open a saved flat index; see :func:`aepipe.index.open`."""
    try:
        card = json.loads((folder / CARD).read_bytes())
        if (folder / CODES).stat().st_size != card["bytes"]:  # faiss would read beyond the end of the file
            raise ValueError(f"{CODES} is cut off")
        # Only _IFC maps a flat index; the older IO_FLAG_MMAP copies it into memory.
        codes = faiss.read_index_binary(str(folder / CODES), faiss.IO_FLAG_MMAP_IFC)
        offsets, ids = (
            np.asarray(np.load(folder / file, mmap_mode="r", allow_pickle=False)) for file in (OFFSETS, IDS)
        )
        found = (codes.ntotal, codes.code_size, len(offsets), len(ids))
        sound = found == (card["codes"], n_bytes(card["n_bits"]), card["codes"] + 1, card["rows"])
        index = FlatIndex(codes, offsets, ids, card)
    except (OSError, EOFError, ValueError, KeyError, TypeError, RuntimeError, CodeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CorruptError(f"{folder}: corrupt, not a flat index ({reason}); {REMEDY}") from None
    if not sound:
        raise CorruptError(f"{folder}: corrupt, its files do not fit one another; {REMEDY}")
    return index


def _mapped(file: Path) -> NDArray[np.int64]:
    """Map an array."""
    return np.asarray(np.load(file, mmap_mode="r", allow_pickle=False))


def _assemble(codes: BitCodes, ids: NDArray[np.int64], sizes: NDArray[np.int64]) -> FlatIndex:
    """Put distinct codes and their postings into the order of the smallest ids.

    Args:
        codes: M distinct codes.
        ids: int64[N], the postings one after another, ascending within each.
        sizes: int64[M], rows of each.
    """
    starts = np.cumsum(sizes) - sizes
    order = np.argsort(ids[starts], kind="stable")
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes[order])])
    flat = faiss.IndexBinaryFlat(8 * n_bytes(codes.n_bits))
    if len(codes):
        flat.add(np.ascontiguousarray(codes.packed[order]))
    card = {"n_bits": codes.n_bits, "fingerprint": codes.fingerprint, "longest": int(sizes.max(initial=0))}
    return FlatIndex(flat, offsets, ids[_ranges(starts[order], sizes[order])], card)


def _ranges(starts: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return ``starts[i], starts[i] + 1, ...``, ``sizes[i]`` numbers for each i, one after another."""
    before = np.cumsum(sizes) - sizes
    return np.repeat(starts - before, sizes) + np.arange(int(sizes.sum()))


def _checked_ids(ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return ids as int64, checked.

    Raises:
        CodeError: an id is negative or not an integer.
        QueryError: an id is given twice.
    """
    found = np.asarray(ids)
    if found.ndim != 1 or (found.size and (found.dtype.kind not in "iu" or int(found.min()) < 0)):
        raise CodeError("ids are int64[N], not negative")
    found = found.astype(np.int64)
    in_order = np.sort(found)
    twice = in_order[1:][in_order[1:] == in_order[:-1]]
    if len(twice):
        raise QueryError(f"id {twice[0]} is given twice")
    return found


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Let faiss use so many threads for the block."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(count)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
