"""Sequences of vectors, read and written by gated recurrent units.

The first axis of a row is time, and the rest is one vector: an image is read line by line. The code is the state at the
end of the sequence; the decoder unfolds it without a look at its own output.

Source: Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder", EMNLP 2014, for the unit; Srivastava et
al., "Unsupervised Learning of Video Representations using LSTMs", ICML 2015, for the unconditioned decoder.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from aepipe import recipe
from aepipe.errors import RecipeError
from aepipe.learn.nets import ACTIVATIONS, PLAIN, Activation, Head, Net, affine, draw

Count = Annotated[int, Field(ge=1, le=recipe.WIDEST)]


class Options(recipe.Options):
    """Options of the network.

    Attributes:
        width: H.
        hidden: units of the state, of the encoder and of the decoder.
        activation: of the code.
    """

    digest_name: ClassVar[str] = "gru.Options"
    width: Count
    hidden: Count = 256
    activation: Activation = "linear"

    @property
    def holes(self) -> bool:
        """False."""
        return False

    def code_shape(self, shape: Sequence[int], head: Head = PLAIN) -> tuple[int, ...]:
        """Return ``(width,)``.

        Raises:
            RecipeError: rows have one axis only, so there is no sequence.
        """
        if len(shape) < 2:
            raise RecipeError(
                f"a recurrent network reads sequences of vectors, [steps, ...], not one vector of {math.prod(shape)} "
                f"values; allowed there: dense, residual"
            )
        return (self.width,)

    def build(self, shape: Sequence[int], generator: torch.Generator, head: Head = PLAIN) -> Net:
        """Make the network; the units' weights are uniform within one over the root of their number."""
        code_shape = self.code_shape(shape, head)
        activation = "linear" if head.linear else self.activation
        size = math.prod(shape[1:])
        to_code = affine(self.hidden, self.width * head.heads, generator)
        encoder = nn.Sequential(nn.Flatten(2), Last(_unit(size, self.hidden, generator)), to_code)
        encoder.append(ACTIVATIONS[activation]())
        decoder = nn.Sequential(
            Unfold(
                affine(self.width, self.hidden, generator), _unit(self.width, self.hidden, generator), steps=shape[0]
            ),
            affine(self.hidden, size, generator),
            nn.Unflatten(2, tuple(shape[1:])),
        )
        return Net(encoder, decoder, shape_in=shape, shape_out=code_shape, rectified=activation == "relu")


class Last(nn.Module):
    """The state at the end of a sequence."""

    def __init__(self, unit: nn.GRU) -> None:
        super().__init__()
        self.unit = unit

    def forward(self, x: Tensor) -> Tensor:
        """Return float[B, hidden] of float[B, T, size]."""
        _, state = self.unit(x)
        return torch.as_tensor(state[0])


class Unfold(nn.Module):
    """The states of a unit that starts from a code and reads the code again at every step."""

    def __init__(self, start: nn.Linear, unit: nn.GRU, *, steps: int) -> None:
        super().__init__()
        self.start = start
        self.unit = unit
        self.steps = steps

    def forward(self, code: Tensor) -> Tensor:
        """Return float[B, T, hidden] of float[B, H]."""
        told = code[:, None].expand(-1, self.steps, -1).contiguous()
        # Within -1 and 1 by tanh, as the states of gated units are.
        states, _ = self.unit(told, torch.tanh(self.start(code))[None].to(told.dtype))
        return torch.as_tensor(states)


def _unit(size: int, hidden: int, generator: torch.Generator) -> nn.GRU:
    unit = nn.GRU(size, hidden, batch_first=True, device="meta").to_empty(device="cpu")
    draw(unit, hidden, generator)
    return unit
