"""A store in a folder: its state in words, what lies in it and when it was used, small files, holders of locks."""

from __future__ import annotations

import fcntl
import math
import os
import socket
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from aepipe.errors import StoreError
from aepipe.store import registry
from aepipe.store.artifacts import Ref, Store
from aepipe.store.backends import folder as folders
from aepipe.store.backends import locks
from aepipe.store.backends.folder import Folder
from tests.store.test_artifacts import put


def test_the_state_of_a_folder_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Folder(tmp_path / "shelf")
    assert place.state() == (
        "note",
        f"{tmp_path / 'shelf'}: is not there yet; `aepipe run RECIPE_OR_FOLDER` makes it",
    )
    place.create()
    assert place.state() == ("ok", f"{place.root}: private, and can be written")
    for mode in (0o701, 0o740):
        place.root.chmod(mode)
        assert place.state() == (
            "note",
            f"{place.root}: others on this machine can read it; chmod 700 {place.root}",
        )
    place.root.chmod(0o700)
    monkeypatch.setattr(os, "access", lambda path, how: (path, how) != (place.root, os.W_OK))
    assert place.state() == ("note", f"{place.root}: cannot be written by this user; queries work, runs do not")


def test_what_is_no_folder_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for root in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StoreError, match=f"{root}: no folder, so it cannot be a store; name another with --home"):
            Folder(root).create()


def test_an_interrupted_first_write_is_completed(tmp_path: Path) -> None:
    place = Folder(tmp_path / "a" / "shelf")
    place.create()
    (place.root / "CACHEDIR.TAG").unlink()
    (place.root / ".gitignore").unlink()
    place.create()
    assert (place.root / ".gitignore").read_text() == "*\n"
    (place.root / ".gitignore").write_text("mine")
    place.create()
    assert (place.root / ".gitignore").read_text() == "mine", "what is whole stays as it is"


def test_a_relative_folder_is_that_of_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Folder(Path("shelf")).root == tmp_path / "shelf"
    assert Folder(Path("shelf")).address == str(tmp_path / "shelf")


def test_artifacts_are_listed_by_the_time_of_their_making(store: Store) -> None:
    made = [put(store, {"stage": name}) for name in "abc"]
    for ref, when in zip(made, (3, 1, 2), strict=True):
        os.utime(store.root / str(ref) / "manifest.json", (10 - when, 10 - when))
        os.utime(store.root / str(ref), (when, when))
    (store.root / "segment" / ".hidden").mkdir()
    (store.root / "segment" / ".hidden" / "manifest.json").write_text("{}")
    (store.root / "segment" / "file").write_text("x")
    (store.root / "segment" / "bare").mkdir()
    assert store.refs("segment") == [made[1], made[2], made[0]]
    assert [store.used(ref) for ref in made] == [7, 9, 8]
    assert store.used(Ref("segment", "0" * 64)) == math.inf
    before = time.time()
    assert store.reuse(made[1])
    assert before <= store.used(made[1]) <= time.time()
    assert store.refs("segment") == [made[1], made[2], made[0]]
    assert not store.reuse(Ref("segment", "0" * 64))


def test_one_of_another_user_is_marked_where_that_may_be(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    ref, plain = put(store), os.utime

    def refuse(path: Path, **given: object) -> None:
        if given:
            raise PermissionError
        plain(path)

    os.utime(store.root / str(ref) / "manifest.json", (1, 1))
    monkeypatch.setattr(os, "utime", refuse)
    assert store.reuse(ref)
    assert store.used(ref) > 1


def test_what_was_used_since_some_time_stays(store: Store) -> None:
    ref = put(store)
    os.utime(store.root / str(ref) / "manifest.json", (1000, 1000))
    assert not store.remove(ref, unused_since=1000)
    assert not store.remove(ref, unused_since=999)
    assert store.has(ref)
    assert store.remove(ref, unused_since=1000.5)
    assert not store.has(ref)
    assert list((store.root / "segment").iterdir()) == []
    assert store.remove(ref), "it is gone"
    assert (store.size(ref), store.used(ref)) == (0, math.inf)


def test_the_size_of_an_artifact_is_that_of_all_its_files(store: Store) -> None:
    ref = put(store)
    manifest = store.root / str(ref) / "manifest.json"
    assert store.size(ref) == 8 + 256 + manifest.stat().st_size
    assert store.output(ref, "a.txt") == store.root / str(ref) / "a.txt"
    assert store.output(ref, "none") is None


def test_removal_waits_for_who_uses_an_artifact(store: Store) -> None:
    ref = put(store)
    lock = store.root / "locks" / ".removal"
    assert store.reuse(ref)
    removing = threading.Thread(target=store.remove, args=(ref,))
    with lock.open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_SH)
        assert store.reuse(ref), "whoever uses one does not wait for another user"
        removing.start()
        removing.join(0.05)
        assert removing.is_alive()
        assert store.has(ref)
        fcntl.flock(stream, fcntl.LOCK_UN)
        removing.join(20)
    assert not store.has(ref)


