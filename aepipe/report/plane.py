"""Codes on a plane: each row a dot, in the colour of its class, and a few rows as pictures where they lie."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from aepipe.report import canvas as ink

if TYPE_CHECKING:
    from collections.abc import Mapping

SIDE, MARGIN, LEGEND, TILE = 620, 20, 150, 28
FINE = 3
DOT = 2.1
COLOURS = (
    "#2563a8", "#c2570c", "#2a8a4a", "#a8322a", "#6f4aa8", "#7a5230", "#c2489a", "#4d5560", "#9a8f12", "#1a93a3",
)  # fmt: skip
"""Ten hues of like weight; classes beyond the ten most frequent are grey."""


def plane_picture(
    points: NDArray[np.floating],
    labels: Sequence[str | None],
    *,
    tiles: Mapping[int, Image.Image] | None = None,
    title: str = "",
) -> Image.Image:
    """Draw a map.

    Args:
        points: float[N, 2], in any units; both axes get the same scale.
        labels: the class of each row, None where it is not known.
        tiles: pictures of some rows, by position; where two would overlap the first one stays.
        title: a line above everything.
    """
    assert len(points), "a map shows at least one row"
    top = MARGIN + (26 if title else 0)
    frequent = [label for label, _ in Counter(label for label in labels if label).most_common(len(COLOURS))]
    colour = dict(zip(sorted(frequent), COLOURS, strict=False))
    placed, height = _placed(points)
    height = max(height, 18.0 * len(colour))
    sheet, pen = ink.canvas(2 * MARGIN + SIDE + (LEGEND if colour else 0), top + height + MARGIN)
    if title:
        ink.write(pen, (MARGIN, MARGIN - 4), title, points=13)
    dots = [(x, y, colour.get(label or "", "#b6bac1")) for (x, y), label in zip(placed, labels, strict=True)]
    sheet.paste(_dots(dots, height), (MARGIN * ink.SCALE, top * ink.SCALE))
    _paste_tiles(sheet, placed, tiles or {}, top)
    for line, (label, fill) in enumerate(colour.items()):
        y = top + 8 + 18 * line
        x = MARGIN + SIDE + 14
        pen.ellipse([v * ink.SCALE for v in (x - 4, y - 4, x + 4, y + 4)], fill=fill)
        ink.write(pen, (x + 10, y), label, anchor="lm", width=LEGEND - 30)
    return sheet


def _placed(points: NDArray[np.floating]) -> tuple[list[tuple[float, float]], float]:
    """Return where the rows lie, in points, and the height they take; outliers are moved in to the edge."""
    low, high = np.quantile(points, [0.0005, 0.9995], axis=0)
    inner = SIDE - 2 * TILE
    scale = inner / max(float((high - low).max()), 1e-12)
    extent = (high - low) * scale
    if extent[1] > extent[0]:  # the longer side lies down
        points, low, extent = points[:, ::-1], low[::-1], extent[::-1]
    corner = np.array([TILE + (inner - extent[0]) / 2, TILE])
    at = corner + ((points - low) * scale).clip(-TILE / 2, extent + TILE / 2)
    return [(float(x), float(y)) for x, y in at], float(extent[1]) + 2 * TILE


def _dots(dots: Sequence[tuple[float, float, str]], height: float) -> Image.Image:
    """Draw all dots, smooth and a little transparent, so that crowds are seen as such."""
    layer, _ = ink.canvas(SIDE, height)
    stamp = _stamp()
    for x, y, fill in dots:
        corner = (round(x * ink.SCALE - stamp.width / 2), round(y * ink.SCALE - stamp.height / 2))
        layer.paste(Image.new("RGB", stamp.size, fill), corner, stamp)
    return layer


def _stamp() -> Image.Image:
    """Return the mask of one dot."""
    side = math.ceil(2 * DOT * ink.SCALE) + 2
    mask = Image.new("L", (side * FINE, side * FINE), 0)
    middle, radius = side * FINE / 2, DOT * ink.SCALE * FINE
    box = (middle - radius, middle - radius, middle + radius, middle + radius)
    ImageDraw.Draw(mask).ellipse(box, fill=170)
    return mask.resize((side, side), Image.Resampling.BOX)


def _paste_tiles(
    sheet: Image.Image, placed: Sequence[tuple[float, float]], tiles: Mapping[int, Image.Image], top: float
) -> None:
    """Paste pictures where their rows lie, unless one is there already."""
    pen = ImageDraw.Draw(sheet)
    taken: list[tuple[float, float]] = []
    for position, picture in tiles.items():
        x, y = placed[position]
        if any(abs(x - a) < TILE + 2 and abs(y - b) < TILE + 2 for a, b in taken):
            continue
        taken.append((x, y))
        corner = (MARGIN + x - TILE / 2, top + y - TILE / 2)
        sheet.paste(ink.fit(picture, TILE), (round(corner[0] * ink.SCALE), round(corner[1] * ink.SCALE)))
        ink.frame(pen, corner, TILE, fill=ink.PAPER, points=1)
