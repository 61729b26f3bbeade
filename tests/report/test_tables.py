"""The table of scores, as text and as Markdown."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from aepipe.codes.bitcodes import BitCodes
from aepipe.evaluate.scores import Sample, score
from aepipe.report.facts import scores_text
from aepipe.report.tables import health_line, markdown_table, protocol_line, scores_table, text_table


@pytest.fixture(scope="module")
def scores() -> dict[str, Any]:
    """Scores of random codes, through JSON; a baseline with too few features is missing."""
    rng = np.random.default_rng(0)

    def sample(rows: int) -> Sample:
        codes = BitCodes.from_bits(rng.integers(0, 2, (rows, 16)))
        return Sample(codes, rng.normal(size=(rows, 8)), rng.integers(0, 3, rows))

    found: dict[str, Any] = json.loads(json.dumps(score(sample(300), sample(20), seed=1).to_dict()))
    return found


def test_a_line_for_each_metric_and_a_column_for_each_system(scores: dict[str, Any]) -> None:
    head, *lines = scores_table(scores).splitlines()
    assert head.split()[0] == "ours"
    assert head.split()[-1] == "float"
    assert {line.split()[0] for line in lines} == set(scores["rows"][0]["metrics"])
    row = next(line for line in lines if line.startswith("map_at_1000 "))
    ours = scores["rows"][0]["metrics"]["map_at_1000"]
    assert f"{ours['value']:.3f} ±{(ours['high'] - ours['low']) / 2:.3f}" in row
    assert next(line for line in lines if line.startswith("ball2")).endswith(" -"), "float search has no ball"
    assert max(map(len, [head, *lines])) <= 100


def test_columns_are_aligned() -> None:
    text = text_table([["", "a", "b"], ["metric", "0.1", "10"], ["m", "-", "2"]])
    assert text.splitlines() == ["          a   b", "metric  0.1  10", "m         -   2"]


def test_markdown_is_a_table(scores: dict[str, Any]) -> None:
    lines = scores_table(scores, markdown=True).splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert lines[1].startswith("| --- | ---:")
    assert markdown_table([["a|b", "c"]]).splitlines() == ["| a\\|b | c |", "| --- | ---: |"]
    assert markdown_table([["n", "name"]], left=(1,)).splitlines()[1] == "| ---: | --- |"


def test_the_lines_around_it_say_protocol_and_health(scores: dict[str, Any]) -> None:
    assert "16 bits, 20 queries to 300 rows" in protocol_line(scores)
    assert health_line(scores).startswith("16 of 16 bits live")
    assert "NOT HEALTHY: they collapsed." in health_line(
        {"health": {**scores["health"], "reasons": ["they collapsed"]}}
    )
    text = scores_text(scores)
    assert scores["notes"]
    assert all(note in text for note in scores["notes"]), "what is missing is said"
