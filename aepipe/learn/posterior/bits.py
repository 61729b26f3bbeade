"""Posteriors that are bits, -1 and 1."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, ClassVar

import torch
from pydantic import Field, PrivateAttr
from torch import Tensor

from aepipe.learn.nets import Head
from aepipe.learn.posterior.encoding import Encoding, Kind


class Bits(Kind, ABC):
    """Bits by sign; a kind only says what the decoder gets in their place while training."""

    @property
    def binary(self) -> bool:
        """True."""
        return True

    def encode(self, activation_BH: Tensor, generator: torch.Generator | None) -> Encoding:
        """Return hard bits as the mean; as the sample, what training passes on."""
        mean = hard_bits(activation_BH)
        return Encoding(mean, mean if generator is None else self.relaxed(activation_BH, generator))

    @abstractmethod
    def relaxed(self, activation_BH: Tensor, generator: torch.Generator) -> Tensor:
        """Return something like bits that carries a gradient."""


class StraightThrough(Bits):
    """The gradient passes as if the sign were a clipped line (Bengio et al., arXiv:1308.3432).

    Attributes:
        noise: standard deviation of Gaussian noise on the activation while training, so that no row settles on the
            edge between two codes.
    """

    digest_name: ClassVar[str] = "bits.StraightThrough"
    noise: Annotated[float, Field(ge=0)] = 0.0

    def relaxed(self, activation_BH: Tensor, generator: torch.Generator) -> Tensor:
        """Return hard bits whose gradient is that of the clipped activation."""
        noisy = _add_noise(activation_BH, self.noise, generator)
        line = noisy.clamp(-1, 1)
        return line + (hard_bits(noisy) - line).detach()


class Noise(Bits):
    """Logistic units whose input noise drives them to saturate (Salakhutdinov & Hinton, "Semantic Hashing", 2009).

    Attributes:
        sigma: standard deviation of the noise; the larger, the harder the units.
    """

    digest_name: ClassVar[str] = "bits.Noise"
    sigma: Annotated[float, Field(gt=0)] = 4.0

    def relaxed(self, activation_BH: Tensor, generator: torch.Generator) -> Tensor:
        """Return noisy logistic units, scaled to -1..1."""
        return torch.tanh(0.5 * _add_noise(activation_BH, self.sigma, generator))


class Tanh(Bits):
    """A tanh that grows steeper while training, until it is a sign (Cao et al., "HashNet", ICCV 2017).

    Attributes:
        start: steepness at the first step.
        end: steepness at the last; it grows by the same factor from step to step.
    """

    digest_name: ClassVar[str] = "bits.Tanh"
    start: Annotated[float, Field(gt=0)] = 1.0
    end: Annotated[float, Field(gt=0)] = 16.0
    _progress: float = PrivateAttr(default=0.0)

    def at(self, progress: float) -> Tanh:
        """Return the same tanh, as steep as it is then."""
        then = self.model_copy()
        then._progress = progress
        return then

    def relaxed(self, activation_BH: Tensor, generator: torch.Generator) -> Tensor:
        """Return values between -1 and 1."""
        return torch.tanh(self.start * (self.end / self.start) ** self._progress * activation_BH)


class Coin(Bits):
    """Bits drawn with the odds that the encoder says; the gradient passes through their mean.

    Source: stochastic binary units with the straight-through estimator of Bengio et al., arXiv:1308.3432.

    Attributes:
        sharpness: the odds of a 1 are those of a logistic unit of so many times the activation.
    """

    digest_name: ClassVar[str] = "bits.Coin"
    sharpness: Annotated[float, Field(gt=0)] = 4.0

    def relaxed(self, activation_BH: Tensor, generator: torch.Generator) -> Tensor:
        """Return drawn bits whose gradient is that of their mean."""
        odds = torch.sigmoid(self.sharpness * activation_BH)
        uniform = torch.rand(odds.shape, generator=generator, device=odds.device)
        mean, drawn = 2 * odds - 1, torch.where(uniform < odds, 1.0, -1.0).to(odds.dtype)
        return mean + (drawn - mean).detach()


class Rotation(Bits):
    """Numbers while training; afterwards they are turned close to the corners of a cube, and cut.

    Source: iterative quantisation, Gong and Lazebnik, CVPR 2011, on the activations in place of principal components.

    Attributes:
        iterations: of the search for the rotation; with 0 the numbers are cut as they are.
    """

    digest_name: ClassVar[str] = "bits.Rotation"
    iterations: Annotated[int, Field(ge=0)] = 50

    @property
    def head(self) -> Head:
        """Linear activations, which can be turned."""
        return Head(linear=True, turned=True)

    def relaxed(self, activation_BH: Tensor, generator: torch.Generator) -> Tensor:
        """Return the activations."""
        return activation_BH


def hard_bits(activation_BK: Tensor) -> Tensor:
    """Return 1 where the activation is above zero, else -1."""
    return torch.where(activation_BK > 0, 1.0, -1.0).to(activation_BK.dtype)


def _add_noise(activation_BK: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    """Add Gaussian noise."""
    if sigma == 0:
        return activation_BK
    noise = torch.randn(activation_BK.shape, generator=generator, device=activation_BK.device)
    return activation_BK + sigma * noise.to(activation_BK.dtype)
