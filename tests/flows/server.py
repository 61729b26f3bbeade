"""Start programs around a real Prefect server, send them requests, and end them."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest

from flows.up import end_group

ROOT = Path(__file__).parents[2]


def user_environment(folder: Path) -> dict[str, str]:
    """Return the environment of a user whose Prefect server has a free port of this machine."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT", "AEPIPE"))}
    return inherited | {
        "PREFECT_API_URL": f"http://127.0.0.1:{free_port()}/api",
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        # How often it is asked for runs that are due; a user waits ten seconds for the answer, and a test need not.
        "PREFECT_RUNNER_POLL_FREQUENCY": "1",
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
    }


def port_of(environment: dict[str, str]) -> str:
    """Return the port of a user's Prefect server."""
    return str(urlsplit(environment["PREFECT_API_URL"]).port)


def free_port() -> int:
    """Return a port that nobody listened on a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


@contextmanager
def process(*arguments: str, cwd: Path, environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a Python program in a process group of its own, and end the whole group in any case."""
    with log.open("wb") as stream:
        started = subprocess.Popen(
            [sys.executable, *arguments], cwd=cwd, env=environment, stdout=stream, stderr=stream, start_new_session=True
        )
    try:
        yield started
    finally:
        end_group(started, 30)


def ask(environment: dict[str, str], path: str, body: dict[str, Any] | None = None) -> Any:
    """Send a request to the server; None where it does not answer."""
    data = None if body is None else json.dumps(body).encode()
    request = Request(f"{environment['PREFECT_API_URL']}/{path}", data, {"Content-Type": "application/json"})
    try:
        with urlopen(request, timeout=120) as answer:
            return json.load(answer)
    except OSError:
        return None


def wait_for(condition: Any, *, seconds: float, log: Path) -> Any:
    """Wait until a condition gives something, and return that."""
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until, f"nothing after {seconds} s:\n{log.read_text()}"
        time.sleep(0.5)
    return found


@contextmanager
def postgresql() -> Iterator[str]:
    """Run Debian's PostgreSQL on 127.0.0.1 while the block runs; skip without it.

    Yields:
        The address of a database, in the form that Prefect's server needs.
    """
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    found = shutil.which("initdb", path=os.pathsep.join([*map(str, reversed(binaries)), os.environ.get("PATH", "")]))
    if found is None:
        pytest.skip("there is no PostgreSQL server here: apt-get install postgresql")
    # PostgreSQL refuses to run as root.
    other: dict[str, Any] = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
    # A folder of its own: pytest closes its own folders to other users, and this server runs as one.
    with tempfile.TemporaryDirectory(prefix="postgresql-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        if other:
            shutil.chown(folder, **other)
        data, port = folder / "data", str(free_port())
        options = f"-c listen_addresses=127.0.0.1 -p {port} -c unix_socket_directories='' -c fsync=off"

        def control(*words: str) -> None:
            binary = str(Path(found).with_name(words[0]))
            subprocess.run([binary, *words[1:]], cwd=folder, check=True, stdout=subprocess.DEVNULL, **other)

        control("initdb", "-D", str(data), "-A", "trust", "-U", "aepipe")
        control("pg_ctl", "-D", str(data), "-l", str(folder / "log"), "-w", "-o", options, "start")
        try:
            yield f"postgresql+asyncpg://aepipe@127.0.0.1:{port}/postgres"
        finally:
            control("pg_ctl", "-D", str(data), "-m", "immediate", "stop")
