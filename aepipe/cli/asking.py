"""What is asked in one query, answered: pictures, rows of the collection and codes become codes, and codes hits."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aepipe.bits import BitCodes, concatenate
from aepipe.confidence import Confidence
from aepipe.encoder import Card
from aepipe.errors import FingerprintError, ItemError, QueryError
from aepipe.keys import Row
from aepipe.release import Release
from aepipe.sources import RawItem

STDIN = "-"
TOP = 10
AT_ONCE = 256
"""Pictures that are encoded together; a large folder is answered as it is read."""


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """One thing asked.

    Attributes:
        text: how the user named it.
        code: one code; None where the picture could not be read.
        picture: its bytes, where it is a picture from outside.
        row: the row that it is, where it is one of the collection.
        failure: why there is no code.
    """

    text: str
    code: BitCodes | None = None
    picture: bytes = b""
    row: Row | None = None
    failure: ItemError | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """One row found.

    Attributes:
        rank: from 1.
        distance: in bits.
        similarity: 1 - distance / K.
        row: what it is.
        confidence: how probably it is of the query's kind; None where that was not measured.
    """

    rank: int
    distance: int
    similarity: float
    row: Row
    confidence: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """A question and its hits, nearest first; and, where nothing is like it, a sentence that says so."""

    question: Question
    hits: list[Hit]
    strange: str | None = None


def pictures(release: Release, paths: Sequence[str]) -> Iterator[Question]:
    """Read and encode pictures: files, all images of folders, ``-`` for stdin.

    Raises:
        QueryError: the release was not learned from images, or a path does not exist.
        FingerprintError: this version decodes images in another way than the release's encoder expects.
    """
    if paths:
        _check_card(release)
    block: list[Question] = []
    for item in _items(paths):
        block.append(_read(item))
        if len(block) == AT_ONCE:
            yield from _encoded(release, block)
            block = []
    yield from _encoded(release, block)


def rows(release: Release, ids: Sequence[int], keys: Sequence[str]) -> Iterator[Question]:
    """Look up rows of the collection.

    Raises:
        QueryError: there is no such id or key.
    """
    if not ids and not keys:
        return
    named = [(f"id {row_id}", row_id) for row_id in ids] + [(f"key {key}", release.id_of(key)) for key in keys]
    wanted = [row_id for _, row_id in named]
    codes = release.codes_of(wanted)
    for place, ((text, _), row) in enumerate(zip(named, release.describe(wanted), strict=True)):
        yield Question(text, codes[place : place + 1], row=row)


def decoded(
    release: Release, paths: Sequence[str], ids: Sequence[int], keys: Sequence[str]
) -> Iterator[tuple[str, NDArray[np.uint8] | ItemError]]:
    """Give pictures, and originals of rows of the collection, as they go into the encoder, each with its name.

    Raises:
        QueryError: there is no such id or key, a path does not exist, or the release was not learned from images.
        FingerprintError: as :func:`pictures`.
    """
    from aepipe.sources import preview

    _check_card(release)
    card = release.encoder.card
    for row in release.describe([*ids, *(release.id_of(key) for key in keys)]):
        try:
            question = Question(row.key, picture=preview(release.items.root, row.place))
        except ItemError as error:
            question = Question(row.key, failure=error)
        yield row.key, _decoded(question, card)
    for item in _items(paths):
        yield item.key, _decoded(_read(item), card)


def codes(release: Release, texts: Sequence[str]) -> Iterator[Question]:
    """Read codes.

    Raises:
        CodeError: a text is not hex, or has another length than the release's codes.
    """
    for text in texts:
        yield Question(f"code {text}", BitCodes.from_hex([text], release.n_bits, release.fingerprint))


def answer(release: Release, questions: Sequence[Question], *, top: int | None, radius: int | None) -> list[Answer]:
    """Search for all questions at once.

    Args:
        release: what is searched.
        questions: those without a code get no hits.
        top: most hits; None is 10, and with a radius all.
        radius: only rows at most so many bits away.
    """
    asked = [question.code for question in questions if question.code is not None]
    if not asked:
        return [Answer(question, []) for question in questions]
    joined = concatenate(asked)
    found = release.query(joined, top or TOP) if radius is None else release.within(joined, radius)
    known = Confidence.of(release)
    places = iter(range(len(asked)))
    answers = []
    for question in questions:
        ids, distances = found.of(next(places)) if question.code else (np.zeros(0, np.int64), np.zeros(0, np.uint16))
        hits = _hits(release, ids[:top], distances[:top], known)
        # A row of the collection is its own nearest, and an empty ball says nothing of what lies beyond it.
        outside = known if question.row is None and hits else None
        answers.append(Answer(question, hits, outside.strange(hits[0].distance) if outside else None))
    return answers


def _hits(
    release: Release, ids: NDArray[np.int64], distances: NDArray[np.uint16], known: Confidence | None
) -> list[Hit]:
    """Describe what was found."""
    found = enumerate(zip(distances.tolist(), release.describe(ids), strict=True), 1)
    return [
        Hit(rank, far, round(1 - far / release.n_bits, 4), row, known.probability[far] if known else None)
        for rank, (far, row) in found
    ]


def _items(paths: Sequence[str]) -> Iterator[RawItem]:
    """Give the pictures that paths name, their bytes not read yet."""
    from aepipe.sources.readers import WholeFile

    for path in paths:
        if path == STDIN:
            yield RawItem(STDIN, STDIN, lambda _: sys.stdin.buffer.read())
        elif Path(path).is_dir():
            yield from _folder(path)
        else:
            yield RawItem(path, path, WholeFile(path))


def _folder(path: str) -> Iterator[RawItem]:
    """Give the images of a folder and of those below it, by their paths."""
    from dataclasses import replace

    from aepipe.sources.containers.folder import Folder
    from aepipe.sources.containers.walk import Files

    empty = True
    for item in Folder(Files.at(path, Path.cwd())).items():
        empty = False
        yield replace(item, key=str(Path(path) / item.key))
    if empty:
        raise QueryError(f"{path}: no images in this folder")


def _read(item: RawItem) -> Question:
    """Read the bytes."""
    try:
        return Question(item.key, picture=item.read())
    except ItemError as error:
        return Question(item.key, failure=error)


def _encoded(release: Release, block: Sequence[Question]) -> Iterator[Question]:
    """Decode and encode pictures; those that cannot be decoded go on with the reason."""
    decoded = [_decoded(question, release.encoder.card) for question in block]
    good = [item for item in decoded if not isinstance(item, ItemError)]
    encoded = release.encode(np.stack(good)) if good else None
    place = 0
    for question, item in zip(block, decoded, strict=True):
        if isinstance(item, ItemError) or encoded is None:
            yield Question(question.text, failure=item if isinstance(item, ItemError) else None)
        else:
            yield Question(question.text, encoded[place : place + 1], question.picture)
            place += 1


def _decoded(question: Question, card: Card) -> NDArray[np.uint8] | ItemError:
    """Decode one picture as those of the collection were, or return why it cannot be."""
    from aepipe.sources.decode import decode

    if question.failure is not None:
        return question.failure
    options = {name: value for name, value in card.features.items() if name in {"size", "color", "fit"}}
    try:
        return decode(question.picture, key=question.text, **{**options, "size": tuple(options["size"])})
    except ItemError as error:
        return error


def _check_card(release: Release) -> None:
    """Check that pictures can be asked."""
    from aepipe.sources.decode import VERSION

    card = release.encoder.card
    if card.source != "images":
        raise QueryError(
            f"{release.name} was learned from {card.source}, not from images: ask with --id, --key or --code"
        )
    if card.features.get("decoder", VERSION) != VERSION:
        raise FingerprintError(
            f"{release.name} was made with version {card.features['decoder']} of the image decoder, this is version "
            f"{VERSION}: codes would not match; make it anew with `aepipe run`"
        )
