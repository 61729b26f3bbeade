"""Compare recipes: figures as tables, JSON and Parquet; means over seeds; the best one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from aepipe.errors import CorruptError, QueryError
from aepipe.evaluate.probes import FIGURES, RETRIEVAL
from aepipe.pipeline.sweep import label, written
from aepipe.report.tables import GAP, text_table
from aepipe.store import layout
from aepipe.store.artifacts import Ref, Store

NAME_AT_LEAST = 16
"""Columns of the terminal that a name gets, if it needs them, before figures are left out."""
SYSTEMS = {"itq": "ITQ codes", "float": "exact search"}
"""Systems that are scored together with our codes, and stand below the table for orientation."""
SEED = "seed"
RELEASE = 12 + GAP
"""Columns of the terminal that the release takes."""
INTERVAL = "half of the 95 % interval over the queries"
CRITERION = "held_out_map_at_1000"
TEST = (*RETRIEVAL, "probe_embedding", "probe_bits", "nmi_bits")
"""Figures that depend on test rows."""

Figures = Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class Line:
    """One recipe, or one variation of it.

    Attributes:
        name: of the recipe.
        changes: what was varied, by key.
        figures: as ``aepipe.pipeline.compare`` names them; all None where training failed.
        notes: why a figure is None, by its name.
        yardsticks: retrieval figures of other systems on the same rows.
        measured: on how many rows.
        release: its ref; None where training failed.
        failed: why.
        intervals: of 95 %, of retrieval figures over the queries; the lower and the upper end, by figure.
        source: what the recipe says of its source.
    """

    name: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    figures: Figures = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    yardsticks: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    measured: Mapping[str, int] = field(default_factory=dict)
    release: str | None = None
    failed: str | None = None
    intervals: Mapping[str, Sequence[float]] = field(default_factory=dict)
    source: str = ""

    @property
    def title(self) -> str:
        """The name in a message."""
        return label(self.changes) or self.name

    def merit(self) -> tuple[bool, float]:
        """Return a key that sorts better recipes first, and failures last.

        It is mAP@1000; without labels that of walks, which orders recipes as labels do.
        """
        found = next((x for name in MERITS if (x := self.figures.get(name)) is not None), None)
        return found is None, -(found or 0.0)


MERITS = ("map_at_1000", "walk_map", "recall_at_10")


def share(value: float) -> str:
    """Return a figure between 0 and 1."""
    return f"{value:.3f}"


def error(value: float) -> str:
    """Return four digits."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:#.4g}"


def duration(seconds: float) -> str:
    """Return seconds in a unit that suits them."""
    if seconds < 1000:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"


