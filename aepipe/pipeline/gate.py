"""Run the gate: may a new release replace the one in service? Writes nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aepipe.evaluate.gate import Finding, ItqRule, Pair, Verdict, judge
from aepipe.evaluate.relevance import Labels
from aepipe.evaluate.retrieval import LABEL_FREE, METRICS, retrieval
from aepipe.evaluate.scores import Scores, paired_difference
from aepipe.pipeline.resolve import ResolvedRecipe
from aepipe.recipe import GateRecipe
from aepipe.release import canaries, diff, feedback
from aepipe.release.lifecycle import last_sound
from aepipe.release.release import Release
from aepipe.store.artifacts import Ref, Store
from aepipe.store.labels import any_several, label_sets

_RULES: dict[object, ItqRule] = {True: "refuse", False: "ignore", "forbid": "forbid"}
MOST_NAMED, LONGEST = 6, 40
"""Keys of a recipe that a refusal names, and letters of a value."""
FEW = 20
"""Common queries that are needed to measure both releases again."""
_UNASKED = (
    "if the new answer is right, change the canary, or the mark on the page; `[gate] feedback = false` asks no marks"
)


def run_gate(store: Store, resolved: ResolvedRecipe, release: Ref) -> Verdict:
    """Compare a release with the one in service, by the rules of the recipe's ``[gate]``.

    Where the release in service is damaged, the newest sound one before it takes its place. Where the rows differ, both
    releases answer the labelled queries that they share, because scores of different queries differ by chance.

    Raises:
        NotFoundError: there is no such release.
        CorruptError: a part of it is not what was written.
        RecipeError: the file of canaries cannot be read.
    """
    gate = resolved.recipe.gate
    new, old = Release.open(store, ref=release), last_sound(store, resolved.recipe.name)
    verdict = judge(
        Scores.from_dict(new.scores),
        Scores.from_dict(old.scores) if old else None,
        metric=gate.metric,
        max_regression=gate.max_regression,
        itq=_rule(gate, new, old),
        pair=_asked_the_same(new, old, gate.metric, resolved.recipe.evaluate.queries) if old else None,
        further=[*_canaries(store, new, gate), *([_neighbours(old, new, gate.min_overlap)] if old else [])],
    )
    if verdict.passed or old is None:
        return verdict
    return replace(verdict, reasons=(*verdict.reasons, *_what_changed(old, new)))


def _rule(gate: GateRecipe, new: Release, old: Release | None) -> ItqRule:
    """Return the consequence of a loss against ITQ.

    It is no more than a warning for an encoder that is in service already. Rotated components are not compared with
    themselves: those of the scores have another rotation, and two rotations differ by chance.
    """
    rule = _RULES[gate.warn_below_itq]
    known = old is not None and old.fingerprint == new.fingerprint
    rotated = new.recipe["code"]["objective"]["kind"] == "itq"
    if rule != "refuse":
        return rule
    return "ignore" if rotated else "warn" if known else rule


def _what_changed(old: Release, new: Release) -> tuple[str, ...]:
    """Name the keys of the recipe that differ between two releases, and what to do; nothing where none does."""
    before, after = (dict(_flat(release.recipe)) for release in (old, new))
    keys = [key for key in sorted(before.keys() | after.keys()) if before.get(key) != after.get(key)]
    if not keys:
        return ()
    some = [f"{key} {_short(before.get(key))} -> {_short(after.get(key))}" for key in keys[:MOST_NAMED]]
    more = f" and {len(keys) - MOST_NAMED} more" if len(keys) > MOST_NAMED else ""
    what = f"the recipe has changed in {', '.join(some)}{more}"
    return (f"{what}: take that back, or allow more under [gate]",)


def _flat(table: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Yield the values of a recipe as releases keep it, by the paths of their keys."""
    held: Iterable[tuple[object, object]] = ()
    if isinstance(table, Mapping):
        held = ((key, value) for key, value in table.items() if path or key != "gate")
    elif isinstance(table, list):
        held = enumerate(table, 1)
    else:
        yield path, table
    for key, value in held:
        yield from _flat(value, f"{path}.{key}" if path else str(key))


