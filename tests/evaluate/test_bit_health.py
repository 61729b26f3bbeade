"""Bit health: statistics against numpy's own, and the limits of healthy bits."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace

import numpy as np
import pytest

from aepipe.codes.bitcodes import BitCodes
from aepipe.errors import CodeError
from aepipe.evaluate import bit_health as health
from aepipe.evaluate.bit_health import BitHealth, bit_health


def random_bits(n: int, n_bits: int, seed: int = 0) -> np.ndarray:
    """Return fair random bits."""
    return np.random.default_rng(seed).integers(0, 2, (n, n_bits), dtype=np.uint8)


def judged(bits: np.ndarray) -> BitHealth:
    """Return the health of bits; a warning of numpy fails the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return bit_health(BitCodes.from_bits(bits))


def test_statistics_equal_those_of_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rates, entropy and correlations equal those of the plain matrix, also in blocks."""
    monkeypatch.setattr(health, "ROWS", 37)
    bits = np.random.default_rng(1).random((500, 9)) < np.linspace(0.1, 0.9, 9)
    found = judged(bits)
    rate = bits.mean(0)
    assert found.rates == pytest.approx(rate)
    assert found.entropy == pytest.approx((-rate * np.log2(rate) - (1 - rate) * np.log2(1 - rate)).mean())
    others = np.abs(np.corrcoef(bits.T))[np.triu_indices(9, 1)]
    assert found.max_correlation == pytest.approx(others.max())
    assert found.mean_correlation == pytest.approx(others.mean())
    assert found.n_distinct == len(np.unique(bits, axis=0))


def test_random_bits_are_healthy() -> None:
    """Fair, independent bits have no reason against them."""
    found = judged(random_bits(2000, 20))
    assert (found.healthy, found.reasons, found.remarks) == (True, (), ())


@pytest.mark.parametrize(
    ("rate", "dead"), [(0.004, True), (0.005, False), (0.006, False), (0.994, False), (0.996, True)]
)
def test_the_dead_rate(rate: float, dead: bool) -> None:
    """A bit is dead below 0.5 % and above 99.5 %."""
    bits = random_bits(1000, 4)
    bits[:, 2] = np.arange(1000) < rate * 1000
    assert judged(bits).dead_bits == ((2,) if dead else ())


def test_a_constant_bit_has_no_correlation() -> None:
    """Constant bits count as dead, not as duplicates, and give no NaN."""
    bits = random_bits(1000, 6)
    bits[:, 1], bits[:, 4] = 0, 1
    found = judged(bits)
    assert found.dead_bits == (1, 4)
    assert found.duplicate_bits == ()
    assert found.max_correlation < 0.2
    assert not found.healthy
    assert found.reasons[0].startswith("2 of 6 bits are dead")


@pytest.mark.parametrize(("dead", "healthy"), [(0, True), (2, True), (3, False)])
def test_one_bit_in_ten_may_be_dead(dead: int, healthy: bool) -> None:
    """Two dead bits of 20 are accepted, three are not; the reason says both limits."""
    bits = random_bits(1000, 20)
    bits[:, :dead] = 1
    found = judged(bits)
    assert found.healthy is healthy
    said = "3 of 20 bits are dead (one value in more than 99.5 % of the codes), 10% may be"
    assert found.reasons == (() if healthy else (said,))


def test_copies_and_complements_are_duplicates() -> None:
    """Both signs count, the first of equal bits is no duplicate, and one duplicate in ten bits is accepted."""
    bits = random_bits(1000, 10)
    bits[:, 5] = 1 - bits[:, 2]
    assert judged(bits).duplicate_bits == (5,)
    assert judged(bits).healthy
    bits[:, 7] = bits[:, 2]
    found = judged(bits)
    assert found.duplicate_bits == (5, 7)
    said = "2 of 10 bits are duplicates (correlation above 0.99 with an earlier bit), 10% may be"
    assert found.reasons == (said,)


def test_neighbours_can_be_duplicates() -> None:
    """A bit next to its copy counts, and two codes are enough for a correlation."""
    bits = random_bits(1000, 10)
    bits[:, 5] = bits[:, 4]
    assert judged(bits).duplicate_bits == (5,)
    assert judged(np.array([[0, 0], [1, 1]], np.uint8)).max_correlation == 1.0


def test_a_collapse_to_few_codes() -> None:
    """Ten codes for 5,000 rows: every bit is balanced, and the codes are not healthy."""
    found = judged(random_bits(10, 64, seed=3)[np.arange(5000) % 10])
    said = "5,000 rows share 10 distinct codes, at least 1% of the 5,000 possible are wanted"
    assert said in found.reasons


@pytest.mark.parametrize(("distinct", "n_bits", "few"), [(50, 64, False), (49, 64, True), (10, 8, False), (2, 8, True)])
def test_the_share_of_distinct_codes(distinct: int, n_bits: int, few: bool) -> None:
    """One per cent of the possible codes is enough, and no more are possible than the bits can tell apart."""
    codes = np.unpackbits(np.arange(distinct, dtype=">u8").view(np.uint8).reshape(-1, 8), axis=1)[:, -n_bits:]
    found = judged(codes[np.arange(5000) % distinct])
    assert found.n_distinct == distinct
    assert any("distinct codes" in reason for reason in found.reasons) is few


def test_low_entropy() -> None:
    """Live bits with rare ones are reported."""
    found = judged(np.random.default_rng(4).random((2000, 16)) < 0.03)
    assert any("mean entropy" in reason for reason in found.reasons)
    assert health._judged(replace(judged(random_bits(200, 8)), entropy=health.MIN_ENTROPY)).healthy


@pytest.mark.parametrize("n", [1, 2, 5])
def test_few_codes_are_judged_for_collapse_only(n: int) -> None:
    """With few codes, statistics of single bits are chance, and a remark says so."""
    found = judged(random_bits(n, 64))
    assert found.healthy
    assert "too few" in found.remarks[0]


@pytest.mark.parametrize(("n", "said"), [(99, True), (100, False)])
def test_a_hundred_codes_are_judged(n: int, said: bool) -> None:
    assert bool(judged(random_bits(n, 8)).remarks) is said


def test_small_collapse_one_bit_and_nothing() -> None:
    """Equal codes, one bit, no codes."""
    assert judged(np.ones((5, 8), np.uint8)).reasons == ("all 5 codes are equal",)
    assert judged(np.ones((2, 8), np.uint8)).reasons == ("all 2 codes are equal",)
    assert judged(np.ones((1, 8), np.uint8)).healthy
    alone = judged(random_bits(200, 1))
    assert (alone.max_correlation, alone.mean_correlation) == (0.0, 0.0)
    with pytest.raises(CodeError, match="no codes"):
        bit_health(BitCodes(np.zeros((0, 1), np.uint8), 8))


def test_through_json() -> None:
    """The JSON form loses nothing."""
    found = judged(random_bits(5, 4))
    assert BitHealth.from_dict(json.loads(json.dumps(found.to_dict()))) == found
