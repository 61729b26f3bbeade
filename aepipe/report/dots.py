"""Recipes side by side: a panel for each figure, a dot for each recipe, the best recipe on top."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from aepipe.report import canvas as ink
from aepipe.report.charts import round_ticks
from aepipe.report.comparison import Column, Line, columns_of

MARGIN, PITCH, HEAD, FOOT = 22, 19, 46, 24
PANEL, GAP = 128, 26
NAMES = 190
RADIUS = 3.6
FINE = 4
SAME = 0.1
"""Share of a value that a panel spans at least."""
LOWER_IS_BETTER = frozenset({"reconstruction_bits", "reconstruction_float", "seconds", "parameters"})


@dataclass(frozen=True, slots=True)
class _Scale:
    """One panel: where it begins, in points, and the values at both ends."""

    left: float
    low: float
    high: float

    def place(self, value: float) -> float:
        """Return where a value is drawn, in points."""
        return self.left + PANEL * (value - self.low) / (self.high - self.low)


def comparison_picture(lines: Sequence[Line]) -> Image.Image:
    """Draw the figures of several recipes; in each panel the best one is in blue, with its value.

    Args:
        lines: at least one.
    """
    ranked = [line for line in sorted(lines, key=Line.merit) if not line.failed]
    columns = columns_of(ranked)
    named = min(NAMES, max([0.0, *(ink.font(10).getlength(line.name) / ink.SCALE for line in ranked)]))
    left = MARGIN + named + GAP / 2
    width = left + len(columns) * (PANEL + GAP) - GAP + MARGIN
    sheet, pen = ink.canvas(width, MARGIN + HEAD + len(ranked) * PITCH + FOOT + MARGIN / 2)
    top = MARGIN + HEAD
    for number, line in enumerate(ranked):
        y = top + (number + 0.5) * PITCH
        ink.write(pen, (MARGIN + named, y), line.name, anchor="rm", width=named)
        ends = [left * ink.SCALE, y * ink.SCALE, (width - MARGIN) * ink.SCALE, y * ink.SCALE]
        pen.line(ends, fill=ink.PALE, width=1)
    for place, column in enumerate(columns):
        _draw_panel(sheet, column, ranked, (left + place * (PANEL + GAP), top))
    return sheet


def _draw_panel(sheet: Image.Image, column: Column, lines: Sequence[Line], at: tuple[float, float]) -> None:
    """Draw one figure of all recipes."""
    pen = ImageDraw.Draw(sheet)
    values = [(number, value) for number, line in enumerate(lines) if (value := line.figures.get(column.figure))]
    if not values:
        return
    low, high = min(value for _, value in values), max(value for _, value in values)
    if column.form(low) == column.form(high):
        low -= SAME * abs(low)  # else noise would be drawn as large as differences elsewhere
    ticks = round_ticks(low, high, 3)
    scale = _Scale(at[0], ticks[0], ticks[-1])
    bottom = at[1] + len(lines) * PITCH
    better = min if column.figure in LOWER_IS_BETTER else max
    best = better(values, key=lambda pair: pair[1])
    ink.write(pen, (at[0], MARGIN), column.title, points=11, width=PANEL + GAP - 4)
    note = "lower is better" if better is min else "higher is better"
    ink.write(pen, (at[0], MARGIN + 16), note, points=9, fill=ink.MUTED, width=PANEL)
    for tick in (ticks[0], ticks[-1]):
        x = scale.place(tick)
        pen.line([x * ink.SCALE, at[1] * ink.SCALE, x * ink.SCALE, bottom * ink.SCALE], fill=ink.LINE, width=1)
        anchor = "la" if tick == ticks[0] else "ra"
        ink.write(pen, (x, bottom + 5), column.form(tick), points=9, fill=ink.MUTED, anchor=anchor)
    for number, value in values:
        centre = (scale.place(value), at[1] + (number + 0.5) * PITCH)
        _draw_dot(sheet, centre, ink.BLUE if (number, value) == best else ink.MUTED)
    x, y = scale.place(best[1]), at[1] + (best[0] + 0.5) * PITCH
    right = x < at[0] + 0.6 * PANEL
    text_at = (x + RADIUS + 4 if right else x - RADIUS - 4, y)
    ink.write(pen, text_at, column.form(best[1]), points=9, fill=ink.BLUE, anchor="lm" if right else "rm")


def _draw_dot(sheet: Image.Image, centre: tuple[float, float], fill: str) -> None:
    """Draw a smooth dot."""
    side = round(2 * (RADIUS + 1) * ink.SCALE)
    mask = Image.new("L", (side * FINE, side * FINE), 0)
    middle, radius = side * FINE / 2, RADIUS * ink.SCALE * FINE
    ImageDraw.Draw(mask).ellipse((middle - radius, middle - radius, middle + radius, middle + radius), fill=255)
    stamp = mask.resize((side, side), Image.Resampling.BOX)
    corner = (round(centre[0] * ink.SCALE - side / 2), round(centre[1] * ink.SCALE - side / 2))
    sheet.paste(Image.new("RGB", stamp.size, fill), corner, stamp)
