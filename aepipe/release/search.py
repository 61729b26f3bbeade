"""Search a release: by code, under conditions, and then by embedding.

Codes are compared first, so that only a few embeddings have to be read. These order the hits wherever a release keeps
embeddings; among how many hits was measured when it was made, see :class:`aepipe.evaluate.reranking.Reranking`. A
question that is only a code has no embedding, so its hits stay in the order of their codes. Words to a collection of
pictures lie farther from its rows than pictures do, and by their codes alone more of their hits are lost: they are
compared by the floats that their own code is made from, see :mod:`aepipe.index.asymmetric`.

Legend: k neighbours, H width of the embedding.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import repeat
from numbers import Integral, Real
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from aepipe.codes.bitcodes import BitCodes, concatenate
from aepipe.codes.encoder import cosines, quantize
from aepipe.errors import ItemError, QueryError
from aepipe.index import asymmetric
from aepipe.release.filter import ids_where
from aepipe.release.release import Release
from aepipe.store.segments import Row
from aepipe.words import Meaning

logger = logging.getLogger("aepipe.query")

TOP = 10
"""Hits of a question that says neither how many nor how far."""
MORE = 4
"""Factor by which a search is widened when too few of its hits are wanted."""
WIDER = 16
"""Hits by the first bits that are compared by all bits, for each hit whose embedding is compared then."""
BLOCK = 65_536
"""Embeddings that are compared at a time."""
DIGITS = 6
"""Decimals of a cosine that count: rounding must not part a row from its duplicates."""
SHOWN = 4
"""Decimals of a similarity or a cosine that are told."""

Ids = NDArray[np.int64]
Distances = NDArray[np.uint16]
Ranked = tuple[Ids, Distances, int | None]
"""Ids and distances of hits, nearest first, and the distance of the nearest row before any was left out."""


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """One thing asked.

    Attributes:
        text: what the user called it.
        code: one code; None where the item could not be read.
        data: the bytes of an item from outside.
        row_id: the row of the collection that asks; None for what came from outside.
        embedding: [H], the floats that the code was made from; None where only the code is known, or is enough.
        error: reconstruction error of the item from its code; None where that is not known.
        failure: why there is no code.
        whole: the code with all bits, where only the first ones are compared; None where it is not known.
        figures: how far it is from the collection, see :mod:`aepipe.evaluate.strangers`; empty where that is not known.
        meaning: of words to a collection that is not of documents, alone or with an item; None for all else.
        logits: [K], how far each bit of such words is from turning; None for all else.
    """

    text: str
    code: BitCodes | None = None
    data: bytes = b""
    row_id: int | None = None
    embedding: NDArray[np.generic] | None = None
    error: float | None = None
    failure: ItemError | None = None
    whole: BitCodes | None = None
    figures: Mapping[str, float] = field(default_factory=dict)
    meaning: Meaning | None = None
    logits: NDArray[np.float32] | None = None

    @property
    def understood(self) -> tuple[str, ...]:
        """What words were understood as, nearest first."""
        return self.meaning.known if self.meaning else ()

    @property
    def words(self) -> bool:
        """Whether it is the words that the user typed, and not a file."""
        return bool(self.data) and self.data == self.text.encode("utf-8", "surrogateescape")


@dataclass(frozen=True, slots=True)
class Hit:
    """One row found.

    Attributes:
        rank: from 1.
        distance: in bits.
        similarity: 1 - distance / K.
        row: id, key, label and columns.
        confidence: probability that it is of the query's kind; None where that was not measured for such a question,
            or where the question is unlike the collection.
        cosine: similarity of the embeddings; None where hits are in the order of their codes.
    """

    rank: int
    distance: int
    similarity: float
    row: Row
    confidence: float | None = None
    cosine: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Rows found for a question, nearest first: what hits are made of.

    Attributes:
        ids: int64[n].
        distances: uint16[n], bits.
        cosines: of the embeddings, n; None where hits are in the order of their codes.
        nearest: distance of the nearest row before any was left out; None where it is not known.
    """

    ids: Ids
    distances: Distances
    cosines: Sequence[float] | None = None
    nearest: int | None = None

    def measures(self, confidence: Sequence[float] | None) -> Iterator[tuple[int, float | None, float | None]]:
        """Yield distance, confidence and cosine of each row; None for an unknown one."""
        return zip(self.distances.tolist(), confidence or repeat(None), self.cosines or repeat(None), strict=False)

    def at(self, places: Sequence[int]) -> Found:
        """Return some of the rows."""
        kept = np.asarray(places, np.int64)
        cosines = None if self.cosines is None else [self.cosines[place] for place in places]
        return replace(self, ids=self.ids[kept], distances=self.distances[kept], cosines=cosines)


