"""Work in threads: every part once, errors that name the part, and an end when nobody wants more."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable

import pytest

from aepipe import engines
from aepipe.engines import Done, Needs, Part, Work
from aepipe.engines.local import Local
from aepipe.errors import ItemError, RecipeError, SourceError

PARTS = [Part(number, f"ref-{number}") for number in range(20)]


def double(part: Part, factor: int = 2) -> Done:
    return Done(part.number, part.ref, rows=factor * part.number)


def test_every_part_is_done_once_whatever_the_number_of_threads() -> None:
    for cpus in (1, 2, 8, 40):
        done = list(Local(cpus).map(Work("double", double, {"factor": 3}), PARTS, Needs()))
        assert sorted(one.part for one in done) == list(range(20))
        assert {one.part: one.rows for one in done} == {number: 3 * number for number in range(20)}
    assert list(Local(2).map(Work("double", double), [], Needs())) == []


def test_work_can_be_sent_elsewhere() -> None:
    work = pickle.loads(pickle.dumps(Work("double", double, {"factor": 5})))
    assert work(pickle.loads(pickle.dumps(PARTS[4]))) == Done(4, "ref-4", rows=20)


@pytest.mark.parametrize(("cpus", "at_once"), [(1, 4), (2, 2), (4, 1), (9, 1)])
def test_needs_say_how_many_parts_are_under_way(cpus: int, at_once: int) -> None:
    most, running, lock, several = 0, 0, threading.Lock(), threading.Event()

    def count(part: Part) -> Done:
        nonlocal most, running
        with lock:
            running += 1
            most = max(most, running)
            if running > 1:
                several.set()
        several.wait(20 if at_once > 1 else 0.005)
        with lock:
            running -= 1
        return Done(part.number, part.ref)

    assert len(list(Local(4).map(Work("count", count), PARTS, Needs(cpus=cpus)))) == 20
    assert most <= at_once
    assert at_once == 1 or most > 1


def failing(error: Callable[[], Exception]) -> Callable[[Part], Done]:
    def work(part: Part) -> Done:
        if part.number == 7:
            raise error()
        return Done(part.number, part.ref)

    return work


@pytest.mark.parametrize(
    "error", [lambda: SourceError("torn"), lambda: ItemError("a", "torn"), lambda: OSError(5, "torn")]
)
def test_an_error_keeps_its_kind_and_names_the_part(error: Callable[[], Exception]) -> None:
    with pytest.raises(type(error()), match="torn") as raised:
        list(Local(2).map(Work("fail", failing(error)), PARTS, Needs()))
    assert raised.value.__notes__ == ["in part 8 (ref-7)"]
    if not isinstance(raised.value, OSError):
        assert str(raised.value).endswith(", in part 8 (ref-7)")
    assert engines.named(raised.value, PARTS[7]).__notes__ == ["in part 8 (ref-7)"]


def test_work_under_way_ends_when_the_consumer_stops() -> None:
    begun, ended = threading.Semaphore(0), threading.Semaphore(0)

    def endless(part: Part) -> Done:
        if part.number == 0:
            begun.acquire(timeout=10)
            return Done(0, part.ref)
        begun.release()
        try:
            while True:
                engines.check_stopped()
        finally:
            ended.release()

    found = Local(2).map(Work("endless", endless), PARTS, Needs())
    assert next(found).part == 0
    found.close()  # type: ignore[attr-defined]
    assert ended.acquire(timeout=30), "it went on"
    engines.check_stopped()  # in this thread nothing was stopped


def test_an_engine_is_named_by_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(engines.VARIABLE, raising=False)
    assert "local" in engines.names()
    assert isinstance(engines.resolve(), Local)
    assert isinstance(engines.resolve("local"), Local)
    monkeypatch.setenv(engines.VARIABLE, "abacus://host:1")
    with pytest.raises(RecipeError, match=r"'abacus://host:1': unknown; allowed: .*local"):
        engines.resolve()
