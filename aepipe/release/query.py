"""Answer queries: search by code, filter, re-rank by embedding, describe the hits.

A question is an item from outside (a file, words, bytes, a row of a table), a row of the collection, or a code. Items
are decoded and encoded as those of the collection were. Codes are compared first, so only a few embeddings have to be
read to re-rank; how many was measured when the release was made, see :class:`aepipe.evaluate.reranking.Reranking`.

Legend: Q queries, k neighbours, H width of the embedding.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from numbers import Integral, Real
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from aepipe.codes.bitcodes import BitCodes, concatenate
from aepipe.codes.encoder import cosines
from aepipe.errors import FingerprintError, ItemError, QueryError
from aepipe.evaluate.calibration import Confidence
from aepipe.index.hits import Hits
from aepipe.release.filter import ids_where
from aepipe.release.release import Release
from aepipe.sources.item import Decode, Item
from aepipe.store.segments import Row

STDIN = "-"
_SLICE = re.compile(r"(?P<file>.+)@(?P<slice>p?[\d.]+(-[\d.]+)?)")
AT_ONCE = 256
"""Questions that are encoded and searched together; a large folder is answered while it is read."""
TOP = 10
"""Hits of a question that says neither how many nor how far."""
MORE = 4
"""Factor by which a search is widened when too few of its hits are wanted."""
WIDER = 16
"""Hits by the first bits that are compared by all bits, for each hit whose embedding is compared then."""

SNIPPET, SHOWN = "snippet", 120
"""The column with the text of an item, and the letters of it that are shown; a passage has more of them."""

Ranked = tuple[NDArray[np.int64], NDArray[np.uint16], int | None]
"""Ids and distances of hits, nearest first, and the distance of the nearest row before any was left out."""


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """One thing asked.

    Attributes:
        text: what the user called it.
        code: one code; None where the item could not be read.
        data: the bytes of an item from outside.
        row: the row of the collection that asks.
        embedding: [H], the floats that the code was made from; None where only the code is known.
        error: reconstruction error of the item from its code; None where that is not known.
        failure: why there is no code.
        whole: the code with all bits, where only the first ones are compared; None where it is not known.
    """

    text: str
    code: BitCodes | None = None
    data: bytes = b""
    row: Row | None = None
    embedding: NDArray[np.generic] | None = None
    error: float | None = None
    failure: ItemError | None = None
    whole: BitCodes | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """One row found.

    Attributes:
        rank: from 1.
        distance: in bits.
        similarity: 1 - distance / K.
        row: id, key, label and columns.
        confidence: probability that it is of the query's kind; None where that was not measured.
        cosine: similarity of the embeddings; None where hits are in the order of their codes.
    """

    rank: int
    distance: int
    similarity: float
    row: Row
    confidence: float | None = None
    cosine: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """A question and its hits, nearest first.

    ``strange`` says why the question is unlike the collection; None where it is not.
    """

    question: Question
    hits: list[Hit]
    strange: str | None = None


class QueryOptions(TypedDict, total=False):
    """How a query is answered.

    Attributes:
        k: most hits of a question: 10, with a radius all.
        radius: only rows within this distance, in bits.
        where: a condition in SQL, ``"label = 'Boot' AND year > 2020"``, or the ids that may be found.
        others: leave a row of the collection out of its own hits.
        distinct: of rows with equal codes find only the first.
        rerank: order hits by the embeddings that codes were made from, among more hits than are wanted.
        oversample: re-rank this many times more hits than are wanted, in place of the factor that was measured.
        min_confidence: only rows at distances with at least this probability of the query's kind.
        bits: compare only the first bits of the codes.
    """

    k: int | None
    radius: int | None
    where: str | NDArray[np.int64] | None
    others: bool
    distinct: bool
    rerank: bool
    oversample: int | None
    min_confidence: float | None
    bits: int | None


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """The options of a query, resolved for one release.

    Attributes:
        top: most hits; None is 10, and with a radius all.
        radius: only rows within this distance, in bits.
        factor: re-rank this many times more hits than are wanted by their embeddings; None keeps the order of codes.
        where: ids that may be found; None for all.
        others: leave a row of the collection out of its own hits.
        distinct: of rows with equal codes find only the first.

    Raises:
        QueryError: re-ranking is asked for together with ``others`` or ``distinct``.
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


LEAST = {"k": 1, "radius": 0, "oversample": 1}
"""The least value of options that are whole numbers."""


