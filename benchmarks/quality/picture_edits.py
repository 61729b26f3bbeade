"""Twelve edits of a picture, each at three strengths, as people and programs make them.

All draws come from a generator that is seeded with the picture's number and the edit's, so every system meets the same
pictures.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps

STRENGTHS = 3
Edit = Callable[[Image.Image, int, np.random.Generator], Image.Image]


def _scaled(picture: Image.Image, factor: float) -> Image.Image:
    width, height = (max(8, round(side * factor)) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.BICUBIC)


def _encoded(picture: Image.Image, quality: int) -> Image.Image:
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=quality)
    return Image.open(stream).convert("RGB")


def _cropped(picture: Image.Image, side: float, rng: np.random.Generator) -> Image.Image:
    width, height = (max(8, round(length * side)) for length in picture.size)
    left, top = (int(rng.integers(0, spare + 1)) for spare in (picture.width - width, picture.height - height))
    return picture.crop((left, top, left + width, top + height))


def resize(picture: Image.Image, strength: int, rng: np.random.Generator) -> Image.Image:
    """Make it a half, a third or a quarter as large; the strongest also changes its aspect by a tenth."""
    small = _scaled(picture, (1 / 2, 1 / 3, 1 / 4)[strength])
    return small if strength < 2 else small.resize((max(8, round(small.width * 1.1)), small.height))


def encode(picture: Image.Image, strength: int, rng: np.random.Generator) -> Image.Image:
    """Save it as JPEG of quality 50, 25 or 10."""
    return _encoded(picture, (50, 25, 10)[strength])


def crop(picture: Image.Image, strength: int, rng: np.random.Generator) -> Image.Image:
    """Keep 90 %, 80 % or 70 % of its width and of its height, anywhere in it."""
    return _cropped(picture, (0.9, 0.8, 0.7)[strength], rng)


def turn(picture: Image.Image, strength: int, rng: np.random.Generator) -> Image.Image:
    """Turn it by 3, 6 or 10 degrees to either side; corners are black or white."""
    degrees = (3, 6, 10)[strength] * int(rng.choice([-1, 1]))
    corner = ((0, 0, 0), (255, 255, 255))[int(rng.integers(2))]
    return picture.rotate(degrees, Image.Resampling.BICUBIC, fillcolor=corner)


def mirror(picture: Image.Image, strength: int, rng: np.random.Generator) -> Image.Image:
    """Mirror it; then also save it as JPEG of quality 50, or keep 90 % of its width and height."""
    found = ImageOps.mirror(picture)
    return (found, _encoded(found, 50), _cropped(found, 0.9, rng))[strength]


def caption(picture: Image.Image, strength: int, rng: np.random.Generator) -> Image.Image:
    """Lay a band of 10 %, 17 % or 25 % of its height over it, at the top or the bottom, with words in it."""
    found, high = picture.copy(), max(6, round(picture.height * (0.10, 0.17, 0.25)[strength]))
    top = 0 if rng.integers(2) else picture.height - high
    ground, ink = ((0, 0, 0), (255, 255, 255))[:: int(rng.choice([-1, 1]))]
    draw = ImageDraw.Draw(found)
    draw.rectangle((0, top, picture.width, top + high), fill=ground)
    words = " ".join(rng.choice(["one", "does", "not", "simply", "when", "you", "see", "it"], 4))
    draw.text((4, top + high * 0.1), words, fill=ink, font=ImageFont.load_default(max(5, round(high * 0.7))))
    return found


def brighter(picture: Image.Image, strength: int, rng: np.random.Generator) -> Image.Image:
    """Multiply its values by 1.2, 1.4 or 1.7."""
    return ImageEnhance.Brightness(picture).enhance((1.2, 1.4, 1.7)[strength])


def contrast(picture: Image.Image, strength: int, rng: np.random.Generator) -> Image.Image:
    """Multiply its contrast by 0.7, 1.5 or 0.4."""
    return ImageEnhance.Contrast(picture).enhance((0.7, 1.5, 0.4)[strength])


def colours(picture: Image.Image, strength: int, rng: np.random.Generator) -> Image.Image:
    """Halve its colours, make it grey, or make it brown as old photographs are."""
    if strength < 2:
        return ImageEnhance.Color(picture).enhance((0.5, 0.0)[strength])
    return ImageOps.colorize(ImageOps.grayscale(picture), (30, 15, 5), (255, 240, 200))


def blur(picture: Image.Image, strength: int, rng: np.random.Generator) -> Image.Image:
    """Blur it by 1, 2 or 3 pixels of its 160."""
    return picture.filter(ImageFilter.GaussianBlur((1, 2, 3)[strength]))


def noise(picture: Image.Image, strength: int, rng: np.random.Generator) -> Image.Image:
    """Add noise with a standard deviation of 8, 16 or 32 of 255."""
    values = np.asarray(picture, np.float64)
    loud = values + rng.normal(0, (8, 16, 32)[strength], values.shape)
    return Image.fromarray(loud.clip(0, 255).astype(np.uint8))


def frame(picture: Image.Image, strength: int, rng: np.random.Generator) -> Image.Image:
    """Put a frame around it, 3 %, 6 % or 10 % of its longest side wide, of one colour."""
    wide = round(max(picture.size) * (0.03, 0.06, 0.10)[strength])
    return ImageOps.expand(picture, wide, tuple(int(value) for value in rng.integers(0, 256, 3)))


EDITS: Mapping[str, Edit] = {
    edit.__name__: edit
    for edit in (resize, encode, crop, turn, mirror, caption, brighter, contrast, colours, blur, noise, frame)
}


def edited(picture: Image.Image, name: str, strength: int, number: int) -> Image.Image:
    """Return a picture, RGB, after an edit.

    Args:
        picture: RGB.
        name: of the edit.
        strength: 0, 1 or 2.
        number: of the picture, for the draws.
    """
    rng = np.random.default_rng([number, list(EDITS).index(name), strength])
    return EDITS[name](picture, strength, rng)
