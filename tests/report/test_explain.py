"""Figures explained: each figure of the table is there with a sentence below it, in plain words."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from aepipe.codes.bitcodes import BitCodes
from aepipe.evaluate.retrieval import METRICS
from aepipe.evaluate.scores import Sample, score
from aepipe.report import explain
from aepipe.report.explain import explained
from aepipe.report.tables import scores_table


@pytest.fixture(scope="module")
def scores() -> dict[str, Any]:
    """Scores of random codes, through JSON."""
    rng = np.random.default_rng(0)

    def sample(rows: int) -> Sample:
        codes = BitCodes.from_bits(rng.integers(0, 2, (rows, 16)))
        return Sample(codes, rng.normal(size=(rows, 20)), rng.integers(0, 3, rows))

    found: dict[str, Any] = json.loads(json.dumps(score(sample(300), sample(20), seed=1).to_dict()))
    return found


def test_each_figure_has_a_sentence_below_it(scores: dict[str, Any]) -> None:
    lines = explained(scores).splitlines()
    for line in scores_table(scores).splitlines()[1:]:
        assert lines[lines.index(line) + 1].startswith("    "), f"{line.split()[0]} is not explained"
    assert {row["system"] for row in scores["rows"]} <= set(explain.SYSTEMS)
    assert max(map(len, lines)) <= 110


def test_every_metric_is_known() -> None:
    assert set(METRICS) == set(explain.METRICS)


def test_confidence_and_strangers_are_named(scores: dict[str, Any]) -> None:
    assert "confidence: not told" in explained(scores)
    curve = {"n_queries": 200}
    calibration = {**scores["calibration"], "curves": {"items": curve, "words where": curve, "later": curve}}
    found = explained({**scores, "calibration": calibration, "strangers": {"items": {}}})
    assert "confidence: measured for items, words under --where" in found
    assert "strangers: told of items" in found
