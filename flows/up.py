"""Run a Prefect server, deployments, a worker and the service: all for one machine.

    python -m flows.up [--port 4200] [--serve 8477]

The server listens on 127.0.0.1 and keeps its history in ``$PREFECT_HOME``, else in ``prefect`` in the store, or in the
PostgreSQL database of ``$PREFECT_API_DATABASE_CONNECTION_URL``. Where ``$PREFECT_API_URL`` names a server, that one is
used. The deployments are those of ``prefect.yaml``; one of them runs at a time. Where the extra ``serve`` is installed,
the service answers on the other port; 0 leaves it out. Ctrl-C ends everything.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from urllib.request import urlopen

from aepipe.errors import AepipeError, BusyError
from aepipe.store import layout
from aepipe.store.artifacts import Store
from flows.local_server import STARTUP_SECONDS, prepare

ROOT = Path(__file__).parents[1]
POOL = "aepipe"
AUTOMATIONS = ("aepipe-crashed-without-a-word", "aepipe-takes-too-long")
"""Names in automations.yaml; they are deleted and created again, so that the file decides."""
GRACE, PAUSE = 20.0, 5.0
"""Seconds for a process to end, and seconds before a dead worker is started again."""


def main() -> None:
    """Start server and worker, and end both in good order."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=4200)
    parser.add_argument("--serve", type=int, default=8477, metavar="PORT", help="of the service; 0 for none")
    chosen = parser.parse_args()
    port = chosen.port
    # systemd and Docker send SIGTERM; without this, server and worker would outlive us.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    store = Store.locate()
    store.create()
    given = os.environ.get("PREFECT_API_URL")
    url = given or f"http://127.0.0.1:{port}/api"
    prepare({"PREFECT_HOME": str(store.root / layout.Root.PREFECT), "AEPIPE_HOME": store.address}, api=url)
    try:
        with ExitStack() as running:
            running.enter_context(alone(store.root / layout.Root.PREFECT))
            if not given:
                check_port(port)
                running.enter_context(_process("server", "start", "--host", "127.0.0.1", "--port", str(port)))
            _wait(url)
            _deploy()
            running.enter_context(service(chosen.serve, store))
            _print_line(f"{url.removesuffix('/api')} shows what runs; the store is {store.address}; Ctrl-C ends it")
            _work()
    except KeyboardInterrupt:
        _print_line("stopped; queries go on, answered by the releases in service")
    except AepipeError as error:
        sys.stderr.write(f"aepipe: {error}\n")
        sys.exit(error.status)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Run only where no other process does the same for a store.

    Args:
        folder: of Prefect in the store, made where it is missing.

    Raises:
        BusyError: another process does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "up.lock").open("a+", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.seek(0)
            raise BusyError(
                f"server and worker of the store {folder.parent} run already ({stream.read().strip()}); end that first"
            ) from None
        stream.truncate(0)
        stream.write(f"process {os.getpid()}, since {datetime.now(UTC).isoformat(timespec='seconds')}")
        stream.flush()
        yield


def check_port(port: int, option: str = "--port") -> None:
    """Check that no other server listens on a port, which would get our deployments.

    Args:
        port: of 127.0.0.1.
        option: that chooses another one.

    Raises:
        AepipeError: another program listens there.
    """
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("127.0.0.1", port))
        except OSError as error:
            raise AepipeError(
                f"port {port} of 127.0.0.1 is taken ({error.strerror}): end what listens there, or choose another with "
                f"{option}{', or name that server with $PREFECT_API_URL' if option == '--port' else ''}"
            ) from None


def _deploy() -> None:
    """Register the work pool, the automations for runs that hang or die, and the deployments."""
    _run("work-pool", "create", POOL, "--type", "process", "--overwrite")
    _run("work-pool", "update", POOL, "--concurrency-limit", "1")
    for name in AUTOMATIONS:
        _done("--no-prompt", "automation", "delete", name)
    _run("automation", "create", "--from-file", "automations.yaml")
    _run("--no-prompt", "deploy", "--all")


def _work() -> None:
    """Run a worker, and start another one whenever it dies."""
    while True:
        with _process("worker", "start", "--pool", POOL, "--type", "process") as worker:
            status = worker.wait()
        _print_line(f"the worker ended with status {status}; another one starts")
        time.sleep(PAUSE)


@contextmanager
def service(port: int, store: Store) -> Iterator[None]:
    """Run the service of a store; nothing where it is not installed, or the port is 0."""
    if not port or not all(map(find_spec, ("starlette", "msgspec", "uvicorn", "httptools"))):
        yield
        return
    check_port(port, "--serve")
    words = [sys.executable, "-m", "aepipe", "serve", "--port", str(port), "--home", store.address]
    started = subprocess.Popen(words, cwd=ROOT, start_new_session=True)
    try:
        yield
    finally:
        end_group(started, GRACE)


@contextmanager
def _process(*words: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a Prefect command in a process group of its own; end the whole group afterwards."""
    started = subprocess.Popen(_command(words), cwd=ROOT, start_new_session=True)
    try:
        yield started
    finally:
        end_group(started, GRACE)


def end_group(started: subprocess.Popen[bytes], grace: float) -> None:
    """Interrupt a process group by its leader, and kill the rest of it after ``grace`` seconds."""
    for way in (signal.SIGINT, signal.SIGKILL):
        try:
            os.killpg(started.pid, way)
            started.wait(grace)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue


def _done(*words: str) -> bool:
    return not subprocess.run(_command(words), cwd=ROOT, capture_output=True, check=False).returncode


def _run(*words: str) -> None:
    done = subprocess.run(_command(words), cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise AepipeError(f"prefect {' '.join(words)}: {(done.stderr or done.stdout).strip()}")


def _command(words: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "prefect", *words]


def _wait(url: str) -> None:
    """Wait until the server answers.

    Raises:
        AepipeError: it does not answer in time.
    """
    until = time.monotonic() + STARTUP_SECONDS
    while time.monotonic() < until:
        try:
            with urlopen(f"{url}/health", timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    raise AepipeError(f"{url}: the Prefect server did not start in {STARTUP_SECONDS} s")


def _print_line(text: str) -> None:
    # Flushed, because stdout may be a pipe.
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
