"""``make up`` on one machine: with SQLite, and with PostgreSQL where it is installed; and a schedule beside it.

Servers, workers and the clock are real ones.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from aepipe.errors import AepipeError, BusyError
from aepipe.store import registry
from aepipe.store.artifacts import Store
from flows.up import AUTOMATIONS, alone, check_port
from tests.flows.server import ROOT, ask, free_port, port_of, postgresql, process, user_environment, wait_for
from tests.support.samples import write_tiny


class Up:
    """A running server with a worker, and requests to it.

    Attributes:
        environment: of a user of this server.
        log: its output.
        served: port of the service.
        deployment: the one that runs every night.
        store: where artifacts are read and written.
    """

    def __init__(self, env: dict[str, str], log: Path, served: str) -> None:
        self.environment, self.log, self.served = env, log, served
        self.store = Store(Path(env["AEPIPE_HOME"]))
        self.deployment = wait_for(lambda: self.ask("deployments/name/aepipe-nightly/nightly"), seconds=600, log=log)
        wait_for(self.workers, seconds=600, log=log)

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        return ask(self.environment, path, body)

    def workers(self) -> list[Any]:
        found = self.ask("work_pools/aepipe/workers/filter", {}) or []
        return [worker for worker in found if worker["status"] == "ONLINE"]

    def run(self, parameters: dict[str, Any], *, due: str | None = None) -> str:
        """Request a run of the night, and return its id."""
        body: dict[str, Any] = {"parameters": parameters}
        if due:
            body["state"] = {"type": "SCHEDULED", "state_details": {"scheduled_time": due}}
        run = wait_for(
            lambda: self.ask(f"deployments/{self.deployment['id']}/create_flow_run", body), seconds=600, log=self.log
        )
        return str(run["id"])

    def state(self, run: str) -> Any:
        return (self.ask(f"flow_runs/{run}") or {}).get("state", {})

    def processes(self, words: bytes) -> list[int]:
        """Return the processes of this server that were started with some words, or belong to a run."""
        url, found = self.environment["PREFECT_API_URL"].encode(), []
        for one in Path("/proc").glob("[0-9]*"):
            try:
                its, command = (one / "environ").read_bytes(), (one / "cmdline").read_bytes()
            except OSError:
                continue
            if url in its and (words in command or words in its):
                found.append(int(one.name))
        return found

    def wait(self, run: str, *states: str, seconds: float) -> None:
        """Wait until a run is in one of some states."""
        wait_for(lambda: self.state(run).get("type") in states, seconds=seconds, log=self.log)


@pytest.fixture(params=["sqlite", "postgresql"])
def up(request: pytest.FixtureRequest, tmp_path: Path, prefect_home: Callable[[Path], Path]) -> Iterator[Up]:
    """Run ``make up`` with a store and a server of its own: on SQLite, and on PostgreSQL."""
    env, log = user_environment(tmp_path) | {"AEPIPE_HOME": str(tmp_path / "shelf")}, tmp_path / "up.log"
    port = port_of(env)
    with ExitStack() as running:
        its = env
        if request.param == "sqlite":
            its = {name: value for name, value in env.items() if name != "PREFECT_API_URL"}
            prefect_home(Path(env["PREFECT_HOME"]))
        else:
            database = {"PREFECT_API_DATABASE_CONNECTION_URL": running.enter_context(postgresql())}
            words = ["-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", port]
            server = process(*words, cwd=tmp_path, environment=env | database, log=tmp_path / "server.log")
            running.enter_context(server)
        served = str(free_port())
        words = ["-m", "flows.up", "--port", port, "--serve", served]
        ours = running.enter_context(process(*words, cwd=ROOT, environment=its, log=log))
        one = Up(env, log, served)
        yield one
        assert one.processes(b"worker\0start")
        ours.terminate()
        assert ours.wait(300) == 0, log.read_text()
        assert not one.processes(b"worker\0start")
        assert len(one.processes(b"server\0start")) == (request.param == "postgresql"), (
            "a server that is not ours stays"
        )
    assert bool(list((tmp_path / "prefect").glob("*.db"))) == (request.param == "sqlite")


@contextmanager
def scheduled(up: Up, recipe: Path, store: Store) -> Iterator[None]:
    """Keep a schedule of every minute, which stands for every night, beside the block; check what it has done.

    A direct call of a flow would pass even where the scheduler never inserts a run, so only this notices versions of
    Prefect and of its dependencies that do not fit together.
    """
    words = ["-m", "aepipe", "schedule", recipe.name, "--cron", "* * * * *", "--timezone", "UTC"]
    log = recipe.with_name("schedule.log")

    def completed() -> list[Any]:
        found = up.ask("flow_runs/filter", {"flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}}) or []
        return [run for run in found if run["auto_scheduled"] and run["name"] == f"nightly-{recipe.stem}"]

    words += ["--home", str(store.root)]
    with process(*words, cwd=recipe.parent, environment=up.environment, log=log) as schedule:
        yield
        wait_for(completed, seconds=600, log=log)
        wait_for(lambda: not up.processes(b"spawn_main"), seconds=600, log=log)  # that of the run has ended, too
        os.killpg(schedule.pid, signal.SIGINT)
        assert schedule.wait(300) == 0
    assert registry.names(store) == [recipe.stem]
    said = log.read_text()
    assert said.startswith(
        f"{recipe.stem}: aepipe-nightly/{recipe.stem} at '* * * * *', UTC, kept by http://127.0.0.1:"
    )
    assert "is in service" in said
    assert "Traceback" not in said
    assert up.ask(f"deployments/name/aepipe-nightly/{recipe.stem}")["paused"], "what nobody serves must not pile up"


def test_the_deployments_of_the_clone_a_late_night_and_a_schedule(
    up: Up, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Everything is deployed; a late night runs, and its release goes into service; so does that of a schedule."""
    recipe = write_tiny(tmp_path)
    on_sqlite = request.node.callspec.params["up"] == "sqlite"
    with scheduled(up, recipe, Store(tmp_path / "own")) if on_sqlite else nullcontext():
        _deployed_and_late(up, recipe)


