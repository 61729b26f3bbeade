"""A Pillow canvas: colours, type, and pictures that fit into tiles.

Layout is in points; a picture has ``SCALE`` pixels to the point, so that it is crisp on dense screens.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_left
from collections.abc import Iterator
from itertools import islice

from PIL import Image, ImageDraw

from aepipe.report import fonts

SCALE = 2
PAPER, PALE, LINE = "#ffffff", "#f1f2f4", "#d5d8dd"
INK, MUTED = "#1f2328", "#6b7280"
BLUE, ORANGE = "#2563a8", "#c2570c"
"""Told apart also by people who do not see red and green as two colours."""

SHARP_BELOW = 64
"""A picture with no longer side than this is shown in sharp squares, not smoothed."""


def blank(width: float, height: float) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """Return an empty picture of that many points, and its pen."""
    picture = Image.new("RGB", (round(width * SCALE), round(height * SCALE)), PAPER)
    return picture, ImageDraw.Draw(picture)


def write(
    pen: ImageDraw.ImageDraw,
    at: tuple[float, float],
    text: str,
    *,
    points: float = 10,
    fill: str = INK,
    anchor: str = "la",
    width: float | None = None,
) -> None:
    """Write one line of text at a place in points, cut to a width."""
    shown = printable(text)
    if width is not None:
        shown = cut(shown, points, width)
    parts = list(fonts.runs(shown))
    x, y, pixels = at[0] * SCALE, at[1] * SCALE, points * SCALE
    if len(parts) == 1:
        pen.text((x, y), shown, fill=fill, font=fonts.sized(parts[0][1], pixels), anchor=anchor)
        return
    # Fonts differ in height, so their letters meet on the line that they stand on.
    x -= {"l": 0.0, "m": 0.5, "r": 1.0}[anchor[0]] * text_width(shown, points) * SCALE
    y += {"a": 0.8, "m": 0.3, "s": 0.0}[anchor[1]] * pixels
    for part, face in parts:
        pen.text((x, y), part, fill=fill, font=fonts.sized(face, pixels), anchor="ls")
        x += fonts.sized(face, pixels).getlength(part)


def cut(text: str, points: float, width: float) -> str:
    """Return a text, shortened in its middle until it is no wider than ``width`` points."""
    if _fits(text, points, width):
        return text
    fitting = bisect_left(range(1, len(text)), True, key=lambda n: not _fits(_shortened(text, n), points, width))
    return _shortened(text, fitting) if fitting else ""


def text_width(text: str, points: float) -> float:
    """Return the width of a text in points."""
    return sum(fonts.sized(face, points * SCALE).getlength(part) for part, face in fonts.runs(text)) / SCALE


def _fits(text: str, points: float, width: float) -> bool:
    return text_width(text, points) <= width


def _shortened(text: str, kept: int) -> str:
    head = kept // 3
    return f"{text[:head]}...{text[len(text) - (kept - head) :]}"


def fit(picture: Image.Image, side: float) -> Image.Image:
    """Fit a picture into a square tile: small ones in sharp squares, large ones smoothed.

    Args:
        picture: of any mode and size.
        side: of the tile, in points.
    """
    pixels = round(side * SCALE)
    shown = picture.convert("RGBA" if "transparency" in picture.info or picture.mode in {"RGBA", "LA", "PA"} else "RGB")
    longest = max(shown.size)
    ratio = pixels / longest
    sharp = longest <= SHARP_BELOW and ratio >= 1
    ratio = int(ratio) if sharp else ratio
    size = (max(1, round(shown.width * ratio)), max(1, round(shown.height * ratio)))
    shown = shown.resize(size, Image.Resampling.NEAREST if sharp else Image.Resampling.LANCZOS)
    tile = Image.new("RGB", (pixels, pixels), PALE)
    corner = ((pixels - size[0]) // 2, (pixels - size[1]) // 2)
    tile.paste(shown, corner, shown if shown.mode == "RGBA" else None)
    return tile


def passage(text: str, side: float, *, points: float = 8.5) -> Image.Image:
    """Return a tile with the beginning of a text, in lines."""
    tile = Image.new("RGB", (round(side * SCALE),) * 2, PALE)
    pen = ImageDraw.Draw(tile)
    room, step = side - 12, points * 1.35
    most = int((side - 10) / step)
    lines = list(islice(_lines(printable(" ".join(text.split())), points, room), most + 1))
    if len(lines) > most:
        last = lines[most - 1]
        while not _fits(f"{last} …", points, room):
            last = last[:-1].rstrip()
        lines = [*lines[: most - 1], f"{last} …"]
    for number, line in enumerate(lines):
        write(pen, (6, 6 + number * step), line, points=points, fill=INK, width=room)
    return tile


def _lines(text: str, points: float, room: float) -> Iterator[str]:
    """Yield the lines of a text; scripts without spaces, and long words, are broken anywhere."""
    line = ""
    for word in text.split(" "):
        longer = f"{line} {word}".strip()
        if _fits(longer, points, room):
            line = longer
            continue
        if line:
            yield line
        line = word
        while not _fits(line, points, room):
            fitting = bisect_left(range(1, len(line)), True, key=lambda n: not _fits(line[:n], points, room))
            yield line[: max(1, fitting)]
            line = line[max(1, fitting) :]
    yield line


def missing(caption: str, side: float) -> Image.Image:
    """Return a grey tile that says what should be there."""
    tile = Image.new("RGB", (round(side * SCALE),) * 2, PALE)
    pen = ImageDraw.Draw(tile)
    write(pen, (side / 2, side / 2 - 7), "no picture", points=9, fill=MUTED, anchor="mm", width=side - 8)
    write(pen, (side / 2, side / 2 + 7), caption, points=8, fill=MUTED, anchor="mm", width=side - 8)
    return tile


def frame(pen: ImageDraw.ImageDraw, at: tuple[float, float], side: float, *, fill: str, points: float) -> None:
    """Draw a frame around a tile, outside of it."""
    left, top, width = round(at[0] * SCALE), round(at[1] * SCALE), round(points * SCALE)
    edge = round(side * SCALE) - 1
    pen.rectangle((left - width, top - width, left + edge + width, top + edge + width), outline=fill, width=width)


def printable(text: str) -> str:
    """Return a text in letters that can be drawn, without line breaks and controls."""
    if text.isascii() and text.isprintable():
        return text
    whole = text.encode("utf-8", "replace").decode("utf-8")
    # What only joins or directs letters is not seen.
    seen = (c if c.isprintable() or c == " " else "" if unicodedata.category(c) == "Cf" else "?" for c in whole)
    return fonts.drawable("".join(seen))
