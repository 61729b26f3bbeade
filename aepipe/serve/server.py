"""A service on an address: one process, one event loop, an end within ten seconds."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
import sys
from typing import Any, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from aepipe.errors import QueryError
from aepipe.serve.app import application
from aepipe.serve.problems import MEDIA_TYPE, BadRequestError, LongRequestError, problem_of
from aepipe.serve.responses import encoded
from aepipe.serve.service import Service
from aepipe.serve.settings import Settings
from aepipe.serve.tokens import Tokens
from aepipe.store.artifacts import Store

logger = logging.getLogger("aepipe.serve")

CONNECTIONS, BACKLOG = 256, 128
"""Connections that are open, and those that wait to be."""
GRACE = 10
"""Seconds in which requests may end after the service was told to."""
HEADERS = 64 << 10
"""Bytes of the headers of a request."""
PACKET = 64 << 10
"""Bytes that wait for others at most."""
TURN = 0.001
"""Seconds after which a thread that searches has to let the event loop go on."""
ARRIVAL = 30.0
"""Seconds in which the headers of a request have to arrive."""


class Together:
    """A connection that sends all writes of one step of the event loop as one packet.

    Headers and body are two writes, and each one that is sent by itself costs as much as finding a row does.

    Args:
        transport: of the connection.
        loop: that it belongs to.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._parts: list[bytes] = []
        self._size = 0

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  all else is the connection's
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        """Return whether the connection is being ended; asked several times for each request."""
        return self._transport.is_closing()

    def write(self, data: bytes) -> None:
        """Send some bytes, soon; at once where there are many."""
        if not self._parts:
            self._loop.call_soon(self.flush)
        self._parts.append(data)
        self._size += len(data)
        if self._size > PACKET:
            self.flush()

    def flush(self) -> None:
        """Send what was written."""
        if self._parts:
            data = b"".join(self._parts)
            self._parts, self._size = [], 0
            self._transport.write(data)

    def close(self) -> None:
        """Send what was written, and end the connection."""
        self.flush()
        self._transport.close()


class Protocol(HttpToolsProtocol):
    """HTTP with limits of time and size for the headers of a request, and answers in one packet."""

    _waiting: asyncio.TimerHandle | None = None
    _begun = False
    _size = 0
    _unfinished = 0

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401  the library's own type
        """Begin to wait for a request."""
        super().connection_made(Together(transport, self.loop))  # type: ignore[arg-type]
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._arrived()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes; a header that does not end is kept by the parser, so it is counted here."""
        self._unfinished += len(data)
        super().data_received(data)
        if self._begun and self._waiting is None:  # most requests come in one piece, and need no clock
            self._wait()
        if self._unfinished > HEADERS + PACKET and not self.transport.is_closing():
            self._size += self._unfinished
            self.send_400_response("")

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._size = self._unfinished = 0
        self._begun = True
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Take a piece of the address."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Stop waiting: the request is here."""
        self._begun = False
        self._arrived()
        self._unfinished = 0
        super().on_headers_complete()
        # The requests that have no answer yet: where this one is alone, it may be answered without a thread.
        cast(dict[str, Any], self.scope)["aepipe.open"] = self.tasks

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._unfinished = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request."""
        self._unfinished = 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer bytes that are no request, or a request with too long headers."""
        long = LongRequestError(f"the address and the headers are longer than {HEADERS >> 10} KiB")
        found = problem_of(long if self._size > HEADERS else BadRequestError(msg))
        body = encoded(found)
        head = f"HTTP/1.1 {found.status} {found.title}\r\ncontent-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\n"
        self.transport.write(head.encode() + b"connection: close\r\n\r\n" + body)
        self.transport.close()

    def _count(self, size: int) -> None:
        self._size += size
        self._unfinished = 0
        if self._size > HEADERS:
            raise ValueError("the headers of a request are too long")

    def _wait(self) -> None:
        self._arrived()
        self._waiting = self.loop.call_later(ARRIVAL, self._too_late)

    def _arrived(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _too_late(self) -> None:
        if not self.transport.is_closing():
            self.transport.abort()


class Server(uvicorn.Server):
    """The library's server, which says that it is ending before it does.

    Attributes:
        ended_by: name of the signal that ends it; empty before.
    """

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service
        self.ended_by = ""

    def handle_exit(self, sig: int, frame: Any) -> None:  # noqa: ANN401
        """Take a signal: the first one ends the service gracefully, the second one at once.

        The library would raise the signal once more at the end, and the process would not end with status 0.
        """
        self.ended_by = self.ended_by or signal.Signals(sig).name
        self.force_exit = self.should_exit
        self.should_exit = self._service.ending = True


def bound(settings: Settings) -> socket.socket:
    """Return the socket that a service listens on.

    Raises:
        QueryError: the address cannot be listened on, or is one of the network and no tokens are asked for.
    """
    if not settings.is_local and settings.token_file is None:
        raise QueryError(
            f"--host {settings.host}: others could reach the service, so it has to ask for a token; "
            "give --token-file FILE, which is made if it is missing"
        )
    if settings.uds is not None:
        return _unix_socket(settings)
    try:
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        # With the protocol named, asyncio sends each answer at once (TCP_NODELAY); else some wait 40 ms for an ack.
        found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((settings.host.strip("[]"), settings.port))
        found.listen(BACKLOG)  # who asks as soon as the address is printed waits, and is not refused
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise QueryError(
            f"{settings.host}:{settings.port}: cannot be listened on: {why}; --port takes another"
        ) from None
    return found


def _unix_socket(settings: Settings) -> socket.socket:
    assert settings.uds is not None
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if settings.uds.is_socket():
            settings.uds.unlink()  # left by a service that was killed
        found.bind(str(settings.uds))
        settings.uds.chmod(0o660)
        found.listen(BACKLOG)
    except OSError as error:
        raise QueryError(f"{settings.uds}: cannot be listened on: {error.strerror or error}") from None
    return found


def address(settings: Settings, listening: socket.socket) -> str:
    """Return the address of a service as people write it."""
    if settings.uds is not None:
        return f"unix:{settings.uds}"
    host, port = listening.getsockname()[:2]
    named = f"[{host}]" if ":" in host else host
    return f"http://{named}:{port}{settings.root_path}/"


def serve(store: Store, settings: Settings, tokens: Tokens | None, listening: socket.socket) -> str:
    """Answer requests until a signal ends it, and return its name; the socket is closed then.

    Args:
        store: with the collections.
        settings: of the service.
        tokens: of readers and writers; None where none are asked for.
        listening: see :func:`bound`.
    """
    service = Service.of(store, settings, tokens)
    sys.setswitchinterval(TURN)
    gc.freeze()  # what is loaded by now stays, and no collection has to look at it again
    config = uvicorn.Config(
        application(service),
        http=Protocol,
        ws="none",
        loop="asyncio",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trust_proxy),
        forwarded_allow_ips=list(settings.trust_proxy),
        root_path=settings.root_path,
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=GRACE,
        backlog=BACKLOG,
    )
    server = Server(config, service)
    try:
        server.run(sockets=[listening])
        return server.ended_by
    finally:
        service.close()
        listening.close()
        if settings.uds is not None:
            settings.uds.unlink(missing_ok=True)
