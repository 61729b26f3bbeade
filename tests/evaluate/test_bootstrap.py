"""The bootstrap: seeded, near the normal interval, with the nominal coverage."""

from __future__ import annotations

import numpy as np
import pytest

from aepipe.evaluate.scores import estimate, interval, paired_difference


def test_seeded() -> None:
    """The same seed gives the same interval, another seed another."""
    values = np.random.default_rng(0).random(50)
    assert interval(values, 1) == interval(values, 1)
    assert interval(values, 1) != interval(values, 2)


def test_near_the_normal_interval() -> None:
    """For many values it is the mean +- 1.96 standard errors; a lower level gives a narrower interval."""
    values = np.random.default_rng(1).normal(size=2000)
    low, high = interval(values, 0)
    error = values.std() / np.sqrt(2000)
    assert (low, high) == pytest.approx((values.mean() - 1.96 * error, values.mean() + 1.96 * error), abs=0.2 * error)
    inner = interval(values, 0, level=0.5)
    assert low < inner[0] < inner[1] < high


def test_coverage() -> None:
    """Of 200 intervals at 90 %, 165 to 195 hold the true mean (the binomial's 99.9 % range)."""
    rng = np.random.default_rng(2)
    covered = 0
    for seed in range(200):
        low, high = interval(rng.exponential(size=100), seed, level=0.9, resamples=200)
        covered += low <= 1.0 <= high
    assert 165 <= covered <= 195


def test_constant_values() -> None:
    """Values without spread have an interval without width."""
    found = estimate(np.ones(10), 0)
    assert (found.value, found.low, found.high) == (1.0, 1.0, 1.0)


def test_paired_differences_are_sharper_than_two_intervals() -> None:
    """A small, steady gain on queries of different difficulty is certain in pairs, and hidden in two intervals."""
    rng = np.random.default_rng(3)
    theirs = rng.random(300)
    ours = theirs + 0.01 + rng.normal(scale=0.01, size=300)
    gain = paired_difference(ours, theirs, 0)
    assert 0 < gain.low < 0.01 < gain.high
    assert estimate(ours, 0).low < estimate(theirs, 0).value
