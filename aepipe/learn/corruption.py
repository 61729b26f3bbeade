"""Corruptions of a network's input. Each kind is one class here and one line in ``KINDS``.

A kind is a frozen options model with two methods that do the same, equal in distribution:

- ``corrupt(x, rng)`` for arrays: seeded by NumPy, for views that are made once and for people who look at them;
- ``corrupt_tensor(x, generator)`` for tensors on the training device, where a copy through the CPU would cost too much.

Both return ``(noisy, kept)``. ``noisy`` is like ``x``, whose values lie around 0..1. ``kept`` is bool of the same
shape, true where the cell still says something about the original.

MCAR, MAR and MNAR take cells away and leave NaN. The three mechanisms and their names are those of Rubin, "Inference
and missing data", Biometrika 1976: missing completely at random, by other values of the row, or by the missing value
itself. ``rate`` of the cells are missing on average, for any rows. Where rows differ in their chance, it follows
the rank of a score within the batch: with a rank r, uniform in 0..1, a cell is missing with probability
r^((1 - rate) / rate), whose mean is ``rate``.

Sources: masking, Gaussian and salt-and-pepper noise as in Vincent et al., "Stacked Denoising Autoencoders", JMLR 2010;
blocks as in Pathak et al., "Context Encoders", CVPR 2016.

Legend: N rows of an array, B rows of a batch of tensors, D cells of a row.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, ClassVar, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from aepipe.learn import affine
from aepipe.learn.batches import BitGenerator
from aepipe.learn.shards import own_rows, together
from aepipe.recipe import Choice, Options, resolve

Array = TypeVar("Array", bound=np.floating)
Corrupted = tuple[NDArray[Array], NDArray[np.bool_]]
Chances = NDArray[np.float32]
Bits = NDArray[np.int32] | np.int32
Rate = Annotated[float, Field(gt=0, lt=1)]


class Corruption(Options, ABC):
    """Base of every kind. A kind has a ``digest_name`` of its own that never changes."""

    @property
    def makes_holes(self) -> bool:
        """Whether cells are left missing, NaN, for networks that read holes."""
        return False

    def refusal(self, shape: Sequence[int]) -> str | None:
        """Return why rows of a shape cannot be changed like this, with the remedy; None if they can."""
        return None

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of changes that can be made weaker one by one; none where the kind is one change."""
        return ()

    def by(self, factors: Mapping[str, float]) -> Corruption:
        """Return the same with some parts multiplied."""
        return self

    def only(self, part: str, factor: float) -> Corruption:
        """Return the same with one part multiplied, and no other."""
        return self.by({name: factor if name == part else 0.0 for name in self.parts})

    @abstractmethod
    def corrupt(self, x: NDArray[Array], rng: np.random.Generator) -> Corrupted[Array]:
        """Corrupt an array.

        Args:
            x: float[N, ...]; stays as it is.
            rng: the only source of randomness.

        Returns:
            ``(noisy, kept)``: a new array like ``x``, and bool of its shape.
        """

    @abstractmethod
    def corrupt_tensor(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Corrupt a batch of tensors.

        Args:
            x: float32[B, ...]; stays as it is.
            generator: on the device of ``x``.

        Returns:
            ``(noisy, kept)``: a tensor like ``x``, and bool of its shape.
        """


class Clean(Corruption):
    """No corruption."""

    digest_name: ClassVar[str] = "corrupt.Clean"

    def corrupt(self, x: NDArray[Array], rng: np.random.Generator) -> Corrupted[Array]:
        """Return a copy; all cells are kept."""
        return x.copy(), np.ones(x.shape, np.bool_)

    def corrupt_tensor(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return the batch itself; all cells are kept."""
        return x, torch.ones_like(x, dtype=torch.bool)


class Mask(Corruption):
    """Set cells to zero, each with probability ``rate``.

    Attributes:
        rate: share of the cells that are lost.
        rescale: divide the others by ``1 - rate``, so that their sum is kept on average, as dropout does.
    """

    digest_name: ClassVar[str] = "corrupt.Mask"
    rate: Rate = 0.25
    rescale: bool = False

    def corrupt(self, x: NDArray[Array], rng: np.random.Generator) -> Corrupted[Array]:
        """Return ``(noisy, kept)``."""
        kept = rng.random(x.shape, np.float32) >= self.rate
        # The gain is cast, so that float32 rows do not become float64.
        return x * (kept * x.dtype.type(self.gain)), kept

    def corrupt_tensor(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return ``(noisy, kept)``."""
        (kept,) = _at_least(x, generator, self.rate)
        return x * (kept * self.gain if self.rescale else kept), kept

    @property
    def gain(self) -> float:
        """Factor of the cells that are kept."""
        return 1 / (1 - self.rate) if self.rescale else 1.0


class Gaussian(Corruption):
    """Add noise of standard deviation ``sigma`` to every cell; no cell is lost, so all are kept.

    Attributes:
        sigma: standard deviation of the noise.
    """

    digest_name: ClassVar[str] = "corrupt.Gaussian"
    sigma: Annotated[float, Field(gt=0)] = 0.1

    def corrupt(self, x: NDArray[Array], rng: np.random.Generator) -> Corrupted[Array]:
        """Return ``(noisy, kept)``."""
        noise = rng.standard_normal(x.shape, np.float32) * np.float32(self.sigma)
        # Noise is float32 for every dtype of rows: the same seed gives the same noise.
        return (x + noise).astype(x.dtype), np.ones(x.shape, np.bool_)

    def corrupt_tensor(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return ``(noisy, kept)``."""
        noise = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
        return x + self.sigma * noise, torch.ones_like(x, dtype=torch.bool)


class SaltPepper(Corruption):
    """Set cells to ``low`` or ``high`` with equal chance, each with probability ``rate``.

    Attributes:
        rate: share of the cells that are set.
        low: one value.
        high: the other value.
    """

    digest_name: ClassVar[str] = "corrupt.SaltPepper"
    rate: Rate = 0.25
    low: float = 0.0
    high: float = 1.0

    # One draw serves twice: below the rate the cell is lost, and in the lower half of that range it becomes `low`.

    def corrupt(self, x: NDArray[Array], rng: np.random.Generator) -> Corrupted[Array]:
        """Return ``(noisy, kept)``."""
        draw = rng.random(x.shape, np.float32)
        noisy = np.where(draw < self.rate / 2, x.dtype.type(self.low), x)
        kept = draw >= self.rate
        return np.where(~kept & (draw >= self.rate / 2), x.dtype.type(self.high), noisy), kept

    def corrupt_tensor(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return ``(noisy, kept)``."""
        kept, upper = _at_least(x, generator, self.rate, self.rate / 2)
        return _replaced(x, kept, upper, (self.low, self.high)), kept


class Block(Corruption):
    """Set one contiguous block of each row to zero, which covers about ``share`` of the row.

    An image ``[N, H, W, C]`` loses a rectangle of its own proportions, a vector ``[N, D]`` a run; all positions are
    equally likely.

    Attributes:
        share: of the row that the block covers, about.
    """

    digest_name: ClassVar[str] = "corrupt.Block"
    share: Rate = 0.25

    def corrupt(self, x: NDArray[Array], rng: np.random.Generator) -> Corrupted[Array]:
        """Return ``(noisy, kept)``."""
        hidden = np.ones(x.shape[:1] + (1,) * (x.ndim - 1), np.bool_)
        for axis, length in self._sides(x.shape):
            # Every start from which the block stays inside, so that all blocks cover the same share.
            start = rng.integers(0, x.shape[axis] - length + 1, len(x))
            position = np.arange(x.shape[axis])
            inside = (position >= start[:, None]) & (position < start[:, None] + length)
            hidden = hidden & inside.reshape(_along(axis, x.shape))
        kept = np.broadcast_to(~hidden, x.shape).copy()
        return x * kept, kept

    def corrupt_tensor(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return ``(noisy, kept)``."""
        shape = tuple(x.shape)
        hidden = torch.ones(shape[:1] + (1,) * (x.ndim - 1), dtype=torch.bool, device=x.device)
        for axis, length in self._sides(shape):
            last = shape[axis] - length + 1
            start = torch.randint(0, last, (shape[0], 1), generator=generator, device=x.device)
            position = torch.arange(shape[axis], device=x.device)
            inside = (position >= start) & (position < start + length)
            hidden = hidden & inside.view(_along(axis, shape))
        kept = (~hidden).expand(shape)
        return x * kept, kept

    def _sides(self, shape: tuple[int, ...]) -> list[tuple[int, int]]:
        # Height and width of images, else all features; together they cover the share.
        axes = (1, 2) if len(shape) == 4 else (1,)
        return [(axis, max(1, round(shape[axis] * self.share ** (1 / len(axes))))) for axis in axes]


class Shift(Corruption):
    """Move each image by up to ``pixels`` in both directions; zeros come in.

    A moved cell keeps its value, so all count as kept. Vectors stay as they are.

    Attributes:
        pixels: the longest move in each direction.
    """

    digest_name: ClassVar[str] = "corrupt.Shift"
    pixels: Annotated[int, Field(ge=1)] = 1

    def corrupt(self, x: NDArray[Array], rng: np.random.Generator) -> Corrupted[Array]:
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


class Jitter(Corruption):
    """Turn, size, move, mirror and light each image by numbers of its own.

    Outside of an image its edge goes on. A moved cell keeps its value, so all count as kept. Vectors stay as they are.

    Attributes:
        shift: pixels of the longest move in each direction.
        turn: degrees of the largest turn, either way.
        scale: width and height change by a factor of ``exp(-scale)`` to ``exp(scale)`` each.
        mirror: chance that left and right change places.
        brightness: most that is added to all cells, or taken away; values stay within 0..1.
        contrast: distances from the mean cell change by a factor of ``exp(-contrast)`` to ``exp(contrast)``.
    """

    digest_name: ClassVar[str] = "corrupt.Jitter"
    shift: Annotated[float, Field(ge=0)] = 1.5
    turn: Annotated[float, Field(ge=0, le=180)] = 8.0
    scale: Annotated[float, Field(ge=0, le=1)] = 0.1
    mirror: Annotated[float, Field(ge=0, le=1)] = 0.0
    brightness: Annotated[float, Field(ge=0, le=1)] = 0.0
    contrast: Annotated[float, Field(ge=0, le=2)] = 0.0

    @property
    def parts(self) -> tuple[str, ...]:
        """All of its numbers."""
        return affine.Most._fields

    def by(self, factors: Mapping[str, float]) -> Jitter:
        """Return the same with some parts multiplied; the chance of a mirror stays, or becomes zero."""
        found = {part: round(getattr(self, part) * factor, 6) for part, factor in factors.items()}
        if factors.get("mirror"):
            found["mirror"] = self.mirror
        return self.model_copy(update=found)

    def only(self, part: str, factor: float) -> Jitter:
        """Return the same with one part multiplied, and no other; every image is mirrored, or none."""
        found = self.by({name: factor if name == part else 0.0 for name in self.parts})
        return found.model_copy(update={"mirror": float(found.mirror > 0)})

    def refusal(self, shape: Sequence[int]) -> str | None:
        """Refuse rows that are no pictures."""
        if len(shape) == 3:
            return None
        return f"turns and moves pictures, and these rows have the shape {tuple(shape)}; allowed: mask, or none"

    def corrupt(self, x: NDArray[Array], rng: np.random.Generator) -> Corrupted[Array]:
        """Return ``(noisy, kept)``."""
        kept = np.ones(x.shape, np.bool_)
        if x.ndim != 4:
            return x.copy(), kept
        draw = torch.from_numpy(rng.uniform(-1, 1, (len(x), affine.DRAWS)).astype(np.float32))
        changed = affine.change(torch.from_numpy(np.array(x, np.float32)), draw, self._most)
        return changed.numpy().astype(x.dtype), kept

    def corrupt_tensor(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return ``(noisy, kept)``."""
        kept = torch.ones_like(x, dtype=torch.bool)
        if x.ndim != 4:
            return x, kept
        draw = 2 * torch.rand((len(x), affine.DRAWS), generator=generator, device=x.device) - 1
        return affine.change(x, draw, self._most), kept

    @property
    def _most(self) -> affine.Most:
        return affine.Most(self.shift, self.turn, self.scale, self.mirror, self.brightness, self.contrast)


class Missing(Corruption, ABC):
    """Base of the mechanisms of missing cells; a kind only gives each cell's chance.

    Attributes:
        rate: share of the cells that are missing.
    """

    rate: Rate = 0.2

    @property
    def makes_holes(self) -> bool:
        """True: cells are NaN afterwards."""
        return True

    def corrupt(self, x: NDArray[Array], rng: np.random.Generator) -> Corrupted[Array]:
        """Return ``(noisy, kept)``; cells that are not kept are NaN."""
        x_ND = x.reshape(len(x), -1)
        kept = (self.draw(x_ND.shape, rng) >= self.chances(x_ND, rng)).reshape(x.shape)
        return np.where(kept, x, x.dtype.type(np.nan)), kept

    def corrupt_tensor(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return ``(noisy, kept)``; cells that are not kept are NaN."""
        x_BD = x.flatten(1)
        # Arrays draw cells first, tensors chances: seeded results of both hang on that order, so it stays.
        chances = self.tensor_chances(x_BD, generator)
        kept = (self.tensor_draw(x_BD, generator) >= chances).view(x.shape)
        return torch.where(kept, x, torch.nan), kept

    @abstractmethod
    def chances(self, x_ND: NDArray[np.floating], rng: np.random.Generator) -> Chances:
        """Return each cell's chance to be missing, float32[N, D] or a shape that broadcasts to it."""

    @abstractmethod
    def tensor_chances(self, x_BD: Tensor, generator: torch.Generator) -> Tensor:
        """Return the same for tensors, float32[B, D] or a shape that broadcasts to it."""

    def draw(self, shape: tuple[int, int], rng: np.random.Generator) -> Chances:
        """Return a draw from 0..1 for each cell; the cell is missing where it is below its chance."""
        return rng.random(shape, np.float32)

    def tensor_draw(self, x_BD: Tensor, generator: torch.Generator) -> Tensor:
        """Return the same for tensors, float32[B, D]."""
        return _uniform(x_BD, generator)


class MCAR(Missing):
    """Missing completely at random: every cell with the same probability.

    Attributes:
        rate_max: where given, each row has a rate of its own, drawn uniformly from ``rate`` to this.
        spans: where given, how many consecutive cells are one value and missing together, from the first cell to the
            last: a column of a table that takes several cells.
    """

    digest_name: ClassVar[str] = "missing.AtRandom"
    rate_max: Rate | None = None
    spans: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(strict=False)] = ()

    def chances(self, x_ND: NDArray[np.floating], rng: np.random.Generator) -> Chances:
        """Return the rate of each row, float32[N, 1]."""
        share = rng.random((len(x_ND), 1), np.float32)
        return (self.rate + self._range * share).astype(np.float32)

    def tensor_chances(self, x_BD: Tensor, generator: torch.Generator) -> Tensor:
        """Return the rate of each row, float32[B, 1]."""
        share = torch.rand((len(x_BD), 1), generator=generator, device=x_BD.device)
        return self.rate + self._range * share

    def draw(self, shape: tuple[int, int], rng: np.random.Generator) -> Chances:
        """Return one draw from 0..1 for the cells of each span."""
        if not self.spans:
            return super().draw(shape, rng)
        return np.repeat(rng.random((shape[0], len(self.spans)), np.float32), self.spans, axis=1)

    def tensor_draw(self, x_BD: Tensor, generator: torch.Generator) -> Tensor:
        """Return the same for tensors, float32[B, D]."""
        if not self.spans:
            return super().tensor_draw(x_BD, generator)
        draw = torch.rand((len(x_BD), len(self.spans)), generator=generator, device=x_BD.device)
        return draw.repeat_interleave(torch.tensor(self.spans, device=x_BD.device), 1)

    @property
    def _range(self) -> float:
        return (self.rate if self.rate_max is None else self.rate_max) - self.rate


class MAR(Missing):
    """Missing at random: a weighted sum of columns that are always there decides on the others.

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

    def tensor_chances(self, x_BD: Tensor, generator: torch.Generator) -> Tensor:
        """Return the same for tensors, float32[B, D]."""
        there, weights = (torch.from_numpy(part).to(x_BD.device) for part in self.mechanism(x_BD.shape[1]))
        score = x_BD[:, there].nan_to_num() @ weights
        chance = tensor_by_rank(score[:, None], self.rate, generator)
        return torch.where(there, 0.0, chance)

    def mechanism(self, width: int) -> tuple[NDArray[np.bool_], Chances]:
        """Return the columns that are always there, bool[D], and the weights of those, float32."""
        # A generator of its own: the mechanism must not change with the draws of a batch.
        rng = np.random.default_rng(self.seed)
        count = min(max(1, round(self.always * width)), max(1, width - 1))
        there = np.zeros(width, np.bool_)
        there[rng.permutation(width)[:count]] = True
        return there, rng.standard_normal(count).astype(np.float32)


class MNAR(Missing):
    """Missing not at random: a larger value within its column is more likely to be missing."""

    digest_name: ClassVar[str] = "missing.ByItself"

    def chances(self, x_ND: NDArray[np.floating], rng: np.random.Generator) -> Chances:
        """Return the chance of each cell."""
        return by_rank(x_ND, self.rate, rng)

    def tensor_chances(self, x_BD: Tensor, generator: torch.Generator) -> Tensor:
        """Return the chance of each cell."""
        return tensor_by_rank(x_BD, self.rate, generator)


class Chain(Corruption):
    """Several corruptions, one after the other; a cell is kept if every one of them keeps it."""

    digest_name: ClassVar[str] = "corrupt.Chain"
    of: Annotated[tuple[Choice, ...], Field(min_length=1, strict=False)]

    @property
    def makes_holes(self) -> bool:
        """Whether one of them does."""
        return any(link.makes_holes for link in self.links)

    @cached_property
    def links(self) -> tuple[Corruption, ...]:
        """The corruptions, resolved."""
        return tuple(resolve(KINDS, choice, f"of.{i}") for i, choice in enumerate(self.of))

    def model_post_init(self, context: object, /) -> None:
        """Resolve the links at once, so that a mistake in one is found with all the others."""
        self.links  # noqa: B018

    def corrupt(self, x: NDArray[Array], rng: np.random.Generator) -> Corrupted[Array]:
        """Return ``(noisy, kept)``."""
        kept = np.ones(x.shape, np.bool_)
        for link in self.links:
            x, still = link.corrupt(x, rng)
            kept &= still
        return x, kept

    def corrupt_tensor(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return ``(noisy, kept)``."""
        kept = torch.ones_like(x, dtype=torch.bool)
        for link in self.links:
            x, still = link.corrupt_tensor(x, generator)
            kept = kept & still
        return x, kept


KINDS: Mapping[str, type[Corruption]] = {
    "none": Clean,
    "mask": Mask,
    "gaussian": Gaussian,
    "salt_pepper": SaltPepper,
    "block": Block,
    "shift": Shift,
    "jitter": Jitter,
    "mcar": MCAR,
    "mar": MAR,
    "mnar": MNAR,
    "chain": Chain,
}


def by_rank(score: NDArray[np.floating], rate: float, rng: np.random.Generator) -> Chances:
    """Return chances that follow the ranks within each column; ties are ordered at random."""
    # Two sorts rank; the first goes over rows in random order, so that a stable sort breaks ties at random.
    order = rng.permutation(len(score))
    rank = np.empty(score.shape, np.float32)
    rank[order] = score[order].argsort(axis=0, kind="stable").argsort(axis=0)
    return ((rank + np.float32(0.5)) / np.float32(len(score))) ** np.float32((1 - rate) / rate)


def tensor_by_rank(score: Tensor, rate: float, generator: torch.Generator) -> Tensor:
    """Return the same as :func:`by_rank` for tensors, by the ranks within the whole batch."""
    (whole,) = together(score)
    order = torch.randperm(len(whole), generator=generator, device=score.device)
    rank = torch.empty_like(whole)
    rank[order] = whole[order].argsort(dim=0, stable=True).argsort(0).to(score.dtype)
    return ((own_rows(rank, len(score)) + 0.5) / len(whole)) ** ((1 - rate) / rate)


def _at_least(x: Tensor, generator: torch.Generator, *shares: float) -> list[Tensor]:
    """Return for each share which cells have a draw from 0..1 that is not below it; one draw serves all."""
    if isinstance(generator, BitGenerator):
        return generator.at_least(x.shape, shares)
    draw = _uniform(x, generator)
    return [draw >= share for share in shares]


def _replaced(x: Tensor, kept: Tensor, upper: Tensor, values: tuple[float, float]) -> Tensor:
    """Return the cells that are kept, and for the others the first value, or where ``upper`` is true the second."""
    low, high = values
    if x.device.type != "cpu" or x.dtype != torch.float32 or x.requires_grad:
        return torch.where(kept, x, torch.where(upper, high, low).to(x.dtype))
    low_bits, high_bits = np.array(values, np.float32).view(np.int32)
    noise = _chosen(upper.numpy(), high_bits, low_bits)
    return torch.from_numpy(_chosen(kept.numpy(), x.numpy().view(np.int32), noise).view(np.float32))


def _chosen(first: NDArray[np.bool_], one: Bits, other: Bits) -> NDArray[np.int32]:
    """Return one value where the condition is true, and the other elsewhere, as bits: six times as fast as a branch."""
    mask = np.negative(first.view(np.int8)).astype(np.int32)
    found: NDArray[np.int32] = (one & mask) | (other & ~mask)
    return found


def _uniform(x: Tensor, generator: torch.Generator) -> Tensor:
    return torch.rand(x.shape, generator=generator, device=x.device)


def _along(axis: int, shape: tuple[int, ...]) -> list[int]:
    # One value for each row and place on the axis; it broadcasts to all cells.
    return [shape[0], *(shape[a] if a == axis else 1 for a in range(1, len(shape)))]
