"""The verb tune: what is refused before anything trains, the space, and what is written at the end."""

from __future__ import annotations

import importlib.util
import json
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("prefect")
pytest.importorskip("optuna")

from aepipe.cli import tune
from aepipe.errors import QueryError
from aepipe.pipeline.tune import Settings
from aepipe.runs import load_flow
from aepipe.store.artifacts import Store
from flows import tune as flow
from flows.job import open_job
from tests.cli.conftest import Aepipe
from tests.flows.test_tune import RECIPE


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    group = np.arange(400) % 5
    x = rng.normal(size=(5, 12))[group] * 2 + rng.normal(size=(400, 12))
    np.savez(tmp_path / "v.npz", x=x.astype(np.float32))
    (tmp_path / "v.toml").write_text("# mine\n" + RECIPE.format(label=""))
    return tmp_path / "v.toml"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The flow without Prefect, with figures that are made up: the more epochs the better."""

    def measured(job: Any, _bench: Any, cut: str, asked: str, number: int) -> tuple[np.ndarray, str]:
        seed, epochs = job.resolved.recipe.seed, job.resolved.recipe.finetune.epochs
        return np.random.default_rng(seed).random(60) / 10 + epochs / 20, ""

    def searched(order: dict[str, Any], settings: dict[str, Any], _making: Any) -> dict[str, Any]:
        from aepipe.pipeline.ingest import ingest

        job = open_job(**order)
        return flow.Tuning(job, ingest(job.store, job.resolved.source), Settings(**settings)).run()

    monkeypatch.setattr(flow, "measured", measured)
    monkeypatch.setattr(tune, "_searched", searched)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--budget", "soon"], "--budget 'soon': no time"),
        (["--space", "none.toml"], "--space none.toml: not a readable TOML file"),
        (["--metric", "precision"], "--metric precision: no such metric; allowed: auto, map"),
        (["--picture", "tuned.doc"], "no format has that ending"),
        (["--save", "no/where.toml"], "no/where.toml"),
    ],
)
def test_mistakes_are_found_before_anything_trains(
    words: list[str], said: str, recipe: Path, aepipe: Aepipe, tmp_path: Path
) -> None:
    found = aepipe("tune", recipe, *words, home=Store(tmp_path / "shelf"))
    assert found.exit_code == 2
    assert said in found.stderr.replace(str(tmp_path) + "/", "")
    assert found.stderr.count("\n") == 1
    assert not (tmp_path / "shelf" / "rows").exists()


def test_a_missing_package_is_named_first(recipe: Path, aepipe: Aepipe, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr("aepipe.cli.tune.find_spec", lambda name: None if name == "optuna" else found(name))
    refused = aepipe("tune", "no-such-recipe")
    assert "pip install 'aepipe[tune]'" in refused.stderr
    assert refused.exit_code == 2


def test_the_space_is_a_file(recipe: Path, aepipe: Aepipe, tmp_path: Path) -> None:
    shown = aepipe("tune", recipe, "--dry-run")
    assert "finetune.lr = { low = 0.0003, high = 0.01, log = true }" in shown.stdout
    (tmp_path / "space.toml").write_text(shown.stdout)
    assert aepipe("tune", recipe, "--dry-run", "--space", tmp_path / "space.toml").stdout == shown.stdout


def test_the_flow_is_loaded_within_its_session(recipe: Path, aepipe: Aepipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prefect, imported before its settings are there, logs to the terminal and makes a folder in the user's home."""
    loaded = list[str]()

    def searched(*_: object) -> dict[str, Any]:
        raise QueryError(" ".join(loaded))

    def recorded(module: str) -> object:
        loaded.append(module)
        return load_flow(module)

    monkeypatch.setattr(tune, "load_flow", recorded)
    monkeypatch.setattr(tune, "_searched", searched)
    assert aepipe("tune", recipe).stderr.split()[1:] == ["catalog", "job"]


def test_a_better_recipe_is_written_with_its_reasons(recipe: Path, aepipe: Aepipe, tmp_path: Path, quick: None) -> None:
    shelf = Store(tmp_path / "shelf")
    done = aepipe("tune", recipe, "--trials", 8, home=shelf)
    assert done.exit_code == 0, done.stderr
    assert "as given" in done.stdout
    assert "better" in done.stdout
    assert "v-tuned.toml: the better recipe" in done.stdout
    assert (tmp_path / "v-tuned.png").stat().st_size > 1000
    text = (tmp_path / "v-tuned.toml").read_text()
    assert text.startswith("# Found by `aepipe tune")
    assert "# mine" in text
    assert tomllib.loads(text)["finetune"]["epochs"] > 2
    told = json.loads(aepipe("tune", recipe, "--trials", 8, "--json", home=shelf).stdout)
    assert told["metric"] == "walk_map"
    assert len(told["trials"]) == 8
    assert told["best"] == told["finals"][1]["number"]
    assert told["finals"][1]["better"]


def test_no_better_recipe_is_no_file(
    recipe: Path, aepipe: Aepipe, tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow, "measured", lambda *_: (np.full(60, 0.5), ""))
    done = aepipe("tune", recipe, "--trials", 3, "--picture", tmp_path / "s.svg", home=Store(tmp_path / "shelf"))
    assert "no trial measured better than the recipe" in done.stdout
    assert not (tmp_path / "v-tuned.toml").exists()
    assert (tmp_path / "s.svg").read_text().startswith("<?xml")


def test_an_interrupted_search_shows_what_it_found(
    recipe: Path, aepipe: Aepipe, tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def measured(*_: object) -> tuple[np.ndarray, str]:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return np.full(60, 0.5), ""

    monkeypatch.setattr(flow, "measured", measured)
    done = aepipe("tune", recipe, home=Store(tmp_path / "shelf"))
    assert done.exit_code == 130
    assert "2 trials" in done.stdout
    assert "the same command continues" in done.stderr
    assert not (tmp_path / "v-tuned.png").exists()
