"""Vector fields on a plane, side by side: where each of them moves the same points."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aepipe.report.canvas import BLUE, ORANGE, PALE
from aepipe.report.charts import Chart, panels, styled

SIZE = (352.0, 372.0)
COLOURS = (BLUE, ORANGE)
LONG = 0.9
"""No arrow is longer than this share of what one point has to itself, so that neighbours do not run into each other."""
ARROWS: dict[str, Any] = {
    **{"angles": "xy", "scale_units": "xy", "scale": 1},
    **{"width": 0.0032, "headwidth": 3.2, "headlength": 3.8, "headaxislength": 3.8, "minlength": 1.3},
}
"""Lengths are those of the plane; what hardly moves is a dot."""
SAMPLE = "#c4c8ce"

Places = NDArray[np.floating]


def field_picture(at: Places, fields: Mapping[str, Places], *, samples: Places | None = None, title: str = "") -> Chart:
    """Draw a panel for each field; lengths and places have the same scale in all of them.

    Args:
        at: float[N, 2], where the arrows start; y goes up.
        fields: name of the panel to float[N, 2], the arrows. The length that one in twenty exceeds, over all panels,
            is the longest that fits between two points; longer ones are cut to it.
        samples: float[M, 2], drawn as grey dots below the arrows; those outside of the points' square are left out.
        title: a line above everything.
    """
    assert fields, "there is at least one field to draw"
    pitch = _pitch(at)
    low, side = _square(at, pitch)
    crowd = np.empty((0, 2)) if samples is None else samples
    crowd = crowd[((crowd > low) & (crowd < low + side)).all(1)]
    with styled():
        figure, found = panels(len(fields), columns=len(fields), size=SIZE, title=title)
        for place, (axes, (name, moves)) in enumerate(zip(found, _scaled(fields, pitch).items(), strict=True)):
            colour = COLOURS[place % len(COLOURS)]
            axes.set_title(name, color=colour)
            axes.set(xlim=(low[0], low[0] + side), ylim=(low[1], low[1] + side), xticks=[], yticks=[], facecolor=PALE)
            axes.spines[:].set_visible(False)
            axes.set_aspect("equal")
            axes.scatter(crowd[:, 0], crowd[:, 1], s=3, color=SAMPLE, linewidths=0)
            axes.quiver(*at.T, *moves.T, color=colour, **ARROWS)
    return Chart(figure)


def _pitch(at: Places) -> float:
    """Return how far a point is from its nearest neighbour, usually; 1 where there is none."""
    apart = np.linalg.norm(at[:, None] - at, axis=2)
    nearest = np.where(apart > 0, apart, np.inf).min(1)
    return float(np.median(nearest)) if np.isfinite(nearest).all() else 1.0


def _square(at: Places, margin: float) -> tuple[Places, float]:
    low, high = at.min(0), at.max(0)
    side = float((high - low).max()) + 2 * margin
    return (low + high - side) / 2, side


def _scaled(fields: Mapping[str, Places], room: float) -> dict[str, Places]:
    """Return the arrows in units of the plane, all with one scale, the longest cut."""
    lengths = {name: np.linalg.norm(moves, axis=1) for name, moves in fields.items()}
    usual = max(float(np.quantile(np.concatenate(list(lengths.values())), 0.95)), 1e-300)
    scaled = {}
    for name, moves in fields.items():
        shown = np.minimum(lengths[name] / usual, 1.0) * LONG * room
        direction = moves / np.maximum(lengths[name], 1e-300)[:, None]
        scaled[name] = direction * shown[:, None]
    return scaled
