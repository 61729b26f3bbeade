"""Ranks in place of numbers, for columns whose few largest values are far from all others.

Of such a column (incomes, counts, sizes), the mean and the deviation are those of a few rows: most rows would seem
equal, and a few would be near to nothing. By rank, the distance of two rows is the share of rows between them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

HEAVY = 12.0
"""Kurtosis from which numbers are ranked: that of a normal column is 3, of an exponential one 9."""
KNOTS = 64
KEPT = 10_000
"""Values of a column that are kept, spread over all rows."""
SPREAD = math.sqrt(12)
"""Ranks times this have a deviation of one, where no two values are equal."""


@dataclass(slots=True)
class Sampled:
    """Values of a column, at equal distances among all that were added.

    Attributes:
        values: at least half of :data:`KEPT`, if so many were added.
    """

    values: list[object] = field(default_factory=list)
    _step: int = 1
    _seen: int = 0

    def add(self, value: object) -> None:
        """Add one value that is not missing."""
        if self._seen % self._step == 0:
            self.values.append(value)
            if len(self.values) > KEPT:
                self.values = self.values[::2]
                self._step *= 2
        self._seen += 1


def knots_of(numbers: Sequence[float]) -> list[list[float]]:
    """Return numbers and their ranks, ascending, between which others are interpolated.

    There are none where tails are light. Ranks are between -1 and 1 times half of :data:`SPREAD`. Equal numbers have
    the mean of their ranks, so that two numbers are as far from each other as rows lie between them.
    """
    values, counts = np.unique(np.asarray(numbers, np.float64), return_counts=True)
    if len(values) < 2 or _kurtosis(values, counts) < HEAVY:
        return []
    rank = (np.cumsum(counts) - counts / 2) / counts.sum()
    places = np.searchsorted(rank, np.linspace(rank[0], rank[-1], KNOTS)).clip(max=len(rank) - 1)
    chosen = np.unique([0, *places, len(rank) - 1])
    return [[float(values[at]), float((rank[at] - 0.5) * SPREAD)] for at in chosen]


def _kurtosis(values: np.ndarray, counts: np.ndarray) -> float:
    share = counts / counts.sum()
    centred = values - share @ values
    variance = float(share @ centred**2)
    # A deviation this small is a rounding error of a constant column.
    if variance <= 1e-18 * (1 + abs(float(share @ values))) ** 2:
        return 0.0
    return float(share @ (centred / math.sqrt(variance)) ** 4)
