"""SIGKILL in every stage: the old release answers, and the next run gives the same bytes."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")

from aepipe.release.lifecycle import verify
from aepipe.release.release import Release
from aepipe.store import registry
from aepipe.store.artifacts import Ref, Store
from tests.faults.forge import Forge

KILLED = -9
RECIPE = """
name = "pictures"
[source]
kind = "images"
path = "pictures"
split = { test = 0.2 }
[features]
size = [8, 8]
color = "gray"
[[layers]]
net = { kind = "dense", width = 16 }
likelihood = "bernoulli"
corruption = { kind = "mask", rate = 0.2 }
fit = { epochs = 2, batch = 16 }
[code]
bits = 12
fit = { epochs = 2, batch = 16 }
[finetune]
epochs = 3
batch = 16
[evaluate]
queries = 10
"""
MOMENTS = [
    "progress:ingest:1",
    "rename:0",
    "progress:views:1",
    "progress:layer 1:1",
    "progress:code layer:1",
    "progress:fine-tuning:2",
    "progress:encoding:1",
    "finish:6",  # the scores
    "finish:9",  # the release
    "service",
]


def paint(folder: Path, numbers: range) -> None:
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    for i in numbers:
        pixels = np.random.default_rng(i).integers(0, 256, (3, 3), np.uint8)
        Image.fromarray(pixels).resize((9, 9), Image.Resampling.BILINEAR).save(folder / "pictures" / f"{i:03}.png")


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory, forge: Forge) -> tuple[Path, Path, str, str]:
    """Make a collection with a release in service, more pictures, and an undisturbed second run."""
    folder = tmp_path_factory.mktemp("night")
    (folder / "recipe.toml").write_text(RECIPE)
    paint(folder, range(60))
    first = forge.run(folder / "recipe.toml", folder / "shelf")
    assert first.returncode == 0, first.stderr
    paint(folder, range(60, 90))
    shutil.copytree(folder / "shelf", folder / "undisturbed")
    second = forge.run(folder / "recipe.toml", folder / "undisturbed")
    assert second.returncode == 0, second.stderr
    assert first.stdout != second.stdout
    return folder, folder / "shelf", first.stdout.strip(), second.stdout.strip()


@pytest.mark.parametrize("moment", MOMENTS)
def test_the_old_release_answers_and_the_next_run_finishes(
    night: tuple[Path, Path, str, str], forge: Forge, moment: str, tmp_path: Path
) -> None:
    folder, prepared, old, new = night
    shelf = tmp_path / "shelf"
    shutil.copytree(prepared, shelf)
    store = Store(shelf)
    assert forge.run(folder / "recipe.toml", shelf, moment).returncode == KILLED, "the moment never came"

    release = Release.open(store)
    assert release.ref.digest == old
    verify(store, release.ref)
    assert release.index.search(release.codes_of(np.array([3])), 1).distances[0, 0] == 0

    again = forge.run(folder / "recipe.toml", shelf)
    assert again.returncode == 0, again.stderr
    assert again.stdout.strip() == new
    if "layer" in moment or "tuning" in moment:
        assert f"{moment.split(':')[1]}: {moment.split(':')[2]}/" in again.stderr
        assert "resumed" in again.stderr, "it went on inside the layer"
    assert registry.current(store, "pictures") == Ref("release", new)
    verify(store, Ref("release", new))
    assert outputs(store, new) == outputs(Store(folder / "undisturbed"), new)
    assert not list(shelf.glob("*/.tmp-*"))
    assert not list((shelf / "work").glob("*"))


def outputs(store: Store, release: str) -> dict[str, object]:
    """Return the sha256 of everything that a release refers to."""
    parts = Release.open(store, ref=Ref("release", release)).parts
    return {f"{what} {ref}": store.manifest(ref).outputs for what, ref in parts}
