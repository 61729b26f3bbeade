"""Small random encoders for tests, written as ONNX without training and without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from aepipe.codes.encoder import GRAPH, Card, write_card
from aepipe.sources.images import decode

BATCH = 32


def write_encoder(
    folder: Path,
    *,
    shape: tuple[int, ...] = (28, 28, 1),
    hidden: tuple[int, ...] = (32,),
    n_bits: int = 64,
    seed: int = 0,
    source: str = "images",
    features: dict[str, Any] | None = None,
    dtype: str = "uint8",
    holes: bool = False,
) -> Path:
    """Write a dense network with random weights as an encoder, and return the folder.

    Args:
        folder: made where it is missing.
        shape: of one decoded item.
        hidden: widths of the layers; the last one's output is the embedding.
        n_bits: K.
        seed: of the weights; another seed has another fingerprint.
        source: kind of source in the encoder's metadata.
        features: options of the decoder in the metadata; for images, by default, those that give ``shape``.
        dtype: of a decoded item: ``uint8``, or a kind of float.
        holes: missing cells (NaN) are read as 0.
    """
    rng = np.random.default_rng(seed)
    nodes = [
        helper.make_node("Cast", ["items"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["real"], ["flat"]),
        helper.make_node("Div", ["flat", "scale"], ["layer0"]),
    ]
    if holes:
        nodes[1:1] = [
            helper.make_node("IsNaN", ["real"], ["missing"]),
            helper.make_node("Where", ["missing", "zero", "real"], ["filled"]),
        ]
        nodes[3].input[0] = "filled"
    weights: dict[str, Any] = {"scale": np.float32(255.0 if dtype == "uint8" else 1.0), "zero": np.float32(0.0)}
    width = int(np.prod(shape))
    for i, wide in enumerate(hidden, start=1):
        out = "embedding" if i == len(hidden) else f"layer{i}"
        weights |= _dense(rng, width, wide, f"{i}")
        nodes.append(helper.make_node("Gemm", [f"layer{i - 1}", f"w{i}", f"b{i}"], [f"sum{i}"]))
        nodes.append(helper.make_node("Relu", [f"sum{i}"], [out]))
        width = wide
    weights |= _dense(rng, width, n_bits, "code")
    nodes += [
        helper.make_node("Gemm", ["embedding", "wcode", "bcode"], ["logits"]),
        helper.make_node("Greater", ["logits", "zero"], ["above"]),
        helper.make_node("Cast", ["above"], ["bits"], to=TensorProto.UINT8),
    ]
    folder.mkdir(parents=True, exist_ok=True)
    _save(folder, nodes, weights, shape, (width, n_bits), TensorProto.UINT8 if dtype == "uint8" else TensorProto.FLOAT)
    if features is None:
        features = _image_features(shape) if source == "images" else {}
    write_card(folder, Card(source, features, shape, n_bits, BATCH, dtype))
    return folder


def _image_features(shape: tuple[int, ...]) -> dict[str, Any]:
    color = "gray" if shape[-1] == 1 else "rgb"
    return {"kind": "images", "decoder": decode.VERSION, "size": list(shape[:2]), "color": color, "fit": "stretch"}


def _dense(rng: np.random.Generator, inputs: int, outputs: int, name: str) -> dict[str, NDArray[np.float32]]:
    # Centred weights set about half of the bits.
    weights = rng.normal(size=(inputs, outputs)) / np.sqrt(inputs)
    return {f"w{name}": (weights - weights.mean(0)).astype(np.float32), f"b{name}": np.zeros(outputs, np.float32)}


def _save(
    folder: Path,
    nodes: list[onnx.NodeProto],
    weights: dict[str, Any],
    shape: tuple[int, ...],
    widths: tuple[int, int],
    given: int,
) -> None:
    """Write the graph with one input and three outputs."""
    inputs = [helper.make_tensor_value_info("items", given, (BATCH, *shape))]
    kinds = (TensorProto.FLOAT, TensorProto.FLOAT, TensorProto.UINT8)
    names = ("embedding", "logits", "bits")
    outputs = [
        helper.make_tensor_value_info(name, kind, (BATCH, wide))
        for name, kind, wide in zip(names, kinds, (widths[0], widths[1], widths[1]), strict=True)
    ]
    constants = [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "encoder", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    (folder / GRAPH).write_bytes(model.SerializeToString(deterministic=True))
