"""Posteriors that are bits, -1 and 1."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

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

    sigma: Annotated[float, Field(gt=0)] = 4.0

    def relaxed(self, activation_BH: Tensor, generator: torch.Generator) -> Tensor:
        """Return noisy logistic units, scaled to -1..1."""
        return torch.tanh(0.5 * _add_noise(activation_BH, self.sigma, generator))


def hard_bits(activation_BK: Tensor) -> Tensor:
    """Return 1 where the activation is above zero, else -1."""
    return torch.where(activation_BK > 0, 1.0, -1.0).to(activation_BK.dtype)


def _add_noise(activation_BK: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    """Add Gaussian noise."""
    if sigma == 0:
        return activation_BK
    noise = torch.randn(activation_BK.shape, generator=generator, device=activation_BK.device)
    return activation_BK + sigma * noise.to(activation_BK.dtype)
