"""What is asked in one query, answered: codes become hits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from aepipe.bits import BitCodes, concatenate
from aepipe.cli.asking import Question
from aepipe.confidence import Confidence
from aepipe.errors import QueryError
from aepipe.keys import Row
from aepipe.release import Release
from aepipe.reranking import rerank

TOP = 10


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
    """

    top: int | None = None
    radius: int | None = None
    factor: int | None = None


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
    found = release.query(codes, top or TOP) if radius is None else release.within(codes, radius)
    for place in range(len(asked)):
        ids, distances = found.of(place)
        nearest = int(distances[0]) if len(distances) else None
        yield _hits(release, ids[:top], distances[:top]), nearest


def _reranked(
    release: Release, codes: BitCodes, asked: Sequence[Question], limits: Limits
) -> Iterator[tuple[list[Hit], int | None]]:
    """Yield the same as :func:`_found`, in the order of the embeddings."""
    bare = [question.text for question in asked if question.embedding is None]
    if bare:
        raise QueryError(f"{bare[0]}: only pictures and rows have an embedding, by which hits are re-ranked")
    k, factor = limits.top or TOP, limits.factor or 1
    found = release.query(codes, k * factor)
    nearest = [int(found.distances[place, 0]) if found.count[place] else None for place in range(len(asked))]
    if limits.radius is not None:
        found.count[:] = [(found.of(place)[1] <= limits.radius).sum() for place in range(len(asked))]
    embeddings = np.stack([question.embedding for question in asked if question.embedding is not None])
    best, cosines = rerank(release, embeddings, found, k)
    for place, near in enumerate(nearest):
        hits = _hits(release, *best.of(place))
        yield [replace(hit, cosine=round(float(cosines[place, i]), 4)) for i, hit in enumerate(hits)], near


def _hits(release: Release, ids: NDArray[np.int64], distances: NDArray[np.uint16]) -> list[Hit]:
    """Describe what was found."""
    found = enumerate(zip(distances.tolist(), release.describe(ids), strict=True), 1)
    return [Hit(rank, far, round(1 - far / release.n_bits, 4), row) for rank, (far, row) in found]
