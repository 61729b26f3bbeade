"""The scan: every way of searching gives the same answer."""

from __future__ import annotations

import numpy as np
import pytest

from aepipe.codes.bitcodes import BitCodes
from aepipe.index import scan
from aepipe.index.hits import CodeHits
from aepipe.index.scan import Scan


@pytest.mark.parametrize("k", [1, 10, 300])
@pytest.mark.parametrize("n_bits", [8, 24, 64, 128])
def test_buckets_and_heaps_agree(n_bits: int, k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both give the order (distance, position), also where nearly all distances tie."""
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


@pytest.mark.parametrize("k", [1, 10, 300])
@pytest.mark.parametrize("n_bits", [8, 24, 64, 128])
def test_a_search_within_the_limit_of_a_sample_finds_the_nearest(
    n_bits: int, k: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gives the same answer as a direct search, for one query and for many."""
    rng = np.random.default_rng(n_bits)
    few = 40 if n_bits > 8 else 256
    centres = rng.integers(0, 256, (few, n_bits // 8), np.uint8)
    packed = centres[rng.integers(0, few, 4000)] ^ np.packbits(rng.random((4000, n_bits)) < 0.1, axis=1)
    packed = np.unique(packed, axis=0)
    packed = packed[rng.permutation(len(packed))]
    asked = np.concatenate([packed[:20], rng.integers(0, 256, (20, n_bits // 8), np.uint8)])
    codes, k = Scan.of(BitCodes(packed, n_bits)), min(k, len(packed))
    expected = codes.nearest(asked, k, threads=2)
    monkeypatch.setattr(scan, "RANGED", 1)
    monkeypatch.setattr(scan, "RANGED_EACH", 1)
    monkeypatch.setattr(scan, "SAMPLE_PIECES", 16)
    assert scan.ranged(n_bits, len(packed), k)
    for one in (codes.nearest(asked, k, threads=2), codes.nearest(asked[:1], k)):
        count = len(one)
        np.testing.assert_array_equal(one.query, expected.query[:count])
        np.testing.assert_array_equal(one.positions, expected.positions[:count])
        np.testing.assert_array_equal(one.distances, expected.distances[:count])
    assert count == k


def test_few_codes_within_the_limit_of_a_sample_are_held_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = np.random.default_rng(0).integers(0, 256, (4000, 8), np.uint8)
    codes, within, together = Scan.of(BitCodes(packed, 64)), Scan.ball, list[int]()

    def ball(self: Scan, asked: np.ndarray, radius: int, threads: int = 1) -> CodeHits:
        together.append(len(asked))
        return within(self, asked, radius, threads)

    monkeypatch.setattr(scan, "RANGED", 1)
    monkeypatch.setattr(scan, "RANGED_EACH", 1)
    monkeypatch.setattr(Scan, "ball", ball)
    for held, most in ((1 << 19, 12), (700, 2)):  # the sample has 128 of the 4,000 codes, and k is 10
        monkeypatch.setattr(scan, "FOUND", held)
        together.clear()
        codes.nearest(np.repeat(packed[:1], 12, axis=0), 10)
        assert together == [most] * (12 // most)


def test_only_queries_with_too_few_codes_are_scanned(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first position is a code like any other; -1 is none."""
    packed = np.arange(8, dtype=np.uint8)[:, None]
    codes, quick, scanned = Scan.of(BitCodes(packed, 8)), Scan.nearest, []

    def nearest(self: Scan, asked: np.ndarray, k: int, threads: int = 1) -> CodeHits:
        scanned.append(asked.ravel().tolist())
        return quick(self, asked, k, threads)

    monkeypatch.setattr(Scan, "nearest", nearest)
    positions, distances = np.array([[0, 1], [4, -1]]), np.array([[0, 1], [0, -1]], np.int32)
    found = codes.completed(packed[[0, 4]], 2, distances, positions, 1)
    assert scanned == [[4]]
    assert found.positions.reshape(2, 2).tolist() == [[0, 1], [4, 0]]
