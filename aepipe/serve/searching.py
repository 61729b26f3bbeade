"""Searches as the service answers them: filters, pages of hits, several questions at once."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from aepipe.errors import AepipeError
from aepipe.release import query as queries
from aepipe.release.release import Release
from aepipe.release.search import TOP, QueryOptions, Question, SearchOptions, search_options
from aepipe.release.words import Mixture
from aepipe.serve import answers, asking
from aepipe.serve.catalog import Served
from aepipe.serve.conditions import Conditions
from aepipe.serve.problems import BadRequestError, words_of
from aepipe.serve.requests import MOST_HITS, ItemsRequest, Options, Query

DEEPEST, DEEPEST_RERANKED = 10_000, 1000
"""Hits that can be paged through, without and with re-ranking."""

Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Page:
    """A part of the hits of a question.

    Attributes:
        size: hits on it.
        skipped: hits before it.
    """

    size: int
    skipped: int = 0

    @classmethod
    def of(cls, options: Options, served: Served) -> Page:
        """Return the page that a request asks for.

        Raises:
            BadRequestError: ``after`` is not the ``next`` of an earlier answer of this release.
        """
        size = options.k or (MOST_HITS if _has_radius(options) else TOP)
        if options.after is None:
            return cls(size)
        digest, _, rest = options.after.partition("-")
        numbers = rest.split("-")
        if digest != served.digest[:12] or len(numbers) != 2 or not all(map(str.isdecimal, numbers)):
            raise BadRequestError("after: not the `next` of an answer of this release; ask anew", "/after")
        size, skipped = map(int, numbers)
        if not (1 <= size <= MOST_HITS and 0 < skipped <= DEEPEST):
            raise BadRequestError("after: not the `next` of an answer", "/after")
        return cls(size, skipped)

    def next(self, served: Served, found: int, *, reranked: bool) -> str | None:
        """Return where the next page begins; None where this was the last one.

        Args:
            served: the release.
            found: hits on this page.
            reranked: hits are in the order of their embeddings.
        """
        end = self.skipped + self.size
        if found < self.size or end + self.size > (DEEPEST_RERANKED if reranked else DEEPEST):
            return None
        return f"{served.digest[:12]}-{self.size}-{end}"


def release_of(options: Options) -> str | None:
    """Return the digest of the release that a request names; None for that in service.

    A search that is paged names it by its last answer: it goes on in the release where it began.
    """
    begun = options.after.partition("-")[0] if options.after else ""
    return options.release or (begun if re.fullmatch("[0-9a-f]{12}", begun) else None)


def search(
    served: Served, asked: Sequence[Query], options: Options, conditions: Conditions, handles: asking.Handles
) -> answers.SearchAnswer:
    """Answer some questions.

    Raises:
        BadRequestError: ``after`` is none of this release.
        QueryError: an option cannot be followed, or the condition is none.
    """
    begun = time.perf_counter()
    found = list(each(served, asked, options, conditions, handles))
    release = served.release
    took = round(1000 * (time.perf_counter() - begun), 3)
    return answers.SearchAnswer(release.name, served.digest, release.fingerprint, len(release.index), took, found)


def each(
    served: Served, asked: Sequence[Query], options: Options, conditions: Conditions, handles: asking.Handles
) -> Iterator[answers.Answer]:
    """Yield the answers to some questions in their order, block by block.

    Raises:
        As :func:`search`.
    """
    release, page = served.seen_through(options.bits), Page.of(options, served)
    mixture = Mixture.of(options.plus, options.minus, options.weight)
    wanted = _search_options(release, options, allowed(served, options, conditions))
    columns = columns_of(release, options.columns)
    alone = len(asked) == 1
    for start in range(0, len(asked), queries.AT_ONCE):
        block = asking.questions(
            release, asked[start : start + queries.AT_ONCE], handles, mixture, hybrid=wanted.hybrid
        )
        for error in block if alone else ():
            if isinstance(error, AepipeError):
                raise error
        good = [one for one in block if isinstance(one, Question)]
        hits = iter(_paged(release, good, wanted, page))
        for one, query in zip(block, asked[start:], strict=False):
            if isinstance(one, Question):
                yield _answer(served, release, next(hits), wanted, page, columns, handles, query)
            else:
                yield answers.Answer(
                    query.name or query.kind, None, None, None, None, None, words_of(one, query.said), []
                )


def allowed(served: Served, options: Options | ItemsRequest, conditions: Conditions) -> Ids | None:
    """Return the ids that filters let pass, int64[n], ascending; None where there is no filter.

    Raises:
        QueryError: the condition is none over the columns, or takes too long.
    """
    found = [served.facets[name].rows(values) for name in ("label", "split") if (values := getattr(options, name))]
    if options.where is not None:
        found.append(conditions.rows(served.release, options.where))
    if not found:
        return None
    ids = found[0]
    for more in found[1:]:
        ids = np.intersect1d(ids, more, assume_unique=True)
    return ids


def columns_of(release: Release, wanted: Sequence[str]) -> list[str]:
    """Return the names of the source's columns that are wanted: all where none is named.

    Raises:
        BadRequestError: there is no such column.
    """
    known = release.items.columns
    if unknown := sorted(set(wanted) - {*known, "*"}):
        listed = ", ".join(known) or "none"
        raise BadRequestError(f"columns: no column {unknown[0]!r}; the source has {listed}", "/columns")
    return list(known) if "*" in wanted or not wanted else list(wanted)


def _search_options(release: Release, options: Options, ids: Ids | None) -> SearchOptions:
    given: QueryOptions = {
        "k": options.k,
        "radius": options.radius,
        "min_confidence": options.min_confidence,
        "where": ids,
        "others": options.others,
        "distinct": options.distinct,
        "fast": options.fast,
        "rerank": options.rerank,
        "oversample": options.oversample,
        "hybrid": options.hybrid,
    }
    return search_options(release, given)


def _has_radius(options: Options) -> bool:
    return options.radius is not None or options.min_confidence is not None


def _paged(release: Release, asked: Sequence[Question], wanted: SearchOptions, page: Page) -> list[queries.Answer]:
    """Answer questions with the hits of one page, ranks counted from the first page on."""
    if not asked:
        return []
    if not page.skipped or (wanted.factor is None and not wanted.hybrid):
        found = queries.answer(release, asked, replace(wanted, top=page.size + page.skipped))
        return [replace(one, hits=one.hits[page.skipped :]) for one in found]
    # With more hits, more rows are re-ranked or fused, and their order is another one: each page holds the best of what
    # was not on the pages before it.
    shown: list[set[int]] = [set() for _ in asked]
    for end in range(page.size, page.skipped + page.size + 1, page.size):
        found = queries.answer(release, asked, replace(wanted, top=end))
        for number, one in enumerate(found):
            new = [hit for hit in one.hits if hit.row.id not in shown[number]][: page.size]
            shown[number].update(hit.row.id for hit in new)
            ranks = enumerate(new, end - page.size + 1)
            found[number] = replace(one, hits=[replace(hit, rank=rank) for rank, hit in ranks])
    return found


def _answer(
    served: Served,
    release: Release,
    found: queries.Answer,
    wanted: SearchOptions,
    page: Page,
    columns: list[str],
    handles: asking.Handles,
    query: Query,
) -> answers.Answer:
    question = found.question
    assert question.code is not None, "a question that could be read has a code"
    reranked = wanted.hybrid or (wanted.factor is not None and question.embedding is not None)
    return answers.Answer(
        question.text,
        question.code.hex()[0],
        found.strange,
        _total(release, question, wanted),
        page.next(served, len(found.hits), reranked=reranked),
        handles.keep(question) if query.kind in {"bytes", "text", "row", "vector"} or query.crop else None,
        None,
        [answers.hit_of(hit, columns) for hit in found.hits],
        list(question.understood),
    )


def _total(release: Release, question: Question, wanted: SearchOptions) -> int | None:
    """Return how many rows could be listed; None where that is all rows, or would have to be counted."""
    if wanted.radius is None or wanted.distinct:
        return None if wanted.where is None or wanted.distinct else len(wanted.where)
    assert question.code is not None
    ids, _ = release.within(question.code, wanted.radius, where=wanted.where).of(0)
    own = question.row.id if question.row is not None and wanted.others else -1
    return len(ids) - int((ids == own).sum())
