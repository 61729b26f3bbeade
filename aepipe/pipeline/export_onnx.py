"""A release's encoder -> one ONNX file, for programs that have nothing of ours: an item in, its code out.

Outputs: ``embedding``, ``logits`` and ``bits``, as :class:`aepipe.codes.encoder.Encoding` has them. Where a network looks at
pictures below the stack, it is in the graph, and the input ``items`` is one decoded picture, uint8[1, H, W, 3];
otherwise it is as many rows at a time as the encoder takes. The file's metadata say under ``aepipe`` how an item is
decoded, and which release it is of.

Legend: H, W sides of a picture, F features, B rows that the stack takes at a time.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, compose, helper, numpy_helper, version_converter

from aepipe.codes.encoder import GRAPH, Encoder, session
from aepipe.errors import CorruptError, QueryError
from aepipe.release.release import Release
from aepipe.sources import backbone
from aepipe.store.artifacts import Ref, Store

KEY = "aepipe"
OUTPUTS = {"embedding": TensorProto.FLOAT, "logits": TensorProto.FLOAT, "bits": TensorProto.UINT8}
LAST = 4
"""Number of the part that is on top of all others."""


def export_graph(store: Store, release: Ref, file: Path) -> tuple[int, ...]:
    """Write the encoder of a release as one graph, and return the shape of its input.

    What is written is tried first: its bits are those that a query gets.

    Raises:
        QueryError: nothing can be written there.
        CorruptError: something on the shelf is not what was written, or the graphs cannot be put together.
    """
    opened = Release.open(store, ref=release)
    folder = store.verified(opened.part("encoder"))
    card, model = opened.encoder.card, onnx.load(folder / GRAPH)
    if card.features.get("backbone") and "size" in card.features:
        model = _seeing(folder / backbone.GRAPH, model, card.features)
        _check(model, folder, opened.encoder)
    said: dict[str, Any] = {"name": opened.name, "release": release.digest, "fingerprint": opened.fingerprint}
    said |= {"source": card.source, "features": card.features, "bit_order": card.bit_order}
    helper.set_model_props(model, {KEY: json.dumps(said, sort_keys=True)})
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(model.SerializeToString(deterministic=True))
    except OSError as error:
        raise QueryError(f"{file}: cannot be written: {error.strerror}") from None
    return _shape(model)


def _seeing(network: Path, stack: ModelProto, features: dict[str, Any]) -> ModelProto:
    """Return one graph of a network and of the stack on what it says of a picture.

    Raises:
        CorruptError: they cannot be put together, as where the network's version of ONNX cannot be brought to ours.
    """
    (opset,) = (one.version for one in stack.opset_import if one.domain == "")
    looking = onnx.load(network)
    given = {looking.graph.input[0].name: np.zeros((1, 3, *features["size"]), np.float32)}
    maps = session(network.read_bytes()).run(None, given)[0].ndim == 4
    try:
        parts = [
            _prepared(features["size"], features["backbone"]),
            version_converter.convert_version(looking, opset),
            _unit(*_shape(stack), maps=maps),
            stack,
            _first(stack),
        ]
        sets = [*stack.opset_import, *(one for one in looking.opset_import if one.domain)]
        model = reduce(_above, [_part(n, part, stack.ir_version, sets) for n, part in enumerate(parts)])
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # the library's errors have no base in common
        raise CorruptError(f"{network}: cannot be put below the stack: {str(error).splitlines()[0]}") from None
    return model


def _part(number: int, part: ModelProto, version: int, sets: Sequence[Any]) -> ModelProto:
    """Return a part of a graph under names of its own, but for the input and the outputs that all have in the end."""
    whole = helper.make_model(part.graph, opset_imports=sets, ir_version=version, functions=part.functions)
    return compose.add_prefix(whole, f"{number}/", rename_inputs=number > 0, rename_outputs=number < LAST)


def _above(below: ModelProto, above: ModelProto) -> ModelProto:
    """Return two graphs as one: the first outputs of the one are the inputs of the other, in their order."""
    ends, starts = ([one.name for one in ones] for ones in (below.graph.output, above.graph.input))
    outputs = [one.name for one in above.graph.output]
    return compose.merge_models(below, above, io_map=list(zip(ends, starts, strict=False)), outputs=outputs)


def _prepared(size: Sequence[int], seen_by: dict[str, Any]) -> ModelProto:
    """Return what makes a network's input of a picture: uint8[1, H, W, 3] becomes float32[1, 3, H, W]."""
    mean, scale = (np.array(seen_by[name], np.float32).reshape(1, -1, 1, 1) for name in ("mean", "scale"))
    nodes = [
        helper.make_node("Cast", ["items"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["real"], ["channels"], perm=[0, 3, 1, 2]),
        helper.make_node("Sub", ["channels", "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "scale"], ["prepared"]),
    ]
    items = helper.make_tensor_value_info("items", TensorProto.UINT8, [1, *size, 3])
    found = helper.make_tensor_value_info("prepared", TensorProto.FLOAT, [1, 3, *size])
    return _model(nodes, [items], [found], mean=mean, scale=scale)


def _unit(batch: int, width: int, *, maps: bool) -> ModelProto:
    """Return what makes a batch of a picture's features: as :class:`Backbone` does, with zeros below, [B, F]."""
    means = [helper.make_node("ReduceMean", ["features", "sides"], ["mean"], keepdims=0)] if maps else []
    nodes = [
        helper.make_node("Cast", ["seen"], ["features"], to=TensorProto.DOUBLE),
        *means,
        helper.make_node("ReduceSumSquare", ["mean" if maps else "features", "all"], ["square"]),
        helper.make_node("Sqrt", ["square"], ["length"]),
        helper.make_node("Max", ["length", "least"], ["positive"]),
        helper.make_node("Div", ["mean" if maps else "features", "positive"], ["unit"]),
        helper.make_node("Cast", ["unit"], ["short"], to=TensorProto.FLOAT16),
        helper.make_node("Cast", ["short"], ["row"], to=TensorProto.FLOAT),
        helper.make_node("Pad", ["row", "below"], ["rows"]),
    ]
    seen = helper.make_tensor_value_info("seen", TensorProto.FLOAT, [1, width, None, None] if maps else [1, width])
    rows = helper.make_tensor_value_info("rows", TensorProto.FLOAT, [batch, width])
    sides = {"sides": np.array([2, 3])} if maps else {}
    below = np.array([0, 0, batch - 1, 0])
    return _model(nodes, [seen], [rows], all=np.array([1]), least=np.float64(1e-12), below=below, **sides)


def _first(stack: ModelProto) -> ModelProto:
    """Return what leaves only the first row of each output."""
    names = [one.name for one in stack.graph.output]
    assert set(names) == set(OUTPUTS), names
    nodes = [helper.make_node("Slice", [f"all_{name}", "start", "end"], [name]) for name in names]
    shapes = {one.name: [dim.dim_value for dim in one.type.tensor_type.shape.dim] for one in stack.graph.output}
    given = [helper.make_tensor_value_info(f"all_{name}", OUTPUTS[name], shapes[name]) for name in names]
    found = [helper.make_tensor_value_info(name, OUTPUTS[name], [1, *shapes[name][1:]]) for name in names]
    return _model(nodes, given, found, start=np.array([0]), end=np.array([1]))


def _model(nodes: list[Any], inputs: list[Any], outputs: list[Any], **constants: Any) -> ModelProto:  # noqa: ANN401
    """Return a small graph."""
    kept = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    return helper.make_model(helper.make_graph(nodes, "part", inputs, outputs, kept))


def _shape(model: ModelProto) -> tuple[int, ...]:
    """Return the shape of a graph's input."""
    return tuple(one.dim_value for one in model.graph.input[0].type.tensor_type.shape.dim)


def _check(model: ModelProto, folder: Path, encoder: Encoder) -> None:
    """Check on made-up pictures that one graph gives what the two give.

    Raises:
        CorruptError: it does not.
    """
    features = encoder.card.features
    seen_by, shape = features["backbone"], (2, *features["size"], 3)
    see = backbone.Backbone(folder / backbone.GRAPH, mean=seen_by["mean"], scale=seen_by["scale"])
    whole = session(model.SerializeToString())
    for picture in np.random.default_rng(0).integers(0, 256, shape, np.uint8):
        bits = whole.run(["bits"], {"items": picture[None]})[0]
        if (bits != encoder.encode(see(picture)[None]).codes.unpack()).any():
            raise CorruptError(f"{folder}: as one graph, the encoder gives other bits; nothing was written")
