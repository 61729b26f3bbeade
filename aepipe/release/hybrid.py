"""Hits by codes and by words together: what means the same, and what says the same.

Two lists of rows are fused by the reciprocals of their ranks, which needs no scale of distances or scores. That of the
codes is in their own order: with subject lines as questions it was the better half
(``python -m benchmarks.quality.hybrid``).

Source: Cormack, Clarke and Buettcher, "Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning
Methods", SIGIR 2009.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from aepipe.codes.encoder import cosines
from aepipe.errors import ItemError, QueryError
from aepipe.release.fulltext import FullText, text_reader
from aepipe.release.originals import original
from aepipe.release.release import Release
from aepipe.release.search import Found, Question, SearchOptions, search

DEPTH = 300
"""Hits of each list that are fused."""
LATE = 60
"""Is added to each rank, so that the first ranks do not decide alone."""
DIGITS = 4


def fused(release: Release, fulltext: FullText, asked: Sequence[Question], options: SearchOptions) -> Iterator[Found]:
    """Yield the rows found for each question.

    Args:
        release: that is searched.
        fulltext: of its documents.
        asked: questions with their codes; one without a text is answered by its code alone.
        options: which hits.
    """
    wide = replace(options, top=max(DEPTH, options.wanted), factor=None)
    for question, found in zip(asked, search(release, asked, wide), strict=True):
        by_code = [] if is_unknown(question) else found.ids.tolist()
        own = [] if question.row_id is None or not options.others else [question.row_id]
        words = fulltext.search(_text(release, question), DEPTH + len(own), options.where)
        ids = ranked(by_code, [one for one in words.tolist() if one not in own])
        yield _measured(release, question, np.array(ids[: options.wanted], np.int64), found.nearest)


def check_asked(questions: Sequence[Question]) -> None:
    """Check that questions have a text to look for.

    Raises:
        QueryError: one is a bare code.
    """
    others = (one for one in questions if one.row_id is None)
    bare = next((one for one in others if not (one.failure or one.meaning or one.data)), None)
    if bare is not None:
        raise QueryError(f"{bare.text}: has no words to look for: leave out --hybrid, or ask with a document or a row")


def known_by_words(release: Release, question: Question) -> Question:
    """Return a question of words that the encoder does not know with the code of no words.

    Other questions stay as they are. It is answered by its words alone; distances of its hits say nothing.
    """
    if question.failure is None or not question.words:
        return question
    card = release.encoder.card
    whole = release.encoder.encode(np.zeros((1, *card.shape), card.dtype)).codes
    return replace(question, failure=None, code=whole.prefix(release.n_bits), whole=whole)


def is_unknown(question: Question) -> bool:
    """Whether a question has come by :func:`known_by_words` to its code."""
    return question.words and question.embedding is None


def ranked(first: Sequence[int], second: Sequence[int]) -> list[int]:
    """Return the ids of two lists by the sum of their reciprocal ranks.

    Of equals the one that is earlier in the first list comes first.
    """
    scores: dict[int, float] = {}
    for ids in (first, second):
        for rank, row_id in enumerate(ids, 1):
            scores[row_id] = scores.get(row_id, 0.0) + 1 / (LATE + rank)
    return sorted(scores, key=lambda row_id: -scores[row_id])


def _text(release: Release, question: Question) -> str:
    """Return the text of a question; empty where it has none."""
    read = text_reader(release)
    if question.row_id is None:
        return read(question.data, question.text) if question.data else ""
    (row,) = release.describe([question.row_id])
    try:
        return read(original(release, row.place), row.key)
    except ItemError:
        return ""


def _measured(release: Release, question: Question, ids: NDArray[np.int64], nearest: int | None) -> Found:
    """Return rows with their distances and cosines from a question, in the order of their ids."""
    assert question.code is not None, "what is searched has a code"
    far = question.code.distances(release.codes_of(ids))[0]
    if question.embedding is None or release.segments.width is None:
        return Found(ids, far, None, nearest)
    near = cosines(question.embedding, release.segments.embeddings_of(ids))
    return Found(ids, far, near.astype(np.float64).round(DIGITS).tolist(), nearest)
