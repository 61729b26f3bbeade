"""What nobody needs goes from the store, and nothing else does."""

from __future__ import annotations

import math
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from aepipe.errors import BusyError, CorruptError
from aepipe.pipeline import update
from aepipe.release import gc as collector
from aepipe.release import lifecycle
from aepipe.release.lifecycle import verify
from aepipe.release.release import Release
from aepipe.store import layout, registry
from aepipe.store.artifacts import KINDS, Ref, Store, ref_of
from aepipe.store.io import bytes_in
from tests.support.releases import make_release

SHAPE = (8, 8, 1)


def releases(store: Store, count: int) -> list[Ref]:
    """Put a release into service, and then each time one that a row less."""
    refs = [make_release(store, n=20, shape=SHAPE)]
    for row in range(count - 1):
        refs.append(update.remove(store, Release.open(store, "pictures"), np.array([row])))
        registry.promote(store, "pictures", refs[-1], why="a test")
    return refs


def put(store: Store, kind: str, **inputs: object) -> Ref:
    """Put a directory that no release refers to in the store."""
    with store.draft(kind) as draft:
        (draft.path / "file").write_text("x")
        return draft.finish(inputs)


def everything(store: Store) -> set[Ref]:
    """All that lies in the store."""
    return {ref for kind in KINDS for ref in store.refs(kind)}


def collect(store: Store, keep: int = 1, hours: float = 0.0) -> collector.Garbage:
    """Find and remove."""
    found = collector.find(store, keep=keep, hours=hours)
    collector.collect(store, found)
    return found


def test_of_one_second_the_log_says_which_release_is_newer(store: Store) -> None:
    refs = releases(store, 4)
    log = store.root / layout.Root.LOG
    log.write_text(re.sub(r'"when": "[^"]*"', '"when": "2026-11-29T23:51:51+00:00"', log.read_text()))
    os.utime(store.path(refs[0]), (time.time() + 9, time.time() + 9))  # listed last
    assert set(collector.find(store, keep=3, hours=0.0).kept) == set(refs[1:])


@pytest.mark.parametrize(("keep", "left"), [(1, 2), (2, 2), (3, 3), (9, 6)])
def test_the_newest_releases_stay_and_so_does_what_a_rollback_goes_to(store: Store, keep: int, left: int) -> None:
    refs = releases(store, 6)
    collect(store, keep)
    assert store.refs("release") == refs[-left:]
    for ref in refs[-left:]:
        assert verify(store, ref)
    assert registry.previous(store, "pictures") == refs[-2]
    assert not collector.find(store, keep=keep, hours=0.0).refs


def test_an_older_release_that_was_put_back_stays(store: Store) -> None:
    refs = releases(store, 4)
    registry.promote(store, "pictures", refs[0], why="a test")
    collect(store)
    assert set(store.refs("release")) == {refs[0], refs[3]}
    assert verify(store, refs[0])


def test_other_collections_have_their_own(store: Store) -> None:
    other = make_release(store, name="others", n=20, shape=SHAPE)
    refs = releases(store, 3)
    collect(store)
    assert set(store.refs("release")) == {other, *refs[-2:]}


def test_what_a_model_in_service_was_trained_from_stays(store: Store) -> None:
    views = put(store, "views", rows=f"rows/{'a' * 64}")
    below = put(store, "layer", views=str(views))
    layer = put(store, "layer", below=str(below))
    stray = put(store, "layer", stray=True)
    model = put(store, "model", layers=str(layer), views=str(views))
    assert collector._reach(store, [model]) == {model, layer, below, views}
    releases(store, 1)
    assert {stray, layer, model} <= set(collect(store).refs)


def test_bytes_are_counted_while_another_process_removes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, quick = tmp_path / "some", Path.is_file
    (folder / "below").mkdir(parents=True)
    (folder / "one").write_bytes(bytes(10))
    assert bytes_in(folder) == 10

    def removed(path: Path) -> bool:
        there = quick(path)
        if path.is_relative_to(folder):
            shutil.rmtree(folder, ignore_errors=True)
        return there

    monkeypatch.setattr(Path, "is_file", removed)
    assert bytes_in(folder) in {0, 10}
    assert bytes_in(folder) == 0, "it is gone"


def test_what_is_young_stays(store: Store) -> None:
    releases(store, 1)
    stray, work = put(store, "layer", stray=True), store.work(Ref("layer", "b" * 64))
    assert not collector.find(store, hours=1.0).refs
    yesterday = time.time() - 2 * 3600
    for path in (store.root / "layer" / stray.digest / "manifest.json", work):
        os.utime(path, (yesterday, yesterday))
    size = store.size(stray)
    assert size > 0
    found = collect(store, hours=1.0)
    assert (found.refs, found.work) == ((stray,), (work.name,))
    assert found.freed == size, "the work holds no file"
    assert not work.exists()
    assert not store.has(stray)


def test_damage_of_what_is_in_service_stops_it(store: Store) -> None:
    (ref,) = releases(store, 1)
    (store.root / "release" / ref.digest / "release.json").write_text("{}")
    before = everything(store)
    with pytest.raises(CorruptError):
        collect(store)
    assert everything(store) == before


