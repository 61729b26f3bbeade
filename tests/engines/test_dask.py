"""Work on a Dask cluster of two processes: as in threads of one, whoever dies."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from typing import Any

import pytest

from aepipe import engines
from aepipe.engines import Done, Engine, Needs, Part, Work, dask
from aepipe.errors import AepipeError, EngineError
from tests.support import part_work

pytest.importorskip("distributed", reason="needs the extra dask")

PARTS = [Part(number, f"ref-{number}") for number in range(20)]


@pytest.fixture
def engine(cluster: str) -> Engine:
    return engines.resolve(cluster)


def by_number(done: Iterator[Done]) -> list[Done]:
    return sorted(done, key=lambda one: one.part)


def test_every_part_is_done_as_in_threads(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = Work("double", part_work.doubled, {"folder": str(tmp_path)})
    here = by_number(engines.resolve("local").map(work, PARTS, Needs()))
    for ahead in (1000, 3):
        monkeypatch.setattr("aepipe.engines.dask.AHEAD", ahead)
        assert by_number(engine.map(work, PARTS, Needs())) == here
    assert {len(one.read_bytes()) for one in tmp_path.glob("begun-*")} == {3}
    assert list(engine.map(work, [], Needs())) == []


@pytest.mark.parametrize("kind", part_work.ERRORS)
def test_an_error_keeps_its_kind_and_names_the_part(engine: Engine, kind: str) -> None:
    error = part_work.ERRORS[kind]()
    with pytest.raises(type(error), match="torn") as raised:
        list(engine.map(Work("fail", part_work.failed, {"kind": kind}), PARTS, Needs()))
    assert raised.value.__notes__ == ["in part 8 (ref-7)"]
    if isinstance(error, AepipeError):
        assert str(raised.value) == f"{error}, in part 8 (ref-7)"


def test_workers_that_are_being_started_again_are_waited_for(mortal: str) -> None:
    distributed = pytest.importorskip("distributed")
    with distributed.Client(f"tcp://{mortal.partition('://')[2]}", set_as_default=False) as client:
        before = client.run(os.getpid)
        for pid in before.values():
            os.kill(pid, signal.SIGKILL)
        while before.keys() & client.scheduler_info(n_workers=-1)["workers"].keys():
            time.sleep(0.01)
    assert len(list(engines.resolve(mortal).map(Work("double", part_work.doubled), PARTS, Needs()))) == 20


def test_a_worker_that_dies_costs_only_its_part(mortal: str, tmp_path: Path) -> None:
    began = time.monotonic()
    work = Work("kill", part_work.killed, {"folder": str(tmp_path)})
    assert len(by_number(engines.resolve(mortal).map(work, PARTS, Needs()))) == 20
    assert time.monotonic() - began < 120
    assert (tmp_path / "kills").read_bytes() == b"x"
    assert len(list(tmp_path.glob("out-*"))) == 20


def test_a_part_that_kills_its_workers_is_an_error(mortal: str, tmp_path: Path) -> None:
    work = Work("kill", part_work.killed, {"folder": str(tmp_path), "times": 100})
    with pytest.raises(EngineError, match=r"engine dask: lost .*in part [1-4] \(ref-[0-3]\)|of 0 workers"):
        list(engines.resolve(mortal).map(work, PARTS[:4], Needs()))


def tasks(dask_scheduler: Any) -> int:
    """Return how many tasks a scheduler knows."""
    return len(dask_scheduler.tasks)


def test_what_nobody_wants_is_not_begun(engine: Engine, cluster: str, tmp_path: Path) -> None:
    from distributed import Client

    found = engine.map(Work("held", part_work.held, {"folder": str(tmp_path)}), PARTS * 10, Needs())
    assert next(found).part == 0
    found.close()  # type: ignore[attr-defined]
    until = time.monotonic() + 60
    with Client(f"tcp://{cluster.partition('://')[2]}", set_as_default=False) as client:
        while client.run_on_scheduler(tasks):
            assert time.monotonic() < until, "the cluster goes on"
            time.sleep(0.01)
    (tmp_path / "go").touch()
    # What is asked for later is begun later.
    assert len(list(engine.map(Work("double", part_work.doubled), PARTS, Needs()))) == 20
    assert len(list(tmp_path.glob("begun-*"))) < 10


class Gone:
    """A client of a cluster that has no workers any more, or no scheduler; and the result of a part there."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def scheduler_info(self, **_: object) -> dict[str, dict[str, object]]:
        if self.error is not None:
            raise self.error
        return {"workers": {}}

    def result(self) -> Done:
        assert self.error is not None
        raise self.error


def test_a_cluster_that_is_gone_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    from distributed.comm.core import CommClosedError

    monkeypatch.setattr("aepipe.engines.dask.ANSWERS_IN", 0.01)
    none: Any = Gone()
    lost: Any = Gone(CommClosedError("closed"))
    with pytest.raises(EngineError, match="of 0 workers there is none; start it"):
        dask._next(Queue(), none, Needs())
    with pytest.raises(EngineError, match=r"the scheduler does not answer any more \(closed\)"):
        dask._next(Queue(), lost, Needs())
    with pytest.raises(EngineError, match=r"the scheduler does not answer any more \(closed\)"):
        dask._result(lost, PARTS[0])


def test_another_version_of_aepipe_is_refused(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aepipe.engines.dask.installed", lambda: "0.0.1")
    with pytest.raises(EngineError, match=r"has aepipe .*, and 0\.0\.1 asks it for work"):
        list(engine.map(Work("double", part_work.doubled), PARTS, Needs()))


def test_needs_that_no_worker_has_are_not_waited_for(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    joined = engine._joined  # type: ignore[attr-defined]

    def at_once() -> object:
        client = joined()  # which may take its time
        monkeypatch.setattr("aepipe.engines.dask.ANSWERS_IN", 0.2)
        return client

    monkeypatch.setattr(engine, "_joined", at_once)
    with pytest.raises(EngineError, match=r"of \d workers there is none with GPU=1"):
        list(engine.map(Work("double", part_work.doubled), PARTS, Needs(gpus=1)))


def test_no_cluster_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EngineError, match=r"dask://127\.0\.0\.1:9: does not answer .*start it: dask scheduler"):
        engines.resolve("dask://127.0.0.1:9")
    with pytest.raises(EngineError, match=r"write dask://HOST:PORT"):
        engines.resolve("dask")
    for text in ("dask://host", "dask://:80", "dask://host:port"):
        with pytest.raises(EngineError, match="not an address"):
            engines.resolve(text)
