"""Label all rows of a release by words that are given: each gets the one most like it.

Nothing is learned, and no row needs a label (zero-shot classification). Words are encoded as questions are, and
compared with the embeddings of the rows by their cosine, or with their codes where no embeddings are kept. How sure a
label is depends on how far it stands out from the other words: one of many that are alike is less sure.

Legend: N rows, W words.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aepipe.codes.bitcodes import concatenate
from aepipe.errors import QueryError
from aepipe.release.query import questions_from_paths, questions_from_words, raise_failures
from aepipe.release.release import Release
from aepipe.release.search import Question
from aepipe.release.words import advice, answers_words
from aepipe.store.io import check_target, replacing

BLOCK = 1 << 16
"""Rows that are compared at a time."""
SOFTNESS = 0.05
"""Divides the cosine of a word, before the exponential of it is its weight: on photographs, labels of some confidence
were right as often as it says, or more often."""
ENDINGS = (".csv", ".parquet")
NAMES = ("id", "key", "label", "confidence")
_MOST = 10_000

Floats = NDArray[np.float32]


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


def words_in(text: str) -> tuple[str, ...]:
    """Return the words of a list, one or a phrase in each line; each once.

    Raises:
        QueryError: there are fewer than two, or too many.
    """
    found = tuple(dict.fromkeys(filter(None, (line.strip() for line in text.lstrip("\ufeff").splitlines()))))
    if not 2 <= len(found) <= _MOST:
        raise QueryError(f"labels: {len(found):,} words; 2 to {_MOST:,} are wanted, one or a phrase in each line")
    return found


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
    near = np.empty((len(ids), len(known)), np.float32)
    for start in range(0, len(ids), BLOCK):
        near[start : start + BLOCK] = _nearness(release, asked, ids[start : start + BLOCK])
    places, confidence = chosen(near)
    return Labelled(known, ids, places, confidence, far)


def chosen(near: Floats) -> tuple[NDArray[np.int64], Floats]:
    """Return the words that rows are labelled with, and how far they stand out from the others.

    Args:
        near: float32[N, W], the cosine of each word and each row; changed.
    """
    if not len(near):
        return np.zeros(0, np.int64), np.zeros(0, np.float32)
    best = near.argmax(axis=1)
    near -= near.max(axis=1, keepdims=True)
    weights = np.exp(near / SOFTNESS)
    return best.astype(np.int64), (1 / weights.sum(axis=1)).astype(np.float32)


def lines(release: Release, found: Labelled) -> Iterator[tuple[int, str, str, float]]:
    """Yield id, key, label and confidence of each row."""
    for start in range(0, len(found), BLOCK):
        stop = start + BLOCK
        keys = [row.key for row in release.describe(found.ids[start:stop])]
        told = (found.words[place] for place in found.places[start:stop])
        confidence = (round(float(one), 4) for one in found.confidence[start:stop])
        yield from zip(found.ids[start:stop].tolist(), keys, told, confidence, strict=True)


def write(release: Release, found: Labelled, file: Path) -> None:
    """Write labels as CSV or Parquet, a line for each row; the release stays as it is.

    Raises:
        QueryError: rows are not written under that ending.
        TargetError: the file cannot be written.
        FullError: the disk is full.
    """
    if file.suffix.lower() not in ENDINGS:
        raise QueryError(f"{file}: labels are written under {' or '.join(ENDINGS)}")
    check_target(file)
    with replacing(file) as beside:
        (_write_csv if file.suffix.lower() == ".csv" else _write_parquet)(lines(release, found), beside)


def _write_csv(rows: Iterator[tuple[int, str, str, float]], file: Path) -> None:
    import csv

    with file.open("w", encoding="utf-8", newline="") as stream:
        plain = csv.writer(stream, lineterminator="\n")
        plain.writerow(NAMES)
        plain.writerows(rows)


def _write_parquet(rows: Iterator[tuple[int, str, str, float]], file: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    kinds = (pa.int64(), pa.string(), pa.dictionary(pa.int32(), pa.string()), pa.float32())
    columns = list(zip(*rows, strict=True)) or [()] * len(NAMES)
    table = pa.table([pa.array(one, kind) for one, kind in zip(columns, kinds, strict=True)], names=list(NAMES))
    parquet.write_table(table, file)


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
