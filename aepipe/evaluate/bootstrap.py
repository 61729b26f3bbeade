"""Percentile bootstrap over queries (Efron & Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over queries with its interval, ``low`` <= ``high``."""

    value: float
    low: float
    high: float


def interval(
    values: NDArray[np.floating], rng_seed: int, level: float = 0.95, resamples: int = 1000
) -> tuple[float, float]:
    """Return the percentile interval of the mean of per-query values.

    Args:
        values: float[Q], at least one.
        rng_seed: the same seed, values and settings give the same interval.
        level: its nominal coverage, in (0, 1).
        resamples: samples of Q queries drawn with replacement.
    """
    assert values.ndim == 1, "per-query values are one-dimensional"
    assert len(values), "a mean needs a value"
    assert 0 < level < 1, "a level lies between 0 and 1"
    rng = np.random.default_rng(rng_seed)
    # One resample at a time: Q indices, never Q x resamples.
    means = [values[rng.integers(0, len(values), len(values))].mean() for _ in range(resamples)]
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def estimate(values: NDArray[np.floating], rng_seed: int, level: float = 0.95) -> Estimate:
    """Return the mean of per-query values, float[Q], with its interval."""
    low, high = interval(values, rng_seed, level)
    return Estimate(float(values.mean()), low, high)


def paired_difference(
    ours: NDArray[np.floating], theirs: NDArray[np.floating], rng_seed: int, level: float = 0.95
) -> Estimate:
    """Return the mean of ours - theirs over the same queries, float[Q] each, with its interval.

    The difference of each query is resampled, so what makes a query hard for both drops out.
    """
    assert ours.shape == theirs.shape, "a paired difference needs the same queries"
    return estimate(ours - theirs, rng_seed, level)
