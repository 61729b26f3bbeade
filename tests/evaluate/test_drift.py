"""Drift: shifts are found, and false alarms are rare."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from aepipe.evaluate.drift import ALPHA, EFFECT, FEW, Drift, Shift, drift

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


def test_effects_means_and_chances_are_those_of_shuffles_one_by_one() -> None:
    """Against plain NumPy: mid-ranks of values with ties, and the mean difference of rates of bits."""
    rng = np.random.default_rng(5)
    before = {"bits": rng.random((40, 6)) < 0.5, "error": rng.integers(0, 4, 40).astype(np.float32)}
    now = {"bits": rng.random((31, 6)) < 0.7, "error": rng.integers(1, 5, 31).astype(np.float32)}
    found = drift(before, now, rounds=50, seed=3)
    assert (found.reference, found.rows, found.alpha, found.least) == (40, 31, ALPHA, EFFECT)
    assert [one.figure for one in found.shifts] == ["bits", "error"]
    shuffles, drawn = np.random.default_rng(3), [np.arange(71) >= 40]
    for _ in range(50):
        drawn.append(np.isin(np.arange(71), shuffles.permutation(71)[:31]))
    for shift in found.shifts:
        values = np.concatenate([before[shift.figure], now[shift.figure]]).astype(float)
        effects = []
        for new in drawn:
            if values.ndim == 2:
                effects.append(np.abs(values[new].mean(0) - values[~new].mean(0)).mean())
            else:
                pairs = values[new][:, None] - values[~new]
                effects.append(((pairs > 0) + 0.5 * (pairs == 0)).mean() - 0.5)
        assert shift.effect == pytest.approx(effects[0])
        assert shift.p == pytest.approx(np.mean(np.abs(effects) >= abs(effects[0]) - 1e-12))
        assert (shift.before, shift.now) == pytest.approx((values[:40].mean(), values[40:].mean()))
    assert found != drift(before, now, rounds=50, seed=4)


def test_the_usual_shuffles_are_a_thousand_less_the_true_one() -> None:
    rng = np.random.default_rng(6)
    before, now = {"error": rng.normal(size=60)}, {"error": rng.normal(size=60) + 0.3}
    assert drift(before, now) == drift(before, now, rounds=999, seed=0, alpha=0.01, least=0.05)
    assert drift(before, now) != drift(before, now, rounds=998)
    assert drift(before, now) != drift(before, now, seed=1)


@pytest.mark.parametrize(
    ("effect", "p", "figures", "alarm"),
    [
        (0.05, 0.005, 2, True),
        (-0.05, 0.005, 2, True),
        (0.049, 0.001, 2, False),
        (0.3, 0.0051, 2, False),
        (0.3, 0.01, 1, True),
        (0.3, 0.011, 1, False),
    ],
)
def test_an_alarm_is_large_and_rarer_than_its_share_of_alpha(
    effect: float, p: float, figures: int, alarm: bool
) -> None:
    shifts = [Shift("error", effect, p, 1.0, 2.0), Shift("mean", 0.4, 0.5, 3.0, 4.0)][:figures]
    found = Drift(tuple(shifts), 100, 50)
    assert found.found is alarm
    assert found.alarms == ((shifts[0],) if alarm else ())


def test_the_worst_is_told() -> None:
    """The largest effect either way, of those that are alarms; where none is, of all."""
    shifts = [
        Shift("error", 0.1, 0.001, 1.0, 2.0),
        Shift("mean", -0.2, 0.001, 0.12345, 4.0),
        Shift("spread", 0.4, 0.5, 3.0, 4.0),
    ]
    assert str(Drift(tuple(shifts), 1234, 5678)) == (
        "drift in 5,678 new rows: mean 0.123 then, 4 now (effect -0.20, p 0.001)"
    )
    calm = Drift(tuple(shifts), 100, 50, alpha=0.0)
    assert str(calm) == "no drift in 50 new rows: spread 3 then, 4 now (effect +0.40, p 0.500)"
    few = "drift was not tested: 2,000 new rows and 1,000 to compare with are too few"
    assert str(Drift((), 1000, 2000)) == few


@pytest.mark.parametrize(("reference", "rows", "tested"), [(30, 30, True), (29, 30, False), (30, 29, False)])
def test_thirty_rows_on_either_side_are_enough(reference: int, rows: int, tested: bool) -> None:
    rng = np.random.default_rng(7)
    found = drift({"error": rng.random(reference)}, {"error": rng.random(rows)}, alpha=0.2, least=0.1)
    assert bool(found.shifts) is tested
    assert (found.reference, found.rows, found.alpha, found.least) == (reference, rows, 0.2, 0.1)
