"""Corruptions: changes of the rows that an encoder sees in training.

Each kind is a frozen options model with two forms that are equal in distribution. Calling it corrupts an array,
``Mask(rate=0.25)(x, rng) -> (noisy, kept)``; ``corrupt_tensor(x, generator)`` corrupts a tensor on its device. ``x`` is
float[N, ...] with values around 0..1 and is left alone; ``noisy`` has its shape and dtype; ``kept`` is bool of the same
shape, true where the cell still says something about the original.

Missing cells follow three mechanisms after Rubin, "Inference and missing data", Biometrika 1976; ``rate`` of them are
missing on average, whatever the rows. Where chances differ between rows, they follow the rank of a score within its
column (or of the row within the batch): a cell of rank r, uniform in 0..1, is missing with probability
r^((1 - rate) / rate), whose mean is ``rate``.

Sources: masking, Gaussian and salt-and-pepper noise as in Vincent et al., "Stacked Denoising Autoencoders", JMLR 2010;
blocks as in Pathak et al., "Context Encoders", CVPR 2016.

Legend: N rows, D cells of a row; B rows of a batch, ``...`` their shape.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, ClassVar, Protocol, TypeVar, cast, runtime_checkable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from aepipe.recipe import Choice, Options, resolve

Array = TypeVar("Array", bound=np.floating)
Rate = Annotated[float, Field(gt=0, lt=1)]
Chances = NDArray[np.float32]


@runtime_checkable
class Corruption(Protocol):
    """What every kind can do."""

    @property
    def makes_holes(self) -> bool:
        """Whether cells are left missing, NaN, for networks that read holes."""

    def __call__(self, x: NDArray[Array], rng: np.random.Generator) -> tuple[NDArray[Array], NDArray[np.bool_]]:
        """Return ``(noisy, kept)``; ``x`` is left alone."""

    def corrupt_tensor(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return ``(noisy, kept)`` on the device of ``x`` and of the generator; ``x`` is left alone."""


class Filling(Options):
    """A corruption that leaves a value in every cell."""

    @property
    def makes_holes(self) -> bool:
        """False."""
        return False


