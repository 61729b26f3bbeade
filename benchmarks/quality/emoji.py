"""Emoji as pictures with captions in two languages, and two small towers that are trained on them.

Pictures are those of the npm package ``emoji-datasource-google`` or ``emoji-datasource-twitter``, captions the labels
and tags of ``emojibase-data``; all are MIT, and none is fetched here. The towers are written as exports of CLIP are: a
network for pictures, one for texts, a tokenizer, and what they expect.

Legend: N pairs, F features, V tokens, T tokens of a text.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import Tensor, nn

from aepipe.learn.onnx_export import efficientnet
from aepipe.sources.networks.pictures import Backbone

SIDE, WIDTH, HIDDEN, TOKENS = 96, 256, 512, 6000
HELD_OUT = 0.2
EPOCHS, BATCH, RATE, DECAY, DROPPED = 60, 256, 1e-3, 0.05, 0.3
WARMEST = 100.0
"""The largest factor of cosines in the softmax, as of CLIP."""
_VARIANT = "FE0F"
"""A code point that only says that an emoji is drawn in colour; names of files have it or not."""


@dataclass(frozen=True, slots=True)
class Set:
    """One choice of pictures, languages and held-out names.

    Attributes:
        vendor: who drew the pictures.
        languages: of the captions.
        seed: of what is held out, and of the towers.
    """

    vendor: str
    languages: tuple[str, str]
    seed: int

    def held_out(self, count: int) -> NDArray[np.bool_]:
        """Return which emoji no tower is trained on, bool[N]."""
        return np.random.default_rng(self.seed).random(count) < HELD_OUT


SETS = {"google": Set("google", ("en", "zh"), 0), "twitter": Set("twitter", ("de", "fr"), 1)}
"""Constants were chosen on the first one, and not on the second."""


@dataclass(frozen=True, slots=True)
class Emoji:
    """One picture and its captions.

    Attributes:
        file: of the picture.
        labels: its name in each language.
        tags: words about it in each language.
    """

    file: Path
    labels: dict[str, str]
    tags: dict[str, list[str]]

    def captions(self, language: str, rng: np.random.Generator | None = None) -> str:
        """Return the name; with a generator one of its captions: name, tags, or both, in any order."""
        name, tags = self.labels[language], self.tags[language]
        if rng is None or not tags:
            return name
        some = rng.permutation(np.array(tags))[: rng.integers(1, 4)].tolist()
        words = [*([name] if rng.random() < 0.6 else []), *some]
        return " ".join(rng.permutation(np.array(words)).tolist())


def read(packages: Path, chosen: Set) -> list[Emoji]:
    """Return all emoji that have a picture and captions in both languages.

    Args:
        packages: the folder ``node_modules``.
        chosen: pictures and languages.
    """
    told: dict[str, dict[str, dict[str, Any]]] = {}
    for language in chosen.languages:
        entries = json.loads((packages / "emojibase-data" / language / "data.json").read_bytes())
        told[language] = {_bare(one["hexcode"]): one for one in entries}
    source = packages / f"emoji-datasource-{chosen.vendor}"
    found = []
    for one in json.loads((source / "emoji.json").read_bytes()):
        code, file = _bare(one["unified"]), source / "img" / chosen.vendor / "64" / one["image"]
        if file.is_file() and all(code in entries for entries in told.values()):
            entries = {language: told[language][code] for language in chosen.languages}
            labels = {language: entry["label"] for language, entry in entries.items()}
            found.append(Emoji(file, labels, {language: entry.get("tags", []) for language, entry in entries.items()}))
    return found


def _bare(code: str) -> str:
    return "-".join(part for part in code.upper().split("-") if part != _VARIANT)


def write_pictures(emoji: Sequence[Emoji], folder: Path) -> list[Path]:
    """Write the pictures on white, and return their files, which have the order of the emoji."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for number, one in enumerate(emoji):
        with Image.open(one.file) as drawn:
            picture = Image.new("RGBA", drawn.size, "white")
            picture.alpha_composite(drawn.convert("RGBA"))
        files.append(folder / f"{number:05d}.png")
        picture.convert("RGB").save(files[-1])
    return files


