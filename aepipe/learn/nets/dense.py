"""Dense layers: affine maps with an activation up, the mirror image of them down."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from aepipe import recipe
from aepipe.learn.nets import (
    ACTIVATIONS,
    PLAIN,
    Activation,
    Head,
    Holes,
    Net,
    Standardize,
    Turn,
    TurnBack,
    affine,
    gain_of,
)

Width = Annotated[int, Field(ge=1, le=recipe.WIDEST)]


class Options(recipe.Options):
    """Options of the network.

    Attributes:
        width: H.
        hidden: widths of layers between the row and the code, bottom up; the decoder has them top down. A network with
            such layers is trained as one; a stack of networks without them is trained greedily.
        activation: of the hidden layers, and of the code. The decoder's output is linear; the likelihood interprets it.
        code_activation: of the code, if it differs.
        normalize: standardise each unit over the batch before its activation, on the way up.
        tied: the decoder's weights are the encoder's, transposed; it has biases of its own.
        holes: missing cells are read as NaN; the network also gets marks of the present ones.
    """

    digest_name: ClassVar[str] = "dense.Options"
    width: Width
    hidden: Annotated[tuple[Width, ...], Field(strict=False)] = ()
    activation: Activation = "relu"
    code_activation: Activation | None = None
    normalize: bool = False
    tied: bool = False
    holes: bool = False

    def code_shape(self, shape: Sequence[int], head: Head = PLAIN) -> tuple[int, ...]:
        """Return ``(width,)``; rows of any shape are flattened."""
        return (self.width,)

    def build(self, shape: Sequence[int], generator: torch.Generator, head: Head = PLAIN) -> Net:
        """Make the network, with weights as :func:`aepipe.learn.nets.affine` draws them."""
        size = math.prod(shape)
        widths = [size, *self.hidden, self.width]
        sizes_in = [size * (1 + self.holes), *widths[1:-1]]
        sizes_out = [*widths[1:-1], self.width * head.heads]
        last: Activation = "linear" if head.linear else self.code_activation or self.activation
        gains = self._gains([*(self.activation for _ in self.hidden), last])
        sizes = zip(sizes_in, sizes_out, gains, strict=True)
        maps = [affine(a, b, generator, gain=gain) for a, b, gain in sizes]
        encoder: list[nn.Module] = [nn.Flatten(), *([Holes()] if self.holes else [])]
        for number, up in enumerate(maps):
            activation = last if number == len(maps) - 1 else self.activation
            # Standardised before the activation, so that no unit sits in a flat part of it.
            encoder += [up, *([Standardize(up.out_features)] if self.normalize else []), ACTIVATIONS[activation]()]
        if self.tied:
            down: list[nn.Module] = [Transposed(up, size_out) for up, size_out in zip(maps, widths, strict=False)]
        else:
            gains = self._gains(["linear", *(self.activation for _ in self.hidden)])
            down = [affine(b, a, generator, gain=gain) for (a, b), gain in zip(pairwise(widths), gains, strict=True)]
        decoder = [part for one in reversed(down) for part in (one, ACTIVATIONS[self.activation]())][:-1]
        if head.turned:
            # The identity until the rotation is found; its inverse stands first in the decoder.
            encoder.append(turn := Turn(self.width))
            decoder.insert(0, TurnBack(turn))
        return Net(
            nn.Sequential(*encoder),
            nn.Sequential(*decoder, nn.Unflatten(1, tuple(shape))),
            shape_in=shape,
            shape_out=(self.width,),
            rectified=last == "relu",
            holes=self.holes,
        )

    def _gains(self, activations: Sequence[Activation]) -> list[float | None]:
        # A single layer keeps the plain weights: only depth makes signals fade.
        return [gain_of(activation) if self.hidden else None for activation in activations]


class Transposed(nn.Module):
    """The transpose of another map's weights, with a bias of its own that starts at zero.

    If the other map has more inputs or outputs than are needed here (marks of missing cells, variances), the first ones
    are taken: they are the values, and the means.

    Args:
        up: the other map.
        size_out: of this one, at most ``up``'s fan-in.
    """

    def __init__(self, up: nn.Linear, size_out: int) -> None:
        super().__init__()
        self._up = [up]  # within a list, so that it is no part of this module: parameters have one owner
        self.bias = nn.Parameter(torch.zeros(size_out))

    def forward(self, code: Tensor) -> Tensor:
        """Return float[B, size_out]."""
        weight = self._up[0].weight[: code.shape[1], : len(self.bias)]
        return F.linear(code, weight.T, self.bias)
