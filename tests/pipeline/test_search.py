"""A search: the same trials every time, interrupted or not; what is called better."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("optuna")

from aepipe.pipeline.search import GIVEN, JUDGED_FROM, Found, Search
from aepipe.pipeline.space import Dimension

SPACE = [
    Dimension("finetune.lr", low=1e-4, high=1e-2, log=True, own=1e-3),
    Dimension("finetune.batch", values=(64, 128), own=64),
    Dimension("finetune.objective.k", low=4, high=60, log=True, own=20),
]


def merit(changes: dict[str, object]) -> float:
    """Return a figure that is highest at a learning rate of 3e-3 and 10 neighbours."""
    rate, k = float(str(changes.get("finetune.lr", 1e-3))), float(str(changes.get("finetune.objective.k", 20)))
    return float(1 - 0.1 * abs(np.log(rate / 3e-3)) - 0.1 * abs(np.log(k / 10)))


def go_on(file: Path, trials: int) -> list[Found]:
    """Run a search until it has so many trials."""
    search = Search(file, SPACE, seed=3)
    while len(search.trials()) < trials:
        running = search.ask()
        value = merit(running.changes)
        if running.report(value / 2):
            search.tell(running, value / 2, state="stopped", seconds=1)
        else:
            running.report(value)
            search.tell(running, value, state="complete", seconds=2)
    return search.trials()


def test_the_given_recipe_comes_first_and_the_same_search_gives_the_same_trials(tmp_path: Path) -> None:
    one, two = go_on(tmp_path / "a" / "one.jsonl", 14), go_on(tmp_path / "two.jsonl", 14)
    assert one[GIVEN].changes == {}
    assert one == two
    assert len({str(found.changes) for found in one}) > 10
    assert any(found.state == "stopped" for found in one[JUDGED_FROM:])
    assert all(found.state == "complete" for found in one[:JUDGED_FROM])


def test_an_interrupted_search_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    file = tmp_path / "search.jsonl"
    go_on(file, 6)
    Search(file, SPACE, seed=3).ask().report(0.1)  # a process that died in a trial
    assert go_on(file, 12) == go_on(tmp_path / "whole.jsonl", 12)


def test_it_dies_in_the_very_first_trial(tmp_path: Path) -> None:
    file = tmp_path / "search.jsonl"
    Search(file, SPACE, seed=3).ask()
    Search(file, SPACE, seed=3).ask()
    assert go_on(file, 3) == go_on(tmp_path / "whole.jsonl", 3)


def test_a_failed_training_is_a_trial_and_never_the_best(tmp_path: Path) -> None:
    search = Search(tmp_path / "search.jsonl", SPACE, seed=0)
    for value in (0.5, None, 0.4, 0.7, 0.6):
        running = search.ask()
        state = "failed" if value is None else "complete"
        search.tell(running, value, state=state, seconds=1, why="lower fit.lr" if value is None else "")  # type: ignore[arg-type]
    assert [one.number for one in search.best(3)] == [3, 4], "those above the recipe as it was given"
    failed = search.trials()[1]
    assert (failed.state, failed.value, failed.why) == ("failed", None, "lower fit.lr")
    assert search.spent() == 5


@pytest.mark.parametrize(
    ("gains", "better"), [((0.05, 0.05, 0.05), True), ((0.15, 0.03, -0.02), False), ((0.0, 0.002, 0.001), False)]
)
def test_better_is_beyond_chance_and_with_every_seed(tmp_path: Path, gains: tuple[float, ...], better: bool) -> None:
    search, rng = Search(tmp_path / "search.jsonl", SPACE, seed=0), np.random.default_rng(0)
    base = rng.random(200)
    assert search.finals() == []
    for seed, gain in enumerate(gains, 1):
        search.note(GIVEN, seed, base, seconds=1)
        search.note(4, seed, base + gain + rng.normal(size=200) * 0.05, seconds=1)
    search.note(5, 1, base, seconds=1)  # only one seed so far
    given, other = Search(tmp_path / "search.jsonl", SPACE, seed=0).finals()
    assert (given.number, given.gain, other.number) == (GIVEN, None, 4)
    assert other.better is better
    assert other.gain is not None
    assert other.gain.value == pytest.approx(np.mean(gains), abs=0.01)
    assert search.measured(5, 2) is None
    assert search.spent() == 7
