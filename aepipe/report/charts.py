"""Losses over training as small multiples: one panel for each layer and for fine-tuning."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from aepipe.report import canvas as ink

WIDTH, HEIGHT, GAP, MARGIN = 150, 112, 28, 22
LEFT, TOP, BOTTOM, RIGHT = 42, 24, 20, 66
COLUMNS = 3
FINE = 4
"""Curves are drawn so many times larger and smoothed down: Pillow's own lines are jagged."""
COLOURS = {"train": ink.MUTED, "valid": ink.BLUE}
NAME_HEIGHT = 12.0
TINY = 1e-200
"""Losses that differ by less are the same; their logarithms would not be numbers."""

Curve = Mapping[str, Sequence[float]]
Points = list[tuple[int, float]]


@dataclass(frozen=True, slots=True)
class Panel:
    """The axes of one panel: its corner in points, the last epoch, and the losses at its bottom and top.

    Panels of other things have other places for epochs, which count from 1, too, and other figures for losses.
    """

    left: float
    top: float
    epochs: int
    low: float
    high: float

    def place(self, epoch: float, loss: float) -> tuple[float, float]:
        """Return where a loss is drawn, in points."""
        along = (epoch - 1) / (self.epochs - 1) if self.epochs > 1 else 0.5
        up = (loss - self.low) / (self.high - self.low)
        return self.left + along * WIDTH, self.top + (1 - up) * HEIGHT