def search_options(release: Release, options: QueryOptions) -> SearchOptions:
    """Resolve the options of a query; the release is already cut to ``bits``.

    Raises:
        QueryError: an option is unknown, the condition is not SQL, embeddings to re-rank by are not kept, or no
            distance has the confidence.
    """
    known = QueryOptions.__annotations__
    if unknown := sorted(options.keys() - known.keys()):
        raise QueryError(f"no such option of query: {', '.join(unknown)}; these are: {', '.join(known)}")
    k, radius, oversample = (_number(name, options.get(name), least) for name, least in LEAST.items())
    allowed = _allowed(release, options.get("where"))
    wanted = options.get("rerank") or oversample
    factor = oversampling(release, factor=oversample) if wanted else None
    radius = _radius(release, radius, options.get("min_confidence"))
    return SearchOptions(k, radius, factor, allowed, bool(options.get("others")), bool(options.get("distinct")))


def _number(name: str, value: object, least: int) -> int | None:
    """Return an option that is a whole number, or None.

    Raises:
        QueryError: it is another thing, or too small.
    """
    if value is None:
        return None
    if isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least:
        return int(value)
    raise QueryError(f"{name}: a whole number from {least} on is wanted, not {value!r}")


def _allowed(release: Release, where: object) -> NDArray[np.int64] | None:
    """Return the ids that may be found; None for all.

    Raises:
        QueryError: it is neither a condition nor ids, or the condition is not SQL.
    """
    if where is None:
        return None
    if isinstance(where, str):
        return ids_where(release, where)
    ids = np.asarray(where)
    if ids.ndim != 1 or (len(ids) and ids.dtype.kind not in "iu"):
        raise QueryError(f"where: a condition in SQL or a list of ids is wanted, not {where!r}")
    return ids.astype(np.int64)


def _radius(release: Release, radius: int | None, min_confidence: float | None) -> int | None:
    """Return the smaller of a radius and the distance of a confidence; None for neither."""
    if min_confidence is None:
        return radius
    if not isinstance(min_confidence, Real) or not 0 <= min_confidence <= 1:
        raise QueryError(f"min_confidence: a number from 0 to 1 is wanted, not {min_confidence!r}")
    known = Confidence.of(release.name, release.scores, release.n_bits)
    if known is None:
        partial = release.n_bits != release.whole.n_bits
        why = "of the first bits" if partial else "of this release: run it again"
        raise QueryError(f"{release.name}: it was not measured what distances {why} are worth")
    least = known.radius(min_confidence)
    return least if radius is None else min(least, radius)


def oversampling(release: Release, *, factor: int | None = None) -> int:
    """Return how many times more hits than wanted are re-ranked, as measured for a release.

    Args:
        release: whose scores hold the factor.
        factor: in place of the measured one.

    Raises:
        QueryError: the release keeps no embeddings.
    """
    found = release.scores.get("reranking")
    if not found:
        raise QueryError(
            f"{release.name}: hits cannot be re-ranked, because the embeddings of its rows are not kept; with "
            '`[index] embedding = "int8"` in its recipe the next `aepipe run` keeps them'
        )
    return factor or int(found["factor"])


def raise_failures(questions: Iterable[Question]) -> None:
    """Raise the first failure among some questions.

    Raises:
        ItemError: an item could not be read.
    """
    for question in questions:
        if question.failure is not None:
            raise question.failure


def questions_from_paths(release: Release, texts: Sequence[str]) -> Iterator[Question]:
    """Read and encode items: files, all of a folder, words, a row as JSON, ``-`` for stdin.

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
    """Encode items given as bytes, each with a name for messages.

    Raises:
        FingerprintError: this version decodes in another way than the release's encoder expects.
    """
    if named:
        yield from _encoded(release, [Question(name, data=held) for name, held in named], decoder(release))


def questions_from_rows(release: Release, ids: Sequence[int], keys: Sequence[str]) -> Iterator[Question]:
    """Look up the codes of rows of the collection.

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


def questions_from_codes(release: Release, codes: Sequence[str] | BitCodes) -> Iterator[Question]:
    """Ask with codes, in hex or packed.

    Raises:
        CodeError: a text is not hex, or has another length than the release's codes.
    """
    # Packed codes keep the fingerprint that they came with, so those of another encoder are refused.
    if isinstance(codes, BitCodes):
        for place, text in enumerate(codes.hex()):
            yield Question(f"code {text}", codes[place : place + 1])
        return
    for text in codes:
        yield Question(f"code {text}", BitCodes.from_hex([text], release.n_bits, release.fingerprint))


