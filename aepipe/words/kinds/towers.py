"""Two towers: a model with words and pictures in one space, as CLIP (Radford et al., 2021).

Features of texts lie apart from those of pictures (the modality gap; Liang et al., "Mind the Gap", 2022), and the
encoder has learned from pictures only. So what all texts have in common is measured, on words of the tower's own
vocabulary, of which nobody says what they show, and taken out of every question; the rest is added to the mean of the
pictures, at the length that differences of pictures have.

The mean of some words is not that of all questions, and where texts lie apart in a direction in which pictures hardly
differ, it favours no picture. So it is taken out where it is large against the spread of the pictures: of its part g
in a principal direction of standard deviation s, g^3 / (g^2 + (c s)^2). Among some c, the largest is taken with which
what words find is as even as what pictures find, or as with all of the mean taken out: where a few pictures are found
by all words, too much of it is left (hubs; Radovanovic et al., "Hubs in Space", 2010).

Legend: N pictures, V words, F features.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aepipe.errors import CorruptError, ExtraError, RecipeError, SourceError
from aepipe.log import step
from aepipe.sources.networks import reading as readings
from aepipe.sources.networks.folder import Folder
from aepipe.sources.networks.graph import whole_graph
from aepipe.sources.networks.texts import Reading, SentenceEncoder
from aepipe.store import layout
from aepipe.words import Meaning, names, write_card

if TYPE_CHECKING:
    from aepipe.store.rows import Rows

KIND, VERSION = "towers", 2
EXTRAS = {"tokenizers": "text"}
OUTPUTS = ("text_embeds", "sentence_embedding", "pooler_output")
"""Outputs that lie in the space of both towers, the first that a graph has; else what :mod:`readings` takes."""
SAMPLE = 512
"""Words of the vocabulary that the gap is measured on."""
PICTURES, FEWEST = 4096, 100
"""Pictures that their spread is measured on, and those and words below which all of the mean is taken out."""
SHARES, NEAREST, MORE = (1.0, 0.5, 0.25, 0.125), 10, 1.1
"""What c may be; pictures that a word finds; and by how much words may be less even than pictures in what they find."""
SEED = 20221
MARKS = tuple(map(re.compile, (r".{2,}</w>", r"\u2581.{2,}", r"\u0120.{2,}")))
"""Tokens that are whole words in vocabularies that mark where words end or begin; see :mod:`tokenizers`."""
PLAIN = re.compile(r"(?!##).{2,}")
"""Tokens that are whole words where a mark says that a token goes on with a word."""
_HAN = re.compile(r"[\u3400-\u9fff]+").fullmatch
Floats = NDArray[np.float64]
BLOCK = 65_536
"""Pictures whose mean is taken at a time."""


@dataclass(frozen=True, slots=True)
class Towers:
    """A text tower as a recipe names it; see :class:`aepipe.words.WordsSpec`.

    Attributes:
        graph: the file of the network.
        tokenizer: its ``tokenizer.json``.
        reading: how it reads.
        sha256: of both files as a store has them, hex.
        said: what was read of its folder, in words.
    """

    graph: Path
    tokenizer: Path
    reading: Reading
    sha256: str
    said: tuple[str, ...] = ()
    of_rows: bool = False
    exact: bool = True

    def inputs(self) -> dict[str, Any]:
        """Return the kind, the digest of the files, and how they read."""
        return {"kind": KIND, "version": VERSION, "sha256": self.sha256, "reading": self.reading.to_json()}

    def make(self, folder: Path, rows: Rows, learned: NDArray[Any]) -> None:
        """Write the tower, and float32[2, F]: what texts have in common, and the mean of pictures.

        Raises:
            CorruptError: the network fails.
        """
        (folder / layout.Words.GRAPH).write_bytes(whole_graph(self.graph, self.reading.output))
        (folder / layout.Words.TOKENIZER).write_bytes(self.tokenizer.read_bytes())
        # The graph that is kept has no other output, so a question need not look for it.
        reading = replace(self.reading, output="")
        tower = SentenceEncoder(folder, layout.Words.GRAPH, reading)
        texts = words_of(folder / layout.Words.TOKENIZER)
        found = np.empty((len(texts), learned.shape[1]))
        for place, text in enumerate(texts):
            found[place] = tower(text, "query")
            step("words", place + 1, len(texts))
        centre = mean_of(learned)
        centres = (common_of(found, learned, centre), centre)
        lengths = (length_of(found, centres[0]), length_of(learned, centre))
        np.save(folder / layout.Words.GAP, np.array(centres, np.float32))
        facts = {"version": VERSION, "reading": reading.to_json(), "words": len(texts), "said": list(self.said)}
        write_card(folder, KIND, {**facts, "scale": lengths[1] / max(lengths[0], 1e-12)})


class TowerWords:
    """The words of a text tower; see :class:`aepipe.words.Words`.

    Args:
        tower: opened.
        gap: float32[2, F], what texts have in common, and the mean of pictures.
        scale: of the difference of a text from the mean of texts.
    """

    def __init__(self, tower: SentenceEncoder, gap: NDArray[np.float32], scale: float) -> None:
        self._tower, self._gap, self._scale = tower, gap, scale

    @property
    def centre(self) -> NDArray[np.float32]:
        """The mean of the pictures, float32[F]."""
        centre: NDArray[np.float32] = self._gap[1]
        return centre

    def __call__(self, text: str) -> Meaning:
        """Return what a text means."""
        moved = self._gap[1] + self._scale * (self._tower(text, "query").astype(np.float64) - self._gap[0])
        return Meaning((moved / max(float(np.linalg.norm(moved)), 1e-12)).astype(np.float32))


def resolve(text: str, *, base: Path, width: int, backbone: str | None = None, columns: Sequence[str] = ()) -> Towers:
    """Return the text tower in a folder or file.

    Raises:
        RecipeError: columns are named, of whose words a tower knows nothing.
        SourceError: there is none, or it gives another number of features than the pictures have.
        CorruptError: it cannot be used.
        ExtraError: the library of its tokenizer is not installed.
    """
    if columns:
        raise RecipeError('source.words: columns are joined to words = "imagenet"; a text tower knows words by itself')
    _check_packages()
    place = (base / Path(text).expanduser()).resolve()
    folder = _folder_at(place)
    reading, said = readings.read(folder, {})
    shared = next((name for name in OUTPUTS if name in folder.ends[1]), reading.output)
    if shared != reading.output:
        reading, said = readings.read(folder, {"output": shared})
    tokenizer = folder.path / layout.Words.TOKENIZER
    tower = SentenceEncoder(folder.graph.parent, folder.graph.name, reading, tokenizer)
    if (own := len(tower("a", "query"))) != width:
        raise SourceError(f"{place}: gives {own} features for a text, and a picture has {width}: not of one model")
    return Towers(folder.graph, tokenizer, reading, tower.sha256, said)


def opened(folder: Path, card: Mapping[str, Any]) -> TowerWords:
    """Open the files of an artifact.

    Raises:
        CorruptError: one of them is missing or damaged.
        ExtraError: the library of the tokenizer is not installed.
    """
    _check_packages()
    try:
        tower = SentenceEncoder(folder, layout.Words.GRAPH, Reading.of(card["reading"]))
        return TowerWords(tower, np.load(folder / layout.Words.GAP), float(card["scale"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorruptError(f"{folder}: corrupt: {error}; `aepipe verify` lists the damage") from None


def told(folder: Path, card: Mapping[str, Any]) -> str:
    """Return what answers, in words; older releases do not say what was read of its folder."""
    return "; ".join(["a text tower", *card.get("said", ())])


def _folder_at(place: Path) -> Folder:
    """Return the folder of a text tower, or that of a file, which may lie below ``onnx/``.

    Raises:
        SourceError: there is none.
    """
    if place.is_dir():
        return Folder.at(place, "text")
    if not place.is_file():
        kinds = ", ".join(f'"{name}"' for name in names() if name != KIND)
        raise SourceError(f"{place}: no such words; allowed: {kinds}, or the folder or ONNX file of a text tower")
    above = place.parent.parent if place.parent.name == "onnx" else place.parent
    beside = (place.parent / layout.Words.TOKENIZER).is_file()
    return Folder(place.parent if beside else above, place)


def words_of(tokenizer: Path, most: int = SAMPLE) -> list[str]:
    """Return words of a tower's vocabulary, the same every time; without any, its tokens."""
    from tokenizers import Tokenizer

    read = Tokenizer.from_file(str(tokenizer))
    vocabulary = read.get_vocab(with_added_tokens=False)
    mark = next((one for one in MARKS if any(map(one.fullmatch, vocabulary))), PLAIN)
    texts = {token: read.decode([number]).strip() for token, number in vocabulary.items()}
    found = sorted({text for token, text in texts.items() if text.isalpha() and (mark.fullmatch(token) or _HAN(text))})
    found = found or sorted(set(texts.values()) - {""})
    if len(found) <= most:
        return found
    chosen = np.random.default_rng(SEED).permutation(len(found))[:most]
    return [found[place] for place in np.sort(chosen)]