def count(value: float) -> str:
    """Return a number of things in three digits: 1.67M."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= 0.9995 * size:
            return f"{value / size:#.3g}".rstrip(".") + unit
    return f"{value:.0f}"


@dataclass(frozen=True, slots=True)
class Column:
    """One figure in a table and in pictures.

    Attributes:
        figure: its name.
        head: two lines above the column.
        title: in a picture or a sentence.
        form: how its values are written.
        weight: where a terminal is narrow, the column of the least weight goes first.
    """

    figure: str
    head: tuple[str, str]
    title: str
    form: Callable[[float], str]
    weight: int


COLUMNS = (
    Column("reconstruction_bits", ("error", "bits"), "squared error, bits", error, 8),
    Column("reconstruction_float", ("error", "float"), "squared error, float", error, 6),
    Column("held_out_map_at_1000", ("held", "out"), "mAP@1000 of held-out rows", share, 0),
    Column("map_at_1000", ("mAP", "@1000"), "mAP@1000", share, 10),
    Column("p_at_100", ("P", "@100"), "P@100", share, 5),
    Column("walk_map", ("walk", "mAP"), "mAP of walks", share, 10),
    Column("recall_at_10", ("recall", "@10"), "recall@10", share, 9),
    Column("entropy", ("bit", "entr."), "entropy of a bit", share, 2),
    Column("probe_embedding", ("", "probe"), "linear probe", share, 7),
    Column("nmi_bits", ("", "NMI"), "k-means NMI", share, 3),
    Column("seconds", ("train", "time"), "seconds of training", duration, 4),
    Column("parameters", ("net", "size"), "parameters", count, 1),
)


def read_line(store: Store, outcome: Mapping[str, Any]) -> Line:
    """Return the flow's outcome of one recipe, with its figures from the store.

    Args:
        store: where the figures are.
        outcome: ``name``, ``changes``, ``source``, ``release``, ``measures`` and ``failed``.

    Raises:
        CorruptError: the figures cannot be read.
    """
    told = {name: outcome[name] for name in ("name", "changes", "release", "failed", "source")}
    if outcome["measures"] is None:
        return Line(**told)
    file = store.path(Ref.parse(outcome["measures"])) / layout.Measures.MEASURES
    try:
        stored = json.loads(file.read_bytes())
        kept = {name: stored[name] for name in ("figures", "notes", "yardsticks", "measured")}
        return Line(**told, **kept, intervals=stored.get("intervals", {}))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorruptError(f"{file}: corrupt, not readable ({error}); `aepipe verify` lists what is damaged") from None


def comparison_table(lines: Sequence[Line], *, width: int, figures: Sequence[str] | None = None) -> str:
    """Return a line for each recipe, the best first.

    Below stand other systems on the same rows, and reasons for figures that are missing.

    Args:
        lines: at least one.
        width: of the terminal; columns of less weight are left out where it is too narrow.
        figures: that are shown, in their order; None for the usual ones.
    """
    ranked = sorted(lines, key=Line.merit)
    yardsticks = _yardsticks(lines)
    everything = [*ranked, *yardsticks]
    least = min(NAME_AT_LEAST, max(len(line.name) for line in everything))
    wanted = columns_of(lines, figures)
    shown, spare = _fitting(wanted, everything, width - least - _room(lines))
    rows = [
        [_cut(line.name, least + max(0, spare)), *(_cell(column, line) for column in shown), _release(line)]
        for line in everything
    ]
    rows.insert(len(ranked), [""] * (len(shown) + 2))
    named = "release" if _room(lines) else ""
    heads = [["", *(column.head[0] for column in shown), ""], ["name", *(column.head[1] for column in shown), named]]
    return "\n".join([text_table([*heads, *rows]).rstrip(), "", *remarks(lines, shown)]).rstrip()


def study_table(lines: Sequence[Line], *, width: int, figures: Sequence[str] | None = None) -> str:
    """Return a line for each variation in the order of the grid, a column for each varied key.

    Args:
        lines: at least one; all vary the same keys.
        width: of the terminal, as for :func:`comparison_table`.
        figures: the same.
    """
    keys = list(lines[0].changes)
    heads = [key.rpartition(".") for key in keys]
    cells = [[written(line.changes[key]) for key in keys] for line in lines]
    leading = [[before + dot for before, dot, _ in heads], [last for _, _, last in heads], *cells]
    taken = sum(max(len(row[place]) for row in leading) + GAP for place in range(len(keys))) - GAP
    shown, _ = _fitting(columns_of(lines, figures), lines, width - taken - _room(lines))
    rest = [
        [*(column.head[part] for column in shown), ("", "release" if _room(lines) else "")[part]] for part in (0, 1)
    ]
    rest += [[*(_cell(column, line) for column in shown), _release(line)] for line in lines]
    table = text_table([[*one, *other] for one, other in zip(leading, rest, strict=True)], left=())
    return "\n".join([table, "", *remarks(lines, shown)]).rstrip()


def columns_of(lines: Sequence[Line], figures: Sequence[str] | None = None) -> list[Column]:
    """Return the columns for which some line has a figure, or those that are chosen.

    Recall of neighbours is one of them only where there are no labels, or where it is chosen.
    """
    if figures is not None:
        usual = {column.figure: column for column in COLUMNS}
        return [usual.get(name, Column(name, ("", name), name, error, 5)) for name in figures]
    found = [column for column in COLUMNS if any(line.figures.get(column.figure) is not None for line in lines)]
    labelled = any(column.figure == MERITS[0] for column in found)
    return [column for column in found if not (labelled and column.figure in MERITS[1:])]


def remarks(lines: Sequence[Line], shown: Sequence[Column]) -> list[str]:
    """Say on how many rows the figures were measured, and why some of those shown are missing."""
    apart = len({line.source for line in lines}) > 1
    found = ["the sources of these recipes differ, so their figures are of different rows"] if apart else []
    counts = {tuple(line.measured.items()) for line in lines if line.measured}
    if len(counts) == 1:
        of = dict(counts.pop())
        parts = {
            "reconstruction": f"errors of {of['rebuilt']:,} unseen rows",
            "probe": f"probes trained on {of['train']:,}, asked about {of['test']:,}",
        }
        told = [text for what, text in parts.items() if any(column.figure.startswith(what) for column in shown)]
        found += ["; ".join(told)] if told else []
    reasons: dict[tuple[str, str], list[str]] = {}
    for line in lines:
        for column in shown:
            if column.figure in line.notes:
                reasons.setdefault((column.title, line.notes[column.figure]), []).append(line.title)
    found += [f"no {title} of {', '.join(who)}: {why}" for (title, why), who in reasons.items()]
    found += [f"{column.title}: ±{half:.3f} at most, {INTERVAL}" for column in shown if (half := _half(lines, column))]
    return found + [f"{line.title} failed: {line.failed}" for line in lines if line.failed]


def chosen_figures(text: str | None) -> tuple[str, ...] | None:
    """Return the figures that are named between commas; None where none are.

    Raises:
        QueryError: there is no such figure.
    """
    if text is None:
        return None
    found = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    unknown = [name for name in found if name not in FIGURES]
    if unknown or not found:
        raise QueryError(f"--figures {text}: no figure {', '.join(unknown)!r}; there are: {', '.join(FIGURES)}")
    return found


def _half(lines: Sequence[Line], column: Column) -> float:
    """Return half of the widest interval of a figure; 0 where it has none."""
    return max(
        ((high - low) / 2 for line in lines for low, high in [line.intervals.get(column.figure, (0, 0))]), default=0
    )


def _room(lines: Sequence[Line]) -> int:
    """Return the columns of the terminal that the releases take."""
    return RELEASE if any(line.release for line in lines) else 0


def _release(line: Line) -> str:
    """Return the first characters of a release, as other verbs take them."""
    return Ref.parse(line.release).short if line.release else ""


def as_json(line: Line) -> dict[str, Any]:
    """Return all attributes of a line."""
    names = ("name", "changes", "figures", "intervals", "notes", "yardsticks", "measured", "release", "failed")
    return {name: getattr(line, name) for name in names}


def write_parquet(lines: Sequence[Line], file: Path) -> None:
    """Write one row for each line: name, varied keys, all figures, yardsticks and release."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, Any] = {"name": [line.name for line in lines]}
    for key in dict.fromkeys(key for line in lines for key in line.changes):
        values = [line.changes.get(key) for line in lines]
        plain = len({type(value) for value in values}) == 1 and isinstance(values[0], bool | int | float | str)
        columns[key] = values if plain else [written(value) for value in values]
    for name in dict.fromkeys(name for line in lines for name in line.figures):
        columns[name] = pa.array([line.figures.get(name) for line in lines], pa.float64())
    pairs = {(system, name) for line in lines for system, found in line.yardsticks.items() for name in found}
    for system, name in sorted(pairs):
        found = [line.yardsticks.get(system, {}).get(name) for line in lines]
        columns[f"{system}_{name}"] = pa.array(found, pa.float64())
    columns["release"] = pa.array([line.release for line in lines], pa.string())
    columns["failed"] = pa.array([line.failed for line in lines], pa.string())
    pq.write_table(pa.table(columns), file)