def train(emoji: Sequence[Emoji], files: Sequence[Path], folder: Path, chosen: Set) -> None:
    """Train both towers on the emoji that are not held out, and write them as exports have them.

    The lower part of the picture tower is EfficientNet-Lite0 as it is; the text tower is the mean of its tokens under
    two layers. The loss is CLIP's (Radford et al., 2021), with captions of a random language and wording.
    """
    (folder / "onnx").mkdir(parents=True)
    below = efficientnet("efficientnet-lite0", (SIDE, SIDE))
    known = np.flatnonzero(~chosen.held_out(len(emoji))).tolist()
    tokenizer = _tokenizer([emoji[place] for place in known])
    tokenizer.save(str(folder / "tokenizer.json"))
    features = torch.from_numpy(_features(below, [files[place] for place in known], folder))
    torch.manual_seed(chosen.seed)
    pictures, texts = _PictureHead(features), _TextTower(tokenizer.get_vocab_size())
    _fit(pictures, texts, features, [emoji[place] for place in known], tokenizer, chosen)
    _write_pictures_half(below, pictures.eval(), folder / "onnx" / "vision_model.onnx")
    _write_text_half(texts.eval(), folder / "onnx" / "text_model.onnx")
    normal = {"image_mean": [127 / 255] * 3, "image_std": [128 / 255] * 3, "do_center_crop": False}
    size = {"size": {"height": SIDE, "width": SIDE}, "resample": 2, "rescale_factor": 1 / 255}
    (folder / "preprocessor_config.json").write_text(json.dumps(normal | size))
    config = {"model_type": "clip", "text_config": {"max_position_embeddings": 64}}
    (folder / "config.json").write_text(json.dumps(config))


def _tokenizer(emoji: Sequence[Emoji]) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    texts = [text for one in emoji for name in one.labels for text in (one.labels[name], *one.tags[name])]
    trainer = trainers.WordPieceTrainer(vocab_size=TOKENS, special_tokens=["[PAD]", "[UNK]"], show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _features(below: bytes, files: Sequence[Path], folder: Path) -> NDArray[np.float32]:
    """Return what the lower part says of pictures, float32[N, 1280]."""
    graph = folder / "below.onnx"
    graph.write_bytes(below)
    network = Backbone(graph, mean=[127.0], scale=[128.0])
    graph.unlink()
    found = []
    for file in files:
        with Image.open(file) as picture:
            pixels = np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR))
        found.append(network(pixels).astype(np.float32))
    return np.stack(found)


class _PictureHead(nn.Module):
    """Features of the lower part, standardised, to those of both towers."""

    def __init__(self, features: Tensor) -> None:
        super().__init__()
        self.mean, self.scale = features.mean(0), 1 / (features.std(0) + 1e-3)
        self.drop, self.first = nn.Dropout(DROPPED), nn.Linear(features.shape[1], HIDDEN)
        self.second = nn.Linear(HIDDEN, WIDTH)

    def forward(self, features_NF: Tensor) -> Tensor:
        standard = self.drop((features_NF - self.mean) * self.scale)
        found: Tensor = self.second(self.drop(torch.relu(self.first(standard))))
        return found


class _TextTower(nn.Module):
    """The mean of the vectors of tokens, under two layers; token 0 fills texts up."""

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.table = nn.Embedding(tokens, WIDTH, padding_idx=0)
        self.drop, self.first, self.second = nn.Dropout(DROPPED), nn.Linear(WIDTH, HIDDEN), nn.Linear(HIDDEN, WIDTH)

    def forward(self, tokens_NT: Tensor) -> Tensor:
        own = (tokens_NT != 0).unsqueeze(-1)
        mean = (self.table(tokens_NT) * own).sum(1) / own.sum(1).clamp(min=1)
        found: Tensor = self.second(self.drop(torch.relu(self.first(self.drop(mean)))))
        return found


