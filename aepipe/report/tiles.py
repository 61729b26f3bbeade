"""A contact sheet of search results: each query, and what was found for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from aepipe.report import canvas as ink

SIDE, GAP, MARGIN, ARROW = 112, 10, 20, 44
CAPTION, HEADER = 34, 30
COLUMNS = 10
"""Hits in one line; more go on below."""


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """One item of a sheet.

    Attributes:
        key: shown where there is no picture, and under a query.
        picture: any mode and size; None where the original is gone, or is none to look at.
        text: shown in place of a picture that there is not; empty where there is nothing to read either.
        label: empty where it is not known.
        distance: in bits; None for a query.
    """

    key: str
    picture: Image.Image | None = None
    label: str = ""
    distance: int | None = None
    text: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """One query and its hits, nearest first."""

    query: Tile
    hits: Sequence[Tile]


def hits_picture(results: Sequence[Found], *, title: str = "", columns: int = COLUMNS) -> Image.Image:
    """Draw one row for each query: the query, framed, and its hits with distance and label.

    Where the query's label is known, hits with another one are framed in orange.

    Args:
        results: at least one.
        title: a line above everything.
        columns: hits in one line.
    """
    assert results, "a sheet shows at least one query"
    wide = max(1, min(columns, max(len(found.hits) for found in results)))
    heights = [_height(len(found.hits), wide) for found in results]
    width = 2 * MARGIN + SIDE + ARROW + wide * (SIDE + GAP) - GAP
    top = MARGIN + (HEADER if title else 0)
    sheet, pen = ink.canvas(width, top + sum(heights) + MARGIN - GAP)
    if title:
        ink.write(pen, (MARGIN, MARGIN - 4), title, points=13, width=width - 2 * MARGIN)
    for found, height in zip(results, heights, strict=True):
        _draw_result(sheet, pen, found, top, wide)
        top += height
    return sheet


def _height(hits: int, columns: int) -> int:
    """Return the points that one result takes."""
    lines = max(1, -(-hits // columns))
    return lines * (SIDE + CAPTION + GAP)


def _draw_result(sheet: Image.Image, pen: ImageDraw.ImageDraw, found: Found, top: float, columns: int) -> None:
    """Draw a query, an arrow, and its hits."""
    _draw_tile(sheet, pen, found.query, (MARGIN, top), mark=ink.INK)
    _draw_arrow(pen, (MARGIN + SIDE + ARROW / 2, top + SIDE / 2))
    left = MARGIN + SIDE + ARROW
    if not found.hits:
        ink.write(pen, (left, top + SIDE / 2), "nothing found", points=11, fill=ink.MUTED, anchor="lm")
    for place, hit in enumerate(found.hits):
        line, column = divmod(place, columns)
        at = (left + column * (SIDE + GAP), top + line * (SIDE + CAPTION + GAP))
        other = bool(found.query.label) and hit.label != found.query.label
        _draw_tile(sheet, pen, hit, at, mark=ink.ORANGE if other else "")


def _draw_tile(sheet: Image.Image, pen: ImageDraw.ImageDraw, tile: Tile, at: tuple[float, float], *, mark: str) -> None:
    """Draw a picture with its frame, and two lines under it: distance or key, and label."""
    if tile.picture is not None:
        shown = ink.fit(tile.picture, SIDE)
    else:
        shown = ink.passage(tile.text, SIDE) if tile.text else ink.missing(tile.key, SIDE)
    sheet.paste(shown, (round(at[0] * ink.SCALE), round(at[1] * ink.SCALE)))
    query = tile.distance is None
    ink.frame(pen, at, SIDE, fill=mark or ink.LINE, points=2 if query else 1 if mark else 0.5)
    first = tile.key if query else f"{tile.distance} bit{'' if tile.distance == 1 else 's'}"
    below = at[1] + SIDE + 6
    ink.write(pen, (at[0], below), first, points=10, fill=ink.MUTED if query else ink.INK, width=SIDE)
    fill = ink.ORANGE if mark == ink.ORANGE else ink.INK if query else ink.MUTED
    ink.write(pen, (at[0], below + 13), tile.label, points=10, fill=fill, width=SIDE)


def _draw_arrow(pen: ImageDraw.ImageDraw, centre: tuple[float, float]) -> None:
    """Draw a small arrow to the right."""
    x, y = centre[0] * ink.SCALE, centre[1] * ink.SCALE
    reach, head = 8 * ink.SCALE, 4 * ink.SCALE
    pen.line((x - reach, y, x + reach - head, y), fill=ink.MUTED, width=ink.SCALE)
    pen.polygon(
        [(x + reach, y), (x + reach - head * 1.5, y - head), (x + reach - head * 1.5, y + head)], fill=ink.MUTED
    )


def strip_picture(tiles: Sequence[Tile], *, side: int = 32) -> Image.Image:
    """Draw tiles side by side without a word, the first one framed: for a terminal.

    Args:
        tiles: the query and its hits.
        side: of one tile, in points; between two tiles is an eighth of it.
    """
    gap = side / 8
    sheet, pen = ink.canvas(len(tiles) * (side + gap), side + gap)
    for place, tile in enumerate(tiles):
        at = (place * (side + gap) + gap / 2, gap / 2)
        shown = (
            Image.new("RGB", (side * ink.SCALE,) * 2, ink.PALE) if tile.picture is None else ink.fit(tile.picture, side)
        )
        sheet.paste(shown, (round(at[0] * ink.SCALE), round(at[1] * ink.SCALE)))
        if place == 0:
            ink.frame(pen, at, side, fill=ink.ORANGE, points=gap / 4)
    return sheet
