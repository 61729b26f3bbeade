"""Embeddings as signed bytes: what a row is like, more finely than its code says.

Rows are compared by the cosine of their angle, which does not depend on their lengths. So each row is scaled to the
range of a byte by itself, and no scale is kept.

Legend: N rows, H width of the embedding.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FILE = "embedding.npy"
LARGEST = 127


def quantize(embedding: NDArray[np.float32]) -> NDArray[np.int8]:
    """Return float32[N, H] as int8[N, H], the largest absolute value of each row as 127."""
    scale = np.abs(embedding).max(axis=1, keepdims=True, initial=0)
    return np.rint(embedding * (LARGEST / np.where(scale > 0, scale, 1))).astype(np.int8)


def cosines(query: NDArray[np.generic], rows: NDArray[np.generic]) -> NDArray[np.float32]:
    """Return the cosine of the angle between a vector [H] and each of some rows [N, H], float32[N]; 0 with zero."""
    one, others = query.astype(np.float32), rows.astype(np.float32)
    lengths = np.linalg.norm(one) * np.linalg.norm(others, axis=1)
    products = others @ one
    found: NDArray[np.float32] = np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
    return found
