"""What is in service: one file per name, a log of every change, and a lock that dies with its process."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from aepipe import service
from aepipe.errors import BusyError, CorruptError, NotFoundError
from aepipe.store import Ref, Store

A, B, C, D = (Ref("release", letter * 64) for letter in "abcd")


@pytest.fixture
def shelf(store: Store) -> Store:
    """A shelf that has been made."""
    store.create()
    return store


def promote(store: Store, *refs: Ref, name: str = "one") -> None:
    """Put releases into service, one after another."""
    for ref in refs:
        service.promote(store, name, ref, why="test")


def rollback(store: Store, name: str = "one") -> Ref:
    """Go back by one."""
    ref = service.previous(store, name)
    service.promote(store, name, ref, why="test", action="rollback")
    return ref


def test_nothing_is_in_service_at_first(store: Store) -> None:
    assert service.names(store) == []
    assert service.current(store, "one") is None
    assert service.history(store) == []
    with pytest.raises(NotFoundError, match=r"no release is in service.*`aepipe run"):
        service.resolve(store)
    assert not store.root.exists()


def test_a_promoted_release_is_in_service(shelf: Store) -> None:
    event = service.promote(shelf, "one", A, why="first")
    assert (event.action, event.before, event.after, event.why) == ("promote", "", A.digest, "first")
    assert (shelf.root / "service" / "one").read_text() == A.digest + "\n"
    promote(shelf, B)
    assert service.resolve(shelf) == service.resolve(shelf, "one") == ("one", B)
    assert service.history(shelf)[1].before == A.digest


def test_a_name_is_needed_where_there_are_several(shelf: Store) -> None:
    promote(shelf, A, name="one")
    promote(shelf, B, name="two")
    assert service.names(shelf) == ["one", "two"]
    with pytest.raises(NotFoundError, match="choose one with --name: one, two"):
        service.resolve(shelf)
    with pytest.raises(NotFoundError, match="under the name 'three'; these are: one, two"):
        service.resolve(shelf, "three")


def test_two_names_do_not_disturb_each_other(shelf: Store) -> None:
    promote(shelf, A, B, name="one")
    promote(shelf, B, C, name="two")
    promote(shelf, D, name="one")
    assert rollback(shelf, "two") == B
    assert service.current(shelf, "one") == D
    assert rollback(shelf, "one") == B
    assert service.current(shelf, "two") == B
    assert [event.after for event in service.history(shelf, "two")] == [B.digest, C.digest, B.digest]
    with service.lock(shelf, "one"), service.lock(shelf, "two"):
        pass


def test_rolling_back_is_a_stack(shelf: Store) -> None:
    promote(shelf, A, B, C)
    assert [rollback(shelf), rollback(shelf)] == [B, A]
    with pytest.raises(NotFoundError, match="one: there is no release before aaaaaaaaaaaa"):
        service.previous(shelf, "one")
    promote(shelf, D)
    assert rollback(shelf) == A


def test_what_is_promoted_again_lies_on_top(shelf: Store) -> None:
    promote(shelf, A, B, A)
    assert [rollback(shelf), rollback(shelf)] == [B, A]
    with pytest.raises(NotFoundError):
        service.previous(shelf, "one")


def test_promoting_the_same_again_changes_nothing(shelf: Store) -> None:
    promote(shelf, A, B, B, B)
    assert service.previous(shelf, "one") == A


def test_a_change_that_a_crash_cut_short_counts_as_not_done(shelf: Store) -> None:
    promote(shelf, A, B)
    promote(shelf, C)
    (shelf.root / "service" / "one").write_text(B.digest + "\n")  # logged, but the file was not written yet
    assert service.previous(shelf, "one") == A
    promote(shelf, D)
    assert [rollback(shelf), rollback(shelf)] == [B, A]


def test_a_torn_line_of_the_log_is_passed_over(shelf: Store) -> None:
    promote(shelf, A, B)
    log = shelf.root / "log.jsonl"
    whole = log.read_text()
    log.write_text(whole[:-20])
    assert [event.after for event in service.history(shelf)] == [A.digest]
    promote(shelf, C)
    assert [event.after for event in service.history(shelf)] == [A.digest, C.digest]
    assert service.previous(shelf, "one") == B
    log.write_text(whole + '5\n"x"\n{"when": 1}\n\n')
    assert len(service.history(shelf)) == 2


def test_every_change_is_one_line_of_json(shelf: Store) -> None:
    service.promote(shelf, "one", A, why="two\nlines \u2028 and ä")
    promote(shelf, B)
    lines = (shelf.root / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["after"] for line in lines] == [A.digest, B.digest]
    assert service.history(shelf)[0].why == "two\nlines \u2028 and ä"


@pytest.mark.parametrize("torn", [b"", b"abc\n", b"\xff\x00", b"Z" * 64, b"../" * 21 + b"x"])
def test_a_torn_service_file_is_said_and_can_be_written_anew(shelf: Store, torn: bytes) -> None:
    promote(shelf, A, B)
    file = shelf.root / "service" / "one"
    file.write_bytes(torn)
    with pytest.raises(CorruptError, match=rf"{file}: corrupt, .* `aepipe promote RELEASE`"):
        service.resolve(shelf)
    promote(shelf, C)
    assert service.current(shelf, "one") == C
    assert service.previous(shelf, "one") == B


def test_a_held_name_is_busy_until_its_process_ends(shelf: Store) -> None:
    script = (
        "import sys; from pathlib import Path; from aepipe import service; from aepipe.store import Store\n"
        f"with service.lock(Store(Path({str(shelf.root)!r})), 'one'):\n"
        "    print('held', flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(BusyError, match=rf"^one: .*process {process.pid}, since"), service.lock(shelf, "one"):
            pass
        with service.lock(shelf, "two"):
            pass
        process.kill()
        process.wait()
    with service.lock(shelf, "one"):
        pass