def decoded_items(
    release: Release, paths: Sequence[str], ids: Sequence[int], keys: Sequence[str]
) -> Iterator[tuple[str, NDArray[np.generic] | ItemError]]:
    """Yield pictures and originals of rows as they go into the encoder, each with its name.

    Args:
        release: whose encoder decides how they are decoded.
        paths: pictures from outside.
        ids: rows of the collection.
        keys: the same, by key.

    Raises:
        QueryError: there is no such id or key, a path does not exist, or the release was not learned from images.
        FingerprintError: this version decodes in another way than the release's encoder expects.
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


def decoder(release: Release) -> Decode:
    """Return the function that decodes items as those of the collection were decoded.

    Raises:
        FingerprintError: this version decodes in another way than the release's encoder expects.
    """
    from aepipe import sources

    card = release.encoder.card
    current = sources.version(card.source)
    if card.features.get("decoder", current) != current:
        raise FingerprintError(
            f"{release.name} was made with version {card.features['decoder']} of the decoder of {card.source}, this is "
            f"version {current}: codes would not match; make a new release with `aepipe run`"
        )
    return sources.decoder(card.source, card.features, release.folder("encoder"))


def answers(release: Release, questions: Iterable[Question], options: SearchOptions) -> Iterator[Answer]:
    """Answer questions in blocks; the first answers come while other questions are still read.

    Raises:
        QueryError: a code that came without its embedding cannot be re-ranked.
    """
    # An iterator, because questions are read while answers are printed.
    asked = iter(questions)
    while block := list(islice(asked, AT_ONCE)):
        yield from answer(release, block, options)


def answer(release: Release, questions: Sequence[Question], options: SearchOptions) -> list[Answer]:
    """Search for all questions at once; those without a code get no hits.

    Raises:
        QueryError: a code that came without its embedding cannot be re-ranked.
    """
    asked = [question for question in questions if question.code is not None]
    found = iter(_search(release, asked, options) if asked else [])
    known = Confidence.of(release.name, release.scores, release.n_bits)
    answered = []
    for question in questions:
        hits, nearest = next(found) if question.code else ([], None)
        if known:
            hits = [replace(hit, confidence=known.probability[hit.distance]) for hit in hits]
        # A row of the collection is its own nearest, and is not asked whether it belongs there.
        outside = known if question.row is None else None
        hits = _with_excerpts(release, question, hits)
        # A few words are never decoded as well as the documents that the limit was measured on.
        error = None if _is_words(question) else question.error
        answered.append(Answer(question, hits, outside.strange(nearest, error) if outside else None))
    return answered


def _is_words(question: Question) -> bool:
    """Tell whether a question is the words that the user typed, and not a file."""
    return question.data == question.text.encode("utf-8", "surrogateescape")


def _with_excerpts(release: Release, question: Question, hits: list[Hit]) -> list[Hit]:
    """Return hits that show the sentence of their passage that fits the question; other hits as they are."""
    from aepipe import sources

    texts = [hit.row.columns.get(SNIPPET) or "" for hit in hits]
    if max(map(len, texts), default=0) <= SHOWN:
        return hits
    kind, own = release.encoder.card.source, question.row
    asked = own.columns.get(SNIPPET) or "" if own else sources.readable(kind, question.data, question.text)
    shown = [sources.excerpt(kind, text, asked) if len(text) > SHOWN else text for text in texts]
    rows = [replace(hit.row, columns={**hit.row.columns, SNIPPET: text}) for hit, text in zip(hits, shown, strict=True)]
    return [replace(hit, row=row) for hit, row in zip(hits, rows, strict=True)]


def rerank(release: Release, embeddings: NDArray[np.generic], hits: Hits, k: int) -> tuple[Hits, NDArray[np.float32]]:
    """Order hits by the cosine of their embeddings, nearest first.

    Args:
        release: that was searched.
        embeddings: [Q, H], of the queries.
        hits: found by their codes, more than k for each query.
        k: how many are returned.

    Returns:
        The k hits of largest cosine for each query, ties by (distance, id), and the cosines, float32[Q, k].
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


def _search(
    release: Release, asked: Sequence[Question], options: SearchOptions
) -> Iterator[tuple[list[Hit], int | None]]:
    """Yield the hits of each question, and the distance of the nearest row if it is known."""
    codes = concatenate(question.code for question in asked if question.code is not None)
    top, radius = options.top, options.radius
    if options.factor is not None:
        yield from _search_reranked(release, codes, asked, options)
        return
    if radius is not None:
        ball = release.within(codes, radius, where=options.where)
        ranked = [_keep_wanted(release, *ball.of(place), question, options) for place, question in enumerate(asked)]
    else:
        ranked = _nearest(release, codes, asked, options)
        top = top or TOP
    for ids, distances, nearest in ranked:
        yield _describe(release, ids[:top], distances[:top]), nearest


def _nearest(release: Release, codes: BitCodes, asked: Sequence[Question], options: SearchOptions) -> list[Ranked]:
    """Return the nearest rows of each question; widen the search until enough are wanted."""
    wanted, most = options.top or TOP, len(release.index)
    k = wanted + options.others
    done: dict[int, Ranked] = {}
    while left := [place for place in range(len(asked)) if place not in done]:
        found = release.query(codes[np.array(left)], k, where=options.where)
        for number, place in enumerate(left):
            kept = _keep_wanted(release, *found.of(number), asked[place], options)
            if len(kept[0]) >= wanted or found.count[number] < k or k >= most:
                done[place] = kept
        k = min(most, MORE * k)
    return [done[place] for place in range(len(asked))]


