"""Checks of every request: who calls whom, with which token, how large and how slow.

One layer of plain ASGI, because every further layer costs time on each request.

Sources: Fetch Metadata (``Sec-Fetch-Site``) against requests from other pages, and the check of ``Host`` against names
that were made to point here (DNS rebinding), as in Go 1.25's CrossOriginProtection.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeAlias

from starlette.responses import Response

from aepipe.errors import AepipeError
from aepipe.serve.metrics import Metrics
from aepipe.serve.problems import (
    ForbiddenError,
    MisdirectedError,
    RequestError,
    TooLargeError,
    TooManyRequestsError,
    UnauthorizedError,
    UnforeseenError,
)
from aepipe.serve.responses import problem
from aepipe.serve.settings import Settings
from aepipe.serve.tokens import Role, Tokens

access = logging.getLogger("aepipe.serve.access")
logger = logging.getLogger("aepipe.serve")

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

OPEN = ("/", "/livez", "/readyz", "/v1/session", "/favicon.ico")
"""Paths that need no token: the page itself holds no data."""
OPEN_BELOW = ("/static/", "/c/")
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
JSON_BODY = 1 << 20
"""Bytes of a body of JSON."""
SHARD_BODY = 1 << 30
"""Bytes of a question to a shard: where a condition holds, it has a bit for each row of the shard."""
DRAINED = 64 << 20
"""Bytes of a body that is too large, up to which it is still read: most clients look at an answer only after that."""
CLIENTS = 4096
"""Clients whose requests are counted."""
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "connect-src 'self'; font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST",
    "Access-Control-Allow-Headers": "Authorization, Content-Type",
    "Access-Control-Max-Age": "3600",
}
HEADERS = [
    (b"content-security-policy", CSP.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]


class EndingError(RequestError):
    """The service ends before a request has come to its end."""

    code = HTTPStatus.SERVICE_UNAVAILABLE


class TimeoutRequestError(RequestError):
    """A request that did not arrive in time."""

    code = HTTPStatus.REQUEST_TIMEOUT


@dataclass(slots=True)
class Passage:
    """One request on its way.

    Attributes:
        begun: when it came, by the clock of ``time.perf_counter``.
        name: its id, for the log and for the client.
        status: of the answer; 0 before it begins.
        role: of whoever asks.
        origin: of another page that may read the answer; empty for none.
    """

    begun: float
    name: str
    status: int = 0
    role: Role = "write"
    origin: str = ""


class Rates:
    """Requests of each client, as a bucket that fills with time.

    Args:
        rate: requests a second.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._most = max(1.0, 2 * rate)
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str) -> bool:
        """Count a request; false where the client has to wait."""
        now = time.monotonic()
        left, when = self._left.pop(client, (self._most, now))
        left = min(self._most, left + (now - when) * self._rate)
        self._left[client] = (left - 1 if left >= 1 else left, now)
        while len(self._left) > CLIENTS:
            self._left.popitem(last=False)
        return left >= 1


