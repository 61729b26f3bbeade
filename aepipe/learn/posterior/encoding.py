"""What a posterior is, and what it makes of a batch."""

from __future__ import annotations

from typing import NamedTuple, Protocol, Self, runtime_checkable

import torch
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

    def refusal(self, width: int) -> str | None:
        """Return why a code of so many units cannot be made, and what is allowed; None where it can."""

    def at(self, progress: float) -> Posterior:
        """Return it as it is at a point of training, 0 at the first step and 1 after the last."""

    def encode(self, activation_BH: Tensor, generator: torch.Generator | None) -> Encoding:
        """Turn activations into codes; without a generator the sample is the mean."""


@runtime_checkable
class Stochastic(Posterior, Protocol):
    """What kinds with a prior can do beside; their encodings have a ``kl``."""

    def prior(self, rows: int, width: int, generator: torch.Generator) -> Tensor:
        """Draw codes float[rows, width] from the prior, on the device of the generator."""

    def log_ratio(self, activation_BH: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw codes from the posterior without relaxing them, ``(codes[B, H], log prior - log posterior [B])``."""


class Kind(Options):
    """What a kind says unless it says otherwise: no bits, one linear activation for each unit, any width, no change."""

    @property
    def binary(self) -> bool:
        """False."""
        return False

    @property
    def head(self) -> Head:
        """One linear activation for each unit."""
        return Head(linear=True)

    def refusal(self, width: int) -> str | None:
        """Return None: any width will do."""
        return None

    def at(self, progress: float) -> Self:
        """Return itself: it is the same throughout training."""
        return self
