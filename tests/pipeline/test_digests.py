"""Artifacts of every packaged recipe keep the names that earlier versions gave them.

An artifact is named by the digest of its inputs. Where such a name changes, everything that users have built from there
on is built again. ``tests/golden/digests.json`` holds the names from before, for rows of a fixed name;
``python -m tests.pipeline.test_digests FILE`` writes the present ones, for recipes that are new.
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
import wave
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from aepipe import recipe as recipes
from aepipe.pipeline import compare, encode, finetune, ingest, pretrain, publish, score, views
from aepipe.pipeline.resolve import ResolvedRecipe, resolve
from aepipe.pipeline.sweep import apply_settings
from aepipe.recipe import Recipe
from aepipe.store.artifacts import Manifest, Ref, Store
from flows.catalog import packaged, recipe_file

GOLDEN = Path(__file__).parents[1] / "golden" / "digests.json"
NAMES: dict[str, dict[str, str]] = json.loads(GOLDEN.read_text(encoding="utf-8")) if GOLDEN.exists() else {}
ROWS = Ref("rows", "0" * 64)
ROOT = Path("/collection")
COMPUTE = {"compute.device": "cpu", "compute.precision": "float32"}
RUN = {
    "views": "views/9b5f0d35434f7ca77602737a27777cdff38ec6dc32a305f7b145e543cf7955a1",
    "layer 1": "layer/a4458d06cebe9e2238666e7403edb16cd90ba79c00393f188301f0d544ea9924",
    "layer 2": "layer/d6946786d667363fd3d99fe94d3050e71ebef7af399040c100a7fc647d2f3986",
    "layer 3": "layer/e40544b57bf53d3f5b57a5fcecd6cda3a05ba21b470c68477a9faa63ce205f5c",
    "model": "model/add64672771131514c627cc04e315bc250774be2658520615db791706798c816",
    "codes": "segment/e1ec6d8f180fdba9642f1ffb80cbce23f64ddecb39794ebec82ad808611e656e",
    "scores": "segment/29d5a125b66c7fb1e9750ddf4c3e367f2c33eb0940b14b88b0d850c2f6c67641",
}
"""The directories of a run of the demo on a processor that multiplies bfloat16."""
DEMO_ROWS = "rows/efbe1ac3d39b9d8fbf3ba21d49c476424888b7a85255e311fb224af72fca0328"
"""Of the sample in ``data/``, as the demo's recipe reads it."""


class Complete(Store):
    """A store that claims to hold everything, so that each stage only names its artifact."""

    def has(self, ref: Ref) -> bool:
        """Return True."""
        return True

    def reuse(self, ref: Ref) -> bool:
        """Return True; nothing is marked, as nothing is there."""
        return True

    def manifest(self, ref: Ref) -> Manifest:
        """Return the facts that stages read from the artifacts before theirs."""
        return Manifest({}, {"fingerprint": "f" * 64, "n_bits": 64, "rows": 1000}, {}, "")


def named(store: Store, resolved: ResolvedRecipe, rows: Ref = ROWS, root: Path = ROOT) -> dict[str, str]:
    """Return the names of all artifacts of a run, by stage."""
    found: dict[str, Ref] = {"views": views.views(store, resolved, rows)}
    layers: list[Ref] = []
    for number in range(1, len(resolved.specs) + 1) if resolved.recipe.pretrain else ():
        layers.append(pretrain.pretrain(store, resolved, found["views"], layers))
        found[f"layer {number}"] = layers[-1]
    model = found["model"] = finetune.finetune(store, resolved, found["views"], layers)
    found["warm model"] = finetune.finetune(store, resolved, found["views"], layers, after=model, warm=True)
    wanted = resolved.recipe.index.embedding != "none"
    codes = found["codes"] = encode.encode(store, model, rows, embedding=wanted)
    found["more codes"] = encode.encode(store, model, rows, known=[codes], embedding=wanted)
    scores = found["scores"] = score.score(store, resolved, rows, model, [codes])
    made = compare.BuildOutputs(rows, found["views"], tuple(layers), model, (codes,), scores)
    found["measures"] = compare.compare(store, resolved, made)
    found["items"] = publish.write_items(store, rows, root)
    settled = _at(resolved.recipe, root)
    found["release"] = publish.publish(store, settled, root, rows=rows, model=model, codes=[codes], scores=scores)
    return {what: str(ref) for what, ref in found.items()}