def _fit(
    pictures: nn.Module, texts: nn.Module, features: Tensor, emoji: Sequence[Emoji], tokenizer: Tokenizer, chosen: Set
) -> None:
    rng = np.random.default_rng(chosen.seed)
    warmth = nn.Parameter(torch.tensor(np.log(1 / 0.07)))
    parameters = [*pictures.parameters(), *texts.parameters(), warmth]
    optimizer = torch.optim.AdamW(parameters, lr=RATE, weight_decay=DECAY)
    steps = EPOCHS * -(-len(emoji) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    tokenizer.enable_padding(pad_id=0)
    for _ in range(EPOCHS):
        order = rng.permutation(len(emoji))
        for places in (order[at : at + BATCH] for at in range(0, len(order), BATCH)):
            captions = [emoji[int(place)].captions(str(rng.choice(chosen.languages)), rng) for place in places]
            tokens = torch.tensor([one.ids for one in tokenizer.encode_batch(captions)])
            seen, read = (nn.functional.normalize(one) for one in (pictures(features[places]), texts(tokens)))
            cosines = warmth.exp().clamp(max=WARMEST) * seen @ read.T
            own = torch.arange(len(places))
            loss = nn.functional.cross_entropy(cosines, own) + nn.functional.cross_entropy(cosines.T, own)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    tokenizer.no_padding()


def _write_pictures_half(below: bytes, head: _PictureHead, file: Path) -> None:
    """Write the lower part and the head as one graph."""
    model = onnx.load_model_from_string(below)
    (last,) = model.graph.output
    names = {"mean": head.mean, "scale": head.scale, **_layers(head)}
    # The lower part gives features of unit length to what is trained.
    nodes = [
        helper.make_node("LpNormalization", [last.name], ["head/unit"], axis=1, p=2),
        helper.make_node("Sub", ["head/unit", "mean"], ["head/centred"]),
        helper.make_node("Mul", ["head/centred", "scale"], ["head/in"]),
        *_two_layers("head/in", "image_embeds"),
    ]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(_constants(names))
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("image_embeds", TensorProto.FLOAT, [1, WIDTH]))
    onnx.save(model, file)


def _write_text_half(tower: _TextTower, file: Path) -> None:
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["each"]),
        helper.make_node("ReduceMean", ["each", "tokens"], ["mean"], keepdims=0),
        *_two_layers("mean", "text_embeds"),
    ]
    inputs = [helper.make_tensor_value_info("input_ids", TensorProto.INT64, [1, "tokens_in"])]
    outputs = [helper.make_tensor_value_info("text_embeds", TensorProto.FLOAT, [1, WIDTH])]
    constants = [
        *_constants({"table": tower.table.weight, **_layers(tower)}),
        numpy_helper.from_array(np.array([1]), "tokens"),
    ]
    graph = helper.make_graph(nodes, "text", inputs, outputs, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), file)


def _layers(tower: Any) -> dict[str, Tensor]:
    return {
        "w1": tower.first.weight.T,
        "b1": tower.first.bias,
        "w2": tower.second.weight.T,
        "b2": tower.second.bias,
    }


def _two_layers(given: str, named: str) -> list[onnx.NodeProto]:
    return [
        helper.make_node("Gemm", [given, "w1", "b1"], ["head/first"]),
        helper.make_node("Relu", ["head/first"], ["head/relu"]),
        helper.make_node("Gemm", ["head/relu", "w2", "b2"], [named]),
    ]


def _constants(named: dict[str, Tensor]) -> list[onnx.TensorProto]:
    return [numpy_helper.from_array(one.detach().numpy().copy(), name) for name, one in named.items()]
