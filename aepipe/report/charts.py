"""Charts drawn by matplotlib: losses, studies, comparisons, precision, and maps of codes.

A function returns a :class:`Chart`, which is written as SVG or in any format that Pillow writes. Sizes are in points.
"""

from __future__ import annotations

import io
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from pathlib import Path
from statistics import fmean
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib import color_sequences, patheffects
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, fontManager, get_font
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from matplotlib.text import Text
from matplotlib.ticker import EngFormatter, MaxNLocator
from numpy.typing import NDArray
from PIL import Image

from aepipe.pipeline.search import GIVEN
from aepipe.pipeline.sweep import written
from aepipe.report import canvas, fonts
from aepipe.report.canvas import BLUE, INK, MUTED, ORANGE, printable
from aepipe.report.comparison import Column, Line, columns_of, count
from aepipe.report.tables import Scores
from aepipe.report.tuning import Tuned

STYLE = Path(__file__).with_name("aepipe.mplstyle")
POINTS = 72.0
"""Points of an inch."""
COLUMNS = 3
PANEL = (225.0, 165.0)
"""Width and height of a panel with its axes."""

NAMES = 130.0
REGION = 150.0
"""Points that the name of a part of a map takes at most."""
"""Width of a name next to a panel, at most."""
WIDER = 1.2
"""Letters of a chart are this much wider than those of a canvas, by which names are cut."""
ROW = 17.0
"""Height of a recipe in a comparison."""
MOST_PANELS = 5
_FAMILY = "DejaVu Sans"
SAME = 0.1
"""Share of a value that a panel spans at least: else noise would look as large as differences in other panels."""
LOWER_IS_BETTER = frozenset({"reconstruction_bits", "reconstruction_float", "seconds", "parameters"})

SYSTEMS = {"ours": BLUE, "itq": ORANGE, "lsh": "#009e73", "pca-sign": "#a6559b", "spectral": "#7a5230"}
DASHES = {"ours": "-", "itq": "--", "lsh": "-.", "pca-sign": ":", "spectral": (0, (6, 2, 1, 2, 1, 2))}
"""Systems differ by their dashes, too, for those who do not tell the colours apart."""

SIDE, MARGIN, LEGEND, TILE, HEADING, ENTRY = 620.0, 20.0, 150.0, 28.0, 26.0, 18.0
"""Lengths of a map."""
CLASSES = tuple(color_sequences["petroff10"])
"""Ten colours that people with every kind of colour vision tell apart (Petroff 2021, arXiv:2107.02270)."""
OTHER = "#d0d4da"
"""Of classes beyond the ten most frequent ones, and of rows without a class."""

Curve = Mapping[str, Sequence[float]]
Series = dict[str, dict[int, float]]
"""Of each line in a panel, its name, and the value at each position along the key."""


@dataclass(frozen=True, slots=True, eq=False)
class Chart:
    """A chart that can be written; the same data give the same bytes.

    Attributes:
        figure: matplotlib's.
    """

    figure: Figure

    def __post_init__(self) -> None:
        """Choose fonts for the texts that are in it."""
        with styled():
            _choose_fonts(self.figure)

    def save(self, file: Path, **marks: Any) -> None:  # noqa: ANN401  as Pillow takes them
        """Write it in the format that the file's name asks for.

        Args:
            file: where to.
            marks: what a picture of pixels says of its maker; see :func:`aepipe.release.originals.own_mark`.

        Raises:
            ValueError: no format has such a name.
            OSError: the file cannot be written.
        """
        if file.suffix.lower() == ".svg":
            file.write_text(self.svg(), encoding="utf-8")
        else:
            self.image().save(file, optimize=True, **marks)

    def svg(self) -> str:
        """Return it as SVG, with neither a date nor the version of a program in it."""
        stream = io.StringIO()
        with styled():
            self.figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
        return stream.getvalue()

    def image(self) -> Image.Image:
        """Return its pixels, two to the point."""
        stream = io.BytesIO()
        with styled():
            self.figure.savefig(stream, format="png")
        return Image.open(stream).convert("RGB")


@contextmanager
def styled() -> Iterator[None]:
    """Draw in the project's own style, whatever a user's matplotlib is set to."""
    with matplotlib.style.context(["default", str(STYLE)]):
        yield


