"""Rows of a network as a grid of small pictures: filters, reconstructions, samples, walks, tangents.

Legend: rows are float ``[..., height, width, channels]`` with 1 or 3 channels, as images go into the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from aepipe.report import canvas as ink

SIDE, GAP, MARGIN, HEADER, NAME_GAP = 56, 5, 20, 28, 12
Shades = Literal["values", "signed"]


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """One line of tiles.

    Attributes:
        name: written on its left; may be empty.
        tiles: float[T, height, width, channels].
        shades: ``values`` shows 0..1 as black to white; ``signed`` shows zero as white, positive values in blue and
            negative ones in orange, the largest magnitude of each tile at full colour.
    """

    name: str
    tiles: NDArray[np.floating]
    shades: Shades = "values"


def grid_picture(lines: Sequence[Line], *, title: str = "", heads: Sequence[str] = (), side: int = SIDE) -> Image.Image:
    """Draw lines of tiles, aligned in columns.

    Args:
        lines: at least one, of at least one tile each.
        title: a line above everything.
        heads: what stands above the columns; as many as tiles, or none.
        side: of a tile, in points.
    """
    assert lines, "a grid has at least one line"
    named = max(ink.font(10).getlength(line.name) for line in lines) / ink.SCALE
    left = MARGIN + (min(named, 160) + NAME_GAP if named else 0)
    columns = max(len(line.tiles) for line in lines)
    top = MARGIN + (HEADER if title else 0) + (16 if heads else 0)
    pitch = side + GAP
    needed = left + columns * pitch - GAP + MARGIN
    width = max(needed, 2 * MARGIN + ink.font(13).getlength(title) / ink.SCALE) if title else needed
    sheet, pen = ink.canvas(width, top + len(lines) * pitch - GAP + MARGIN)
    if title:
        ink.write(pen, (MARGIN, MARGIN - 4), title, points=13)
    for column, head in enumerate(heads):
        at = (left + column * pitch + side / 2, top - 13)
        ink.write(pen, at, head, points=9, fill=ink.MUTED, anchor="ma", width=side)
    for number, line in enumerate(lines):
        y = top + number * pitch
        ink.write(pen, (MARGIN, y + side / 2), line.name, fill=ink.MUTED, anchor="lm", width=160)
        for column, tile in enumerate(line.tiles):
            place = (round((left + column * pitch) * ink.SCALE), round(y * ink.SCALE))
            sheet.paste(ink.fit(shade(tile, line.shades), side), place)
    return sheet


def tiled(tiles: NDArray[np.floating], columns: int, shades: Shades = "values") -> list[Line]:
    """Break many tiles without names into lines of a grid."""
    return [Line("", tiles[start : start + columns], shades) for start in range(0, len(tiles), columns)]


def as_images(rows: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return rows as images: those that have another shape become a strip of one line of cells.

    Args:
        rows: float[N, *shape].
    """
    if rows.ndim == 4 and rows.shape[3] in {1, 3}:
        return rows
    return rows.reshape(len(rows), 1, -1, 1)


def shade(tile: NDArray[np.floating], shades: Shades) -> Image.Image:
    """Return one tile as a picture of its own size."""
    values = np.nan_to_num(np.asarray(tile, np.float64))
    if shades == "values":
        grey = np.round(values.clip(0, 1) * 255).astype(np.uint8)
        return Image.fromarray(grey[:, :, 0] if grey.shape[2] == 1 else grey)
    strength = values.mean(axis=2)
    strength = strength / max(float(np.abs(strength).max()), 1e-12)
    colours = {"blue": _rgb(ink.BLUE), "orange": _rgb(ink.ORANGE)}
    toward = np.where(strength[:, :, None] >= 0, colours["blue"], colours["orange"])
    mixed = 255 + (toward - 255) * np.abs(strength)[:, :, None]
    return Image.fromarray(np.round(mixed).astype(np.uint8))


def _rgb(colour: str) -> NDArray[np.float64]:
    """Return a colour such as ``#2563a8`` as three numbers."""
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)], np.float64)
