"""A search as a table: trials, those measured once more, the verdict, and the reasons in a recipe."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from aepipe.evaluate.scores import Estimate
from aepipe.pipeline.search import Final, Found
from aepipe.pipeline.space import Dimension
from aepipe.report.tuning import Tuned, reasons, tuning_table, verdict

SPACE = [
    Dimension("finetune.lr", low=1e-4, high=1e-2, own=1e-3),
    Dimension("layers.0.net.width", values=(8, 16), own=8),
]
TRIALS = [
    Found(0, {}, 0.5, "complete", (0.5,), 10.0),
    Found(1, {"finetune.lr": 0.002}, 0.6, "complete", (0.6,), 10.0),
    Found(2, {"layers.0.net.width": 16}, 0.4, "stopped", (0.4,), 3.0),
    Found(3, {"finetune.lr": 0.01}, None, "failed", (), 1.0, "lower fit.lr"),
]
FINALS = [Final(0, (0.5, 0.52)), Final(1, (0.6, 0.58), Estimate(0.08, 0.05, 0.11), True)]


def tuned(trials: list[Found] = TRIALS, finals: list[Final] = FINALS) -> Tuned:
    return Tuned("v", "walk_map", SPACE, [400, 1200], 60_000, trials, finals)


def test_the_table_has_trials_values_and_what_was_measured_once_more() -> None:
    lines = tuning_table(tuned(), width=100).splitlines()
    assert [line.split()[:3] for line in lines[4:7]] == [
        ["1", "0.6000", "0.002"],
        ["as", "given", "0.5000"],
        ["2", "0.4000", "stopped"],
    ]
    assert lines[6].split()[-1] == "16"
    text = "\n".join(lines)
    assert "4 trials in 24 s, 1 stopped early, 1 failed" in text
    assert "trained on 400, 1,200 of 60,000 rows" in text
    assert "trial 3 failed: lower fit.lr" in text
    assert "+0.0800 (+0.0500 to +0.1100)  better" in text
    assert lines[-1] == verdict(tuned())
    assert "width" not in tuning_table(tuned(), width=45), "a narrow terminal has fewer keys"


def test_the_verdict_says_only_what_was_measured() -> None:
    assert verdict(tuned()).startswith("trial 1 is better than the recipe: walk_map 0.5900 against 0.5100")
    unsure = [FINALS[0], Final(1, (0.6, 0.5), Estimate(0.04, -0.01, 0.09))]
    assert "beyond chance" in verdict(tuned(finals=unsure))
    assert tuned(finals=unsure).best is None
    assert verdict(tuned(finals=[])) == "no trial measured better than the recipe"
    assert "larger --budget" in verdict(tuned(TRIALS[:1], []))
    assert "1 trial in" in tuning_table(tuned(TRIALS[:1], []), width=100)


def test_the_reasons_name_figures_rows_and_changes() -> None:
    first, _, change = reasons(tuned(), "v.toml")
    assert "trial 1 of 4, trained on 1,200 of 60,000 rows" in first
    assert "walk_map 0.5900 against 0.5100" in first
    assert "means of 2 seeds" in first
    assert change == "  finetune.lr: 0.001 -> 0.002"
