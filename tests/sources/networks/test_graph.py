"""Graphs of frozen networks: one tower of two, short numbers, and errors in one line."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from aepipe.errors import CorruptError
from aepipe.sources.networks import reading
from aepipe.sources.networks.folder import Folder
from aepipe.sources.networks.graph import Graph, whole_graph
from aepipe.sources.networks.pictures import Backbone
from aepipe.sources.networks.seeing import Seeing
from aepipe.sources.networks.texts import SentenceEncoder
from tests.support.networks import POOLER, save, text, vision, write, write_tokenizer

SIDE, TOKENS = 8, 7


class Tower(torch.nn.Module):
    """One layer of attention over patches or words, with a first token of its own."""

    def __init__(self, below: torch.nn.Module, width: int = 16) -> None:
        super().__init__()
        self.below = below
        self.first = torch.nn.Parameter(torch.randn(1, 1, width))
        self.mixed = torch.nn.Linear(width, 3 * width)
        self.normed = torch.nn.LayerNorm(width)
        self.out = torch.nn.Linear(width, 5, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = self.below(x)
        found = found.flatten(2).transpose(1, 2) if found.ndim == 4 else found
        tokens = torch.cat([self.first.expand(len(found), -1, -1), found], 1)
        query, key, value = self.mixed(self.normed(tokens)).chunk(3, -1)
        tokens = tokens + torch.softmax(query @ key.transpose(1, 2) / 4, -1) @ value
        found = self.out(tokens[:, 0])
        return torch.nn.functional.normalize(found, dim=-1)


class Clip(torch.nn.Module):
    """Two towers in one graph, with the inputs and outputs that Optimum gives CLIP."""

    def __init__(self) -> None:
        super().__init__()
        self.pictures = Tower(torch.nn.Conv2d(3, 16, 4, 4))
        self.words = Tower(torch.nn.Embedding(11, 16))

    def forward(self, ids: torch.Tensor, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        words, pictures = self.words(ids), self.pictures(pixels)
        logits = pictures @ words.T
        return logits, logits.T, words, pictures


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Clip]:
    """The folder of an export of both towers, and the towers."""
    pytest.importorskip("tokenizers", reason="needs the extra text")
    torch.manual_seed(0)
    towers, file = Clip().eval(), tmp_path_factory.mktemp("clip") / "model.onnx"
    given = (torch.zeros((1, TOKENS), dtype=torch.int64), torch.zeros((1, 3, SIDE, SIDE)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            towers,
            given,
            file,
            input_names=["input_ids", "pixel_values"],
            output_names=["logits_per_image", "logits_per_text", "text_embeds", "image_embeds"],
            dynamic_axes={"input_ids": {0: "texts", 1: "tokens"}, "pixel_values": {0: "pictures"}},
            opset_version=17,
            dynamo=False,
        )
    normal = {"image_mean": [0.5] * 3, "image_std": [0.25] * 3, "size": {"height": SIDE, "width": SIDE}}
    folder = write(file.parent, config={"model_type": "clip"}, preprocessor_config=normal)
    write_tokenizer(folder)
    return folder, towers


def test_each_tower_of_two_is_used_alone(clip: tuple[Path, Clip]) -> None:
    folder, towers = clip
    seeing = Seeing.read(Folder.at(folder, "vision"), {})
    see = Backbone(folder / "model.onnx", mean=seeing.mean, scale=seeing.scale, output=seeing.output)
    pixels = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    prepared = ((pixels / 255 - 0.5) / 0.25).transpose(2, 0, 1)[None].astype(np.float32)
    how, _ = reading.read(Folder.at(folder, "text"), {})
    read = SentenceEncoder(folder, "model.onnx", how)
    with torch.no_grad():
        picture = towers.pictures(torch.from_numpy(prepared))[0].numpy()
        words = towers.words(torch.tensor([[2, 5, 4, 3]]))[0].numpy()
    np.testing.assert_allclose(see(pixels), picture, atol=1e-3)
    np.testing.assert_allclose(read("cat the"), words, atol=1e-3)
    parts = [whole_graph(folder / "model.onnx", output) for output in (seeing.output, how.output)]
    whole = (folder / "model.onnx").stat().st_size
    assert sum(map(len, parts)) < 1.1 * whole
    assert [[one.name for one in onnx.load_model_from_string(part).graph.input] for part in parts] == [
        ["pixel_values"],
        ["input_ids"],
    ]


def test_what_a_loop_inside_reads_is_kept(tmp_path: Path) -> None:
    inner = helper.make_graph(
        [helper.make_node("Add", ["x", "kept"], ["then"])],
        "then",
        [],
        [helper.make_tensor_value_info("then", TensorProto.FLOAT, None)],
    )
    other = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["else"])],
        "else",
        [],
        [helper.make_tensor_value_info("else", TensorProto.FLOAT, None)],
    )
    nodes = [
        helper.make_node("If", ["yes"], ["out"], then_branch=inner, else_branch=other),
        helper.make_node("Mul", ["x", "left"], ["unwanted"]),
    ]
    held = {"kept": np.ones(3, np.float32), "left": np.ones(3, np.float32), "yes": np.array(True)}
    file = save(tmp_path / "g.onnx", nodes, {"x": (TensorProto.FLOAT, [3])}, ["unwanted", "out"], held)
    data = whole_graph(file, "out")
    assert b"left" not in data
    np.testing.assert_array_equal(Graph(data, file).run({"x": np.zeros(3)}), np.ones(3))
    with pytest.raises(CorruptError, match="no output 'x'; it has: unwanted, out"):
        whole_graph(file, "x")


def test_half_precision_and_eight_bits_give_nearly_the_same(tmp_path: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    plain = vision(tmp_path / "plain.onnx", "image_embeds")
    half = vision(tmp_path / "half.onnx", "image_embeds", half=True)
    short = tmp_path / "short.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantize_dynamic(plain, short, weight_type=QuantType.QUInt8)
    assert short.read_bytes() != plain.read_bytes()
    one, *others = (
        Backbone(file, mean=[127.0], scale=[128.0])(pixels).astype(np.float64) for file in (plain, half, short)
    )
    for other in others:
        assert one @ other > 0.99
    write_tokenizer(tmp_path)
    texts = [
        SentenceEncoder(text(tmp_path / f"{half}.onnx", "last_hidden_state", half=half).parent, f"{half}.onnx")
        for half in (False, True)
    ]
    np.testing.assert_allclose(texts[0]("the cat"), texts[1]("the cat"), atol=2e-3)


@pytest.mark.parametrize(
    ("opset", "version", "says"),
    [
        (99, 10, r"needs opset 99, and this onnxruntime knows up to \d+: export it again with a lower opset"),
        (17, 99, r"written in version 99 of ONNX's format, and this onnxruntime reads up to \d+: export it again"),
    ],
)
def test_a_graph_that_is_too_new_says_what_to_do(tmp_path: Path, opset: int, version: int, says: str) -> None:
    graph = onnx.load(vision(tmp_path / "g.onnx", "image_embeds"))
    graph.opset_import[0].version, graph.ir_version = opset, version
    (tmp_path / "g.onnx").write_bytes(graph.SerializeToString())
    with pytest.raises(CorruptError, match=says) as caught:
        Backbone(tmp_path / "g.onnx", mean=[0.0], scale=[1.0])
    assert "\n" not in str(caught.value)


def test_an_operator_of_others_is_named(tmp_path: Path) -> None:
    graph = onnx.load(vision(tmp_path / "g.onnx", "image_embeds"))
    graph.graph.node[0].domain = "my.own"
    graph.opset_import.append(helper.make_opsetid("my.own", 1))
    with pytest.raises(CorruptError, match=r"needs the operator my\.own:Conv, which onnxruntime does not have"):
        Graph(graph.SerializeToString(), tmp_path / "g.onnx")


def test_weights_beside_one_tower_are_those_of_that_tower(tmp_path: Path) -> None:
    graph = onnx.load(vision(tmp_path / "whole.onnx", "last_hidden_state", "image_embeds"))
    onnx.save(graph, tmp_path / "split.onnx", save_as_external_data=True, location="weights", size_threshold=0)
    data = whole_graph(tmp_path / "split.onnx", "image_embeds")
    (held,) = (one for one in onnx.load_model_from_string(data).graph.initializer if one.name == "pooler")
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(held), POOLER)
    (tmp_path / "weights").unlink()
    assert Graph(data, tmp_path / "x").output == "image_embeds"