class Guard:
    """The outermost layer of the service.

    Args:
        app: what answers.
        settings: of the service.
        tokens: of readers and writers; None lets everybody in who reaches the address.
        metrics: that requests are counted in.
    """

    def __init__(self, app: App, settings: Settings, tokens: Tokens | None, metrics: Metrics) -> None:
        self._app = app
        self._settings = settings
        self._hosts = settings.hosts
        self._tokens = tokens
        self._metrics = metrics
        self._rates = Rates(settings.rate) if settings.rate else None
        self._logins = Rates(0.2)
        self._number = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        self._number += 1
        passage = Passage(time.perf_counter(), f"{self._number:x}")
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(scope["headers"])}
        answered = self._sender(passage, send)
        try:
            self._check(scope, headers, passage)
            scope["aepipe"] = passage
            if scope["method"] == "OPTIONS" and passage.origin:
                await Response(status_code=204, headers=PREFLIGHT)(scope, receive, answered)
                return
            await self._app(scope, self._receiver(scope, headers, receive, passage), answered)
        except RequestError as error:
            await problem(error, passage.name)(scope, receive, answered)
        except asyncio.CancelledError:
            # The server ends, and has waited for this request as long as it does.
            if not passage.status:
                await problem(EndingError("the service is being ended"), passage.name)(scope, receive, answered)
        except Exception as error:
            logger.exception("request %s has failed", passage.name)
            if not passage.status:
                unforeseen = UnforeseenError(f"an error that nobody foresaw ({type(error).__name__}); see the log")
                await problem(unforeseen, passage.name)(scope, receive, answered)
        finally:
            self._note(scope, passage)

    def _check(self, scope: Scope, headers: Mapping[str, str], passage: Passage) -> None:
        """Check host, origin, rate and token of a request, and note who asks.

        Raises:
            RequestError: it is refused.
        """
        client = (scope.get("client") or ("local", 0))[0]
        self._check_host(headers)
        self._check_origin(scope, headers, passage)
        if self._rates and not self._rates.take(client):
            raise TooManyRequestsError(
                f"more than {self._settings.rate:g} requests a second", headers={"Retry-After": "1"}
            )
        path = path_in(scope)
        if path == "/v1/session" and scope["method"] == "POST" and not self._logins.take(client):
            raise TooManyRequestsError("too many tries: wait a little", headers={"Retry-After": "5"})
        if self._tokens is None:
            passage.role = "write" if self._settings.write else "read"
            return
        role = self._tokens.role_in(headers)
        open_to_all = path in OPEN or path.startswith(OPEN_BELOW)
        if role is None and not open_to_all:
            if headers.get("authorization"):
                wrong = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
                raise UnauthorizedError("the token is wrong: it is none of this service", headers=wrong)
            raise UnauthorizedError(
                "a token is needed: Authorization: Bearer TOKEN", headers={"WWW-Authenticate": "Bearer"}
            )
        passage.role = role if role == "write" and self._settings.write else "read"

    def _check_host(self, headers: Mapping[str, str]) -> None:
        host = headers.get("host", "").lower()
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() and not host.endswith("]") else host
        if name not in self._hosts:
            raise MisdirectedError(f"this service is not called {name or 'nothing'!r}; --allow-host adds a name")

    def _check_origin(self, scope: Scope, headers: Mapping[str, str], passage: Passage) -> None:
        """Refuse what another page's script asks, and note an origin that may."""
        origin, site = headers.get("origin", ""), headers.get("sec-fetch-site", "")
        if origin and origin in self._settings.cors:
            passage.origin = origin
            return
        if site in {"cross-site", "same-site"}:
            navigates = headers.get("sec-fetch-mode") == "navigate" and scope["method"] == "GET"
            if not navigates or not (path_in(scope) == "/" or path_in(scope).startswith("/c/")):
                raise ForbiddenError("asked by a page of another site")
        elif not site and origin and scope["method"] not in SAFE:
            own = origin.partition("://")[2]
            if own.lower() != headers.get("host", "").lower():
                raise ForbiddenError("asked by a page of another site")

    def _receiver(self, scope: Scope, headers: Mapping[str, str], receive: Receive, passage: Passage) -> Receive:
        """Return what reads the body, up to its limits of size and time.

        Raises:
            TooLargeError: the body says that it is too large.
        """
        reads = scope["method"] not in {"GET", "HEAD"}
        if not reads and "content-length" not in headers:
            return receive
        json = headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json"
        most = JSON_BODY if json else self._settings.max_upload
        if self._settings.shard and path_in(scope).endswith("/shard"):
            most = SHARD_BODY
        said = headers.get("content-length", "")
        if said.isdecimal() and (len(said) > 15 or int(said) > most):
            raise _too_large(most, read=len(said) <= 15 and int(said) <= DRAINED)
        size, whole = 0, False

        async def limited() -> Message:
            nonlocal size, whole
            if whole:  # what comes now is that the client has gone
                return await receive()
            left = passage.begun + self._settings.request_seconds - time.perf_counter()
            try:
                message = await asyncio.wait_for(receive(), max(0.001, left))
            except TimeoutError:
                raise TimeoutRequestError("the body did not arrive in time", headers={"Connection": "close"}) from None
            size += len(message.get("body", b""))
            whole = not message.get("more_body")
            if size > most:
                raise _too_large(most)
            return message

        return limited if reads else receive

    def _sender(self, passage: Passage, send: Send) -> Send:
        """Return what writes the answer, with the headers that every answer has."""

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                passage.status = message["status"]
                given = {name.lower() for name, _ in message["headers"]}
                more = [header for header in HEADERS if header[0] not in given]
                more.append((b"x-request-id", passage.name.encode()))
                if passage.origin:
                    allowed = [(b"access-control-allow-origin", passage.origin.encode()), (b"vary", b"Origin")]
                    more = [header for header in more if header[0] != b"cross-origin-resource-policy"]
                    more += [*allowed, (b"cross-origin-resource-policy", b"cross-origin")]
                message["headers"] = [*message["headers"], *more]
            await send(message)

        return sent

    def _note(self, scope: Scope, passage: Passage) -> None:
        """Count a request, and write its line."""
        seconds = time.perf_counter() - passage.begun
        route = scope.get("aepipe.route", "(none)")
        self._metrics.count(scope["method"], route, passage.status, seconds)
        if access.isEnabledFor(logging.DEBUG):
            about = {"request": passage.name, "route": route, "status": passage.status}
            access.debug(
                "%s %s %d %.1f ms",
                scope["method"],
                route,
                passage.status,
                1000 * seconds,
                extra={**about, "seconds": round(seconds, 6)},
            )


def _too_large(most: int, *, read: bool = False) -> AepipeError:
    """Return the error of a body that is too large; where it is still read to its end, the connection stays open."""
    size = f"{most >> 20} MiB" if most >= 1 << 20 else f"{most:,} bytes"
    headers = {} if read else {"Connection": "close"}
    return TooLargeError(f"larger than the service takes: at most {size}", headers=headers)


def path_in(scope: Scope) -> str:
    """Return the path below the prefix that a proxy adds."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    return path.removeprefix(root) if root and path.startswith(root) else path
