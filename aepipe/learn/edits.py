"""Edits of pictures, as people and programs make copies; each row gets some of them.

Crops, turns, mirrors and frames are one affine map of the row; then contrast, brightness, blur, noise and a band of
words follow. Each is there with a chance of its own, so that many copies have one or two edits and few have all.

Legend: B rows of a batch, H height, W width, C channels.
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from aepipe import recipe

Part = Annotated[float, Field(ge=0, le=0.5)]


class Edits(recipe.Options):
    """How strong edits are; 0 leaves one out.

    Attributes:
        crop: most of the width and of the height that is cut off.
        frame: widest frame, as a part of the picture.
        turn: largest turn, in degrees.
        mirror: share of the rows that are mirrored.
        light: largest factor of brightness, as its natural logarithm, up or down.
        contrast: most that contrast is changed, as a part of it.
        blur: share of the mean of the neighbourhood in the strongest blur.
        noise: largest standard deviation.
        band: highest band of words, as a part of the height.
    """

    digest_name: ClassVar[str] = "copies.Edits"
    crop: Part = 0.35
    frame: Part = 0.12
    turn: Annotated[float, Field(ge=0, le=45)] = 12.0
    mirror: Annotated[float, Field(ge=0, le=1)] = 0.35
    light: Annotated[float, Field(ge=0, le=2)] = 0.6
    contrast: Annotated[float, Field(ge=0, le=1)] = 0.6
    blur: Annotated[float, Field(ge=0, le=1)] = 1.0
    noise: Part = 0.06
    band: Part = 0.27

    def apply(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Return edited rows.

        Args:
            x: float[B, H, W, C], 0..1. Rows of another shape get brightness, contrast and noise only.
            generator: of the draws, on the device of the rows.
        """
        draw = _Draw(x, generator)
        if x.ndim != 4:
            return self._noisy(self._lit(x, draw), draw)
        moved = self._moved(x, draw)
        return self._captioned(self._noisy(self._blurred(self._lit(moved, draw), draw), draw), draw).clamp(0, 1)

    def _moved(self, x: Tensor, draw: _Draw) -> Tensor:
        """Return rows under affine maps; what comes in has one colour."""
        kept = 1 - draw.some(0.5, 0, self.crop)
        across, down = (draw.between(-1, 1) * (1 - kept) for _ in range(2))
        framed = draw.chance(0.25)
        wide = kept * (1 + framed * draw.between(0, 2 * self.frame))
        high = kept * (1 + framed * draw.between(0, 2 * self.frame))
        angle = draw.some(0.4, -self.turn, self.turn) * (math.pi / 180)
        flip = 1 - 2 * draw.chance(self.mirror)
        cos, sin = angle.cos(), angle.sin()
        first = torch.stack([cos * wide * flip, -sin * high, across], 1)
        second = torch.stack([sin * wide * flip, cos * high, down], 1)
        pixels = x.permute(0, 3, 1, 2)
        places = F.affine_grid(torch.stack([first, second], 1), list(pixels.shape), align_corners=False)
        # Half of what comes in is black or white, as corners and frames often are.
        ground = draw.between(0, 1)
        ground = torch.where(draw.chance(0.6) > 0, ground.round(), ground).view(-1, 1, 1, 1)
        return (F.grid_sample(pixels - ground, places, align_corners=False) + ground).permute(0, 2, 3, 1)

    def _lit(self, x: Tensor, draw: _Draw) -> Tensor:
        """Change contrast and brightness; what becomes too bright or too dark is cut off."""
        mean = x.flatten(1).mean(1).view(draw.along)
        contrast = (1 + draw.some(0.35, -self.contrast, self.contrast)).view(draw.along)
        light = draw.some(0.35, -self.light, self.light).exp().view(draw.along)
        return ((mean + (x - mean) * contrast) * light).clamp(0, 1)

    def _blurred(self, x: Tensor, draw: _Draw) -> Tensor:
        share = draw.some(0.3, 0, self.blur).view(draw.along)
        pixels = F.pad(x.permute(0, 3, 1, 2), (2, 2, 2, 2), mode="replicate")
        return x + (F.avg_pool2d(pixels, 5, 1).permute(0, 2, 3, 1) - x) * share

    def _noisy(self, x: Tensor, draw: _Draw) -> Tensor:
        noise = torch.randn(x.shape, generator=draw.generator, device=x.device, dtype=x.dtype)
        return x + noise * draw.some(0.3, 0, self.noise).view(draw.along)

    def _captioned(self, x: Tensor, draw: _Draw) -> Tensor:
        """Lay a black or white band over the top or the bottom, with strokes in it that stand for words."""
        height = draw.some(0.25, 0, self.band)[:, None]
        place = (torch.arange(x.shape[1], device=x.device) + 0.5) / x.shape[1]
        covered = torch.where(draw.chance(0.5)[:, None] > 0, place < height, place > 1 - height)[:, :, None, None]
        ground = draw.chance(0.5).view(-1, 1, 1, 1)
        columns = draw.uniform((len(x), 1, x.shape[2], 1)) < 0.35
        lines = draw.uniform((len(x), x.shape[1], 1, 1)) < 0.6
        strokes = (columns & lines) * draw.between(0, 0.8).view(-1, 1, 1, 1)
        return torch.where(covered, ground + (1 - 2 * ground) * strokes, x)


class _Draw(NamedTuple):
    """Draws, one for each row."""

    x: Tensor
    generator: torch.Generator

    @property
    def along(self) -> tuple[int, ...]:
        return (-1, *(1,) * (self.x.ndim - 1))

    def uniform(self, shape: tuple[int, ...]) -> Tensor:
        return torch.rand(shape, generator=self.generator, device=self.x.device)

    def between(self, low: float, high: float) -> Tensor:
        return low + (high - low) * self.uniform((len(self.x),))

    def chance(self, share: float) -> Tensor:
        return (self.uniform((len(self.x),)) < share).to(self.x.dtype)

    def some(self, share: float, low: float, high: float) -> Tensor:
        """Return a draw for a share of the rows, and 0 for the others."""
        return self.chance(share) * self.between(low, high)
