"""What is asked in one query: items from outside, rows of the collection and codes become codes."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from aepipe.bits import BitCodes
from aepipe.errors import FingerprintError, ItemError, QueryError
from aepipe.keys import Row
from aepipe.release import Release
from aepipe.sources import RawItem
from aepipe.sources.decoders import Decode

STDIN = "-"
_SLICE = re.compile(r"(?P<file>.+)@(?P<slice>[\d.]+(-[\d.]+)?)")
AT_ONCE = 256
"""Items that are encoded together; a large folder is answered as it is read."""


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """One thing asked.

    Attributes:
        text: how the user named it.
        code: one code; None where the item could not be read.
        data: its bytes, where it is an item from outside.
        row: the row that it is, where it is one of the collection.
        embedding: [H], what the code was made from; None where it is only a code.
        error: how far off the item is when rebuilt from its code; None where that is not known.
        failure: why there is no code.
        whole: its code in full, where only the first bits are compared; None where it is not known.
    """

    text: str
    code: BitCodes | None = None
    data: bytes = b""
    row: Row | None = None
    embedding: NDArray[np.generic] | None = None
    error: float | None = None
    failure: ItemError | None = None
    whole: BitCodes | None = None


def things(release: Release, texts: Sequence[str]) -> Iterator[Question]:
    """Read and encode items: files, all of a folder, words of a text, ``-`` for stdin.

    Raises:
        QueryError: a path does not exist.
        FingerprintError: this version decodes in another way than the release's encoder expects.
    """
    if not texts:
        return
    decode = decoder(release)
    block: list[Question] = []
    for item in _items(release, texts):
        block.append(_read(item))
        if len(block) == AT_ONCE:
            yield from _encoded(release, block, decode)
            block = []
    yield from _encoded(release, block, decode)


def data(release: Release, named: Sequence[tuple[str, bytes]]) -> Iterator[Question]:
    """Encode items whose bytes are at hand, each with what to call it.

    Raises:
        FingerprintError: as :func:`things`.
    """
    if named:
        yield from _encoded(release, [Question(name, data=held) for name, held in named], decoder(release))


def rows(release: Release, ids: Sequence[int], keys: Sequence[str]) -> Iterator[Question]:
    """Look up rows of the collection.

    Raises:
        QueryError: there is no such id or key.
    """
    if not ids and not keys:
        return
    named = [(f"id {row_id}", row_id) for row_id in ids] + [(f"key {key}", release.id_of(key)) for key in keys]
    wanted = [row_id for _, row_id in named]
    codes = release.whole.codes_of(wanted)
    kept = release.segments.width is not None
    embeddings = release.segments.embeddings_of(np.array(wanted, np.int64)) if kept else [None] * len(wanted)
    for place, ((text, _), row) in enumerate(zip(named, release.describe(wanted), strict=True)):
        whole = codes[place : place + 1]
        yield Question(text, whole.prefix(release.n_bits), row=row, embedding=embeddings[place], whole=whole)


def decoded(
    release: Release, paths: Sequence[str], ids: Sequence[int], keys: Sequence[str]
) -> Iterator[tuple[str, NDArray[np.generic] | ItemError]]:
    """Give pictures, and originals of rows of the collection, as they go into the encoder, each with its name.

    Raises:
        QueryError: there is no such id or key, a path does not exist, or the release was not learned from images.
        FingerprintError: as :func:`things`.
    """
    from aepipe.sources import preview

    card = release.encoder.card
    pictures = card.source in {"images", "video"}
    if not pictures or len(card.shape) != 3:
        seen = "the features of a network" if pictures else card.source
        raise QueryError(f"{release.name} was learned from {seen}, not from pixels: there is nothing to draw")
    decode = decoder(release)
    for row in release.describe([*ids, *(release.id_of(key) for key in keys)]):
        try:
            question = Question(row.key, data=preview(release.items.root, row.place))
        except ItemError as error:
            question = Question(row.key, failure=error)
        yield row.key, _decoded(question, decode)
    for item in _items(release, paths):
        yield item.key, _decoded(_read(item), decode)


def codes(release: Release, texts: Sequence[str]) -> Iterator[Question]:
    """Read codes.

    Raises:
        CodeError: a text is not hex, or has another length than the release's codes.
    """
    for text in texts:
        yield Question(f"code {text}", BitCodes.from_hex([text], release.n_bits, release.fingerprint))


def _items(release: Release, texts: Sequence[str]) -> Iterator[RawItem]:
    """Give the items that are named, their bytes not read yet."""
    from aepipe.sources.decoders import asked
    from aepipe.sources.remote import fetched, is_address

    for text in texts:
        if text == STDIN:
            yield RawItem(STDIN, STDIN, lambda _: sys.stdin.buffer.read())
        elif is_address(text):
            # A slice, ``s3://bucket/clip.mp4@12.5``, stays one.
            sliced = _SLICE.fullmatch(text)
            here = f"{fetched(sliced['file'])}@{sliced['slice']}" if sliced else str(fetched(text))
            for item in asked(release.encoder.card.source, here):
                yield replace(item, key=text)
        else:
            yield from asked(release.encoder.card.source, text)


def _read(item: RawItem) -> Question:
    """Read the bytes."""
    try:
        return Question(item.key, data=item.read())
    except ItemError as error:
        return Question(item.key, failure=error)


def _encoded(release: Release, block: Sequence[Question], decode: Decode) -> Iterator[Question]:
    """Decode and encode items; those that cannot be decoded go on with the reason."""
    decoded = [_decoded(question, decode) for question in block]
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
        whole, embedding = found.codes[place : place + 1], found.embedding[place]
        code = whole.prefix(release.n_bits)
        yield Question(question.text, code, question.data, embedding=embedding, error=errors[place], whole=whole)


def _decoded(question: Question, decode: Decode) -> NDArray[np.generic] | ItemError:
    """Decode one item as those of the collection were, or return why it cannot be."""
    if question.failure is not None:
        return question.failure
    try:
        return decode(question.data, question.text)
    except ItemError as error:
        return error


def decoder(release: Release) -> Decode:
    """Return what decodes items as those of the collection were.

    Raises:
        FingerprintError: this version decodes in another way than the release's encoder expects.
    """
    from aepipe.sources import decoders

    card = release.encoder.card
    current = decoders.version(card.source)
    if card.features.get("decoder", current) != current:
        raise FingerprintError(
            f"{release.name} was made with version {card.features['decoder']} of the decoder of {card.source}, this is "
            f"version {current}: codes would not match; make it anew with `aepipe run`"
        )
    return decoders.decoder(card.source, card.features, release.folder("encoder"))
