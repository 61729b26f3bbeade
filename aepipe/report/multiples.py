"""Variations of one recipe as small multiples: a panel for each figure, along the first key that was varied.

A second key makes several lines in each panel. Of further keys, each line shows the mean over their values.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from PIL import Image, ImageDraw

from aepipe.pipeline.sweep import written
from aepipe.report import ink
from aepipe.report.comparison import Column, Line, columns_of
from aepipe.report.curves import (
    BOTTOM,
    GAP,
    HEIGHT,
    LEFT,
    MARGIN,
    TOP,
    WIDTH,
    Panel,
    draw_line,
    draw_scale,
    round_ticks,
)

COLUMNS = 3
NOTE = 84
"""Points to the right of a panel, where lines have their names."""
COLOURS = (ink.BLUE, ink.ORANGE, "#2a8a4a", "#6f4aa8", "#7a5230", "#4d5560")

Series = dict[str, dict[int, float]]
"""Of each line in a panel, its name, and the value at each position along the key."""


def study_picture(lines: Sequence[Line]) -> Image.Image:
    """Draw each figure against what was varied.

    Args:
        lines: at least one; all vary the same keys.
    """
    keys = list(lines[0].changes)
    columns = columns_of(lines)
    steps = _values(lines, keys[0]) if keys else [None]
    wide = min(COLUMNS, max(1, len(columns)))
    pitch = (LEFT + WIDTH + NOTE, TOP + HEIGHT + BOTTOM + GAP)
    head = MARGIN + 26
    width = 2 * MARGIN + wide * pitch[0]
    sheet, pen = ink.canvas(width, head + -(-len(columns) // wide) * pitch[1] - GAP + MARGIN)
    title = f"{lines[0].name}: what {' and '.join(keys[:2]) or 'nothing'} changes"
    ink.write(pen, (MARGIN, MARGIN - 6), title, points=13, width=width - 2 * MARGIN)
    for place, column in enumerate(columns):
        line, across = divmod(place, wide)
        at = (MARGIN + across * pitch[0] + LEFT, head + line * pitch[1] + TOP)
        _draw(sheet, column, series(lines, keys, column.figure), [written(step) for step in steps], at)
    return sheet


def series(lines: Sequence[Line], keys: Sequence[str], figure: str) -> Series:
    """Return a figure by the value of the second key, and by the position of the first one's value."""
    gathered: dict[str, dict[int, list[float]]] = {}
    steps = _values(lines, keys[0]) if keys else [None]
    for line in lines:
        value = line.figures.get(figure)
        if value is None:
            continue
        name = written(line.changes[keys[1]]) if len(keys) > 1 else ""
        position = steps.index(line.changes[keys[0]]) if keys else 0
        gathered.setdefault(name, {}).setdefault(position, []).append(value)
    return {name: {at: fmean(values) for at, values in found.items()} for name, found in gathered.items()}


def _draw(sheet: Image.Image, column: Column, found: Series, steps: Sequence[str], at: tuple[float, float]) -> None:
    """Draw one panel: its name, a line for each value of the second key, and the values of the first below."""
    pen = ImageDraw.Draw(sheet)
    ink.write(pen, (at[0], at[1] - TOP), column.title, points=11, width=WIDTH + NOTE)
    values = [value for points in found.values() for value in points.values()]
    ticks = round_ticks(min(values), max(values))
    panel = Panel(at[0], at[1], len(steps), ticks[0], ticks[-1])
    draw_scale(pen, panel, ticks)
    for number, step in enumerate(steps, 1):
        x = panel.place(number, panel.low)[0]
        ink.write(pen, (x, at[1] + HEIGHT + 5), step, points=9, fill=ink.MUTED, anchor="ma", width=WIDTH / len(steps))
    lowest = -1e9
    ends = []
    for number, (name, points) in enumerate(found.items()):
        colour = COLOURS[number % len(COLOURS)]
        placed = sorted((position + 1, value) for position, value in points.items())
        draw_line(sheet, panel, placed, colour, dots=True)
        ends.append((panel.place(*placed[-1])[1], f"{name} {column.form(placed[-1][1])}".strip(), colour))
    for y, text, colour in sorted(ends):
        lowest = max(y, lowest + 12)
        ink.write(pen, (at[0] + WIDTH + 7, lowest), text, points=9, fill=colour, anchor="lm", width=NOTE - 9)


def _values(lines: Sequence[Line], key: str) -> list[Any]:
    """Return the values that a key takes, in the order of the grid."""
    seen: dict[str, Any] = {}
    for line in lines:
        seen.setdefault(json.dumps(line.changes[key], sort_keys=True, default=str), line.changes[key])
    return list(seen.values())
