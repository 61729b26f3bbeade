"""The scores of a release as a table: plain text for a terminal, Markdown for a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

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
    """Return what was measured, in one line."""
    found = scores["protocol"]
    relevance = "the same label is relevant" if found["labelled"] else "no labels, float neighbours are relevant"
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
    """Return what re-ranking is worth in one line; None where it was not measured."""
    found = scores.get("reranking")
    if not found:
        return None
    reached = f"hold {found['recall']:.0%} of the 10 nearest by embedding"
    if found["recall"] < found["target"]:
        reached += f", not the {found['target']:.0%} wanted"
    line = f"re-ranking: {found['factor']} times more hits {reached}"
    if found["precision"] is None:
        return line
    return f"{line}; precision at 10 is {found['precision']:.3f} then, {found['precision_codes']:.3f} by codes alone"


def text_table(rows: Sequence[Sequence[str]], *, left: int = 1, gap: int = 2) -> str:
    """Align cells: the first ``left`` columns to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(w) if i < left else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append((" " * gap).join(cells).rstrip())
    return "\n".join(lines)


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table, its first row the heading, its first column to the left."""
    head, *body = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    rule = "|" + " --- |" + " ---: |" * (len(rows[0]) - 1)
    return "\n".join([head, rule, *body])


def _cell(estimate: Mapping[str, float] | None) -> str:
    """Return ``mean ± half the interval``, a dash where it was not measured."""
    if estimate is None:
        return "-"
    return f"{estimate['value']:.3f} ±{(estimate['high'] - estimate['low']) / 2:.3f}"