def test_a_name_whose_release_is_not_there_stops_it(store: Store) -> None:
    """One flipped bit in the file of the name; nobody changes anything meanwhile."""
    releases(store, 2)
    before = everything(store)
    file = store.root / "service" / "pictures"
    file.write_text("0" + file.read_text()[1:] if file.read_text()[0] != "0" else "1" + file.read_text()[1:])
    with pytest.raises(CorruptError, match=r"service/pictures: corrupt, no release \w{12} is in the store"):
        collector.clean(store, keep=1, hours=0.0)
    assert everything(store) == before


def test_a_damaged_release_out_of_service_goes(store: Store) -> None:
    refs = releases(store, 4)
    (store.root / "release" / refs[0].digest / "release.json").write_text("{}")
    collect(store, keep=9)
    assert store.refs("release") == refs[1:]


def test_nobody_writes_while_all_locks_are_held(store: Store) -> None:
    releases(store, 1)
    with registry.lock(store, "new"), pytest.raises(BusyError), collector.exclusive(store):
        pass


def test_what_a_run_under_way_has_made_or_uses_stays(store: Store) -> None:
    releases(store, 1)
    unused, old = put(store, "layer", number=0), put(store, "layer", number=1)
    hour = time.time() - 3600
    for ref in (unused, old):
        os.utime(store.root / "layer" / ref.digest / "manifest.json", (hour, hour))
    with registry.lock(store, "another"):
        assert store.reuse(old)
        new = put(store, "layer", number=2)
        assert collector.clean(store, hours=0.0).refs == (unused,)
        assert {old, new} <= everything(store)
    assert set(collector.clean(store, hours=0.0).refs) == {old, new}


def test_a_run_that_was_killed_holds_nothing_back(store: Store) -> None:
    releases(store, 1)
    stray = put(store, "layer", number=0)
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    file = store.root / "locks" / "killed"
    file.write_text(f"process {int(ended.stdout)}, since 2026-01-01T00:00:00+00:00, on {socket.gethostname()}")
    assert registry.writing_since(store) == math.inf
    for text in (
        "process 1, si",
        f"process {os.getpid()}, since 2026-01",
        f"process {os.getpid()}, since 2999-01-01T00:00:00+00:00",
    ):
        file.write_text(text)
        assert not collector.clean(store, hours=0.0).refs, "nobody knows when it began"
    file.write_text("process 1, since 2026-01-01T00:00:00+00:00, on another.example")
    assert not collector.clean(store, hours=0.0).refs, "nobody knows whether it runs"
    file.write_text("")
    assert collector.clean(store, hours=0.0).refs == (stray,)


def test_a_release_that_is_promoted_meanwhile_keeps_its_parts(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    refs, real = releases(store, 4), collector._keep_ids

    def promoting(*given: object) -> None:
        monkeypatch.setattr(collector, "_keep_ids", real)
        lifecycle.promote(store, refs[0], why="a test")

    monkeypatch.setattr(collector, "_keep_ids", promoting)
    collector.clean(store, keep=1, hours=0.0)
    assert registry.current(store, "pictures") == refs[0]
    assert verify(store, refs[0])


def test_runs_and_collectors_at_once(store: Store) -> None:
    """What a run has made or used is there until it ends, although others collect garbage all the time."""
    releases(store, 1)
    missing, removed, begun, latest = list[Ref](), [0], time.monotonic(), time.monotonic() + 60

    def under_way() -> bool:
        now = time.monotonic()
        return now < begun + 1.5 or (not removed[0] and now < latest)

    def run(number: int) -> None:
        rng = np.random.default_rng(number)
        while under_way():
            with registry.lock(store, f"run{number}"):
                used = []
                for which in rng.integers(0, 20, 3).tolist():
                    ref = ref_of("layer", {"number": which})
                    used.append(ref if store.reuse(ref) else put(store, "layer", number=which))
                    time.sleep(0.002)
                    missing.extend(one for one in used if not store.has(one))

    def tidy() -> None:
        while under_way():
            removed[0] += len(collector.clean(store, hours=0.0).refs)

    threads = [*(threading.Thread(target=run, args=(n,)) for n in range(3)), threading.Thread(target=tidy)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not missing
    assert removed[0], "something was garbage in between"


def test_what_stands_in_the_place_of_an_artifact_is_made_again(store: Store) -> None:
    ref = put(store, "layer", number=0)
    (store.root / "layer" / ref.digest / "manifest.json").unlink()
    assert not store.has(ref)
    assert put(store, "layer", number=0) == ref
    assert store.verified(ref)


def test_who_holds_an_open_release_goes_on(store: Store) -> None:
    refs = releases(store, 4)
    held = Release.open(store, ref=refs[0])
    before = held.query(held.codes_of([5]), 10).ids.tolist()
    collect(store)
    assert refs[0] not in store.refs("release")
    assert held.query(held.codes_of([5]), 10).ids.tolist() == before


def test_an_empty_store_has_nothing(tmp_path: Path) -> None:
    assert not collector.find(Store(tmp_path / "none")).refs
