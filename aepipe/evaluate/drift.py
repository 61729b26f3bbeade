"""Drift: whether rows of now are like those that an encoder was made for.

Each figure of a row (its bits, how far its code is from the nearest that is known, how badly it is rebuilt, its level
and its spread) is compared between rows that the encoder was not trained on but that came with those it was, and rows
of now. Under no drift they are exchangeable, so shuffling who is who says how large a difference chance makes: a
permutation test, exact whatever the distribution and however bits depend on each other. Over all figures the chance of
a false alarm is at most ``alpha`` (Bonferroni). What is significant but tiny is no alarm.

Source: Good, "Permutation, Parametric and Bootstrap Tests of Hypotheses", 2005. Legend: R rows of reference, T rows of
now, K bits.
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
"""Rows on either side below which nothing is said."""


@dataclass(frozen=True, slots=True)
class Shift:
    """One figure, compared.

    Attributes:
        figure: what was compared.
        effect: of ``bits`` the mean difference of their rates, 0..1; else how far the chance that a row of now is above
            one of the reference is from a half, -0.5..0.5.
        p: the chance of a difference that large without any drift.
        before: mean of the reference; of bits their mean rate.
        now: mean of the rows of now.
    """

    figure: str
    effect: float
    p: float
    before: float
    now: float


@dataclass(frozen=True, slots=True)
class Drift:
    """All figures, compared.

    Attributes:
        shifts: one for each figure; none where there were too few rows.
        reference: R.
        rows: T.
        alpha: the chance of a false alarm, at most.
        least: effects below are no alarm.
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
            return f"drift was not looked for: {self.rows:,} new rows and {self.reference:,} to compare with are few"
        worst = max(self.alarms or self.shifts, key=lambda one: abs(one.effect))
        said = (
            f"{worst.figure} {worst.before:.3g} then, {worst.now:.3g} now (effect {worst.effect:+.2f}, p {worst.p:.3f})"
        )
        return f"{'drift' if self.found else 'no drift'} in {self.rows:,} new rows: {said}"


def drift(
    before: Mapping[str, NDArray[np.generic]],
    now: Mapping[str, NDArray[np.generic]],
    *,
    alpha: float = ALPHA,
    least: float = EFFECT,
    rounds: int = ROUNDS,
    seed: int = 0,
) -> Drift:
    """Compare figures of rows.

    Args:
        before: figure to values of R rows: ``[R, K]`` of ``bits``, 0 or 1, else ``[R]``.
        now: the same of T rows.
        alpha: the chance of a false alarm, at most.
        least: effects below are no alarm.
        rounds: shuffles.
        seed: of them.
    """
    n_before, n_now = (len(next(iter(side.values()))) for side in (before, now))
    if min(n_before, n_now) < FEW:
        return Drift((), n_before, n_now, alpha, least)
    both = {name: np.concatenate([before[name], now[name]]).astype(np.float64) for name in before}
    columns = {name: values if values.ndim == 2 else _ranks(values)[:, None] for name, values in both.items()}
    rng = np.random.default_rng(seed)
    shuffled = np.zeros((rounds + 1, n_before + n_now))
    shuffled[0, n_before:] = 1
    for draw in shuffled[1:]:
        draw[rng.permutation(len(draw))[:n_now]] = 1
    shifts = []
    for name, values in columns.items():
        differences = _differences(shuffled, values, n_now)
        p = float((np.abs(differences) >= abs(differences[0]) - 1e-12).mean())
        means = (float(both[name][:n_before].mean()), float(both[name][n_before:].mean()))
        shifts.append(Shift(name, float(differences[0]), p, *means))
    return Drift(tuple(shifts), n_before, n_now, alpha, least)


def _differences(shuffled: Floats, values: Floats, n_now: int) -> Floats:
    """Return the effect that each shuffle shows, float64[rounds + 1]."""
    sums = shuffled @ values
    inside, outside = sums / n_now, (values.sum(axis=0) - sums) / (len(values) - n_now)
    if values.shape[1] == 1:
        effects: Floats = (inside - outside)[:, 0]  # of ranks from 0 to 1: the chance of being above, less a half
        return effects
    effects = np.abs(inside - outside).mean(axis=1)
    return effects


def _ranks(values: Floats) -> Floats:
    """Return mid-ranks divided by their number, so that a difference of means is a chance less a half."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    middles: Floats = (ends - (counts - 1) / 2)[inverse]
    return middles / len(values)
