"""Leases and checkpoints of a store on object storage, at their borders; the objects are in memory."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from aepipe.errors import BusyError
from aepipe.store.artifacts import Store
from aepipe.store.backends import leases
from aepipe.store.backends.checkpoints import Checkpoints
from aepipe.store.backends.leases import Lease
from aepipe.store.backends.locks import FileLock
from tests.support.object_memory import NOW, Memory


def lease(memory: Memory, folder: Path, machine: str = "here", name: str = "one") -> Lease:
    folder.mkdir(parents=True, exist_ok=True)
    return Lease(memory, name, FileLock(folder / name), machine)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("silent", "machine", "taken"),
    [
        (90.0, "there", False),
        (90.5, "there", True),
        (0.0, "here", True),
    ],
)
def test_a_lease_is_taken_over_from_the_dead(
    memory: Memory, tmp_path: Path, silent: float, machine: str, taken: bool
) -> None:
    """One of this machine at once: the lock of its file says that nobody holds it."""
    memory.modified = NOW - silent
    memory.put("locks/one", json.dumps({"holder": "somebody", "machine": machine}).encode())
    memory.modified = NOW
    one = lease(memory, tmp_path)
    assert one.taken() == taken
    if not taken:
        assert one.holder() == "somebody"
        assert not one.taken()
        assert sum(asked == "info locks/one" for asked in memory.asked) == 1, "it is asked once a second at most"
    else:
        held = json.loads(memory.held["locks/one"][0])
        assert (held["machine"], held["beat"]) == ("here", 0)
        assert held["holder"].startswith(f"process {os.getpid()}, since")
        one.release()
        assert "locks/one" not in memory.held
    one.close()


def test_a_lease_that_others_of_this_machine_hold_is_not_asked_for(memory: Memory, tmp_path: Path) -> None:
    one, other = lease(memory, tmp_path), lease(memory, tmp_path)
    assert one.taken()
    one.sign("process 1")
    memory.asked.clear()
    assert not other.taken()
    assert other.holder() == "process 1"
    assert memory.asked == []
    one.release()
    one.close()
    other.close()


def test_what_is_no_lease_is_of_another_process(memory: Memory, tmp_path: Path) -> None:
    for data in (b"{", b"[]"):
        memory.put("locks/one", data)
        one = lease(memory, tmp_path)
        assert not one.taken()
        assert one.holder() == "another process"
        one.close()


def test_a_lease_of_another_is_not_let_go(memory: Memory, tmp_path: Path) -> None:
    one = lease(memory, tmp_path)
    assert one.taken()
    memory.put("locks/one", b'{"lease": "other"}')
    one.release()
    one.close()
    assert memory.held["locks/one"][0] == b'{"lease": "other"}'


@pytest.mark.parametrize(("age", "counted"), [(90.0, True), (90.5, False)])
def test_who_holds_a_lease_is_known_from_its_line(memory: Memory, there: Store, age: float, counted: bool) -> None:
    when = "2026-01-01T00:00:00+00:00"
    memory.modified = NOW - age
    memory.put("locks/one", json.dumps({"holder": f"process 1, since {when}"}).encode())
    found = list(there.backend.writers())
    assert found == ([1_767_225_600.0 - 60] if counted else []), "clocks may differ by a minute"
    assert leases.since(b"{}") == 0.0
    assert there.backend.locked() == ["one"]


def test_a_holder_remembers_what_it_replaces_as_long_as_it_holds(memory: Memory, there: Store) -> None:
    memory.put("service/one", b"first")
    held = there.backend.lock("one")
    assert held.taken()
    memory.put("service/one", b"second")
    assert there.backend.read("service/one") == b"second"
    with pytest.raises(BusyError):
        there.backend.swap("service/one", b"third")
    held.release()
    held.close()
    there.backend.swap("service/one", b"third")
    assert memory.held["service/one"][0] == b"third"
    machine = (there.root / "machine").read_text()
    assert len(machine) == 32
    again = there.backend.lock("one")
    again.close()
    assert (there.root / "machine").read_text() == machine


def test_checkpoints_that_are_newer_there_come_back(memory: Memory, tmp_path: Path) -> None:
    """Those that are at most a minute younger than these do not: clocks differ."""
    for name, when in (("new", 161.0), ("same", 160.0), ("none", 10.0), ("deep/x", 500.0)):
        memory.held[f"work/abc/{name}"] = b"theirs", when
    for name in ("new", "same"):
        (tmp_path / name).write_bytes(b"ours")
        os.utime(tmp_path / name, (100, 100))
    one = Checkpoints(memory)  # type: ignore[arg-type]
    one.begin("abc", tmp_path)
    found = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert found == {"new": b"theirs", "same": b"ours", "none": b"theirs"}
    memory.held["work/abc/other"] = b"theirs", 1e9
    one.begin("abc", tmp_path)
    assert not (tmp_path / "other").exists(), "it has begun"
    one.end("abc")
    assert memory.held == {}


def test_a_checkpoint_is_copied_where_it_has_changed(memory: Memory, tmp_path: Path) -> None:
    one = Checkpoints(memory)  # type: ignore[arg-type]
    one.begin("abc", tmp_path)
    file = tmp_path / "a.safetensors"
    file.write_bytes(b"one")
    os.utime(file, (NOW - 5, NOW - 5))
    memory.modified = NOW - 4
    one.save()
    one.save()
    assert memory.asked.count("put work/abc/a.safetensors") == 1
    file.write_bytes(b"two")
    os.utime(file, (NOW - 4, NOW - 4))
    one.save()
    assert memory.held["work/abc/a.safetensors"][0] == b"one", "another process of this training has copied it"
    file.write_bytes(b"three")
    os.utime(file, (NOW - 3, NOW - 3))
    one.save()
    assert memory.held["work/abc/a.safetensors"][0] == b"three"
    one.end("abc")


def test_copying_checkpoints_does_not_keep_a_process_from_its_end(memory: Memory, tmp_path: Path) -> None:
    Checkpoints(memory).begin("abc", tmp_path)  # type: ignore[arg-type]
    assert {one.daemon for one in threading.enumerate() if one.name == "checkpoints"} == {True}
