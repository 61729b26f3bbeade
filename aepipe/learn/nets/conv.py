"""Convolutions with max-pooling up; unpooling and transposed convolutions down.

Rows are images with their channels last, ``[H, W, C]``, and codes are maps with their channels last, so that another
convolution or a dense layer can stand on them.

Source: Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014, for switches.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field, field_validator
from torch import Tensor, nn

from aepipe import recipe
from aepipe.errors import RecipeError
from aepipe.learn.nets import ACTIVATIONS, PLAIN, Activation, Head, Net, Switches, draw

Count = Annotated[int, Field(ge=1, le=recipe.WIDEST)]


class Options(recipe.Options):
    """Options of the network.

    Attributes:
        channels: of the code.
        kernel: height and width of the filters, odd.
        stride: pixels from one place of the filters to the next.
        pool: height and width of the windows; max-pooling keeps one value of each; 1 keeps all.
        activation: of the code. The decoder's output is linear; the likelihood interprets it.
        tied: the decoder's filters are the encoder's.
    """

    digest_name: ClassVar[str] = "conv.Options"
    channels: Count
    kernel: Count = 5
    stride: Count = 1
    pool: Count = 1
    activation: Activation = "relu"
    tied: bool = False

    @property
    def holes(self) -> bool:
        """False."""
        return False

    @field_validator("kernel")
    @classmethod
    def _odd(cls, kernel: int) -> int:
        if kernel % 2 == 0:
            raise ValueError("a kernel has an odd number of pixels, such as 3 or 5, so that it has a middle")
        return kernel

    def code_shape(self, shape: Sequence[int], head: Head = PLAIN) -> tuple[int, ...]:
        """Return height, width and channels of the code.

        Raises:
            RecipeError: rows are no images, or too small; or the posterior cannot be pooled.
        """
        if len(shape) != 3:
            raise RecipeError(
                f"a convolution reads images, [height, width, channels], not the {math.prod(shape)} values that come "
                f"from below; allowed above a dense layer: dense, residual"
            )
        if head.heads > 1 and self.pool > 1:
            raise RecipeError(
                "max-pooling cannot keep a mean together with its variance; allowed with this posterior: pool = 1"
            )
        height, width = (_pooled(self._convolved(side), self.pool) for side in shape[:2])
        if not (height and width):
            raise RecipeError(
                f"pool = {self.pool} leaves nothing of {shape[0]} x {shape[1]} pixels; take a smaller one"
            )
        return height, width, self.channels

    def build(self, shape: Sequence[int], generator: torch.Generator, head: Head = PLAIN) -> Net:
        """Make the network; weights are uniform within one over the root of the fan-in, as in dense."""
        code, maps = self.code_shape(shape, head), self.channels * head.heads
        up = nn.Conv2d(shape[2], maps, self.kernel, self.stride, self.kernel // 2, device="meta").to_empty(device="cpu")
        draw(up, shape[2] * self.kernel**2, generator)
        activation = "linear" if head.linear else self.activation
        own = None if self.tied else torch.empty(self.channels, *up.weight.shape[1:])
        decoder = Down(up, own, (shape[0], shape[1]), (self._convolved(shape[0]), self._convolved(shape[1])), self.pool)
        if not self.tied:
            draw(decoder, self.channels * self.kernel**2, generator)
        encoder = Up(up, ACTIVATIONS[activation](), self.pool)
        return Convolution(encoder, decoder, shape_in=shape, shape_out=code, rectified=activation == "relu")

    def _convolved(self, side: int) -> int:
        return (side - 1) // self.stride + 1


class Convolution(Net):
    """A network whose decoder can use the switches of pooling."""

    encoder: Up
    decoder: Down

    def encode(self, x: Tensor) -> tuple[Tensor, Switches | None]:
        """Return the map of a batch, and the switches of its pooling."""
        return self.encoder.pooled(x)

    def decode(self, code: Tensor, switches: Switches | None = None) -> Tensor:
        """Return the parameters of the likelihood."""
        return torch.as_tensor(self.decoder(code, switches))


class Up(nn.Module):
    """Convolution, activation, max-pooling."""

    def __init__(self, convolution: nn.Conv2d, activation: nn.Module, pool: int) -> None:
        super().__init__()
        self.convolution = convolution
        self.activation = activation
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        """Return float[B, h, w, channels] of float[B, H, W, C]."""
        maps = self._maps(x)
        return _channels_last(F.max_pool2d(maps, self.pool) if self.pool > 1 else maps)

    def pooled(self, x: Tensor) -> tuple[Tensor, Switches | None]:
        """Return the same with the switches, None without pooling."""
        maps = self._maps(x)
        if self.pool == 1:
            return _channels_last(maps), None
        # Indices cost time, so only here and not in `forward`, which is the one that is frozen.
        kept, places = F.max_pool2d(maps, self.pool, return_indices=True)
        return _channels_last(kept), Switches(places)

    def _maps(self, x: Tensor) -> Tensor:
        # Before pooling, channels first.
        return torch.as_tensor(self.activation(self.convolution(_channels_first(x))))


class Down(nn.Module):
    """Unpooling, then a transposed convolution.

    Args:
        up: the encoder's convolution; its filters are used if the decoder has none.
        own: memory for filters of the decoder, float[channels, C, kernel, kernel]; None ties them to the encoder's.
        image: height and width of the row.
        maps: height and width of the maps before pooling.
        pool: of the encoder.
    """

    def __init__(
        self, up: nn.Conv2d, own: Tensor | None, image: tuple[int, int], maps: tuple[int, int], pool: int
    ) -> None:
        super().__init__()
        self._up = [up]  # within a list, so that it is no part of this module: parameters have one owner
        self.weight = None if own is None else nn.Parameter(own)
        self.bias = nn.Parameter(torch.zeros(up.in_channels))
        self._image, self._maps, self._pool = image, maps, pool

    def forward(self, code: Tensor, switches: Switches | None = None) -> Tensor:
        """Return float[B, H, W, C] of float[B, h, w, channels]."""
        up, maps = self._up[0], self._unpooled(_channels_first(code), switches)
        weight = up.weight[: code.shape[3]] if self.weight is None else self.weight
        stride, padding = up.stride[0], int(up.padding[0])
        # The convolution rounds down, so several heights give the same one; the lost rows are added again.
        missing = [
            side - ((length - 1) * stride - 2 * padding + weight.shape[2])
            for side, length in zip(self._image, self._maps, strict=True)
        ]
        return _channels_last(F.conv_transpose2d(maps, weight, self.bias, stride, padding, missing))

    def _unpooled(self, code: Tensor, switches: Switches | None) -> Tensor:
        """Put each value back at its place, or, without switches, spread it over its window.

        The even spread is the mean over all places of the window, if each is equally likely.
        """
        if self._pool == 1:
            return code
        if switches is not None:
            return F.max_unpool2d(code, switches.places, [self._pool] * 2, output_size=list(self._maps))
        spread = code.repeat_interleave(self._pool, 2).repeat_interleave(self._pool, 3) / self._pool**2
        # Pooling skips an incomplete window at the edge; those places get zeros.
        edges = [0, self._maps[1] - spread.shape[3], 0, self._maps[0] - spread.shape[2]]
        return F.pad(spread, edges)


def _pooled(side: int, pool: int) -> int:
    return side // pool


def _channels_first(x: Tensor) -> Tensor:
    return x.permute(0, 3, 1, 2)


def _channels_last(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1)