def choose(lines: Sequence[Line]) -> tuple[list[Line], str]:
    """Choose the variation with the best mean mAP@1000 on held-out rows over its seeds.

    Returns:
        The lines, only the chosen ones with figures of the test rows, and a sentence that names the choice.

    Raises:
        QueryError: there is nothing to choose by.
    """
    groups, known = _groups(lines), {}
    for key, group in groups.items():
        merits = [merit for line in group if (merit := line.figures.get(CRITERION)) is not None]
        if merits:
            known[key] = fmean(merits)
    if not known:
        raise QueryError("nothing to choose by: no training came to an end, or there are no labels or held-out rows")
    best = max(known, key=lambda key: known[key])
    hidden = dict.fromkeys(TEST)
    shown = [
        line if any(line is one for one in groups[best]) else replace(line, figures={**line.figures, **hidden})
        for line in lines
    ]
    name = best or lines[0].name
    return shown, f"chosen by {known[best]:.3f} mAP@1000 of held-out rows: {name}; only its test rows were looked at"


def means_table(lines: Sequence[Line], figures: Sequence[str] | None = None) -> str | None:
    """Return mean and deviation over the seeds of each variation; None without two seeds."""
    groups = {key: group for key, group in _groups(lines).items() if len(group) > 1}
    if SEED not in lines[0].changes or not groups:
        return None
    columns = columns_of(lines, figures)
    heads = [["", *(column.head[0] for column in columns)], ["mean of seeds", *(column.head[1] for column in columns)]]
    rows = [[key or group[0].name, *(_mean(column, group) for column in columns)] for key, group in groups.items()]
    return f"{text_table([*heads, *rows])}\n± is the standard deviation over the seeds"


