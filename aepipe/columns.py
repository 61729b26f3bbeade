"""Columns of a table as cells that a network reads: each value is a share of some levels.

A category is one of its levels. A number of few different values is one of those; any other number lies between two of
32 knots, at the quantiles of its column, and is a share of both, so that the expected level is the number itself. What
is missing is NaN in all of its cells. So one likelihood, the categorical, serves every column, and a prediction is a
distribution over levels, with a mean and a spread.

Legend: N rows, D cells of a row, K levels of a column.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from aepipe.errors import SourceError

if TYPE_CHECKING:
    import pandas as pd

KNOTS = 32
MOST_CATEGORIES = 64
Kind = Literal["number", "category"]
Cells = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        name: of the column.
        kind: of its values.
        levels: K of them: numbers, ascending, or categories.
        missing: how many values are missing.
    """

    name: str
    kind: Kind
    levels: tuple[Any, ...]
    missing: int

    def encode(self, values: pd.Series) -> Cells:
        """Return the values as shares of the levels, float32[N, K]; NaN where they are missing."""
        cells = np.full((len(values), len(self.levels)), np.nan, np.float32)
        present = np.flatnonzero(values.notna().to_numpy())
        cells[present] = 0
        known = values.iloc[present]
        if self.kind == "category":
            places = {level: place for place, level in enumerate(self.levels)}
            cells[present, [places[value] for value in known]] = 1
            return cells
        knots = np.array(self.levels, np.float64)
        numbers = known.to_numpy(np.float64).clip(knots[0], knots[-1])
        upper = np.searchsorted(knots, numbers).clip(min(1, len(knots) - 1), len(knots) - 1)
        lower = (upper - 1).clip(0)
        width = np.maximum(knots[upper] - knots[lower], 1e-300)
        share = np.where(upper == lower, 1.0, (numbers - knots[lower]) / width).astype(np.float32)
        cells[present, lower] = 1 - share
        cells[present, upper] = share
        return cells

    def decode(self, shares: Cells) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """Return what is expected, and how uncertain that is.

        Args:
            shares: float32[N, K], a distribution over the levels in each row.

        Returns:
            Of a number, the mean and the standard deviation, in its own units; of a category, the likeliest one and
            the probability of all others.
        """
        if len(self.levels) == 1:
            return np.array([self.levels[0]] * len(shares)), np.zeros(len(shares))
        if self.kind == "category":
            best = shares.argmax(1)
            levels = np.array(self.levels, object)
            return levels[best], 1 - shares[np.arange(len(shares)), best].astype(np.float64)
        knots = np.array(self.levels, np.float64)
        mean = shares.astype(np.float64) @ knots
        variance = (shares.astype(np.float64) * (knots - mean[:, None]) ** 2).sum(1)
        return mean, np.sqrt(variance)


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of a table that a network can read.

    Attributes:
        columns: in the order of the table.
        left_out: the others, with the reason why.
    """

    columns: tuple[Column, ...]
    left_out: dict[str, str]

    @classmethod
    def of(cls, frame: pd.DataFrame) -> Layout:
        """Look at a table.

        Raises:
            SourceError: it has no column that can be read.
        """
        columns, left_out = [], {}
        for name in frame.columns:
            found = _column(str(name), frame[name])
            if isinstance(found, Column):
                columns.append(found)
            else:
                left_out[str(name)] = found
        if not columns:
            reasons = "; ".join(f"{name}: {why}" for name, why in left_out.items())
            raise SourceError(f"no column can be learned from: {reasons or 'there is none'}")
        return cls(tuple(columns), left_out)

    @property
    def spans(self) -> tuple[int, ...]:
        """How many cells each column takes."""
        return tuple(len(column.levels) for column in self.columns)

    def encode(self, frame: pd.DataFrame) -> Cells:
        """Return the rows of a table as cells, float32[N, D]."""
        return np.concatenate([column.encode(frame[column.name]) for column in self.columns], axis=1)

    def parts(self, cells: Cells) -> Iterator[tuple[Column, Cells]]:
        """Return each column with its cells."""
        ends = np.cumsum(self.spans)
        for column, end in zip(self.columns, ends, strict=True):
            yield column, cells[:, end - len(column.levels) : end]


def _column(name: str, values: pd.Series) -> Column | str:
    """Return a column, or why it cannot be read."""
    import pandas as pd

    present = values.dropna()
    missing = len(values) - len(present)
    if present.empty:
        return "it has no value at all"
    if pd.api.types.is_bool_dtype(present) or not pd.api.types.is_numeric_dtype(present):
        levels = tuple(sorted(present.unique(), key=str))
        if len(levels) > MOST_CATEGORIES:
            return f"it has {len(levels):,} different texts, and {MOST_CATEGORIES} categories are the most"
        return Column(name, "category", levels, missing)
    numbers = present.to_numpy(np.float64)
    if not np.isfinite(numbers).all():
        return "it has infinite values"
    return Column(name, "number", _levels(numbers), missing)


def _levels(numbers: NDArray[np.float64]) -> tuple[float, ...]:
    """Return all values where they are few, else knots at the quantiles."""
    distinct = np.unique(numbers)
    if len(distinct) > KNOTS:
        distinct = np.unique(np.quantile(numbers, np.linspace(0, 1, KNOTS)))
    return tuple(distinct.tolist())


def describe(names: Sequence[str], limit: int = 6) -> str:
    """Return names as a list for a message, cut where there are many."""
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
