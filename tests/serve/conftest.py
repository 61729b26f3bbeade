"""A service on a free port of this machine, in a thread of the test process, over collections of four kinds."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest
import uvicorn

from aepipe.client.wire import UnixConnection
from aepipe.release import placing
from aepipe.release.release import Release
from aepipe.serve import server
from aepipe.serve.app import application
from aepipe.serve.service import Service
from aepipe.serve.settings import Settings
from aepipe.serve.tokens import Tokens
from aepipe.store.artifacts import Store
from tests.support.releases import make_release, publish_source

WORDS = {"sea": "harbour pilot freighter tide anchor", "bread": "flour oven dough crust baker"}


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of the service.

    Attributes:
        status: of HTTP.
        headers: by their names in lower case.
        body: as it came.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass(slots=True)
class Client:
    """Asks a service.

    Attributes:
        port: of the service.
        service: itself, as it runs in this process.
        headers: of every request.
        uds: the socket of a service that listens on one in place of a port.
    """

    port: int
    service: Service
    headers: dict[str, str] = field(default_factory=dict)
    uds: Path | None = None

    def ask(self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Reply:
        """Send one request as it is."""
        connection = UnixConnection(str(self.uds)) if self.uds else http.client.HTTPConnection("127.0.0.1", self.port)
        connection.timeout = 120
        try:
            connection.request(method, path, body, {**self.headers, **(headers or {})})
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, found, answer.read())
        finally:
            connection.close()

    def get(self, path: str, headers: Mapping[str, str] | None = None, **parameters: Any) -> Reply:
        """Ask with parameters in the address; those of a list come several times."""
        query = urlencode(parameters, doseq=True)
        return self.ask("GET", f"{path}?{query}" if query else path, headers=headers)

    def post(self, path: str, body: Any, headers: Mapping[str, str] | None = None, **parameters: Any) -> Reply:
        """Ask with JSON, or with bytes and their type."""
        query = urlencode(parameters, doseq=True)
        raw = isinstance(body, bytes)
        given = {"Content-Type": "image/png" if raw else "application/json", **(headers or {})}
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.ask("POST", f"{path}?{query}" if query else path, data, given)


@contextmanager
def running(store: Store, **given: Any) -> Iterator[Client]:
    """Run a service for the time of the block."""
    settings = Settings(**{"port": 0, "threads": 2, "where_seconds": 60, **given})
    tokens = Tokens.at(settings.token_file) if settings.token_file else None
    service = Service.of(store, settings, tokens)
    listening = server.bound(settings)
    config = uvicorn.Config(
        application(service), http=server.Protocol, ws="none", log_config=None, access_log=False, server_header=False,
        root_path=settings.root_path, timeout_graceful_shutdown=5,
    )  # fmt: skip
    runner = server.Server(config, service)
    thread = threading.Thread(target=runner.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        port = 0 if settings.uds else listening.getsockname()[1]
        yield _ready(Client(port, service, uds=settings.uds))
    finally:
        runner.should_exit = True
        thread.join(60)
        listening.close()


def _ready(client: Client) -> Client:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        try:
            if client.ask("GET", "/readyz").status in {200, 503} and not client.service.catalog.missing:
                return client
        except (OSError, http.client.HTTPException):
            pass
        time.sleep(0.02)
    raise AssertionError("the service did not start")


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with pictures, documents, a table and vectors in service; for tests that only read."""
    folder = tmp_path_factory.mktemp("served")
    store = Store(folder / "store")
    pictures = make_release(store, n=60)
    placing.make(store, Release.open(store, ref=pictures))
    rng = np.random.default_rng(0)
    (folder / "docs").mkdir()
    for number in range(60):
        name = "sea" if number % 2 else "bread"
        text = " ".join(rng.choice(WORDS[name].split(), 12))
        (folder / "docs" / f"{name}{number}.txt").write_text(text)
    rows = [{"age": int(age), "job": "baker" if age % 2 else "pilot", "label": f"c{age % 3}"} for age in range(20, 80)]
    (folder / "people.jsonl").write_text("\n".join(map(json.dumps, rows)))
    np.save(folder / "vectors.npy", rng.normal(size=(60, 12)).astype(np.float32))
    publish_source(store, "docs", {"kind": "text", "path": "docs"})
    publish_source(store, "people", {"kind": "table", "path": "people.jsonl", "label": "label"})
    publish_source(store, "vectors", {"kind": "vectors", "path": "vectors.npy"})
    return store


@pytest.fixture(scope="session")
def client(store: Store) -> Iterator[Client]:
    """A service that takes no changes, without tokens."""
    with running(store) as found:
        yield found
