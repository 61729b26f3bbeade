"""A store that can only be read, a log that is lost, a collection that another process is writing to."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from aepipe.release import lifecycle
from aepipe.store import registry
from aepipe.store.artifacts import Ref, Store
from tests.cli.conftest import Aepipe
from tests.support.releases import make_release

ROOT = Path(__file__).parents[2]
Own = tuple[Store, Ref]
DROPPED = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"]
"""Root without its capabilities is stopped by permissions, as others are."""


def _as_reader(store: Store, words: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [*(DROPPED if os.geteuid() == 0 else []), sys.executable, "-m", "aepipe", *words]
    given = {**os.environ, "PYTHONPATH": str(ROOT), "AEPIPE_HOME": str(store.root), "OMP_NUM_THREADS": "1"}
    given.pop("PREFECT_API_URL", None)
    return subprocess.run(command, cwd=cwd, env=given, capture_output=True, text=True, check=False)


def _tree(store: Store) -> list[tuple[str, int]]:
    return sorted((str(path), path.stat().st_mtime_ns) for path in store.root.rglob("*"))


def test_a_store_that_can_only_be_read_answers(own_store: Own, tmp_path: Path) -> None:
    store, ref = own_store
    if os.geteuid() == 0 and subprocess.run([*DROPPED, "true"], capture_output=True, check=False).returncode:
        pytest.skip("setpriv is not here, or root may not drop its capabilities")
    for path in (*store.root.rglob("*"), store.root):
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = _tree(store)
    wrong = []
    for status, words in (
        (0, ["query", "--id", "3"]),
        (0, ["evaluate", "--again"]),
        (0, ["verify"]),
        (0, ["gc", "--hours", "0"]),
        (0, ["refresh"]),
        (0, ["promote", ref.digest]),
        (0, ["export", "out"]),
        (3, ["remove", "--id", "3"]),
        (3, ["compact"]),
    ):
        done = _as_reader(store, words, tmp_path)
        ours = [line for line in done.stderr.splitlines() if line.startswith("aepipe: ")]
        if done.returncode != status or len(ours) != bool(status) or "Traceback" in done.stderr:
            wrong.append((words, done.returncode, done.stderr))
    assert not wrong
    assert _tree(store) == before
    for path in (store.root, *store.root.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


def test_a_refresh_that_has_something_to_do_is_no_quick_one(own_store: Own) -> None:
    from aepipe.pipeline.unchanged import unchanged
    from aepipe.release.release import Release
    from tests.support.releases import pictures_of

    release = Release.open(own_store[0])
    assert unchanged(own_store[0], release)
    assert not unchanged(own_store[0], release, seconds=-1)
    picture = next(pictures_of(own_store[0]).rglob("*.png"))
    kept = picture.read_bytes()
    picture.with_name("new.png").write_bytes(kept)
    assert not unchanged(own_store[0], release), "one is new"
    picture.with_name("new.png").write_bytes(b"no picture")
    assert not unchanged(own_store[0], release), "one cannot be read"
    picture.with_name("new.png").unlink()
    assert unchanged(own_store[0], release)
    picture.unlink()
    assert not unchanged(own_store[0], release), "one is gone"


def test_what_could_not_be_read_before_makes_no_work_again(own_store: Own) -> None:
    from aepipe import recipe, sources
    from aepipe.pipeline.ingest import ingest
    from aepipe.pipeline.unchanged import unchanged
    from aepipe.release.release import Release
    from tests.support.releases import pictures_of

    store = own_store[0]
    release = Release.open(store)
    bad = next(pictures_of(store).rglob("*.png")).with_name("bad.png")
    bad.write_bytes(b"no picture")
    source = sources.resolve(recipe.parse(release.recipe, store.root / "r.toml"))
    assert ingest(store, source, previous=release.part("rows")) == release.part("rows")
    assert unchanged(store, release)
    bad.rename(bad.with_name("worse.png"))
    assert not unchanged(store, release), "it has another name now"


def test_a_verb_waits_for_the_process_that_writes(
    aepipe: Aepipe, own_store: Own, caplog: pytest.LogCaptureFixture
) -> None:
    store, _ = own_store
    held, free = threading.Event(), threading.Event()

    def hold() -> None:
        with registry.lock(store, "pictures"):
            held.set()
            free.wait(120)

    other = threading.Thread(target=hold)
    other.start()
    assert held.wait(120)
    began = time.monotonic()
    assert aepipe("remove", "--id", 0, home=store).exit_code == 75
    assert aepipe("remove", "--id", 0, "--wait", "0.2", home=store).exit_code == 75
    assert time.monotonic() - began >= 0.2
    assert len(caplog.messages) == 1
    assert f"(process {os.getpid()}, since " in caplog.messages[0]
    threading.Timer(0.3, free.set).start()
    assert aepipe("remove", "--id", 0, "--wait", "1m", home=store).exit_code == 0
    other.join()


def test_without_the_log_the_release_in_service_is_found(
    aepipe: Aepipe, own_store: Own, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aepipe.cli.doctor.packages", lambda: iter(()))
    store, first = own_store
    second = make_release(store, n=20, seed=1)
    assert aepipe("doctor", home=store).exit_code == 0
    (store.root / "log.jsonl").unlink()
    found = aepipe("doctor", home=store)
    assert found.exit_code == 1
    assert "does not tell how the release in service came there" in found.stdout
    sound = lifecycle.last_sound(store, "pictures")
    assert sound is not None, "the gate has something to compare with"
    assert sound.ref == second
    assert registry.previous(store, "pictures") == first
    assert aepipe("gc", "--keep", 1, "--hours", 0, home=store).exit_code == 0
    assert store.has(first), "a rollback would put it back"
    third = make_release(store, n=20, seed=2)
    assert aepipe("doctor", home=store).exit_code == 1, "a night later, too"
    assert registry.previous(store, "pictures") == second
    assert aepipe("promote", third.digest, "--why", "the log was lost", home=store).exit_code == 0
    assert aepipe("doctor", home=store).exit_code == 0, "somebody has looked at it"


def test_without_the_pointer_the_collection_is_named(
    aepipe: Aepipe, own_store: Own, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aepipe.cli.doctor.packages", lambda: iter(()))
    store, ref = own_store
    (store.root / "service" / "pictures").unlink()
    found = aepipe("query", "--id", 3, home=store)
    assert found.exit_code == 2
    assert ref.short in found.stderr
    assert aepipe("doctor", home=store).exit_code == 1
    (store.root / "log.jsonl").unlink()
    assert aepipe("doctor", home=store).exit_code == 1
    assert aepipe("promote", ref.digest, home=store).exit_code == 0
    assert aepipe("query", "--id", 3, home=store).exit_code == 0
