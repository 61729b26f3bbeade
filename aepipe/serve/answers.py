"""The types of answers: written as JSON, and described in the OpenAPI document."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType

from aepipe.release.query import SNIPPET, Ranked
from aepipe.release.release import Release
from aepipe.release.search import SHOWN
from aepipe.release.search import Hit as Found
from aepipe.store.labels import parted, shown
from aepipe.store.segments import Row


class Hit(msgspec.Struct, gc=False):
    """One row found, as ``aepipe query --json`` has it, without ``path``.

    Attributes:
        rank: from 1.
        distance: in bits.
        similarity: share of the bits that agree.
        confidence: probability that it is of the query's kind; null where that was not measured.
        cosine: of the embeddings; null where hits are in the order of their codes.
        id: of the row.
        key: of the row.
        label: of the row; several with commas between; null without one.
        labels: each of them.
        split: ``train`` or ``test``.
        snippet: the beginning of a document, or the sentence that answers; null for others.
        columns: of the source, as text: all, or those that were asked for.
    """

    rank: int
    distance: int
    similarity: float
    confidence: float | None
    cosine: float | None
    id: int
    key: str
    label: str | None
    labels: list[str]
    split: str | None
    snippet: str | None
    columns: dict[str, str | None]


class Answer(msgspec.Struct):
    """A question and its hits.

    Attributes:
        query: what the question is called.
        code: in hex; null where the question could not be read.
        strange: why the question is unlike the collection; null where it is not.
        total: rows that could be listed, where that is known; else null.
        next: for ``after``: where the next hits begin; null at the end.
        handle: for ``handle``: asks the same again for ten minutes, with its embedding; null but for uploads and words.
        error: why there is no answer to this question; null where there is one.
        hits: nearest first.
        understood: what words were understood as, nearest first; empty where they are understood as they are.
    """

    query: str
    code: str | None
    strange: str | None
    total: int | None
    next: str | None
    handle: str | None
    error: str | None
    hits: list[Hit]
    understood: list[str] = []


class SearchAnswer(msgspec.Struct):
    """Answers to all questions of a request.

    Attributes:
        name: of the collection.
        release: the digest of the release that answered.
        fingerprint: of its encoder.
        rows: that can be found.
        took_ms: time of the search, in milliseconds.
        answers: in the order of the questions.
        shard: of a service that searches only one; others do not say it.
        complete: whether all shards were searched; only where ``partial`` is asked for.
        missing: the shards that were not; only where there are some.
    """

    name: str
    release: str
    fingerprint: str
    rows: int
    took_ms: float
    answers: list[Answer]
    shard: str | UnsetType = UNSET
    complete: bool | UnsetType = UNSET
    missing: list[str] | UnsetType = UNSET


class Incomplete(msgspec.Struct):
    """The last line of a streamed answer that is a part.

    Attributes:
        missing: the shards that were not searched.
        complete: false.
    """

    missing: list[str]
    complete: bool = False


class Encoded(msgspec.Struct):
    """The codes of some questions, in hex, in their order.

    Attributes:
        release: the digest of the release.
        fingerprint: of its encoder.
        n_bits: of a code.
        codes: null for what could not be read.
        errors: why not; null where it could.
    """

    release: str
    fingerprint: str
    n_bits: int
    codes: list[str | None]
    errors: list[str | None]


class Item(msgspec.Struct, omit_defaults=True):
    """One row of a collection, with the fields of a hit.

    Attributes:
        id: of the row.
        key: of the row.
        label: of the row; several with commas between; null without one.
        labels: each of them.
        split: ``train`` or ``test``.
        snippet: the beginning of a document; null for others.
        columns: of the source, as text: all, or those that were asked for.
        code: in hex; only of a row that is asked for by its id.
    """

    id: int
    key: str
    label: str | None
    labels: list[str]
    split: str | None
    snippet: str | None
    columns: dict[str, str | None]
    code: str | UnsetType = UNSET


class ItemList(msgspec.Struct):
    """Some rows of a collection.

    Attributes:
        release: the digest of the release.
        total: rows that fit.
        next: for ``after``; null at the end.
        items: the rows.
    """

    release: str
    total: int
    next: str | None
    items: list[Item]


class Counted(msgspec.Struct):
    """A value with the number of rows that have it.

    Attributes:
        value: a label or a split.
        count: rows.
    """

    value: str
    count: int


class CollectionSummary(msgspec.Struct, kw_only=True):
    """A collection in service.

    Attributes:
        name: by which it is asked.
        kind: of its source: images, text, table, vectors, audio or video.
        rows: that can be found.
        n_bits: of a code.
        release: digest of the release in service.
        promoted: when it went into service; null where the log has lost that.
        asks: what may be asked: some of ``id``, ``key``, ``code``, ``text``, ``vector``, ``row``, ``bytes``.
        pictures: whether rows have pictures to look at.
        trouble: why a newer release is not taken up; null where there is none.
        shard: of a service that searches only one, whose rows are counted then; others do not say it.
    """

    name: str
    kind: str
    rows: int
    n_bits: int
    release: str
    promoted: str | None
    asks: list[str]
    pictures: bool
    trouble: str | None
    shard: str | UnsetType = UNSET


class CollectionFacts(CollectionSummary, kw_only=True):
    """Everything about a collection.

    Attributes:
        fingerprint: of its encoder.
        columns: of the source, with their types in SQL.
        labels: with counts, the most frequent first.
        splits: with counts.
        confidence: probability at each distance from 0 on; null where it was not measured.
        meaning: of that probability, in words; null without it.
        reranked: whether hits are ordered by their embeddings.
        hybrid: whether words can be looked up in its documents, too.
        scores: as ``aepipe show --json`` gives them.
        cut: how documents are cut, ``passage`` and ``overlap``; empty where they are whole.
        map: whether there is a map.
        write: whether marks are taken.
        originals: whether files are handed out as they are.
    """

    fingerprint: str
    columns: dict[str, str]
    labels: list[Counted]
    splits: list[Counted]
    confidence: list[float] | None
    meaning: str | None
    reranked: bool
    hybrid: bool
    scores: dict[str, Any]
    cut: dict[str, Any]
    map: bool
    write: bool
    originals: bool


def hits_of(release: Release, found: Sequence[Ranked], skipped: int, columns: Sequence[str]) -> list[list[Hit]]:
    """Return the hits of some questions as they are answered.

    Of each row only the columns that are told are read, those of all rows at once.

    Args:
        release: that was searched; its rows have no snippets.
        found: the rows of each question.
        skipped: hits of each that are on earlier pages.
        columns: of the source that are told.
    """
    kept = [one.found.ids[skipped:] for one in found]
    items, known = release.items, release.items.columns
    names = [items.own_columns[known.index(name)] for name in columns]
    ids = np.concatenate(kept)
    keys, labels, splits, *own = items.table(("key", "label", "split", *names), ids)
    told = [dict(zip(columns, values, strict=True)) for values in zip(*own, strict=True)]
    rows = zip(ids.tolist(), keys, labels, splits, told or ({} for _ in keys), strict=True)
    return [_hits(release.n_bits, one, skipped, islice(rows, len(some))) for one, some in zip(found, kept, strict=True)]


def _hits(n_bits: int, one: Ranked, skipped: int, rows: Iterable[tuple[Any, ...]]) -> list[Hit]:
    measures = islice(enumerate(one.found.measures(one.confidence), 1), skipped, None)
    return [
        Hit(rank, far, _similarity(far, n_bits), sure, cosine, row_id, key or "", *_labels(label), split, None, own)
        for (rank, (far, sure, cosine)), (row_id, key, label, split, own) in zip(measures, rows, strict=True)
    ]  # fmt: skip


@lru_cache(1 << 12)
def _similarity(distance: int, n_bits: int) -> float:
    return round(1 - distance / n_bits, SHOWN)


@lru_cache(1 << 12)
def _labels(text: str | None) -> tuple[str | None, list[str]]:
    """Return the labels of a row as one text, and each; hits share the list, which nobody changes."""
    return shown(text), list(parted(text))


def hit_of(found: Found, columns: Sequence[str]) -> Hit:
    """Return a hit as it is answered, with some columns of the source."""
    measures = (found.rank, found.distance, found.similarity, found.confidence, found.cosine)
    return Hit(*measures, *_fields(found.row, columns))


def item_of(row: Row, columns: Sequence[str]) -> Item:
    """Return a row as it is answered, with some columns of the source."""
    return Item(*_fields(row, columns))


def _fields(row: Row, columns: Sequence[str]) -> tuple[Any, ...]:
    """Return the fields that a hit has of its row."""
    own = {name: row.columns.get(name) for name in columns if name != SNIPPET}
    return row.id, row.key, row.label, list(row.labels), row.split, row.columns.get(SNIPPET), own
