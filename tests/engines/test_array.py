"""Work by the jobs of an array: a run that waits, and jobs that do their shares."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest

from aepipe import engines
from aepipe.engines import Done, Needs, Part, Work, array
from aepipe.engines.array import Array, Plan
from aepipe.errors import EngineError, ItemError, SourceError
from tests.support import part_work

PARTS = [Part(number, f"ref-{number}") for number in range(10)]


@pytest.fixture(autouse=True)
def _ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let functions of these tests count as stages, and look often."""
    monkeypatch.setattr(array, "STAGES", "tests.support.part_work")
    monkeypatch.setattr(array, "LOOK_EVERY", 0.01)


@pytest.fixture
def engine(tmp_path: Path) -> Array:
    found = engines.resolve(f"array://{tmp_path}/shared")
    assert isinstance(found, Array)
    return found


class Run(threading.Thread):
    """A run that waits for its parts."""

    def __init__(self, engine: Array, work: Work) -> None:
        super().__init__(daemon=True)
        self.engine, self.work = engine, work
        self.done: list[Done] = []
        self.error: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            self.done.extend(self.engine.map(self.work, PARTS, Needs()))
        except Exception as error:
            self.error = error

    def plan(self) -> Plan:
        until = time.monotonic() + 60
        while (plan := self.engine.plan(self.work.stage)) is None:
            assert time.monotonic() < until, "no plan was written"
            time.sleep(0.01)
        return plan

    def end(self) -> list[Done]:
        self.join(60)
        assert not self.is_alive(), "it still waits"
        return sorted(self.done, key=lambda one: one.part)


@pytest.fixture
def run(engine: Array, tmp_path: Path) -> Run:
    return Run(engine, Work("double", part_work.doubled, {"folder": str(tmp_path)}))


def test_shares_together_do_every_part_once(engine: Array, run: Run, tmp_path: Path) -> None:
    plan = run.plan()
    counts = [len(list(engine.work("double", plan, (number, 3)))) for number in (1, 2, 3)]
    assert counts == [4, 3, 3]
    local = engines.resolve("local").map(run.work, PARTS, Needs())
    assert run.end() == sorted(local, key=lambda one: one.part)
    assert {one.read_bytes() for one in tmp_path.glob("begun-*")} == {b"xx"}, "once here, and once in threads"
    assert not list((engine.folder / "double").iterdir()), "the plan is taken back"


def test_a_job_that_is_started_again_does_what_is_missing(engine: Array, run: Run, tmp_path: Path) -> None:
    plan = run.plan()
    first = engine.work("double", plan, (1, 1))
    assert [next(first).part, next(first).part] == [0, 1]
    first.close()  # type: ignore[attr-defined]
    assert [one.part for one in engine.work("double", plan, (1, 1))] == list(range(2, 10))
    assert len(run.end()) == 10
    assert {one.read_bytes() for one in tmp_path.glob("begun-*")} == {b"x"}


@pytest.mark.parametrize(("kind", "error"), [("source", SourceError), ("item", ItemError), ("value", EngineError)])
def test_the_run_ends_with_the_error_of_a_part(engine: Array, kind: str, error: type[Exception]) -> None:
    run = Run(engine, Work("fail", part_work.failed, {"kind": kind}))
    with pytest.raises((SourceError, ItemError, ValueError), match="torn"):
        list(engine.work("fail", run.plan(), (8, 10)))
    run.end()
    assert type(run.error) is error
    assert "torn" in str(run.error)
    assert str(run.error).count("in part 8 (ref-7)") == 1


def test_a_job_ends_when_its_run_has(engine: Array, run: Run) -> None:
    plan = run.plan()
    mine = engine.work("double", plan, (1, 2))
    next(mine)
    assert len(list(engine.work("double", plan, (1, 1)))) == 9
    run.end()
    assert list(mine) == []


def test_two_runs_do_not_share_a_folder(engine: Array, run: Run) -> None:
    run.plan()
    other = Run(engine, run.work)
    run.end()
    assert isinstance(run.error, EngineError)
    assert "another run has taken this folder" in str(run.error)
    assert len(list(engine.work("double", other.plan(), (1, 1)))) == 10
    assert len(other.end()) == 10


@pytest.mark.parametrize("address", ["array", "array://relative", "array:///nowhere/at/all"])
def test_a_run_that_did_without_its_folder_ends_as_it_would(address: str) -> None:
    with engines.using(address, over=True), engines.told_its_end():
        pass


@pytest.mark.parametrize("file", ["{", "[1]", '{"id": "a"}', ""])
def test_a_damaged_plan_is_an_error(engine: Array, file: str) -> None:
    place = engine.folder / "double"
    place.mkdir(parents=True)
    (place / array.PLAN).write_text(file)
    with pytest.raises(EngineError, match="damaged"):
        engine.plan("double")


@pytest.mark.parametrize(
    "function", ["os:getcwd", "tests.support.part_work:Path", "tests.support.part_work:none", "a b:c", ":", "os:"]
)
def test_a_plan_calls_only_stages(engine: Array, function: str) -> None:
    plan = Plan("a", engines.installed(), function, {}, ((0, "ref"),))
    plan.write(engine.folder / "double")
    with pytest.raises(EngineError, match="is no stage of aepipe"):
        list(engine.work("double", plan, (1, 1)))


def test_what_a_killed_run_left_is_removed(engine: Array, run: Run) -> None:
    plan = run.plan()
    left = engine.folder / "double" / "0123456789abcdef"
    left.mkdir()
    (left / "0.json").write_text("{}")
    assert list(engine.map(run.work, [], Needs())) == []
    assert engine.stages() == []
    assert not list((engine.folder / "double").iterdir())
    run.end()
    assert "another run has taken this folder" in str(run.error)
    assert list(engine.work("double", plan, (1, 1))) == []


def test_a_relative_folder_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ("array", "array://", "array://nfs/work"):
        with pytest.raises(EngineError, match="write array:///FOLDER"):
            engines.resolve(text)


def test_a_damaged_result_is_an_error(engine: Array, run: Run) -> None:
    plan = run.plan()
    (engine.folder / "double" / plan.id / "3.json").write_text("{")
    run.end()
    assert "3.json: damaged" in str(run.error)


def test_plans_of_other_versions_are_refused(engine: Array, run: Run) -> None:
    plan = run.plan()
    body = json.loads((engine.folder / "double" / array.PLAN).read_text())
    other = Plan(**(body | {"version": "0.0.1", "refs": plan.refs}))
    with pytest.raises(EngineError, match=r"and 0\.0\.1 asks it for work"):
        list(engine.work("double", other, (1, 1)))
    run.end()
