"""A real server and a real clock: a schedule of every minute stands for every night.

A direct call of a flow would pass even where the scheduler never inserts a run, so only this test notices versions of
Prefect and of its dependencies that do not fit together.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aepipe.store import registry
from aepipe.store.artifacts import Store
from tests.flows.server import ask, port_of, process, user_environment, wait_for
from tests.support.samples import write_tiny


@pytest.fixture
def environment(tmp_path: Path, prefect_home: Callable[[Path], Path]) -> Iterator[dict[str, str]]:
    """The environment of a user whose Prefect server runs."""
    env, log = user_environment(tmp_path), tmp_path / "server.log"
    prefect_home(Path(env["PREFECT_HOME"]))
    port = port_of(env)
    words = ["-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", port, "--no-ui"]
    with process(*words, cwd=tmp_path, environment=env, log=log):
        wait_for(lambda: ask(env, "health") is True, seconds=600, log=log)
        yield env


def test_a_scheduled_run_puts_a_release_into_service(environment: dict[str, str], tmp_path: Path) -> None:
    write_tiny(tmp_path, count=300)
    store, log = Store(tmp_path / "shelf"), tmp_path / "schedule.log"
    words = ["-m", "aepipe", "schedule", "tiny.toml", "--cron", "* * * * *", "--timezone", "UTC"]

    def completed() -> Any:
        runs = ask(environment, "flow_runs/filter", {"flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}})
        return [run for run in runs or [] if run["auto_scheduled"]]

    with process(*words, "--home", str(store.root), cwd=tmp_path, environment=environment, log=log) as schedule:
        run = wait_for(completed, seconds=600, log=log)[0]
        os.killpg(schedule.pid, signal.SIGINT)
        assert schedule.wait(60) == 0
    assert run["name"] == "nightly-tiny"
    assert registry.names(store) == ["tiny"]
    said = log.read_text()
    assert said.startswith("tiny: aepipe-nightly/tiny at '* * * * *', UTC, kept by http://127.0.0.1:")
    assert "is in service" in said
    assert "Traceback" not in said
    paused = ask(environment, "deployments/name/aepipe-nightly/tiny")["paused"]
    assert paused, "what nobody serves must not pile up"
