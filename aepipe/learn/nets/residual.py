"""Residual blocks of dense layers: each adds a correction to its input.

Source: He et al., "Identity Mappings in Deep Residual Networks", ECCV 2016.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from aepipe import recipe
from aepipe.learn.nets import ACTIVATIONS, PLAIN, Activation, Head, Holes, Net, affine

Count = Annotated[int, Field(ge=1, le=recipe.WIDEST)]


class Options(recipe.Options):
    """Options of the network.

    Attributes:
        width: H.
        hidden: width of the blocks.
        blocks: of the encoder; the decoder has the same number.
        activation: within the blocks.
        code_activation: of the code.
        holes: missing cells are read as NaN; the network also gets marks of the present ones.
    """

    digest_name: ClassVar[str] = "residual.Options"
    width: Count
    hidden: Count = 512
    blocks: Count = 2
    activation: Activation = "gelu"
    code_activation: Activation = "linear"
    holes: bool = False

    def code_shape(self, shape: Sequence[int], head: Head = PLAIN) -> tuple[int, ...]:
        """Return ``(width,)``; rows of any shape are flattened."""
        return (self.width,)

    def build(self, shape: Sequence[int], generator: torch.Generator, head: Head = PLAIN) -> Net:
        """Make the network, with weights as :func:`aepipe.learn.nets.affine` draws them."""
        size = math.prod(shape)
        code = "linear" if head.linear else self.code_activation
        encoder = nn.Sequential(
            nn.Flatten(),
            *([Holes()] if self.holes else []),
            *self._blocks(size * (1 + self.holes), self.width * head.heads, generator),
            ACTIVATIONS[code](),
        )
        decoder = nn.Sequential(*self._blocks(self.width, size, generator), nn.Unflatten(1, tuple(shape)))
        return Net(
            encoder,
            decoder,
            shape_in=shape,
            shape_out=(self.width,),
            rectified=code == "relu",
            holes=self.holes,
        )

    def _blocks(self, size_in: int, size_out: int, generator: torch.Generator) -> list[nn.Module]:
        """Return a map in, the blocks, and a map out."""
        first = affine(size_in, self.hidden, generator)
        blocks = [Block(self.hidden, ACTIVATIONS[self.activation](), generator) for _ in range(self.blocks)]
        last = affine(self.hidden, size_out, generator)
        return [first, *blocks, nn.LayerNorm(self.hidden), ACTIVATIONS[self.activation](), last]


class Block(nn.Module):
    """``x + affine(activation(affine(activation(norm(x)))))``.

    The last map starts at zero, so that a deep network starts as a shallow one. The norm keeps the sum of many
    corrections from growing with depth.
    """

    def __init__(self, width: int, activation: nn.Module, generator: torch.Generator) -> None:
        super().__init__()
        last = affine(width, width, generator)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        first = affine(width, width, generator)
        self.correction = nn.Sequential(nn.LayerNorm(width), activation, first, activation, last)

    def forward(self, x: Tensor) -> Tensor:
        """Return float[B, width] of the same."""
        return x + torch.as_tensor(self.correction(x))
