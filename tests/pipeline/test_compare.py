"""Figures of one recipe: their rows, their bits, and the reason where one is missing."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")

from aepipe import recipe
from aepipe.codes.encoder import Encoder
from aepipe.evaluate.probes import FIGURES
from aepipe.evaluate.retrieval import retrieval
from aepipe.learn import stack
from aepipe.learn.stack import unroll
from aepipe.pipeline.compare import BuildOutputs, compare
from aepipe.pipeline.encode import encode
from aepipe.pipeline.finetune import finetune
from aepipe.pipeline.ingest import ingest
from aepipe.pipeline.pretrain import pretrain
from aepipe.pipeline.resolve import ResolvedRecipe, resolve
from aepipe.pipeline.score import score
from aepipe.pipeline.views import views
from aepipe.store.artifacts import Store
from aepipe.store.rows import Rows
from tests.support.samples import write_tiny

FIT = {"epochs": 3, "batch": 32}
CHANGES: dict[str, Any] = {
    "layers": [{"net": {"kind": "dense", "width": 40}, "likelihood": "bernoulli", "fit": FIT}] * 2,
    "code": {"bits": 16, "threshold": "median", "fit": FIT},
    "finetune": FIT,
    "views": {"holdout": 0.2},
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store next to 250 pictures and a recipe."""
    folder = tmp_path_factory.mktemp("measure")
    write_tiny(folder, count=250)
    return Store(folder / "store")


def planned(store: Store, **changes: Any) -> ResolvedRecipe:
    file = store.root.parent / "tiny.toml"
    return resolve(recipe.parse(recipe.load(file).model_dump(mode="json") | CHANGES | changes, file))


def made(store: Store, job: ResolvedRecipe) -> BuildOutputs:
    rows = ingest(store, job.source)
    cut = views(store, job, rows)
    layers: list[Any] = []
    for _ in job.specs if job.recipe.pretrain else ():
        layers.append(pretrain(store, job, cut, layers))
    model = finetune(store, job, cut, layers)
    codes = (encode(store, model, rows),)
    return BuildOutputs(rows, cut, tuple(layers), model, codes, score(store, job, rows, model, codes))


def read(store: Store, job: ResolvedRecipe, parts: BuildOutputs) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((store.path(compare(store, job, parts)) / "measures.json").read_text())
    return found


def test_every_figure_of_labelled_pictures(store: Store) -> None:
    job = planned(store)
    parts = made(store, job)
    found = read(store, job, parts)
    figures = found["figures"]
    assert tuple(figures) == FIGURES
    assert all(value is not None for value in figures.values())
    assert found["notes"] == {}
    table = Rows(store.path(parts.rows))
    n_test = table.splits().count("test")
    assert found["measured"] == {"rebuilt": n_test, "train": len(table) - n_test, "test": n_test}
    assert set(found["yardsticks"]) == {"itq", "lsh", "pca-sign", "spectral", "float"}
    facts = [store.manifest(ref).facts for ref in (*parts.layers, parts.model)]
    assert figures["seconds"] == pytest.approx(sum(one["seconds"] for one in facts))
    assert (figures["width"], figures["epochs"]) == (40, 12)
    assert 1 <= figures["best_epoch"] <= 3
    assert figures["parameters"] == (784 * 40 + 40) + (40 * 784 + 784) + 2 * (40 * 40 + 40) + (40 * 16 + 16) * 2 + 24
    assert 0.3 < figures["probe_embedding"] <= 1, "better than one in ten"
    assert figures["reconstruction_pca"] < figures["reconstruction_pca_30"] < figures["reconstruction_bits"]


def test_rows_are_rebuilt_from_the_bits_of_the_release(store: Store) -> None:
    """Bits are cut at the median, although training cuts at zero; floats are not fine-tuned."""
    job = planned(store)
    parts = made(store, job)
    figures = read(store, job, parts)["figures"]
    rows = Rows(store.path(parts.rows)).features("test")
    target = torch.from_numpy(rows / np.float32(255))
    files = [store.path(ref) / "layer.safetensors" for ref in parts.layers]
    greedy = stack.load(job.specs, rows.shape[1:], files, seed=0, compute=job.compute)
    whole = unroll(stack.build(job.specs, rows.shape[1:], seed=0))
    whole.load_state_dict(load_file(store.path(parts.model) / "weights.safetensors"))
    bits = Encoder.open(store.path(parts.model)).encode(rows).codes.unpack()
    with torch.no_grad():
        by_bits = whole.eval().decode(torch.from_numpy(2.0 * bits - 1).float()).sigmoid()
        low, high = (one.eval() for one in greedy[:2])
        middle = high.decode(high.encode(low.encode(target).mean).mean).sigmoid()
        by_float = low.decode(middle).sigmoid()
        cut_at_zero = whole.decode(whole.encode(target).mean).sigmoid()
    errors = [float((one - target).square().flatten(1).sum(1).mean()) for one in (by_bits, by_float, cut_at_zero)]
    assert figures["reconstruction_bits"] == pytest.approx(errors[0], rel=1e-4)
    assert figures["reconstruction_float"] == pytest.approx(errors[1], rel=1e-4)
    assert figures["reconstruction_bits"] != pytest.approx(errors[2], rel=1e-4)


