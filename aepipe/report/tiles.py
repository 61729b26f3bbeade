"""Contact sheets: queries with their hits, grids of tiles, and rows as tiles.

Legend: rows of a grid are float ``[..., height, width, channels]`` with 1 or 3 channels, as images go into the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from aepipe.errors import ItemError
from aepipe.release import originals
from aepipe.release.query import Answer
from aepipe.release.release import Release
from aepipe.release.search import Hit, Question
from aepipe.report import canvas
from aepipe.sources import drawing, has_text, readable
from aepipe.store.segments import Row

SIDE, GAP, MARGIN, ARROW = 112, 10, 20, 44
CAPTION, HEADER = 34, 30
COLUMNS = 10
"""Hits in one line; more go on below."""

CELL, CELL_GAP, GRID_HEADER, NAME_GAP = 56, 5, 28, 12
"""Of a grid: its tiles are smaller."""
LONGEST = 224
SNIPPET = "snippet"
"""The column with the beginning of a document, or with a row of a table in a line."""

Shades = Literal["values", "signed"]


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """One item of a sheet.

    Attributes:
        key: shown where there is no picture, and under a query.
        picture: any mode and size; None where the original is gone, or is none to look at.
        text: shown in place of a picture that there is not; empty where there is nothing to read either.
        label: empty where it is not known.
        labels: the same, or each of several.
        distance: in bits; None for a query.
        cosine: of the embeddings; None where hits are in the order of their codes.
        said: under a hit, in place of its distance.
    """

    key: str
    picture: Image.Image | None = None
    label: str = ""
    distance: int | None = None
    text: str = ""
    labels: tuple[str, ...] = ()
    cosine: float | None = None
    said: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """One query and its hits, nearest first."""

    query: Tile
    hits: Sequence[Tile]


def hits_picture(results: Sequence[Found], *, title: str = "", columns: int = COLUMNS) -> Image.Image:
    """Draw one row for each query: the query, framed, and its hits with distance and label.

    Where the query's label is known, hits with another one are framed in orange; of several, none is in common.

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
    sheet, pen = canvas.blank(width, top + sum(heights) + MARGIN - GAP)
    if title:
        canvas.write(pen, (MARGIN, MARGIN - 4), title, points=13, width=width - 2 * MARGIN)
    for found, height in zip(results, heights, strict=True):
        _draw_result(sheet, pen, found, top, wide)
        top += height
    return sheet


