"""Pictures turned, sized, moved, mirrored and lit, each by numbers of its own.

The numbers of a row are drawn by whoever calls, evenly between -1 and 1, so arrays and tensors share everything else.

Source: Simard, Steinkraus and Platt, "Best Practices for Convolutional Neural Networks", ICDAR 2003; Jaderberg et al.,
"Spatial Transformer Networks", NIPS 2015, for the sampling.

Legend: B rows, H height, W width, C channels.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

DRAWS = 8
"""Numbers for each row."""


class Most(NamedTuple):
    """The largest changes.

    Attributes:
        shift: pixels of a move in each direction.
        turn: degrees.
        scale: of the logarithm of the factor on each side.
        mirror: chance that left and right change places.
        brightness: what is added to all cells.
        contrast: of the logarithm of the factor on the distance from the mean cell.
    """

    shift: float
    turn: float
    scale: float
    mirror: float
    brightness: float
    contrast: float


def change(x_BHWC: Tensor, draw_BD: Tensor, most: Most) -> Tensor:
    """Return changed pictures; outside of a picture, its edge goes on.

    Args:
        x_BHWC: values of 0..1.
        draw_BD: DRAWS numbers for each row, even between -1 and 1.
        most: the largest changes.
    """
    if most.shift or most.turn or most.scale or most.mirror:
        x_BHWC = _sampled(x_BHWC, _maps(draw_BD[:, :6], most, x_BHWC.shape[1:3]))
    if most.brightness or most.contrast:
        x_BHWC = _lit(x_BHWC, draw_BD[:, 6:], most)
    return x_BHWC


def _maps(draw_B6: Tensor, most: Most, size: tuple[int, ...]) -> Tensor:
    """Return the affine map of each row, from places in the new picture to those in the old, [B, 2, 3].

    Places are -1 to 1 from edge to edge; angles are those of a square picture.
    """
    angle_B, side_B = math.radians(most.turn) * draw_B6[:, 0], torch.exp(most.scale * draw_B6[:, 1:3])
    # A number from -1 to 1 is below 2 c - 1 with chance c.
    wide_B = side_B[:, 0] * torch.where(draw_B6[:, 3] < 2 * most.mirror - 1, -1.0, 1.0)
    moves_B2 = most.shift * draw_B6[:, 4:6] * torch.tensor([2 / size[1], 2 / size[0]], device=draw_B6.device)
    cos_B, sin_B = angle_B.cos(), angle_B.sin()
    first = torch.stack([cos_B * wide_B, -sin_B * side_B[:, 1], moves_B2[:, 0]], 1)
    second = torch.stack([sin_B * wide_B, cos_B * side_B[:, 1], moves_B2[:, 1]], 1)
    return torch.stack([first, second], 1)


def _sampled(x_BHWC: Tensor, maps_B23: Tensor) -> Tensor:
    planes = x_BHWC.permute(0, 3, 1, 2).float()
    places = F.affine_grid(maps_B23.float(), list(planes.shape), align_corners=False)
    moved = F.grid_sample(planes, places, padding_mode="border", align_corners=False)
    return moved.permute(0, 2, 3, 1).to(x_BHWC.dtype)


def _lit(x_BHWC: Tensor, draw_B2: Tensor, most: Most) -> Tensor:
    add, factor = most.brightness * draw_B2[:, 0], torch.exp(most.contrast * draw_B2[:, 1])
    mean = x_BHWC.mean((1, 2, 3), keepdim=True)
    lit = mean + (x_BHWC - mean) * factor[:, None, None, None] + add[:, None, None, None]
    return lit.clamp(0, 1).to(x_BHWC.dtype)
