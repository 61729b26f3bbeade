"""Small networks with random weights, in folders as people have them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from aepipe.sources.backbone import BackboneSource

Opened = TypeVar("Opened", bound=BackboneSource)

PATCH, WIDTH = 4, 6
"""Pixels of a side of a patch, and features of a token."""
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "cat", "dog", "sat", "query", "passage", ":"]
TABLE = np.random.default_rng(0).normal(size=(len(WORDS), WIDTH)).astype(np.float32)
KERNEL = np.random.default_rng(1).normal(size=(WIDTH, 3, PATCH, PATCH)).astype(np.float32)
FIRST = np.random.default_rng(2).normal(size=(1, 1, WIDTH)).astype(np.float32)
POOLER = np.random.default_rng(3).normal(size=(WIDTH, WIDTH)).astype(np.float32)
HEARD = np.random.default_rng(4).normal(size=(WIDTH, 1, 8)).astype(np.float32)


def attached(found: Opened, folder: Path) -> Opened:
    """Attach the network of a source from a folder as a store has it."""
    assert found.backbone is not None
    folder.mkdir()
    for name, data in found.backbone.contents().items():
        (folder / name).write_bytes(data)
    found.attach(folder, "backbone/x")
    return found


def write(folder: Path, **files: Any) -> Path:
    """Write settings as JSON: ``config={...}`` becomes ``config.json``, ``pooling`` that of ``1_Pooling``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, held in files.items():
        file = folder / ("1_Pooling/config.json" if name == "pooling" else f"{name}.json")
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(held))
    return folder


def save(
    file: Path,
    nodes: Sequence[Any],
    inputs: Mapping[str, tuple[int, Sequence[Any]]],
    outputs: Sequence[str],
    held: Mapping[str, NDArray[Any]],
    *,
    half: bool = False,
) -> Path:
    """Write a graph; with ``half`` all of its floats are of 16 bits."""
    real = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    kept = {
        name: value.astype(np.float16) if half and value.dtype == np.float32 else value for name, value in held.items()
    }
    graph = helper.make_graph(
        list(nodes),
        "g",
        [
            helper.make_tensor_value_info(name, real if kind == TensorProto.FLOAT else kind, shape)
            for name, (kind, shape) in inputs.items()
        ],
        [helper.make_tensor_value_info(name, real, None) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in kept.items()],
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), file)
    return file


def vision(file: Path, *outputs: str, tokens: bool = True, half: bool = False, batch: int | str = "batch") -> Path:
    """Write a network for pictures: patches, and their first token, pooler and embedding.

    Args:
        file: of the graph.
        outputs: of ``image_embeds``, ``pooler_output``, ``last_hidden_state`` and ``logits``.
        tokens: ``last_hidden_state`` has tokens with a first one of its own; else it has maps.
        half: floats of 16 bits.
        batch: pictures that it takes at a time.
    """
    maps = helper.make_node("Conv", ["pixel_values", "kernel"], ["maps"], strides=[PATCH, PATCH])
    flat = helper.make_node("Reshape", ["maps", "flat"], ["rows"])
    patches = helper.make_node("Transpose", ["rows"], ["patches"], perm=[0, 2, 1])
    made = {
        "last_hidden_state": [helper.make_node("Concat", ["first", "patches"], ["last_hidden_state"], axis=1)],
        "pooler_output": [
            helper.make_node("ReduceMean", ["patches"], ["mean"], axes=[1], keepdims=0),
            helper.make_node("Tanh", ["mean"], ["pooler_output"]),
        ],
        "image_embeds": [
            helper.make_node("ReduceMax", ["patches"], ["most"], axes=[1], keepdims=0),
            helper.make_node("MatMul", ["most", "pooler"], ["image_embeds"]),
        ],
        "logits": [helper.make_node("ReduceMin", ["patches"], ["logits"], axes=[1], keepdims=0)],
    }
    if not tokens:
        made["last_hidden_state"] = [helper.make_node("Identity", ["maps"], ["last_hidden_state"])]
    nodes = [maps, flat, patches, *(node for name in outputs for node in made[name])]
    held = {"kernel": KERNEL, "flat": np.array([1, WIDTH, -1]), "first": FIRST, "pooler": POOLER}
    inputs = {"pixel_values": (TensorProto.FLOAT, [batch, 3, "height", "width"])}
    return save(file, nodes, inputs, outputs, held, half=half)


