"""What is in service: one file per name, a log of every change, and a lock that dies with its process."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from aepipe.errors import BusyError, CorruptError, NotFoundError
from aepipe.store import registry
from aepipe.store.artifacts import Ref, Store

A, B, C, D = (Ref("release", letter * 64) for letter in "abcd")


@pytest.fixture
def shelf(store: Store) -> Store:
    """A shelf that has been made."""
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


def test_a_promoted_release_is_in_service(shelf: Store) -> None:
    event = registry.promote(shelf, "one", A, why="first")
    assert (event.action, event.before, event.after, event.why) == ("promote", "", A.digest, "first")
    assert (shelf.root / "service" / "one").read_text() == A.digest + "\n"
    promote(shelf, B)
    assert registry.resolve(shelf) == registry.resolve(shelf, "one") == ("one", B)
    assert registry.history(shelf)[1].before == A.digest


def test_a_name_is_needed_where_there_are_several(shelf: Store) -> None:
    promote(shelf, A, name="one")
    promote(shelf, B, name="two")
    assert registry.names(shelf) == ["one", "two"]
    with pytest.raises(NotFoundError, match="choose one with --name: one, two"):
        registry.resolve(shelf)
    with pytest.raises(NotFoundError, match="under the name 'three'; these are: one, two"):
        registry.resolve(shelf, "three")


def test_two_names_do_not_disturb_each_other(shelf: Store) -> None:
    promote(shelf, A, B, name="one")
    promote(shelf, B, C, name="two")
    promote(shelf, D, name="one")
    assert rollback(shelf, "two") == B
    assert registry.current(shelf, "one") == D
    assert rollback(shelf, "one") == B
    assert registry.current(shelf, "two") == B
    assert [event.after for event in registry.history(shelf, "two")] == [B.digest, C.digest, B.digest]
    with registry.lock(shelf, "one"), registry.lock(shelf, "two"):
        pass


def test_rolling_back_is_a_stack(shelf: Store) -> None:
    promote(shelf, A, B, C)
    assert [rollback(shelf), rollback(shelf)] == [B, A]
    with pytest.raises(NotFoundError, match="one: there is no release before aaaaaaaaaaaa"):
        registry.previous(shelf, "one")
    promote(shelf, D)
    assert rollback(shelf) == A


def test_what_is_promoted_again_lies_on_top(shelf: Store) -> None:
    promote(shelf, A, B, A)
    assert [rollback(shelf), rollback(shelf)] == [B, A]
    with pytest.raises(NotFoundError):
        registry.previous(shelf, "one")


def test_promoting_the_same_again_changes_nothing(shelf: Store) -> None:
    promote(shelf, A, B, B, B)
    assert registry.previous(shelf, "one") == A


def test_a_change_that_a_crash_cut_short_counts_as_not_done(shelf: Store) -> None:
    promote(shelf, A, B)
    promote(shelf, C)
    (shelf.root / "service" / "one").write_text(B.digest + "\n")  # logged, but the file was not written yet
    assert registry.previous(shelf, "one") == A
    promote(shelf, D)
    assert [rollback(shelf), rollback(shelf)] == [B, A]


def test_a_torn_line_of_the_log_is_passed_over(shelf: Store) -> None:
    promote(shelf, A, B)
    log = shelf.root / "log.jsonl"
    whole = log.read_text()
    log.write_text(whole[:-20])
    assert [event.after for event in registry.history(shelf)] == [A.digest]
    promote(shelf, C)
    assert [event.after for event in registry.history(shelf)] == [A.digest, C.digest]
    assert registry.previous(shelf, "one") == B
    log.write_text(whole + '5\n"x"\n{"when": 1}\n\n')
    assert len(registry.history(shelf)) == 2


def test_every_change_is_one_line_of_json(shelf: Store) -> None:
    registry.promote(shelf, "one", A, why="two\nlines \u2028 and ä")
    promote(shelf, B)
    lines = (shelf.root / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["after"] for line in lines] == [A.digest, B.digest]
    assert registry.history(shelf)[0].why == "two\nlines \u2028 and ä"


@pytest.mark.parametrize("torn", [b"", b"abc\n", b"\xff\x00", b"Z" * 64, b"../" * 21 + b"x"])
def test_a_torn_service_file_is_said_and_can_be_written_anew(shelf: Store, torn: bytes) -> None:
    promote(shelf, A, B)
    file = shelf.root / "service" / "one"
    file.write_bytes(torn)
    with pytest.raises(CorruptError, match=rf"{file}: corrupt, .* `aepipe promote RELEASE`"):
        registry.resolve(shelf)
    promote(shelf, C)
    assert registry.current(shelf, "one") == C
    assert registry.previous(shelf, "one") == B


def test_a_held_name_is_busy_until_its_process_ends(shelf: Store) -> None:
    script = (
        "import sys; from pathlib import Path; from aepipe.store import registry; from aepipe.store.artifacts import Store\n"
        f"with registry.lock(Store(Path({str(shelf.root)!r})), 'one'):\n"
        "    print('held', flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(BusyError, match=rf"^one: .*process {process.pid}, since"), registry.lock(shelf, "one"):
            pass
        with registry.lock(shelf, "two"):
            pass
        process.kill()
        process.wait()
    with registry.lock(shelf, "one"):
        pass
