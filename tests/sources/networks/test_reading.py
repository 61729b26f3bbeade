"""Folders of networks for text: pooling, prompts, lengths and outputs are those that the files say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("tokenizers", reason="needs the extra text")

from aepipe import recipe as recipes
from aepipe.errors import CorruptError, RecipeError, SourceError
from aepipe.release.query import _decoded
from aepipe.release.search import Question
from aepipe.sources import decoder
from aepipe.sources.item import asking
from aepipe.sources.networks import reading
from aepipe.sources.networks.folder import Folder
from aepipe.sources.networks.texts import SentenceEncoder
from aepipe.sources.text.source import Features, Options, Text
from tests.support.networks import TABLE, attached, text, tokens, unit, write

MODULES = [
    {"type": "sentence_transformers.models.Transformer", "path": ""},
    {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"},
    {"type": "sentence_transformers.models.Normalize", "path": "2_Normalize"},
]
POOLINGS: dict[str, Any] = {
    "cls_token": lambda x: x[0],
    "mean_tokens": lambda x: x.mean(axis=0),
    "max_tokens": lambda x: x.max(axis=0),
    "mean_sqrt_len_tokens": lambda x: x.mean(axis=0),
    "weightedmean_tokens": lambda x: (x * np.arange(1, len(x) + 1)[:, None]).sum(axis=0),
    "lasttoken": lambda x: x[-1],
}


def source(folder: Path, backbone: Path | str, **features: object) -> Text:
    (folder / "docs").mkdir(exist_ok=True)
    for number, document in enumerate(["the cat sat", "the dog", "cat dog cat"]):
        (folder / "docs" / f"{number}.txt").write_text(document)
    chosen = recipes.options(Features, {"backbone": str(backbone), **features}, "features")
    return Text(Options(path="docs"), chosen, base=folder, name="t")


def row(found: Text, words: str) -> NDArray[np.float64]:
    return found.row(words.encode(), "k").astype(np.float64)


@pytest.mark.parametrize("mode", POOLINGS)
@pytest.mark.parametrize("new", [False, True], ids=["flags", "name"])
def test_tokens_are_pooled_as_the_folder_says(tmp_path: Path, mode: str, new: bool) -> None:
    net = tmp_path / "net"
    text(net / "onnx" / "model.onnx", "last_hidden_state", "pooler_output")
    flags: dict[str, Any] = {f"pooling_mode_{one}": one == mode for one in POOLINGS}
    if new:
        flags = {"pooling_mode": {"cls_token": "cls", "mean_tokens": "mean", "max_tokens": "max"}.get(mode, mode)}
    write(net, modules=MODULES, pooling={"word_embedding_dimension": 6, **flags})
    found = attached(source(tmp_path, net), tmp_path / "store")
    np.testing.assert_allclose(row(found, "the cat"), unit(POOLINGS[mode](tokens("the", "cat"))), atol=1e-3)


def test_an_output_for_the_sentence_comes_first(tmp_path: Path) -> None:
    net = tmp_path / "net"
    text(net / "model.onnx", "last_hidden_state", "sentence_embedding")
    dense = [*MODULES, {"type": "sentence_transformers.models.Dense", "path": "3_Dense"}]
    write(net, modules=dense, pooling={"pooling_mode_cls_token": True}, sentence_bert_config={"do_lower_case": True})
    found = attached(source(tmp_path, net), tmp_path / "store")
    np.testing.assert_allclose(row(found, "The CAT"), unit(tokens("the", "cat").max(axis=0)), atol=1e-3)
    with pytest.raises(SourceError, match=r"3_Dense of modules\.json is not in the graph, .*sentence_transformers"):
        source(tmp_path, net, pooling="cls")
    text(net / "model.onnx", "last_hidden_state")
    with pytest.raises(SourceError, match=r"3_Dense of modules\.json is not in the graph"):
        source(tmp_path, net)


def test_questions_have_their_own_prompt_and_documents_theirs(tmp_path: Path) -> None:
    net = tmp_path / "net"
    text(net / "model.onnx", "last_hidden_state")
    prompts = {"prompts": {"query": "query : ", "document": "passage : "}}
    write(net, modules=MODULES, pooling={"pooling_mode_mean_tokens": True}, config_sentence_transformers=prompts)
    found = attached(source(tmp_path, net), tmp_path / "store")
    read = decoder("text", found.features(), tmp_path / "store")
    passage, query = (unit(tokens(sort, ":", "the", "cat").mean(axis=0)) for sort in ("passage", "query"))
    np.testing.assert_allclose(row(found, "the cat"), passage, atol=1e-3)
    np.testing.assert_array_equal(read(b"the cat", "q"), found.row(b"the cat", "k"))
    np.testing.assert_allclose(asking(read)(b"the cat", "q").astype(np.float64), query, atol=1e-3)
    words, file = Question("the cat", data=b"the cat"), Question("letter.txt", data=b"the cat")
    np.testing.assert_array_equal(_decoded(words, read), asking(read)(b"the cat", "q"))
    np.testing.assert_array_equal(_decoded(file, read), found.row(b"the cat", "k"))
    assert "prompts: query 'query : ', passage 'passage : '" in found.network_said[1]
    own = attached(source(tmp_path, net, prompts={"query": "dog"}), tmp_path / "own")
    np.testing.assert_allclose(row(own, "the cat"), unit(tokens("the", "cat").mean(axis=0)), atol=1e-3)


@pytest.mark.parametrize(
    ("prompts", "expected"),
    [
        ({"prompts": {"s": "cat "}, "default_prompt_name": "s"}, {"query": "cat ", "passage": "cat "}),
        ({"prompts": {"query": "cat ", "passage": ""}}, {"query": "cat ", "passage": ""}),
        ({"prompts": {"clustering": "cat "}}, {}),
        ({"__version__": {}}, {}),
    ],
)
def test_prompts_have_several_names(tmp_path: Path, prompts: dict[str, Any], expected: dict[str, str]) -> None:
    net = tmp_path / "net"
    text(net / "model.onnx", "last_hidden_state")
    write(net, config_sentence_transformers=prompts)
    assert reading.read(Folder.at(net, "text"), {})[0].prompts == expected


def test_a_network_with_the_name_of_e5_and_no_prompts_is_told_of_them(tmp_path: Path) -> None:
    for name, told in (("multilingual-e5-small", True), ("mobile5", False)):
        net = tmp_path / name
        text(net / "model.onnx", "last_hidden_state")
        said = reading.read(Folder.at(net, "text"), {})[1]
        assert any("prompts = { query" in line for line in said) == told
        assert "this is a guess" in said[0]


def test_a_text_tower_gives_its_embedding(tmp_path: Path) -> None:
    net = tmp_path / "clip"
    text(net / "onnx" / "text_model.onnx", "last_hidden_state", "text_embeds", length=7, masked=False)
    text(net / "onnx" / "model.onnx", "last_hidden_state")
    write(net, config={"model_type": "clip", "text_config": {"max_position_embeddings": 7}})
    folder = Folder.at(net, "text")
    how, said = reading.read(folder, {})
    assert (how.output, how.length, how.longest, how.unmasked) == ("text_embeds", 7, 7, False)
    assert said[0] == "clip: onnx/text_model.onnx, output text_embeds (not last_hidden_state)"
    found = SentenceEncoder(folder.graph.parent, folder.graph.name, how, net / "tokenizer.json")
    filled = np.concatenate([tokens("the", "cat"), TABLE[[0, 0, 0]]])
    np.testing.assert_allclose(found("the cat").astype(np.float64), unit(filled.min(axis=0)), atol=1e-3)
    np.testing.assert_array_equal(found("the " * 90), found("the " * 5))


def test_a_network_that_was_trained_on_filled_texts_sees_what_fills_them(tmp_path: Path) -> None:
    net = tmp_path / "siglip"
    text(net / "model.onnx", "last_hidden_state", "text_embeds")
    write(net, config={"model_type": "siglip"}, tokenizer_config={"pad_token": {"content": "[PAD]"}})
    found = attached(source(tmp_path, net), tmp_path / "store")
    reader = found.features()["backbone"]
    assert (reader["length"], reader["longest"], reader["filler"], reader["unmasked"]) == (64, 64, 0, True)
    filled = np.concatenate([tokens("cat"), np.repeat(TABLE[:1], 61, axis=0)])
    np.testing.assert_allclose(row(found, "cat"), unit(filled.min(axis=0)), atol=1e-3)
    for sort, output in (("siglip_text_model", "pooler_output"), ("bert", "last_hidden_state")):
        text(net / "model.onnx", "last_hidden_state", "pooler_output")
        write(net, config={"model_type": sort})
        assert reading.read(Folder.at(net, "text"), {})[0].output == output


def test_how_much_is_read_is_said(tmp_path: Path) -> None:
    net = tmp_path / "net"
    text(net / "model.onnx", "last_hidden_state")
    for files, longest, said in (
        ({"config": {"model_type": "bert", "max_position_embeddings": 5}}, 5, "5 tokens, no prompts"),
        ({"config": {"model_type": "xlm-roberta", "max_position_embeddings": 514}}, 512, "512 tokens, no prompts"),
        ({"config": {"max_position_embeddings": 8194}}, 512, "512 tokens of the 8,194 that it could read"),
        ({"sentence_bert_config": {"max_seq_length": 4}}, 4, "4 tokens"),
        ({"tokenizer_config": {"model_max_length": 3}}, 3, "3 tokens"),
    ):
        write(net, **files)
        how, told = reading.read(Folder.at(net, "text"), {})
        assert how.longest == longest
        assert said in told[1]
    found = attached(source(tmp_path, net), tmp_path / "store")
    np.testing.assert_array_equal(row(found, "cat dog dog"), row(found, "cat"))
    assert reading.read(Folder.at(net, "text"), {"longest": 99})[0].longest == 99


def test_a_folder_that_is_not_usable_says_in_one_line_what_is_missing(tmp_path: Path) -> None:
    net = tmp_path / "net"
    text(net / "model.onnx", "last_hidden_state")
    write(net, modules=MODULES, pooling={"pooling_mode_cls_token": True, "pooling_mode_max_tokens": True})
    with pytest.raises(
        SourceError, match=r"1_Pooling/config\.json: pools by cls_token and max_tokens; allowed: one of"
    ):
        source(tmp_path, net)
    assert source(tmp_path, net, pooling="mean").backbone is not None
    (net / "tokenizer.json").unlink()
    with pytest.raises(SourceError, match=r"no tokenizer\.json in it; `AutoTokenizer"):
        source(tmp_path, net)
    text(net / "model.onnx", "last_hidden_state", length=7)
    (net / "tokenizer.json").write_text((net / "tokenizer.json").read_text().replace('"pad_id": 0', '"pad_id": null'))
    with pytest.raises((SourceError, CorruptError), match=r"no file names the token that fills|no sentence encoder"):
        source(tmp_path, net, pooling="mean")
    with pytest.raises(RecipeError, match="longest is an option of a backbone"):
        recipes.options(Features, {"longest": 9}, "features")
    with pytest.raises(RecipeError, match=r"prompts under .features. is for networks of your own"):
        source(tmp_path, "all-minilm-l6-v2", prompts={"query": "x"})


def test_nothing_read_makes_the_features_of_a_recipe_what_they_were(tmp_path: Path) -> None:
    file = text(tmp_path / "net" / "own.onnx", "last_hidden_state")
    found = attached(source(tmp_path, file), tmp_path / "store")
    sha256 = found.features()["backbone"]["sha256"]
    network = {"ref": "backbone/x", "sha256": sha256}
    assert found.features() == {"kind": "text", "decoder": 1, "mail": False, "backbone": network}
    first = attached(source(tmp_path, file, pooling="cls"), tmp_path / "first")
    np.testing.assert_allclose(row(first, "the cat"), unit(TABLE[2].astype(np.float64)), atol=1e-3)
