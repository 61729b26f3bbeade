"""Posteriors: what a code is, given the activations of the encoder.

Mean and sample are two things: the mean is what a row's code is, the sample is what training passes on to the decoder.
Each kind is a frozen options model; randomness is an argument, and without it there is no sample but the mean.

Legend: B rows, H units of the code, the last axis; activations have ``head.heads`` times as many.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Annotated, NamedTuple, Protocol, runtime_checkable

import torch
from pydantic import Field
from torch import Tensor

from aepipe.learn.nets import Head, Switches
from aepipe.recipe import Options


class Encoding(NamedTuple):
    """The codes of a batch.

    Attributes:
        mean: float[B, H], what the code is.
        sample: float[B, H], what the decoder gets while training; carries the gradient.
        kl: [B], divergence from the prior in nats; None where there is no prior.
        switches: where pooling took its values from; for the decoder only, no code depends on them.
    """

    mean: Tensor
    sample: Tensor
    kl: Tensor | None = None
    switches: Switches | None = None


@runtime_checkable
class Posterior(Protocol):
    """What every kind can do."""

    @property
    def binary(self) -> bool:
        """Whether the mean is bits, -1 and 1."""

    @property
    def head(self) -> Head:
        """What it wants of the top of an encoder."""

    def encode(self, activation_BH: Tensor, generator: torch.Generator | None) -> Encoding:
        """Turn activations into codes; without a generator the sample is the mean."""


@runtime_checkable
class Stochastic(Posterior, Protocol):
    """What kinds with a prior can do beside; their encodings have a ``kl``."""

    def prior(self, rows: int, width: int, generator: torch.Generator) -> Tensor:
        """Draw codes float[rows, width] from the prior, on the device of the generator."""

    def log_ratio(self, activation_BH: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw codes from the posterior without relaxing them, ``(codes[B, H], log prior - log posterior [B])``."""


class Delta(Options):
    """The code is the activation itself."""

    @property
    def binary(self) -> bool:
        """False."""
        return False

    @property
    def head(self) -> Head:
        """One activation for each unit."""
        return Head()

    def encode(self, activation_BH: Tensor, generator: torch.Generator | None) -> Encoding:
        """Return the activation as mean and sample."""
        return Encoding(activation_BH, activation_BH)


class Bits(Options, ABC):
    """Bits by sign; a kind only says what the decoder gets in their place while training."""

    @property
    def binary(self) -> bool:
        """True."""
        return True

    @property
    def head(self) -> Head:
        """One linear activation for each bit."""
        return Head(linear=True)

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


KINDS: Mapping[str, type[Options]] = {"delta": Delta, "straight-through": StraightThrough, "noise": Noise}


def hard_bits(activation_BK: Tensor) -> Tensor:
    """Return 1 where the activation is above zero, else -1."""
    return torch.where(activation_BK > 0, 1.0, -1.0).to(activation_BK.dtype)


def _add_noise(activation_BK: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    """Add Gaussian noise."""
    if sigma == 0:
        return activation_BK
    noise = torch.randn(activation_BK.shape, generator=generator, device=activation_BK.device)
    return activation_BK + sigma * noise.to(activation_BK.dtype)
