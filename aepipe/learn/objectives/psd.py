"""Predictive sparse decomposition: the encoder learns to predict the best sparse codes.

For each batch the code is inferred: starting at the encoder's prediction, it minimises the squared error of the linear
decoder, its own absolute values, and its squared distance from the prediction. Then encoder and decoder take a gradient
step with that code fixed. After training, the code is the encoder's prediction; nothing is inferred any more.

Source: Kavukcuoglu, Ranzato and LeCun, "Fast Inference in Sparse Coding Algorithms with Applications to Object
Recognition", NYU technical report CBLL-TR-2008-12-01; the inference is that of Beck and Teboulle, "Fast Gradient-Based
Algorithms for Constrained Total Variation Image Denoising and Deblurring Problems", IEEE Trans. Image Processing 2009:
their FISTA that never rises.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Any, ClassVar, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from aepipe.learn import likelihood, objectives, posterior
from aepipe.learn.autoencoder import Autoencoder, Choices
from aepipe.learn.batches import Compute
from aepipe.learn.nets import dense
from aepipe.learn.objectives import Batch, Descent
from aepipe.learn.shards import leads

SQUARINGS = 6


class Options(objectives.Options):
    """Options of the objective.

    The decoder's columns have length 1, so that no code can be made small by making them large. A rectified network
    (relu) infers codes that are never negative.

    Attributes:
        sparsity: weight of the absolute values of the code.
        prediction: weight of half the squared distance between the code and the encoder's prediction.
        iterations: of the inference, for each batch.
    """

    digest_name: ClassVar[str] = "psd.Options"
    unrolled: ClassVar[bool] = False
    example: ClassVar[dict[str, Any]] = {"net": {"kind": "dense", "width": 8, "activation": "linear"}}

    sparsity: Annotated[float, Field(ge=0)] = 0.5
    prediction: Annotated[float, Field(gt=0)] = 1.0
    iterations: Annotated[int, Field(ge=1)] = 20

    def refusal(self, choices: Choices) -> str | None:
        """Refuse all layers without a linear decoder, squared error and continuous code."""
        net = choices.net
        linear = isinstance(net, dense.Options) and not net.hidden and not net.tied
        squared_error = isinstance(choices.likelihood, likelihood.Gaussian)
        if linear and squared_error and isinstance(choices.posterior, posterior.Delta):
            return None
        return (
            "infers the codes of a linear decoder with columns of its own; allowed: a dense net without `hidden` and "
            "`tied`, posterior delta, likelihood gaussian"
        )


@dataclass(frozen=True, slots=True)
class Energy:
    """The energy of codes; inference minimises it for each row on its own.

    ``|x - D h|^2 / 2 + sparsity |h|_1 + prediction / 2 |h - f|^2``

    Attributes:
        target: float[B, D]: x, the rows less the decoder's bias.
        observed: 1 for cells that count, else 0; None for all.
        atoms: float[D, H]: D, the decoder's columns.
        predicted: float[B, H]: f, the encoder's prediction.
        sparsity: weight.
        prediction: weight.
        rectified: whether codes are never negative.
    """

    target: Tensor
    observed: Tensor | None
    atoms: Tensor
    predicted: Tensor
    sparsity: float
    prediction: float
    rectified: bool = False

    def error(self, decoded_BD: Tensor) -> Tensor:
        """Return the difference between decoded codes and rows, zero for cells that do not count."""
        error = decoded_BD - self.target
        return error if self.observed is None else error * self.observed

    def cost(self, code_BH: Tensor, decoded_BD: Tensor) -> Tensor:
        """Return the energy of each row, [B], for codes and their decoded rows."""
        fit = 0.5 * self.error(decoded_BD).square().sum(1)
        distance = 0.5 * (code_BH - self.predicted).square().sum(1)
        return fit + self.sparsity * code_BH.abs().sum(1) + self.prediction * distance

    def proximal(self, point_BH: Tensor, rate: Tensor) -> Tensor:
        """Apply the proximal map of the last two terms to a point: they need no gradient."""
        pull = rate * self.prediction
        mixed = (point_BH + pull * self.predicted) / (1 + pull)
        threshold = rate * self.sparsity / (1 + pull)
        if self.rectified:
            return (mixed - threshold).relu()
        return mixed.sign() * (mixed.abs() - threshold).relu()


class Objective(Descent[Options]):
    """Squared error, sparsity and prediction of codes that are inferred for each batch."""

    def __init__(self, model: Autoencoder, options: Options, compute: Compute, *, seed: int = 0) -> None:
        super().__init__(model, options, compute, seed=seed)
        self._down = cast(nn.Linear, cast(nn.Sequential, model.net.decoder)[0])

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """Return the three parts of the energy.

        The first has the decoder's gradient, the last the encoder's.
        """
        predicted = self.model.encode(batch.noisy, batch.generator).mean
        code_BH = self.infer(batch, predicted)
        params = self.model.decode(code_BH)
        distance_B = 0.5 * (code_BH - predicted.float()).square().sum(1)
        return {
            "reconstruction": self.model.likelihood.nll(params, batch.clean, batch.observed).mean(),
            "sparsity": self.options.sparsity * code_BH.abs().sum(1).mean(),
            "prediction": self.options.prediction * distance_B.mean(),
        }

    def descend(self, batch: Batch) -> dict[str, Tensor]:
        """Bring the decoder's columns back to length 1, then descend."""
        if leads():
            with torch.no_grad():
                # The last step has changed their lengths a little.
                self._down.weight.div_(self._down.weight.norm(dim=0).clamp(min=1e-8))
        return super().descend(batch)

    def infer(self, batch: Batch, predicted: Tensor) -> Tensor:
        """Infer the codes of a batch, without a gradient.

        It is done in float32, as bfloat16 is too coarse for small descents.
        """
        with torch.no_grad(), torch.autocast(batch.clean.device.type, enabled=False):
            energy = self.energy(batch, predicted.float())
            return next(islice(descent(energy), self.options.iterations, None))[0]

    def energy(self, batch: Batch, predicted: Tensor) -> Energy:
        """Return the energy that the codes of a batch minimise."""
        scale = 1 / cast(likelihood.Gaussian, self.model.likelihood).sigma
        observed = batch.observed
        if observed is not None:
            observed = observed.to(batch.clean.dtype).expand_as(batch.clean).flatten(1)
        return Energy(
            target=scale * (batch.clean.flatten(1) - self._down.bias),
            observed=observed,
            atoms=scale * self._down.weight,
            predicted=predicted,
            sparsity=self.options.sparsity,
            prediction=self.options.prediction,
            rectified=self.model.net.rectified,
        )


