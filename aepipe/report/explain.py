"""Explain figures where they stand: scores, each with a sentence of plain words below it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from aepipe.evaluate.calibration import ENOUGH, ITEMS, ITEMS_WHERE, SHARED, WORDS, WORDS_WHERE
from aepipe.report.tables import cells, health_line, protocol_line, reranking_line, text_table

WIDTH = 100
SYSTEMS = {
    "ours": "the codes of this release",
    "itq": "rotated principal components, a good method without training (2011)",
    "lsh": "signs of random projections, the simplest method",
    "pca-sign": "signs of principal components",
    "spectral": "spectral hashing (2008)",
    "float": "exact search with the rows as they went in, not as codes; many times larger and slower",
}
ASKED = {
    ITEMS: "items",
    ITEMS_WHERE: "items under --where",
    WORDS: "words",
    WORDS_WHERE: "words under --where",
}
METRICS = {
    "map": "All rows in the order of their distance, over the whole collection: how early those {relevant} come. 1: "
    "all of them come first. Rows in random order have about the share of such rows.",
    "map_at_1000": "The same among the 1,000 nearest: how early the ones found there come. Papers on hashing use it.",
    "map_at_1000r": "The same, where those that could have been among the 1,000 and are not count as missed.",
    "p_at_100": "Of the 100 nearest rows, this share {relevant_verb}.",
    "precision_r2": "Of the rows at most 2 bits away, this share {relevant_verb}; 0 where there are none.",
    "ball2": "This share of the questions has a row at most 2 bits away.",
    "recall_at_10": "Of the 10 rows that exact search finds first, this share is among the 10 nearest by code. Codes "
    "that keep classes together may score low here and well above.",
    "walk_map": "Rows that walks from neighbour to neighbour reach, in place of those with a label: how early they "
    "come. It orders recipes nearly as labels do, so it is the one to look at where there are no labels.",
}


def explained(scores: Mapping[str, Any]) -> str:
    """Return the scores of a release as text, with an explanation below each figure.

    Args:
        scores: as ``scores.json`` has them.
    """
    lines = [protocol_line(scores), *_folded(_asked(scores)), ""]
    head, *body = text_table(cells(scores)).splitlines()
    lines.append(head)
    for line, name in zip(body, _metrics(scores), strict=True):
        lines += [line, *_folded(METRICS.get(name, "").format(**_relevant(scores)))]
    systems = [row["system"] for row in scores["rows"]]
    lines += ["", "Columns:", text_table([(f"  {name}", SYSTEMS.get(name, "")) for name in systems], left=(0, 1))]
    for line, why in _below(scores):
        lines += ["", *textwrap.wrap(line, WIDTH), *_folded(why)]
    return "\n".join(lines)


def _metrics(scores: Mapping[str, Any]) -> list[str]:
    return [line[0] for line in cells(scores)[1:]]


def _relevant(scores: Mapping[str, Any]) -> dict[str, str]:
    shared = (scores.get("calibration") or {}).get("meaning") == SHARED
    if not scores["protocol"]["labelled"]:
        return {"relevant": "near by their features", "relevant_verb": "is near by features"}
    if shared:
        return {"relevant": "with a label in common", "relevant_verb": "has a label in common with the question"}
    return {"relevant": "with the question's label", "relevant_verb": "has the question's label"}


def _asked(scores: Mapping[str, Any]) -> str:
    found = scores["protocol"]
    told = (
        "labels only judge the answers, no training saw them"
        if found["labelled"]
        else "the collection has no labels, so answers are compared with those of exact search"
    )
    return (
        f"{found['n_queries']:,} items that training did not see were the questions, and {found['n_database']:,} rows "
        f"could be found; {told}. Each figure is a mean over the questions; with others drawn by chance it would in 19 "
        "of 20 cases lie within ±. Where rows are equally far away, every order of them counts alike."
    )


def _below(scores: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the lines below the table, each with its explanation."""
    yield (
        health_line(scores),
        "A bit that is nearly always the same is dead, and one that repeats another is a duplicate: both are wasted. "
        "Entropy is 1 where each bit is one for half of the rows. Few distinct codes mean that many rows cannot be "
        "told apart.",
    )
    if line := reranking_line(scores):
        yield (
            line,
            "A query finds more rows by code than are wanted, and orders them by their embeddings, the longer vectors "
            "behind the codes. `--fast` leaves that out.",
        )
    yield from _worth(scores)
    for note in scores["notes"]:
        yield note, ""


def _worth(scores: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what is known of confidence and of strangers."""
    curves = (scores.get("calibration") or {}).get("curves", {})
    kinds = [ASKED[kind] for kind, curve in curves.items() if curve["n_queries"] >= ENOUGH and kind in ASKED]
    told = f"confidence: measured for {', '.join(kinds)}" if kinds else "confidence: not told"
    yield (
        told,
        "The confidence of a hit is the share of hits as near as it that were right, for held-out items that asked in "
        f"the same way. Below {ENOUGH} of these it is not told.",
    )
    if limits := scores.get("strangers"):
        yield (
            f"strangers: told of {' and '.join(ASKED[kind] for kind in limits)}",
            'A question that is farther from the collection than 98 of 100 held-out items are is said to be "unlike '
            'anything here", and its hits have no confidence.',
        )


def _folded(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="    ", subsequent_indent="    ")
