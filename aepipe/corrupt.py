"""Corruptions: pure functions of an array and a random generator.

Each kind is a frozen options model that can be called: ``Mask(rate=0.25)(x, rng) -> (noisy, kept)``. ``x`` is
float[N, ...] with values around 0..1; the result is a new array of the same shape and dtype. ``kept`` is bool of the
same shape, true where the cell still says something about the original. :mod:`aepipe.learn.corruption` has the same
kinds for tensors on the training device, equal in distribution.

Sources: masking, Gaussian and salt-and-pepper noise as in Vincent et al., "Stacked Denoising Autoencoders", JMLR 2010;
blocks as in Pathak et al., "Context Encoders", CVPR 2016; missing cells as in :mod:`aepipe.missing`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, ClassVar, Protocol, TypeVar, cast, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from aepipe import missing
from aepipe.recipe import Choice, Options, resolve

Array = TypeVar("Array", bound=np.floating)
Rate = Annotated[float, Field(gt=0, lt=1)]


@runtime_checkable
class Corruption(Protocol):
    """What every kind can do."""

    @property
    def makes_holes(self) -> bool:
        """Whether cells are left missing, NaN, for networks that read holes."""

    def __call__(self, x: NDArray[Array], rng: np.random.Generator) -> tuple[NDArray[Array], NDArray[np.bool_]]:
        """Return ``(noisy, kept)``; ``x`` is left alone."""


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

    @property
    def gain(self) -> float:
        """What the cells that are kept are multiplied with."""
        return 1 / (1 - self.rate) if self.rescale else 1.0


class Gaussian(Filling):
    """Noise of standard deviation ``sigma`` added to every cell; no cell is lost, so all are kept."""

    digest_name: ClassVar[str] = "corrupt.Gaussian"
    sigma: Annotated[float, Field(gt=0)] = 0.1

    def __call__(self, x: NDArray[Array], rng: np.random.Generator) -> tuple[NDArray[Array], NDArray[np.bool_]]:
        """Return ``(noisy, kept)``."""
        noise = rng.standard_normal(x.shape, np.float32) * np.float32(self.sigma)
        return (x + noise).astype(x.dtype), np.ones(x.shape, np.bool_)


class SaltPepper(Filling):
    """Cells set to ``low`` or ``high`` with equal chance, each with probability ``rate``."""

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


class Block(Filling):
    """One contiguous block of each row set to zero, covering about ``share`` of it.

    An image ``[N, H, W, C]`` loses a rectangle of its own proportions, a vector ``[N, D]`` a run; all positions are
    equally likely.
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


class Shift(Filling):
    """Each image moved by up to ``pixels`` in both directions, zeros coming in; vectors stay where they are.

    A moved cell still says what it said, so all are kept.
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


KINDS: Mapping[str, type[Options]] = {
    "none": Clean,
    "mask": Mask,
    "gaussian": Gaussian,
    "salt_pepper": SaltPepper,
    "block": Block,
    "shift": Shift,
    "chain": Chain,
    "mcar": missing.AtRandom,
    "mar": missing.ByOthers,
    "mnar": missing.ByItself,
}


def block_axes(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the axes that a block extends over: height and width of images, else all features."""
    return (1, 2) if len(shape) == 4 else (1,)


def block_lengths(shape: tuple[int, ...], share: float) -> list[int]:
    """Return the block's length along each of :func:`block_axes`, so that it covers about ``share`` of a row."""
    axes = block_axes(shape)
    return [max(1, round(shape[axis] * share ** (1 / len(axes)))) for axis in axes]
