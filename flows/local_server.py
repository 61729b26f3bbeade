"""Run a Prefect server for one process; it starts and ends with the process.

Prefect's own temporary server writes to our terminal, dies of our Ctrl-C before the run can be recorded as interrupted,
and outlives us when we are killed. This one logs to a file, has a session of its own, and ends when our end of its
standard input closes, even because we were killed.

Prefect reads the environment when it is imported, so this module must be used before that, and imports Prefect late.
"""

from __future__ import annotations

import fcntl
import gc
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO
from urllib.request import urlopen

from aepipe.engines import environment
from aepipe.errors import AepipeError, ExtraError
from aepipe.runs import server_named
from aepipe.store import layout
from aepipe.store.artifacts import Store

logger = logging.getLogger("aepipe.flows")

SETTINGS = {
    # Nothing leaves the machine.
    "DO_NOT_TRACK": "1",
    "ORT_DISABLE_TELEMETRY": "1",
    "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_TELEMETRY_ENABLE_RESOURCE_METRICS": "false",
    # Our own log goes to Prefect's server too. The terminal is ours; Prefect may write there only in an emergency.
    "PREFECT_LOGGING_EXTRA_LOGGERS": "aepipe",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "PREFECT_LOGGING_ROOT_HANDLERS": "debug",
    "PREFECT_LOGGING_HANDLERS_DEBUG_LEVEL": "CRITICAL",
}
LINES = {
    "PREFECT_LOGGING_LOGGERS_PREFECT_EXTRA_HANDLERS": "api,console",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_FORMATTER": "simple",
}
"""Settings for processes that Prefect starts: our log goes to their terminal as plain lines."""
SERVER = Path(__file__).with_name("server_process.py")
STARTUP_SECONDS = 180
"""The first start makes a database, which takes ten seconds, and longer on a busy machine."""


@contextmanager
def session(store: Store, server: str | None = None, check: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Make Prefect ready for one run: with the given server, or with one of its own.

    Args:
        store: where the history of our own server is kept.
        server: address of a server's API; else ``$PREFECT_API_URL``.
        check: raises if there can be no run; called before anything is made.

    Raises:
        ExtraError: Prefect is not installed.
        AepipeError: no server answers at the address.
    """
    if find_spec("prefect") is None:
        raise ExtraError("prefect", "flows")
    home = store.root / layout.Root.PREFECT
    if url := server_named(server):
        check()
        with environment("PREFECT_API_URL", url):
            prepare()
            with _connected(url):
                import_module("flows.schedule").check_server()
                try:
                    yield
                finally:
                    flush()
    elif home.exists():
        with serving(home, meanwhile=check):
            yield
    else:
        check()  # first, so that a mistake leaves nothing behind
        store.create()
        with serving(home):
            yield


def prepare(extra: Mapping[str, str] | None = None, *, api: str | None = None) -> None:
    """Write Prefect's settings into the environment; settings of the user stay.

    This must happen before Prefect is imported.

    Args:
        extra: more settings.
        api: address of the server's API; replaces the one that is set.
    """
    for name, value in {**SETTINGS, **(extra or {})}.items():
        os.environ.setdefault(name, value)
    if api:
        os.environ["PREFECT_API_URL"] = api


def _bypass_proxy() -> None:
    # A proxy that the environment names cannot reach a server on this machine.
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), "127.0.0.1"]))


@contextmanager
def serving(home: Path, meanwhile: Callable[[], object] = lambda: None) -> Iterator[str]:
    """Run a server while the block runs, and make it the one that Prefect talks to.

    Args:
        home: folder of its database and its log, made where it is missing; ``$PREFECT_HOME`` replaces it.
        meanwhile: called while the server starts, which takes seconds.

    Yields:
        The address of its API.

    Raises:
        AepipeError: the server does not start.
    """
    # The charts of a run are drawn in this process, and matplotlib would keep its list of fonts in the user's home.
    own = {"PREFECT_HOME": str(home), "MPLCONFIGDIR": str(home / "matplotlib")}
    added = own.keys() - os.environ.keys()
    prepare(own)
    _bypass_proxy()
    home = Path(os.environ["PREFECT_HOME"])
    if not home.exists():
        logger.info("first run in this store: Prefect makes its database in %s", home)
        home.mkdir(parents=True, exist_ok=True)
    else:
        logger.info("starting Prefect's server for the time of this run")
    alone = ExitStack()
    alone.enter_context(_first_start(home))
    with socket.create_server(("127.0.0.1", 0)) as listening, (home / "server.log").open("wb") as log:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/api"
        server = _start(listening, log)
    try:
        with alone, _ended_early(server), _without_collections():
            meanwhile()
            os.environ["PREFECT_API_URL"] = url
            import_module("flows.tasks")  # torch and Prefect take as long as the server's start
            _wait(url, home / "server.log")
        with _connected(url, heartbeats=False):
            yield url
    finally:
        os.environ.pop("PREFECT_API_URL", None)
        flush()
        _stop(server)
        for name in added:  # a later run of this process may be in another store
            os.environ.pop(name, None)


@contextmanager
def _first_start(home: Path) -> Iterator[None]:
    """Let one server at a time make or upgrade the database; two would break each other's tables.

    Once a server of this version has started, the database is as it should be, and nobody waits.
    """
    ready = home / f"ready-{version('prefect')}"
    if ready.exists():
        yield
        return
    with (home / "first-start.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logger.info("waiting: another run is making Prefect's database in %s", home)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
        ready.touch()


@contextmanager
def _ended_early(server: subprocess.Popen[bytes]) -> Iterator[None]:
    """End the server at once where the block fails, instead of waiting until it is up."""
    try:
        yield
    except BaseException:
        server.terminate()
        raise


@contextmanager
def _without_collections() -> Iterator[None]:
    """Do not collect garbage while modules are imported: almost all that they create stays."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextmanager
def _connected(url: str, *, heartbeats: bool = True) -> Iterator[None]:
    """Make Prefect talk to a server; it reads the environment only when it is imported.

    Our own server needs no heartbeats, and Prefect sleeps for up to a second before it stops sending them.
    """
    from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    quiet = {} if heartbeats else {PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
    with temporary_settings({PREFECT_API_URL: url, **quiet}):
        yield


def flush() -> None:
    """Send the log lines that Prefect still holds back, while there is a server to receive them."""
    for handler in logging.getLogger("prefect.flow_runs").handlers:
        handler.flush()


def _start(listening: socket.socket, log: BinaryIO) -> subprocess.Popen[bytes]:
    """Start the server on a listening socket: no port is guessed, and an early client waits."""
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    return subprocess.Popen(
        [sys.executable, "-P", str(SERVER), str(listening.fileno())],
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=log,
        env=environment | {"PREFECT_SERVER_UI_ENABLED": "false"},
        pass_fds=[listening.fileno()],
        start_new_session=True,
    )


def _wait(url: str, log: Path) -> None:
    """Wait until the server answers; a server that dies refuses or resets the connection."""
    try:
        with urlopen(f"{url}/health", timeout=STARTUP_SECONDS):
            return
    except OSError as error:
        raise AepipeError(f"Prefect's temporary server did not start ({error}): {log} says why") from None


def _stop(server: subprocess.Popen[bytes]) -> None:
    """End the server by closing its standard input; kill it where that does not help."""
    assert server.stdin is not None
    server.stdin.close()
    try:
        server.wait(10)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
