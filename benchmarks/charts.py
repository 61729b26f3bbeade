"""Draw the pictures of two benchmarks from their results.

    python -m benchmarks.charts search benchmarks/results/search-{32,64,128,256}.json docs/benchmarks/images/search.png
    python -m benchmarks.charts peers benchmarks/results/peers-{64,256}.json docs/benchmarks/images/peers.png

The first is about ``benchmarks.search.search``, the second about ``benchmarks.search.peers``.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from aepipe.report import ink
from benchmarks.common import read

SIDE, HEIGHT, LEFT, TOP, BOTTOM, RIGHT, GAP = 300, 190, 48, 54, 44, 22, 14
COLUMNS = 2
FINE = 4
"""Drawn so many times larger and smoothed down: Pillow's own lines are jagged."""
COLOURS = {"FAISS flat, rows": ink.MUTED, "flat": ink.ORANGE, "multihash": ink.BLUE}
OURS = "aepipe "
K = 10

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Panel:
    """One set of axes; the first is logarithmic, and the second unless it begins at 0.

    Attributes:
        left: corner in points.
        top: the same.
        x: first and last value.
        y: the same.
    """

    left: float
    top: float
    x: Point
    y: Point

    def place(self, x: float, y: float) -> Point:
        """Return where a point is drawn, in points."""
        along = math.log(x / self.x[0]) / math.log(self.x[1] / self.x[0])
        low, high = self.y
        up = math.log(y / low) / math.log(high / low) if low else y / high
        return self.left + along * SIDE, self.top + (1 - up) * HEIGHT