def resolved_recipe(name: str, folder: Path, changes: Mapping[str, str | int]) -> ResolvedRecipe:
    """Resolve a packaged recipe for a device and a precision that every machine has.

    Args:
        name: of the recipe.
        folder: where a small source is written, for recipes whose own is not part of the package.
        changes: of the recipe.
    """
    file = recipe_file(name)
    source = None if name == "demo" or name.startswith("zoo/") else str(write_source(name, folder))
    return resolve(apply_settings(recipes.load(file, source=source), changes))


def write_source(name: str, folder: Path) -> Path:
    """Write the smallest source that a recipe can be resolved for, and return its path."""
    file = folder / f"{name}.parquet"
    if name == "digits":
        with wave.open(str(folder / "one.wav"), "wb") as sound:
            sound.setparams((1, 2, 8000, 0, "NONE", ""))
            sound.writeframes(np.zeros(8000, np.int16).tobytes())
        (folder / "digits.csv").write_text("audio,digit,split\none.wav,1,train\n")
        return folder / "digits.csv"
    if name == "newsgroups":
        (folder / "train.jsonl").write_text('{"id": "1", "label": "a", "text": "some words"}\n')
        return folder
    if name == "sentences":
        vectors = pa.array([[0.5] * 384], pa.list_(pa.float32()))
        pq.write_table(pa.table({"embedding": vectors, "label": ["a"], "split": ["train"]}), file)
        return file
    picture = io.BytesIO()
    Image.new("RGB", (32, 32)).save(picture, "PNG")
    row = {"image": picture.getvalue(), "label": "a", "fine_label": "a", "coarse_label": "a", "split": "train"}
    if name == "photos":
        (folder / "a").mkdir()
        (folder / "a" / "one.png").write_bytes(picture.getvalue())
        return folder
    pq.write_table(pa.Table.from_pylist([row]), file)
    return file


def _at(recipe: Recipe, root: Path) -> Recipe:
    options = {**recipe.source.options, "path": str(root)}
    return recipe.model_copy(update={"source": recipe.source.model_copy(update={"options": options})})


def now(folder: Path) -> dict[str, dict[str, str]]:
    """Return the present names of all recipes that come with the package."""
    store, found = Complete(folder / "store"), {}
    for name in packaged():
        place = folder / name.replace("/", "-")
        place.mkdir()
        found[name] = named(store, resolved_recipe(name, place, COMPUTE))
    return found


def test_every_recipe_is_in_the_golden_file() -> None:
    assert set(NAMES) == set(packaged())


@pytest.mark.parametrize("name", packaged())
def test_a_recipe_makes_directories_of_the_names_that_stores_hold(name: str, tmp_path: Path) -> None:
    assert named(Complete(tmp_path / "store"), resolved_recipe(name, tmp_path, COMPUTE)) == NAMES[name]


def test_the_names_depend_on_the_recipe(tmp_path: Path) -> None:
    other = named(Complete(tmp_path / "store"), resolved_recipe("demo", tmp_path, {**COMPUTE, "code.bits": 48}))
    same = {what for what, name in other.items() if name == NAMES["demo"][what]}
    assert same == {"views", "layer 1", "layer 2", "items"}


def test_the_demo_names_are_those_of_a_run(store: Store, tmp_path: Path) -> None:
    """Rows come from the sample; the other names come from a run of the demo."""
    resolved = resolved_recipe("demo", tmp_path, {**COMPUTE, "compute.precision": "bfloat16"})
    rows = ingest.ingest(store, resolved.source)
    assert str(rows) == DEMO_ROWS
    found = named(Complete(tmp_path / "complete"), resolved, rows)
    assert {what: found[what] for what in RUN} == RUN


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as there:
        Path(sys.argv[1]).write_text(json.dumps(now(Path(there)), indent=1) + "\n", encoding="utf-8")
