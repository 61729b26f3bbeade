"""Make 8 bits without transparency of pictures of every mode.

Deep grey values come to 0..255 without clipping any:

- 16 bits are divided by 257, so that white stays white. Where no value needs more than 14 bits, white is the highest
  value of the bits that are used: cameras and scanners write 10 or 12 bits into 16.
- 32-bit integers and floats have no fixed white: integers within 0..65535 count as 16 bits, floats within 0..1 as
  shares of white, within 0..255 as 8 bits; anything else is stretched from its lowest to its highest value.
- Values that would fill less than a sixteenth of 0..255 are stretched, too: two such pictures would be all but equal.
- Values that are not finite, or that the file calls no data, count as the lowest.

Transparency is laid on white; on black where the picture would vanish on white, as white icons do.

Large pictures go through in bands of rows, with the same result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

BAND = 1 << 22
"""Pixels of a band."""
CONTRAST = 16
"""A picture whose values differ less from the ground vanishes on it."""
NARROW = 1 / 16
"""Share of white that values must fill, else they are stretched."""
_DEEP = ("I", "F")
_BEYOND = 1e30
"""Floats from here on are marks of missing values, as maps have them."""

Convert = Callable[[Image.Image], Image.Image]


def flattened(image: Image.Image, by: int = 1, nodata: float | None = None) -> Image.Image:
    """Return a picture in 8 bits and without transparency, as L or RGB.

    Args:
        image: of any mode.
        by: a whole number that the sides are divided by, each pixel the mean of a block.
        nodata: the value of cells that have none.
    """
    clear = image.has_transparency_data
    if by == 1 and image.mode in ("L", "RGB") and not clear:
        return image
    if by == 1 and clear and image.width * image.height <= BAND and _is_seen(white := _on(image, "white"), "white"):
        return white  # most are, so nothing is done twice
    convert = _conversion(image, nodata)
    if by == 1 and image.width * image.height <= BAND:
        return convert(image)
    out, top = None, 0
    for band in _bands(image, by):
        flat = convert(band).reduce(by)
        out = out or Image.new(flat.mode, (-(-image.width // by), -(-image.height // by)))
        out.paste(flat, (0, top))
        top += flat.height
    assert out is not None, "a picture has a pixel"
    return out


def in_mode(image: Image.Image, mode: str) -> Image.Image:
    """Return a picture in a mode, without a copy where it is in it."""
    return image if image.mode == mode else image.convert(mode)


def _bands(image: Image.Image, by: int = 1) -> Iterator[Image.Image]:
    """Yield the picture in bands whose heights are multiples of ``by``; whole where it is small."""
    rows = max(1, BAND // image.width // by) * by
    if rows >= image.height:
        yield image
        return
    for top in range(0, image.height, rows):
        yield image.crop((0, top, image.width, min(top + rows, image.height)))


def _conversion(image: Image.Image, nodata: float | None) -> Convert:
    """Return what makes L or RGB of any part of a picture."""
    if image.mode.startswith("I;16"):
        return partial(_by_table, table=_table(*_bounds_of_16_bits(image, nodata), nodata))
    if image.mode in _DEEP:
        return partial(_by_bounds, bounds=_bounds(image, nodata), nodata=nodata)
    if image.has_transparency_data:
        return _opaque(image)
    return _from_lab() if image.mode == "LAB" else _flat


def _flat(image: Image.Image) -> Image.Image:
    return image if image.mode == "L" else in_mode(image, "L" if image.mode == "1" else "RGB")


def _on(image: Image.Image, ground: str) -> Image.Image:
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, ground), layer).convert("RGB")


def _opaque(image: Image.Image) -> Convert:
    """Return what lays any part of a picture on white; on black where the picture is seen on black only."""
    bands = _bands(image)
    if any(_is_seen(_on(band, "white"), "white") for band in bands):
        return partial(_on, ground="white")
    seen = any(_is_seen(_on(band, "black"), "black") for band in _bands(image))
    return partial(_on, ground="black" if seen else "white")


def _is_seen(laid: Any, ground: str) -> bool:  # noqa: ANN401  extrema of one channel have another type
    """Tell whether some value of a picture that is laid on a ground differs clearly from the ground."""
    extrema = laid.getextrema()
    return any(low <= 255 - CONTRAST if ground == "white" else high >= CONTRAST for low, high in extrema)


def _from_lab() -> Convert:
    """Return what makes RGB of colours as CIE Lab has them."""
    from PIL import ImageCms

    lab, rgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    made = ImageCms.buildTransform(lab, rgb, "LAB", "RGB")
    return lambda image: ImageCms.applyTransform(image, made) or image


def _bounds_of_16_bits(image: Image.Image, nodata: float | None) -> tuple[float, float]:
    """Return the values that become black and white."""
    return _fitting(*_extremes(image, nodata), _white_of_bits)


def _bounds(image: Image.Image, nodata: float | None) -> tuple[float, float]:
    """Return the values of 32 bits that become black and white."""
    low, high = _extremes(image, nodata)
    if image.mode == "I" and low >= 0 and high <= 65535:
        return _fitting(low, high, _white_of_bits)
    white = next((white for white in (1.0, 255.0) if image.mode == "F" and low >= 0 and high <= white), None)
    return (low, high) if white is None else _fitting(low, high, lambda _: white)


def _fitting(low: float, high: float, white_of: Callable[[float], float]) -> tuple[float, float]:
    """Return 0 and white; the lowest and the highest value where they are too near each other."""
    white = white_of(high)
    return (low, high) if 0 < high - low < white * NARROW else (0.0, white)


def _white_of_bits(high: float) -> float:
    """Return the highest value of the bits that are used; of all 16 where more than 14 are."""
    used = int(high).bit_length()
    return 65535.0 if used > 14 else float((1 << max(used, 1)) - 1)


def _extremes(image: Image.Image, nodata: float | None) -> tuple[float, float]:
    """Return the lowest and the highest value; 0 and 0 where there is none."""
    lows, highs = list[float](), list[float]()
    for band in _bands(image):
        values = np.asarray(band)
        known = values[_known(values, nodata)]
        if known.size:
            lows.append(float(known.min()))
            highs.append(float(known.max()))
    return (min(lows), max(highs)) if lows else (0.0, 0.0)


def _known(values: NDArray[np.generic], nodata: float | None) -> NDArray[np.bool_]:
    """Return which values are values."""
    known = np.abs(values) < _BEYOND if values.dtype.kind == "f" else np.ones(values.shape, np.bool_)
    return known if nodata is None else known & (values != np.asarray(nodata).astype(values.dtype))


def _table(low: float, high: float, nodata: float | None) -> NDArray[np.uint8]:
    """Return what becomes of each value of 16 bits."""
    values = np.arange(65536)
    return _scaled(np.where(_known(values, nodata), values, low), low, high)


def _by_table(image: Image.Image, table: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(table[np.asarray(image)])


def _by_bounds(image: Image.Image, bounds: tuple[float, float], nodata: float | None) -> Image.Image:
    values = np.asarray(image)
    return Image.fromarray(_scaled(np.where(_known(values, nodata), values, bounds[0]), *bounds))


def _scaled(values: NDArray[np.generic], low: float, high: float) -> NDArray[np.uint8]:
    share = (values.astype(np.float64) - low) / ((high - low) or 1.0)
    return np.floor(np.clip(share, 0, 1) * 255 + 0.5).astype(np.uint8)