class Sheet:
    """A picture with panels, two side by side."""

    def __init__(self, panels: int, title: str, note: str) -> None:
        self.pitch = (LEFT + SIDE + RIGHT + GAP, HEIGHT + TOP + BOTTOM)
        width = min(COLUMNS, panels) * self.pitch[0] + GAP
        self.picture, self.pen = ink.canvas(width, TOP + -(-panels // COLUMNS) * self.pitch[1])
        ink.write(self.pen, (GAP, 12), title, points=13, width=width - 2 * GAP)
        ink.write(self.pen, (GAP, 32), note, points=9.5, fill=ink.MUTED, width=width - 2 * GAP)

    def panel(self, number: int, name: str, x: Point, y: Point, names: tuple[str, str]) -> Panel:
        """Draw the axes of a panel."""
        line, column = divmod(number, COLUMNS)
        at = Panel(GAP + column * self.pitch[0] + LEFT, 2 * TOP - 16 + line * self.pitch[1], x, y)
        ink.write(self.pen, (at.left, at.top - 22), name, points=11)
        for tick in powers(*y) if y[0] else ():
            (left, up), (right, _) = at.place(x[0], tick), at.place(x[1], tick)
            self.line([(left, up), (right, up)], ink.LINE, 0.5)
            ink.write(self.pen, (left - 6, up), plain(tick), points=9, fill=ink.MUTED, anchor="rm")
        for tick in powers(*x):
            across, below = at.place(tick, y[0])
            self.line([(across, below if y[0] else at.top), (across, below + 4)], ink.LINE, 0.5)
            ink.write(self.pen, (across, below + 7), plain(tick), points=9, fill=ink.MUTED, anchor="ma")
        ink.write(self.pen, (at.left + SIDE / 2, at.top + HEIGHT + 22), names[0], points=9, fill=ink.MUTED, anchor="ma")
        ink.write(self.pen, (at.left - LEFT + 4, at.top - 20), names[1], points=9, fill=ink.MUTED)
        return at

    def line(self, path: Sequence[Point], colour: str, points: float = 1.8) -> None:
        """Draw a smooth line."""
        self._smoothly(
            path, colour, points + 2, lambda pen, p: pen.line(p, fill=255, width=wide(points), joint="curve")
        )

    def dot(self, at: Point, colour: str, radius: float = 3.2) -> None:
        """Draw a smooth dot."""

        def ellipse(pen: ImageDraw.ImageDraw, path: list[Point]) -> None:
            (x, y), r = path[0], radius * ink.SCALE * FINE
            pen.ellipse((x - r, y - r, x + r, y + r), fill=255)

        self._smoothly([at], colour, radius + 2, ellipse)

    def _smoothly(
        self, path: Sequence[Point], colour: str, edge: float, draw: Callable[[ImageDraw.ImageDraw, list[Point]], None]
    ) -> None:
        """Draw on a finer grid and paste that."""
        (left, right), (top, bottom) = ((min(values) - edge, max(values) + edge) for values in zip(*path, strict=True))
        corner = (round(left * ink.SCALE), round(top * ink.SCALE))
        size = (round((right - left) * ink.SCALE) + 1, round((bottom - top) * ink.SCALE) + 1)
        mask = Image.new("L", (size[0] * FINE, size[1] * FINE), 0)
        fine = [((x * ink.SCALE - corner[0]) * FINE, (y * ink.SCALE - corner[1]) * FINE) for x, y in path]
        draw(ImageDraw.Draw(mask), fine)
        self.picture.paste(Image.new("RGB", size, colour), corner, mask.resize(size, Image.Resampling.BOX))


def wide(points: float) -> int:
    """Return a width in pixels of the finer grid."""
    return max(1, round(points * ink.SCALE * FINE))


def powers(low: float, high: float) -> list[float]:
    """Return the powers of ten from one value to another."""
    return [10.0**power for power in range(math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9) + 1)]


def plain(value: float) -> str:
    """Return a number as an axis has it."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def around(values: Iterable[float]) -> Point:
    """Return the powers of ten around some values."""
    found = list(values)
    return 10.0 ** math.floor(math.log10(min(found))), 10.0 ** math.ceil(math.log10(max(found)) - 1e-9)


def search_picture(figures: Sequence[Mapping[str, Any]]) -> Image.Image:
    """Draw how the cost of a search grows: a panel for each length of codes, a line for each arm."""
    chosen = [one for one in figures if one["k"] == K]
    lengths = sorted({one["bits"] for one in chosen})
    took = [one["median"] for one in chosen]
    y = (0.6 * min(took), 1.6 * max(took))
    x = around(one["rows"] for one in chosen)
    title = f"One exact search for the {K} nearest learned codes, milliseconds at the median, against the rows"
    note = "One thread. Every answer is that of a scan of all rows: multihash proves it, or scans. Logarithmic axes."
    sheet = Sheet(len(lengths), title, note)
    for number, bits in enumerate(lengths):
        panel = sheet.panel(number, f"{bits} bits", x, y, ("rows", "ms"))
        for arm, colour in COLOURS.items():
            own = sorted((one["rows"], one["median"]) for one in chosen if one["bits"] == bits and one["arm"] == arm)
            path = [panel.place(*point) for point in own]
            sheet.line(path, colour)
            for at in path:
                sheet.dot(at, colour, 2.6)
        if not number:
            _legend(sheet, panel, COLOURS)
    return sheet.picture


def _legend(sheet: Sheet, panel: Panel, colours: Mapping[str, str]) -> None:
    """Write the names of lines in the upper left corner."""
    for number, (name, colour) in enumerate(colours.items()):
        y = panel.top + 10 + 14 * number
        sheet.line([(panel.left + 8, y), (panel.left + 22, y)], colour)
        ink.write(sheet.pen, (panel.left + 28, y), name, points=9, fill=colour, anchor="lm")


def peers_picture(files: Sequence[Mapping[str, Any]]) -> Image.Image:
    """Draw how long systems take, and which part of the nearest they find: a panel for each file, the fastest first."""
    x = around(one[name] for file in files for one in file["arms"].values() for name in ("median", "p99"))
    title = f"Searching for the {K} nearest of learned codes: milliseconds, and recall"
    note = "One thread, one query at a time. A dot is the median, its line ends at p99. Blue: aepipe. Logarithmic axis."
    sheet = Sheet(len(files), title, note)
    for number, file in enumerate(files):
        name = f"{file['rows']:,} codes of {file['bits']} bits, {file['distinct']:.0%} distinct"
        arms = sorted(file["arms"].items(), key=lambda pair: pair[1]["median"])
        panel = sheet.panel(number, name, x, (0, len(arms)), ("milliseconds", "recall"))
        for place, (arm, one) in enumerate(reversed(arms)):
            colour = ink.BLUE if arm.startswith(OURS) else ink.MUTED
            middle, end = (panel.place(one[what], place + 0.5) for what in ("median", "p99"))
            sheet.line([middle, end], colour, 1)
            sheet.dot(middle, colour)
            before, behind = (panel.left - 8, middle[1]), (end[0] + 7, end[1])
            ink.write(sheet.pen, before, f"{one['recall']:.3f}", points=9, fill=colour, anchor="rm")
            at, anchor = ((middle[0] - 9, middle[1]), "rm") if end[0] > panel.left + 0.8 * SIDE else (behind, "lm")
            ink.write(sheet.pen, at, arm.removeprefix(OURS), points=9, fill=colour, anchor=anchor)
    return sheet.picture


def main() -> None:
    """Draw one of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("search", "peers"))
    parser.add_argument("figures", type=Path, nargs="+", help="results")
    parser.add_argument("out", type=Path, help="the picture")
    asked = parser.parse_args()
    results = [read(file) for file in asked.figures]
    if asked.what == "peers":
        picture = peers_picture(
            [one["settings"] | {"arms": {row["arm"]: row for row in one["rows"]}} for one in results]
        )
    else:
        picture = search_picture([row for one in results for row in one["rows"] if "median" in row])
    picture.save(asked.out, optimize=True)


if __name__ == "__main__":
    main()
