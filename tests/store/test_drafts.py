"""Drafts on file systems that several machines and containers have: none that is alive is swept."""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aepipe.store.artifacts import Store
from aepipe.store.backends import drafts
from tests.store.test_artifacts import put

ELSEWHERE = ".tmp-b" + "0" * 12 + "-" + "1" * 16
"""A draft of another machine."""


@pytest.fixture
def kind(store: Store) -> Path:
    """The folder of a store in which drafts are."""
    put(store)
    return store.root / "segment"


def silent(path: Path, seconds: float = 2 * drafts.SILENT) -> Path:
    """Make a folder that was last touched some time ago."""
    path.mkdir()
    os.utime(path, (time.time() - seconds,) * 2)
    return path


def test_a_name_has_neither_host_nor_process(store: Store) -> None:
    with store.draft("segment") as draft:
        name = draft.path.name
    assert socket.gethostname() not in name
    assert str(os.getpid()) not in name.rpartition("-")[0]
    assert drafts.name() != drafts.name()


def test_a_draft_of_another_machine_stays_while_it_is_touched(store: Store, kind: Path) -> None:
    other = silent(kind / ELSEWHERE, drafts.SILENT / 2)
    put(store, {"stage": "next"})
    assert other.exists()
    os.utime(other, (time.time() - 2 * drafts.SILENT,) * 2)
    put(store, {"stage": "third"})
    assert not other.exists()


def test_a_locked_draft_stays_however_silent(store: Store, kind: Path) -> None:
    for name in (ELSEWHERE, drafts.name()):
        path = silent(kind / name)
        handle = os.open(path, os.O_RDONLY)
        fcntl.flock(handle, fcntl.LOCK_EX)
        drafts.sweep(kind)
        assert path.exists()
        os.close(handle)
        drafts.sweep(kind)
        assert not path.exists()


def test_where_there_are_no_locks_the_last_touch_decides(kind: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(_handle: int, _how: int) -> None:
        raise OSError("no locks here")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with drafts.draft(kind) as path:
        drafts.sweep(kind)
        assert path.exists()
        os.utime(path, (time.time() - 2 * drafts.SILENT,) * 2)
        drafts.sweep(kind)
        assert not path.exists()


def test_a_draft_is_touched_while_it_is_written(kind: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drafts, "BEAT", 0.02)
    monkeypatch.setattr(drafts, "_beating", [])
    with drafts.draft(kind) as path:
        os.utime(path, (0, 0))
        until = time.monotonic() + 20
        while path.stat().st_mtime == 0:
            assert time.monotonic() < until


def test_drafts_of_earlier_versions_are_swept(store: Store, kind: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    dead = kind / f".tmp-{socket.gethostname()}-{process.pid}-ab12"
    alive, elsewhere = kind / f".tmp-{socket.gethostname()}-{os.getpid()}-ab12", kind / ".tmp-other-1-ab12"
    for path in (dead, alive, elsewhere):
        path.mkdir()
    put(store, {"stage": "next"})
    assert [path.exists() for path in (dead, alive, elsewhere)] == [False, True, True]


def test_a_folder_that_was_never_locked_goes_in_time(kind: Path) -> None:
    young, old = kind / f".new{drafts.name()}", silent(kind / f".new{drafts.name()}")
    young.mkdir()
    drafts.sweep(kind)
    assert young.exists()
    assert not old.exists()
