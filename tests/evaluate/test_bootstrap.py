"""The bootstrap: seeded, near the normal interval, with the nominal coverage."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from aepipe.evaluate import scores
from aepipe.evaluate.scores import estimate, estimates, interval, intervals, paired_difference


def plain(values: np.ndarray, seed: int, level: float, resamples: int) -> tuple[float, float]:
    """Return the percentile interval, one mean after another."""
    drawn = np.random.default_rng(seed).integers(0, len(values), (resamples, len(values)))
    means = [float(values[one].mean()) for one in drawn]
    return float(np.quantile(means, (1 - level) / 2)), float(np.quantile(means, 1 - (1 - level) / 2))


@pytest.mark.parametrize("at_once", [1, 50, 130, 1 << 20])
def test_it_is_the_percentile_bootstrap(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many resamples are held at a time, of one figure and of several."""
    monkeypatch.setattr(scores, "TOGETHER", at_once)
    values = np.random.default_rng(0).random((2, 20))
    assert interval(values[0], 3) == pytest.approx(plain(values[0], 3, 0.95, 1000))
    assert interval(values[0], 3, 0.8, 100) == pytest.approx(plain(values[0], 3, 0.8, 100))
    low, high = intervals(values, 3, 0.8, 100)
    for one, *found in zip(values, low, high, strict=True):
        assert found == pytest.approx(plain(one, 3, 0.8, 100))
    both = intervals(values, 3)
    assert [both[0][1], both[1][1]] == pytest.approx(plain(values[1], 3, 0.95, 1000))


def test_estimates_keep_their_names_and_their_own_queries() -> None:
    """Figures of as many queries share their resamples; each is as if it were alone."""
    rng = np.random.default_rng(0)
    values: dict[str, NDArray[np.floating]] = {name: rng.random(20 if name == "b" else 30) for name in "abc"}
    values["d"] = rng.random(30).astype(np.float32)
    found = estimates(values, 5, 0.9)
    assert list(found) == ["a", "b", "c", "d"]
    for name, one in found.items():
        assert one.value == pytest.approx(values[name].mean())
        assert (one.low, one.high) == pytest.approx(plain(values[name], 5, 0.9, 1000))
        assert one == estimate(values[name], 5, 0.9)
    usual = estimate(values["a"], 5)
    assert (usual.low, usual.high) == pytest.approx(plain(values["a"], 5, 0.95, 1000))
    assert paired_difference(values["a"], values["c"], 5) == estimate(values["a"] - values["c"], 5)


def test_what_no_interval_can_be_told_of() -> None:
    with pytest.raises(AssertionError, match="a mean needs a value"):
        interval(np.empty(0), 0)
    with pytest.raises(AssertionError, match="one-dimensional"):
        interval(np.ones((2, 2)), 0)
    with pytest.raises(AssertionError, match="the same queries"):
        paired_difference(np.ones(2), np.ones(3), 0)
    for level in (0.0, 1.0, 1.5):
        with pytest.raises(AssertionError, match="between 0 and 1"):
            interval(np.ones(2), 0, level)


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