def common_of(texts: Floats, pictures: NDArray[Any], centre: Floats) -> Floats:
    """Return the part of the mean of texts that every text is freed from, float64[F].

    Args:
        texts: [V, F], features of words.
        pictures: [N, F].
        centre: their mean.
    """
    mean: Floats = texts.mean(axis=0)
    some = np.sort(np.random.default_rng(SEED).permutation(len(pictures))[:PICTURES])
    if min(len(some), len(texts)) < FEWEST:
        return mean
    apart = pictures[some].astype(np.float64) - centre
    variances, axes = np.linalg.eigh(apart.T @ apart / len(apart))
    parts = axes.T @ mean
    apart /= np.maximum(np.linalg.norm(apart, axis=1, keepdims=True), 1e-12)
    least = (unevenness(apart[: len(texts)], apart, own=True), unevenness(texts - mean, apart))
    for share in SHARES:
        kept = np.square(parts) / np.maximum(np.square(parts) + share**2 * np.maximum(variances, 0), 1e-24)
        common: Floats = axes @ (kept * parts)
        if unevenness(texts - common, apart) <= MORE * max(least):
            return common
    return mean


def unevenness(asked: Floats, pictures: Floats, *, own: bool = False) -> float:
    """Return how uneven the counts are by which questions find pictures: the skewness of these.

    Args:
        asked: [V, F], directions.
        pictures: [N, F], directions of unit length.
        own: the questions are the first pictures, which do not find themselves.
    """
    near = asked @ pictures.T
    if own:
        np.fill_diagonal(near, -np.inf)
    found = np.argpartition(-near, NEAREST, axis=1)[:, :NEAREST]
    counts = np.bincount(found.ravel(), minlength=len(pictures)).astype(np.float64)
    return float(np.mean((counts - counts.mean()) ** 3) / max(counts.std(), 1e-12) ** 3)


def mean_of(features: NDArray[Any]) -> NDArray[np.float64]:
    """Return the mean of features [N, F], float64[F]."""
    blocks = range(0, len(features), BLOCK)
    total = sum((features[at : at + BLOCK].sum(axis=0, dtype=np.float64) for at in blocks), np.zeros(features.shape[1]))
    mean: NDArray[np.float64] = total / max(len(features), 1)
    return mean


def length_of(features: NDArray[Any], centre: NDArray[np.float64]) -> float:
    """Return the root mean square of the distances of features [N, F] from a point [F]."""
    blocks = (features[at : at + BLOCK].astype(np.float64) - centre for at in range(0, len(features), BLOCK))
    return float(np.sqrt(sum(float(np.square(one).sum()) for one in blocks) / max(len(features), 1)))


def _check_packages() -> None:
    for package, extra in EXTRAS.items():
        if find_spec(package) is None:
            raise ExtraError(package, extra, why="words are cut into tokens")
