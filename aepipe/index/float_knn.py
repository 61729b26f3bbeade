"""Nearest neighbours of float vectors, for objectives that train on their graph.

Legend: N rows, F features, k neighbours.
"""

from __future__ import annotations

import math

import faiss
import numpy as np
from numpy.typing import NDArray

from aepipe.log import step

EXACT = 300_000
"""Up to this number of rows all pairs are compared; beyond, a row is compared with the rows of the nearest cells."""
CELLS_SEARCHED = 16
FIT_ROWS_PER_CELL = 64
BLOCK = 1 << 15
"""Rows that are read and compared at a time."""


def neighbours(features: NDArray[np.float32], k: int) -> NDArray[np.int32]:
    """Return the k nearest other rows of each row by inner product, int32[N, k], nearest first.

    Features are read block by block, so they may be memory-mapped. Beyond 300,000 rows the result is approximate: the
    rows are split into about 4 sqrt(N) cells, and neighbours are searched in the 16 nearest cells. The work then grows
    as N sqrt(N) instead of N².

    Args:
        features: float32[N, F]; of unit length for neighbours by cosine.
        k: at least 1 and less than N.
    """
    n_rows = len(features)
    assert 1 <= k < n_rows, f"{k} neighbours of {n_rows} rows"
    index = _index(features)
    found = np.empty((n_rows, k), np.int32)
    for start in range(0, n_rows, BLOCK):
        block = np.ascontiguousarray(features[start : start + BLOCK], np.float32)
        _, near = index.search(block, k + 1)
        found[start : start + len(block)] = _others(near, np.arange(start, start + len(block)))
        step("neighbours", min(start + BLOCK, n_rows), n_rows)
    return found


def _index(features: NDArray[np.float32]) -> faiss.Index:
    n_rows, width = features.shape
    exact = faiss.IndexFlatIP(width)
    index: faiss.Index = exact
    if n_rows > EXACT:
        cells = int(4 * math.sqrt(n_rows))
        in_cells = faiss.IndexIVFFlat(exact, width, cells, faiss.METRIC_INNER_PRODUCT)
        in_cells.nprobe = CELLS_SEARCHED
        chosen = np.random.default_rng(0).choice(n_rows, min(n_rows, FIT_ROWS_PER_CELL * cells), replace=False)
        in_cells.train(np.ascontiguousarray(features[np.sort(chosen)], np.float32))
        index = in_cells
    for start in range(0, n_rows, BLOCK):
        index.add(np.ascontiguousarray(features[start : start + BLOCK], np.float32))
    return index


def _others(near: NDArray[np.int64], own: NDArray[np.int64]) -> NDArray[np.int64]:
    """Drop one row of each line: the row itself, or the last one.

    The last one goes where many equal rows have crowded out the row itself.
    """
    # An approximate search that finds too few rows fills up with -1: repeat the nearest in their place.
    near = np.where(near < 0, near[:, :1], near)
    is_own = near == own[:, None]
    drop = np.where(is_own.any(axis=1), is_own.argmax(axis=1), near.shape[1] - 1)
    kept = np.arange(near.shape[1]) != drop[:, None]
    others: NDArray[np.int64] = near[kept].reshape(len(near), -1)
    return others