def test_work_is_listed_with_its_time_and_size(store: Store) -> None:
    place = store.backend
    assert place.works() == {}
    folder = place.work("abc")
    (folder / "below").mkdir()
    (folder / "below" / "x").write_bytes(b"12345")
    (folder / "y").write_bytes(b"123")
    for path, when in ((folder / "below" / "x", 50), (folder / "y", 20), (folder / "below", 10), (folder, 30)):
        os.utime(path, (when, when))
    place.work("def")
    found = place.works()
    assert found["abc"] == (50, 8)
    assert found["def"][1] == 0
    assert found["def"][0] > time.time() - 60
    before = time.time()
    assert place.work("abc") == folder
    assert found["abc"][0] < before <= place.works()["abc"][0], "asking for it is a use"
    place.drop_work("abc")
    place.drop_work("abc")
    assert list(place.works()) == ["def"]
    assert folders._touched(store.root / "none") == math.inf


def test_small_files_of_a_folder(store: Store) -> None:
    place = store.backend
    with pytest.raises(FileNotFoundError):
        place.read("service/one")
    place.write("service/one", b"first")
    place.swap("service/one", b"second")
    assert place.read("service/one") == b"second"
    place.write("service/.hidden", b"x")
    place.write("service/two", b"12")
    assert place.names("service") == ["one", "two"]
    assert place.names("service", "t*") == ["two"]
    assert place.names("none") == []
    assert place.sizes("service") == {"one": 6, "two": 2, ".hidden": 1}
    assert place.sizes("none") == {}
    place.move("service/one", "service/three")
    place.move("service/none", "service/four")
    assert place.names("service") == ["three", "two"]
    place.delete("service/three")
    place.delete("service/three")
    assert place.names("service") == ["two"]
    place.delete("service")
    assert not (store.root / "service").exists()
    assert place.file("some") == store.root / "some"
    assert [place.append("log.jsonl", line) for line in ("a", "b")] == ["", ""]
    assert place.lines("log.jsonl") == ["a", "b"]
    assert place.lines("none") == []
    (store.root / "log.jsonl").write_bytes(b"a\ntorn\xff")
    place.append("log.jsonl", "c")
    assert place.lines("log.jsonl") == ["a", "torn�", "c"]


def test_locks_are_listed(store: Store) -> None:
    place = store.backend
    assert place.locked() == []
    assert list(place.writers()) == []
    with registry.lock(store, "one"), registry.lock(store, "two"):
        assert place.locked() == ["one", "two"]
        began = list(place.writers())
        assert len(began) == 2
        assert all(time.time() - 60 < one <= time.time() for one in began)
        assert registry.writing_since(store) == min(began)
    (store.root / "locks" / ".removal").write_text("process 1, since x")
    assert list(place.writers()) == [math.inf] * 2, "hidden files are no locks"
    assert registry.writing_since(store) == math.inf


def test_the_holder_of_a_lock_is_read_and_erased(tmp_path: Path) -> None:
    one, other = locks.FileLock(tmp_path / "a"), locks.FileLock(tmp_path / "a")
    assert one.taken()
    assert not other.taken()
    assert other.holder() == ""
    one.sign("long line of somebody\n")
    one.sign("me")
    assert other.holder() == "me"
    one.release()
    assert other.holder() == ""
    one.close()
    assert other.taken()
    other.close()


def said(when: str = "", process: int | None = None, host: str | None = None) -> str:
    host = socket.gethostname() if host is None else host
    return f"process {os.getpid() if process is None else process}, since {when}" + (f", on {host}" if host else "")


def test_since_when_a_lock_is_held() -> None:
    now = datetime.now(UTC)
    when = now - timedelta(hours=1)
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    text = when.isoformat()
    assert locks.since("") == math.inf
    assert locks.since("proc") == 0.0
    assert locks.since(said(text)) == pytest.approx(when.timestamp())
    assert locks.since(said(text, host="")) == pytest.approx(when.timestamp()), "earlier versions name no host"
    assert locks.since(said(text, process.pid)) == math.inf, "that process is dead"
    assert locks.since(said(text, process.pid, "")) == math.inf
    assert locks.since(said(text, process.pid, "elsewhere")) == pytest.approx(when.timestamp()), "nobody can tell"
    assert locks.since(said("2026-")) == 0.0
    assert locks.since(said((now + timedelta(hours=1)).isoformat())) == 0.0, "a clock went wrong"
    assert locks.began(said(text, process.pid)) == pytest.approx(when.timestamp())
    assert locks.began("half a line") == 0.0
    own = locks.signature()
    assert own.startswith(f"process {os.getpid()}, since 2")
    assert own.endswith(f", on {socket.gethostname()}")
    assert time.time() - 60 < locks.since(own) <= time.time()


def test_damage_is_said_with_the_manifest_and_the_folder_to_delete(tmp_path: Path) -> None:
    held = tmp_path / "rows" / "1"
    assert Folder(tmp_path).damaged("rows/1", "not JSON") == (
        f"{held / 'manifest.json'}: corrupt, not JSON. Delete the folder {held} and run again: it will be made again"
    )