def _choose_fonts(figure: Figure) -> None:
    """Let texts of a figure have the fonts of this machine where matplotlib's own lacks their letters."""
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        axis.get_ticklabels()  # gives the labels their texts
    for text in (one for one in figure.findobj() if isinstance(one, Text)):
        letters = {letter for letter in text.get_text() if not _has(letter)}
        if letters:
            text.set_fontfamily([_FAMILY, *(_family(face.path) for face in fonts.faces_for(letters))])


@cache
def _has(letter: str) -> bool:
    return letter.isascii() or get_font(findfont(_FAMILY)).get_char_index(ord(letter)) > 0


@cache
def _family(path: str) -> str:
    """Return the name by which matplotlib knows the font in a file."""
    fontManager.addfont(path)
    return fontManager.ttflist[-1].name


def panels(
    number: int,
    *,
    columns: int = COLUMNS,
    size: tuple[float, float] = PANEL,
    title: str = "",
    note: str = "",
    share_y: bool = False,
) -> tuple[Figure, list[Axes]]:
    """Return an empty figure with equal panels; call it within :func:`styled`.

    Args:
        number: of panels, at least one.
        columns: panels in one line at most; lines are as equally long as can be: five panels are three and two.
        size: of a panel with its axes.
        title: a line above everything.
        note: a line below everything.
        share_y: whether all panels of a line have the same vertical axis.
    """
    lines = -(-number // columns)
    wide = -(-number // lines)
    height = lines * size[1] + (24 if title else 0) + (20 if note else 0)
    figure = Figure(figsize=(wide * size[0] / POINTS, height / POINTS), layout="constrained")
    found = list(figure.subplots(lines, wide, squeeze=False, sharey="row" if share_y else False).flat)
    for unused in found[number:]:
        unused.remove()
    if title:
        figure.suptitle(_short(title, wide * size[0] - 20, 12), x=0.012, ha="left")
    if note:
        figure.supxlabel(_short(note, wide * size[0] - 20), x=0.012, ha="left", color=MUTED)
    return figure, found[:number]


def _short(text: str, width: float, points: float = 9) -> str:
    """Return a name without control characters, cut in its middle to a width."""
    return canvas.cut(printable(text), WIDER * points, width)


def curves_picture(curves: Mapping[str, Curve], *, title: str = "", columns: int = COLUMNS) -> Chart:
    """Draw a panel for each training, each with a scale of its own.

    Args:
        curves: name of the panel to ``{"train": losses, "valid": losses}``, one loss per epoch; either may be absent.
        title: a line above everything.
        columns: panels in one line at most.
    """
    assert curves, "there is at least one curve to draw"
    with styled():
        figure, found = panels(len(curves), columns=columns, title=title)
        for axes, (name, curve) in zip(found, curves.items(), strict=True):
            axes.set_title(_short(name, PANEL[0] - 40, 10))
            _draw_losses(axes, curve)
    return Chart(figure)


def by_part(epochs: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    """Turn the records of each epoch (``loss``, ``held_out``) into the lines of a panel."""
    parts = {"train": "loss", "valid": "held_out"}
    return {part: [entry[term] for entry in epochs if term in entry] for part, term in parts.items()}


def _draw_losses(axes: Axes, curve: Curve) -> None:
    """Draw the losses that are numbers, each line named with its last value."""
    colours = {"train": MUTED, "valid": BLUE}
    for part, losses in curve.items():
        points = [(epoch, loss) for epoch, loss in enumerate(losses, 1) if math.isfinite(loss)]
        if points:
            label = f"{part} {points[-1][1]:.3g}"
            axes.plot(*zip(*points, strict=True), label=label, color=colours.get(part, INK), marker="o", markevery=[-1])
    if not axes.lines:
        axes.set_axis_off()
        axes.text(0, 0.5, "no completed epoch", color=MUTED, transform=axes.transAxes)
        return
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.legend(loc="best", labelcolor="linecolor")


def study_picture(lines: Sequence[Line]) -> Chart:
    """Draw each figure along the first varied key, with a line for each value of the second.

    Of further keys, each line shows the mean over their values.

    Args:
        lines: at least one; all vary the same keys.
    """
    keys, columns = list(lines[0].changes), columns_of(lines)
    steps = [written(step) for step in _values(lines, keys[0])] if keys else [""]
    title = f"{lines[0].name}: the effect of {' and '.join(keys[:2]) or 'nothing'}"
    with styled():
        figure, found = panels(max(1, len(columns)), title=title)
        for axes, column in zip(found, columns, strict=False):
            axes.set_title(column.title)
            _draw_series(axes, series(lines, keys, column.figure), _lines_of(lines, keys))
            _number_axis(axes.yaxis, column)
            axes.set_xticks(range(len(steps)), [_short(step, (PANEL[0] - 40) / len(steps)) for step in steps])
            axes.set_xlabel(_short(keys[0], PANEL[0] - 40) if keys else "")
        if len(keys) > 1 and columns:
            named = dict(zip(*reversed(found[0].get_legend_handles_labels()), strict=True))
            figure.legend(list(named.values()), list(named), title=_short(keys[1], NAMES), loc="outside right upper")
    return Chart(figure)


def series(lines: Sequence[Line], keys: Sequence[str], figure: str) -> Series:
    """Return a figure by the second key's value, and by the position of the first key's value."""
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


def _draw_series(axes: Axes, found: Series, names: Sequence[str]) -> None:
    for name in names:
        points = sorted(found.get(name, {}).items())
        axes.plot([at for at, _ in points], [value for _, value in points], label=_short(name, NAMES))
    axes.margins(x=0.08)


def _lines_of(lines: Sequence[Line], keys: Sequence[str]) -> list[str]:
    return [written(value) for value in _values(lines, keys[1])] if len(keys) > 1 else [""]


def _values(lines: Sequence[Line], key: str) -> list[Any]:
    seen: dict[str, Any] = {}
    for line in lines:
        seen.setdefault(json.dumps(line.changes[key], sort_keys=True, default=str), line.changes[key])
    return list(seen.values())


def _number_axis(axis: Axis, column: Column, ticks: int = 4) -> None:
    axis.set_major_locator(MaxNLocator(ticks))
    if column.form is count:
        axis.set_major_formatter(EngFormatter(sep=""))


def comparison_picture(lines: Sequence[Line]) -> Chart:
    """Draw a panel for each figure, a dot for each recipe; the best one is blue, with its value.

    Args:
        lines: at least one; the best recipe stands on top.
    """
    ranked = [line for line in sorted(lines, key=Line.merit) if not line.failed]
    columns = columns_of(ranked)
    with styled():
        size = (180.0, 76.0 + ROW * len(ranked))
        figure, found = panels(max(1, len(columns)), columns=MOST_PANELS, size=size, share_y=True)
        for axes, column in zip(found, columns, strict=False):
            axes.set_title(column.title)
            _draw_dots(axes, column, ranked)
    return Chart(figure)


def _draw_dots(axes: Axes, column: Column, lines: Sequence[Line]) -> None:
    """Draw one figure of all recipes."""
    values = {row: value for row, line in enumerate(lines) if (value := line.figures.get(column.figure)) is not None}
    better = min if column.figure in LOWER_IS_BETTER else max
    best = better(values, key=lambda row: values[row])
    others = [row for row in values if row != best]
    axes.plot([values[row] for row in others], others, "o", color=MUTED)
    axes.plot(values[best], best, "o", color=BLUE, markersize=6)
    low, high = min(values.values()), max(values.values())
    axes.margins(x=0.12)
    if column.form(low) == column.form(high):
        axes.set_xlim(low - max(SAME * abs(low), 1e-9), high + 0.02 * max(abs(high), 1e-9))
    right = values[best] < sum(axes.get_xlim()) / 2
    place: dict[str, Any] = {"xytext": (7 if right else -7, 0), "textcoords": "offset points"}
    place |= {"ha": "left" if right else "right", "va": "center_baseline"}
    axes.annotate(column.form(values[best]), (values[best], best), **place, color=BLUE, fontsize=8.5)
    axes.set_yticks(range(len(lines)), [_short(line.name, NAMES) for line in lines])
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.set_xlabel("lower is better" if better is min else "higher is better")
    _number_axis(axes.xaxis, column, 3)


def tuning_picture(tuned: Tuned) -> Chart:
    """Draw the metric of each trial, and the recipes that were measured once more.

    Args:
        tuned: with at least one trial that has a figure.
    """
    with styled():
        figure, (left, right) = panels(2, columns=2, size=(300.0, 200.0), title=f"{tuned.name}: {tuned.metric}")
        _draw_trials(left, tuned)
        _draw_finals(right, tuned)
        figure.legend(*left.get_legend_handles_labels(), loc="outside right upper")
    return Chart(figure)


def _draw_trials(axes: Axes, tuned: Tuned) -> None:
    whole, early = (
        {one.number: one.value for one in tuned.trials if one.state == state and one.value is not None}
        for state in ("complete", "stopped")
    )
    axes.plot([*early], [*early.values()], "x", color=OTHER, label="stopped early")
    axes.plot([*whole], [*whole.values()], "o", color=MUTED, label="trial")
    best = [*accumulate(whole.values(), max)]
    axes.step([*whole], best, where="post", color=BLUE, marker="", label="best so far")
    if GIVEN in whole:
        axes.axhline(whole[GIVEN], color=ORANGE, linestyle="--", label="as given")
    axes.set(title="in the search", xlabel="trial")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))


def _draw_finals(axes: Axes, tuned: Tuned) -> None:
    """Draw a dot for each seed of each recipe, and their mean."""
    axes.set_title("with other seeds and queries")
    if not tuned.finals:
        axes.set_axis_off()
        axes.text(0, 0.5, "nothing to measure once more", color=MUTED, transform=axes.transAxes)
        return
    for place, one in enumerate(tuned.finals):
        colour = BLUE if one.better else ORANGE if one.number == GIVEN else MUTED
        axes.plot(one.means, [place] * len(one.means), "o", color=colour)
        axes.plot(fmean(one.means), place, "|", color=colour, markersize=14)
    names = ["as given" if one.number == GIVEN else f"trial {one.number}" for one in tuned.finals]
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)