def _deployed_and_late(up: Up, recipe: Path) -> None:
    for path, cron in (("aepipe-nightly/nightly", "0 2 * * *"), ("aepipe-refresh/hourly", "30 * * * *")):
        found = up.ask(f"deployments/name/{path}")
        assert found["schedules"][0]["schedule"] == {"cron": cron, "timezone": "UTC", "day_or": True}
        assert found["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"
        assert (found["work_pool_name"], found["work_queue_name"]) == ("aepipe", "nights")
    assert up.ask("work_pools/aepipe")["concurrency_limit"] == 1
    automations = up.ask("automations/filter", {})
    assert sorted(one["name"] for one in automations) == sorted(AUTOMATIONS)
    late = up.run({"recipe": str(recipe)}, due="2026-01-01T02:00:00Z")
    up.wait(late, "COMPLETED", "FAILED", "CRASHED", seconds=600)
    assert up.state(late)["type"] == "COMPLETED", up.log.read_text()
    assert registry.names(up.store) == ["tiny"]
    with urlopen(f"http://127.0.0.1:{up.served}/readyz", timeout=120) as answer:
        assert answer.status == 200


@pytest.mark.skipif("AEPIPE_SOAK" not in os.environ, reason="takes minutes: make soak")
def test_a_worker_that_is_killed_in_the_middle_of_a_night(up: Up, tmp_path: Path) -> None:
    """Its run is marked as crashed, another worker starts, and the next night completes."""
    recipe = {"recipe": str(write_tiny(tmp_path, epochs=60))}
    night = up.run(recipe)
    up.wait(night, "RUNNING", seconds=600)
    wait_for(lambda: up.store.refs("views"), seconds=600, log=up.log)
    for one in {*up.processes(night.encode()), *up.processes(b"worker\0start")}:
        os.kill(one, signal.SIGKILL)
    up.wait(night, "CRASHED", seconds=600)
    assert "No heartbeat" in up.state(night)["message"]
    again = up.run(recipe)
    up.wait(again, "COMPLETED", "FAILED", "CRASHED", seconds=600)
    assert up.state(again)["type"] == "COMPLETED", up.log.read_text()
    assert registry.names(up.store) == ["tiny"]


def test_two_for_one_store_or_one_port_say_why(tmp_path: Path) -> None:
    with alone(tmp_path), pytest.raises(BusyError, match=rf"run already \(process {os.getpid()}, since"):
        alone(tmp_path).__enter__()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AepipeError, match=rf"port {port} of 127\.0\.0\.1 is taken"):
            check_port(port)
    check_port(port)
