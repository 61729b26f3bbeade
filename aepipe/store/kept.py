"""Samples of the rows of a collection, which the hashes of their keys decide.

A sample is a share of all keys: those whose hashes are the smallest. So a smaller sample is a part of a larger one, and
whether a row is in it depends on its key alone. Training and scores read the sample that a recipe names, and a large
collection may keep the features of these rows only.

Legend: N rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


def key_hash(key: str) -> int:
    """Return the hash of a key, 64 bits, the same for good: parts end by it."""
    return int.from_bytes(hashlib.blake2b(key.encode("utf-8", "surrogateescape"), digest_size=8).digest(), "little")


def key_hashes(keys: Iterable[str], count: int) -> NDArray[np.uint64]:
    """Return the hashes of ``count`` keys, uint64[count]."""
    return np.fromiter(map(key_hash, keys), np.uint64, count)


def within(hashes: NDArray[np.uint64], share: float) -> NDArray[np.bool_]:
    """Return which keys are in a sample, bool[N].

    Args:
        hashes: of the keys, uint64[N].
        share: of all keys, above 0; 1 takes all.
    """
    if share >= 1:
        return np.ones(len(hashes), bool)
    found: NDArray[np.bool_] = hashes < np.uint64(int(share * 2.0**64))
    return found
