"""The service as an ASGI application: routes within one guard."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from aepipe.errors import AepipeError, NotFoundError, StoreError
from aepipe.serve import openapi
from aepipe.serve.guards import Guard
from aepipe.serve.handlers import page
from aepipe.serve.problems import BadRequestError, RequestError, UnforeseenError
from aepipe.serve.responses import problem
from aepipe.serve.routes import ENDPOINTS, Endpoint, Handler
from aepipe.serve.service import Service

logger = logging.getLogger("aepipe.serve")


def application(service: Service) -> Guard:
    """Return what answers requests to a service."""
    # Routes are tried in their order, and most requests are searches.
    ordered = sorted(ENDPOINTS, key=lambda one: not one.path.endswith("/search"))
    routes = [_route(one.path, _checked(one), one.method) for one in ordered]
    routes.append(_route("/openapi.json", _document, "GET"))
    routes += [_route(path, page.document, "GET") for path in ("/", "/c/{rest:path}")]
    routes.append(_route("/static/{file}", page.static, "GET"))

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        service.start()
        yield
        service.close()

    inner = Starlette(
        routes=routes, lifespan=lifespan, exception_handlers={HTTPException: _not_routed, Exception: _unforeseen}
    )
    inner.state.service = service
    return Guard(inner, service.settings, service.tokens, service.metrics)


def _route(path: str, handler: Handler, method: str) -> Route:
    return Route(path.replace("{id}", "{id:int}"), _answering(path, handler), methods=[method])


def _checked(endpoint: Endpoint) -> Handler:
    """Return a handler that refuses parameters which it would not read."""
    if endpoint.parameters is not None or endpoint.raw or not endpoint.path.startswith("/v1/"):
        return endpoint.handler
    known = {name for name, _ in endpoint.more}

    async def handler(request: Request) -> Response:
        for name in request.query_params:
            if name not in known:
                told = ", ".join(sorted(known)) or "none"
                raise BadRequestError(f"no parameter {name!r} here; there are: {told}", f"/{name}")
        return await endpoint.handler(request)

    return handler


def _answering(template: str, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    """Return a handler whose errors are answers, and which is counted by its route."""

    async def answer(request: Request) -> Response:
        request.scope["aepipe.route"] = template
        try:
            return await handler(request)
        except AepipeError as error:
            name = request.scope["aepipe"].name
            if isinstance(error, StoreError) and not isinstance(error, NotFoundError):
                logger.error("request %s: %s", name, error)
            return problem(error, name, await _said(request))

    return answer


async def _said(request: Request) -> list[str]:
    """Return the texts of a request that its error may repeat: path, parameters, and a body of JSON that was read."""
    found = [request.scope["path"], *request.path_params.values(), *request.query_params.values()]
    if hasattr(request, "_body") and request.headers.get("content-type", "").startswith("application/json"):
        body = await request.body()
        try:
            found.append(json.dumps(json.loads(body), ensure_ascii=False))
        except (ValueError, RecursionError):
            found.append(body.decode("utf-8", "replace"))
    return [str(one) for one in found]


async def _document(_: Request) -> Response:
    """Answer with the description of all endpoints."""
    return Response(openapi.document(), media_type="application/json")


async def _unforeseen(request: Request, error: Exception) -> Response:
    """Answer a mistake of ours; the guard writes it into the log."""
    found = UnforeseenError(f"an error that nobody foresaw ({type(error).__name__}); the log has the rest")
    return problem(found, request.scope["aepipe"].name)


async def _not_routed(request: Request, error: Exception) -> Response:
    """Answer what has no route, or not with that method."""
    assert isinstance(error, HTTPException)
    found = RequestError(f"{request.method} {request.url.path}: {error.detail.lower()}", headers=error.headers)
    found.code = error.status_code
    return problem(found, request.scope["aepipe"].name, await _said(request))
