"""A model with two towers for tests: it sees the mean colour of a picture, and knows the names of eight colours.

Words lie apart from pictures, as those of real models do.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import tokenizers
from onnx import TensorProto, helper
from PIL import Image

from aepipe import recipe, sources, words
from aepipe.index import hamming
from aepipe.pipeline.backbone import attach_backbone
from aepipe.pipeline.ingest import ingest
from aepipe.store import registry
from aepipe.store.artifacts import Ref, Store
from tests.support.encoders import write_encoder
from tests.support.releases import BarePlan, publish_rows

COLOURS = {
    "black": (10, 10, 10),
    "white": (245, 245, 245),
    "red": (230, 20, 20),
    "green": (20, 220, 30),
    "blue": (20, 30, 230),
    "yellow": (235, 230, 20),
    "pink": (240, 120, 180),
    "grey": (128, 128, 128),
}
OTHERS = ("[UNK]", "the", "of", "photo")
WIDTH, SIZE, EACH = 12, 8, 12
RNG = np.random.default_rng(7)
MAP = RNG.normal(size=(4, WIDTH)).astype(np.float32)
MAP[3] *= 0.5
GAP = 3 * RNG.normal(size=WIDTH).astype(np.float32)


def write_towers(folder: Path) -> Path:
    """Write both towers as exports have them, and return the folder."""
    (folder / "onnx").mkdir(parents=True)
    _write_pictures_half(folder / "onnx" / "vision_model.onnx")
    _write_text_half(folder / "onnx" / "text_model.onnx")
    names = [*OTHERS, *COLOURS]
    model = tokenizers.models.WordLevel({name: place for place, name in enumerate(names)}, unk_token=OTHERS[0])
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.enable_padding(length=9)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"model_type": "clip", "text_config": {"max_position_embeddings": 16}}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def make_towers_release(folder: Path, *, n_bits: int = 64, promote: bool = True) -> tuple[Store, Ref]:
    """Make a release of pictures of eight colours that answers words, and put it into service as ``colours``."""
    write_towers(folder / "towers")
    rng = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (folder / "pictures" / name).mkdir(parents=True)
        for number in range(EACH):
            pixels = np.clip(rng.normal(colour, 12, (SIZE, SIZE, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / "pictures" / name / f"{number}.png")
    store, plan = Store(folder / "store"), plan_of(folder, n_bits)
    attach_backbone(store, plan)  # type: ignore[arg-type]
    rows = ingest(store, plan.source)
    with store.draft("model") as draft:
        more = {"n_bits": n_bits, "dtype": "float16", "hidden": (32,), "features": plan.source.features()}
        write_encoder(draft.path, shape=plan.source.shape, **more)  # type: ignore[arg-type]
        backbone = Ref.parse(plan.source.features()["backbone"]["ref"])
        for file in store.verified(backbone).glob("*.onnx"):
            (draft.path / file.name).write_bytes(file.read_bytes())
        model = draft.finish({"made": "by a test", "views": f"views/{'0' * 64}", "n_bits": n_bits})
    ref = publish_rows(store, plan, rows, model)
    if promote:
        registry.promote(store, "colours", ref, why="made by a test")
    return store, ref


def plan_of(folder: Path, n_bits: int = 64) -> BarePlan:
    """Return the resolved recipe of the pictures of colours."""
    towers = folder / "towers"
    table = {
        "name": "colours",
        "source": {"kind": "images", "path": str(folder / "pictures"), "label": "parent"},
        "features": {
            "size": [SIZE, SIZE],
            "backbone": str(towers / "onnx" / "vision_model.onnx"),
            "words": str(towers),
        },
        "layers": [{"net": "dense"}],
        "code": {"bits": n_bits},
        "evaluate": {"queries": 50},
    }
    parsed = recipe.parse(table, folder / "colours.toml")
    answering = words.resolve(str(towers), base=folder, width=WIDTH)
    return BarePlan(parsed, sources.resolve(parsed), hamming.resolve(parsed.index.kind), answering)


def _write_pictures_half(file: Path) -> None:
    """Write a graph from pixels to the mean colour and its brightness, mapped to features."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["pixel_values"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["colour"]),
        helper.make_node("Gemm", ["colour", "map", "bias"], ["image_embeds"]),
    ]
    _save(file, nodes, "pixel_values", TensorProto.FLOAT, [1, 3, SIZE, SIZE], map=MAP[:3], bias=MAP[3])


def _write_text_half(file: Path) -> None:
    """Write a graph from tokens to the mean of what stands for them in a table."""
    table = np.concatenate([np.zeros((len(OTHERS), 3)), (np.array(list(COLOURS.values())) - 127) / 128])
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["each"]),
        helper.make_node("ReduceMean", ["each"], ["text_embeds"], axes=[1], keepdims=0),
    ]
    meant = (0.3 * table @ MAP[:3] + MAP[3] + GAP).astype(np.float32)
    _save(file, nodes, "input_ids", TensorProto.INT64, [1, "tokens"], table=meant)


def _save(
    file: Path, nodes: list[onnx.NodeProto], given: str, kind: int, shape: list[int | str], **constants: object
) -> None:
    inputs = [helper.make_tensor_value_info(given, kind, shape)]
    outputs = [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, [1, WIDTH])]
    kept = [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "tower", inputs, outputs, kept)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), file)
