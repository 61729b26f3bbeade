"""The distinct values of a column of text, found without a look at each text in Python.

Texts are compared by a hash of their bytes, which is a difference of two sums over all bytes of the column; then every
text is compared with the first one of its hash, so the result is exact.

Legend: N texts, M distinct ones, B bytes of all.

Source: Karp, Rabin: Efficient Randomized Pattern-Matching Algorithms, 1987.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FACTOR = 0x9E3779B97F4A7C15
"""Odd, so that it has an inverse modulo 2^64."""

Places = NDArray[np.int64]


def alike(stored: NDArray[np.uint8], starts: Places, sizes: Places) -> tuple[Places, Places]:
    """Return which texts are the first of their bytes, and for each text which of these it is.

    Args:
        stored: uint8[B].
        starts: int64[N], where each text begins.
        sizes: int64[N], its bytes.

    Returns:
        int64[M], positions of texts; int64[N], positions in these.
    """
    _, firsts, which = np.unique(_hashes(stored, starts, sizes), return_index=True, return_inverse=True)
    same = firsts[which]
    if (sizes[same] != sizes).any():
        return _all_apart(len(starts))
    places = _ranges(starts, sizes)
    if (stored[places] != stored[places + np.repeat(starts[same] - starts, sizes)]).any():
        return _all_apart(len(starts))
    return firsts, which


def _all_apart(count: int) -> tuple[Places, Places]:
    """Return that each text is looked at by itself: two of them had the same hash."""
    return np.arange(count), np.arange(count)


def _hashes(stored: NDArray[np.uint8], starts: Places, sizes: Places) -> NDArray[np.uint64]:
    powers, inverses = (_powers(factor, len(stored)) for factor in (FACTOR, pow(FACTOR, -1, 1 << 64)))
    sums = np.zeros(len(stored) + 1, np.uint64)
    # A byte of zero would count for nothing.
    np.cumsum((stored + np.uint64(1)) * powers[:-1], out=sums[1:])
    hashes: NDArray[np.uint64] = (sums[starts + sizes] - sums[starts]) * inverses[starts]
    return hashes


def _powers(factor: int, count: int) -> NDArray[np.uint64]:
    """Return the powers of a number modulo 2^64 from 0 on, uint64[count + 1]."""
    found = np.full(count + 1, factor, np.uint64)
    found[0] = 1
    np.cumprod(found, out=found)
    return found


def _ranges(starts: Places, sizes: Places) -> Places:
    ends = np.cumsum(sizes)
    return np.repeat(starts - ends + sizes, sizes) + np.arange(int(ends[-1]) if len(ends) else 0)
