"""Drift: shifts are found, and false alarms are rare."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from aepipe.evaluate.drift import FEW, Drift, drift

Sample = dict[str, NDArray[np.generic]]


def sample(rng: np.random.Generator, n: int, *, shift: float = 0.0, rate: float = 0.5) -> Sample:
    """Rows with 64 dependent bits, and heavy-tailed errors with an optional shift."""
    hidden = rng.normal(size=(n, 8))
    mixed = hidden @ np.random.default_rng(0).normal(size=(8, 64)) / np.sqrt(8)
    bits = mixed > np.quantile(mixed, 1 - rate) if rate != 0.5 else mixed > 0
    return {"bits": bits.astype(np.uint8), "error": np.exp(rng.normal(size=n)) * (1 + shift)}


def test_false_alarms_are_as_rare_as_alpha() -> None:
    rng = np.random.default_rng(1)
    alarms = [drift(sample(rng, 400), sample(rng, 150), alpha=0.05, least=0.0, rounds=199).found for _ in range(200)]
    assert 0 < np.mean(alarms) <= 0.09, "5 % at most are allowed, give or take what 200 nights cannot tell"


@pytest.mark.parametrize(("changed", "figure"), [({"shift": 0.6}, "error"), ({"rate": 0.3}, "bits")])
def test_a_shift_is_found_and_named(changed: dict[str, float], figure: str) -> None:
    rng = np.random.default_rng(2)
    found = drift(sample(rng, 1000), sample(rng, 300, **changed))
    assert found.found
    assert found.alarms[0].figure == figure
    assert str(found).startswith(f"drift in 300 new rows: {figure} ")


def test_the_effect_of_ranks_is_a_probability_minus_a_half() -> None:
    before = {"error": np.arange(100.0)}
    now = {"error": np.arange(100.0) + 1000}
    (shift,) = drift(before, now).shifts
    assert shift.effect == pytest.approx(0.5)
    assert shift.p == pytest.approx(0.001)
    assert drift(now, before).shifts[0].effect == pytest.approx(-0.5)


def test_a_significant_but_tiny_effect_is_no_alarm() -> None:
    rng = np.random.default_rng(3)
    before, now = {"error": rng.normal(size=40_000)}, {"error": rng.normal(size=40_000) + 0.08}
    found = drift(before, now, rounds=199, alpha=0.05)
    assert found.shifts[0].p == pytest.approx(0.005)
    assert not found.found
    assert str(found).startswith("no drift in 40,000 new rows")


def test_too_few_rows_are_not_tested() -> None:
    rng = np.random.default_rng(4)
    found = drift(sample(rng, 400), sample(rng, FEW - 1, shift=9))
    assert found == Drift((), 400, FEW - 1)
    assert not found.found
    assert "are too few" in str(found)
