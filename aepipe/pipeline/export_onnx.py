"""Export a release's encoder as one ONNX file, for programs without aepipe.

Outputs: ``embedding``, ``logits`` and ``bits``, as in :class:`aepipe.codes.encoder.Encoding`. Where a network for
pictures lies below the stack, it is part of the graph, and the input ``items`` is one decoded picture,
uint8[1, H, W, 3]; otherwise it is the fixed batch of rows that the encoder takes. The file's metadata says under
``aepipe`` how an item is decoded, and names the release.

Legend: H, W sides of a picture, F features, B rows in a batch of the stack.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, compose, helper, numpy_helper, version_converter

from aepipe.codes.encoder import GRAPH, Encoder, session
from aepipe.errors import CorruptError, QueryError
from aepipe.release.originals import check_output
from aepipe.release.release import Release
from aepipe.sources import backbone
from aepipe.sources.networks.pictures import Backbone
from aepipe.store.artifacts import Ref, Store

KEY = "aepipe"
OUTPUTS = {"embedding": TensorProto.FLOAT, "logits": TensorProto.FLOAT, "bits": TensorProto.UINT8}
LAST = 4
"""Number of the topmost part of a graph; its outputs keep their names."""


def export_graph(store: Store, release: Ref, file: Path) -> tuple[int, ...]:
    """Write the encoder of a release as one graph, and return the shape of its input.

    The graph is tried first: its bits must be those that a query gets.

    Raises:
        QueryError: the file cannot be written.
        TargetError: it is one of the collection.
        CorruptError: an artifact is damaged, or the graphs cannot be joined.
    """
    opened = Release.open(store, ref=release)
    check_output(file, release=opened)
    folder = store.verified(opened.part("encoder"))
    card, model = opened.encoder.card, onnx.load(folder / GRAPH)
    if card.features.get("backbone") and "size" in card.features:
        model = _with_network(folder / backbone.GRAPH, model, card.features)
        _check(model, folder, opened.encoder)
    metadata: dict[str, Any] = {"name": opened.name, "release": release.digest, "fingerprint": opened.fingerprint}
    metadata |= {"source": card.source, "features": card.features, "bit_order": card.bit_order}
    helper.set_model_props(model, {KEY: json.dumps(metadata, sort_keys=True)})
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(model.SerializeToString(deterministic=True))
    except OSError as error:
        raise QueryError(f"{file}: cannot be written: {error.strerror}") from None
    return _shape(model)


def _with_network(network: Path, stack: ModelProto, features: dict[str, Any]) -> ModelProto:
    """Join a network for pictures and the stack above it to one graph.

    Raises:
        CorruptError: they cannot be joined, for example because the network's version of ONNX cannot be converted.
    """
    (opset,) = (one.version for one in stack.opset_import if one.domain == "")
    below = onnx.load(network)
    given, taken = below.graph.input[0].name, below.graph.input[0].type.tensor_type.elem_type
    seen = {given: np.zeros((1, 3, *features["size"]), helper.tensor_dtype_to_np_dtype(taken))}
    (found,) = session(network.read_bytes()).run(None, seen)
    try:
        parts = [
            _prepared(features["size"], features["backbone"], taken),
            version_converter.convert_version(below, opset),
            _unit(_shape(stack), found, features["backbone"].get("pooling", "mean")),
            stack,
            _first(stack),
        ]
        sets = [*stack.opset_import, *(one for one in below.opset_import if one.domain)]
        model = reduce(_above, [_part(n, part, stack.ir_version, sets) for n, part in enumerate(parts)])
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # the errors of onnx have no common base
        raise CorruptError(f"{network}: cannot be put below the stack: {str(error).splitlines()[0]}") from None
    return model


def _part(number: int, part: ModelProto, version: int, sets: Sequence[Any]) -> ModelProto:
    # Every part gets names of its own; only the first input and the last outputs keep theirs.
    whole = helper.make_model(part.graph, opset_imports=sets, ir_version=version, functions=part.functions)
    return compose.add_prefix(whole, f"{number}/", rename_inputs=number > 0, rename_outputs=number < LAST)


def _above(below: ModelProto, above: ModelProto) -> ModelProto:
    # The first outputs of the lower graph are the inputs of the upper one, in their order.
    ends, starts = ([one.name for one in ones] for ones in (below.graph.output, above.graph.input))
    outputs = [one.name for one in above.graph.output]
    return compose.merge_models(below, above, io_map=list(zip(ends, starts, strict=False)), outputs=outputs)


def _prepared(size: Sequence[int], seen_by: dict[str, Any], taken: int) -> ModelProto:
    """Return the graph from a picture, uint8[1, H, W, 3], to a network's input, [1, 3, H, W].

    Args:
        size: H, W.
        seen_by: mean, scale and channels of the network.
        taken: the type of numbers that it takes.
    """
    mean, scale = (np.array(seen_by[name], np.float32).reshape(1, -1, 1, 1) for name in ("mean", "scale"))
    order = np.array([2, 1, 0] if seen_by.get("channels") == "bgr" else [0, 1, 2])
    nodes = [
        helper.make_node("Cast", ["items"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["real"], ["colours"], perm=[0, 3, 1, 2]),
        helper.make_node("Gather", ["colours", "order"], ["channels"], axis=1),
        helper.make_node("Sub", ["channels", "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "scale"], ["scaled"]),
        helper.make_node("Cast", ["scaled"], ["prepared"], to=taken),
    ]
    items = helper.make_tensor_value_info("items", TensorProto.UINT8, [1, *size, 3])
    found = helper.make_tensor_value_info("prepared", taken, [1, 3, *size])
    return _model(nodes, [items], [found], mean=mean, scale=scale, order=order)


def _unit(rows: Sequence[int], found: NDArray[Any], pooling: str) -> ModelProto:
    """Return the graph from a picture's features to a batch of unit vectors, [B, F].

    The first row is computed as :class:`aepipe.sources.networks.pictures.Backbone` does; the others are zeros.

    Args:
        rows: B and F.
        found: what the network gives for one picture.
        pooling: how tokens or maps become one vector.
    """
    nodes = [
        helper.make_node("Cast", ["seen"], ["real"], to=TensorProto.DOUBLE),
        *_pooled(found.ndim, pooling),
        helper.make_node("ReduceSumSquare", ["features", "all"], ["square"]),
        helper.make_node("Sqrt", ["square"], ["length"]),
        helper.make_node("Max", ["length", "least"], ["positive"]),
        helper.make_node("Div", ["features", "positive"], ["unit"]),
        helper.make_node("Cast", ["unit"], ["short"], to=TensorProto.FLOAT16),
        helper.make_node("Cast", ["short"], ["row"], to=TensorProto.FLOAT),
        helper.make_node("Pad", ["row", "below"], ["rows"]),
    ]
    seen = helper.make_tensor_value_info("seen", helper.np_dtype_to_tensor_dtype(found.dtype), found.shape)
    made = helper.make_tensor_value_info("rows", TensorProto.FLOAT, rows)
    tokens = found.shape[1]
    constants: dict[str, Any] = {"sides": np.array([1] if found.ndim == 3 else [2, 3]), "least": np.float64(1e-12)}
    constants |= {"all": np.array([1]), "below": np.array([0, 0, rows[0] - 1, 0])}
    constants |= {"at": np.array(0 if pooling == "cls" else tokens - 1)}
    constants |= {"shares": (np.arange(1, tokens + 1, dtype=np.float64) * 2 / (tokens * (tokens + 1)))[None, :, None]}
    return _model(nodes, [seen], [made], **constants)


def _pooled(ndim: int, pooling: str) -> list[Any]:
    """Return the nodes that make one vector of tokens or maps, as :func:`aepipe.sources.networks.graph.pooled` does."""
    if ndim == 2:
        return [helper.make_node("Identity", ["real"], ["features"])]
    if pooling == "max":
        return [helper.make_node("ReduceMax", ["real", "sides"], ["features"], keepdims=0)]
    if ndim == 3 and pooling in {"cls", "last"}:
        return [helper.make_node("Gather", ["real", "at"], ["features"], axis=1)]
    if ndim == 3 and pooling == "weighted":
        weighted = helper.make_node("Mul", ["real", "shares"], ["weighted"])
        return [weighted, helper.make_node("ReduceSum", ["weighted", "sides"], ["features"], keepdims=0)]
    return [helper.make_node("ReduceMean", ["real", "sides"], ["features"], keepdims=0)]


def _first(stack: ModelProto) -> ModelProto:
    """Return the graph that keeps only the first row of each output."""
    names = [one.name for one in stack.graph.output]
    assert set(names) == set(OUTPUTS), names
    nodes = [helper.make_node("Slice", [f"all_{name}", "start", "end"], [name]) for name in names]
    shapes = {one.name: [dim.dim_value for dim in one.type.tensor_type.shape.dim] for one in stack.graph.output}
    given = [helper.make_tensor_value_info(f"all_{name}", OUTPUTS[name], shapes[name]) for name in names]
    found = [helper.make_tensor_value_info(name, OUTPUTS[name], [1, *shapes[name][1:]]) for name in names]
    return _model(nodes, given, found, start=np.array([0]), end=np.array([1]))


def _model(nodes: list[Any], inputs: list[Any], outputs: list[Any], **constants: Any) -> ModelProto:  # noqa: ANN401
    kept = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    return helper.make_model(helper.make_graph(nodes, "part", inputs, outputs, kept))


def _shape(model: ModelProto) -> tuple[int, ...]:
    return tuple(one.dim_value for one in model.graph.input[0].type.tensor_type.shape.dim)


def _check(model: ModelProto, folder: Path, encoder: Encoder) -> None:
    """Check on random pictures that the joined graph gives the bits of its two parts.

    Raises:
        CorruptError: it gives other bits.
    """
    features = encoder.card.features
    seen_by, shape = features["backbone"], (2, *features["size"], 3)
    see = Backbone.of(folder, backbone.GRAPH, seen_by)
    whole = session(model.SerializeToString())
    for picture in np.random.default_rng(0).integers(0, 256, shape, np.uint8):
        bits = whole.run(["bits"], {"items": picture[None]})[0]
        if (bits != encoder.encode(see(picture)[None]).codes.unpack()).any():
            raise CorruptError(f"{folder}: as one graph, the encoder gives other bits; nothing was written")
