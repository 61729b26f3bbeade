"""The contractive autoencoder: reconstruct rows from codes that change little with them.

The penalty is the squared Frobenius norm of the Jacobian of the code with respect to the network's input. It has a
closed form for one affine map under a pointwise activation; for any other network it is estimated from random probes.

The decoder must have the encoder's weights. Otherwise the encoder can shrink its codes towards zero and the decoder
scale them up again: the penalty vanishes, and nothing is learnt.

Source: Rifai et al., "Contractive Auto-Encoders: Explicit Invariance During Feature Extraction", ICML 2011; for the
probes, Hutchinson, "A Stochastic Estimator of the Trace of the Influence Matrix for Laplacian Smoothing Splines",
Communications in Statistics 1990.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from aepipe.learn import objectives
from aepipe.learn.autoencoder import Autoencoder, Choices
from aepipe.learn.nets import ACTIVATIONS
from aepipe.learn.objectives import Batch, Descent
from aepipe.learn.posterior import Delta

SEED = 0
"""Of the probes while evaluating, so that the same network always has the same penalty."""


class Options(objectives.Options):
    """Options of the objective.

    Attributes:
        weight: of the squared norm of the Jacobian.
        probes: random directions for each row, if there is no closed form; more are less noisy, and each costs a
            backward pass.
    """

    digest_name: ClassVar[str] = "contractive.Options"
    unrolled: ClassVar[bool] = False
    example: ClassVar[dict[str, Any]] = {"net": {"kind": "dense", "width": 8, "activation": "sigmoid", "tied": True}}

    weight: Annotated[float, Field(gt=0)] = 0.1
    probes: Annotated[int, Field(ge=1)] = 1

    def refusal(self, choices: Choices) -> str | None:
        """Refuse a decoder with weights of its own, bits, and units that depend on other rows."""
        if not getattr(choices.net, "tied", False):
            return (
                "a decoder with weights of its own makes up for codes that are only scaled down; allowed: a dense net "
                "with `tied = true`"
            )
        if choices.posterior.binary:
            return "bits do not move with the row until they flip; allowed: a posterior that makes no bits"
        if getattr(choices.net, "normalize", False):
            return "a standardised unit depends on the other rows of its batch; allowed: `normalize = false`"
        return None


class Objective(Descent[Options]):
    """Negative log-likelihood of the clean row, and the penalty on its code's Jacobian."""

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """Return the usual terms and ``contraction``."""
        _, terms = self.autoencode(batch)
        norm = squared_norm(self.model, batch.noisy, probes=self.options.probes, generator=batch.generator)
        return terms | {"contraction": self.options.weight * norm.mean()}


def squared_norm(model: Autoencoder, x: Tensor, *, probes: int = 1, generator: torch.Generator | None = None) -> Tensor:
    """Return the squared Frobenius norm of the code's Jacobian at each row, float32[B].

    It carries a gradient unless called under ``torch.no_grad``. It is always computed in float32.

    Args:
        model: the code is the mean of its posterior.
        x: float[B, *shape], the input of the network; NaN for missing cells, which count as constant.
        probes: as in :class:`Options`; a closed form needs none.
        generator: of the probes; None takes the same ones every time.
    """
    wanted = torch.is_grad_enabled()
    with torch.enable_grad(), torch.autocast(x.device.type, enabled=False):
        layer = _single_layer(model)
        if layer is not None:
            norm = _closed_form(*layer, x, create_graph=wanted)
        else:
            chance = torch.Generator(x.device).manual_seed(SEED) if generator is None else generator
            norm = _probed(model, x, probes, chance, create_graph=wanted)
    return norm if wanted else norm.detach()


def _single_layer(model: Autoencoder) -> tuple[nn.Linear, nn.Module] | None:
    """Return the affine map and the activation of an encoder of just these two, else None."""
    parts = list(model.net.encoder.children()) if isinstance(model.net.encoder, nn.Sequential) else []
    # Not a kind derived from it: of a k-sparse code, most units do not move with the row.
    if len(parts) != 3 or type(model.posterior) is not Delta:
        return None
    # Only a pointwise activation has a diagonal slope, which the closed form needs.
    first, up, activation = parts
    pointwise = isinstance(activation, tuple(ACTIVATIONS.values()))
    return (up, activation) if isinstance(first, nn.Flatten) and isinstance(up, nn.Linear) and pointwise else None


def _closed_form(up: nn.Linear, activation: nn.Module, x: Tensor, *, create_graph: bool) -> Tensor:
    """Return ``sum_j s'(a_j)^2 |W_j|^2`` over the units: squared slopes times squared weights."""
    before_BH = up(x.float().flatten(1))
    if not before_BH.requires_grad:
        before_BH.requires_grad_()
    (slope_BH,) = torch.autograd.grad(activation(before_BH).sum(), before_BH, create_graph=create_graph)
    return torch.as_tensor(slope_BH.square() @ up.weight.square().sum(1))


def _probed(model: Autoencoder, x: Tensor, probes: int, generator: torch.Generator, *, create_graph: bool) -> Tensor:
    """Estimate the norm: the mean squared length of random signs times the Jacobian."""
    x = x.detach().float().requires_grad_()
    code = model.encode(x).mean
    lengths = []
    for _ in range(probes):
        signs = torch.randint(0, 2, code.shape, generator=generator, device=x.device).to(code.dtype) * 2 - 1
        (moved,) = torch.autograd.grad(code, x, signs, create_graph=create_graph, retain_graph=True)
        lengths.append(moved.flatten(1).square().sum(1))
    return torch.stack(lengths).mean(0)