def _short(value: object) -> str:
    text = "unset" if value is None else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _canaries(store: Store, release: Release, gate: GateRecipe) -> Iterator[Finding]:
    """Ask the canaries: one finding for each failure, or one that says that all passed."""
    outcomes = [] if gate.canaries is None else canaries.ask(release, Path(gate.canaries))
    if gate.feedback:
        outcomes += canaries.ask_all(release, feedback.canaries_of(store, release), feedback.folder_of(store))
    if not outcomes:
        return
    for outcome in outcomes:
        if not outcome.passed:
            yield Finding(False, (f"{outcome.said}; {_UNASKED}",))
    if all(outcome.passed for outcome in outcomes):
        yield Finding(True, (f"all {len(outcomes)} canaries found what they should",))


def _neighbours(old: Release, new: Release, least: float) -> Finding:
    """Say how many nearest neighbours are still the same, and whether that is enough."""
    found = diff.compare(old, new)
    bits = "" if found.flips is None else f", {found.flips:.1%} of the bits differ"
    said = f"{found.overlap:.1%} of the {found.k} nearest of {len(found.asked):,} rows are still the same{bits}"
    if found.overlap >= least:
        return Finding(True, (said,))
    return Finding(False, (f"{said}; min_overlap asks for {least:.1%}",))


def _asked_the_same(new: Release, old: Release, metric: str, queries: int) -> Pair | None:
    """Score two releases on the same queries.

    Queries are rows of the test split that both releases hold; where these are too few, half of all rows that both
    hold, which are then asked of the others. The choice depends on the keys alone, so it stays the same from night to
    night.

    Returns:
        None where the published scores already come from the same queries, or too few queries have labels.
    """
    # These need no labels: their reference is exact search among the release's own rows.
    same_rows = new.all_parts("rows") == old.all_parts("rows") and np.array_equal(new.removed, old.removed)
    if same_rows or metric not in METRICS or metric in LABEL_FREE:
        return None
    asked = _queries(new, old, queries)
    if len(asked) < FEW:
        return None
    figures = [_figures(release, asked, metric) for release in (new, old)]
    gain = paired_difference(figures[0], figures[1], 0)
    return Pair(metric, float(figures[0].mean()), float(figures[1].mean()), gain, len(asked))


def _queries(new: Release, old: Release, count: int) -> list[str]:
    """Return the keys of labelled rows that both releases hold, at most ``count``."""
    here, there = _labelled(new), _labelled(old)
    common = here.keys() & there.keys()
    tested = {key for key in common if here[key] and there[key]}
    enough = len(tested) >= FEW
    # The hash of a key spreads the choice over all folders; the first keys of the alphabet may be of one class.
    spread = sorted(
        tested if enough else common,
        key=lambda key: hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest(),
    )
    return spread[: count if enough else min(count, len(common) // 2)]


def _labelled(release: Release) -> dict[str, bool]:
    """Return the keys of rows with a label, each with whether it is in the test split."""
    (labels, of_label), (splits, of_split) = (release.items.values(name) for name in ("label", "split"))
    chosen = np.array([bool(one) for one in labels], bool)[of_label]
    tests = np.array([one == "test" for one in splits], bool)[of_split[chosen]]
    keys = release.items.texts("key", release.items.ids[chosen])
    return {key: test for key, test in zip(keys, tests.tolist(), strict=True) if key}


def _figures(release: Release, keys: list[str], metric: str) -> NDArray[np.float64]:
    """Return a metric for each query, float64[Q]; training rows are the database."""
    asked = np.array([release.id_of(key) for key in keys], np.int64)
    ids = release.items.ids
    train = np.fromiter((split == "train" for split in release.items.column("split")), bool, len(ids))
    searched = ids[train & ~np.isin(ids, asked)]
    texts = [release.items.texts("label", some) for some in (searched, asked)]
    labels = [label_sets(some) for some in texts] if any(map(any_several, texts)) else _numbered(texts)
    codes = [release.codes_of(some) for some in (searched, asked)]
    found = retrieval(codes[0], codes[1], labels[0], labels[1])
    return found.named()[metric]


def _numbered(texts: list[list[str | None]]) -> list[Labels]:
    """Return labels as numbers, int64[n] each; a row without one is relevant to no query: its number is its own."""
    numbers: dict[str, int] = {}
    return [
        np.array([numbers.setdefault(label or f"\0{side}.{row}", len(numbers)) for row, label in enumerate(some)])
        for side, some in enumerate(texts)
    ]
