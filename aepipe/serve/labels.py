"""Rows labelled by words, as the service answers them."""

from __future__ import annotations

from itertools import islice
from typing import Annotated

import msgspec
from msgspec import Meta

from aepipe.release.label import Labelled, lines
from aepipe.serve.catalog import Served

MOST_ROWS = 10_000


class LabelsRequest(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """Words that all rows of a collection are labelled by.

    Attributes:
        words: two at least, each a word or a phrase.
        after: rows that are skipped: the ``next`` of an earlier answer.
        limit: most rows.
        release: the first characters of a digest; else the release in service.
    """

    words: Annotated[list[Annotated[str, Meta(max_length=4096)]], Meta(max_length=10_000)]
    after: Annotated[int, Meta(ge=0, le=1 << 40)] = 0
    limit: Annotated[int, Meta(ge=0, le=MOST_ROWS)] = 1000
    release: Annotated[str, Meta(pattern="^[0-9a-f]{12,64}$")] | None = None


class Label(msgspec.Struct):
    """A row with its label.

    Attributes:
        id: of the row.
        key: of the row.
        label: the word that it is most like.
        confidence: how far that stands out from the other words, 0..1.
    """

    id: int
    key: str
    label: str
    confidence: float


class Labels(msgspec.Struct):
    """Some rows with their labels, by id.

    Attributes:
        release: the digest of the release.
        words: by which rows are labelled.
        counts: rows of each word, in the order of the words.
        far: what is to be said of words that the collection does not understand.
        total: rows in all.
        next: for ``after``; null at the end.
        rows: some of them.
    """

    release: str
    words: list[str]
    counts: list[int]
    far: list[str]
    total: int
    next: int | None
    rows: list[Label]


def labels(served: Served, found: Labelled, after: int, limit: int) -> Labels:
    """Return some rows with their labels.

    Args:
        served: the release.
        found: all of its rows.
        after: rows that are skipped.
        limit: most rows.
    """
    shown = [Label(*line) for line in islice(lines(served.release, found, after), limit)]
    end = after + len(shown)
    counts = list(found.counts().values())
    following = end if shown and end < len(found) else None
    return Labels(served.digest, list(found.words), counts, list(found.far), len(found), following, shown)
