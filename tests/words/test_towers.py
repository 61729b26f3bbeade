"""Text towers: files that exports have, their features, and the gap to pictures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

tokenizers = pytest.importorskip("tokenizers", reason="needs the extra text")

from aepipe import words
from aepipe.errors import CorruptError, SourceError
from aepipe.sources.images.networks import named
from aepipe.sources.networks.graph import whole_graph
from aepipe.sources.networks.texts import SentenceEncoder
from aepipe.store import layout
from aepipe.store.artifacts import Store
from aepipe.words.kinds import towers
from tests.support.towers import COLOURS, GAP, MAP, WIDTH, write_towers


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_towers(tmp_path / "towers")


def tower_at(place: Path, width: int = WIDTH) -> SentenceEncoder:
    """Return the tower that a recipe names, from the files that a store has of it."""
    found = towers.resolve(str(place), base=Path(), width=width)
    folder = place if place.is_dir() else place.parent
    (folder / "kept.onnx").write_bytes(whole_graph(found.graph, found.reading.output))
    return SentenceEncoder(folder, "kept.onnx", found.reading, found.tokenizer)


def test_features_are_the_output_for_the_tokens_without_padding(folder: Path) -> None:
    red = (np.array(COLOURS["red"]) - 127) / 128
    expected = 0.3 * red @ MAP[:3] + MAP[3] + GAP
    for place in (folder, folder / "onnx" / "text_model.onnx"):
        np.testing.assert_allclose(tower_at(place)("red"), expected / np.linalg.norm(expected), atol=1e-3)


def test_a_tower_of_one_length_or_a_padding_model_gets_it(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": "siglip"}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 4}))
    red, other = (tower_at(folder)(text) for text in ("red", "red the the the"))
    np.testing.assert_allclose(red, other)
    np.testing.assert_allclose(tower_at(folder)("red red red red blue"), tower_at(folder)("red red red red"))


def test_one_file_with_both_halves_is_enough_for_both(folder: Path) -> None:
    """As ``optimum-cli export onnx`` writes a model of two towers."""
    halves = [onnx.load(folder / "onnx" / f"{name}_model.onnx").graph for name in ("vision", "text")]
    graph = helper.make_graph(
        [node for half in halves for node in half.node],
        "both",
        [one for half in halves for one in half.input],
        [one for half in halves for one in half.output],
        [one for half in halves for one in half.initializer],
    )
    both = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.save(both, folder / "onnx" / "model.onnx")
    texts = tower_at(folder)("red")
    prepared = {"size": (8, 8), "mean": (127.0,), "scale": (128.0,)}
    network = named(str(folder), prepared, Path())
    for name in ("vision", "text"):
        (folder / "onnx" / f"{name}_model.onnx").unlink()
    np.testing.assert_array_equal(tower_at(folder)("red"), texts)
    whole = named(str(folder), prepared, Path())
    assert (whole.spec.width, whole.spec.output) == (network.spec.width, "image_embeds")


def test_a_whole_model_gives_its_text_half(folder: Path) -> None:
    whole = helper.make_graph(
        [
            helper.make_node("Gather", ["table", "input_ids"], ["each"]),
            helper.make_node("ReduceMean", ["each"], ["text_embeds"], axes=[1], keepdims=0),
            helper.make_node("GlobalAveragePool", ["pixel_values"], ["image_embeds"]),
        ],
        "whole",
        [
            helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["n", "tokens"]),
            helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["n", 3, 8, 8]),
        ],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("image_embeds", "text_embeds")],
        [helper.make_tensor("table", TensorProto.FLOAT, (12, 2), np.arange(24, dtype=np.float32).tolist())],
    )
    (folder / "onnx" / "text_model.onnx").unlink()
    file = folder / "onnx" / "model.onnx"
    onnx.save(helper.make_model(whole, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), file)
    black = np.array([8.0, 9.0])
    np.testing.assert_allclose(tower_at(folder, 2)("black"), black / np.linalg.norm(black), atol=1e-3)


def test_the_pooled_output_is_taken_where_it_is_the_shared_one(folder: Path) -> None:
    """As in the text half of SigLIP, whose first output has a vector for each token."""
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["last_hidden_state"]),
        helper.make_node("Gather", ["last_hidden_state", "last"], ["pooler_output"], axis=1),
    ]
    outputs = ["last_hidden_state", "pooler_output"]
    graph = helper.make_graph(
        nodes,
        "text",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["n", "tokens"])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [
            helper.make_tensor("table", TensorProto.FLOAT, (12, 2), np.arange(24, dtype=np.float32).tolist()),
            helper.make_tensor("last", TensorProto.INT64, (), [-1]),
        ],
    )
    file = folder / "onnx" / "text_model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), file)
    (folder / "config.json").write_text(json.dumps({"model_type": "siglip_text_model"}))
    last = np.array([0.0, 1.0])  # token 0 fills up to 64 of them, and the model looks at it
    np.testing.assert_allclose(tower_at(folder, 2)("red blue"), last, atol=1e-3)


def test_what_is_no_tower_is_refused_in_a_line(folder: Path) -> None:
    with pytest.raises(SourceError, match="no such words"):
        words.resolve("nowhere", base=folder, width=WIDTH)
    with pytest.raises(SourceError, match=rf"gives {WIDTH} features for a text, and a picture has 7"):
        words.resolve(str(folder), base=folder, width=7)
    shutil.copy(folder / "onnx" / "vision_model.onnx", folder / "other.onnx")
    with pytest.raises(CorruptError, match=r"wants \['pixel_values'\]"):
        tower_at(folder / "other.onnx")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(SourceError, match=r"no tokenizer\.json in it"):
        words.resolve(".", base=folder, width=WIDTH)
    (folder / "onnx" / "text_model.onnx").rename(folder / "lost.onnx")
    with pytest.raises(SourceError, match=r"several graphs and no model\.onnx"):
        words.resolve(".", base=folder, width=WIDTH)


@pytest.mark.parametrize(
    ("decoder", "tokens", "expected"),
    [
        (tokenizers.decoders.BPEDecoder(), ["dog</w>", "cat</w>", "do", "7</w>", "</w>"], ["cat", "dog"]),
        (tokenizers.decoders.Metaspace(), ["▁dog", "▁cat", "gs", "▁", "▁7", "狗"], ["cat", "dog", "狗"]),
        (tokenizers.decoders.WordPiece(), ["dog", "##gs", "cat", "[CLS]", "!", "x"], ["cat", "dog"]),
        (tokenizers.decoders.WordPiece(), ["!", "?"], ["!", "?"]),
    ],
)
def test_words_of_a_vocabulary_are_whole(decoder: Any, tokens: list[str], expected: list[str], tmp_path: Path) -> None:
    vocabulary = {token: place for place, token in enumerate(tokens)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token=tokens[0]))
    tokenizer.decoder = decoder
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert towers.words_of(tmp_path / "tokenizer.json") == expected
    assert len(towers.words_of(tmp_path / "tokenizer.json", most=1)) == 1


def test_the_gap_is_taken_out(colours: Store) -> None:
    (ref,) = colours.refs("words")
    opened = words.opened(colours.path(ref))
    red = opened("red")
    assert (red.known, red.far) == ((), None)
    assert red.features.dtype == np.float32
    assert np.linalg.norm(red.features) == pytest.approx(1, abs=1e-5)
    pictures = (np.array(list(COLOURS.values()), np.float32) - 127) / 128 @ MAP[:3] + MAP[3]
    pictures /= np.linalg.norm(pictures, axis=1, keepdims=True)
    for place, name in enumerate(COLOURS):
        assert np.argmax(pictures @ opened(name).features) == place
    tower = SentenceEncoder(colours.path(ref), layout.Words.GRAPH)
    raw = np.mean([tower(name) for name in COLOURS], axis=0)
    near, far = (np.linalg.norm(one - pictures.mean(axis=0)) for one in (opened.centre, raw))
    assert near < far / 10


@pytest.mark.parametrize(
    ("lies", "size", "kept"), [("apart", 3.0, (0.95, 1.0)), ("among", 3.0, (0.8, 1.0)), ("among", 0.1, (0.0, 0.3))]
)
def test_of_what_texts_have_in_common_that_is_taken_out_which_is_large(
    lies: str, size: float, kept: tuple[float, float]
) -> None:
    rng = np.random.default_rng(0)
    spread = np.r_[np.ones(12), np.full(4, 0.01)]
    pictures, texts = (rng.normal(size=(count, 16)) * spread for count in (800, 300))
    gap = np.zeros(16)
    gap[13 if lies == "apart" else 2] = size
    texts += gap - texts.mean(axis=0)
    common = towers.common_of(texts, pictures, pictures.mean(axis=0))
    least, most = kept
    assert least <= common @ gap / size**2 <= most
    np.testing.assert_allclose(towers.common_of(texts[:50], pictures, pictures.mean(axis=0)), texts[:50].mean(axis=0))


def test_damaged_words_name_their_file(colours: Store, tmp_path: Path) -> None:
    (ref,) = colours.refs("words")
    for name in (layout.Words.CARD, layout.Words.GRAPH, layout.Words.GAP):
        copy = shutil.copytree(colours.path(ref), tmp_path / name)
        (copy / name).write_bytes(b"x")
        with pytest.raises(CorruptError, match=r"aepipe verify|not a network"):
            words.opened(copy)


def test_an_unknown_name_is_told_what_is_allowed(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match='imagenett: no such words; allowed: "imagenet", or the folder or ONNX file'):
        words.resolve("imagenett", base=tmp_path, width=4)