def seen(prepared: NDArray[np.float64], output: str, pooling: str = "cls") -> NDArray[np.float64]:
    """Return what :func:`vision` gives for float[3, H, W], of unit length."""
    height, width = (side // PATCH for side in prepared.shape[1:])
    cut = prepared[:, : height * PATCH, : width * PATCH].reshape(3, height, PATCH, width, PATCH)
    patches = np.einsum("chpwq,fcpq->hwf", cut, KERNEL.astype(np.float64)).reshape(-1, WIDTH)
    tokens = np.concatenate([FIRST[0].astype(np.float64), patches])
    found = {
        "image_embeds": lambda: patches.max(axis=0) @ POOLER,
        "pooler_output": lambda: np.tanh(patches.mean(axis=0)),
        "last_hidden_state": lambda: {"cls": tokens[0], "mean": tokens.mean(axis=0), "max": tokens.max(axis=0)}[
            pooling
        ],
        "maps": lambda: patches.mean(axis=0),
        "logits": lambda: patches.min(axis=0),
    }[output]()
    return unit(found)


def text(file: Path, *outputs: str, length: int | str = "tokens", masked: bool = True, half: bool = False) -> Path:
    """Write a network for text: a table of tokens, in which each has its place added.

    Args:
        file: of the graph; its tokenizer is written into the folder, or the one above ``onnx``.
        outputs: of ``last_hidden_state``, ``pooler_output``, ``sentence_embedding`` and ``text_embeds``.
        length: of its texts, where it is fixed.
        masked: whether it takes an attention mask, by which it multiplies the tokens.
        half: floats of 16 bits.
    """
    made = {
        "last_hidden_state": [helper.make_node("Identity", ["x"], ["last_hidden_state"])],
        "pooler_output": [helper.make_node("Gather", ["x", "zero"], ["pooler_output"], axis=1)],
        "sentence_embedding": [helper.make_node("ReduceMax", ["x"], ["sentence_embedding"], axes=[1], keepdims=0)],
        "text_embeds": [helper.make_node("ReduceMin", ["x"], ["text_embeds"], axes=[1], keepdims=0)],
    }
    nodes = [helper.make_node("Gather", ["table", "input_ids"], ["found"])]
    inputs = {"input_ids": (TensorProto.INT64, ["batch", length])}
    if masked:
        inputs["attention_mask"] = (TensorProto.INT64, ["batch", length])
        nodes += [
            helper.make_node("CastLike", ["attention_mask", "table"], ["own"]),
            helper.make_node("Unsqueeze", ["own", "last"], ["each"]),
            helper.make_node("Mul", ["found", "each"], ["x"]),
        ]
    else:
        nodes.append(helper.make_node("Identity", ["found"], ["x"]))
    nodes += [node for name in outputs for node in made[name]]
    save(file, nodes, inputs, outputs, {"table": TABLE, "zero": np.array(0), "last": np.array([2])}, half=half)
    write_tokenizer(file.parent.parent if file.parent.name == "onnx" else file.parent)
    return file


def write_tokenizer(folder: Path) -> None:
    """Write a tokenizer of few words, which puts [CLS] and [SEP] around a text, and asks for padding."""
    import tokenizers

    places = {word: place for place, word in enumerate(WORDS)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(places, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.enable_padding(length=9, pad_id=0, pad_token="[PAD]")
    tokenizer.save(str(folder / "tokenizer.json"))


def tokens(*words: str) -> NDArray[np.float64]:
    """Return the rows of the table for words, [CLS] and [SEP] around them."""
    return TABLE[[WORDS.index(word) for word in ("[CLS]", *words, "[SEP]")]].astype(np.float64)


def sound(file: Path, *outputs: str, length: int | str = "samples", masked: bool = False) -> Path:
    """Write a network for raw sound: one convolution over time, and its mean."""
    nodes = [
        helper.make_node("Unsqueeze", ["input_values", "one"], ["channel"]),
        helper.make_node("Conv", ["channel", "heard"], ["steps"], strides=[8]),
        helper.make_node("Relu", ["steps"], ["loud"]),
        helper.make_node("Transpose", ["loud"], ["last_hidden_state"], perm=[0, 2, 1]),
        helper.make_node("ReduceMax", ["last_hidden_state"], ["embeddings"], axes=[1], keepdims=0),
    ]
    inputs: dict[str, tuple[int, Sequence[Any]]] = {"input_values": (TensorProto.FLOAT, ["batch", length])}
    if masked:
        inputs["attention_mask"] = (TensorProto.INT64, ["batch", length])
    return save(file, nodes, inputs, outputs, {"heard": HEARD, "one": np.array([1])})


def spectral(file: Path, name: str, shape: Sequence[Any], *outputs: str, longer: bool = False) -> Path:
    """Write a network for spectrograms, whose last axis has the features: means over the others, and the last axis.

    Args:
        file: of the graph.
        name: of its input.
        shape: of that, after the first axis.
        outputs: of ``audio_embeds`` and ``last_hidden_state``, [1, T, F].
        longer: whether it takes ``is_longer``, and adds it.
    """
    more = [helper.make_node("CastLike", ["is_longer", name], ["more"])]
    added = helper.make_node("Add" if longer else "Identity", [name, "more"] if longer else [name], ["x"])
    axes = list(range(1, len(shape)))
    made = {
        "audio_embeds": [helper.make_node("ReduceMean", ["x"], ["audio_embeds"], axes=axes, keepdims=0)],
        "last_hidden_state": [helper.make_node("Transpose", ["x"], ["last_hidden_state"], perm=[0, 2, 1])],
    }
    nodes = [*(more if longer else []), added, *(node for one in outputs for node in made[one])]
    inputs: dict[str, tuple[int, Sequence[Any]]] = {name: (TensorProto.FLOAT, ["batch", *shape])}
    if longer:
        inputs["is_longer"] = (TensorProto.BOOL, ["batch", 1])
    return save(file, nodes, inputs, outputs, {})


def heard(samples: NDArray[np.float64], output: str = "last_hidden_state") -> NDArray[np.float64]:
    """Return what :func:`sound` gives for samples, of unit length."""
    steps = samples[: len(samples) // 8 * 8].reshape(-1, 8) @ HEARD[:, 0].T.astype(np.float64)
    loud = np.maximum(steps, 0)
    return unit(loud.mean(axis=0) if output == "last_hidden_state" else loud.max(axis=0))


def unit(found: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a vector with length 1."""
    return np.asarray(found / np.linalg.norm(found))