def _mean(column: Column, group: Sequence[Line]) -> str:
    values = [value for line in group if (value := line.figures.get(column.figure)) is not None]
    if len(values) < 2:
        return "-"
    return f"{column.form(fmean(values))} ±{column.form(stdev(values))}"


def _groups(lines: Sequence[Line]) -> dict[str, list[Line]]:
    found: dict[str, list[Line]] = {}
    for line in lines:
        found.setdefault(_without_seed(line.changes), []).append(line)
    return found


def _without_seed(changes: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={written(value)}" for key, value in changes.items() if key != SEED)


def _yardsticks(lines: Sequence[Line]) -> list[Line]:
    """Return other systems as lines, where they are the same for all."""
    found = []
    for system, name in SYSTEMS.items():
        theirs = [line.yardsticks[system] for line in lines if system in line.yardsticks]
        if theirs and all(one == theirs[0] for one in theirs):
            found.append(Line(name, figures=theirs[0]))
    pca = {line.figures.get("reconstruction_pca_30") for line in lines if not line.failed}
    if len(pca) == 1 and None not in pca:
        found.append(Line("30 components", figures={"reconstruction_float": pca.pop()}))
    return found


def _fitting(columns: Sequence[Column], lines: Sequence[Line], width: int) -> tuple[list[Column], int]:
    """Return the columns that fit into a width, and the room that is left over."""
    kept = list(columns)
    while True:
        wide = [max(*map(len, one.head), *(len(_cell(one, line)) for line in lines)) + GAP for one in kept]
        if sum(wide) <= width or len(kept) <= 1:
            return kept, width - sum(wide)
        kept.remove(min(kept, key=lambda column: column.weight))


def _cell(column: Column, line: Line) -> str:
    value = line.figures.get(column.figure)
    return "-" if value is None else column.form(value)


def _cut(name: str, width: int) -> str:
    return name if len(name) <= width else name[: width - 1] + "…"
