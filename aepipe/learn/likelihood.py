"""Likelihoods: how probable a row is, given what the decoder says.

Each kind is a frozen options model with three methods. ``params_BD`` is the decoder's output, ``x_BD`` the clean row,
``observed_BD`` a mask of the cells that count. Constants that no parameter changes are dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor

from aepipe.recipe import Options


@runtime_checkable
class Likelihood(Protocol):
    """What every kind can do."""

    def nll(self, params_BD: Tensor, x_BD: Tensor, observed_BD: Tensor | None = None) -> Tensor:
        """Return the negative log-likelihood of each row in nats, [B], summed over the observed cells."""

    def mean(self, params_BD: Tensor) -> Tensor:
        """Return the expected row, [B, D]."""

    def sample(self, params_BD: Tensor, generator: torch.Generator) -> Tensor:
        """Draw rows, [B, D]."""


class Gaussian(Options):
    """A Gaussian of unit variance around the decoder's output: half the squared error."""

    def nll(self, params_BD: Tensor, x_BD: Tensor, observed_BD: Tensor | None = None) -> Tensor:
        """Return half the squared error of each row, [B]."""
        return 0.5 * _total(F.mse_loss(params_BD.float(), x_BD.float(), reduction="none"), observed_BD)

    def mean(self, params_BD: Tensor) -> Tensor:
        """Return the decoder's output."""
        return params_BD

    def sample(self, params_BD: Tensor, generator: torch.Generator) -> Tensor:
        """Add noise of unit variance."""
        noise = torch.randn(params_BD.shape, generator=generator, device=params_BD.device)
        return params_BD + noise


class Bernoulli(Options):
    """Independent coins whose logits the decoder gives: the sigmoid cross-entropy. For values within 0..1."""

    def nll(self, params_BD: Tensor, x_BD: Tensor, observed_BD: Tensor | None = None) -> Tensor:
        """Return the cross-entropy of each row in nats, [B]."""
        cells = F.binary_cross_entropy_with_logits(params_BD.float(), x_BD.float(), reduction="none")
        return _total(cells, observed_BD)

    def mean(self, params_BD: Tensor) -> Tensor:
        """Return the probabilities."""
        return params_BD.sigmoid()

    def sample(self, params_BD: Tensor, generator: torch.Generator) -> Tensor:
        """Toss the coins."""
        return torch.bernoulli(params_BD.sigmoid(), generator=generator)


KINDS: Mapping[str, type[Options]] = {"gaussian": Gaussian, "bernoulli": Bernoulli}


def _total(cells_BD: Tensor, observed_BD: Tensor | None) -> Tensor:
    """Sum over the observed cells of each row."""
    if observed_BD is not None:
        cells_BD = cells_BD * observed_BD
    return cells_BD.flatten(1).sum(1)