def descent(energy: Energy) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield ever better codes [B, H] with their energies [B], the encoder's prediction first.

    The energy of no row ever rises. The point that a step starts from is a combination of codes, so its decoded row is
    the same combination of their decoded rows: each step multiplies with the atoms once, and once with their transpose.
    """
    rate = 1 / largest_eigenvalue(energy.atoms)
    code = point = energy.predicted
    decoded = decoded_point = code @ energy.atoms.T
    cost, momentum = energy.cost(code, decoded), 1.0
    while True:
        yield code, cost
        tried = energy.proximal(point - rate * (energy.error(decoded_point) @ energy.atoms), rate)
        decoded_tried = tried @ energy.atoms.T
        cost_tried = energy.cost(tried, decoded_tried)
        # Row by row: a step that is good for most rows may be too long for some.
        better = (cost_tried <= cost)[:, None]
        before, decoded_before = code, decoded
        code, decoded = torch.where(better, tried, code), torch.where(better, decoded_tried, decoded)
        cost = torch.minimum(cost, cost_tried)
        following = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        to_tried, onwards = momentum / following, (momentum - 1) / following
        point = code + to_tried * (tried - code) + onwards * (code - before)
        decoded_point = decoded + to_tried * (decoded_tried - decoded) + onwards * (decoded - decoded_before)
        momentum = following


def largest_eigenvalue(atoms: Tensor) -> Tensor:
    """Return an upper bound of the largest eigenvalue of ``D^T D``, a scalar.

    It is the power iteration, on the matrix in place of a vector: the trace of a power of a matrix without negative
    eigenvalues is no less than that power of the largest one, whereas a vector only comes near it from below. The bound
    is too large by the n-th root of the rank at most, where n is the power: at most 1.12 times, mostly 1.00 times.
    """
    # Both products have the same largest eigenvalue; the smaller matrix is cheaper.
    wide = atoms.shape[1] > atoms.shape[0]
    power = atoms @ atoms.T if wide else atoms.T @ atoms
    logarithm = torch.zeros((), device=power.device)
    for _ in range(SQUARINGS):
        trace = power.trace()
        # Scaled to a trace of 1, as powers would overflow; the logarithm keeps the scale.
        power = power / trace
        power = power @ power
        logarithm = 2 * (logarithm + trace.log())
    return torch.as_tensor((logarithm + power.trace().log()) / 2**SQUARINGS).exp()
