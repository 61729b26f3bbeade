"""Drift: whether new rows are like those that an encoder was trained for.

Each figure of a row (its bits, the distance of its code from the nearest known one, its reconstruction error, its mean
and its spread) is compared between new rows and reference rows, which came with the training rows but were held out.
Without drift both are exchangeable, so shuffling them tells how large a difference arises by chance: a permutation
test, exact for any distribution and any dependence between bits. The probability of a false alarm over all figures is
at most ``alpha`` (Bonferroni). A significant but tiny difference is no alarm.

:mod:`aepipe.pipeline.drift` chooses the rows that are compared.

Source: Good, "Permutation, Parametric and Bootstrap Tests of Hypotheses", 2005.

Legend: R reference rows, T new rows, K bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

ALPHA = 0.01
EFFECT = 0.05
ROUNDS = 999
FEW = 30
"""With fewer rows than this on either side, nothing is tested."""


@dataclass(frozen=True, slots=True)
class Shift:
    """The difference of one figure between reference and new rows.

    Attributes:
        figure: its name.
        effect: for ``bits``, the mean absolute difference of their rates, 0..1; else the probability that a new row has
            a larger value than a reference row, minus a half, -0.5..0.5.
        p: the probability of a difference that large without drift.
        before: mean of the reference rows; for bits, their mean rate.
        now: the same of the new rows.
    """

    figure: str
    effect: float
    p: float
    before: float
    now: float


@dataclass(frozen=True, slots=True)
class Drift:
    """The differences of all figures.

    Attributes:
        shifts: one for each figure; empty where there were too few rows.
        reference: R.
        rows: T.
        alpha: the highest allowed probability of a false alarm.
        least: the smallest effect that is an alarm.
    """

    shifts: tuple[Shift, ...]
    reference: int
    rows: int
    alpha: float = ALPHA
    least: float = EFFECT

    @property
    def alarms(self) -> tuple[Shift, ...]:
        """The figures that have drifted."""
        allowed = self.alpha / max(1, len(self.shifts))
        return tuple(one for one in self.shifts if one.p <= allowed and abs(one.effect) >= self.least)

    @property
    def found(self) -> bool:
        """Whether there is drift."""
        return bool(self.alarms)

    def __str__(self) -> str:
        if not self.shifts:
            return f"drift was not tested: {self.rows:,} new rows and {self.reference:,} to compare with are too few"
        worst = max(self.alarms or self.shifts, key=lambda one: abs(one.effect))
        detail = (
            f"{worst.figure} {worst.before:.3g} then, {worst.now:.3g} now (effect {worst.effect:+.2f}, p {worst.p:.3f})"
        )
        return f"{'drift' if self.found else 'no drift'} in {self.rows:,} new rows: {detail}"


def drift(
    before: Mapping[str, NDArray[np.generic]],
    now: Mapping[str, NDArray[np.generic]],
    *,
    alpha: float = ALPHA,
    least: float = EFFECT,
    rounds: int = ROUNDS,
    seed: int = 0,
) -> Drift:
    """Test each figure for a difference between reference and new rows.

    Args:
        before: the values of each figure for R rows: ``[R, K]`` of 0 and 1 for ``bits``, else ``[R]``.
        now: the same for T rows.
        alpha: the highest allowed probability of a false alarm.
        least: the smallest effect that is an alarm.
        rounds: number of shuffles.
        seed: of the shuffles.
    """
    n_before, n_now = (len(next(iter(side.values()))) for side in (before, now))
    if min(n_before, n_now) < FEW:
        return Drift((), n_before, n_now, alpha, least)
    both = {name: np.concatenate([before[name], now[name]]).astype(np.float64) for name in before}
    columns = {name: values if values.ndim == 2 else _ranks(values)[:, None] for name, values in both.items()}
    rng = np.random.default_rng(seed)
    shuffled = np.zeros((rounds + 1, n_before + n_now))
    shuffled[0, n_before:] = 1  # the first line is the true assignment
    for draw in shuffled[1:]:
        draw[rng.permutation(len(draw))[:n_now]] = 1
    shifts = []
    for name, values in columns.items():
        differences = _differences(shuffled, values, n_now)
        # The margin forgives rounding: shuffles that equal the true assignment must count.
        p = float((np.abs(differences) >= abs(differences[0]) - 1e-12).mean())
        means = (float(both[name][:n_before].mean()), float(both[name][n_before:].mean()))
        shifts.append(Shift(name, float(differences[0]), p, *means))
    return Drift(tuple(shifts), n_before, n_now, alpha, least)


def _differences(shuffled: Floats, values: Floats, n_now: int) -> Floats:
    """Return the effect of each shuffle, float64[rounds + 1]."""
    sums = shuffled @ values
    inside, outside = sums / n_now, (values.sum(axis=0) - sums) / (len(values) - n_now)
    if values.shape[1] == 1:
        # A difference of mean ranks is the probability of a larger value, minus a half.
        effects: Floats = (inside - outside)[:, 0]
        return effects
    effects = np.abs(inside - outside).mean(axis=1)
    return effects


def _ranks(values: Floats) -> Floats:
    # Mid-ranks, divided by their number: a difference of means is then a probability minus a half.
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    middles: Floats = (ends - (counts - 1) / 2)[inverse]
    return middles / len(values)
