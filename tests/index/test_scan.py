"""The scan: the same answer, however faiss keeps what it has found."""

from __future__ import annotations

import numpy as np
import pytest

from aepipe.bits import BitCodes
from aepipe.index import scan
from aepipe.index.scan import Scan


@pytest.mark.parametrize("k", [1, 10, 300])
@pytest.mark.parametrize("n_bits", [8, 24, 64, 128])
def test_counting_and_heaps_agree(n_bits: int, k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both give the order (distance, position), also where nearly everything ties."""
    rng = np.random.default_rng(n_bits)
    packed = np.unique(rng.integers(0, 256, (3000, n_bits // 8), np.uint8), axis=0)
    packed = packed[rng.permutation(len(packed))]
    asked = np.concatenate([packed[:20], rng.integers(0, 256, (20, n_bits // 8), np.uint8)])
    k = min(k, len(packed))
    far = np.bitwise_count(packed[None] ^ asked[:, None]).sum(axis=2)
    order = np.argsort(far, axis=1, kind="stable")[:, :k]
    codes = Scan.of(BitCodes(packed, n_bits))
    for bits in (0, 256):
        monkeypatch.setattr(scan, "COUNTED_BITS", bits)
        found = codes.nearest(asked, k, threads=2)
        assert codes.flat.use_heap == (bits == 0)
        np.testing.assert_array_equal(found.positions.reshape(-1, k), order)
        np.testing.assert_array_equal(found.distances.reshape(-1, k), np.take_along_axis(far, order, axis=1))
