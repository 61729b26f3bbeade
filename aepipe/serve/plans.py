"""How a release answers: options, resolved once for all requests that have the same.

A plan names no release of the catalog: those that were kept by plans would stay open after they have left service.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from aepipe.release.release import Release
from aepipe.release.search import TOP, QueryOptions, SearchOptions, search_options
from aepipe.release.words import Mixture
from aepipe.serve.problems import BadRequestError
from aepipe.serve.requests import MOST_HITS, Options

DEEPEST, DEEPEST_RERANKED = 10_000, 1000
"""Hits that can be paged through, without and with re-ranking."""
PLAIN = 100
"""Hits up to which their number makes little of the time of a search."""

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
    def of(cls, options: Options, release: str) -> Page:
        """Return the page that a request asks for.

        Args:
            options: of the request.
            release: the digest of the release that answers.

        Raises:
            BadRequestError: ``after`` is not the ``next`` of an earlier answer of this release.
        """
        size = options.k or (MOST_HITS if _has_radius(options) else TOP)
        if options.after is None:
            return cls(size)
        digest, _, rest = options.after.partition("-")
        numbers = rest.split("-")
        if digest != release[:12] or len(numbers) != 2 or not all(map(str.isdecimal, numbers)):
            raise BadRequestError("after: not the `next` of an answer of this release; ask anew", "/after")
        size, skipped = map(int, numbers)
        if not (1 <= size <= MOST_HITS and 0 < skipped <= DEEPEST):
            raise BadRequestError("after: not the `next` of an answer", "/after")
        return cls(size, skipped)

    def next(self, digest: str, found: int, *, reranked: bool) -> str | None:
        """Return where the next page begins; None where this was the last one.

        Args:
            digest: of the release.
            found: hits on this page.
            reranked: hits are in the order of their embeddings.
        """
        end = self.skipped + self.size
        if found < self.size or end + self.size > (DEEPEST_RERANKED if reranked else DEEPEST):
            return None
        return f"{digest[:12]}-{self.size}-{end}"


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """How some requests are answered.

    Attributes:
        release: seen through as many bits as are wanted.
        digest: of it.
        wanted: which hits, and in which order.
        page: of them.
        mixture: words that are added to each question.
        columns: of the source that are told.
    """

    release: Release
    digest: str
    wanted: SearchOptions
    page: Page
    mixture: Mixture
    columns: list[str]

    @classmethod
    def of(cls, release: Release, digest: str, options: Options, ids: Ids | None) -> Plan:
        """Return the plan of a request.

        Args:
            release: that is asked, seen through as many bits as are wanted.
            digest: of it.
            options: of the request.
            ids: that may be found; None for all.

        Raises:
            BadRequestError: ``after`` is none of this release, or there is no such column.
            QueryError: an option cannot be followed.
        """
        return cls(
            release,
            digest,
            _search_options(release, options, ids),
            Page.of(options, digest),
            Mixture.of(options.plus, options.minus, options.weight),
            columns_of(release, options.columns),
        )


@lru_cache(256)
def is_plain(options: Options) -> bool:
    """Return whether few hits are wanted, and every question takes about the same time."""
    filters = (
        options.label,
        options.split,
        options.where,
        options.after,
        options.distinct,
        options.hybrid,
        options.plus,
        options.minus,
    )
    reach = (options.radius, options.min_confidence, options.bits, options.partial)
    return (options.k or 1) <= PLAIN and not any(filters) and all(one is None for one in reach)


def cost_of(options: Options) -> Hashable:
    """Return what says how long a plain question takes."""
    return options.fast, options.rerank, options.oversample


def release_of(options: Options) -> str | None:
    """Return the digest of the release that a request names; None for that in service.

    A search that is paged names it by its last answer: it goes on in the release where it began.
    """
    begun = options.after.partition("-")[0] if options.after else ""
    return options.release or (begun if re.fullmatch("[0-9a-f]{12}", begun) else None)


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
