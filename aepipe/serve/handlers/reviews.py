"""Near-duplicates, releases and their differences, what could not be read, and changes."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from aepipe.api import Collection
from aepipe.log import Progress
from aepipe.release.dedup import usual_way
from aepipe.release.filter import rows_named
from aepipe.release.groups import Groups
from aepipe.serve import reviews
from aepipe.serve.problems import BadRequestError
from aepipe.serve.requests import from_json, from_parameters
from aepipe.serve.responses import as_json, working
from aepipe.serve.service import check_writer, named, served, service_of

AGAIN = {"Retry-After": "1"}


class DuplicatesRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Which groups of near-duplicates are wanted.

    Attributes:
        alike: ``identical``, ``copies`` or ``content``; else ``copies`` of pictures, ``content`` with a radius.
        radius: bits in which a row may differ from the first of its group, where it is alike in content; else 3.
        min_size: rows that a group has at least.
        keep: which row of a group is kept, as ``--keep`` of ``aepipe dedup``.
        after: groups that are skipped.
        limit: most groups.
        release: the first characters of a digest; else the release in service.
    """

    alike: Literal["identical", "copies", "content"] | None = None
    radius: Annotated[int, Meta(ge=0, le=1 << 16)] | None = None
    min_size: Annotated[int, Meta(ge=2, le=1 << 30)] = 2
    keep: Annotated[str, Meta(max_length=1024)] = "best"
    after: Annotated[int, Meta(ge=0, le=1 << 40)] = 0
    limit: Annotated[int, Meta(ge=1, le=500)] = 50
    release: str | None = None


class DiffRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Two releases.

    Attributes:
        before: the first characters of a digest.
        after: the same; else the release in service.
    """

    before: Annotated[str, Meta(pattern="^[0-9a-f]{12,64}$")]
    after: Annotated[str, Meta(pattern="^[0-9a-f]{12,64}$")] | None = None


class RemoveRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Rows to be removed.

    Attributes:
        ids: rows by id.
        keys: rows by key.
        dry_run: only count them.
    """

    ids: Annotated[list[int], Meta(max_length=1_000_000)] = []
    keys: Annotated[list[str], Meta(max_length=1_000_000)] = []
    dry_run: bool = False


class Removed(msgspec.Struct):
    """Rows that were removed, or would be.

    Attributes:
        rows: how many.
        removed: whether they were.
    """

    rows: int
    removed: bool


async def duplicates(request: Request) -> Response:
    """Answer with groups of near-duplicates; 202 while they are looked for."""
    wanted = from_parameters(request.query_params.multi_items(), DuplicatesRequest)
    service, one = service_of(request), served(request, wanted.release)
    asked = (wanted.alike or usual_way(one.release, wanted.radius), wanted.radius, wanted.min_size)
    place = ("duplicates", one.digest, *asked)

    def work() -> Groups:
        return reviews.groups_of(one, *asked)

    found = service.jobs.result(place, work, wait=0)
    found = found or await service.searches.run(lambda: service.jobs.result(place, work))
    if found is None:
        return _later(request, service.jobs.progress(place))
    shown = await service.decoding.run(lambda: reviews.duplicates(one, found, wanted.keep, wanted.after, wanted.limit))
    return as_json(shown, headers=named(one))


async def releases(request: Request) -> Response:
    """Answer with what happened to a collection, the newest first."""
    service, one = service_of(request), served(request)
    found = await service.searches.run(lambda: reviews.releases(service.catalog.store, one.release.name))
    return as_json(reviews.History(one.digest, found))


async def diff(request: Request) -> Response:
    """Answer with the difference of two releases; 202 while they are compared."""
    wanted = from_parameters(request.query_params.multi_items(), DiffRequest)
    service = service_of(request)
    before = await service.searches.run(lambda: served(request, wanted.before))
    after = await service.searches.run(lambda: served(request, wanted.after))
    pair = ("diff", before.digest, after.digest)
    found = await service.searches.run(lambda: service.jobs.result(pair, lambda: reviews.difference(before, after)))
    return _later(request, service.jobs.progress(pair)) if found is None else as_json(found)


async def quarantine(request: Request) -> Response:
    """Answer with what the last run did not read, by reason."""
    service, one = service_of(request), served(request)
    found = await service.searches.run(lambda: reviews.quarantine(service.catalog.store, one.release.name))
    return as_json(reviews.Quarantine(one.digest, found))


async def remove(request: Request) -> Response:
    """Remove rows, or count those that would be."""
    check_writer(request)
    wanted = from_json(await request.body(), RemoveRequest)
    if not wanted.ids and not wanted.keys:
        raise BadRequestError("nothing is named: give ids or keys")
    service, one = service_of(request), served(request)

    def work() -> Removed:
        if wanted.dry_run:
            return Removed(len(rows_named(one.release, wanted.keys, ids=wanted.ids)), False)
        count = Collection(service.catalog.store, one.release).remove(*wanted.keys, ids=wanted.ids)
        service.catalog.look()
        return Removed(count, True)

    return as_json(await service.searches.run(work))


def _later(request: Request, at: Progress | None) -> Response:
    """Answer that the work has begun, how far it is, and where its result will be."""
    place = str(request.url.path) + (f"?{request.url.query}" if request.url.query else "")
    return as_json(working(at), 202, {**AGAIN, "Location": place})
