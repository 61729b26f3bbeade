"""Requests to a service over HTTP, HTTPS or a Unix socket; its errors become aepipe's own."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any
from urllib.parse import SplitResult, parse_qs, urlencode, urlsplit

from aepipe.errors import (
    AepipeError,
    BusyError,
    CodeError,
    FingerprintError,
    ItemError,
    NotFoundError,
    QueryError,
    ServiceError,
)

SECONDS = 30
"""How long an answer is waited for."""
PROBLEM = "application/problem+json"
UNAVAILABLE = 500
"""Statuses from here on are no fault of the request."""
BUSY = (408, 429)
MOVED = range(300, 400)
OK, WORKING, NOT_FOUND, TOO_LARGE = 200, 202, 404, 413
PAUSE = 0.5
"""Seconds between two looks at work that is not done."""
PIECE, SOON = 64 << 10, 5
"""Bytes of a body that are sent before a refusal can break them off, and seconds in which a refusal is there."""
_KINDS: dict[str, type[AepipeError]] = {
    "query": QueryError,
    "code": CodeError,
    "fingerprint": FingerprintError,
    "not-found": NotFoundError,
    "missing": NotFoundError,
    "gone": NotFoundError,
    "busy": BusyError,
}
"""Errors by the names that a service gives them."""

Parameters = Sequence[tuple[str, str]]


class UnixConnection(HTTPConnection):
    """HTTP over a Unix socket.

    Args:
        path: of the socket.
        seconds: how long an answer is waited for.
    """

    def __init__(self, path: str, seconds: float = SECONDS) -> None:
        super().__init__("localhost", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        """Open the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Wire:
    """The way to one service; one connection, which is kept.

    Args:
        address: ``http://HOST:PORT``, ``https://HOST/PREFIX`` or ``unix:/PATH``; a token may stand behind ``#token=``,
            as ``aepipe serve`` prints it.
        token: of a reader or a writer.
        seconds: how long an answer is waited for; else 30.
        reach: how long a connection may take to be made; else as long.

    Attributes:
        address: without the token.

    Raises:
        QueryError: it is none of these.
    """

    def __init__(
        self, address: str, token: str | None = None, seconds: float | None = None, reach: float | None = None
    ) -> None:
        parts = _parsed(address)
        self.address = address.partition("#")[0].rstrip("/")
        self._parts = parts
        self._prefix = "" if parts.scheme == "unix" else parts.path.rstrip("/")
        token = token or parse_qs(parts.fragment).get("token", [""])[0]
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        if not token.isascii() or not token.isprintable():
            raise QueryError("the token holds letters that no token has; give the one of the service in $AEPIPE_TOKEN")
        self._seconds = SECONDS if seconds is None else seconds
        self._reach = self._seconds if reach is None else reach
        self._lock = threading.Lock()
        self._connection: HTTPConnection | None = None
        self._given_up = False

    def get(self, path: str, parameters: Parameters = ()) -> Any:  # noqa: ANN401  JSON
        """Ask with parameters, and return the answer.

        Raises:
            AepipeError: the service refuses the request; the class is that of the same mistake without a service.
            ServiceError: there is no service at the address, or it does not answer.
        """
        return self._asked("GET", path, parameters)

    def get_bytes(self, path: str, parameters: Parameters = ()) -> bytes:
        """Ask with parameters, and return the answer as it comes.

        Raises:
            As :meth:`get`.
        """
        answer, data = self._exchanged("GET", path, parameters)
        if answer.status == OK:
            return data
        raise self._refusal(answer, _json(data) if _kind(answer) == PROBLEM else None)

    def post(self, path: str, body: bytes, kind: str, parameters: Parameters = ()) -> Any:  # noqa: ANN401  JSON
        """Send a body of a type, and return the answer.

        Raises:
            As :meth:`get`.
        """
        return self._asked("POST", path, parameters, body, {"Content-Type": kind})

    def post_until_done(self, path: str, body: bytes, kind: str) -> Any:  # noqa: ANN401  JSON
        """Send a body of a type, again while the service is still at work, and return the answer.

        Raises:
            As :meth:`get`.
        """
        while True:
            answer, data = self._exchanged("POST", path, (), body, {"Content-Type": kind})
            if answer.status != WORKING:
                return self._read(answer, data)
            time.sleep(PAUSE)

    def post_bytes(self, path: str, body: bytes, kind: str) -> bytes:
        """Send a body of a type, and return the answer as it comes.

        Raises:
            As :meth:`get`.
        """
        answer, data = self._exchanged("POST", path, (), body, {"Content-Type": kind})
        if answer.status == OK:
            return data
        raise self._refusal(answer, _json(data) if _kind(answer) == PROBLEM else None)

    def get_any(self, path: str) -> Any:  # noqa: ANN401  JSON
        """Ask, and return the answer, whatever its status; None where it is no JSON.

        Raises:
            ServiceError: there is no service at the address, or it does not answer.
        """
        return _json(self._exchanged("GET", path, ())[1])

    def give_up(self) -> None:
        """End the request that another thread waits for, for good: that thread gets a ServiceError."""
        self._given_up = True
        connection = self._connection
        found = connection.sock if connection else None
        if found is not None:
            with suppress(OSError):
                found.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection; the next request opens another one."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _asked(
        self,
        method: str,
        path: str,
        parameters: Parameters,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Any:  # noqa: ANN401  JSON
        return self._read(*self._exchanged(method, path, parameters, body, headers))

    def _read(self, answer: HTTPResponse, data: bytes) -> Any:  # noqa: ANN401  JSON
        kind = _kind(answer)
        found = _json(data) if kind in {PROBLEM, "application/json"} else None
        if answer.status == OK and isinstance(found, dict):
            return found
        raise self._refusal(answer, found if kind == PROBLEM else None)

    def _exchanged(
        self,
        method: str,
        path: str,
        parameters: Parameters,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[HTTPResponse, bytes]:
        """Send a request, and return the answer with its body.

        Raises:
            ServiceError: there is no service at the address, or it does not answer.
        """
        target = f"{self._prefix}{path}" + (f"?{urlencode(parameters)}" if parameters else "")
        with self._lock:
            try:
                return self._sent(method, target, body, {**self._headers, **(headers or {})})
            except (OSError, HTTPException) as error:
                self.close()
                broken = isinstance(error, ConnectionError | ssl.SSLError) and body is not None and len(body) > PIECE
                refused = self._too_large(method, target, body, headers or {}) if broken and body else None
                if refused is not None:
                    return refused
                raise ServiceError(f"{self.address}: {_why(error, self._seconds)}") from None

    def _too_large(
        self, method: str, target: str, body: bytes, headers: dict[str, str]
    ) -> tuple[HTTPResponse, bytes] | None:
        """Return the answer that a body is too large; None where that is not so.

        A service closes the connection on a body far over its limit, often before its answer was read: it is asked once
        more with the headers alone.
        """
        connection = _connection(self._parts, min(self._seconds, SOON))
        try:
            connection.putrequest(method, target)
            for name, value in {**self._headers, **headers, "Content-Length": str(len(body))}.items():
                connection.putheader(name, value)
            connection.endheaders()
            answer = connection.getresponse()
            return (answer, answer.read()) if answer.status == TOO_LARGE else None
        except (OSError, HTTPException):
            return None
        finally:
            connection.close()

    def _sent(
        self, method: str, target: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[HTTPResponse, bytes]:
        """Send a request; once more where the service has closed a connection that was kept."""
        kept = self._connection is not None
        try:
            return self._once(method, target, body, headers)
        except (ConnectionError, HTTPException):
            if not kept or self._given_up:
                raise
            self.close()
        return self._once(method, target, body, headers)

    def _once(
        self, method: str, target: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[HTTPResponse, bytes]:
        if self._connection is None:
            self._connection = _connection(self._parts, self._reach)
            self._connection.connect()
            self._connection.timeout = self._seconds
            self._connection.sock.settimeout(self._seconds)
        self._connection.request(method, target, body, headers)
        answer = self._connection.getresponse()
        return answer, answer.read()

    def _refusal(self, answer: HTTPResponse, problem: Any) -> AepipeError:  # noqa: ANN401  JSON
        """Return what an answer other than the one wanted is for the user."""
        if not isinstance(problem, dict) or not isinstance(problem.get("detail"), str):
            return self._foreign(answer)
        name, said = str(problem.get("type", "")).rpartition(":")[2], problem["detail"]
        pointer = next((one.get("pointer", "") for one in problem.get("errors", ())), "").strip("/")
        if answer.status == NOT_FOUND and name == "request":  # what answers is a service, but not below this path
            return ServiceError(
                f"{self.address} is no aepipe service (404); leave out the path, or give that of its proxy"
            )
        if name == "unauthorized":
            which = "the right one" if self._headers else "a token"
            return QueryError(f"{self.address}: {said}; give {which} in $AEPIPE_TOKEN, or token=")
        if name == "item" or answer.status == TOO_LARGE:
            return ItemError("item", said)  # whoever asked knows what it was called
        if answer.status in BUSY or (answer.status >= UNAVAILABLE and name != "extra"):
            return ServiceError(f"{self.address}: {said}")
        wrong = f"{pointer}: {said}" if pointer and not said.startswith(pointer) else said
        return _KINDS.get(name, QueryError)(wrong)

    def _foreign(self, answer: HTTPResponse) -> AepipeError:
        """Return what an answer is that no service of ours gave."""
        if answer.status == TOO_LARGE:  # a proxy in front of one
            return ItemError("item", "larger than the service takes")
        moved = answer.getheader("Location") if answer.status in MOVED else None
        why = f"has moved, give this address: {moved}" if moved else "no service of aepipe answers there"
        return ServiceError(f"{self.address}: {answer.status} {answer.reason}: {why}")


def _parsed(address: str) -> SplitResult:
    """Return the parts of an address.

    Raises:
        QueryError: there is no service at such an address.
    """
    try:
        parts = urlsplit(address)
        usable = parts.path.startswith("/") if parts.scheme == "unix" else bool(parts.hostname)
        _ = parts.port
    except ValueError:
        usable = False
    if not usable or parts.scheme not in {"http", "https", "unix"} or parts.query or parts.username:
        shown = address.partition("#")[0]
        raise QueryError(f"{shown!r} is no address of a service: http://HOST:PORT, https://HOST/PREFIX or unix:/PATH")
    return parts


def _connection(parts: SplitResult, seconds: float) -> HTTPConnection:
    if parts.scheme == "unix":
        return UnixConnection(parts.path, seconds)
    assert parts.hostname is not None, "checked when the address was read"
    if parts.scheme == "https":
        context = ssl.create_default_context()
        return HTTPSConnection(parts.hostname, parts.port, timeout=seconds, context=context)
    return HTTPConnection(parts.hostname, parts.port, timeout=seconds)


def _kind(answer: HTTPResponse) -> str:
    return (answer.getheader("Content-Type") or "").partition(";")[0]


def _json(data: bytes) -> Any:  # noqa: ANN401  JSON
    try:
        return json.loads(data)
    except ValueError:
        return None


def _why(error: OSError | HTTPException, seconds: float) -> str:
    """Return why no answer came."""
    if isinstance(error, TimeoutError):
        return f"no answer within {seconds:g} s"
    if isinstance(error, ConnectionRefusedError | FileNotFoundError):
        return "nothing answers there; `aepipe serve` starts a service"
    if isinstance(error, socket.gaierror):
        return "there is no machine of that name"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not one that this machine trusts: {error.verify_message}"
    if isinstance(error, HTTPException):
        return "what answers there is no service"
    return f"cannot be asked: {error.strerror or error}"
