"""What is asked in one query, answered: codes become hits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from aepipe.asking import Question
from aepipe.bits import BitCodes, concatenate
from aepipe.confidence import Confidence
from aepipe.errors import QueryError
from aepipe.index import Hits
from aepipe.keys import Row
from aepipe.release import Release
from aepipe.reranking import rerank

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
class Limits:
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


def answer(release: Release, questions: Sequence[Question], limits: Limits) -> list[Answer]:
    """Search for all questions at once; those without a code get no hits.

    Raises:
        QueryError: a code that came without its embedding cannot be re-ranked.
    """
    asked = [question for question in questions if question.code is not None]
    found = iter(_found(release, asked, limits) if asked else [])
    known = Confidence.of(release)
    answers = []
    for question in questions:
        hits, nearest = next(found) if question.code else ([], None)
        if known:
            hits = [replace(hit, confidence=known.probability[hit.distance]) for hit in hits]
        # A row of the collection is its own nearest, and is not asked whether it belongs there.
        outside = known if question.row is None else None
        answers.append(Answer(question, hits, outside.strange(nearest, question.error) if outside else None))
    return answers


def _found(release: Release, asked: Sequence[Question], limits: Limits) -> Iterator[tuple[list[Hit], int | None]]:
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
    release: Release, codes: BitCodes, asked: Sequence[Question], limits: Limits
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
    release: Release, ids: NDArray[np.int64], distances: NDArray[np.uint16], question: Question, limits: Limits
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
    release: Release, codes: BitCodes, asked: Sequence[Question], limits: Limits
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