def test_held_out_rows_search_the_other_training_rows(store: Store) -> None:
    job = planned(store)
    parts = made(store, job)
    table, ids = Rows(store.path(parts.rows)), np.load(store.path(parts.views) / "held_out_ids.npy")
    split, labels, all_ids = np.array(table.splits()), np.array(table.labels()), table.ids()
    asked = np.isin(all_ids, ids)
    held_out = np.load(store.path(parts.views) / "held_out.npy")
    np.testing.assert_array_equal(table.features()[asked], held_out)
    assert (split[asked] == "train").all()
    others = (split == "train") & ~asked
    rows, encoder = table.features(), Encoder.open(store.path(parts.model))
    known, query = (encoder.encode(rows[at]).codes for at in (others, asked))
    expected = retrieval(known, query, labels[others], labels[asked]).map_at_cut.mean()
    assert read(store, job, parts)["figures"]["held_out_map_at_1000"] == pytest.approx(expected)


def test_missing_figures_have_a_reason(store: Store) -> None:
    options = {"kind": "images", "path": str(store.root.parent / "photos")}
    job = planned(store, source=options, pretrain=False, layers=[{"net": {"kind": "dense", "width": 800}}])
    parts = made(store, job)
    found = read(store, job, parts)
    missing = {name for name, value in found["figures"].items() if value is None}
    assert missing == set(found["notes"])
    assert found["notes"]["reconstruction_float"] == "the layers were not pretrained"
    assert found["notes"]["map_at_1000"] == found["notes"]["probe_bits"] == "the rows have no labels"
    assert "no such number of components" in found["notes"]["reconstruction_pca"]
    assert missing == {
        "reconstruction_float", "reconstruction_pca", "map", "map_at_1000", "p_at_100", "probe_embedding",
        "probe_bits", "nmi_bits", "held_out_map_at_1000",
    }  # fmt: skip
    assert found["measured"] == {"rebuilt": 50, "train": 250, "test": 0}, "without a test split, what was held out"


def test_without_unseen_rows_and_without_fine_tuning(store: Store) -> None:
    options = {"kind": "images", "path": str(store.root.parent / "photos"), "label": "parent"}
    job = planned(store, source=options, views={"holdout": 0.0}, finetune={"epochs": 0})
    found = read(store, job, made(store, job))
    assert found["measured"]["rebuilt"] == 0
    assert "a probe needs test rows" in found["notes"]["probe_embedding"]
    assert found["figures"]["nmi_bits"] is not None, "clusters need no second split"
    missing = {name for name, value in found["figures"].items() if value is None}
    assert missing >= {"reconstruction_bits", "reconstruction_float", "reconstruction_pca_30", "best_epoch"}


def test_a_build_is_measured_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    job = planned(store)
    parts = made(store, job)
    ref = compare(store, job, parts)
    assert store.manifest(ref).facts == {"kind": "measures"}
    monkeypatch.setattr("aepipe.pipeline.compare._all", None)
    assert compare(store, job, parts) == ref, "an artifact that exists is not measured again"
    assert list(store.manifest(ref).outputs) == ["measures.json"]


def test_recipes_with_rows_in_common_share_their_components(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("reconstruction_pca", "reconstruction_pca_30", "width")
    first, second = planned(store), planned(store, seed=1)
    known = read(store, first, made(store, first))["figures"]
    monkeypatch.setattr("aepipe.pipeline.compare.pca_errors", None)
    found = read(store, second, made(store, second))["figures"]
    assert [found[name] for name in names] == [known[name] for name in names]
    assert found["probe_bits"] is not None


def test_a_sample_is_limited_and_stays_the_same(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """At most MOST rows of each split, with their own labels."""
    from aepipe.pipeline import compare as module

    monkeypatch.setattr(module, "MOST", 20)
    table = Rows(store.path(made(store, planned(store)).rows))
    side = module._side(table, "train")
    assert len(side.rows) == len(side.labels) == 20
    by_bytes = {row.features.tobytes(): (row.label, row.split) for row in table.rows()}
    assert all(by_bytes[one.tobytes()] == (label, "train") for one, label in zip(side.rows, side.labels, strict=True))
    assert np.array_equal(side.rows, module._side(table, "train").rows)
