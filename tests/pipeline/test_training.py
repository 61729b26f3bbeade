"""Stages that train: artifacts that recipes share, and the codes in the end."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

torch = pytest.importorskip("torch")

from aepipe import recipe
from aepipe.codes.encoder import Encoder, quantize
from aepipe.errors import RecipeError, SourceError
from aepipe.evaluate.scores import Scores
from aepipe.learn.generate import open_finetuned
from aepipe.pipeline.encode import encode
from aepipe.pipeline.finetune import finetune
from aepipe.pipeline.ingest import ingest
from aepipe.pipeline.pretrain import pretrain
from aepipe.pipeline.publish import publish
from aepipe.pipeline.resolve import ResolvedRecipe, resolve
from aepipe.pipeline.score import score
from aepipe.pipeline.views import views
from aepipe.release.release import Release
from aepipe.store.artifacts import Ref, Store
from aepipe.store.rows import Rows
from aepipe.store.segments import CodeSegments

FIT = {"epochs": 1, "batch": 16}
LAYER = {"net": {"kind": "dense", "width": 10}, "corruption": {"kind": "mask", "rate": 0.3}, "fit": FIT}
TABLE: dict[str, Any] = {
    "name": "tiny",
    "source": {"kind": "images", "path": "pictures", "split": {"test": 0.25}},
    "features": {"size": [6, 6], "color": "rgb"},
    "layers": [LAYER, LAYER],
    "code": {"bits": 12, "fit": FIT, "threshold": "median"},
    "finetune": {"epochs": 1, "batch": 16},
    "evaluate": {"queries": 8},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A collection of 80 small pictures."""
    folder = tmp_path_factory.mktemp("collection")
    (folder / "pictures").mkdir()
    for i in range(80):
        pixels = np.random.default_rng(i).integers(0, 256, (3, 3, 3), np.uint8)
        Image.fromarray(pixels).resize((7, 7), Image.Resampling.BILINEAR).save(folder / "pictures" / f"{i:02}.png")
    return folder


