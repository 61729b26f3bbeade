"""The map of a collection."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from aepipe.serve import mapping
from aepipe.serve.handlers.collections import FOREVER
from aepipe.serve.requests import from_parameters
from aepipe.serve.responses import as_json
from aepipe.serve.service import named, served, service_of


async def map_facts(request: Request) -> Response:
    """Answer with what the map shows, and its classes with their colours."""
    service, one = service_of(request), served(request, request.query_params.get("release"))
    found = await service.searches.run(lambda: mapping.facts(one))
    return as_json(found, headers=named(one))


async def map_points(request: Request) -> Response:
    """Answer with one chunk of points, as bytes: all x, all y, all classes."""
    wanted = from_parameters(request.query_params.multi_items(), mapping.PointsRequest)
    service, one = service_of(request), served(request, wanted.release)
    tag = f'"{one.digest[:16]}-map-{wanted.chunk}"'
    cached = FOREVER if wanted.release else "private, no-cache"
    headers = {**named(one), "ETag": tag, "Cache-Control": cached}
    found = await service.searches.run(lambda: mapping.points(one, wanted.chunk))
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(found, headers=headers, media_type="application/octet-stream")


async def map_at(request: Request) -> Response:
    """Answer with rows near a place on the map, or with some points or rows."""
    wanted = from_parameters(request.query_params.multi_items(), mapping.AtRequest)
    service, one = service_of(request), served(request, wanted.release)
    found = await service.searches.run(lambda: mapping.at(one, wanted))
    return as_json(found, headers=named(one))
