"""Health, figures, sessions, and the documents about the service itself."""

from __future__ import annotations

import asyncio

import msgspec
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from aepipe.serve import metrics
from aepipe.serve.links import shard_order
from aepipe.serve.problems import BadRequestError, UnauthorizedError
from aepipe.serve.requests import from_json
from aepipe.serve.responses import as_json
from aepipe.serve.service import Service, service_of
from aepipe.serve.tokens import COOKIE, DAYS


class Login(msgspec.Struct, forbid_unknown_fields=True):
    """A token that is traded for a cookie.

    Attributes:
        token: of a reader or a writer.
    """

    token: str


async def alive(_: Request) -> Response:
    """Answer that the process runs."""
    return PlainTextResponse("ok\n")


async def ready(request: Request) -> Response:
    """Answer whether everything in service is open."""
    service = service_of(request)
    catalog = service.catalog
    # A store on object storage may be silent, and whoever asks for this must not hold up all others.
    missing = catalog.missing if catalog.looked else await asyncio.to_thread(lambda: catalog.missing)
    silent = sorted(service.links.silent, key=shard_order) if service.links else []
    able = not silent or (service.settings.partial and len(silent) < len(service.settings.shards))
    about = {"ready": able and not (missing or service.ending), "not_open": missing, "trouble": sorted(catalog.trouble)}
    about |= {"shard": service.shard} if service.settings.shard else {}
    about |= {"shards": len(service.settings.shards), "silent": silent} if service.links else {}
    return as_json(about, 200 if about["ready"] else 503)


async def figures(request: Request) -> Response:
    """Answer with all figures in the text format of Prometheus."""
    service = service_of(request)
    return Response(service.metrics.text(_gauges(service)), media_type=metrics.MEDIA_TYPE)


async def login(request: Request) -> Response:
    """Trade a token for a cookie."""
    service = service_of(request)
    if service.tokens is None:
        raise BadRequestError("this service asks for no token")
    role = service.tokens.role_of(from_json(await request.body(), Login).token)
    if role is None:
        raise UnauthorizedError("not a token of this service", headers={"WWW-Authenticate": "Bearer"})
    answer = Response(status_code=204)
    path = service.settings.root_path or "/"
    answer.set_cookie(
        COOKIE,
        service.tokens.cookie(role),
        max_age=DAYS * 86400,
        path=path,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return answer


async def logout(request: Request) -> Response:
    """Drop the cookie."""
    answer = Response(status_code=204)
    answer.delete_cookie(COOKIE, path=service_of(request).settings.root_path or "/", httponly=True, samesite="strict")
    return answer


def _gauges(service: Service) -> dict[str, tuple[str, str, dict[str, float]]]:
    """Return the figures of this moment: type, help, and values by their labels."""
    catalog, searches, decoding = service.catalog, service.searches, service.decoding
    served = {name: catalog.get(name) for name in catalog.names}
    info = {metrics.label(name=name, release=one.digest): 1.0 for name, one in served.items()}
    rows = {metrics.label(name=name): float(len(one.release.index)) for name, one in served.items()}
    taken = {metrics.label(name=name): float(count) for name, count in catalog.taken_up.items()}
    trouble = {metrics.label(name=name): 1.0 for name in catalog.trouble}
    held = {metrics.label(pool="search"): float(searches.held), metrics.label(pool="decode"): float(decoding.held)}
    lost = {
        metrics.label(pool="search"): float(searches.refused),
        metrics.label(pool="decode"): float(decoding.refused),
    }
    more = {}
    if service.links:
        silent = service.links.silent
        answers = {
            metrics.label(shard=str(link.shard)): float(str(link.shard) not in silent) for link in service.links.all
        }
        more = {"aepipe_shard_answers": ("gauge", "1 where a shard can be asked.", answers)}
    return {
        **more,
        "aepipe_release_info": ("gauge", "The release that answers for each collection.", info),
        "aepipe_rows": ("gauge", "Rows that can be found.", rows),
        "aepipe_releases_taken_up_total": ("counter", "Releases that were opened.", taken),
        "aepipe_release_trouble": ("gauge", "1 where the release in service cannot be opened.", trouble),
        "aepipe_requests_held": ("gauge", "Tasks that run or wait for a thread.", held),
        "aepipe_requests_refused_total": ("counter", "Tasks refused because too many waited.", lost),
        "process_resident_memory_bytes": ("gauge", "Memory that the process holds.", {"": metrics.memory()}),
    }
