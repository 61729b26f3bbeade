"""The first screen after a run: items, what was left out, quality, what to try next."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aepipe.evaluate.calibration import SHARED
from aepipe.release.originals import file_of
from aepipe.release.release import Release
from aepipe.report.facts import reading_lines
from aepipe.report.tables import text_table
from aepipe.sources import has_text

LOOKED_AT = 20
"""Rows among which one is looked for whose original is a file."""
ENOUGH = 1000
"""Items from which it is told how many of the 100 nearest have a label."""


def first_screen(release: Release, found: Mapping[str, Any], options: Sequence[str] = ()) -> str:
    """Return what a person reads first of a new release.

    Args:
        release: the new one.
        found: its facts, as :func:`aepipe.report.facts.describe` returns them.
        options: that other verbs need to find it: ``--name`` and ``--home``.
    """
    lines = [f"{found['name']}: {_counted(found)} can be asked"]
    if not found["in_service"]:
        lines = [
            f"{found['name']}: {_counted(found)} were learned; they can be asked once they are put into service, "
            f"with `aepipe promote {found['release'][:12]}`"
        ]
    if read := reading_lines(found["read"]):
        lines.append(text_table([(f"  {name}", text) for name, text in read], left=(0, 1)))
    if found["scores"]:
        lines += ["", *quality(found["scores"], _is_itq(release.recipe))]
    tries = [(f"  {shlex.join(['aepipe', *words, *options])}", what) for words, what in _next(release)]
    return "\n".join([*lines, "", "Try next:", text_table(tries, left=(0, 1)), *_wordless(release)])


def _counted(found: Mapping[str, Any]) -> str:
    """Return how many items there are, and of how many, where some could not be read.

    A recipe that was derived counts all of them.
    """
    rows, lost = found["rows"], sum(fact["count"] for fact in found["read"].get("unreadable", ()))
    return f"{rows:,} of {rows + lost:,} items" if lost else f"{rows:,} items"


def _wordless(release: Release) -> list[str]:
    """Return how a collection of photographs would answer words, where it could and does not."""
    from aepipe.words.kinds.imagenet import BACKBONES, missing

    seen_by = release.recipe.get("features", {}).get("backbone")
    if release.all_parts("words") or seen_by not in BACKBONES:
        return []
    install = "pip install 'aepipe[words]', then " if missing() else ""
    return [
        "",
        f'It does not answer words yet: {install}words = "imagenet" under [features] of its recipe, and run again.',
    ]


def quality(scores: Mapping[str, Any], itq: bool = False) -> list[str]:
    """Return in plain sentences how good answers are, measured on items held out from training.

    Args:
        scores: as ``scores.json`` has them.
        itq: whether the released codes are those of ITQ, so there is nothing to compare them with.
    """
    metrics = {row["system"]: row["metrics"] for row in scores["rows"]}
    ours, theirs = metrics["ours"], {} if itq else metrics.get("itq", {})
    reranking = scores.get("reranking") or {}
    reranked, recall = reranking.get("precision"), reranking.get("recall")
    lines = []
    if scores["protocol"]["labelled"]:
        shared = (scores.get("calibration") or {}).get("meaning") == SHARED
        label = "share a label with it" if shared else "have its label"
        if reranked is not None:
            lines.append(f"Of the 10 nearest of an item that training did not see, {10 * reranked:.1f} {label}.")
        # Of a small collection, fewer than 100 items may have the label at all.
        if ours.get("p_at_100") and scores["protocol"]["n_database"] >= ENOUGH:
            other = _beside(theirs, "p_at_100", 100)
            lines.append(f"Of the 100 nearest by code, {100 * ours['p_at_100']['value']:.1f} {label}{other}.")
    elif ours.get("recall_at_10"):
        true = f"{10 * ours['recall_at_10']['value']:.1f}{_beside(theirs, 'recall_at_10', 10)}"
        lines.append(
            f"Of the 10 true neighbours of an item that training did not see, {true} are among the 10 nearest by code."
        )
        if recall is not None:
            lines.append(f"Answers are ordered by embeddings, and have {10 * recall:.1f} of the 10 nearest by these.")
    return lines


def _beside(theirs: Mapping[str, Any], metric: str, of: int) -> str:
    found = theirs.get(metric)
    return f" (by ITQ, which needs no training: {of * found['value']:.1f})" if found else ""


def _is_itq(recipe: Mapping[str, Any]) -> bool:
    kind: object = recipe.get("code", {}).get("objective", {}).get("kind")
    return kind == "itq"


def _next(release: Release) -> list[tuple[list[str], str]]:
    """Return commands to try, each with what it does."""
    words = [(["query", "a dog on grass"], "what you can say in words")] if release.all_parts("words") else []
    if has_text(release.recipe["source"]["kind"]):
        words = [(["query", "what you look for"], "documents about it, in your words")]
    return [
        (["query", *_question(release)], "the items most like this one"),
        *words,
        (["show", "--page", f"{release.name}.html"], "a page with items, scores and curves"),
        (["evaluate", "--explain"], "all figures, each explained, next to those of other methods"),
    ]


def _question(release: Release) -> list[str]:
    """Return the arguments that ask with an item of the collection: its file if it is one, else its key."""
    rows = release.describe(release.items.ids[:LOOKED_AT])
    for row in rows:
        file = file_of(release, row.place)
        if file is not None:
            return [_relative(file)]
    return ["--key", rows[0].key]


def _relative(file: Path) -> str:
    """Return a path from the working directory where it lies below that."""
    here = Path.cwd()
    return str(file.relative_to(here)) if file.is_relative_to(here) else str(file)
