"""What is asked in one query: pictures, rows of the collection and codes become codes."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aepipe.bits import BitCodes
from aepipe.encoder import Card
from aepipe.errors import FingerprintError, ItemError, QueryError
from aepipe.keys import Row
from aepipe.release import Release
from aepipe.sources import RawItem

STDIN = "-"
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
        embedding: [H], what the code was made from; None where it is only a code.
        error: how far off the picture is when rebuilt from its code; None where that is not known.
        failure: why there is no code.
    """

    text: str
    code: BitCodes | None = None
    picture: bytes = b""
    row: Row | None = None
    embedding: NDArray[np.generic] | None = None
    error: float | None = None
    failure: ItemError | None = None


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
    kept = release.segments.width is not None
    embeddings = release.segments.embeddings_of(np.array(wanted, np.int64)) if kept else [None] * len(wanted)
    for place, ((text, _), row) in enumerate(zip(named, release.describe(wanted), strict=True)):
        yield Question(text, codes[place : place + 1], row=row, embedding=embeddings[place])


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
    places = iter(range(len(good)))
    if good:
        items = np.stack(good)
        found = release.encoder.encode(items)
        errors = release.decoder.errors(items, found.codes).tolist() if release.decoder else [None] * len(good)
    for question, item in zip(block, decoded, strict=True):
        if isinstance(item, ItemError):
            yield Question(question.text, failure=item)
            continue
        place = next(places)
        code = found.codes[place : place + 1].prefix(release.n_bits)
        yield Question(question.text, code, question.picture, embedding=found.embedding[place], error=errors[place])


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