def curves_picture(curves: Mapping[str, Curve], *, title: str = "", columns: int = COLUMNS) -> Image.Image:
    """Draw a panel for each curve, each with a scale of its own.

    Args:
        curves: name of the panel to ``{"train": losses, "valid": losses}``, one loss per epoch; either may be absent.
        title: a line above everything.
        columns: panels in one line.
    """
    assert curves, "there is at least one curve to draw"
    wide = min(columns, len(curves))
    pitch = (LEFT + WIDTH + RIGHT, TOP + HEIGHT + BOTTOM + GAP)
    head = MARGIN + (26 if title else 0)
    width = 2 * MARGIN + wide * pitch[0]
    sheet, pen = ink.canvas(width, head + -(-len(curves) // wide) * pitch[1] - GAP + MARGIN)
    if title:
        ink.write(pen, (MARGIN, MARGIN - 6), title, points=13, width=width - 2 * MARGIN)
    for place, (name, curve) in enumerate(curves.items()):
        line, column = divmod(place, wide)
        _draw_panel(sheet, name, curve, (MARGIN + column * pitch[0], head + line * pitch[1]))
    return sheet


def round_ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Return about ``count`` round numbers from at most ``low`` to at least ``high``: steps of 1, 2 or 5."""
    size = max(abs(low), abs(high))
    if high - low <= max(1e-9 * size, TINY):  # as good as one value, which then stands in the middle
        around = size / 2 if size > TINY else 0.5
        low, high = low - around, high + around
    power = 10.0 ** math.floor(math.log10((high - low) / count))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor * count * (1 + 1e-9) >= high - low)
    # What is a multiple of the step but for rounding is one.
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [place * step for place in range(first, last + 1)]


def _draw_panel(sheet: Image.Image, name: str, curve: Curve, at: tuple[float, float]) -> None:
    """Draw one panel: its name, axes with a few round numbers, and the curves with their names at their ends."""
    pen = ImageDraw.Draw(sheet)
    left, top = at[0] + LEFT, at[1] + TOP
    ink.write(pen, (left, at[1]), name, points=11, width=WIDTH + RIGHT)
    drawn = {part: points for part, losses in curve.items() if (points := _finite(losses))}
    if not drawn:
        ink.write(pen, (left, top + HEIGHT / 2), "no completed epoch", fill=ink.MUTED, anchor="lm")
        return
    values = [loss for points in drawn.values() for _, loss in points]
    ticks = round_ticks(min(values), max(values))
    panel = Panel(left, top, max(points[-1][0] for points in drawn.values()), ticks[0], ticks[-1])
    draw_scale(pen, panel, ticks)
    _draw_epochs(pen, panel)
    for part, points in drawn.items():
        draw_line(sheet, panel, points, COLOURS.get(part, ink.INK))
    _draw_names(pen, panel, drawn)


def draw_scale(pen: ImageDraw.ImageDraw, panel: Panel, ticks: Sequence[float]) -> None:
    """Draw a pale line for each round number, which stands on its left."""
    digits = max(0, -math.floor(math.log10(ticks[1] - ticks[0]) + 1e-9))
    for tick in ticks:
        y = panel.place(1, tick)[1]
        ends = [panel.left * ink.SCALE, y * ink.SCALE, (panel.left + WIDTH) * ink.SCALE, y * ink.SCALE]
        pen.line(ends, fill=ink.LINE, width=1)
        ink.write(pen, (panel.left - 6, y), f"{tick:,.{digits}f}", points=9, fill=ink.MUTED, anchor="rm")


def draw_line(sheet: Image.Image, panel: Panel, points: Points, colour: str, *, dots: bool = False) -> None:
    """Draw one curve, smooth, with a dot at its end, or at each of its points."""
    edge = 4
    corner = (round((panel.left - edge) * ink.SCALE), round((panel.top - edge) * ink.SCALE))
    size = (round((WIDTH + 2 * edge) * ink.SCALE), round((HEIGHT + 2 * edge) * ink.SCALE))
    mask = Image.new("L", (size[0] * FINE, size[1] * FINE), 0)
    pen = ImageDraw.Draw(mask)
    placed = [panel.place(epoch, loss) for epoch, loss in points]
    path = [((x * ink.SCALE - corner[0]) * FINE, (y * ink.SCALE - corner[1]) * FINE) for x, y in placed]
    if len(path) > 1:
        pen.line(path, fill=255, width=round(1.6 * ink.SCALE * FINE), joint="curve")
    radius = 2.4 * ink.SCALE * FINE
    for x, y in path if dots else path[-1:]:
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    smooth = mask.resize(size, Image.Resampling.BOX)
    sheet.paste(Image.new("RGB", size, colour), corner, smooth)


def _draw_epochs(pen: ImageDraw.ImageDraw, panel: Panel) -> None:
    """Write the first and the last epoch below a panel."""
    below = panel.top + HEIGHT + 5
    for epoch in dict.fromkeys((1, panel.epochs)):
        x = panel.place(epoch, panel.low)[0]
        ink.write(pen, (x, below), _epoch(epoch, panel.epochs), points=9, fill=ink.MUTED, anchor="ma")


def _draw_names(pen: ImageDraw.ImageDraw, panel: Panel, drawn: Mapping[str, Points]) -> None:
    """Write each curve's name and last loss at its end, the lower ones moved down where they would overlap."""
    ends = sorted((panel.place(*points[-1])[1], part, points[-1][1]) for part, points in drawn.items())
    lowest = -math.inf
    for y, part, loss in ends:
        lowest = max(y, lowest + NAME_HEIGHT)
        text = f"{part} {loss:.3g}"
        x = panel.left + WIDTH + 7
        ink.write(pen, (x, lowest), text, points=9, fill=COLOURS.get(part, ink.INK), anchor="lm", width=RIGHT - 7)


def _finite(losses: Sequence[float]) -> Points:
    """Return (epoch from 1, loss) of the losses that are numbers."""
    return [(epoch, loss) for epoch, loss in enumerate(losses, 1) if math.isfinite(loss)]


def _epoch(epoch: int, last: int) -> str:
    """Return what stands below the axis."""
    return f"epoch {epoch}" if epoch == 1 or last == 1 else str(epoch)


def by_part(epochs: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    """Turn what training wrote for each epoch (``loss``, ``held_out``) into what a panel shows."""
    parts = {"train": "loss", "valid": "held_out"}
    return {part: [entry[term] for entry in epochs if term in entry] for part, term in parts.items()}