def _height(hits: int, columns: int) -> int:
    lines = max(1, -(-hits // columns))
    return lines * (SIDE + CAPTION + GAP)


def _draw_result(sheet: Image.Image, pen: ImageDraw.ImageDraw, found: Found, top: float, columns: int) -> None:
    """Draw a query, an arrow, and its hits."""
    _draw_tile(sheet, pen, found.query, (MARGIN, top), mark=canvas.INK)
    _draw_arrow(pen, (MARGIN + SIDE + ARROW / 2, top + SIDE / 2))
    left = MARGIN + SIDE + ARROW
    if not found.hits:
        canvas.write(pen, (left, top + SIDE / 2), "nothing found", points=11, fill=canvas.MUTED, anchor="lm")
    for place, hit in enumerate(found.hits):
        line, column = divmod(place, columns)
        at = (left + column * (SIDE + GAP), top + line * (SIDE + CAPTION + GAP))
        other = bool(found.query.label) and not _related(found.query, hit)
        _draw_tile(sheet, pen, hit, at, mark=canvas.ORANGE if other else "")


def _related(query: Tile, hit: Tile) -> bool:
    """Say whether two items have a label in common."""
    return bool(set(query.labels or (query.label,)) & set(hit.labels or (hit.label,)))


def _draw_tile(sheet: Image.Image, pen: ImageDraw.ImageDraw, tile: Tile, at: tuple[float, float], *, mark: str) -> None:
    """Draw a picture with its frame, and two lines under it: distance or key, and label."""
    if tile.picture is not None:
        shown = canvas.fit(tile.picture, SIDE)
    else:
        shown = canvas.passage(tile.text, SIDE) if tile.text else canvas.missing(tile.key, SIDE)
    sheet.paste(shown, (round(at[0] * canvas.SCALE), round(at[1] * canvas.SCALE)))
    query = tile.distance is None
    canvas.frame(pen, at, SIDE, fill=mark or canvas.LINE, points=2 if query else 1 if mark else 0.5)
    cosine = "" if tile.cosine is None else f", cosine {tile.cosine:.2f}"
    first = tile.key if query else tile.said or f"{tile.distance} bit{'' if tile.distance == 1 else 's'}{cosine}"
    below = at[1] + SIDE + 6
    canvas.write(pen, (at[0], below), first, points=10, fill=canvas.MUTED if query else canvas.INK, width=SIDE)
    fill = canvas.ORANGE if mark == canvas.ORANGE else canvas.INK if query else canvas.MUTED
    canvas.write(pen, (at[0], below + 13), tile.label, points=10, fill=fill, width=SIDE)


def _draw_arrow(pen: ImageDraw.ImageDraw, centre: tuple[float, float]) -> None:
    """Draw a small arrow to the right."""
    x, y = centre[0] * canvas.SCALE, centre[1] * canvas.SCALE
    reach, head = 8 * canvas.SCALE, 4 * canvas.SCALE
    pen.line((x - reach, y, x + reach - head, y), fill=canvas.MUTED, width=canvas.SCALE)
    pen.polygon(
        [(x + reach, y), (x + reach - head * 1.5, y - head), (x + reach - head * 1.5, y + head)], fill=canvas.MUTED
    )


def strip_picture(tiles: Sequence[Tile], *, side: int = 32) -> Image.Image:
    """Draw tiles side by side without a word, the first one framed: for a terminal.

    Args:
        tiles: the query and its hits.
        side: of one tile, in points; between two tiles is an eighth of it.
    """
    gap = side / 8
    sheet, pen = canvas.blank(len(tiles) * (side + gap), side + gap)
    for place, tile in enumerate(tiles):
        at = (place * (side + gap) + gap / 2, gap / 2)
        empty = Image.new("RGB", (side * canvas.SCALE,) * 2, canvas.PALE)
        shown = empty if tile.picture is None else canvas.fit(tile.picture, side)
        sheet.paste(shown, (round(at[0] * canvas.SCALE), round(at[1] * canvas.SCALE)))
        if place == 0:
            canvas.frame(pen, at, side, fill=canvas.ORANGE, points=gap / 4)
    return sheet


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


def grid_picture(lines: Sequence[Line], *, title: str = "", heads: Sequence[str] = (), side: int = CELL) -> Image.Image:
    """Draw lines of tiles, aligned in columns.

    Args:
        lines: at least one, of at least one tile each.
        title: a line above everything.
        heads: what stands above the columns; as many as tiles, or none.
        side: of a tile, in points.
    """
    assert lines, "a grid has at least one line"
    named = max(canvas.text_width(canvas.printable(line.name), 10) for line in lines)
    left = MARGIN + (min(named, 160) + NAME_GAP if named else 0)
    columns = max(len(line.tiles) for line in lines)
    top = MARGIN + (GRID_HEADER if title else 0) + (16 if heads else 0)
    pitch = side + CELL_GAP
    needed = left + columns * pitch - CELL_GAP + MARGIN
    width = max(needed, 2 * MARGIN + canvas.text_width(canvas.printable(title), 13)) if title else needed
    sheet, pen = canvas.blank(width, top + len(lines) * pitch - CELL_GAP + MARGIN)
    if title:
        canvas.write(pen, (MARGIN, MARGIN - 4), title, points=13)
    for column, head in enumerate(heads):
        at = (left + column * pitch + side / 2, top - 13)
        canvas.write(pen, at, head, points=9, fill=canvas.MUTED, anchor="ma", width=side)
    for number, line in enumerate(lines):
        y = top + number * pitch
        canvas.write(pen, (MARGIN, y + side / 2), line.name, fill=canvas.MUTED, anchor="lm", width=160)
        for column, tile in enumerate(line.tiles):
            place = (round((left + column * pitch) * canvas.SCALE), round(y * canvas.SCALE))
            sheet.paste(canvas.fit(shade(tile, line.shades), side), place)
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
    colours = {"blue": _rgb(canvas.BLUE), "orange": _rgb(canvas.ORANGE)}
    toward = np.where(strength[:, :, None] >= 0, colours["blue"], colours["orange"])
    mixed = 255 + (toward - 255) * np.abs(strength)[:, :, None]
    return Image.fromarray(np.round(mixed).astype(np.uint8))


def _rgb(colour: str) -> NDArray[np.float64]:
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)], np.float64)


def tiles(release: Release, found: Answer) -> Found:
    """Return the pictures of an answer."""
    question = found.question
    if question.row_id is not None:
        (row,) = release.describe([question.row_id])
        query = tile(release, row)
    else:
        name = Path(question.text).name if question.data else question.text
        query = Tile(name, original(release, question.text, question.data), text=_readable(release, question))
    return Found(query, [_hit_tile(release, hit) for hit in found.hits])


def _hit_tile(release: Release, hit: Hit) -> Tile:
    return replace(tile(release, hit.row, hit.distance), cosine=hit.cosine)


def _readable(release: Release, question: Question) -> str:
    if not has_text(release.recipe["source"]["kind"]):
        return question.text
    return readable(release.recipe["source"]["kind"], question.data, question.text)[:1000] or question.text


def tile(release: Release, row: Row, distance: int | None = None) -> Tile:
    """Return a row as a tile of a contact sheet."""
    picture = original(release, row.place)
    return Tile(row.key, picture, row.label or "", distance, row.columns.get(SNIPPET) or "", row.labels)


def original(release: Release, place: str, data: bytes = b"") -> Image.Image | None:
    """Return a picture of an original; None where it is gone, or is nothing to look at.

    Args:
        release: that it belongs to, or is asked of.
        place: where its bytes are.
        data: its bytes, where they are at hand.
    """
    draw = drawing(release.recipe["source"]["kind"])
    if draw is None:
        return None
    try:
        data = data or originals.original(release, place)
        return draw(data, place, LONGEST, lambda: release.encoder.card.features)
    except ItemError:
        return None
