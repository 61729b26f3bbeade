"""What is asked in one query: items from outside, rows of the collection and codes become codes."""

# (from reranking.py) Hits of codes, put in order by what the codes were made from.
# (from reranking.py)
# (from reranking.py) Codes are compared first, so that only a few embeddings have to be read. How many was measured when the release was
# (from reranking.py) made, see :class:`aepipe.evaluate.reranking.Reranking`.
# (from reranking.py)
# (from reranking.py) Legend: Q queries, k neighbours, H width of the embedding.

# (from finding.py) What is asked in one query, answered: codes become hits.

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from aepipe.codes.bitcodes import BitCodes, concatenate
from aepipe.codes.encoder import cosines
from aepipe.errors import FingerprintError, ItemError, QueryError
from aepipe.evaluate.calibration import Confidence
from aepipe.index.hits import Hits
from aepipe.release.release import Release
from aepipe.sources.item import Decode, Item
from aepipe.store.segments import Row

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


def questions_from_paths(release: Release, texts: Sequence[str]) -> Iterator[Question]:
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


def questions_from_bytes(release: Release, named: Sequence[tuple[str, bytes]]) -> Iterator[Question]:
    """Encode items whose bytes are at hand, each with what to call it.

    Raises:
        FingerprintError: as :func:`things`.
    """
    if named:
        yield from _encoded(release, [Question(name, data=held) for name, held in named], decoder(release))


def questions_from_rows(release: Release, ids: Sequence[int], keys: Sequence[str]) -> Iterator[Question]:
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


def decoded_items(
    release: Release, paths: Sequence[str], ids: Sequence[int], keys: Sequence[str]
) -> Iterator[tuple[str, NDArray[np.generic] | ItemError]]:
    """Give pictures, and originals of rows of the collection, as they go into the encoder, each with its name.

    Raises:
        QueryError: there is no such id or key, a path does not exist, or the release was not learned from images.
        FingerprintError: as :func:`things`.
    """
    from aepipe.sources import has_pictures, preview

    card = release.encoder.card
    pictures = has_pictures(card.source)
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


def questions_from_codes(release: Release, texts: Sequence[str]) -> Iterator[Question]:
    """Read codes.

    Raises:
        CodeError: a text is not hex, or has another length than the release's codes.
    """
    for text in texts:
        yield Question(f"code {text}", BitCodes.from_hex([text], release.n_bits, release.fingerprint))


def _items(release: Release, texts: Sequence[str]) -> Iterator[Item]:
    """Give the items that are named, their bytes not read yet."""
    from aepipe.sources import query_items
    from aepipe.sources.remote import fetched, is_address

    for text in texts:
        if text == STDIN:
            yield Item(STDIN, STDIN, lambda _: sys.stdin.buffer.read())
        elif is_address(text):
            # A slice, ``s3://bucket/clip.mp4@12.5``, stays one.
            sliced = _SLICE.fullmatch(text)
            here = f"{fetched(sliced['file'])}@{sliced['slice']}" if sliced else str(fetched(text))
            for item in query_items(release.encoder.card.source, here):
                yield replace(item, key=text)
        else:
            yield from query_items(release.encoder.card.source, text)


def _read(item: Item) -> Question:
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
    from aepipe import sources

    card = release.encoder.card
    current = sources.version(card.source)
    if card.features.get("decoder", current) != current:
        raise FingerprintError(
            f"{release.name} was made with version {card.features['decoder']} of the decoder of {card.source}, this is "
            f"version {current}: codes would not match; make it anew with `aepipe run`"
        )
    return sources.decoder(card.source, card.features, release.folder("encoder"))


def oversampling(release: Release, *, factor: int | None = None) -> int:
    """Return how many times more hits of codes are looked at than are wanted, as it was chosen for a release.

    Args:
        release: that is asked.
        factor: in place of what was chosen.

    Raises:
        QueryError: embeddings are not kept.
    """
    found = release.scores.get("reranking")
    if not found:
        raise QueryError(
            f"{release.name}: nothing can be re-ranked, for the embeddings of its rows are not kept; with "
            '`[index] embedding = "int8"` in its recipe the next `aepipe run` keeps them'
        )
    return factor or int(found["factor"])


