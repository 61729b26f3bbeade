"""Searches as the service answers them: filters, pages of hits, several questions at once."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from aepipe.errors import AepipeError
from aepipe.release import query as queries
from aepipe.release.query import SNIPPET
from aepipe.release.release import Release
from aepipe.release.search import Question, SearchOptions
from aepipe.serve import answers, asking
from aepipe.serve.catalog import Served
from aepipe.serve.conditions import Conditions
from aepipe.serve.plans import Ids, Plan
from aepipe.serve.problems import words_of
from aepipe.serve.requests import ItemsRequest, Options, Query

Told = tuple[Question, str | None, list[answers.Hit]]
"""A question that was searched, why it is unlike the collection, and its hits."""


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
    return _whole(served, found, begun)


def each(
    served: Served, asked: Sequence[Query], options: Options, conditions: Conditions, handles: asking.Handles
) -> Iterator[answers.Answer]:
    """Yield the answers to some questions in their order, block by block.

    Raises:
        As :func:`search`.
    """
    release = served.seen_through(options.bits)
    plan = Plan.of(release, served.digest, options, allowed(served, options, conditions))
    alone = len(asked) == 1
    for start in range(0, len(asked), queries.AT_ONCE):
        block = asked[start : start + queries.AT_ONCE]
        for query, one in zip(block, _block(plan, block, handles), strict=True):
            if isinstance(one, answers.Answer):
                yield one
            elif alone:
                raise one
            else:
                yield _refused(query, one)


def together(
    served: Served, plan: Plan, asked: Sequence[Query], handles: asking.Handles
) -> list[answers.SearchAnswer | AepipeError]:
    """Return the answer that each question would get alone, or its error; all are one search."""
    begun = time.perf_counter()
    try:
        found = _block(plan, asked, handles)
    except AepipeError as error:
        if len(asked) == 1:
            return [error]
        # One question may be the reason for which nothing was searched.
        return [one for query in asked for one in together(served, plan, [query], handles)]
    return [_whole(served, [one], begun) if isinstance(one, answers.Answer) else one for one in found]


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


def _whole(served: Served, found: list[answers.Answer], begun: float) -> answers.SearchAnswer:
    release, took = served.release, round(1000 * (time.perf_counter() - begun), 3)
    return answers.SearchAnswer(release.name, served.digest, release.fingerprint, len(release.index), took, found)


def _refused(query: Query, error: AepipeError) -> answers.Answer:
    return answers.Answer(query.name or query.kind, None, None, None, None, None, words_of(error, query.said), [])


def _block(plan: Plan, asked: Sequence[Query], handles: asking.Handles) -> list[answers.Answer | AepipeError]:
    """Return the answer or the error of each of some questions."""
    wanted = plan.wanted
    embedded = wanted.factor is not None or wanted.hybrid
    block = asking.questions(plan.release, asked, handles, plan.mixture, hybrid=wanted.hybrid, embedded=embedded)
    good = [one for one in block if isinstance(one, Question)]
    told = iter(_told(plan, good) if good else ())
    return [
        _answer(plan, *next(told), handles, query) if isinstance(one, Question) else one
        for query, one in zip(asked, block, strict=True)
    ]


def _told(plan: Plan, asked: Sequence[Question]) -> list[Told]:
    """Search for some questions, and return the hits of one page; ranks are counted from the first page on."""
    release, page = plan.release, plan.page
    if page.skipped and (plan.wanted.factor is not None or plan.wanted.hybrid):
        return _later_page(plan, asked)
    wanted = replace(plan.wanted, top=page.size + page.skipped)
    if SNIPPET in release.items.columns:
        return [_cut(one, page.skipped, plan.columns) for one in queries.answer(release, asked, wanted)]
    found = queries.ranked(release, asked, wanted)
    hits = answers.hits_of(release, found, page.skipped, plan.columns)
    return [(one.question, one.strange, some) for one, some in zip(found, hits, strict=True)]


def _cut(found: queries.Answer, skipped: int, columns: Sequence[str]) -> Told:
    return found.question, found.strange, [answers.hit_of(hit, columns) for hit in found.hits[skipped:]]


def _later_page(plan: Plan, asked: Sequence[Question]) -> list[Told]:
    """Return a later page of hits that are not in the order of their codes.

    With more hits, more rows are re-ranked or fused, and their order is another one: each page holds the best of what
    was not on the pages before it.
    """
    size, last = plan.page.size, plan.page.skipped
    shown: list[set[int]] = [set() for _ in asked]
    for end in range(size, last + size + 1, size):
        found = queries.answer(plan.release, asked, replace(plan.wanted, top=end))
        for number, one in enumerate(found):
            new = [hit for hit in one.hits if hit.row.id not in shown[number]][:size]
            shown[number].update(hit.row.id for hit in new)
            ranks = enumerate(new, end - size + 1)
            found[number] = replace(one, hits=[replace(hit, rank=rank) for rank, hit in ranks])
    return [_cut(one, 0, plan.columns) for one in found]


def _answer(
    plan: Plan,
    question: Question,
    strange: str | None,
    hits: list[answers.Hit],
    handles: asking.Handles,
    query: Query,
) -> answers.Answer:
    assert question.code is not None, "a question that could be read has a code"
    reranked = plan.wanted.hybrid or (plan.wanted.factor is not None and question.embedding is not None)
    return answers.Answer(
        question.text,
        question.code.hex()[0],
        strange,
        _total(plan.release, question, plan.wanted),
        plan.page.next(plan.digest, len(hits), reranked=reranked),
        handles.keep(question) if query.kind in {"bytes", "text", "row", "vector"} or query.crop else None,
        None,
        hits,
        list(question.understood),
    )


def _total(release: Release, question: Question, wanted: SearchOptions) -> int | None:
    """Return how many rows could be listed; None where that is all rows, or would have to be counted."""
    if wanted.radius is None or wanted.distinct:
        return None if wanted.where is None or wanted.distinct else len(wanted.where)
    assert question.code is not None
    ids, _ = release.within(question.code, wanted.radius, where=wanted.where).of(0)
    own = question.row_id if question.row_id is not None and wanted.others else -1
    return len(ids) - int((ids == own).sum())
