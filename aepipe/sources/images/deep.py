"""Colours of 16 bits in PNG and TIFF, where Pillow gives the upper eight only.

Where a picture uses at most 14 of them, as cameras and scanners write 10 or 12 into 16, the upper eight are almost
nothing. The lower eight are what Pillow gives when it is told that the bytes come in the other order.
"""

from __future__ import annotations

import re
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

_NATIVE = "L" if sys.byteorder == "little" else "B"
_MODE = re.compile("RGB[AX]?;16[BLN]?$")
_FEW = 64
"""The upper eight of 16 bits are below this where at most 14 are used."""


def has_16_bits(image: ImageFile.ImageFile) -> bool:
    """Tell by the header whether a picture has colours of 16 bits."""
    return image.mode in ("RGB", "RGBA") and bool(image.tile) and all(_MODE.match(_mode(tile)) for tile in image.tile)


def uses_few_bits(image: Any) -> bool:  # noqa: ANN401  extrema of one channel have another type
    """Tell whether the upper eight bits of a decoded picture say that at most 14 of 16 are used."""
    return max(int(high) for _, high in image.getextrema()[:3]) < _FEW


def swapped(image: ImageFile.ImageFile) -> ImageFile.ImageFile:
    """Change a picture so that decoding it gives the lower eight bits, and return it."""
    image.tile = [tile._replace(args=_with_mode(tile, _other(_mode(tile)))) for tile in image.tile]
    return image


def joined(high: Image.Image, low: Image.Image) -> Image.Image:
    """Return a picture of upper and lower eight bits, scaled by the bits that are used."""
    values: NDArray[np.uint16] = (np.asarray(high).astype(np.uint16) << 8) | np.asarray(low)
    return Image.fromarray(np.concatenate([_scaled(values[..., :3]), _scaled(values[..., 3:])], axis=-1))


def _scaled(values: NDArray[np.uint16]) -> NDArray[np.uint8]:
    used = int(values.max(initial=0)).bit_length()
    white = 65535 if used > 14 else (1 << max(used, 1)) - 1
    return ((values.astype(np.uint32) * 510 + white) // (2 * white)).astype(np.uint8)


def _mode(tile: ImageFile._Tile) -> str:
    first = tile.args[0] if isinstance(tile.args, tuple) else tile.args
    return str(first)


def _with_mode(tile: ImageFile._Tile, mode: str) -> str | tuple[object, ...]:
    return (mode, *tile.args[1:]) if isinstance(tile.args, tuple) else mode


def _other(mode: str) -> str:
    """Return a raw mode for the other order of bytes: ``RGB;16B`` for ``RGB;16L``."""
    order = mode[-1] if mode[-1] in "LBN" else _NATIVE
    order = _NATIVE if order == "N" else order
    return f"{mode.partition(';')[0]};16{'B' if order == 'L' else 'L'}"
