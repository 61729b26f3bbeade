"""Collections, their rows, and what these look like."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from aepipe.errors import AepipeError
from aepipe.release import originals
from aepipe.release.fulltext import can_be_asked
from aepipe.release.query import SNIPPET
from aepipe.release.search import SearchOptions, search_options
from aepipe.serve import listing, reviews
from aepipe.serve.answers import CollectionFacts, CollectionSummary, Counted
from aepipe.serve.asking import kinds_of
from aepipe.serve.catalog import Served
from aepipe.serve.pictures import SIZES
from aepipe.serve.problems import BadRequestError, ForbiddenError, GoneError
from aepipe.serve.requests import ItemsRequest, from_parameters
from aepipe.serve.responses import as_json
from aepipe.serve.service import Service, named, served, service_of
from aepipe.sources import drawing
from aepipe.store.column_names import sql_names

FOREVER = "private, max-age=31536000, immutable"


async def listed(request: Request) -> Response:
    """Answer with all collections in service."""
    service = service_of(request)
    found = [CollectionSummary(**_summary(service, service.catalog.get(name))) for name in service.catalog.names]
    return as_json({"collections": found})


async def described(request: Request) -> Response:
    """Answer with everything about a collection."""
    service, one = service_of(request), served(request, request.query_params.get("release"))
    return as_json(await service.searches.run(lambda: facts_of(service, one)), headers=named(one))


async def items(request: Request) -> Response:
    """Answer with some rows."""
    wanted = from_parameters(request.query_params.multi_items(), ItemsRequest)
    service, one = service_of(request), served(request, wanted.release)
    found = await service.searches.run(lambda: listing.rows(one, wanted, service.conditions))
    return as_json(found, headers=named(one))


async def item(request: Request) -> Response:
    """Answer with one row and its code."""
    one = served(request, request.query_params.get("release"))
    found = await service_of(request).searches.run(lambda: listing.row(one, request.path_params["id"]))
    return as_json(found, headers=named(one))


async def thumbnail(request: Request) -> Response:
    """Answer with a small picture of a row."""
    size = request.query_params.get("s", str(SIZES[0]))
    if size not in map(str, SIZES):
        raise BadRequestError(f"s: one of {', '.join(map(str, SIZES))}, not {size!r}", "/s")
    pinned = request.query_params.get("release")
    service, one, row = service_of(request), served(request, pinned), request.path_params["id"]
    tag = f'"{one.digest[:16]}-{row}-{size}"'
    headers = {**named(one), "ETag": tag, "Cache-Control": FOREVER if pinned else "private, no-cache"}
    # Asked before anything is decoded.
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    found = service.thumbnails.known(one, row, int(size)) or await service.decoding.run(
        lambda: service.thumbnails.make(one, row, int(size))
    )
    return Response(found, headers=headers, media_type="image/jpeg")


async def original(request: Request) -> Response:
    """Answer with the file of a row as it is, where the service hands files out."""
    from starlette.responses import FileResponse

    service, one = service_of(request), served(request, request.query_params.get("release"))
    if not service.settings.originals:
        raise ForbiddenError("this service hands no files out; it does when it is started with --originals")
    row = (await service.searches.run(lambda: listing.row(one, request.path_params["id"]))).id
    (found,) = one.release.describe([row])
    if not originals.inside(one.release, found.place):
        raise ForbiddenError(f"{found.key}: lies outside of its source")
    whole = originals.whole_place(found.place)
    file = originals.file_of(one.release, found.place) or originals.file_of(one.release, whole)
    if file is None:
        raise GoneError(f"{found.key}: its file is no longer there, or is a part of another one")
    headers = {**named(one), "Content-Security-Policy": "sandbox", "Cache-Control": "private, no-cache"}
    return FileResponse(file, headers=headers, filename=os.path.basename(file), media_type="application/octet-stream")


def facts_of(service: Service, one: Served) -> CollectionFacts:
    """Return everything about a collection."""
    release = one.release
    known = release.confidence
    curve = known.curve(words=False, where=False) if known else None
    facets, features = one.facets, release.recipe.get("features") or {}
    options: SearchOptions = search_options(release, {})
    return CollectionFacts(
        **_summary(service, one),
        fingerprint=release.fingerprint,
        columns=_columns(one),
        labels=[Counted(value, count) for value, count in facets["label"].counts.most_common(1000)],
        splits=[Counted(value, count) for value, count in facets["split"].counts.most_common(100)],
        confidence=[round(float(share), 6) for share in curve.distance] if curve else None,
        meaning=known.meaning if known else None,
        reranked=options.factor is not None,
        hybrid=can_be_asked(release),
        scores=release.scores,
        cut={name: features[name] for name in ("passage", "overlap") if features.get(name) is not None},
        map=one.has_map,
        write=service.settings.write,
        originals=service.settings.originals,
    )


def _summary(service: Service, one: Served) -> dict[str, Any]:
    release = one.release
    kind = release.encoder.card.source
    return {
        "name": release.name,
        "kind": kind,
        "rows": len(release.index),
        "n_bits": release.n_bits,
        "release": one.digest,
        "promoted": reviews.promoted(service.catalog.store, release.name, one.digest),
        "asks": kinds_of(release),
        "pictures": drawing(kind) is not None,
        "trouble": "the release in service cannot be opened; the log says why"
        if release.name in service.catalog.trouble
        else None,
        "shard": service.shard,
    }


def _columns(one: Served) -> dict[str, str]:
    """Return the columns of the source by their names in conditions, each with its type where that is known."""
    own = [name for name in one.release.items.columns if name != SNIPPET]
    if not own:
        return {}
    types: dict[str, str] = {}
    with suppress(ModuleNotFoundError, OSError, AepipeError):  # rows may be collected, and the core cannot read them
        from aepipe.store.rows import Rows

        types = {field.name: str(field.type) for field in Rows(one.release.folders("rows")[0]).own_schema}
    names = sql_names(own)
    return {names[name]: types.get(name, "") for name in own}
