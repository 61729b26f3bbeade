"""A search for a better recipe as a table: trials, those measured once more, the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from aepipe.pipeline.search import GIVEN, Final, Found
from aepipe.pipeline.space import Dimension
from aepipe.pipeline.sweep import written
from aepipe.report.tables import GAP, text_table

SHOWN = 12
"""Trials in the table: the best ones, and the recipe as it was given."""


@dataclass(frozen=True, slots=True)
class Tuned:
    """What a search found.

    Attributes:
        name: of the collection.
        metric: that was to be large.
        space: keys and their ranges.
        sizes: training rows of each stage of a trial.
        rows: training rows of the collection.
        trials: all finished ones.
        finals: those that were measured once more, the given recipe first.
    """

    name: str
    metric: str
    space: Sequence[Dimension]
    sizes: Sequence[int]
    rows: int
    trials: Sequence[Found]
    finals: Sequence[Final]

    @property
    def best(self) -> Final | None:
        """The best recipe that is better than the given one beyond chance; None where there is none."""
        return next((one for one in self.finals if one.better), None)

    def changes(self, number: int) -> Mapping[str, Any]:
        """Return what a trial changed in the recipe."""
        return next(one.changes for one in self.trials if one.number == number)


def tuning_table(tuned: Tuned, *, width: int) -> str:
    """Return the best trials, and below them the recipes that were measured once more.

    Args:
        tuned: with at least one trial.
        width: of the terminal; keys that vary least in it are left out where it is too narrow.
    """
    ranked = sorted((one for one in tuned.trials if one.value is not None), key=_rank)
    shown = [one for place, one in enumerate(ranked) if place < SHOWN or one.number == GIVEN]
    parts = [_trials_table(tuned, shown, width), *_counts(tuned, len(shown))]
    return "\n".join([*parts, "", *(_finals_lines(tuned))]).rstrip()


def verdict(tuned: Tuned) -> str:
    """Return in one sentence whether a better recipe was found."""
    best = tuned.best
    if best is not None and best.gain is not None:
        theirs = fmean(tuned.finals[0].means)
        return (
            f"trial {best.number} is better than the recipe: {tuned.metric} {fmean(best.means):.4f} against "
            f"{theirs:.4f}, {_gain(best)}"
        )
    if tuned.finals:
        return "no trial is better than the recipe beyond chance, on queries that the search did not use"
    if len(tuned.trials) < 2:
        return "only the recipe as it was given was tried: a larger --budget leaves time for others"
    return "no trial measured better than the recipe"


def reasons(tuned: Tuned, recipe: str) -> list[str]:
    """Return sentences for the head of the recipe that was found.

    Args:
        tuned: with a best one.
        recipe: that was given, as the user named it.
    """
    best, given = tuned.best, tuned.finals[0]
    assert best is not None, "a better recipe was found"
    of_all = f"{tuned.sizes[-1]:,} of {tuned.rows:,} rows"
    found = [
        f"Found by `aepipe tune {recipe}`: trial {best.number} of {len(tuned.trials):,}, trained on {of_all}. "
        f"{verdict(tuned).partition(': ')[2]}, means of {len(given.means)} seeds that the search did not use, on "
        "queries that it did not ask.",
        "Changed:",
    ]
    own = {one.key: one.own for one in tuned.space}
    return [
        *found,
        *(f"  {key}: {written(own[key])} -> {written(value)}" for key, value in tuned.changes(best.number).items()),
    ]


def as_json(tuned: Tuned) -> dict[str, Any]:
    """Return everything for JSON."""
    best = tuned.best
    return {
        "name": tuned.name,
        "metric": tuned.metric,
        "rows": tuned.rows,
        "sizes": list(tuned.sizes),
        "space": [asdict(one) for one in tuned.space],
        "trials": [asdict(one) for one in tuned.trials],
        "finals": [asdict(one) for one in tuned.finals],
        "best": best.number if best else None,
        "verdict": verdict(tuned),
    }


def _rank(one: Found) -> tuple[bool, float, int]:
    return one.state != "complete", -(one.value or 0.0), one.number


def _trials_table(tuned: Tuned, shown: Sequence[Found], width: int) -> str:
    """Return a line for each trial and a column for each key, what the recipe says in its own line."""
    own = {one.key: one.own for one in tuned.space}
    tall = max(len(_parts(key)) for key in own)
    leading = [*([""] * 3 for _ in range(tall - 1)), ["trial", tuned.metric, ""]]
    leading += [[_name(one), f"{one.value or 0:.4f}", "" if one.state == "complete" else one.state] for one in shown]
    taken = sum(max(len(row[place]) for row in leading) + GAP for place in range(3))
    columns = []
    for key, said in own.items():
        head = _parts(key)
        cells = [*([""] * (tall - len(head))), *head, *(written(one.changes.get(key, said)) for one in shown)]
        taken += max(map(len, cells)) + GAP
        if taken > width:
            break
        columns.append(cells)
    return text_table([[*row, *rest] for row, rest in zip(leading, _rows(columns, len(leading)), strict=True)])


def _parts(key: str) -> list[str]:
    """Return the lines of a heading: a part of the key in each, so that columns stay narrow."""
    *before, last = key.split(".")
    return [*(f"{part}." for part in before), last]


def _rows(columns: Sequence[Sequence[str]], count: int) -> list[list[str]]:
    return [[cells[place] for cells in columns] for place in range(count)]


def _counts(tuned: Tuned, shown: int) -> list[str]:
    states = [one.state for one in tuned.trials]
    seconds = sum(one.seconds for one in tuned.trials)
    stopped, failed = states.count("stopped"), states.count("failed")
    early = f", {stopped} stopped early" if stopped else ""
    early += f", {failed} failed" if failed else ""
    more = f"; the best {shown} are shown" if shown < len(states) - failed else ""
    stages = ", ".join(f"{size:,}" for size in tuned.sizes)
    count = f"{len(states)} trial{'s' if len(states) > 1 else ''}"
    lines = [f"{count} in {seconds:,.0f} s{early}{more}; trained on {stages} of {tuned.rows:,} rows"]
    first = next((one for one in tuned.trials if one.state == "failed"), None)
    return ["", *lines, *([f"trial {first.number} failed: {first.why}"] if first else [])]


def _finals_lines(tuned: Tuned) -> list[str]:
    """Return the table of the recipes that were measured once more, and the verdict."""
    if not tuned.finals:
        return [verdict(tuned)]
    rows = [["once more", *(f"seed +{seed}" for seed in range(1, 1 + len(tuned.finals[0].means))), "mean", "gain", ""]]
    for one in tuned.finals:
        means = [f"{mean:.4f}" for mean in (*one.means, fmean(one.means))]
        rows.append([_name(one), *means, "" if one.gain is None else _gain(one), "better" if one.better else ""])
    return [text_table(rows), "", verdict(tuned)]


def _gain(one: Final) -> str:
    assert one.gain is not None, "the given recipe has no gain over itself"
    return f"{one.gain.value:+.4f} ({one.gain.low:+.4f} to {one.gain.high:+.4f})"


def _name(one: Found | Final) -> str:
    return "as given" if one.number == GIVEN else str(one.number)
