"""Label all rows of a release by words that are given: each gets the one most like it.

Nothing is learned, and no row needs a label (zero-shot classification). Words are encoded as questions are, and
compared with the embeddings of the rows by their cosine, or with their codes where no embeddings are kept. How sure a
label is depends on how far it stands out from the other words: one of many that are alike is less sure.

Legend: N rows, W words.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from aepipe.codes.bitcodes import concatenate
from aepipe.errors import QueryError
from aepipe.release.query import questions_from_paths, questions_from_words, raise_failures
from aepipe.release.release import Release
from aepipe.release.search import Question
from aepipe.release.words import advice, answers_words
from aepipe.words import words_in

BLOCK, PAIRS = 1 << 16, 1 << 24
"""Rows that are looked up at a time; and pairs of a row and a word that are compared at a time, at most."""
SOFTNESS = 0.05
"""Divides the cosine of a word, before the exponential of it is its weight: on photographs, labels of some confidence
were right as often as it says, or more often."""
Line: TypeAlias = tuple[int, str, str, float]
"""Id, key, label and confidence of a row."""

Floats = NDArray[np.float32]
_NONE: tuple[NDArray[np.int64], Floats] = (np.zeros(0, np.int64), np.zeros(0, np.float32))


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """The rows of a release, labelled by words.

    Attributes:
        words: W texts.
        ids: int64[N], ascending.
        places: of the words that rows are labelled with, int64[N].
        confidence: float32[N], 0..1, how far these stand out from the other words.
        far: what is to be said of words that the collection does not understand.
    """

    words: tuple[str, ...]
    ids: NDArray[np.int64]
    places: NDArray[np.int64]
    confidence: Floats
    far: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    def counts(self) -> dict[str, int]:
        """Return how many rows each of the words has, in their order."""
        return dict(zip(self.words, np.bincount(self.places, minlength=len(self.words)).tolist(), strict=True))


def label(release: Release, words: Sequence[str]) -> Labelled:
    """Label all rows of a release.

    Args:
        release: that answers words.
        words: two at least, each a word or a phrase.

    Raises:
        QueryError: there are too few words, or the collection answers none.
        CorruptError: something in the store is not what was written.
    """
    known = words_in("\n".join(words))
    if not answers_words(release):
        raise QueryError(f"{release.name}: this collection does not answer words{advice(release)}")
    asked = list((questions_from_words if release.all_parts("words") else questions_from_paths)(release, known))
    raise_failures(asked)
    far = tuple(f"{one.text}: {one.meaning.far}" for one in asked if one.meaning and one.meaning.far)
    ids = np.asarray(release.items.ids)
    rows = max(1, min(BLOCK, PAIRS // len(known)))
    found = [chosen(_nearness(release, asked, ids[start : start + rows])) for start in range(0, len(ids), rows)]
    places, confidence = (np.concatenate([one[side] for one in [*found, _NONE]]) for side in (0, 1))
    return Labelled(known, ids, places, confidence, far)


def chosen(near: Floats) -> tuple[NDArray[np.int64], Floats]:
    """Return the words that rows are labelled with, and how far they stand out from the others.

    Args:
        near: float32[N, W], the cosine of each word and each row; changed.
    """
    if not len(near):
        return _NONE
    best = near.argmax(axis=1)
    near -= near.max(axis=1, keepdims=True)
    weights = np.exp(near / SOFTNESS)
    return best.astype(np.int64), (1 / weights.sum(axis=1)).astype(np.float32)


def lines(release: Release, found: Labelled, after: int = 0) -> Iterator[Line]:
    """Yield id, key, label and confidence of each row, but for the first ones."""
    for start in range(after, len(found), BLOCK):
        stop = start + BLOCK
        keys = [row.key for row in release.describe(found.ids[start:stop])]
        told = (found.words[place] for place in found.places[start:stop])
        confidence = (round(float(one), 4) for one in found.confidence[start:stop])
        yield from zip(found.ids[start:stop].tolist(), keys, told, confidence, strict=True)


def _nearness(release: Release, asked: Sequence[Question], ids: NDArray[np.int64]) -> Floats:
    """Return the cosine of each word and each row, float32[n, W]."""
    if release.segments.width is None:
        codes = concatenate(one.code for one in asked if one.code is not None)
        # Of codes of K bits, the cosine is 1 - 2 d / K.
        return 1 - 2 / np.float32(release.n_bits) * codes.distances(release.codes_of(ids)).T.astype(np.float32)
    rows = release.segments.embeddings_of(ids).astype(np.float32)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    told = np.stack([one.embedding for one in asked if one.embedding is not None]).astype(np.float32)
    told /= np.maximum(np.linalg.norm(told, axis=1, keepdims=True), 1e-12)
    near: Floats = rows @ told.T
    return near
