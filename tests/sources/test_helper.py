"""Time limits of processes that read files for this one."""

from __future__ import annotations

import sys
import time

import pytest

from aepipe.sources import helper
from aepipe.sources.helper import Helper

ANSWERS = "import sys, time; sys.stdin.readline(); time.sleep({}); print('{{}}', flush=True)"


def test_a_process_that_hangs_is_stopped_in_time() -> None:
    hung = Helper((sys.executable, "-c", "import time; time.sleep(60)"))
    began = time.monotonic()
    assert hung.ask({}, seconds=0.2) is None
    assert hung.late
    assert 0.2 <= time.monotonic() - began < 10
    assert hung.process.returncode is not None


def test_time_in_which_it_waits_for_a_processor_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helper, "_waited", lambda _: time.monotonic() * 0.9)
    slow = Helper((sys.executable, "-S", "-c", ANSWERS.format(1.5)))
    assert slow.ask({}, seconds=0.5) == {}
    assert not slow.late
    slow.end()


def test_it_is_stopped_however_busy_the_machine_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helper, "_waited", lambda _: time.monotonic())
    hung = Helper((sys.executable, "-S", "-c", ANSWERS.format(60)))
    began = time.monotonic()
    assert hung.ask({}, seconds=0.2) is None
    assert hung.late
    assert time.monotonic() - began >= 0.2 * helper.PATIENCE


def test_waits_of_a_process_are_known() -> None:
    assert helper._waited(0) == 0.0
    assert helper._waited(2**30) == 0.0