def precision_picture(scores: Scores, *, title: str) -> Chart | None:
    """Draw precision by recall and by radius; None where it was not measured.

    Args:
        scores: as :meth:`aepipe.evaluate.Scores.to_dict` gives them.
        title: a line above everything.
    """
    rows = {row["system"]: row for row in scores["rows"] if row.get("precision")}
    if not rows:
        return None
    n_bits = scores["protocol"]["n_bits"]
    with styled():
        figure, (left, right) = panels(2, columns=2, size=(285.0, 200.0), title=title)
        for name, row in rows.items():
            look: dict[str, Any] = {"color": SYSTEMS.get(name, INK), "linestyle": DASHES.get(name, "-"), "marker": ""}
            look |= {"label": name, "zorder": 3 if name == "ours" else 2}
            # Below the first hit nothing is found: neither precision nor recall is a number there.
            seen = [pair for pair in zip(row["recall"], row["precision"], strict=True) if any(pair)]
            left.plot(*zip(*seen, strict=True), **look)
            right.plot(range(len(row["precision"])), row["precision"], **look)
        for axes, name, last in ((left, "recall", 1), (right, "radius in bits", n_bits)):
            axes.set(title=f"precision by {name.partition(' ')[0]}", xlabel=name, xlim=(0, last), ylim=(0, 1.02))
        figure.legend(*left.get_legend_handles_labels(), loc="outside right upper")
    return Chart(figure)


