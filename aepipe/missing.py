"""Generators of missing cells: at random, by what else is known of a row, or by the very value that is missing.

Three mechanisms, after Rubin, "Inference and missing data", Biometrika 1976. Each kind is a corruption of
:mod:`aepipe.corrupt` that leaves NaN in the cells it takes; ``rate`` of them are missing on average, whatever the rows.

Where chances differ between rows, they follow the rank of a score within its column (or of the row within the batch): a
cell of rank r, uniform in 0..1, is missing with probability r^((1 - rate) / rate), whose mean is ``rate``.

Legend: N rows, D cells of a row.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from aepipe.recipe import Options

Array = TypeVar("Array", bound=np.floating)
Rate = Annotated[float, Field(gt=0, lt=1)]
Chances = NDArray[np.float32]


class Missing(Options, ABC):
    """A mechanism; a kind only says how likely each cell is to be missing.

    Attributes:
        rate: share of the cells that are missing.
    """

    rate: Rate = 0.2

    @property
    def makes_holes(self) -> bool:
        """True: cells are NaN afterwards."""
        return True

    @abstractmethod
    def chances(self, x_ND: NDArray[np.floating], rng: np.random.Generator) -> Chances:
        """Return the probability that a cell is missing, float32[N, D] or what broadcasts to it."""

    def draw(self, shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
        """Return a draw from 0..1 for each cell, which is missing where it is below its chance."""
        return rng.random(shape, np.float32)

    def __call__(self, x: NDArray[Array], rng: np.random.Generator) -> tuple[NDArray[Array], NDArray[np.bool_]]:
        """Return ``(noisy, kept)``; cells that are not kept are NaN."""
        x_ND = x.reshape(len(x), -1)
        kept = (self.draw(x_ND.shape, rng) >= self.chances(x_ND, rng)).reshape(x.shape)
        return np.where(kept, x, x.dtype.type(np.nan)), kept


class AtRandom(Missing):
    """MCAR: every cell is missing with the same probability.

    Attributes:
        rate_max: where given, each row has a rate of its own, drawn uniformly from ``rate`` to this.
        spans: where given, how many consecutive cells are one value and missing together, from the first cell to the
            last: a column of a table that takes several cells.
    """

    digest_name: ClassVar[str] = "missing.AtRandom"
    rate_max: Rate | None = None
    spans: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(strict=False)] = ()

    def draw(self, shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
        """Return one draw from 0..1 for the cells of each span."""
        if not self.spans:
            return super().draw(shape, rng)
        return np.repeat(rng.random((shape[0], len(self.spans)), np.float32), self.spans, axis=1)

    def chances(self, x_ND: NDArray[np.floating], rng: np.random.Generator) -> Chances:
        """Return the rate of each row, float32[N, 1]."""
        high = self.rate if self.rate_max is None else self.rate_max
        return (self.rate + (high - self.rate) * rng.random((len(x_ND), 1), np.float32)).astype(np.float32)


class ByOthers(Missing):
    """MAR: a share of the columns is always there; the others are missing by a weighted sum of those.

    Attributes:
        rate: share of the cells that are missing, in the columns that can be.
        always: share of the columns that are always there, at least one.
        seed: of the choice of columns and of the weights: the mechanism is the same in every batch.
    """

    digest_name: ClassVar[str] = "missing.ByOthers"
    always: Rate = 0.3
    seed: Annotated[int, Field(ge=0)] = 0

    def chances(self, x_ND: NDArray[np.floating], rng: np.random.Generator) -> Chances:
        """Return the chance of each row in the columns that can be missing, and zero in the others."""
        there, weights = self.mechanism(x_ND.shape[1])
        score = np.nan_to_num(x_ND[:, there]) @ weights
        chance = by_rank(score[:, None], self.rate, rng)
        return np.where(there, np.float32(0), chance)

    def mechanism(self, width: int) -> tuple[NDArray[np.bool_], Chances]:
        """Return which of the columns are always there, bool[D], and the weights of those, float32."""
        rng = np.random.default_rng(self.seed)
        count = min(max(1, round(self.always * width)), max(1, width - 1))
        there = np.zeros(width, np.bool_)
        there[rng.permutation(width)[:count]] = True
        return there, rng.standard_normal(count).astype(np.float32)


class ByItself(Missing):
    """MNAR: the larger a value is within its column, the likelier it is missing."""

    digest_name: ClassVar[str] = "missing.ByItself"

    def chances(self, x_ND: NDArray[np.floating], rng: np.random.Generator) -> Chances:
        """Return the chance of each cell."""
        return by_rank(x_ND, self.rate, rng)


def by_rank(score: NDArray[np.floating], rate: float, rng: np.random.Generator) -> Chances:
    """Return the chances that follow the ranks within each column of scores; equal scores take turns at random."""
    # Two sorts rank; the first goes over rows in random order, so that a stable sort breaks ties at random.
    order = rng.permutation(len(score))
    rank = np.empty(score.shape, np.float32)
    rank[order] = score[order].argsort(axis=0, kind="stable").argsort(axis=0)
    return ((rank + np.float32(0.5)) / np.float32(len(score))) ** np.float32((1 - rate) / rate)
