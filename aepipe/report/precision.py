"""Precision against recall, and against the radius, of our codes and of the baselines."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw

from aepipe.report import ink
from aepipe.report.curves import GAP, HEIGHT, LEFT, MARGIN, TOP, WIDTH, Panel, draw_line, draw_scale
from aepipe.report.scores import Scores

COLOURS = {"ours": ink.BLUE, "itq": ink.ORANGE, "lsh": "#2a8a4a", "pca-sign": "#6f4aa8", "spectral": "#7a5230"}
FOOT, NAMES = 34, 80
ALONG = 1000
"""Places along an axis: a panel counts them from 1."""

Points = Sequence[tuple[float, float]]


def precision_picture(scores: Scores, *, title: str) -> Image.Image | None:
    """Draw both panels; None where relevance was not measured.

    Args:
        scores: as :meth:`aepipe.evaluate.scores.Scores.to_dict` gives them.
        title: a line above everything.
    """
    rows = {row["system"]: row for row in scores["rows"] if row.get("precision")}
    if not rows:
        return None
    n_bits = scores["protocol"]["n_bits"]
    by_recall = {name: list(zip(row["recall"], row["precision"], strict=True)) for name, row in rows.items()}
    by_radius = {
        name: [(radius / n_bits, value) for radius, value in enumerate(row["precision"])] for name, row in rows.items()
    }
    width = 2 * MARGIN + 2 * (LEFT + WIDTH) + GAP + NAMES
    sheet, pen = ink.canvas(width, MARGIN + 26 + TOP + HEIGHT + FOOT + MARGIN / 2)
    ink.write(pen, (MARGIN, MARGIN - 6), title, points=13, width=width - 2 * MARGIN)
    top = MARGIN + 26
    _draw(sheet, "precision by recall", by_recall, (MARGIN, top), ("0", "1", "recall"))
    right = MARGIN + LEFT + WIDTH + GAP
    _draw(sheet, "precision by radius", by_radius, (right, top), ("0", f"{n_bits}", "bits"))
    _draw_names(pen, list(rows), (right + LEFT + WIDTH + 12, top + TOP + 6))
    return sheet


def _draw(
    sheet: Image.Image,
    name: str,
    lines: dict[str, list[tuple[float, float]]],
    at: tuple[float, float],
    axis: tuple[str, str, str],
) -> None:
    """Draw one panel: curves of points from (0, 0) to (1, 1), ours last and so above the others."""
    pen = ImageDraw.Draw(sheet)
    panel = Panel(at[0] + LEFT, at[1] + TOP, ALONG, 0.0, 1.0)
    ink.write(pen, (panel.left, at[1]), name, points=11)
    draw_scale(pen, panel, [0.0, 0.5, 1.0])
    below = panel.top + HEIGHT + 5
    places = ((panel.left, "la"), (panel.left + WIDTH, "ra"), (panel.left + WIDTH / 2, "ma"))
    for text, (x, anchor) in zip(axis, places, strict=True):
        ink.write(pen, (x, below), text, points=9, fill=ink.MUTED, anchor=anchor)
    for system in reversed(lines):
        points = [(round(1 + (ALONG - 1) * x), y) for x, y in lines[system] if x > 0 or y > 0]
        draw_line(sheet, panel, points, COLOURS.get(system, ink.INK))


def _draw_names(pen: ImageDraw.ImageDraw, names: Sequence[str], at: tuple[float, float]) -> None:
    """Write what each colour is."""
    for line, name in enumerate(names):
        ink.write(pen, (at[0], at[1] + 15 * line), name, points=10, fill=COLOURS.get(name, ink.INK), anchor="lm")
