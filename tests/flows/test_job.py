"""Recipes by path and by name, values that replace a recipe's own, and the job of a release."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from aepipe import recipe as recipes
from aepipe.errors import RecipeError
from aepipe.pipeline.resolve import resolve, training_digest
from aepipe.recipe import Choice
from aepipe.store.artifacts import Store
from flows.catalog import is_recipe, packaged, recipe_file
from flows.job import check, open_job, resolved_once
from tests.support.samples import write_tiny

ROOT = Path(__file__).parents[2]


def test_a_recipe_by_path_or_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "demo" in packaged()
    assert recipe_file("demo") == ROOT / "flows" / "recipes" / "demo.toml"
    Path("demo").mkdir()  # a folder is no recipe, so the packaged recipe of that name is meant
    assert not is_recipe("demo")
    assert recipe_file("demo") == ROOT / "flows" / "recipes" / "demo.toml"
    Path("digits").touch()  # a file here comes before a packaged recipe
    assert recipe_file("digits") == Path("digits")
    assert is_recipe("missing.toml")
    assert is_recipe("fashion-mnist")
    assert not is_recipe("scans/*.png")
    with pytest.raises(RecipeError, match="nowhere: there is no such file or folder; recipes that come along: cifar10"):
        recipe_file("nowhere")


def test_the_command_line_overrides_the_recipe(tmp_path: Path) -> None:
    file = write_tiny(tmp_path, count=3)
    job = open_job(str(file), shelf=str(tmp_path / "shelf"), name="other", device="cpu")
    assert (job.name, job.resolved.recipe.compute.device) == ("other", "cpu")
    assert job.store.root == tmp_path / "shelf"
    assert not job.store.root.exists()
    with pytest.raises(RecipeError, match=r"tiny\.toml: name: "):
        open_job(str(file), name="Not a name")


def test_layers_that_were_trained_are_resolved_when_they_are_asked_for(tmp_path: Path) -> None:
    recipe = recipes.load(write_tiny(tmp_path, count=3))
    wrong = recipe.model_copy(update={"code": recipe.code.model_copy(update={"objective": Choice(kind="none")})})
    with pytest.raises(RecipeError, match=r"code\.objective"):
        resolve(wrong)
    late = resolve(wrong, trained=wrong)
    with pytest.raises(RecipeError, match=r"code\.objective"):
        _ = late.specs
    stands = recipe.code.model_copy(update={"stands_for": training_digest(wrong)})
    resolve(wrong, trained=recipe.model_copy(update={"code": stands}))
    for changed in ({"features": {"size": [3, 3]}}, {"compute": recipe.compute.model_copy(update={"shards": 2})}):
        with pytest.raises(RecipeError, match=r"code\.objective"):
            resolve(wrong, trained=wrong.model_copy(update=changed))


def test_a_night_that_trains_nothing_imports_no_torch(tmp_path: Path) -> None:
    """Nor matplotlib, whose chart is kept."""
    script = (
        "import pathlib, sys, aepipe.cli.run, flows.nightly, flows.refresh, aepipe.report.page\n"
        "from aepipe import recipe\n"
        "from aepipe.pipeline.resolve import resolve\n"
        "found = recipe.load(pathlib.Path(sys.argv[1]))\n"
        "resolve(found, trained=found)\n"
        "print(sorted({'torch', 'matplotlib', 'onnx', 'pandas', 'scipy', 'sklearn'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", script, str(write_tiny(tmp_path, count=3))]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_run_walks_its_source_once_to_check_and_resolve_it(tmp_path: Path, store: Store) -> None:
    order: dict[str, Any] = {"recipe": str(write_tiny(tmp_path, count=3)), "shelf": str(store.root)}
    with resolved_once():
        checked = check(order).resolved
        other = open_job(**order, name="other").resolved
        assert other is not checked
        assert other.recipe.name == "other"
    with resolved_once():
        checked = check(order).resolved
        assert open_job(**order).resolved is checked
        assert open_job(**order).resolved is not checked, "files may have changed since"
    assert open_job(**order).resolved is not checked


def test_a_job_does_not_need_its_recipes_file(tmp_path: Path, store: Store) -> None:
    """A release keeps its recipe but not the file, and the next run starts from there."""
    before = open_job(str(write_tiny(tmp_path, count=3)), shelf=str(store.root)).resolved
    read = recipes.parse(before.recipe.model_dump(mode="json"), Path("the recipe of a release"))
    assert read.model_dump() == before.recipe.model_dump()
    assert before.recipe.source.options["path"] == str(tmp_path / "photos")


def test_the_deployments_fit_their_flows(monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.flows import load_flow_from_entrypoint

    monkeypatch.chdir(ROOT)
    deployments = import_module("yaml").safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    flows = ("build", "nightly", "refresh")
    assert {one["entrypoint"] for one in deployments} == {f"flows/{name}.py:{name}" for name in flows}
    for one in deployments:
        flow: Any = load_flow_from_entrypoint(one["entrypoint"])
        flow.validate_parameters(one["parameters"])
        assert all(schedule["timezone"] for schedule in one.get("schedules", ()))
        assert one["work_pool"]["job_variables"]["env"]["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
