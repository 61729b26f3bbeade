"""Tables: aligned text for a terminal, Markdown for a page; the scores of a release."""

from __future__ import annotations

import unicodedata
from collections.abc import Container, Mapping, Sequence
from typing import Any

from aepipe.evaluate.calibration import SHARED

GAP = 2
"""Spaces between two columns."""

Scores = Mapping[str, Any]
"""``aepipe.evaluate.scores.Scores`` as :meth:`to_dict` gives it, also after JSON."""


def scores_table(scores: Scores, *, markdown: bool = False) -> str:
    """Return a line for each metric and a column for each system, ours first.

    A cell is the mean over the queries and half the width of its 95 % bootstrap interval.

    Args:
        scores: see :data:`Scores`.
        markdown: with bars between the columns, as a Markdown table.
    """
    return markdown_table(cells(scores)) if markdown else text_table(cells(scores))


def cells(scores: Scores) -> list[list[str]]:
    """Return the cells of :func:`scores_table`, line by line, the heading first."""
    systems = {row["system"]: row["metrics"] for row in scores["rows"]}
    names = list(dict.fromkeys(name for metrics in systems.values() for name in metrics))
    lines = [[name, *(_cell(metrics.get(name)) for metrics in systems.values())] for name in names]
    return [["", *systems], *lines]


def protocol_line(scores: Scores) -> str:
    """Return the protocol of the measurement in one line."""
    found = scores["protocol"]
    shared = (scores.get("calibration") or {}).get("meaning") == SHARED
    relevance = "the same label is relevant" if found["labelled"] else "no labels, float neighbours are relevant"
    relevance = "a label in common is relevant" if shared else relevance
    asked = f"{found['n_queries']:,} queries to {found['n_database']:,} rows"
    return f"{found['n_bits']} bits, {asked}, {relevance}, ties by expectation, ± half of the 95 % interval"


def health_line(scores: Scores) -> str:
    """Return the health of the bits in one line."""
    health = scores["health"]
    live = health["n_bits"] - len(health["dead_bits"])
    verdict = f"NOT HEALTHY: {'; '.join(health['reasons'])}. " if health["reasons"] else ""
    return (
        f"{verdict}{live} of {health['n_bits']} bits live, {len(health['duplicate_bits'])} duplicate, "
        f"mean entropy {health['entropy']:.3f}, largest correlation {health['max_correlation']:.2f}, "
        f"{health['n_distinct']:,} distinct of {health['n_codes']:,} codes"
    )


def reranking_line(scores: Scores) -> str | None:
    """Return the gain by re-ranking in one line; None where it was not measured."""
    found = scores.get("reranking")
    if not found:
        return None
    reached = f"hold {found['recall']:.0%} of the 10 nearest by embedding"
    if found["recall"] < found["target"]:
        reached += f", not the {found['target']:.0%} wanted"
    among = f"{found['factor']} times more hits"
    if 10 * found["factor"] >= scores["protocol"]["n_database"]:
        among = "all rows are compared, and"
    line = f"re-ranking: {among} {reached}"
    if found["precision"] is None:
        return line
    return f"{line}; precision at 10 is {found['precision']:.3f} then, {found['precision_codes']:.3f} by codes alone"


def text_table(rows: Sequence[Sequence[str]], *, left: Container[int] = (0,)) -> str:
    """Align cells in columns, by the width that a terminal gives them.

    Args:
        rows: cells of equal count in each row; characters that could steer a terminal are replaced.
        left: columns whose cells stand on the left; those of the others stand on the right.
    """
    shown = [[printable(cell) for cell in row] for row in rows]
    widths = [max(width(cell) for cell in column) for column in zip(*shown, strict=True)]
    return "\n".join(aligned(row, widths, left) for row in shown)


def aligned(cells: Sequence[str], widths: Sequence[int], left: Container[int]) -> str:
    """Return the cells of one row as a line, each in the width of its column."""
    padded = [(cell, " " * (most - width(cell))) for cell, most in zip(cells, widths, strict=True)]
    return (" " * GAP).join(cell + pad if i in left else pad + cell for i, (cell, pad) in enumerate(padded)).rstrip()


def printable(text: str) -> str:
    """Return text that cannot steer a terminal: a file name may hold escape sequences."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c.isprintable() else "?" for c in text)


def width(text: str) -> int:
    """Return the columns of a terminal that a text takes."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.combining(c) > 0 for c in text)


def short_line(text: str, room: int) -> str:
    """Return a text cut to a width, with a sign that it goes on."""
    if width(text) <= room:
        return text
    while text and width(text) >= room:
        text = text[: len(text) - max(1, (width(text) - room) // 2)]
    return text + "…"


def markdown_table(rows: Sequence[Sequence[str]], *, left: Container[int] = (0,)) -> str:
    """Return a Markdown table, its first row the heading.

    Args:
        rows: cells of equal count in each row.
        left: columns whose cells stand on the left; those of the others stand on the right.
    """
    head, *body = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    rule = "|" + "".join(" --- |" if place in left else " ---: |" for place in range(len(rows[0])))
    return "\n".join([head, rule, *body])


def _cell(estimate: Mapping[str, float] | None) -> str:
    if estimate is None:
        return "-"
    return f"{estimate['value']:.3f} ±{(estimate['high'] - estimate['low']) / 2:.3f}"