class QueryOptions(TypedDict, total=False):
    """How a query is answered.

    Attributes:
        k: most hits of a question: 10, with a radius all.
        radius: only rows within this distance, in bits.
        where: a condition in SQL, ``"label = 'Boot' AND year > 2020"``, or the ids that may be found.
        others: leave a row of the collection out of its own hits.
        distinct: of rows with equal codes find only the first.
        fast: leave hits in the order of their codes.
        rerank: order hits by the embeddings that codes were made from, among more hits than are wanted. None does so
            where embeddings are kept, unless the recipe has ``[index] rerank = false``; true refuses where it cannot be
            done; false is ``fast``.
        oversample: re-rank this many times more hits than are wanted, in place of the factor that was measured.
        min_confidence: only rows at distances with at least this probability of the query's kind.
        bits: compare only the first bits of the codes.
        hybrid: of documents: fuse hits by code with those by their words; see :mod:`aepipe.release.hybrid`.
    """

    k: int | None
    radius: int | None
    where: str | NDArray[np.int64] | None
    others: bool
    distinct: bool
    fast: bool
    rerank: bool | None
    oversample: int | None
    min_confidence: float | None
    bits: int | None
    hybrid: bool


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """The options of a query, resolved for one release.

    Attributes:
        top: most hits; None is 10, and with a radius all.
        radius: only rows within this distance, in bits.
        factor: re-rank this many times more hits than are wanted by their embeddings; None keeps the order of codes.
        strict: refuse a question that has no embedding.
        where: ids that may be found; None for all.
        others: leave a row of the collection out of its own hits.
        distinct: of rows with equal codes find only the first.
        least: only hits with at least this confidence.
        hybrid: fuse hits by code with those by words.
    """

    top: int | None = None
    radius: int | None = None
    factor: int | None = None
    strict: bool = False
    where: NDArray[np.int64] | None = None
    others: bool = False
    distinct: bool = False
    least: float | None = None
    hybrid: bool = False

    @property
    def wanted(self) -> int:
        """Hits that are wanted at least, if there are as many."""
        return self.top or TOP

    @property
    def most(self) -> int | None:
        """Hits that are wanted at most; None for all within a radius."""
        return self.wanted if self.radius is None else self.top


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
    hybrid = _hybrid(options)
    k, radius, oversample = (_number(name, options.get(name), least) for name, least in LEAST.items())
    allowed = _allowed(release, options.get("where"))
    strict = bool(options.get("rerank") or oversample)
    if strict and options.get("fast"):
        raise QueryError("--fast leaves hits in the order of their codes: --rerank and --oversample exclude it")
    fast = options.get("fast") or options.get("rerank") is False
    factor = None if fast else _oversampling(release, oversample, strict=strict)
    least = options.get("min_confidence")
    radius = _radius(release, radius, least, where=allowed is not None)
    others, distinct = bool(options.get("others")), bool(options.get("distinct"))
    return SearchOptions(k, radius, factor, strict, allowed, others, distinct, least, hybrid)


def _hybrid(options: QueryOptions) -> bool:
    """Return whether hits by words are fused with those by code.

    Raises:
        QueryError: another option holds for hits by code only.
    """
    if not options.get("hybrid"):
        return False
    for name in ("radius", "min_confidence", "distinct", "rerank", "oversample"):
        if options.get(name) not in (None, False):
            raise QueryError(f"--hybrid fuses hits by their ranks: --{name.replace('_', '-')} excludes it")
    return True


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


