"""Principal components as a layer: the best linear autoencoder, found in closed form.

Its code can be whitened: divided by its standard deviation to some power. With a power of one half, small differences
between rows count more than in the rows themselves, but noise not as much as everything else. Then neighbours are more
often of one kind, and the layers above learn faster.

Source: Baldi and Hornik, "Neural Networks and Principal Component Analysis", 1989.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field

from aepipe.learn import corruption as corruptions
from aepipe.learn import likelihood, objectives, posterior
from aepipe.learn.autoencoder import Choices
from aepipe.learn.batches import Feed
from aepipe.learn.neighbour_graph import Neighbours
from aepipe.learn.nets import dense
from aepipe.learn.objectives import ClosedForm, affine_maps
from aepipe.learn.pca import Components


class Options(objectives.Options):
    """Options of the objective.

    Attributes:
        whiten: 0 leaves components as large as they are, 1 makes them all equally large.
    """

    digest_name: ClassVar[str] = "components.Options"
    unrolled: ClassVar[bool] = False
    descends: ClassVar[bool] = False
    example: ClassVar[dict[str, Any]] = {
        "net": {"kind": "dense", "width": 8, "activation": "linear"},
        "corruption": "none",
    }

    whiten: Annotated[float, Field(ge=0, le=1)] = 0.5

    def refusal(self, choices: Choices) -> str | None:
        """Refuse all but linear layers with a squared error on clean rows."""
        net = choices.net
        if not isinstance(net, dense.Options) or net.hidden or net.tied or net.normalize:
            return "components are one map each way; allowed: a dense net without hidden, tied and normalize"
        if net.activation != "linear" or net.code_activation not in {None, "linear"}:
            return f"components are linear, not {net.code_activation or net.activation}; allowed: activation linear"
        squared_error = isinstance(choices.likelihood, likelihood.Gaussian)
        if not squared_error or not isinstance(choices.posterior, posterior.Delta):
            return "components have the least squared error; allowed: posterior delta with likelihood gaussian"
        if not isinstance(choices.corruption, corruptions.Clean):
            return "components are those of the rows as they are; allowed: corruption none"
        return None


class Objective(ClosedForm[Options]):
    """Principal components, set before the first step."""

    def prepare(self, rows: Feed, neighbours: Neighbours | None) -> None:
        """Find the components and make them the weights; codes get a mean square of 1."""
        (up,), (down,) = (affine_maps(half) for half in (self.model.net.encoder, self.model.net.decoder))
        found = Components.of(rows, min(up.out_features, math.prod(rows.shape)))
        scale_F = found.scale(self.options.whiten)
        square_F = found.variance * scale_F**2
        # A mean square of 1, so that layers above meet codes of the usual size after any whitening.
        if (scale_F > 0).any():  # not where all rows are equal
            scale_F = scale_F / square_F[scale_F > 0].mean().sqrt()
        back_F = torch.where(scale_F > 0, 1 / scale_F.clamp(min=1e-12), 0.0)
        with torch.no_grad():
            for parameter in self.model.parameters():
                # Units beyond the components stay silent.
                parameter.zero_()
            count, width = found.axes.shape[1], len(found.mean)
            # Cells come before their marks, which say nothing here: a missing cell is zero.
            up.weight[:count, :width] = (found.axes * scale_F).T
            up.bias[:count] = -(found.mean @ found.axes) * scale_F
            down.weight[:, :count] = found.axes * back_F
            down.bias.copy_(found.mean)
