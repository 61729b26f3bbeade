"""Registry: releases in service, the log of changes, and locks that end with their process."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from aepipe.errors import BusyError, CorruptError, NotFoundError, StoreError
from aepipe.store import names, registry
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


def made_release(store: Store, name: str, created: str, **facts: object) -> Ref:
    """Write a release of a collection that was made at some time."""
    with pytest.MonkeyPatch.context() as patch, store.draft("release") as draft:
        (draft.path / "release.json").write_text("{}")
        patch.setattr("aepipe.store.artifacts.datetime", Mock(now=lambda _: datetime.fromisoformat(created)))
        return draft.finish({"name": name, "at": created}, {"name": name, **facts})


def test_releases_of_a_collection_are_those_of_its_present_name(made: Store) -> None:
    late, early = (made_release(made, "one", f"2026-01-0{day}T00:00:00+00:00") for day in (3, 1))
    other = made_release(made, "two", "2026-01-02T00:00:00+00:00")
    assert registry.made(made, "one") == [early, late]
    names.give(made, {other.digest: "one", early.digest: "three"})
    assert registry.made(made, "one") == [other, late]
    assert registry.made(made, "three") == [early]
    (made.root / str(late) / "manifest.json").write_text("{")
    assert registry.made(made, "one") == [other], "what cannot be read is left out"


def test_without_its_log_the_releases_of_a_collection_are_its_past(made: Store) -> None:
    refs = [made_release(made, "one", f"2026-01-0{day}T00:00:00+00:00") for day in (1, 2, 3)]
    promote(made, *refs)
    (made.root / "log.jsonl").unlink()
    assert registry.unlogged(made) == ["one"]
    assert registry.previous(made, "one") == refs[1]
    lines = [registry.Event("2026", "one", "promote", refs[1].digest, refs[2].digest, "x").line()]
    (made.root / "log.jsonl").write_text("\n".join(lines) + "\n")
    assert registry.previous(made, "one") == refs[1], "its first line is lost"
    assert not registry.accepted(made, "one")
    registry.log(made, registry.Event("2026", "one", "promote", refs[2].digest, refs[2].digest, "x"))
    assert registry.accepted(made, "one")
    promote(made, refs[0])
    for ref in refs[1:]:
        made.remove(ref)
    (made.root / "log.jsonl").unlink()
    with pytest.raises(NotFoundError, match=rf"one: there is no release before {refs[0].short}; `aepipe history`"):
        registry.previous(made, "one")


def test_releases_that_wait_for_a_promotion_are_named(made: Store) -> None:
    refs = [made_release(made, "one", f"2026-01-0{day}T00:00:00+00:00") for day in (1, 2, 3, 4)]
    for number, ref in enumerate(refs):
        os.utime(made.root / str(ref), (number, number))
    listed = ", ".join(ref.short for ref in refs[1:])
    with pytest.raises(
        NotFoundError, match=rf"makes one; these are in the store, for `aepipe promote RELEASE`: {listed}$"
    ):
        registry.resolve(made)


def test_a_name_is_found_however_its_accents_were_typed(made: Store) -> None:
    promote(made, A, name="caf\u00e9")
    assert registry.resolve(made, "cafe\u0301") == ("caf\u00e9", A)
    assert registry.resolve(made) == ("caf\u00e9", A)
    assert [event.after for event in registry.history(made, "cafe\u0301")] == [A.digest]


def test_the_former_name_of_a_collection_leads_to_its_present_one(made: Store) -> None:
    promote(made, A, name="three")

    def rename(was: str, name: str) -> None:
        registry.log(made, registry.Event("2026", name, registry.RENAME, A.digest, A.digest, "test", was=was))

    rename("one", "two")
    assert registry.renamed(made, "one") == "", "nothing is in service there"
    rename("two", "three")
    assert registry.renamed(made, "one") == registry.renamed(made, "two") == "three"
    assert registry.renamed(made, "three") == registry.renamed(made, "other") == ""
    with pytest.raises(NotFoundError, match="under the name 'one'; it was renamed to three: --name three"):
        registry.resolve(made, "one")
    registry.refuse(made, "one", B, why="a refusal uses no name")
    assert registry.renamed(made, "one") == "three"
    registry.log(made, registry.Event("2026", "one", "promote", "", B.digest, "made again"))
    assert registry.renamed(made, "one") == "", "another collection has that name now"


def test_a_refusal_is_logged_once_and_changes_nothing(made: Store) -> None:
    promote(made, A)
    for why in ("worse", "worse", "much worse", "much worse"):
        registry.refuse(made, "one", B, why=why)
    registry.refuse(made, "one", C, why="worse")
    found = registry.history(made, "one", refused=True)
    assert {datetime.fromisoformat(one.when).utcoffset() for one in found[1:]} == {timedelta()}
    assert [(one.action, one.before, one.after, one.why) for one in found] == [
        ("promote", "", A.digest, "test"),
        ("refuse", A.digest, B.digest, "worse"),
        ("refuse", A.digest, B.digest, "much worse"),
        ("refuse", A.digest, C.digest, "worse"),
    ]
    assert [one.action for one in registry.history(made, "one")] == ["promote"]
    promote(made, B)
    registry.refuse(made, "one", B, why="much worse")
    assert len(registry.history(made, "one", refused=True)) == 6, "it was in service in between"
    assert registry.history(made, "one", refused=True)[-1].before == B.digest
    registry.refuse(made, "new", B, why="the first")
    assert registry.history(made, "new", refused=True)[0].before == ""


def test_a_dropped_collection_is_in_the_log_for_those_who_ask(made: Store) -> None:
    promote(made, A, B, name="one")
    promote(made, C, name="two")
    registry.log(made, registry.Event("2026", "one", registry.DROP, B.digest, "", "test"))
    assert [one.name for one in registry.history(made)] == ["two"]
    assert [one.action for one in registry.history(made, "one", dropped=True)] == ["promote", "promote", "drop"]
    promote(made, D, name="one")
    assert [one.after for one in registry.history(made, "one")] == [D.digest]


def test_events_that_change_nothing(made: Store) -> None:
    event = registry.unchanged("one", A, "no reason")
    assert (event.name, event.action, event.before, event.after, event.why) == (
        "one",
        "promote",
        A.digest,
        A.digest,
        "no reason",
    )
    assert abs((datetime.fromisoformat(event.when) - datetime.now(UTC)).total_seconds()) < 60
    assert registry.history(made) == []
    assert "was" not in json.loads(event.line())
    assert json.loads(registry.Event("", "b", "rename", "", "", "", was="a").line())["was"] == "a"
    assert not registry.is_current(made, "one", A)
    promote(made, A)
    assert registry.is_current(made, "one", A)
    assert not registry.is_current(made, "one", B)
    (made.root / "service" / "one").write_text("torn")
    assert not registry.is_current(made, "one", A)


def test_a_file_of_ids_without_a_number_is_an_error(made: Store) -> None:
    assert registry.next_id(made, "one") == 0
    for torn in (b"x", b"", b"\xff"):
        made.backend.write("ids/one", torn)
        with pytest.raises(
            CorruptError, match="ids/one: corrupt, not one line with a number; write the highest id ever"
        ):
            registry.next_id(made, "one")
    made.backend.write("ids/one", b"7\n")
    ref = made_release(made, "one", "2026-01-01T00:00:00+00:00", next_id=7)
    higher = made_release(made, "one", "2026-01-02T00:00:00+00:00", next_id=8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(made.backend), "swap", lambda *_: pytest.fail("the number does not grow"))
        registry.keep_next_id(made, "one", ref)
    registry.keep_next_id(made, "one", higher)
    assert made.backend.read("ids/one") == b"8\n"
    registry.keep_next_id(made, "one", ref)
    assert registry.next_id(made, "one") == 8
    promote(made, higher, name="two")
    assert registry.next_id(made, "two") == 8, "who promotes keeps it"


@pytest.mark.parametrize(("busy", "fails"), [(names.TRIES - 1, False), (names.TRIES, True)])
def test_what_others_write_at_the_same_time_is_tried_five_times(
    made: Store, monkeypatch: pytest.MonkeyPatch, busy: int, fails: bool
) -> None:
    ref = made_release(made, "one", "2026-01-01T00:00:00+00:00", next_id=7)
    plain, left = type(made.backend).swap, 0

    def swap(*given: Any) -> None:
        nonlocal left
        left -= 1
        if left >= 0:
            raise BusyError("another process")
        plain(*given)

    monkeypatch.setattr(type(made.backend), "swap", swap)
    for act in (partial(registry.keep_next_id, made, "one", ref), partial(names.give, made, {"a": "b"})):
        left = busy
        if fails:
            with pytest.raises(BusyError):
                act()
        else:
            act()
    assert registry.next_id(made, "one") == (0 if fails else 7)
    assert names.given(made) == ({} if fails else {"a": "b"})


def test_names_are_given_and_forgotten(made: Store) -> None:
    names.give(made, {A.digest: "new", B.digest: "other"})
    assert names.present(made, A, "old") == "new"
    assert names.present(made, C, "old") == "old"
    text = (made.root / "names.json").read_text()
    assert text == json.dumps(json.loads(text), indent=1), "people can read it"
    names.give(made, {A.digest: None, C.digest: None})
    assert names.given(made) == {B.digest: "other"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(made.backend), "swap", lambda *_: pytest.fail("nothing is new"))
        names.give(made, {B.digest: "other"})


class Clock:
    """A clock that goes on while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        """Return the time."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.slept.append(seconds)
        self.now += seconds


@pytest.mark.parametrize("wait", [0.0, 0.25])
def test_who_waits_for_a_lock_says_so_once_and_gives_up_in_time(
    made: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, wait: float
) -> None:
    clock = Clock()
    monkeypatch.setattr(registry, "time", clock)
    with registry.lock(made, "one"):
        holder = (made.root / "locks" / "one").read_text()
        with pytest.raises(BusyError) as caught, registry.lock(made, "one", wait=wait):
            pass
    assert str(caught.value) == f"one: another run is writing to {made.address} ({holder}); wait for its end"
    assert clock.slept == pytest.approx([0.1, 0.1, 0.05] if wait else [])
    said = [record.getMessage() for record in caplog.records if "waiting" in record.getMessage()]
    assert said == ([f"one: waiting at most 0 s for the run that is writing ({holder})"] if wait else [])


def test_a_lock_without_a_name_belongs_to_another_process(made: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(registry, "time", clock)
    (made.root / "locks").mkdir(exist_ok=True)
    with (made.root / "locks" / "one").open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(BusyError, match=r"\(another process\); wait for its end"), registry.lock(made, "one"):
            pass
    assert clock.now == pytest.approx(101.0, abs=0.01), "it had a second to say who it is"
    assert set(clock.slept) == {0.005}


def test_a_lock_is_let_go_after_an_error(made: Store) -> None:
    with pytest.raises(ZeroDivisionError), registry.lock(made, "one"):
        raise ZeroDivisionError
    assert (made.root / "locks" / "one").read_text() == ""
    with registry.lock(made, "one"):
        pass


def test_a_pointer_that_may_not_be_read_is_no_damage(made: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(name: str) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied", name)

    monkeypatch.setattr(made.backend, "read", refused)
    for ask, file in ((registry.current, "service/one"), (registry.next_id, "ids/one")):
        with pytest.raises(StoreError, match=f"^{file}: Permission denied") as caught:
            ask(made, "one")
        assert type(caught.value) is StoreError
