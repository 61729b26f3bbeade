"""Registry: releases in service, the log of changes, and locks that end with their process."""

from __future__ import annotations

import errno
import fcntl
import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from aepipe.errors import BusyError, CorruptError, NotFoundError, StoreError
from aepipe.store import registry
from aepipe.store.artifacts import Ref, Store

A, B, C, D = (Ref("release", letter * 64) for letter in "abcd")


@pytest.fixture
def made(store: Store) -> Store:
    """A store whose folder exists."""
    store.create()
    return store


def promote(store: Store, *refs: Ref, name: str = "one") -> None:
    """Put releases into service, one after another."""
    for ref in refs:
        registry.promote(store, name, ref, why="test")


def rollback(store: Store, name: str = "one") -> Ref:
    """Go back by one."""
    ref = registry.previous(store, name)
    registry.promote(store, name, ref, why="test", action="rollback")
    return ref


def test_nothing_is_in_service_at_first(store: Store) -> None:
    assert registry.names(store) == []
    assert registry.current(store, "one") is None
    assert registry.history(store) == []
    with pytest.raises(NotFoundError, match=r"no release is in service.*`aepipe run"):
        registry.resolve(store)
    assert not store.root.exists()


def test_a_promoted_release_is_in_service(made: Store) -> None:
    event = registry.promote(made, "one", A, why="first")
    assert (event.action, event.before, event.after, event.why) == ("promote", "", A.digest, "first")
    assert (made.root / "service" / "one").read_text() == A.digest + "\n"
    promote(made, B)
    assert registry.resolve(made) == registry.resolve(made, "one") == ("one", B)
    assert registry.history(made)[1].before == A.digest


def test_a_name_is_needed_where_there_are_several(made: Store) -> None:
    promote(made, A, name="one")
    promote(made, B, name="two")
    assert registry.names(made) == ["one", "two"]
    with pytest.raises(NotFoundError, match="choose one with --name: one, two"):
        registry.resolve(made)
    with pytest.raises(NotFoundError, match="under the name 'three'; these are: one, two"):
        registry.resolve(made, "three")