def _radius(release: Release, radius: int | None, min_confidence: float | None, *, where: bool) -> int | None:
    """Return the smaller of a radius and the distance of a confidence; None for neither."""
    if min_confidence is None:
        return radius
    if not isinstance(min_confidence, Real) or not 0 <= min_confidence <= 1:
        raise QueryError(f"min_confidence: a number from 0 to 1 is wanted, not {min_confidence!r}")
    known = release.confidence
    if known is None:
        partial = release.n_bits != release.whole.n_bits
        why = "of the first bits" if partial else "of this release: run it again"
        raise QueryError(f"{release.name}: it was not measured what distances {why} are worth")
    least = known.radius(min_confidence, where=where)
    return least if radius is None else min(least, radius)


def _oversampling(release: Release, factor: int | None, *, strict: bool) -> int | None:
    """Return how many times more hits than wanted are re-ranked; None keeps the order of codes.

    Args:
        release: whose scores hold the measured factor.
        factor: in place of the measured one.
        strict: whether re-ranking is asked for, and not only the rule.

    Raises:
        QueryError: re-ranking is asked for, and the release keeps no embeddings or it was not measured.
    """
    measured: Mapping[str, Any] = release.scores.get("reranking") or {}
    kept = release.segments.width is not None
    if not strict and not release.recipe.get("index", {}).get("rerank", True):
        return None
    if kept and (found := factor or measured.get("factor")):
        return int(found)
    why = (
        "it was not measured among how many hits; give that as --oversample FACTOR"
        if kept
        else 'the embeddings of its rows are not kept; with `[index] embedding = "int8"` in its recipe the next '
        "`aepipe run` keeps them"
    )
    if strict:
        raise QueryError(f"{release.name}: hits cannot be re-ranked: {why}")
    logger.debug("%s: hits are in the order of their codes: %s", release.name, why)
    return None


def search(release: Release, asked: Sequence[Question], options: SearchOptions) -> Iterator[Found]:
    """Yield the rows found for each question.

    Args:
        release: that is searched.
        asked: questions with their codes.
        options: which hits, and in which order.

    Raises:
        QueryError: re-ranking is asked for, and a question has no embedding.
    """
    bare = [question.text for question in asked if question.embedding is None]
    if options.strict and bare:
        raise QueryError(f"{bare[0]}: only items and rows have an embedding to re-rank hits by")
    for question, (ids, distances, nearest) in zip(asked, _near(release, asked, options), strict=True):
        if options.factor is None or question.embedding is None:
            yield Found(ids[: options.most], distances[: options.most], None, nearest)
            continue
        ids, distances = _narrow(release, question, ids, distances, options)
        order, near = _reranked(release, question.embedding, ids, distances, options.most)
        yield Found(ids[order], distances[order], near, nearest)


def _near(release: Release, asked: Sequence[Question], options: SearchOptions) -> list[Ranked]:
    """Return the rows near each question by their codes: all within a radius, or at least as many as are wanted."""
    codes = concatenate(question.code for question in asked if question.code is not None)
    if options.radius is None:
        return _nearest(release, codes, asked, options)
    ball = release.within(codes, options.radius, where=options.where)
    return [_keep_wanted(release, *ball.of(place), question, options) for place, question in enumerate(asked)]


def _nearest(release: Release, codes: BitCodes, asked: Sequence[Question], options: SearchOptions) -> list[Ranked]:
    """Return the nearest rows of each question; widen the search until enough are wanted."""
    most = len(release.index)
    k = _looked_at(release, options, options.wanted) + options.others
    done: dict[int, Ranked] = {}
    while left := [place for place in range(len(asked)) if place not in done]:
        for place, found in _candidates(release, codes, asked, left, k, options.where):
            kept = _keep_wanted(release, *found, asked[place], options)
            if len(kept[0]) >= options.wanted or len(found[0]) < k or k >= most:
                done[place] = kept
        k = min(most, MORE * k)
    return [done[place] for place in range(len(asked))]


def _candidates(
    release: Release, codes: BitCodes, asked: Sequence[Question], places: Sequence[int], k: int, where: Ids | None
) -> Iterator[tuple[int, tuple[Ids, Distances]]]:
    """Yield the k nearest rows of some questions: by their codes, of words by their floats against the rows' codes."""
    plain = [place for place in places if asked[place].logits is None]
    if plain:
        found = release.query(codes[np.array(plain)], k, where=where)
        yield from ((place, found.of(number)) for number, place in enumerate(plain))
    for place in places:
        logits = asked[place].logits
        if logits is not None:
            ids = asymmetric.search(release.index, logits[: release.n_bits], k, where)
            yield place, (ids, codes[place : place + 1].distances(release.codes_of(ids))[0])