def plane_picture(
    points: NDArray[np.floating],
    labels: Sequence[str | None],
    *,
    tiles: Mapping[int, Image.Image] | None = None,
    title: str = "",
    names: Sequence[tuple[str, tuple[float, float]]] = (),
) -> Chart:
    """Draw a map: each row a dot in the colour of its class, and some rows as pictures.

    Args:
        points: float[N, 2], in any units; both axes get the same scale.
        labels: the class of each row, None where it is not known.
        tiles: pictures of some rows, by position; where two would overlap the first one stays.
        title: a line above everything.
        names: of parts of the map, with their places in the units of the points.
    """
    assert len(points), "a map shows at least one row"
    frequent = [label for label, _ in Counter(label for label in labels if label).most_common(len(CLASSES))]
    colours = dict(zip(sorted(frequent), CLASSES, strict=False))
    placed, height = _placed(points)
    tall = max(height, ENTRY * len(colours)) + 2 * MARGIN + (HEADING if title else 0)
    wide = 2 * MARGIN + SIDE + (LEGEND if colours else 0)
    with styled():
        figure = Figure(figsize=(wide / POINTS, tall / POINTS))
        top = tall - MARGIN - (HEADING if title else 0)
        axes = figure.add_axes((MARGIN / wide, (top - height) / tall, SIDE / wide, height / tall))
        # One unit of both axes is one point, so that pictures can be placed without overlap.
        axes.set(xlim=(0, SIDE), ylim=(0, height))
        axes.set_axis_off()
        _draw_classes(axes, placed, labels, colours)
        _draw_tiles(axes, placed, tiles or {})
        _draw_names(axes, names, _placed(points, np.array([at for _, at in names]).reshape(-1, 2))[0])
        if title:
            figure.text(MARGIN / wide, 1 - MARGIN / tall, _short(title, wide - 2 * MARGIN, 12), va="top", fontsize=12)
        if colours:
            at = ((MARGIN + SIDE + 6) / wide, top / tall)
            figure.legend(*axes.get_legend_handles_labels(), loc="upper left", bbox_to_anchor=at, markerscale=2)
    return Chart(figure)