def rerank(release: Release, embeddings: NDArray[np.generic], hits: Hits, k: int) -> tuple[Hits, NDArray[np.float32]]:
    """Put hits in the order of their embeddings, nearest first.

    Args:
        release: where the hits come from.
        embeddings: [Q, H], of the queries.
        hits: what their codes found, more than k of each.
        k: how many are wanted.

    Returns:
        Of each query the k hits of largest cosine, ties by (distance, id), and the cosines, float32[Q, k].
    """
    best, found = Hits.none(len(hits), k), np.zeros((len(hits), k), np.float32)
    for query, own in enumerate(embeddings):
        ids, distances = hits.of(query)
        cosine = cosines(own, release.segments.embeddings_of(ids))
        order = np.lexsort((ids, distances, -cosine))[:k]
        best.count[query] = len(order)
        best.ids[query, : len(order)], best.distances[query, : len(order)] = ids[order], distances[order]
        found[query, : len(order)] = cosine[order]
    return best, found


TOP = 10
MORE = 4
"""How many times as many rows are looked at, where too few of the last were wanted."""
WIDER = 16
"""How many times as many hits of the first bits are compared by all bits, before embeddings are."""


@dataclass(frozen=True, slots=True)
class Hit:
    """One row found.

    Attributes:
        rank: from 1.
        distance: in bits.
        similarity: 1 - distance / K.
        row: what it is.
        confidence: how probably it is of the query's kind; None where that was not measured.
        cosine: of the angle between both embeddings; None where the order is that of the codes.
    """

    rank: int
    distance: int
    similarity: float
    row: Row
    confidence: float | None = None
    cosine: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """A question and its hits, nearest first; and, where nothing is like it, a sentence that says so."""

    question: Question
    hits: list[Hit]
    strange: str | None = None


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """How much is wanted of each question.

    Attributes:
        top: most hits; None is 10, and with a radius all.
        radius: only rows at most so many bits away.
        factor: so many times more hits than wanted are put in the order of their embeddings; None keeps that of codes.
        where: ids that may be found; None for all.
        others: a row of the collection is not found by itself.
        distinct: of rows with equal codes only the first is found.

    Raises:
        QueryError: hits are to be sifted and re-ranked both.
    """

    top: int | None = None
    radius: int | None = None
    factor: int | None = None
    where: NDArray[np.int64] | None = None
    others: bool = False
    distinct: bool = False

    def __post_init__(self) -> None:
        if self.factor is not None and (self.others or self.distinct):
            raise QueryError("--others and --distinct do not go with --rerank")


def answer(release: Release, questions: Sequence[Question], limits: SearchOptions) -> list[Answer]:
    """Search for all questions at once; those without a code get no hits.

    Raises:
        QueryError: a code that came without its embedding cannot be re-ranked.
    """
    asked = [question for question in questions if question.code is not None]
    found = iter(_found(release, asked, limits) if asked else [])
    known = Confidence.of(release.name, release.scores, release.n_bits)
    answers = []
    for question in questions:
        hits, nearest = next(found) if question.code else ([], None)
        if known:
            hits = [replace(hit, confidence=known.probability[hit.distance]) for hit in hits]
        # A row of the collection is its own nearest, and is not asked whether it belongs there.
        outside = known if question.row is None else None
        answers.append(Answer(question, hits, outside.strange(nearest, question.error) if outside else None))
    return answers


def _found(
    release: Release, asked: Sequence[Question], limits: SearchOptions
) -> Iterator[tuple[list[Hit], int | None]]:
    """Yield the hits of each question, and how far the nearest row is; an empty ball says nothing of that."""
    codes = concatenate(question.code for question in asked if question.code is not None)
    top, radius = limits.top, limits.radius
    if limits.factor is not None:
        yield from _reranked(release, codes, asked, limits)
        return
    if radius is not None:
        ball = release.within(codes, radius, where=limits.where)
        ranked = [_sifted(release, *ball.of(place), question, limits) for place, question in enumerate(asked)]
    else:
        ranked = _nearest(release, codes, asked, limits)
        top = top or TOP
    for ids, distances, nearest in ranked:
        yield _hits(release, ids[:top], distances[:top]), nearest