class Clean(Filling):
    """No corruption."""

    digest_name: ClassVar[str] = "corrupt.Clean"

    def __call__(self, x: NDArray[Array], rng: np.random.Generator) -> tuple[NDArray[Array], NDArray[np.bool_]]:
        """Return a copy, all of it kept."""
        return x.copy(), np.ones(x.shape, np.bool_)

    def corrupt_tensor(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return ``(noisy, kept)``."""
        return x, torch.ones_like(x, dtype=torch.bool)


class Mask(Filling):
    """Cells set to zero, each with probability ``rate``.

    Attributes:
        rate: share of the cells that are lost.
        rescale: divide the others by ``1 - rate``, so that their sum is kept on average, as dropout does.
    """

    digest_name: ClassVar[str] = "corrupt.Mask"
    rate: Rate = 0.25
    rescale: bool = False

    def __call__(self, x: NDArray[Array], rng: np.random.Generator) -> tuple[NDArray[Array], NDArray[np.bool_]]:
        """Return ``(noisy, kept)``."""
        kept = rng.random(x.shape, np.float32) >= self.rate
        return x * (kept * x.dtype.type(self.gain)), kept

    def corrupt_tensor(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return ``(noisy, kept)``."""
        kept = _uniform(x, generator) >= self.rate
        return x * (kept * self.gain if self.rescale else kept), kept

    @property
    def gain(self) -> float:
        """What the cells that are kept are multiplied with."""
        return 1 / (1 - self.rate) if self.rescale else 1.0


class Gaussian(Filling):
    """Gaussian noise added to every cell; no cell is lost, so all are kept.

    Attributes:
        sigma: standard deviation of the noise.
    """

    digest_name: ClassVar[str] = "corrupt.Gaussian"
    sigma: Annotated[float, Field(gt=0)] = 0.1

    def __call__(self, x: NDArray[Array], rng: np.random.Generator) -> tuple[NDArray[Array], NDArray[np.bool_]]:
        """Return ``(noisy, kept)``."""
        noise = rng.standard_normal(x.shape, np.float32) * np.float32(self.sigma)
        return (x + noise).astype(x.dtype), np.ones(x.shape, np.bool_)

    def corrupt_tensor(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return ``(noisy, kept)``."""
        noise = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
        return x + self.sigma * noise, torch.ones_like(x, dtype=torch.bool)


class SaltPepper(Filling):
    """Cells set to a low or a high value with equal chance.

    Attributes:
        rate: share of the cells that are set.
        low: one value.
        high: the other value.
    """

    digest_name: ClassVar[str] = "corrupt.SaltPepper"
    rate: Rate = 0.25
    low: float = 0.0
    high: float = 1.0

    def __call__(self, x: NDArray[Array], rng: np.random.Generator) -> tuple[NDArray[Array], NDArray[np.bool_]]:
        """Return ``(noisy, kept)``."""
        draw = rng.random(x.shape, np.float32)
        noisy = np.where(draw < self.rate / 2, x.dtype.type(self.low), x)
        kept = draw >= self.rate
        return np.where(~kept & (draw >= self.rate / 2), x.dtype.type(self.high), noisy), kept

    def corrupt_tensor(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return ``(noisy, kept)``."""
        draw = _uniform(x, generator)
        kept = draw >= self.rate
        noise = torch.where(draw < self.rate / 2, self.low, self.high).to(x.dtype)
        return torch.where(kept, x, noise), kept


class Block(Filling):
    """One contiguous block of each row set to zero.

    An image ``[N, H, W, C]`` loses a rectangle of its own proportions, a vector ``[N, D]`` a run; all positions are
    equally likely.

    Attributes:
        share: of the row that the block covers, about.
    """

    digest_name: ClassVar[str] = "corrupt.Block"
    share: Rate = 0.25

    def __call__(self, x: NDArray[Array], rng: np.random.Generator) -> tuple[NDArray[Array], NDArray[np.bool_]]:
        """Return ``(noisy, kept)``."""
        axes = block_axes(x.shape)
        hidden = np.ones(x.shape[:1] + (1,) * (x.ndim - 1), np.bool_)
        for axis, length in zip(axes, block_lengths(x.shape, self.share), strict=True):
            start = rng.integers(0, x.shape[axis] - length + 1, len(x))
            position = np.arange(x.shape[axis])
            inside = (position >= start[:, None]) & (position < start[:, None] + length)
            shape = [len(x)] + [1] * (x.ndim - 1)
            shape[axis] = x.shape[axis]
            hidden = hidden & inside.reshape(shape)
        kept = np.broadcast_to(~hidden, x.shape).copy()
        return x * kept, kept

    def corrupt_tensor(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return ``(noisy, kept)``."""
        shape = tuple(x.shape)
        hidden = torch.ones(shape[:1] + (1,) * (x.ndim - 1), dtype=torch.bool, device=x.device)
        for axis, length in zip(block_axes(shape), block_lengths(shape, self.share), strict=True):
            last = shape[axis] - length + 1
            start = torch.randint(0, last, (shape[0], 1), generator=generator, device=x.device)
            position = torch.arange(shape[axis], device=x.device)
            inside = (position >= start) & (position < start + length)
            hidden = hidden & inside.view([shape[0], *(shape[a] if a == axis else 1 for a in range(1, x.ndim))])
        kept = (~hidden).expand(shape)
        return x * kept, kept


class Shift(Filling):
    """Each image moved in both directions, zeros coming in; vectors stay unchanged.

    A moved cell keeps its meaning, so all are kept.

    Attributes:
        pixels: the longest way of a move, in each direction.
    """

    digest_name: ClassVar[str] = "corrupt.Shift"
    pixels: Annotated[int, Field(ge=1)] = 1

    def __call__(self, x: NDArray[Array], rng: np.random.Generator) -> tuple[NDArray[Array], NDArray[np.bool_]]:
        """Return ``(noisy, kept)``."""
        kept = np.ones(x.shape, np.bool_)
        if x.ndim != 4:
            return x.copy(), kept
        n, height, width, _ = x.shape
        edge = (self.pixels, self.pixels)
        padded = np.pad(x, ((0, 0), edge, edge, (0, 0)))
        moves = rng.integers(0, 2 * self.pixels + 1, (2, n, 1))
        rows, columns = moves[0] + np.arange(height), moves[1] + np.arange(width)
        return padded[np.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]], kept

    def corrupt_tensor(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return ``(noisy, kept)``."""
        kept = torch.ones_like(x, dtype=torch.bool)
        if x.ndim != 4:
            return x, kept
        n, height, width, _ = x.shape
        padded = F.pad(x, (0, 0, *(4 * (self.pixels,))))
        moves = torch.randint(0, 2 * self.pixels + 1, (2, n, 1), generator=generator, device=x.device)
        rows = moves[0] + torch.arange(height, device=x.device)
        columns = moves[1] + torch.arange(width, device=x.device)
        each = torch.arange(n, device=x.device)[:, None, None]
        return padded[each, rows[:, :, None], columns[:, None, :]], kept


class Chain(Options):
    """Several corruptions, one after the other; a cell is kept that every one of them keeps."""

    digest_name: ClassVar[str] = "corrupt.Chain"
    of: Annotated[tuple[Choice, ...], Field(min_length=1, strict=False)]

    def __call__(self, x: NDArray[Array], rng: np.random.Generator) -> tuple[NDArray[Array], NDArray[np.bool_]]:
        """Return ``(noisy, kept)``."""
        kept = np.ones(x.shape, np.bool_)
        for link in self.links:
            x, still = link(x, rng)
            kept &= still
        return x, kept

    def corrupt_tensor(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return ``(noisy, kept)``."""
        kept = torch.ones_like(x, dtype=torch.bool)
        for link in self.links:
            x, still = link.corrupt_tensor(x, generator)
            kept = kept & still
        return x, kept

    @property
    def makes_holes(self) -> bool:
        """Whether one of them does."""
        return any(link.makes_holes for link in self.links)

    @cached_property
    def links(self) -> tuple[Corruption, ...]:
        """The corruptions, resolved."""
        return tuple(cast(Corruption, resolve(KINDS, choice, f"of.{i}")) for i, choice in enumerate(self.of))

    def model_post_init(self, context: object, /) -> None:
        """Resolve the links at once, so that a mistake in one is found with all the others."""
        self.links  # noqa: B018


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


class MCAR(Missing):
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

    def corrupt_tensor(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return ``(noisy, kept)``."""
        high = self.rate if self.rate_max is None else self.rate_max
        own = torch.rand((len(x), 1), generator=generator, device=x.device)
        chances = self.rate + (high - self.rate) * own
        if not self.spans:
            return _missing(x, chances, generator)
        draw = torch.rand((len(x), len(self.spans)), generator=generator, device=x.device)
        kept = (draw >= chances).repeat_interleave(torch.tensor(self.spans, device=x.device), 1).view(x.shape)
        return torch.where(kept, x, torch.nan), kept


class MAR(Missing):
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

    def corrupt_tensor(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return ``(noisy, kept)``."""
        flat = x.flatten(1)
        found = self.mechanism(flat.shape[1])
        there, weights = (torch.from_numpy(part).to(x.device) for part in found)
        score = flat[:, there].nan_to_num() @ weights
        chances = _by_rank(score[:, None], self.rate, generator)
        return _missing(x, torch.where(there, 0.0, chances), generator)


class MNAR(Missing):
    """MNAR: the larger a value is within its column, the likelier it is missing."""

    digest_name: ClassVar[str] = "missing.ByItself"

    def chances(self, x_ND: NDArray[np.floating], rng: np.random.Generator) -> Chances:
        """Return the chance of each cell."""
        return by_rank(x_ND, self.rate, rng)

    def corrupt_tensor(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return ``(noisy, kept)``."""
        return _missing(x, _by_rank(x.flatten(1), self.rate, generator), generator)


KINDS: Mapping[str, type[Options]] = {
    "none": Clean,
    "mask": Mask,
    "gaussian": Gaussian,
    "salt_pepper": SaltPepper,
    "block": Block,
    "shift": Shift,
    "chain": Chain,
    "mcar": MCAR,
    "mar": MAR,
    "mnar": MNAR,
}


def block_axes(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the axes that a block extends over: height and width of images, else all features."""
    return (1, 2) if len(shape) == 4 else (1,)


def block_lengths(shape: tuple[int, ...], share: float) -> list[int]:
    """Return the block's length along each of :func:`block_axes`, so that it covers about ``share`` of a row."""
    axes = block_axes(shape)
    return [max(1, round(shape[axis] * share ** (1 / len(axes)))) for axis in axes]


def by_rank(score: NDArray[np.floating], rate: float, rng: np.random.Generator) -> Chances:
    """Return the chances that follow the ranks within each column of scores; equal scores take turns at random."""
    # Two sorts rank; the first goes over rows in random order, so that a stable sort breaks ties at random.
    order = rng.permutation(len(score))
    rank = np.empty(score.shape, np.float32)
    rank[order] = score[order].argsort(axis=0, kind="stable").argsort(axis=0)
    return ((rank + np.float32(0.5)) / np.float32(len(score))) ** np.float32((1 - rate) / rate)


def _missing(x: Tensor, chances: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Take cells away; chances are [B, cells] or what broadcasts to it."""
    kept = (_uniform(x.flatten(1), generator) >= chances).view(x.shape)
    return torch.where(kept, x, torch.nan), kept


def _by_rank(score: Tensor, rate: float, generator: torch.Generator) -> Tensor:
    """Return what :func:`aepipe.learn.corruption.by_rank` does."""
    order = torch.randperm(len(score), generator=generator, device=score.device)
    rank = torch.empty_like(score)
    rank[order] = score[order].argsort(dim=0, stable=True).argsort(0).to(score.dtype)
    return ((rank + 0.5) / len(score)) ** ((1 - rate) / rate)


def _uniform(x: Tensor, generator: torch.Generator) -> Tensor:
    """Return a draw from [0, 1) for every cell."""
    return torch.rand(x.shape, generator=generator, device=x.device)
