"""Iterative quantisation: bits are rotated principal components, in closed form.

The leading components of the rows are rotated so that they lie close to the corners of a cube; a bit is the sign of one
rotated component. It is the best that a linear map without training is known to do, and where rows are few, more than
training does. The decoder is the linear map from bits to rows with the least squared error.

Source: Gong and Lazebnik, "Iterative Quantization: A Procrustean Approach to Learning Binary Codes", CVPR 2011.

Legend: B rows of a block, D cells of a row, F components, K bits.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from aepipe.evaluate.baselines import ITQ_ITERATIONS, itq_rotation
from aepipe.learn import corruption as corruptions
from aepipe.learn import objectives
from aepipe.learn.autoencoder import Choices
from aepipe.learn.batches import Feed
from aepipe.learn.neighbour_graph import Neighbours
from aepipe.learn.objectives import ClosedForm, affine_maps
from aepipe.learn.pca import Components

ROWS = 100_000
"""Rows whose components are rotated; more change nothing that could be measured."""
RIDGE = 1e-4
"""Added to the bits' variance, so that equal bits share what they tell of a row."""


class Options(objectives.Options):
    """Options of the objective.

    Attributes:
        whiten: 0 leaves components as large as they are, 1 makes them all equally large.
        iterations: of the rotation.
    """

    digest_name: ClassVar[str] = "itq.Options"
    unrolled: ClassVar[bool] = False
    descends: ClassVar[bool] = False
    example: ClassVar[dict[str, Any]] = {"normalize": False, "corruption": "none"}

    whiten: Annotated[float, Field(ge=0, le=1)] = 0.0
    iterations: Annotated[int, Field(ge=0)] = ITQ_ITERATIONS

    def refusal(self, choices: Choices) -> str | None:
        """Refuse all but the layer of bits, on clean rows and without batch normalisation."""
        if not choices.posterior.binary:
            return "rotated components become bits; allowed: the layer of bits, [code]"
        if getattr(choices.net, "normalize", False):
            return "rotated components are centred already; allowed: normalize = false"
        if not isinstance(choices.corruption, corruptions.Clean):
            return "components are those of the rows as they are; allowed: corruption none"
        return None


class Objective(ClosedForm[Options]):
    """Rotated components, set before the first step."""

    def prepare(self, rows: Feed, neighbours: Neighbours | None) -> None:
        """Find the components and their rotation, and make them the weights."""
        (up,), (down,) = (affine_maps(half) for half in (self.model.net.encoder, self.model.net.decoder))
        found = Components.of(rows, min(up.out_features, math.prod(rows.shape)))
        axes_DF = found.axes * found.scale(self.options.whiten)
        turned_DK = axes_DF @ self._rotation(found, rows, up.out_features).to(axes_DF.device)
        with torch.no_grad():
            up.weight.copy_(turned_DK.T)
            up.bias.copy_(-(found.mean @ turned_DK))
            weight_DK, bias_D = _decoder(rows, up)
            down.weight.copy_(weight_DK)
            down.bias.copy_(bias_D)

    def _rotation(self, found: Components, rows: Feed, n_bits: int) -> Tensor:
        """Return the rotation, float32[F, K]; of fewer components than bits, several rotations side by side."""
        projected = torch.cat(list(found.blocks(rows, self.options.whiten))).cpu().numpy()
        # A fixed seed: the bits depend on the rows alone, and on the recipe's seed.
        rng = np.random.default_rng(self.seed)
        if len(projected) > ROWS:
            projected = projected[np.sort(rng.choice(len(projected), ROWS, replace=False))]
        count = -(-n_bits // projected.shape[1])
        turns = [itq_rotation(projected, rng, iterations=self.options.iterations) for _ in range(count)]
        return torch.from_numpy(np.concatenate(turns, axis=1)[:, :n_bits])


def _decoder(rows: Feed, up: nn.Linear) -> tuple[Tensor, Tensor]:
    """Return the map from bits to rows with the least squared error: weights, float[D, K], and biases, float[D]."""
    width = math.prod(rows.shape)
    sums = [torch.zeros(size, dtype=torch.float64) for size in ((up.out_features,), (width,))]
    squares = torch.zeros(up.out_features, up.out_features, dtype=torch.float64)
    both = torch.zeros(width, up.out_features, dtype=torch.float64)
    for block in rows.blocks():
        row_BD = torch.nan_to_num(block.flatten(1), nan=0.0)
        bit_BK = torch.where(up(row_BD) > 0, 1.0, -1.0).double().cpu()
        row_BD = row_BD.double().cpu()
        sums[0] += bit_BK.sum(0)
        sums[1] += row_BD.sum(0)
        squares += bit_BK.T @ bit_BK
        both += row_BD.T @ bit_BK
    mean_K, mean_D = (total / len(rows) for total in sums)
    covariance_KK = squares / len(rows) - torch.outer(mean_K, mean_K) + RIDGE * torch.eye(len(mean_K))
    weight_DK = torch.linalg.solve(covariance_KK, both.T / len(rows) - torch.outer(mean_K, mean_D)).T
    return weight_DK.float(), (mean_D - weight_DK @ mean_K).float()
