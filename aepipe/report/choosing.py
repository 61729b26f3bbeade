"""What a study comes to: means over seeds, and a choice by rows that were held out, before the test rows speak."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean, stdev
from typing import Any

from aepipe.errors import QueryError
from aepipe.evaluate.probes import RETRIEVAL
from aepipe.pipeline.sweep import written
from aepipe.report.comparison import Column, Line, columns_of
from aepipe.report.scores import text_table

SEED = "seed"
CRITERION = "held_out_map_at_1000"
TEST = (*RETRIEVAL, "probe_embedding", "probe_bits", "nmi_bits")
"""Figures that test rows have a part in."""


def choose(lines: Sequence[Line]) -> tuple[list[Line], str]:
    """Choose the variation that is best at mAP@1000 on held-out rows, in the mean over its seeds.

    Returns:
        The lines, of which only the chosen keep the figures of the test rows, and a sentence that says which they are.

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


def means_table(lines: Sequence[Line]) -> str | None:
    """Return mean and standard deviation over the seeds of each variation; None where there are not two seeds."""
    groups = {key: group for key, group in _groups(lines).items() if len(group) > 1}
    if SEED not in lines[0].changes or not groups:
        return None
    columns = columns_of(lines)
    heads = [["", *(column.head[0] for column in columns)], ["mean of seeds", *(column.head[1] for column in columns)]]
    rows = [[key or group[0].name, *(_mean(column, group) for column in columns)] for key, group in groups.items()]
    return text_table([*heads, *rows])


def _mean(column: Column, group: Sequence[Line]) -> str:
    """Return the mean of a figure, and with figures from 0 to 1 the standard deviation."""
    values = [value for line in group if (value := line.figures.get(column.figure)) is not None]
    if len(values) < 2:
        return "-"
    return f"{column.form(fmean(values))} ±{column.form(stdev(values))}"


def _groups(lines: Sequence[Line]) -> dict[str, list[Line]]:
    """Return the lines that differ in nothing but the seed, by what else was changed, in words."""
    found: dict[str, list[Line]] = {}
    for line in lines:
        found.setdefault(_without_seed(line.changes), []).append(line)
    return found


def _without_seed(changes: Mapping[str, Any]) -> str:
    """Return what was changed beside the seed, in words."""
    return ", ".join(f"{key}={written(value)}" for key, value in changes.items() if key != SEED)