def _placed(
    points: NDArray[np.floating], others: NDArray[np.floating] | None = None
) -> tuple[NDArray[np.float64], float]:
    """Return places in points, and the height they take; outliers are moved in to the edge.

    Args:
        points: by which all is placed.
        others: places that are wanted instead of those of the points.
    """
    low, high = np.quantile(points, [0.0005, 0.9995], axis=0)
    inner = SIDE - 2 * TILE
    scale = inner / max(float((high - low).max()), 1e-12)
    extent = (high - low) * scale
    wanted = points if others is None else others
    if extent[1] > extent[0]:  # the longer side lies down
        wanted, low, extent = wanted[:, ::-1], low[::-1], extent[::-1]
    corner = np.array([TILE + (inner - extent[0]) / 2, TILE])
    at: NDArray[np.float64] = corner + ((wanted - low) * scale).clip(-TILE / 2, extent + TILE / 2)
    return at, float(extent[1]) + 2 * TILE


def _draw_classes(
    axes: Axes, placed: NDArray[np.float64], labels: Sequence[str | None], colours: Mapping[str, Any]
) -> None:
    """Draw the dots of each class, the grey ones below the others."""
    of = np.array([label if label in colours else "" for label in labels], object)
    look: dict[str, Any] = {"s": 18, "alpha": 0.8, "linewidths": 0, "clip_on": False}
    axes.scatter(*placed[of == ""].T, color=OTHER, **look)
    for label, colour in colours.items():
        axes.scatter(*placed[of == label].T, color=[colour], label=_short(label, LEGEND - 40), **look)


def _draw_tiles(axes: Axes, placed: NDArray[np.float64], tiles: Mapping[int, Image.Image]) -> None:
    """Draw pictures at their rows, unless one is there already."""
    taken: list[NDArray[np.float64]] = []
    for position, picture in tiles.items():
        at = placed[position]
        if any((np.abs(at - other) < TILE + 2).all() for other in taken):
            continue
        taken.append(at)
        pixels = OffsetImage(np.asarray(canvas.fit(picture, TILE)), zoom=1 / canvas.SCALE, interpolation="nearest")
        box = AnnotationBbox(pixels, (at[0], at[1]), pad=0.05, bboxprops={"edgecolor": "white", "linewidth": 1})
        axes.add_artist(box)


def _draw_names(axes: Axes, names: Sequence[tuple[str, tuple[float, float]]], placed: NDArray[np.float64]) -> None:
    """Write the names of parts of a map above everything else, with a white edge."""
    edge = [patheffects.withStroke(linewidth=3, foreground="white")]
    for (name, _), (x, y) in zip(names, placed, strict=True):
        text = _short(name, REGION)
        axes.text(x, y, text, ha="center", va="center", fontsize=10, weight="bold", path_effects=edge, zorder=5)
