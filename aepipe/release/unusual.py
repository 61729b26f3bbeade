"""Tell which questions are unlike the whole collection, by their figures.

These are explained in :mod:`aepipe.evaluate.strangers`.

A question is judged by what it is and by its nearest row, whatever it asks for: conditions and other options of the
search change nothing. Rows of the collection are not judged, nor is an item with the code of a row, nor are words to a
collection that is not of documents: what answers these says by itself where they are far from all that it knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aepipe import sources
from aepipe.codes.bitcodes import concatenate
from aepipe.codes.encoder import Encoding, cosines
from aepipe.errors import ItemError
from aepipe.evaluate.calibration import ITEMS, WORDS
from aepipe.evaluate.strangers import Space, Strangers, faint, nearest_figure
from aepipe.release.release import Release
from aepipe.release.search import TOP, Found, Question, SearchOptions

KEY = "strangers"
UNLIKE = "unlike anything here: it is farther from all {count:,} items than 98 of 100 held-out ones are"
WORDS_UNLIKE = "unlike anything here: these words fit no item as well as those of 98 of 100 held-out ones do"


def is_judged(release: Release) -> bool:
    """Whether the scores of a release hold limits; those of older versions hold none."""
    return KEY in release.scores


def figures_of(
    release: Release, items: NDArray[np.generic], found: Encoding, asked: Sequence[Question]
) -> list[dict[str, float]]:
    """Return the figures of items but for their nearest rows.

    Args:
        release: whose limits are asked.
        items: [Q, ...], as they go into the encoder.
        found: what that gave.
        asked: the Q questions, with their bytes.
    """
    if not release.scores.get(KEY):
        return [{} for _ in asked]
    unknown = sources.stranger_words(release.encoder.card.source, release.encoder.card.features)
    space = _space(release)
    if space is not None:
        columns = space.figures(items)
    else:
        columns = {"faint": faint(found.embedding)}
        if unknown:
            columns["unknown"] = np.array([_share(unknown, one) for one in asked])
    return [{name: float(column[place]) for name, column in columns.items()} for place in range(len(asked))]


def unusual(
    release: Release, asked: Sequence[Question], found: Sequence[Found], options: SearchOptions
) -> list[str | None]:
    """Return for each question why it is unlike the collection; None where it is like it.

    Args:
        release: that was asked.
        asked: questions with their codes.
        found: the rows of each, as the search gave them.
        options: of the search.
    """
    known = release.confidence
    outside = [place for place, one in enumerate(asked) if one.row_id is None and one.meaning is None]
    if not outside or (known is None and not is_judged(release)):
        return [None] * len(asked)
    limits = {kind: Strangers.from_dict(limit) for kind, limit in release.scores.get(KEY, {}).items()}
    judged = [
        place for place in outside if (limit := _limit(limits, asked[place])) and limit.knows(_whole(asked[place]))
    ]
    told: list[str | None] = [None] * len(asked)
    for place, nearest in zip(judged, _nearest(release, judged, asked, found, options), strict=True):
        figures, limit = {**asked[place].figures, "nearest": nearest[0]}, _limit(limits, asked[place])
        if nearest[1] > 0 and limit is not None and limit.is_one(figures):
            told[place] = WORDS_UNLIKE if asked[place].words else UNLIKE.format(count=len(release.whole))
    for place in set(outside) - set(judged):
        bare = asked[place].embedding is None
        if known and options.where is None and (bare or not is_judged(release)):
            # A few words are never decoded as well as the documents that the limit was measured on.
            error = None if asked[place].words else asked[place].error
            told[place] = known.strange(found[place].nearest, error)
    return told


def _limit(limits: dict[str, Strangers], question: Question) -> Strangers | None:
    return limits.get(WORDS if question.words else ITEMS)


def _whole(question: Question) -> dict[str, float]:
    """Return the figures that a question has once its nearest row is known."""
    return {**question.figures, "nearest": 0.0} if question.whole is not None else {}


def _nearest(
    release: Release,
    places: Sequence[int],
    asked: Sequence[Question],
    found: Sequence[Found],
    options: SearchOptions,
) -> list[tuple[float, int]]:
    """Return the figure of the nearest row of questions, and its distance in bits."""
    factor = (release.scores.get("reranking") or {}).get("factor")
    usual = options.where is None and replace(options, top=None, least=None) == SearchOptions(factor=factor)
    if usual and options.wanted == TOP and release is release.whole:
        return [_of_rows(found[place]) for place in places]
    if not places:
        return []
    whole = release.whole
    codes = concatenate(code for place in places if (code := asked[place].whole) is not None)
    hits = whole.query(codes, TOP * (factor or 1))
    near = []
    for number, place in enumerate(places):
        ids, distances = hits.of(number)
        own = asked[place].embedding
        best = None
        if factor is not None and own is not None:
            best = float(cosines(own, whole.segments.embeddings_of(ids)).max())
        near.append((nearest_figure(best, int(distances[0])), int(distances[0])))
    return near


def _of_rows(found: Found) -> tuple[float, int]:
    least = found.nearest if found.nearest is not None else int(found.distances[0])
    return nearest_figure(found.cosines[0] if found.cosines else None, least), least


def _space(release: Release) -> Space | None:
    """Return the space of a release; None for one of words."""
    arrays = release.space
    return None if arrays is None else Space.of_arrays(*arrays)


def _share(unknown: Any, question: Question) -> float:  # noqa: ANN401  a function of bytes and a name
    try:
        return float(unknown(question.data, question.text))
    except ItemError:
        return 1.0