def _looked_at(release: Release, options: SearchOptions, hits: int) -> int:
    """Return how many rows are looked at by code for some hits."""
    partial = options.factor is not None and release.n_bits < release.whole.n_bits
    return hits * (options.factor or 1) * (WIDER if partial else 1)


def _keep_wanted(
    release: Release, ids: Ids, distances: Distances, question: Question, options: SearchOptions
) -> Ranked:
    """Leave the row that asks and rows with equal codes out of hits, as the options say."""
    nearest = int(distances[0]) if len(distances) else None
    if not (options.others or options.distinct):
        return ids, distances, nearest
    kept = np.ones(len(ids), bool)
    if options.others and question.row_id is not None:
        kept &= ids != question.row_id
    if options.distinct and len(ids):
        places = np.nonzero(kept)[0]
        packed = release.codes_of(ids[places]).packed
        first = np.unique(np.ascontiguousarray(packed).view(f"V{packed.shape[1]}")[:, 0], return_index=True)[1]
        kept[:] = False
        kept[places[first]] = True
    return ids[kept], distances[kept], nearest


def _narrow(
    release: Release, question: Question, ids: Ids, distances: Distances, options: SearchOptions
) -> tuple[Ids, Distances]:
    """Keep the hits whose embeddings are compared; where only the first bits were, all bits choose among them."""
    if options.most is None:
        return ids, distances
    looked_at, wanted = _looked_at(release, options, options.most), options.most * (options.factor or 1)
    ids, distances = ids[:looked_at], distances[:looked_at]
    if release.n_bits == release.whole.n_bits:
        return ids, distances
    assert question.whole is not None, "what has an embedding has a code in full"
    codes = release.whole.codes_of(ids)
    far = question.whole.distances(codes)[0]
    if question.logits is not None:
        far = -asymmetric.scores(codes.packed, question.logits)
    first = np.sort(np.lexsort((ids, far))[:wanted])
    return ids[first], distances[first]


def _reranked(
    release: Release, embedding: NDArray[np.generic], ids: Ids, distances: Distances, most: int | None
) -> tuple[NDArray[np.int64], list[float]]:
    """Order rows by the cosine of their embeddings [H], largest first, ties by (distance, id).

    Returns:
        The order, int64[n], and the cosines in it.
    """
    blocks = (ids[start : start + BLOCK] for start in range(0, len(ids), BLOCK))
    found = [np.empty(0), *(_cosines(embedding, release.segments.embeddings_of(block)) for block in blocks)]
    cosine = np.concatenate(found)
    order = np.lexsort((ids, distances, -cosine))[:most]
    return order, [round(angle, SHOWN) for angle in cosine[order].tolist()]


def _cosines(own: NDArray[np.generic], rows: NDArray[np.int8]) -> NDArray[np.float64]:
    """Return the cosines of an embedding [H] with kept ones [N, H], float64[N]; that of a row with its copy is 1."""
    found = cosines(own, rows).astype(np.float64).round(DIGITS)
    # An item has more digits than rows keep, and must not be farther from its own row than another one is.
    kept = own if own.dtype == np.int8 else quantize(own[None].astype(np.float32))[0]
    found[(rows == kept).all(axis=1) & kept.any()] = 1
    return found


def hits_of(release: Release, found: Sequence[tuple[Found, Sequence[float] | None]]) -> list[list[Hit]]:
    """Return the hits of some questions; all of their rows are looked up together.

    Args:
        release: that was searched.
        found: the rows of each question, and the confidence of each row, or None for a question without.
    """
    rows = iter(release.describe(np.concatenate([rows.ids for rows, _ in found])) if found else ())
    return [
        [
            Hit(rank, far, round(1 - far / release.n_bits, SHOWN), next(rows), sure, cosine)
            for rank, (far, sure, cosine) in enumerate(one.measures(confidence), 1)
        ]
        for one, confidence in found
    ]
