"""The flow behind tune: what it trains, what it leaves in the store, and when it stops."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("optuna")

from aepipe.errors import QueryError, SourceError, TrainingError
from aepipe.evaluate.walks import Walks
from aepipe.pipeline import views
from aepipe.pipeline.resolve import ResolvedRecipe, resolve
from aepipe.pipeline.search import GIVEN, Search
from aepipe.pipeline.tune import Bench, Settings, metric_of, repeats, varied
from aepipe.recipe import load
from aepipe.store import layout, registry
from aepipe.store.artifacts import Ref, Store
from aepipe.store.rows import Rows
from flows import tune as flow
from flows.job import Job

RECIPE = """name = "v"

[source]
kind = "vectors"
path = "v.npz"
{label}

[[layers]]
net = {{ kind = "dense", width = 8, activation = "linear" }}
objective = "components"
fit = {{ epochs = 1, batch = 4096 }}

[code]
bits = 16
threshold = "median"
fit = {{ epochs = 1, batch = 64 }}

[finetune]
epochs = 2
batch = 64
"""


@pytest.fixture
def made(tmp_path: Path) -> tuple[Job, Ref]:
    return make(tmp_path)


def make(folder: Path, count: int = 400, label: str = "") -> tuple[Job, Ref]:
    """Return a job and its rows: vectors of five groups, of which a recipe is told only where it asks."""
    from aepipe.pipeline.ingest import ingest

    rng = np.random.default_rng(0)
    group = np.arange(count) % 5
    x = rng.normal(size=(5, 12))[group] * 2 + rng.normal(size=(count, 12))
    np.savez(folder / "v.npz", x=x.astype(np.float32), group=group.astype(str))
    (folder / "v.toml").write_text(RECIPE.format(label=label))
    store = Store(folder / "shelf")
    plan: ResolvedRecipe = resolve(load(folder / "v.toml"))
    return Job(store, plan), ingest(store, plan.source)


def tuning(job: Job, rows: Ref, monkeypatch: pytest.MonkeyPatch, **wanted: Any) -> flow.Tuning:
    """Return a search that trains without Prefect."""
    monkeypatch.setattr(flow, "measured", flow.measured.fn)
    monkeypatch.setattr(flow, "SEEDS", 2)
    return flow.Tuning(job, rows, Settings(**wanted))


def test_a_search_finds_measures_once_more_and_leaves_no_model(
    made: tuple[Job, Ref], monkeypatch: pytest.MonkeyPatch
) -> None:
    job, rows = made
    one = tuning(job, rows, monkeypatch, trials=4, budget=600.0)
    about = one.run()
    assert about["metric"] == "walk_map"
    assert about["sizes"] == [280], "400 rows less two times 60 queries"
    trials = one.search.trials()
    assert len(trials) == 4
    assert trials[GIVEN].changes == {}
    assert not job.store.refs("model")
    assert not registry.names(job.store), "nothing goes into service"
    best = one.search.best(3)
    finals = one.search.finals()
    assert [final.number for final in finals][:1] == ([GIVEN] if best else [])
    assert {final.number for final in finals} == ({GIVEN} | {found.number for found in best} if best else set())
    assert all(len(final.means) == 2 for final in finals)
    again = flow.Tuning(job, rows, one.wanted)
    monkeypatch.setattr(flow, "measured", None)  # nothing is trained a second time
    assert again.run()["journal"] == about["journal"]
    assert again.search.trials() == trials


def test_queries_are_apart_from_what_is_trained_on_and_the_same_for_every_size(made: tuple[Job, Ref]) -> None:
    job, rows = made
    small, large = (views.sample(job.store, job.resolved, rows, size) for size in (50, 280))
    ids = {
        name: [np.load(job.store.path(ref) / layout.Sample.ids(name)) for ref in (small, large)]
        for name in ("train", "held_out", layout.Sample.ASKED, layout.Sample.KEPT_BACK)
    }
    for name in (layout.Sample.ASKED, layout.Sample.KEPT_BACK):
        assert np.array_equal(*ids[name])
    every = np.concatenate([part[1] for part in ids.values()])
    assert len(np.unique(every)) == len(every) == 400
    used = [np.concatenate([ids["train"][k], ids["held_out"][k]]) for k in (0, 1)]
    assert len(used[0]) == 50
    assert np.isin(used[0], used[1]).all()


def test_test_rows_are_in_no_sample(tmp_path: Path) -> None:
    job, rows = make(tmp_path, label="split = { test = 0.3 }")
    table = Rows(job.store.path(rows))
    test = table.ids()[table.of_split("test")]
    ref = views.sample(job.store, job.resolved, rows, 10_000)
    for name in ("train", "held_out", layout.Sample.ASKED, layout.Sample.KEPT_BACK):
        assert not np.isin(np.load(job.store.path(ref) / layout.Sample.ids(name)), test).any()


def test_stages_grow_and_few_rows_are_refused(tmp_path: Path) -> None:
    job, rows = make(tmp_path, count=150)
    with pytest.raises(SourceError, match="200 are needed"):
        views.sizes(job.store, rows, 4000)
    (tmp_path / "more").mkdir()
    job, rows = make(tmp_path / "more", count=3000)
    assert views.sizes(job.store, rows, 1800) == ([200, 600, 1800], 3000)
    assert views.sizes(job.store, rows, 0) == ([233, 700, 2100], 3000)


def test_the_metric_is_by_labels_where_there_are_labels(tmp_path: Path, made: tuple[Job, Ref]) -> None:
    job, rows = made
    assert metric_of(job.store, job.resolved, rows) == "walk_map"
    assert metric_of(job.store, job.resolved, rows, "recall_at_10") == "recall_at_10"
    for wrong in ("p_at_100", "precision"):
        with pytest.raises(QueryError, match="allowed: auto"):
            metric_of(job.store, job.resolved, rows, wrong)
    (tmp_path / "labelled").mkdir()
    job, rows = make(tmp_path / "labelled", label='label = "group"')
    assert metric_of(job.store, job.resolved, rows) == "map_at_1000"


def test_figures_are_those_of_the_evaluator(tmp_path: Path) -> None:
    job, rows = make(tmp_path, label='label = "group"')
    cut = views.sample(job.store, job.resolved, rows, 280)
    values = {}
    for metric in ("map", "walk_map", "recall_at_10"):
        bench = Bench(job.store, cut, metric)
        of_queries, unhealthy = flow.measured.fn(Job(job.store, job.resolved), bench, str(cut), "asked", 0)
        assert of_queries.shape == (60,)
        assert not unhealthy
        values[metric] = of_queries.mean()
    assert values["map"] > 0.6, "the groups are far apart"
    folder = job.store.path(cut)
    walked = Walks.of(np.load(folder / "train.npy"), np.load(folder / "asked.npy"))
    assert len(walked.queries) == 60


def test_a_trial_that_fails_is_one_of_many(made: tuple[Job, Ref], monkeypatch: pytest.MonkeyPatch) -> None:
    job, rows = made
    one = tuning(job, rows, monkeypatch, trials=3)
    tried = []

    def measured(job: Job, bench: Bench, cut: str, asked: str, number: int) -> tuple[np.ndarray, str]:
        tried.append(number)
        if number == 1:
            raise TrainingError("lower fit.lr")
        return np.full(5, 0.5 + number / 10), "dead" if number == 2 else ""

    monkeypatch.setattr(flow, "measured", measured)
    one.run()
    assert [(found.state, found.why) for found in one.search.trials()] == [
        ("complete", ""),
        ("failed", "lower fit.lr"),
        ("failed", "dead"),
    ]
    assert tried == [0, 1, 2], "nothing is above the given recipe, so nothing is measured once more"


def test_the_budget_leaves_time_to_measure_the_best_once_more(
    made: tuple[Job, Ref], monkeypatch: pytest.MonkeyPatch
) -> None:
    job, rows = made
    one = tuning(job, rows, monkeypatch, budget=100.0)
    clock = iter(range(0, 100_000, 5))
    # The clock of this module alone: threads that other tests left behind read time.monotonic too.
    monkeypatch.setattr("flows.tune.time", SimpleNamespace(monotonic=lambda: float(next(clock))))
    monkeypatch.setattr(flow, "measured", lambda *_: (np.full(5, 0.5 + one.search.spent() / 1000), ""))
    one.run()
    # A training takes 5 s: trials for at least half of the budget, then the given recipe and others, two seeds each.
    assert 50 <= sum(found.seconds for found in one.search.trials()) <= 65
    assert one.search.spent() <= 110
    assert len(one.search.finals()) >= 2


def test_ctrl_c_keeps_what_was_found(made: tuple[Job, Ref], monkeypatch: pytest.MonkeyPatch) -> None:
    job, rows = made
    one = tuning(job, rows, monkeypatch, trials=5)
    calls = []

    def measured(*_: object) -> tuple[np.ndarray, str]:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return np.full(5, 0.5), ""

    monkeypatch.setattr(flow, "measured", measured)
    assert one.run()["interrupted"]
    assert len(Search(one.file, one.dimensions, seed=0).trials()) == 2


def test_a_sample_is_seen_as_often_as_all_rows_within_bounds(made: tuple[Job, Ref]) -> None:
    plan = made[0].resolved
    assert (repeats(4000, 60_000), repeats(280, 400)) == (15, 1)
    more = varied(plan, {"finetune.epochs": 3}, repeat=15, seed=2).recipe
    assert (more.finetune.epochs, more.code.fit.epochs, more.layers[0].fit.epochs) == (40, 15, 1)
    assert more.seed == plan.recipe.seed + 2
    assert varied(plan, {"finetune.epochs": 50}, repeat=15).recipe.finetune.epochs == 50