def _nearest(
    release: Release, codes: BitCodes, asked: Sequence[Question], limits: SearchOptions
) -> list[tuple[NDArray[np.int64], NDArray[np.uint16], int | None]]:
    """Return the nearest rows of each question; more and more are looked at until enough are left of them."""
    wanted, most = limits.top or TOP, len(release.index)
    k = wanted + limits.others
    answers: dict[int, tuple[NDArray[np.int64], NDArray[np.uint16], int | None]] = {}
    while left := [place for place in range(len(asked)) if place not in answers]:
        found = release.query(codes[np.array(left)], k, where=limits.where)
        for number, place in enumerate(left):
            sifted = _sifted(release, *found.of(number), asked[place], limits)
            if len(sifted[0]) >= wanted or found.count[number] < k or k >= most:
                answers[place] = sifted
        k = min(most, MORE * k)
    return [answers[place] for place in range(len(asked))]


def _sifted(
    release: Release, ids: NDArray[np.int64], distances: NDArray[np.uint16], question: Question, limits: SearchOptions
) -> tuple[NDArray[np.int64], NDArray[np.uint16], int | None]:
    """Return what is left of hits without the row that asks, and without equal codes; and how far the nearest was."""
    nearest = int(distances[0]) if len(distances) else None
    kept = np.ones(len(ids), bool)
    if limits.others and question.row is not None:
        kept &= ids != question.row.id
    if limits.distinct and len(ids):
        places = np.nonzero(kept)[0]
        packed = release.codes_of(ids[places]).packed
        first = np.unique(np.ascontiguousarray(packed).view(f"V{packed.shape[1]}")[:, 0], return_index=True)[1]
        kept[:] = False
        kept[places[first]] = True
    return ids[kept], distances[kept], nearest


def _reranked(
    release: Release, codes: BitCodes, asked: Sequence[Question], limits: SearchOptions
) -> Iterator[tuple[list[Hit], int | None]]:
    """Yield the same as :func:`_found`, in the order of the embeddings."""
    bare = [question.text for question in asked if question.embedding is None]
    if bare:
        raise QueryError(f"{bare[0]}: only pictures and rows have an embedding, by which hits are re-ranked")
    k, factor = limits.top or TOP, limits.factor or 1
    wanted = k * factor
    if release.n_bits == release.whole.n_bits:
        found = release.query(codes, wanted, where=limits.where)
    else:
        found = _by_all_bits(release, asked, release.query(codes, WIDER * wanted, where=limits.where), wanted)
    nearest = [int(found.distances[place, 0]) if found.count[place] else None for place in range(len(asked))]
    if limits.radius is not None:
        found.count[:] = [(found.of(place)[1] <= limits.radius).sum() for place in range(len(asked))]
    embeddings = np.stack([question.embedding for question in asked if question.embedding is not None])
    best, cosines = rerank(release, embeddings, found, k)
    for place, near in enumerate(nearest):
        hits = _hits(release, *best.of(place))
        yield [replace(hit, cosine=round(float(cosines[place, i]), 4)) for i, hit in enumerate(hits)], near


def _by_all_bits(release: Release, asked: Sequence[Question], found: Hits, wanted: int) -> Hits:
    """Return those hits of the first bits that are nearest by all bits, in the order in which they were found."""
    kept = Hits.none(len(found), wanted)
    for place, question in enumerate(asked):
        ids, distances = found.of(place)
        assert question.whole is not None, "what has an embedding has a code in full"
        far = question.whole.distances(release.whole.codes_of(ids))[0]
        first = np.sort(np.lexsort((ids, far))[:wanted])
        kept.count[place] = len(first)
        kept.ids[place, : len(first)], kept.distances[place, : len(first)] = ids[first], distances[first]
    return kept


def _hits(release: Release, ids: NDArray[np.int64], distances: NDArray[np.uint16]) -> list[Hit]:
    """Describe what was found."""
    found = enumerate(zip(distances.tolist(), release.describe(ids), strict=True), 1)
    return [Hit(rank, far, round(1 - far / release.n_bits, 4), row) for rank, (far, row) in found]
