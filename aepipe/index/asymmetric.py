"""Asymmetric search: a question that keeps its floats, among rows that are bits.

The score of a row is the sum over its bits of what the question says of each: ``sum((2 b - 1) * z)``, where ``z`` is
the question's value before it is cut to a bit. For values of +1 and -1 it is ``K - 2 * distance``, so the order is
that of the codes; other values weigh each bit by how sure the question is of it. Every row is scored, by a table of 256
sums for each byte of a code, so the answer is exact.

Source: Gordo, Perronnin, Gong and Lazebnik, "Asymmetric Distances for Binary Embeddings", 2014.

Legend: M distinct codes, W bytes of a code, K bits, k neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aepipe.codes.bitcodes import n_bytes
from aepipe.index.hamming import DeltaIndex, IdFilter, RowIndex
from aepipe.index.postings import ranges
from aepipe.index.remote import Index, RemoteShards
from aepipe.index.shards import Shards

BLOCK = 65_536
"""Codes that are scored at a time: they fit into the cache of a processor."""

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]


def tables(values: Floats) -> Floats:
    """Return the sums for each byte of a code and each of its 256 values, float32[W, 256].

    Args:
        values: float32[K], of the question.
    """
    padded = np.zeros(8 * n_bytes(len(values)), np.float32)
    padded[: len(values)] = values
    signs = 2 * np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).astype(np.float32) - 1
    return padded.reshape(-1, 8) @ signs.T


def scores(packed: NDArray[np.uint8], values: Floats) -> Floats:
    """Return the score of each code, float32[M].

    Args:
        packed: uint8[M, W].
        values: float32[K], of the question.
    """
    sums = tables(values)
    found = np.empty(len(packed), np.float32)
    for start in range(0, len(packed), BLOCK):
        columns = np.ascontiguousarray(packed[start : start + BLOCK].T)
        part = sums[0].take(columns[0])
        for table, column in zip(sums[1:], columns[1:], strict=True):
            part += table.take(column)
        found[start : start + BLOCK] = part
    return found


def search(index: Index, values: Floats, k: int, where: Ids | None = None) -> Ids:
    """Return the ids of the k best rows, ordered by (score, id), the largest score first.

    Args:
        index: of the rows.
        values: float32[K], of the question.
        k: at least 1; it may exceed the number of rows.
        where: the ids that may be found; None for all.
    """
    return scored(index, values, k, where)[0]


def scored(index: Index, values: Floats, k: int, where: Ids | None = None) -> tuple[Ids, Floats]:
    """Return the ids that :func:`search` returns, and their scores."""
    if isinstance(index, RemoteShards):
        return merge(index.best(values, k, where), k)
    return merge(_parts(index, values, k, None if where is None else IdFilter.of(where)), k)


def merge(parts: Sequence[tuple[Ids, Floats]], k: int) -> tuple[Ids, Floats]:
    """Return the k best of the rows that several indexes found, ordered by (score, id)."""
    ids, found = (np.concatenate([part[place] for part in parts]) for place in (0, 1))
    order = np.lexsort((ids, -found))[:k]
    return np.asarray(ids[order], np.int64), np.asarray(found[order], np.float32)


def _parts(
    index: RowIndex | DeltaIndex | Shards, values: Floats, k: int, allowed: IdFilter | None
) -> list[tuple[Ids, Floats]]:
    """Return the best rows of each part: of a base without what was removed, of what was added, of shards."""
    if isinstance(index, Shards):
        return [best for part in index.parts for best in _parts(part, values, k, allowed)]
    if isinstance(index, RowIndex):
        return [_best(index, values, k, [allowed])]
    kept = IdFilter(index.removed, inverse=True) if len(index.removed) else None
    found = [_best(index.base, values, k, [allowed, kept])]
    return found if index.delta is None else [*found, _best(index.delta, values, k, [allowed])]


def _best(index: RowIndex, values: Floats, k: int, filters: list[IdFilter | None]) -> tuple[Ids, Floats]:
    """Return ids and scores of the k best rows that all filters allow, in no order, and of all that tie with them."""
    each = scores(index.engine.packed, values)
    sizes, ids = np.diff(index.postings.offsets), index.postings.ids
    asked = [one for one in filters if one is not None]
    if not asked:
        # Each code has a row, so the rows of the k best codes are enough.
        codes = np.flatnonzero(each >= _least(each, k))
        rows = _rows_of(index, codes, sizes)
        return np.asarray(ids[rows], np.int64), np.repeat(each[codes], sizes[codes])
    own, score = np.asarray(ids, np.int64), np.repeat(each, sizes)
    for one in asked:
        kept = one.allows(own)
        own, score = own[kept], score[kept]
    best = score >= _least(score, k)
    return own[best], score[best]


def _rows_of(index: RowIndex, codes: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    starts, lengths = index.postings.offsets[:-1][codes].astype(np.int64), sizes[codes].astype(np.int64)
    return ranges(starts, lengths)


def _least(found: Floats, k: int) -> float:
    """Return the k-th largest of some scores; the smallest of fewer."""
    if len(found) <= k:
        return -np.inf
    return float(np.partition(found, len(found) - k)[len(found) - k])
