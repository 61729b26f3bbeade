"""A real server, a real clock: what must hold every night, seen once with a schedule of every minute.

A direct call of a flow would pass where the scheduler never inserts a run, so only this test sees whether the versions
of Prefect and of what it stands on fit together.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from aepipe import service
from aepipe.store import Store
from tests.samples import write_tiny

ROOT = Path(__file__).parents[2]


@contextmanager
def process(*arguments: str, cwd: Path, environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program in a process group of its own, which is gone afterwards, whatever happens."""
    with log.open("wb") as stream:
        started = subprocess.Popen(
            [sys.executable, *arguments], cwd=cwd, env=environment, stdout=stream, stderr=stream, start_new_session=True
        )
    try:
        yield started
    finally:
        for way in (signal.SIGINT, signal.SIGKILL):
            try:
                os.killpg(started.pid, way)
                started.wait(15)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a user whose Prefect server runs."""
    folder = tmp_path_factory.mktemp("server")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT", "AEPIPE"))}
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    env = inherited | {
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
    }
    words = ["-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", port, "--no-ui"]
    with process(*words, cwd=folder, environment=env, log=folder / "server.log"):
        wait_for(lambda: ask(env, "health") is True, seconds=120, log=folder / "server.log")
        yield env


def ask(environment: dict[str, str], path: str, body: dict[str, Any] | None = None) -> Any:
    """Ask the server; None where it does not answer."""
    data = None if body is None else json.dumps(body).encode()
    request = Request(f"{environment['PREFECT_API_URL']}/{path}", data, {"Content-Type": "application/json"})
    try:
        with urlopen(request, timeout=5) as answer:
            return json.load(answer)
    except OSError:
        return None


def wait_for(condition: Any, *, seconds: float, log: Path) -> Any:
    """Return what a condition gives as soon as it gives something."""
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until, f"nothing after {seconds} s:\n{log.read_text()}"
        time.sleep(0.5)
    return found


def test_a_scheduled_run_puts_a_release_into_service(environment: dict[str, str], tmp_path: Path) -> None:
    write_tiny(tmp_path, count=300)
    store, log = Store(tmp_path / "shelf"), tmp_path / "schedule.log"
    words = ["-m", "aepipe", "schedule", "tiny.toml", "--cron", "* * * * *", "--timezone", "UTC"]

    def completed() -> Any:
        runs = ask(environment, "flow_runs/filter", {"flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}})
        return [run for run in runs or [] if run["auto_scheduled"]]

    with process(*words, "--home", str(store.root), cwd=tmp_path, environment=environment, log=log) as schedule:
        run = wait_for(completed, seconds=150, log=log)[0]
        os.killpg(schedule.pid, signal.SIGINT)
        assert schedule.wait(60) == 0
    assert run["name"] == "nightly-tiny"
    assert service.names(store) == ["tiny"]
    said = log.read_text()
    assert said.startswith("tiny: aepipe-nightly/tiny at '* * * * *', UTC, kept by http://127.0.0.1:")
    assert "is in service" in said
    assert "Traceback" not in said
    paused = ask(environment, "deployments/name/aepipe-nightly/tiny")["paused"]
    assert paused, "what nobody serves must not pile up"


def test_the_deployments_of_the_clone(environment: dict[str, str], tmp_path: Path) -> None:
    for words in (["work-pool", "create", "aepipe", "--type", "process"], ["--no-prompt", "deploy", "--all"]):
        done = subprocess.run(
            [sys.executable, "-m", "prefect", *words],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    for path, cron in (("aepipe-nightly/nightly", "0 2 * * *"), ("aepipe-refresh/hourly", "30 * * * *")):
        found = ask(environment, f"deployments/name/{path}")
        assert found["schedules"][0]["schedule"] == {"cron": cron, "timezone": "UTC", "day_or": True}
        assert found["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"
        assert found["work_pool_name"] == "aepipe"