@pytest.fixture(scope="module")
def stocked(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A shelf with the model of the recipe as it stands."""
    store = Store(tmp_path_factory.mktemp("stocked") / "shelf")
    trained(store, planned(folder))
    return store


@pytest.fixture
def store(stocked: Store, tmp_path: Path) -> Store:
    """A copy of it, as most tests train this model and change something."""
    return Store(shutil.copytree(stocked.root, tmp_path / "shelf"))


def planned(folder: Path, **changes: Any) -> ResolvedRecipe:
    return resolve(recipe.parse(TABLE | changes, folder / "r.toml"))


def trained(store: Store, job: ResolvedRecipe) -> tuple[Ref, Ref, list[Ref], Ref]:
    rows = ingest(store, job.source)
    cut = views(store, job, rows)
    layers: list[Ref] = []
    for _ in job.specs if job.recipe.pretrain else ():
        layers.append(pretrain(store, job, cut, layers))
    return rows, cut, layers, finetune(store, job, cut, layers)


def test_views_are_disjoint_and_the_corrupted_copy_is_the_same_in_every_run(folder: Path, tmp_path: Path) -> None:
    found = []
    for seed in (0, 1):
        store = Store(tmp_path / str(seed))
        job = planned(folder, seed=seed, views={"holdout": 0.2, "evaluation": 10})
        path = store.path(views(store, job, ingest(store, job.source)))
        found.append({name: np.load(path / f"{name}.npy") for name in ("train", "held_out", "clean", "noisy")})
    for one in found:
        everything = {row.tobytes() for name in ("train", "held_out") for row in one[name]}
        assert len(everything) == len(one["train"]) + len(one["held_out"])
        assert not everything & {row.tobytes() for row in one["clean"]}
        assert len(one["clean"]) == 10
        lost = one["noisy"] == 0
        np.testing.assert_array_equal(one["noisy"][~lost], (one["clean"] / np.float32(255)).astype(np.float16)[~lost])
    np.testing.assert_array_equal(found[0]["noisy"], found[1]["noisy"])
    assert not np.array_equal(found[0]["held_out"], found[1]["held_out"])


def test_a_change_builds_again_only_what_depends_on_it(folder: Path, store: Store) -> None:
    rows, cut, layers, model = trained(store, planned(folder))
    other = trained(store, planned(folder, index={"rows": "train"}, gate={"max_regression": 0.5}))
    assert other == (rows, cut, layers, model)
    longer = trained(store, planned(folder, finetune={"epochs": 2, "batch": 16}))
    assert longer[:3] == (rows, cut, layers)
    assert longer[3] != model
    upper = trained(store, planned(folder, layers=[LAYER, LAYER | {"net": {"kind": "dense", "width": 11}}]))
    assert upper[2][0] == layers[0]
    assert upper[2][1] != layers[1]
    assert trained(store, planned(folder, seed=5))[2][0] != layers[0]


def test_a_stack_without_pretraining_is_another_model(folder: Path, store: Store) -> None:
    _, _, layers, model = trained(store, planned(folder, pretrain=False))
    assert layers == []
    assert model != trained(store, planned(folder))[3]
    curves = json.loads((store.path(model) / "curves.json").read_text())
    assert list(curves) == ["fine-tuning"]


def test_a_tight_memory_budget_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    models = []
    for number, budget in enumerate((4.0, 1e-6)):
        store = Store(tmp_path / str(number))
        _, _, _, model = trained(store, planned(folder, compute={"memory_gb": budget}))
        models.append(store.manifest(model).outputs)
    assert models[0] == models[1]


def test_scores_know_how_far_off_queries_are_and_how_many_hits_to_re_rank(folder: Path, store: Store) -> None:
    job = planned(folder, evaluate={"queries": 8, "rerank_recall": 0.5})
    rows, _, _, model = trained(store, job)
    found = []
    for embedding in (True, False):
        ref = score(store, job, rows, model, [encode(store, model, rows, embedding=embedding)])
        found.append(Scores.from_dict(json.loads((store.path(ref) / "scores.json").read_text())))
    assert found[0].calibration is not None
    assert found[0].calibration.usual_error is not None
    assert 0 < found[0].calibration.usual_error < 1
    assert found[0].reranking is not None
    assert found[0].reranking.recall >= found[0].reranking.target == 0.5
    assert found[1].reranking is None


def test_every_indexed_image_finds_itself_at_distance_zero(folder: Path, store: Store) -> None:
    job = planned(folder)
    rows, _, _, model = trained(store, job)
    codes = [encode(store, model, rows)]
    scores = score(store, job, rows, model, codes)
    release = Release.open(
        store, ref=publish(store, job.recipe, job.source.location, rows=rows, model=model, codes=codes, scores=scores)
    )
    assert len(release.index) == 80
    for file in sorted((folder / "pictures").iterdir()):
        data = job.source.row(file.read_bytes(), file.name).astype(np.uint8)
        hits = release.query(release.encode(data[None]), 80)
        ids = [row.key for row in release.describe(hits.ids[0][hits.distances[0] == 0])]
        assert file.name in ids
    rate = release.codes_of(np.arange(80)).unpack().mean(0)
    assert ((rate > 0.25) & (rate < 0.75)).all(), "median thresholds halve the training rows"


def test_encoding_skips_what_is_known(folder: Path, store: Store) -> None:
    rows, _, _, model = trained(store, planned(folder))
    first = encode(store, model, rows)
    again = encode(store, model, rows, known=[first])
    assert len(np.load(store.path(first) / "ids.npy")) == 80
    assert len(np.load(store.path(again) / "ids.npy")) == 0
    both = CodeSegments.open(store, [first, again])
    encoder, table = Encoder.open(store.path(model)), Rows(store.path(rows))
    embedded = quantize(encoder.encode(table.features()[np.argsort(table.ids())]).embedding)
    np.testing.assert_array_equal(both.embeddings_of(np.arange(80)), embedded)
    without = encode(store, model, rows, embedding=False)
    assert without != first
    assert CodeSegments.open(store, [without]).width is None
    assert CodeSegments.open(store, [without, first]).width is None, "not every row has one"


def test_frozen_layers_stay_as_they_were_pretrained(folder: Path, store: Store) -> None:
    steps = {"epochs": 2, "batch": 16, "lr": 0.05}
    models = {}
    for frozen in (0, 1, 2):
        _, _, layers, model = trained(store, planned(folder, finetune=steps | {"frozen": frozen}))
        before = [load_file(store.path(ref) / "layer.safetensors") for ref in layers]
        job, weights = planned(folder), store.path(model) / "weights.safetensors"
        whole = open_finetuned(job.specs, job.source.shape, weights, job.compute)
        encoders = [whole.net.encoder[0].encoder, whole.net.encoder[1].encoder, whole.net.encoder[2]]  # type: ignore[index]
        same = [
            all(torch.equal(value.cpu(), layer[f"net.encoder.{name}"]) for name, value in one.named_parameters())
            for one, layer in zip(encoders, before, strict=True)
        ]
        assert same == [number < frozen for number in range(3)]
        models[frozen] = model
    assert len(set(models.values())) == 3
    with pytest.raises(
        RecipeError, match=r"finetune\.frozen: the stack has 2 layers and the bits, so 3 leave none to train"
    ):
        planned(folder, finetune=steps | {"frozen": 3})


def test_too_few_rows_are_refused(folder: Path, tmp_path: Path, store: Store) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "one.png").write_bytes((folder / "pictures" / "00.png").read_bytes())
    job = planned(tmp_path, source={"kind": "images", "path": "pictures"})
    with pytest.raises(SourceError, match=r"r\.toml: rows to train on: 1; at least 2 are needed"):
        views(store, job, ingest(store, job.source))


def test_a_model_after_another_keeps_its_bits_in_place(folder: Path, store: Store) -> None:
    job = planned(folder)
    rows, cut, layers, first = trained(store, job)
    other = planned(folder, seed=5)
    warm = finetune(store, other, cut, [], after=first, warm=True)
    assert finetune(store, other, cut, [], after=first, warm=True) == warm
    assert finetune(store, job, cut, layers) == first, "what comes after nothing is called as it was"
    aligned = store.manifest(warm).facts["aligned"]
    old, new = (Encoder.open(store.path(ref)) for ref in (first, warm))
    assert aligned["fingerprint"] == old.fingerprint != new.fingerprint
    items = np.load(store.path(cut) / "train.npy")
    differ = (old.encode(items).codes.unpack() != new.encode(items).codes.unpack()).mean()
    assert differ == pytest.approx(aligned["flips"], abs=1e-5)
    assert aligned["flips"] <= aligned["unaligned"]
    assert encode(store, warm, rows)
    wider = planned(folder, code=TABLE["code"] | {"bits": 14})
    assert store.manifest(finetune(store, wider, cut, [], after=first)).facts["aligned"] is None


def test_edits_change_the_model_alone_and_it_says_how_strong_they_were(folder: Path, store: Store) -> None:
    walks = {"kind": "neighbourhood", "k": 4, "refresh": 1}
    jitter = {"kind": "jitter", "shift": 2.0, "mirror": 0.5}
    usual = {"epochs": 2, "batch": 16, "frozen": 1, "objective": walks}
    plain = trained(store, planned(folder, finetune=usual))
    edited = trained(store, planned(folder, finetune=usual | {"edits": jitter}))
    assert edited[:3] == plain[:3]
    assert edited[3] != plain[3]
    as_given = trained(store, planned(folder, finetune=usual | {"edits": jitter, "edits_within": 0.0}))
    assert as_given[3] not in {plain[3], edited[3]}
    assert "edits" not in store.manifest(plain[3]).facts
    assert store.manifest(as_given[3]).facts["edits"]["shift"] == 2
    assert 0 <= store.manifest(edited[3]).facts["edits"]["shift"] <= 2
    Encoder.open(store.verified(edited[3]))


def test_edits_of_pictures_are_refused_for_other_rows(folder: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((20, 5), np.float32))
    changes = {"source": {"kind": "vectors", "path": str(tmp_path / "x.npy")}, "features": {}}
    with pytest.raises(RecipeError, match=r"finetune\.edits: turns and moves pictures"):
        planned(folder, **changes, finetune={"edits": "jitter"})
