"""Exact search of float vectors by L2 distance: the reference that codes approximate.

Legend: N rows, D features, Q queries, k neighbours. Distances of integer features (pixels) are exact: int32, or float64
where these are too small for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from aepipe.errors import CodeError

Features: TypeAlias = NDArray[np.generic]
Distances: TypeAlias = NDArray[np.int32] | NDArray[np.float64]
"""Squared L2 distances of queries to rows, [q, N]."""

BLOCK_VALUES = 1 << 22
"""Values of one block: 32 MB as float64."""
SKIPPED = 64
"""One distance out of this number is sampled for a first limit."""
EXACT = 1024
"""Features per product of bytes: their sum stays within 2^24, up to which float32 holds every integer exactly."""
WHOLE = (2**31 - 1) // 255**2
"""Bytes of a row up to which squared distances fit into int32, in which they are sorted faster."""
ROW_VALUES = 1 << 24
"""Distances that :func:`distance_rows` holds at a time: 128 MB at most."""


def feature_blocks(
    features: Features, rows: NDArray[np.int64] | None = None
) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Yield the features in blocks: the position of the first row, and float64[b, D].

    The features may be memory-mapped. A block may be a view of them, so it must not be written.

    Args:
        features: uint8 or float [N, D].
        rows: int64[M], the rows to read, ascending; all by default.

    Raises:
        CodeError: the features are not a matrix, or a value is not finite.
    """
    check_matrix(features)
    step = max(1, BLOCK_VALUES // features.shape[1])
    for start in range(0, len(features) if rows is None else len(rows), step):
        place = slice(start, start + step)
        block = np.asarray(features[place if rows is None else rows[place]], np.float64)
        if features.dtype.kind == "f" and not np.isfinite(block).all():
            bad = start + int(np.flatnonzero(~np.isfinite(block).all(axis=1))[0])
            row = bad if rows is None else int(rows[bad])
            raise CodeError(f"features of row {row} hold a value that is not finite: impute or drop it first")
        yield start, block


def check_matrix(features: Features) -> None:
    """Check that features are numbers [N, D] with at least one row.

    Raises:
        CodeError: the features are something else.
    """
    if features.ndim != 2 or features.dtype.kind not in "buif" or 0 in features.shape:
        raise CodeError(f"features are numbers [N, D], at least 1 x 1, not {features.dtype}{list(features.shape)}")


def nearest(database: Features, queries: Features, k: int = 10) -> NDArray[np.int64]:
    """Return the k nearest rows of each query by L2, int64[Q, min(k, N)], unsorted.

    Ties are broken arbitrarily.

    Args:
        database: uint8 or float [N, D].
        queries: uint8 or float [Q, D].
        k: neighbours.

    Raises:
        CodeError: the features do not match, or are not finite.
    """
    _check_pair(database, queries)
    rows = _query_rows(database, 2 * database.shape[1])  # times the rows of a block: 64 MB of distances
    parts = [smallest_of(_blocks(database, queries[i : i + rows]), k) for i in range(0, len(queries), rows)]
    return np.concatenate(parts)


def distance_rows(database: Features, queries: Features) -> Iterator[tuple[int, Distances]]:
    """Yield (first query, squared L2 distances [q, N]) for chunks of the queries.

    A chunk takes at most 128 MB, or is a single query.

    Raises:
        CodeError: the features do not match, or are not finite.
    """
    _check_pair(database, queries)
    rows, whole = _query_rows(database, ROW_VALUES // len(database)), _are_whole(database, queries)
    for first in range(0, len(queries), rows):
        chunk = queries[first : first + rows]
        shape = len(chunk), len(database)
        distances: Distances = np.empty(shape, np.int32) if whole else np.empty(shape, np.float64)
        for start, block in _blocks(database, chunk):
            distances[:, start : start + block.shape[1]] = block
        yield first, distances


def smallest(distances: NDArray[np.floating] | NDArray[np.integer], k: int) -> NDArray[np.int64]:
    """Return the columns of each row's k smallest values, int64[q, min(k, N)], unsorted.

    Ties are broken arbitrarily, for integers as for the same numbers in float64.

    Args:
        distances: integers or floats [q, N].
        k: how many.
    """
    n_rows = distances.shape[1]
    k = min(k, n_rows)
    found = np.empty((len(distances), k), np.int64)
    # The k-th smallest of a sample bounds that of the whole from above, and leaves few values to choose from.
    some = distances[:, :: max(1, min(SKIPPED, n_rows // k))]
    limits = np.partition(some, k - 1, axis=1)[:, k - 1]
    for query, (row, limit) in enumerate(zip(distances, limits, strict=True)):
        near = np.flatnonzero(row <= limit)
        values = row[near] if row.dtype.kind == "f" else row[near].astype(np.float64)
        found[query] = near[np.argpartition(values, k - 1)[:k]]
    return found


def smallest_of(blocks: Iterable[tuple[int, NDArray[np.floating] | NDArray[np.integer]]], k: int) -> NDArray[np.int64]:
    """Return the columns of each row's k smallest values, from blocks of columns.

    int64[q, min(k, N)], unsorted.

    Args:
        blocks: the position of the first column, and integers or floats [q, b]; at least one block.
        k: how many.
    """
    near, found = [], []
    for start, block in blocks:
        columns = smallest(block, k)
        near.append(np.take_along_axis(block, columns, axis=1))
        found.append(columns + start)
    return np.take_along_axis(np.concatenate(found, axis=1), smallest(np.concatenate(near, axis=1), k), axis=1)


def _query_rows(database: Features, wanted: int) -> int:
    return max(1, min(wanted, 4 * BLOCK_VALUES // int(database.shape[1])))


def _are_whole(database: Features, queries: Features) -> bool:
    """Say whether distances are int32: those of bytes that are not too many."""
    return database.dtype == np.uint8 == queries.dtype and database.shape[1] <= WHOLE


def _blocks(database: Features, queries: Features) -> Iterator[tuple[int, Distances]]:
    """Yield (first row, squared L2 distances [q, b]) for blocks of the database."""
    if database.dtype == np.uint8 == queries.dtype:
        # Integers in float32, in parts small enough to be exact: as exact as float64, and twice as fast.
        chunk, step = _signed(queries), max(1, BLOCK_VALUES // database.shape[1])
        whole = _are_whole(database, queries)
        for start in range(0, len(database), step):
            block = _signed(database[start : start + step])
            distances = _squared(chunk[:, :EXACT], block[:, :EXACT], whole=whole)
            for first in range(EXACT, block.shape[1], EXACT):
                part = slice(first, first + EXACT)
                distances += _squared(chunk[:, part], block[:, part], whole=whole)
            yield start, distances
        return
    wide = np.asarray(queries, np.float64)
    for start, rows in feature_blocks(database):
        yield start, _squared(wide, rows, whole=False)


def _signed(features: Features) -> NDArray[np.float32]:
    # Distances stay the same, and products are small enough to be exact in float32.
    return features.astype(np.float32) - np.float32(128)


def _squared(queries: NDArray[np.floating], block: NDArray[np.floating], *, whole: bool) -> Distances:
    products = queries @ block.T
    of_queries, of_rows = np.einsum("qd,qd->q", queries, queries)[:, None], np.einsum("bd,bd->b", block, block)
    if whole:
        products *= -2  # exact, as twice a number is in any float
        integers = products.astype(np.int32)
        integers += of_queries.astype(np.int32)
        integers += of_rows.astype(np.int32)
        return integers
    distances: NDArray[np.float64] = np.multiply(products, -2.0, dtype=np.float64)
    distances += of_queries
    distances += of_rows
    return distances


def _check_pair(database: Features, queries: Features) -> None:
    check_matrix(database)
    check_matrix(queries)
    if database.shape[1] != queries.shape[1]:
        raise CodeError(f"features of {database.shape[1]} and of {queries.shape[1]} columns cannot be compared")
    for _ in feature_blocks(queries):  # raises where a value is not finite
        pass
