"""The sparse autoencoder: few units of a code are far from zero, or each is on for few rows.

Two penalties, one at a time or both. ``l1`` is a Laplace prior of scale ``1 / l1`` on every unit. The negative
logarithm of its density is ``l1 |h| - log(l1 / 2)`` for a unit h. Only the first part depends on the data and falls;
the second is the same for every model, and :func:`constant` gives it for comparisons between priors. ``kl`` takes each
unit's mean activation over the batch as the rate of a coin, and penalises its distance from ``rate``.

A third way to a sparse code is a posterior: ``k-sparse`` keeps the largest units of each row.

Source: Olshausen and Field, "Emergence of Simple-Cell Receptive Field Properties by Learning a Sparse Code for Natural
Images", Nature 1996 (the prior); Lee, Ekanadham and Ng, "Sparse Deep Belief Net Model for Visual Area V2", NIPS 2007,
and Ng, "Sparse Autoencoder", CS294A lecture notes, 2011 (the rate).
"""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from aepipe.learn import objectives, posterior
from aepipe.learn.autoencoder import Choices
from aepipe.learn.objectives import Batch, Descent
from aepipe.learn.shards import average

EDGE = 1e-6
"""Mean activations are kept this far from 0 and 1, where the divergence would be infinite."""


class Options(objectives.Options):
    """Options of the objective.

    With ``l1`` alone, the code may become small instead of sparse, and the decoder scale it up again; ``tied`` weights
    or ``weight_decay`` prevent it.

    Attributes:
        l1: weight of the absolute values of the code, in nats; the inverse scale of their Laplace prior.
        kl: weight of the divergence of the units' mean activations from ``rate``, summed over the units.
        rate: the target of ``kl`` for mean activations. Means are over the batch, which should hold many rows.
    """

    digest_name: ClassVar[str] = "sparse.Options"
    example: ClassVar[dict[str, Any]] = {"net": {"kind": "dense", "width": 8, "activation": "sigmoid"}}

    l1: Annotated[float, Field(ge=0)] = 0.1
    kl: Annotated[float, Field(ge=0)] = 0.0
    rate: Annotated[float, Field(gt=0, lt=1)] = 0.05

    def refusal(self, choices: Choices) -> str | None:
        """Refuse bits, which are never zero, and ``kl`` on activations outside 0..1."""
        if not self.l1 and not self.kl:
            return "has no penalty, only the reconstruction; allowed: `l1` or `kl` above zero"
        if self.l1 and choices.posterior.binary:
            return "`l1` is the same for all bits, which are -1 and 1; allowed: a posterior that makes no bits"
        if self.kl and not _within_0_1(choices):
            return (
                "`kl` compares rates, and these activations are not kept within 0..1; allowed: a net whose "
                "`activation` or `code_activation` is sigmoid under a posterior that leaves it so, or posterior "
                "bernoulli"
            )
        return None


class Objective(Descent[Options]):
    """Negative log-likelihood of the clean row, and penalties on its code."""

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """Return the usual terms and the two penalties.

        ``sparsity`` is ``l1`` times the sum of the code's absolute values, ``rate`` is ``kl`` times :func:`divergence`.
        """
        encoding, terms = self.autoencode(batch)
        if self.options.l1:
            terms["sparsity"] = self.options.l1 * encoding.mean.float().abs().flatten(1).sum(1).mean()
        if self.options.kl:
            terms["rate"] = self.options.kl * divergence(encoding.mean, self.options.rate)
        return terms


def constant(l1: float, units: int) -> float:
    """Return the constant that ``sparsity`` leaves out of the prior for ``units`` units."""
    return -units * math.log(l1 / 2)


def divergence(code_BH: Tensor, rate: float) -> Tensor:
    """Return the divergence of the units' mean activations from a rate, in nats; a scalar.

    It is summed over the units.

    Args:
        code_BH: float[B, ..., H] within 0..1; the mean is over all axes but the last.
        rate: r of the divergence ``r log(r / m) + (1 - r) log((1 - r) / (1 - m))`` of a unit of mean m.
    """
    # The rate is over rows and places alike: a unit of a map is the same unit everywhere.
    mean_H = code_BH.float().flatten(0, -2).mean(0)
    mean_H = average(mean_H).clamp(EDGE, 1 - EDGE)
    entropy = -rate * math.log(rate) - (1 - rate) * math.log(1 - rate)
    return (-rate * mean_H.log() - (1 - rate) * torch.log1p(-mean_H) - entropy).sum()


def _within_0_1(choices: Choices) -> bool:
    """Tell whether the means of a layer's codes are within 0..1."""
    if choices.posterior.head.linear:
        return isinstance(choices.posterior, posterior.Bernoulli)
    activation = getattr(choices.net, "code_activation", None) or getattr(choices.net, "activation", None)
    return activation == "sigmoid"
