"""Bit health: whether codes use their bits, or have collapsed.

Retrieval metrics alone reward a collapse (one code per class ranks well), so the gate never judges them without these.

Legend: N codes, K bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aepipe.codes.bitcodes import BitCodes
from aepipe.errors import CodeError

DEAD_RATE = 0.005
"""A bit is dead where one value holds fewer than this share of the codes."""
DUPLICATE_CORRELATION = 0.99
"""A bit duplicates an earlier one where the absolute value of their correlation is above this."""
MAX_DEAD_SHARE = 0.10
MAX_DUPLICATE_SHARE = 0.10
MIN_ENTROPY = 0.5
"""Mean bits of entropy per bit."""
MIN_DISTINCT_SHARE = 0.01
"""Least share of distinct codes, of the min(N, 2^K) that are possible."""
MIN_CODES = 100
"""With fewer codes, dead and duplicate bits happen by chance: only a collapse to one code is judged."""

ROWS = 1 << 16
"""Rows of a block: sums of at most 65,536 ones are exact in float32."""


@dataclass(frozen=True, slots=True)
class BitHealth:
    """The health of N codes of K bits.

    Attributes:
        n_codes: N.
        n_bits: K.
        rates: share of ones of each bit.
        entropy: mean entropy of a bit, in bits, 0..1.
        max_correlation: largest absolute correlation of two different bits; that of a constant bit counts 0.
        mean_correlation: mean absolute correlation of two different bits.
        n_distinct: distinct codes.
        dead_bits: positions of the bits with one value in more than 99.5 % of the codes.
        duplicate_bits: positions of the bits that repeat an earlier bit, or its complement.
        reasons: sentences on why the bits are not healthy; empty where they are.
        remarks: sentences on what could not be judged.
    """

    n_codes: int
    n_bits: int
    rates: tuple[float, ...]
    entropy: float
    max_correlation: float
    mean_correlation: float
    n_distinct: int
    dead_bits: tuple[int, ...]
    duplicate_bits: tuple[int, ...]
    reasons: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def healthy(self) -> bool:
        """Whether there is no reason against the bits."""
        return not self.reasons

    @property
    def unique_share(self) -> float:
        """Distinct codes / codes."""
        return self.n_distinct / self.n_codes

    def to_dict(self) -> dict[str, Any]:
        """Return a form for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> BitHealth:
        """Read the output of :meth:`to_dict`, also through JSON."""
        values: dict[str, Any] = dict(data)
        lists = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
        return cls(**(values | lists))


def bit_health(codes: BitCodes) -> BitHealth:
    """Measure and judge the bits.

    Args:
        codes: N >= 1 codes.

    Raises:
        CodeError: there are no codes.
    """
    if not len(codes):
        raise CodeError("no codes: there are no bits to judge")
    ones, pairs = _count_ones(codes)
    rates = ones / len(codes)
    correlation = np.abs(_correlation(ones, pairs, len(codes)))
    others = correlation[np.triu_indices(codes.n_bits, 1)]
    entropy = float(_entropy(rates).mean())
    n_distinct = len(codes.distinct()[0])
    dead = np.flatnonzero(np.minimum(rates, 1 - rates) < DEAD_RATE)
    duplicate = np.flatnonzero((np.triu(correlation, 1) > DUPLICATE_CORRELATION).any(axis=0))
    measured = BitHealth(
        n_codes=len(codes),
        n_bits=codes.n_bits,
        rates=tuple(rates.tolist()),
        entropy=entropy,
        max_correlation=float(others.max(initial=0.0)),
        mean_correlation=float(others.mean()) if len(others) else 0.0,
        n_distinct=n_distinct,
        dead_bits=tuple(dead.tolist()),
        duplicate_bits=tuple(duplicate.tolist()),
    )
    return _judged(measured)


def _count_ones(codes: BitCodes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Count the ones of each bit, [K], and the codes in which two bits are both one, [K, K]."""
    pairs = np.zeros((codes.n_bits, codes.n_bits))
    for start in range(0, len(codes), ROWS):
        bits = codes[start : start + ROWS].unpack().astype(np.float32)
        pairs += bits.T @ bits
    return np.diag(pairs).copy(), pairs


def _correlation(ones: NDArray[np.float64], pairs: NDArray[np.float64], n_codes: int) -> NDArray[np.float64]:
    """Return Pearson's correlation between bits, float64[K, K]; 0 where a bit is constant."""
    # N^2 times covariance and variance are integers, so a constant bit gives exactly 0 and the subtraction is exact.
    covariance = n_codes * pairs - np.outer(ones, ones)
    deviation = np.sqrt(ones * (n_codes - ones))
    scale = np.outer(deviation, deviation)
    correlation = np.divide(covariance, scale, out=np.zeros_like(covariance), where=scale > 0)
    clipped: NDArray[np.float64] = np.clip(correlation, -1, 1)
    return clipped


def _entropy(rates: NDArray[np.float64]) -> NDArray[np.float64]:
    both = np.stack([rates, 1 - rates])
    logs = np.log2(both, out=np.zeros_like(both), where=both > 0)
    entropy: NDArray[np.float64] = -(both * logs).sum(axis=0)
    return entropy


def _judged(health: BitHealth) -> BitHealth:
    """Add reasons and remarks to measured health."""
    if health.n_codes >= MIN_CODES:
        return replace(health, reasons=tuple(_reasons(health)))
    collapsed = health.n_codes > 1 and health.n_distinct == 1
    return replace(
        health,
        reasons=(f"all {health.n_codes} codes are equal",) if collapsed else (),
        remarks=(f"{health.n_codes} codes are too few to judge single bits: {MIN_CODES} are needed",),
    )


def _reasons(health: BitHealth) -> list[str]:
    """Return the reasons against the bits."""
    reasons = []
    dead, duplicate, n_bits = (len(health.dead_bits), len(health.duplicate_bits), health.n_bits)
    if dead > MAX_DEAD_SHARE * n_bits:
        one_value = f"one value in more than {100 * (1 - DEAD_RATE):.1f} % of the codes"
        reasons.append(f"{dead} of {n_bits} bits are dead ({one_value}), {MAX_DEAD_SHARE:.0%} may be")
    if duplicate > MAX_DUPLICATE_SHARE * n_bits:
        repeat = f"correlation above {DUPLICATE_CORRELATION} with an earlier bit"
        reasons.append(f"{duplicate} of {n_bits} bits are duplicates ({repeat}), {MAX_DUPLICATE_SHARE:.0%} may be")
    if health.entropy < MIN_ENTROPY:
        reasons.append(f"the mean entropy of a bit is {health.entropy:.3f}, at least {MIN_ENTROPY} is wanted")
    possible = min(health.n_codes, 2**n_bits)
    if health.n_distinct < MIN_DISTINCT_SHARE * possible:
        wanted = f"at least {MIN_DISTINCT_SHARE:.0%} of the {possible:,} possible are wanted"
        reasons.append(f"{health.n_codes:,} rows share {health.n_distinct:,} distinct codes, {wanted}")
    return reasons