@pytest.mark.parametrize("asked", ["is_dir", "iterdir"])
def test_names_that_cannot_be_read_are_an_error(made: Store, monkeypatch: pytest.MonkeyPatch, asked: str) -> None:
    promote(made, A)

    def refused(path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    with monkeypatch.context() as patched:
        patched.setattr(Path, asked, refused)
        with pytest.raises(StoreError, match="service: Permission denied"):
            registry.names(made)


def test_two_names_do_not_disturb_each_other(made: Store) -> None:
    promote(made, A, B, name="one")
    promote(made, B, C, name="two")
    promote(made, D, name="one")
    assert rollback(made, "two") == B
    assert registry.current(made, "one") == D
    assert rollback(made, "one") == B
    assert registry.current(made, "two") == B
    assert [event.after for event in registry.history(made, "two")] == [B.digest, C.digest, B.digest]
    with registry.lock(made, "one"), registry.lock(made, "two"):
        pass


def test_rolling_back_is_a_stack(made: Store) -> None:
    promote(made, A, B, C)
    assert [rollback(made), rollback(made)] == [B, A]
    with pytest.raises(NotFoundError, match="one: there is no release before aaaaaaaaaaaa"):
        registry.previous(made, "one")
    promote(made, D)
    assert rollback(made) == A


def test_a_release_promoted_again_is_on_top(made: Store) -> None:
    promote(made, A, B, A)
    assert [rollback(made), rollback(made)] == [B, A]
    with pytest.raises(NotFoundError):
        registry.previous(made, "one")


def test_promoting_the_same_again_changes_nothing(made: Store) -> None:
    promote(made, A, B, B, B)
    assert registry.previous(made, "one") == A


def test_a_change_interrupted_by_a_crash_does_not_count(made: Store) -> None:
    promote(made, A, B)
    promote(made, C)
    (made.root / "service" / "one").write_text(B.digest + "\n")  # logged, but the file was not written yet
    assert registry.previous(made, "one") == A
    promote(made, D)
    assert [rollback(made), rollback(made)] == [B, A]


def test_a_torn_line_of_the_log_is_skipped(made: Store) -> None:
    promote(made, A, B)
    log = made.root / "log.jsonl"
    whole = log.read_text()
    log.write_text(whole[:-20])
    assert [event.after for event in registry.history(made)] == [A.digest]
    promote(made, C)
    assert [event.after for event in registry.history(made)] == [A.digest, C.digest]
    assert registry.previous(made, "one") == B
    log.write_text(whole + '5\n"x"\n{"when": 1}\n\n')
    assert len(registry.history(made)) == 2


def test_a_renamed_collection_has_its_lines_under_its_present_name(made: Store) -> None:
    promote(made, A, B, name="one")
    promote(made, C, name="two")
    when = "2026-01-01T00:00:00+00:00"
    registry.log(made, registry.Event(when, "new", registry.RENAME, B.digest, B.digest, "test", was="one"))
    assert [(one.name, one.after) for one in registry.history(made)] == [
        ("new", A.digest),
        ("new", B.digest),
        ("two", C.digest),
    ]


def test_a_log_that_tells_of_all_names_lacks_none(made: Store) -> None:
    promote(made, A, B, name="one")
    promote(made, C, name="two")
    assert registry.unlogged(made) == []
    log = made.root / "log.jsonl"
    log.write_text("".join(log.read_text().splitlines(keepends=True)[1:]))
    assert registry.unlogged(made) == ["one"], "its first line is lost"


def test_the_highest_id_outlives_the_release_that_gave_it(made: Store) -> None:
    with made.draft("release") as draft:
        (draft.path / "release.json").write_text("{}")
        ref = draft.finish({"a": "release"}, {"next_id": 7})
    registry.keep_next_id(made, "one", ref)
    assert registry.next_id(made, "one") == 7
    made.remove(ref, unused_since=0.0)
    registry.keep_next_id(made, "one", ref)
    assert registry.next_id(made, "one") == 7


def test_every_change_is_one_line_of_json(made: Store) -> None:
    registry.promote(made, "one", A, why="two\nlines \u2028 and ä")
    promote(made, B)
    lines = (made.root / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["after"] for line in lines] == [A.digest, B.digest]
    assert registry.history(made)[0].why == "two\nlines \u2028 and ä"


@pytest.mark.parametrize("torn", [b"", b"abc\n", b"\xff\x00", b"Z" * 64, b"../" * 21 + b"x"])
def test_a_torn_service_file_is_an_error_and_can_be_replaced(made: Store, torn: bytes) -> None:
    promote(made, A, B)
    file = made.root / "service" / "one"
    file.write_bytes(torn)
    with pytest.raises(CorruptError, match=rf"{file}: corrupt, .* `aepipe promote RELEASE`"):
        registry.resolve(made)
    promote(made, C)
    assert registry.current(made, "one") == C
    assert registry.previous(made, "one") == B


def test_a_lock_that_is_just_taken_is_waited_for_until_it_names_its_process(
    made: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "UNNAMED", 60.0)
    file = made.root / "locks" / "one"
    file.parent.mkdir(exist_ok=True)
    with file.open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        named = threading.Timer(0.1, file.write_text, ["process 1, since 2026-01-01"])
        named.start()
        with pytest.raises(BusyError, match="process 1, since"), registry.lock(made, "one"):
            pass
        named.join()


def test_a_lock_that_is_just_let_go_is_taken(made: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "UNNAMED", 60.0)
    file = made.root / "locks" / "one"
    file.parent.mkdir(exist_ok=True)
    stream = file.open("a")
    fcntl.flock(stream, fcntl.LOCK_EX)
    gone = threading.Timer(0.1, stream.close)
    gone.start()
    with registry.lock(made, "one"):
        assert file.read_text().startswith("process ")
    gone.join()


def test_a_locked_name_is_busy_until_its_process_ends(made: Store) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from aepipe.store import registry; from aepipe.store.artifacts import Store\n"
        f"with registry.lock(Store(Path({str(made.root)!r})), 'one'):\n"
        "    print('held', flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(BusyError, match=rf"^one: .*process {process.pid}, since"), registry.lock(made, "one"):
            pass
        with registry.lock(made, "two"):
            pass
        process.kill()
        process.wait()
    with registry.lock(made, "one"):
        pass
