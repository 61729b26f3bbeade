"""Object storage for tests: moto's server on 127.0.0.1, whose answers a test may replace."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from werkzeug.serving import WSGIRequestHandler, make_server

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
KEY, SECRET = "AKIATESTTESTTESTTEST", "a-secret-that-nobody-may-read"
CODES = {403: "AccessDenied", 409: "ConditionalRequestConflict", 412: "PreconditionFailed", 503: "SlowDown"}


class Quiet(WSGIRequestHandler):
    """A handler that keeps connections, as servers of object storage do, and logs nothing."""

    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: Any) -> None:
        """Log nothing."""


class ObjectServer:
    """A server in a thread of this process.

    Attributes:
        url: where it listens.
        refuse: of method and path of a request: the status to answer with; None for moto's own answer.
        asked: methods and paths of all requests.
    """

    def __init__(self) -> None:
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._moto: Wsgi = DomainDispatcherApplication(create_backend_app)
        self._one = threading.Lock()
        self.refuse: Callable[[str, str], int | None] = _nothing
        self.asked: list[tuple[str, str]] = []
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=Quiet)
        self.url = f"http://127.0.0.1:{self._server.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @contextmanager
    def refusing(self, refuse: Callable[[str, str], int | None]) -> Iterator[None]:
        """Answer some requests with an error."""
        self.refuse = refuse
        try:
            yield
        finally:
            self.refuse = _nothing

    def _answer(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        self.asked.append((method, path))
        status = self.refuse(method, path)
        if status is None and not {"HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH"} & environ.keys():
            return self._moto(environ, start)
        if status is None:
            with self._one:  # moto looks and writes in two steps, servers of object storage in one
                return self._moto(environ, start)
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        body = f"<Error><Code>{CODES[status]}</Code><Message>{KEY} may not</Message></Error>".encode()
        start(f"{status} no", [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
        return [body]


def _nothing(_method: str, _path: str) -> None:
    return None
