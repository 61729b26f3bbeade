"""Why two rows are near: the bits in which they differ, and how rare each of them is."""

from __future__ import annotations

import msgspec
import numpy as np

from aepipe.codes.encoder import cosines
from aepipe.errors import CodeError, QueryError
from aepipe.evaluate.calibration import Confidence
from aepipe.release import query as queries
from aepipe.release.search import Question
from aepipe.serve.catalog import Served


class Bit(msgspec.Struct):
    """One bit of both codes.

    Attributes:
        a, b: its value in each.
        share: of the rows that have it set.
    """

    a: int
    b: int
    share: float


class Explanation(msgspec.Struct):
    """How two codes compare.

    Attributes:
        a, b: what they are called.
        distance: bits that differ.
        similarity: share of the bits that agree.
        confidence: probability that they are of one kind; null where that was not measured.
        cosine: of the embeddings; null where one is not known.
        bits: all of them, in order.
    """

    a: str
    b: str
    distance: int
    similarity: float
    confidence: float | None
    cosine: float | None
    bits: list[Bit]


def explain(served: Served, a: str, b: str) -> Explanation:
    """Compare two rows, or codes.

    Args:
        served: the release.
        a: an id, a key, or a code in hex.
        b: the same.

    Raises:
        QueryError: there is no such row, and it is no code.
    """
    one, other = question_of(served, a), question_of(served, b)
    assert one.code is not None
    assert other.code is not None
    distance = int(one.code.distances(other.code)[0, 0])
    n_bits = served.release.n_bits
    known = Confidence.of(served.release.name, served.release.scores, n_bits)
    curve, cosine = known.curve(words=False, where=False) if known else None, _cosine(one, other)
    values = zip(one.code.unpack()[0].tolist(), other.code.unpack()[0].tolist(), served.shares.tolist(), strict=True)
    return Explanation(
        one.text,
        other.text,
        distance,
        round(1 - distance / n_bits, 4),
        curve.at(distance, cosine) if curve else None,
        cosine,
        [Bit(int(first), int(second), round(share, 4)) for first, second, share in values],
    )


def question_of(served: Served, text: str) -> Question:
    """Return the question that an id, a key or a code stands for.

    Raises:
        QueryError: it is none of them.
    """
    release = served.release
    if text.isdecimal() and len(text) < 19:
        place = int(np.searchsorted(served.ids, int(text)))
        if place < len(served.ids) and int(served.ids[place]) == int(text):
            return next(queries.questions_from_rows(release, [int(text)], []))
    found = release.items.find(text)
    if found is not None:
        return next(queries.questions_from_rows(release, [found], []))
    try:
        return next(queries.questions_from_codes(release, [text]))
    except CodeError:
        raise QueryError(f"{text!r} is neither an id nor a key nor a code of {release.name}") from None


def _cosine(one: Question, other: Question) -> float | None:
    if one.embedding is None or other.embedding is None:
        return None
    return round(float(cosines(one.embedding, np.asarray(other.embedding)[None])[0]), 4)
