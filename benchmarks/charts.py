"""Draw the pictures of three benchmarks from their results.

    python -m benchmarks.charts search benchmarks/results/search-{32,64,128,256}.json docs/benchmarks/images/search.png
    python -m benchmarks.charts peers benchmarks/results/peers-{64,256}.json docs/benchmarks/images/peers.png
    python -m benchmarks.charts zoo benchmarks/results/zoo.json docs/benchmarks/images/zoo.png

The first is about ``benchmarks.search.search``, the second about ``benchmarks.search.peers``, the third about
``benchmarks.quality.zoo``.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

from aepipe.report.canvas import BLUE, MUTED, ORANGE
from aepipe.report.charts import Chart, comparison_picture, panels, styled
from aepipe.report.comparison import Line
from benchmarks.common import read

COLUMNS = 2
SIZE = (385.0, 250.0)
"""Width and height of a panel, in points."""
COLOURS = {"FAISS flat, rows": MUTED, "flat": ORANGE, "multihash": BLUE}
MARKS = dict(zip(COLOURS, "^so", strict=True))
OURS = "aepipe "
ZOO = {
    **{"error_bits": "reconstruction_bits", "error_float": "reconstruction_float", "probe": "probe_embedding"},
    **{"nmi": "nmi_bits"},
    **{name: name for name in ("map_at_1000", "p_at_100", "entropy", "seconds", "parameters")},
}
"""Figures of the zoo by their names in its results."""
K = 10


def logarithmic(axis: Any) -> None:
    """Put whole powers of ten on an axis: 100k, 1M."""
    axis.set_major_locator(LogLocator())
    axis.set_major_formatter(EngFormatter(sep=""))
    axis.set_minor_formatter(NullFormatter())


def search_picture(figures: Sequence[Mapping[str, Any]]) -> Chart:
    """Draw the cost of a search by rows: a panel for each length of codes, a line for each arm."""
    chosen = [one for one in figures if one["k"] == K]
    lengths = sorted({one["bits"] for one in chosen})
    title = f"One exact search for the {K} nearest learned codes: milliseconds at the median, by rows"
    note = "One thread. Every answer is that of a scan of all rows: multihash proves it, or scans. Logarithmic axes."
    with styled():
        figure, found = panels(len(lengths), columns=COLUMNS, size=SIZE, title=title, note=note)
        for axes, bits in zip(found, lengths, strict=True):
            for arm, colour in COLOURS.items():
                own = [one for one in chosen if (one["bits"], one["arm"]) == (bits, arm)]
                points = sorted((one["rows"], one["median"]) for one in own)
                axes.loglog(*zip(*points, strict=True), color=colour, marker=MARKS[arm], label=arm)
            axes.set(title=f"{bits} bits", xlabel="rows", ylabel="milliseconds")
            _same_scale(axes, chosen)
        found[0].legend(loc="upper left", labelcolor="linecolor")
    return Chart(figure)


def _same_scale(axes: Axes, figures: Sequence[Mapping[str, Any]]) -> None:
    rows, took = ([one[name] for one in figures] for name in ("rows", "median"))
    axes.set(xlim=(0.8 * min(rows), 1.25 * max(rows)), ylim=(0.6 * min(took), 1.6 * max(took)))
    logarithmic(axes.xaxis)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")


def peers_picture(files: Sequence[Mapping[str, Any]]) -> Chart:
    """Draw milliseconds and recall of systems: a panel for each file, the fastest system on top."""
    most = max(len(file["arms"]) for file in files)
    title = f"Searching for the {K} nearest of learned codes: milliseconds, and recall"
    note = "One thread, one query at a time. A dot is the median, its line ends at p99. Blue: aepipe. Logarithmic axis."
    took = [one[name] for file in files for one in file["arms"].values() for name in ("median", "p99")]
    with styled():
        figure, found = panels(len(files), columns=COLUMNS, size=(420.0, 70 + 17.0 * most), title=title, note=note)
        for axes, file in zip(found, files, strict=True):
            axes.set_title(f"{file['rows']:,} codes of {file['bits']} bits, {file['distinct']:.0%} distinct")
            axes.set(xscale="log", xlabel="milliseconds", xlim=(0.6 * min(took), 1.6 * max(took)))
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
            _draw_arms(axes, file["arms"])
    return Chart(figure)


def _draw_arms(axes: Axes, arms: Mapping[str, Mapping[str, float]]) -> None:
    """Draw a line for each system, its name on the left and its recall on the right."""
    ranked = sorted(arms.items(), key=lambda pair: pair[1]["median"])
    colours = [BLUE if arm.startswith(OURS) else MUTED for arm, _ in ranked]
    for place, ((_, one), colour) in enumerate(zip(ranked, colours, strict=True)):
        axes.plot([one["median"], one["p99"]], [place, place], color=colour, linewidth=1.4, marker="")
        axes.plot(one["median"], place, "o", color=colour, markersize=6)
        axes.annotate(
            f"{one['recall']:.3f}", (1, place), (6, 0), xycoords=("axes fraction", "data"),
            textcoords="offset points", va="center", color=colour, fontsize=8.5,
        )  # fmt: skip
    axes.annotate("recall", (1, 1), (6, 6), xycoords="axes fraction", textcoords="offset points", color=MUTED)
    axes.set_yticks(range(len(ranked)), [arm for arm, _ in ranked])
    for label, colour in zip(axes.get_yticklabels(), colours, strict=True):
        label.set_color(colour)
    axes.set_ylim(len(ranked) - 0.5, -0.5)


def zoo_picture(file: Mapping[str, Any]) -> Chart:
    """Draw the figures of all recipes of the zoo; systems that were not trained are left out."""
    trained = [row for row in file["rows"] if "parameters" in row]
    lines = [Line(row["name"], figures={figure: row[name] for name, figure in ZOO.items()}) for row in trained]
    return comparison_picture(lines)


def main() -> None:
    """Draw one of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("search", "peers", "zoo"))
    parser.add_argument("figures", type=Path, nargs="+", help="results")
    parser.add_argument("out", type=Path, help="the picture")
    asked = parser.parse_args()
    results = [read(file) for file in asked.figures]
    if asked.what == "peers":
        chart = peers_picture([one["settings"] | {"arms": {row["arm"]: row for row in one["rows"]}} for one in results])
    elif asked.what == "zoo":
        chart = zoo_picture(results[0])
    else:
        chart = search_picture([row for one in results for row in one["rows"] if "median" in row])
    chart.save(asked.out)


if __name__ == "__main__":
    main()
