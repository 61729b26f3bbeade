"""The service as an ASGI application: routes within one guard."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from aepipe.errors import AepipeError, NotFoundError, StoreError
from aepipe.serve import openapi
from aepipe.serve.guards import Guard, path_in
from aepipe.serve.handlers import page
from aepipe.serve.problems import BadRequestError, RequestError, UnforeseenError
from aepipe.serve.responses import problem
from aepipe.serve.routes import ENDPOINTS, Endpoint, Handler
from aepipe.serve.service import Service

logger = logging.getLogger("aepipe.serve")


def application(service: Service) -> Guard:
    """Return what answers requests to a service."""
    routes = [_route(one.path, _checked(one), one.method) for one in ENDPOINTS]
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
    most = next(one for one in ENDPOINTS if one.method == "GET" and one.path.endswith("/search"))
    return Guard(Shortcut(inner, most), service.settings, service.tokens, service.metrics)


class Shortcut:
    """Answers the endpoint that most requests are for, and hands all others to the router.

    Passing through all layers of the router takes longer than looking a row up.

    Args:
        router: of all endpoints.
        endpoint: whose path has ``{name}`` in it, and no other part that varies.
    """

    def __init__(self, router: Starlette, endpoint: Endpoint) -> None:
        before, _, after = endpoint.path.partition("{name}")
        self._router = router
        self._method = endpoint.method
        self._path = re.compile(f"{re.escape(before)}([^/]+){re.escape(after)}")
        self._answer = _answering(endpoint.path, _checked(endpoint))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        here = scope["type"] == "http" and scope["method"] == self._method
        found = self._path.fullmatch(path_in(scope)) if here else None
        if found is None:
            await self._router(scope, receive, send)
            return
        scope["app"], scope["path_params"] = self._router, {"name": found[1]}
        response = await self._answer(Request(scope, receive, send))
        await response(scope, receive, send)


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
