"""Vector fields on a plane, side by side: where each of them moves the same points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from aepipe.report import ink

SIDE, GAP, MARGIN, CAPTION = 330, 22, 20, 24
FINE = 4
COLOURS = (ink.BLUE, ink.ORANGE)
LONG = 0.9
"""No arrow is longer than this share of what one point has to itself, so that neighbours do not run into each other."""
HEAD, SHORTEST = 3.6, 0.7
DOT, GREY = 0.9, "#aab0b8"

Places = NDArray[np.floating]


def field_picture(
    at: Places, fields: Mapping[str, Places], *, samples: Places | None = None, title: str = ""
) -> Image.Image:
    """Draw a panel for each field; lengths and places have the same scale in all of them.

    Args:
        at: float[N, 2], where the arrows start; y goes up.
        fields: name of the panel to float[N, 2], the arrows. The length that one in twenty exceeds, over all panels,
            is the longest that fits between two points; longer ones are cut to it.
        samples: float[M, 2], drawn as grey dots below the arrows; those outside of the points' square are left out.
        title: a line above everything.
    """
    assert fields, "there is at least one field to draw"
    top = MARGIN + (26 if title else 0)
    width = 2 * MARGIN + len(fields) * (SIDE + GAP) - GAP
    sheet, pen = ink.canvas(width, top + CAPTION + SIDE + MARGIN)
    if title:
        ink.write(pen, (MARGIN, MARGIN - 4), title, points=13, width=width - 2 * MARGIN)
    pitch = _pitch(at)
    low, unit = _square(at, pitch)
    starts = _placed(at, low, unit)
    crowd = np.empty((0, 2)) if samples is None else _placed(samples, low, unit)
    crowd = crowd[((crowd > 0) & (crowd < SIDE)).all(1)]
    arrows = _scaled(fields, pitch * unit)
    for place, (name, moves) in enumerate(arrows.items()):
        left, colour = MARGIN + place * (SIDE + GAP), COLOURS[place % len(COLOURS)]
        ink.write(pen, (left, top), name, points=11, fill=colour, width=SIDE)
        corner = (round(left * ink.SCALE), round((top + CAPTION) * ink.SCALE))
        sheet.paste(ink.PALE, (*corner, corner[0] + SIDE * ink.SCALE, corner[1] + SIDE * ink.SCALE))
        for mask, fill in ((_dots(crowd), GREY), (_arrows(starts, moves), colour)):
            sheet.paste(Image.new("RGB", mask.size, fill), corner, mask)
    return sheet


def _pitch(at: Places) -> float:
    """Return how far a point is from its nearest neighbour, usually; 1 where there is none."""
    apart = np.linalg.norm(at[:, None] - at, axis=2)
    nearest = np.where(apart > 0, apart, np.inf).min(1)
    return float(np.median(nearest)) if np.isfinite(nearest).all() else 1.0


def _square(at: Places, margin: float) -> tuple[Places, float]:
    """Return the lower left corner of a square around some points, and how many points of the picture a unit takes."""
    low, high = at.min(0), at.max(0)
    side = float((high - low).max()) + 2 * margin
    return (low + high - side) / 2, SIDE / side


def _placed(points: Places, low: Places, unit: float) -> Places:
    """Return where points lie in a panel, from its upper left corner."""
    return (points - low) * [unit, -unit] + [0.0, SIDE]


def _scaled(fields: Mapping[str, Places], room: float) -> dict[str, Places]:
    """Return the arrows in points of the picture, y down, all with one scale, the longest cut."""
    lengths = {name: np.linalg.norm(moves, axis=1) for name, moves in fields.items()}
    usual = max(float(np.quantile(np.concatenate(list(lengths.values())), 0.95)), 1e-300)
    scaled = {}
    for name, moves in fields.items():
        shown = np.minimum(lengths[name] / usual, 1.0) * LONG * room
        direction = moves / np.maximum(lengths[name], 1e-300)[:, None]
        scaled[name] = direction * shown[:, None] * [1.0, -1.0]
    return scaled


def _dots(points: Places) -> Image.Image:
    """Return the mask of some dots in a panel."""
    mask, pen, fine = _mask()
    radius = DOT * fine
    for x, y in points * fine:
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=130)
    return _smooth(mask)


def _arrows(starts: Places, moves: Places) -> Image.Image:
    """Return the mask of some arrows in a panel; what hardly moves is a dot."""
    mask, pen, fine = _mask()
    for (x, y), move in zip(starts * fine, moves, strict=True):
        length = float(np.hypot(*move))
        if length < SHORTEST:
            radius = SHORTEST * fine
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
            continue
        along = move / length * fine
        across, tip = np.array([-along[1], along[0]]), np.array([x, y]) + move * fine
        head = min(HEAD, 0.6 * length)
        neck = tip - along * head
        pen.line(_flat([(x, y), neck]), fill=255, width=round(1.1 * fine))
        pen.polygon(_flat([tip, neck + across * head * 0.5, neck - across * head * 0.5]), fill=255)
    return _smooth(mask)


def _mask() -> tuple[Image.Image, ImageDraw.ImageDraw, int]:
    """Return an empty mask of a panel, its pen, and how many of its pixels a point takes."""
    fine = ink.SCALE * FINE
    mask = Image.new("L", (SIDE * fine, SIDE * fine), 0)
    return mask, ImageDraw.Draw(mask), fine


def _smooth(mask: Image.Image) -> Image.Image:
    """Return a mask in the size of the picture."""
    return mask.resize((SIDE * ink.SCALE, SIDE * ink.SCALE), Image.Resampling.BOX)


def _flat(corners: Sequence[Places | tuple[float, float]]) -> list[float]:
    """Return corners as Pillow takes them."""
    return [float(value) for corner in corners for value in corner]
