"""A release's encoder as one ONNX file gives the bits of a query."""

from __future__ import annotations

import json
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

torch = pytest.importorskip("torch")

from aepipe import recipe
from aepipe.codes.encoder import session
from aepipe.errors import CorruptError, QueryError
from aepipe.pipeline import backbone, encode, export_onnx, finetune, ingest, pretrain, publish, score, views
from aepipe.pipeline.resolve import resolve
from aepipe.release.release import Release
from aepipe.sources import decoder
from aepipe.sources.backbone import GRAPH
from aepipe.sources.images.decode import decode
from aepipe.sources.networks.pictures import Backbone
from aepipe.store import registry
from aepipe.store.artifacts import Ref, Store
from tests.sources.test_backbone import SIZE, write_network
from tests.support.networks import WIDTH, vision
from tests.support.releases import write_pictures

FIT = {"epochs": 1, "batch": 16}


def make_release(store: Store, folder: Path, features: dict[str, Any]) -> Ref:
    """Train on 40 pictures and publish them."""
    write_pictures(folder / "pictures", 40, (9, 11, 3))
    table = {
        "name": "seen",
        "source": {"kind": "images", "path": "pictures"},
        "features": features,
        "layers": [{"net": {"kind": "dense", "width": 10}, "fit": FIT}],
        "code": {"bits": 12, "fit": FIT, "threshold": "median"},
        "finetune": FIT,
        "evaluate": {"queries": 8},
    }
    job = resolve(recipe.parse(table, folder / "seen.toml"))
    backbone.attach_backbone(store, job)
    rows = ingest.ingest(store, job.source)
    cut = views.views(store, job, rows)
    layers: list[Ref] = []
    for _ in job.specs:
        layers.append(pretrain.pretrain(store, job, cut, layers))
    model = finetune.finetune(store, job, cut, layers)
    codes = [encode.encode(store, model, rows)]
    scores = score.score(store, job, rows, model, codes)
    return publish.publish(store, job.recipe, job.source.location, rows=rows, model=model, codes=codes, scores=scores)


@pytest.mark.parametrize("pooled", [True, False], ids=["vector", "maps"])
def test_one_graph_gives_the_bits_of_a_query(store: Store, tmp_path: Path, pooled: bool) -> None:
    write_network(tmp_path / "own.onnx", pooled=pooled)
    features = {"size": list(SIZE), "backbone": "own.onnx", "mean": [10.0, 20.0, 30.0], "scale": 50.0}
    ref = make_release(store, tmp_path, features)
    assert export_onnx.export_graph(store, ref, tmp_path / "out" / "one.onnx") == (1, *SIZE, 3)
    release = Release.open(store, ref=ref)
    see = decoder("images", release.encoder.card.features, release.folder("encoder"))
    one = session((tmp_path / "out" / "one.onnx").read_bytes())
    for file in sorted((tmp_path / "pictures").rglob("*.png")):
        data = file.read_bytes()
        expected = release.encoder.encode(see(data, "q")[None])
        names = ["embedding", "logits", "bits"]
        embedding, logits, bits = one.run(names, {"items": decode(data, key="k", size=SIZE)[None]})
        np.testing.assert_array_equal(bits, expected.codes.unpack())
        np.testing.assert_allclose(logits, expected.logits, atol=1e-5)
        np.testing.assert_allclose(embedding, expected.embedding, atol=1e-5)
    said = json.loads(onnx.load(tmp_path / "out" / "one.onnx").metadata_props[0].value)
    assert (said["name"], said["fingerprint"]) == ("seen", release.fingerprint)
    assert said["features"]["size"] == list(SIZE)


@pytest.mark.parametrize("pooling", ["cls", "mean", "max", "last", "weighted"])
def test_tokens_are_pooled_below_a_stack_as_the_network_does(tmp_path: Path, pooling: str) -> None:
    file = vision(tmp_path / "net.onnx", "last_hidden_state", half=True)
    seen_by = {"mean": [10.0, 20.0, 30.0], "scale": [50.0], "channels": "bgr", "pooling": pooling}
    picture = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    found = np.zeros((1, 5, WIDTH), np.float16)
    network = onnx.version_converter.convert_version(onnx.load(file), 20)
    parts = [
        export_onnx._prepared((8, 8), seen_by, TensorProto.FLOAT16),
        network,
        export_onnx._unit((2, WIDTH), found, pooling),
    ]
    named = [export_onnx._part(n, part, 10, network.opset_import) for n, part in enumerate(parts)]
    joined = reduce(export_onnx._above, named)
    (rows,) = session(joined.SerializeToString()).run(None, {"items": picture[None]})
    expected = Backbone.of(tmp_path, "net.onnx", seen_by)(picture).astype(np.float64)
    np.testing.assert_allclose(rows[0], expected, atol=2e-3)
    assert not rows[1].any()


def test_without_a_network_it_takes_the_encoders_batch(store: Store, tmp_path: Path) -> None:
    ref = make_release(store, tmp_path, {"size": list(SIZE)})
    registry.promote(store, "seen", ref, why="test")
    batch = Release.open(store, "seen").encoder.card.batch
    assert export_onnx.export_graph(store, ref, tmp_path / "one.onnx") == (batch, *SIZE, 3)
    rows = np.random.default_rng(0).integers(0, 256, (batch, *SIZE, 3), np.uint8)
    (bits,) = session((tmp_path / "one.onnx").read_bytes()).run(["bits"], {"items": rows})
    np.testing.assert_array_equal(bits, Release.open(store, "seen").encode(rows).unpack())


def test_errors_name_their_reason(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_network(tmp_path / "own.onnx")
    ref = make_release(store, tmp_path, {"size": list(SIZE), "backbone": "own.onnx"})
    (tmp_path / "file").touch()
    with pytest.raises(QueryError, match=r"file/one\.onnx: cannot be written: "):
        export_onnx.export_graph(store, ref, tmp_path / "file" / "one.onnx")

    def old(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
        raise RuntimeError(f"no adapter to {opset}")

    monkeypatch.setattr(onnx.version_converter, "convert_version", old)
    with pytest.raises(CorruptError, match=rf"{GRAPH}: cannot be put below the stack: no adapter to \d+"):
        export_onnx.export_graph(store, ref, tmp_path / "one.onnx")