def _keep_wanted(
    release: Release, ids: NDArray[np.int64], distances: NDArray[np.uint16], question: Question, options: SearchOptions
) -> Ranked:
    """Leave the row that asks and rows with equal codes out of hits, as the options say."""
    nearest = int(distances[0]) if len(distances) else None
    kept = np.ones(len(ids), bool)
    if options.others and question.row is not None:
        kept &= ids != question.row.id
    if options.distinct and len(ids):
        places = np.nonzero(kept)[0]
        packed = release.codes_of(ids[places]).packed
        first = np.unique(np.ascontiguousarray(packed).view(f"V{packed.shape[1]}")[:, 0], return_index=True)[1]
        kept[:] = False
        kept[places[first]] = True
    return ids[kept], distances[kept], nearest


def _search_reranked(
    release: Release, codes: BitCodes, asked: Sequence[Question], options: SearchOptions
) -> Iterator[tuple[list[Hit], int | None]]:
    """Yield what :func:`_search` yields, in the order of the embeddings."""
    bare = [question.text for question in asked if question.embedding is None]
    if bare:
        raise QueryError(f"{bare[0]}: only items and rows have an embedding to re-rank hits by")
    k, factor = options.top or TOP, options.factor or 1
    wanted = k * factor
    if release.n_bits == release.whole.n_bits:
        found = release.query(codes, wanted, where=options.where)
    else:
        found = _narrow(release, asked, release.query(codes, WIDER * wanted, where=options.where), wanted)
    nearest = [int(found.distances[place, 0]) if found.count[place] else None for place in range(len(asked))]
    if options.radius is not None:
        found.count[:] = [(found.of(place)[1] <= options.radius).sum() for place in range(len(asked))]
    embeddings = np.stack([question.embedding for question in asked if question.embedding is not None])
    best, cosines = rerank(release, embeddings, found, k)
    for place, near in enumerate(nearest):
        hits = _describe(release, *best.of(place))
        yield [replace(hit, cosine=round(float(cosines[place, i]), 4)) for i, hit in enumerate(hits)], near


def _narrow(release: Release, asked: Sequence[Question], found: Hits, wanted: int) -> Hits:
    """Keep the hits that are nearest by all bits, in the order of the first bits."""
    kept = Hits.none(len(found), wanted)
    for place, question in enumerate(asked):
        ids, distances = found.of(place)
        assert question.whole is not None, "what has an embedding has a code in full"
        far = question.whole.distances(release.whole.codes_of(ids))[0]
        first = np.sort(np.lexsort((ids, far))[:wanted])
        kept.count[place] = len(first)
        kept.ids[place, : len(first)], kept.distances[place, : len(first)] = ids[first], distances[first]
    return kept


def _describe(release: Release, ids: NDArray[np.int64], distances: NDArray[np.uint16]) -> list[Hit]:
    found = enumerate(zip(distances.tolist(), release.describe(ids), strict=True), 1)
    return [Hit(rank, far, round(1 - far / release.n_bits, 4), row) for rank, (far, row) in found]


def _items(release: Release, texts: Sequence[str]) -> Iterator[Item]:
    """Yield the items that texts name; their bytes are not read yet."""
    from aepipe.sources import query_items
    from aepipe.sources.remote import fetched, is_address

    kind, features = release.encoder.card.source, release.recipe.get("features")
    for text in texts:
        if text == STDIN:
            yield Item(STDIN, STDIN, lambda _: sys.stdin.buffer.read())
        elif is_address(text):
            # The part of a recording or a film, ``s3://bucket/clip.mp4@12.5``, is cut from the copy that was fetched.
            sliced = _SLICE.fullmatch(text)
            here = f"{fetched(sliced['file'])}@{sliced['slice']}" if sliced else str(fetched(text))
            for item in query_items(kind, here, features):
                yield replace(item, key=text)
        else:
            yield from query_items(kind, text, features)


def _read(item: Item) -> Question:
    try:
        return Question(item.key, data=item.read())
    except ItemError as error:
        return Question(item.key, failure=error)


def _encoded(release: Release, block: Sequence[Question], decode: Decode) -> Iterator[Question]:
    """Decode and encode items; one that cannot be decoded keeps its place, with the reason."""
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
    """Decode one item, or return why it cannot be decoded."""
    if question.failure is not None:
        return question.failure
    try:
        return decode(question.data, question.text)
    except ItemError as error:
        return error
