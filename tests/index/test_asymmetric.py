"""Asymmetric search: equal to a sum over all bits, also with conditions, additions and removals."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from aepipe.codes.bitcodes import BitCodes
from aepipe.index import asymmetric, hamming
from aepipe.index.hamming import RowIndex


def drawn(n: int, n_bits: int, seed: int = 0) -> tuple[BitCodes, NDArray[np.int64]]:
    """Return codes of which some are equal, and their ids."""
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 2, (n, n_bits)).astype(np.uint8)
    bits[n // 2 : n // 2 + n // 8] = bits[: n // 8]
    return BitCodes.from_bits(bits), rng.permutation(10 * n)[:n].astype(np.int64)


def by_hand(
    codes: BitCodes, ids: NDArray[np.int64], values: NDArray[np.float32], allowed: NDArray[np.bool_]
) -> list[int]:
    found = (2 * codes.unpack().astype(np.float64) - 1) @ values.astype(np.float64)
    order = np.lexsort((ids, -found.round(4)))
    return [int(ids[place]) for place in order if allowed[place]]


@pytest.mark.parametrize("n_bits", [5, 8, 20, 64, 100])
def test_scores_are_sums_over_the_bits(n_bits: int) -> None:
    codes, _ = drawn(300, n_bits)
    values = np.random.default_rng(1).normal(size=n_bits).astype(np.float32)
    expected = (2 * codes.unpack().astype(np.float64) - 1) @ values
    np.testing.assert_allclose(asymmetric.scores(codes.packed, values), expected, atol=1e-4)


def test_more_codes_than_a_block_are_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    codes, _ = drawn(300, 24)
    values = np.random.default_rng(1).normal(size=24).astype(np.float32)
    whole = asymmetric.scores(codes.packed, values)
    monkeypatch.setattr(asymmetric, "BLOCK", 77)
    np.testing.assert_array_equal(asymmetric.scores(codes.packed, values), whole)


def test_signs_alone_give_the_order_of_codes() -> None:
    codes, ids = drawn(400, 40)
    index = hamming.build(codes, ids)
    asked, _ = drawn(1, 40, seed=9)
    signs = 2 * asked.unpack()[0].astype(np.float32) - 1
    for k in (1, 7, 400, 1000):
        np.testing.assert_array_equal(asymmetric.search(index, signs, k), index.search(asked, k).of(0)[0])


@pytest.mark.parametrize("k", [1, 10, 250, 1000])
def test_conditions_additions_and_removals_are_followed(k: int) -> None:
    codes, ids = drawn(300, 30)
    values = np.random.default_rng(3).normal(size=30).astype(np.float32)
    index = hamming.build(codes[:200], ids[:200])
    changed = index.add(codes[200:], ids[200:]).remove(ids[50:120])
    left, some = ~np.isin(ids, ids[50:120]), ids[::3]
    assert isinstance(index, RowIndex)
    built = by_hand(codes[:200], ids[:200], values, np.ones(200, bool))
    assert asymmetric.search(index, values, k).tolist() == built[:k]
    assert asymmetric.search(changed, values, k).tolist() == by_hand(codes, ids, values, left)[:k]
    wanted = left & np.isin(ids, some)
    assert asymmetric.search(changed, values, k, some).tolist() == by_hand(codes, ids, values, wanted)[:k]
    assert asymmetric.search(index, values, k, np.zeros(0, np.int64)).tolist() == []
