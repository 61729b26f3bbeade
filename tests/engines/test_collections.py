"""A collection in parts, run and refreshed by each engine: the same bytes in the store."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import aepipe
from aepipe import engines
from aepipe.engines import array
from aepipe.engines.array import Array
from aepipe.errors import RecipeError
from aepipe.sources import listing
from aepipe.store.artifacts import Ref, Store
from tests.support.plain_flows import plain_flows, write_collection

PART = 8


@pytest.fixture(scope="module", autouse=True)
def _plain() -> Iterator[None]:
    with plain_flows(), pytest.MonkeyPatch.context() as patched:
        patched.setattr(array, "LOOK_EVERY", 0.02)
        patched.setattr(listing, "FRESH", -1e9)  # the files are new, and listings are compared
        yield


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe for 40 pictures, in parts of about 8."""
    file = write_collection(tmp_path_factory.mktemp("engines"), numbers=range(40))
    file.write_text(file.read_text().replace('label = "parent"', f'label = "parent"\npart = {PART}'))
    return file


@pytest.fixture(scope="module")
def here(recipe: Path) -> dict[str, Any]:
    """What this machine makes of it."""
    return made(recipe, recipe.parent / "here", "local")


def made(recipe: Path, home: Path, engine: str | None) -> dict[str, Any]:
    """Run a recipe in a new store, and return what was written: files and digests of all artifacts."""
    aepipe.run(recipe, home=home, engine=engine)
    return written(Store(home))


def written(store: Store) -> dict[str, Any]:
    return {
        f"{kind}/{folder.name}": store.manifest(Ref(kind, folder.name)).outputs
        for kind in ("listing", "rows", "model", "segment", "release")
        for folder in sorted((store.root / kind).iterdir())
    }


class Jobs:
    """The jobs of an array: each does its share of a stage, again and again."""

    def __init__(self, folder: Path, count: int = 2) -> None:
        self.engine = Array(folder)
        self.count = count
        self.ended = threading.Event()
        self.parts: list[int] = []
        self._threads = [threading.Thread(target=self._work, args=(one + 1,), daemon=True) for one in range(count)]

    def __enter__(self) -> Jobs:
        for one in self._threads:
            one.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        for one in self._threads:
            one.join(60)

    def _work(self, number: int) -> None:
        while not self.ended.is_set():
            for stage in ("ingest", "encode", "items"):
                if (plan := self.engine.plan(stage)) is not None:
                    self.parts += [one.part for one in self.engine.work(stage, plan, (number, self.count))]
            time.sleep(0.02)


def test_a_dask_cluster_makes_the_same_bytes(recipe: Path, here: dict[str, Any], cluster: str, tmp_path: Path) -> None:
    assert sum(name.startswith("rows/") for name in here) > 4
    assert made(recipe, tmp_path / "store", cluster) == here


def test_jobs_of_an_array_make_the_same_bytes(recipe: Path, here: dict[str, Any], tmp_path: Path) -> None:
    with Jobs(tmp_path / "shared") as jobs:
        assert made(recipe, tmp_path / "store", f"array://{tmp_path}/shared") == here
    assert len(jobs.parts) > 6, "of all stages"


def test_a_second_run_asks_the_engine_for_nothing(recipe: Path, here: dict[str, Any], tmp_path: Path) -> None:
    home = tmp_path / "store"
    assert made(recipe, home, "local") == here
    # Nobody works on the parts of this one, so it would wait for ever.
    assert made(recipe, home, f"array://{tmp_path}/nobody") == here


def test_the_engine_of_a_recipe_is_in_no_digest(recipe: Path, here: dict[str, Any], tmp_path: Path) -> None:
    said = recipe.with_name("with-engine.toml")
    said.write_text(f'{recipe.read_text()}\n[engine]\nkind = "array"\naddress = "{tmp_path}/shared"\n')
    with Jobs(tmp_path / "shared") as jobs:
        assert made(said, tmp_path / "store", None) == here
    assert jobs.parts


def test_the_environment_comes_before_the_recipe(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(engines.VARIABLE, "abacus")
    with pytest.raises(RecipeError, match="engine 'abacus': unknown"):
        aepipe.run(recipe, home=tmp_path / "store")
    with engines.using("local"):
        assert os.environ[engines.VARIABLE] == "abacus"
    with engines.using("local", over=True):
        assert os.environ[engines.VARIABLE] == "local"
    assert os.environ[engines.VARIABLE] == "abacus"
