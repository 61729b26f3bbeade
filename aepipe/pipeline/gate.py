"""A release -> the gate's verdict on it; writes nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aepipe.evaluate import gate as gates
from aepipe.evaluate import retrieval as metrics
from aepipe.evaluate import scores as evaluation
from aepipe.evaluate.gate import Finding, ItqRule, Pair, Verdict
from aepipe.evaluate.scores import Scores
from aepipe.pipeline.resolve import ResolvedRecipe
from aepipe.recipe import GateRecipe
from aepipe.release import canaries
from aepipe.release import diff as difference
from aepipe.release.lifecycle import last_sound
from aepipe.release.release import Release
from aepipe.store.artifacts import Ref, Store

_RULES: dict[object, ItqRule] = {True: "warn", False: "ignore", "forbid": "forbid"}
FEW = 20
"""Queries in common below which nothing is measured again."""


def run_gate(store: Store, plan: ResolvedRecipe, release: Ref) -> Verdict:
    """Compare a release with the one in service under the recipe's name, by the rules of its ``[gate]``.

    Where the one in service is damaged, the newest one before it that is whole takes its place. Where the rows are not
    the same, both are asked those labelled queries that both have: scores of other queries differ by chance.

    Raises:
        NotFoundError: there is no such release.
        CorruptError: a part of it is not what was written.
        RecipeError: the file of canaries cannot be read.
    """
    gate = plan.recipe.gate
    new, old = Release.open(store, ref=release), last_sound(store, plan.recipe.name)
    return gates.judge(
        Scores.from_dict(new.scores),
        Scores.from_dict(old.scores) if old else None,
        metric=gate.metric,
        max_regression=gate.max_regression,
        itq=_RULES[gate.warn_below_itq],
        pair=_asked_the_same(new, old, gate.metric, plan.recipe.evaluate.queries) if old else None,
        further=[*_canaries(new, gate), *([_neighbours(old, new, gate.min_overlap)] if old else [])],
    )


def _canaries(release: Release, gate: GateRecipe) -> Iterator[Finding]:
    """Ask the canaries."""
    if gate.canaries is None:
        return
    outcomes = canaries.ask(release, Path(gate.canaries))
    for outcome in outcomes:
        if not outcome.passed:
            yield Finding(False, (outcome.said,))
    if all(outcome.passed for outcome in outcomes):
        yield Finding(True, (f"all {len(outcomes)} canaries found what they should",))


def _neighbours(old: Release, new: Release, least: float) -> Finding:
    """Look at how many neighbours are still the same."""
    found = difference.compare(old, new)
    bits = "" if found.flips is None else f", {found.flips:.1%} of the bits differ"
    said = f"{found.overlap:.1%} of the {found.k} nearest of {len(found.asked):,} rows are still the same{bits}"
    if found.overlap >= least:
        return Finding(True, (said,))
    return Finding(False, (f"{said}; min_overlap asks for {least:.1%}",))


def _asked_the_same(new: Release, old: Release, metric: str, queries: int) -> Pair | None:
    """Ask two releases the same queries; None where their scores are of the same ones anyway, or there are no labels.

    Queries are rows of the test split that both have, or, where there are none, any; always the same, so far as they
    are still there.
    """
    same_rows = new.all_parts("rows") == old.all_parts("rows") and np.array_equal(new.removed, old.removed)
    if same_rows or metric not in metrics.METRICS or metric == "recall_at_10":
        return None
    asked = _queries(new, old, queries)
    if len(asked) < FEW:
        return None
    numbers: dict[str, int] = {}
    figures = [_figures(release, asked, metric, numbers) for release in (new, old)]
    gain = evaluation.paired_difference(figures[0], figures[1], 0)
    return Pair(metric, float(figures[0].mean()), float(figures[1].mean()), gain, len(asked))


def _queries(new: Release, old: Release, count: int) -> list[str]:
    """Return the keys of labelled rows that both releases have."""
    here, there = _labelled(new), _labelled(old)
    common = here.keys() & there.keys()
    tested = {key for key in common if here[key] and there[key]}
    some = tested if len(tested) >= FEW else common
    return sorted(some, key=lambda key: hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest())[:count]


def _labelled(release: Release) -> dict[str, bool]:
    """Return the keys of all rows with a label, and whether they are of the test split."""
    columns = (release.items.column(name) for name in ("key", "label", "split"))
    return {key: split == "test" for key, label, split in zip(*columns, strict=True) if key and label}


def _figures(release: Release, keys: list[str], metric: str, numbers: dict[str, int]) -> NDArray[np.float64]:
    """Return a metric of each query, float64[Q]: the training rows that are not asked themselves are searched."""
    asked = np.array([release.id_of(key) for key in keys], np.int64)
    ids = release.items.ids
    train = np.fromiter((split == "train" for split in release.items.column("split")), bool, len(ids))
    searched = ids[train & ~np.isin(ids, asked)]
    labels = [
        np.array([numbers.setdefault(label or f"\0{row}", len(numbers)) for row, label in _labels(release, some)])
        for some in (searched, asked)
    ]
    codes = [release.codes_of(some) for some in (searched, asked)]
    found = metrics.retrieval(codes[0], codes[1], labels[0], labels[1])
    return found.named()[metric]


def _labels(release: Release, ids: NDArray[np.int64]) -> Iterator[tuple[int, str | None]]:
    """Give some rows with their labels; a row without one is alone with it."""
    yield from zip(ids.tolist(), release.items.texts("label", ids), strict=True)
