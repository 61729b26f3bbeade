"""The rules of a store on object storage, at their borders: times of grace, leases, marks, copies, and small files.

The objects are in memory, with times that a test sets; :mod:`tests.store.test_objects` has a real server.
"""

from __future__ import annotations

import json
import logging
import math
import os
import time
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from aepipe.errors import BusyError, CorruptError, StoreError
from aepipe.store.artifacts import Ref, Store
from aepipe.store.backends import copies
from aepipe.store.backends.bucket import Bucket, ChangedError, Object, _object
from aepipe.store.backends.objects import Objects
from tests.store.test_artifacts import put
from tests.support.object_memory import NOW, Memory


def backend(store: Store) -> Objects:
    assert isinstance(store.backend, Objects)
    return store.backend


def test_a_server_is_asked_once_what_it_promises(memory: Memory, there: Store) -> None:
    put(there)
    assert memory.held["store.json"] == (b'{"schema": 1}', NOW)
    assert [key for key in memory.held if key.startswith("probe-")] == []
    probed = sum(one.startswith("put probe-") for one in memory.asked)
    assert probed == 2
    put(there, {"stage": "next"})
    put(Store(memory.address), {"stage": "third"})
    assert sum(one.startswith("put probe-") for one in memory.asked) == 2
    assert sum(one == "info store.json" for one in memory.asked) == 2, "once for each object"


@pytest.mark.parametrize("lost", ["create", "swap"])
def test_a_server_that_keeps_half_of_its_promises_is_refused(
    memory: Memory, there: Store, lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, lost, lambda key, data, *_: memory.put(key, data))
    with pytest.raises(
        StoreError, match=rf"^{memory.address}: the server does not keep conditions of writes .*another"
    ):
        backend(there).probe()
    assert memory.held == {}
    state, said = backend(there).state()
    assert state == "bad"
    assert said.startswith(f"{memory.address}: the server does not keep")


@pytest.mark.parametrize(("apart", "fits"), [(300, True), (-300, True), (300.1, False), (-300.1, False)])
def test_clocks_may_differ_by_five_minutes(memory: Memory, there: Store, apart: float, fits: bool) -> None:
    memory.modified = NOW + apart
    state, said = backend(there).state()
    if fits:
        assert (state, said) == (
            "ok",
            f"{memory.address}: can be written, and keeps conditions; copies for reading are in {there.root}",
        )
    else:
        assert (state, said) == (
            "bad",
            f"{memory.address}: the clocks of its server and of this machine differ; set this one right",
        )
    assert memory.held == {}


def test_artifacts_are_listed_oldest_first_and_remember_their_times(memory: Memory, there: Store) -> None:
    there.create()
    made = {}
    for name, when in (("a", 30.0), ("b", 10.0), ("c", 10.0)):
        memory.modified = when
        made[name] = put(there, {"stage": name})
    memory.put("segment/below/x", b"no manifest of an artifact")
    early = sorted((made["b"], made["c"]), key=lambda ref: ref.digest)
    assert there.refs("segment") == [*early, made["a"]]
    memory.asked.clear()
    assert [there.used(made[name]) for name in "ab"] == [31.0, 11.0], "servers round down to seconds"
    assert memory.asked == [], "their times are listed"
    assert there.used(Ref("segment", "0" * 64)) == math.inf
    memory.modified = 50.0
    assert there.reuse(made["b"])
    assert there.used(made["b"]) == 51.0
    there.refs("model")
    memory.asked.clear()
    assert there.used(made["a"]) == 31.0
    assert memory.asked == [], "another kind has its own times"
    assert there.refs("segment")[-1] == made["b"]


@pytest.mark.parametrize(("since", "gone"), [(NOW, False), (NOW + 1, False), (NOW + 1.01, True)])
def test_what_was_used_since_stays(memory: Memory, there: Store, since: float, gone: bool) -> None:
    ref = put(there)
    assert there.used(ref) == NOW + 1
    assert there.remove(ref, unused_since=since) == gone
    assert there.has(ref) == (not gone)
    assert (f"removed/{ref}" in memory.held) == gone
    assert (there.root / str(ref)).exists() == (not gone)
    if gone:
        assert memory.held[f"removed/{ref}"][0]
        assert there.used(ref) == math.inf
        assert there.size(ref) == 0
    assert there.remove(Ref("segment", "0" * 64)), "it is gone"


@pytest.mark.parametrize(("old", "swept"), [(86_400.0, False), (86_400.5, True)])
def test_files_without_an_artifact_are_swept_after_a_day(memory: Memory, there: Store, old: float, swept: bool) -> None:
    kept = put(there)
    memory.held = {key: (data, NOW - 2 * old) for key, (data, _) in memory.held.items()}
    memory.modified = NOW - old
    memory.put("blob/lost", b"x")
    memory.put(
        f"removed/segment/{'1' * 64}",
        b'{"outputs": {"a": {"sha256": "recent", "bytes": 1}, "b": {"sha256": "older", "bytes": 1}}}',
    )
    memory.put("blob/recent", b"y")
    memory.held["blob/older"] = b"z", NOW - 2 * old
    backend(there).sweep()
    assert ("blob/lost" in memory.held) == (not swept)
    assert (f"removed/segment/{'1' * 64}" in memory.held) == (not swept)
    assert ("blob/recent" in memory.held) == (not swept)
    assert ("blob/older" in memory.held) == (not swept), "what is marked as removed since then may come back"
    blobs = {f"blob/{one['sha256']}" for one in there.manifest(kept).outputs.values()}
    assert blobs <= memory.held.keys()
    assert there.has(kept)


def test_a_file_that_was_written_again_while_sweeping_stays(memory: Memory, there: Store) -> None:
    there.create()
    memory.modified = NOW - 90_000
    memory.put("blob/lost", b"x")
    plain = memory.listed

    def listed(folder: str) -> dict[str, Object]:
        found = plain(folder)
        if folder == "removed":
            memory.held["blob/lost"] = b"x", NOW
        return found

    memory.listed = listed  # type: ignore[method-assign]
    backend(there).sweep()
    assert "blob/lost" in memory.held


def test_copies_of_what_is_gone_are_dropped(memory: Memory, there: Store) -> None:
    kept, gone = put(there), put(there, {"stage": "next"}, "others")
    one = there.manifest(gone).outputs["a.txt"]
    file = backend(there).copies.fetch_one(str(gone), one)
    memory.held.pop(str(gone))
    old = NOW - 86_401
    for path in (*(there.root / "segment").glob("*/manifest.json"), file):
        os.utime(path, (old, old))
    backend(there).sweep()
    assert (there.root / str(kept)).exists()
    assert not (there.root / str(gone)).exists()
    assert not file.exists()


@pytest.mark.parametrize(("age", "again"), [(3600.0, False), (3600.5, True)])
def test_a_file_is_written_again_after_an_hour(memory: Memory, there: Store, age: float, again: bool) -> None:
    """So that its time of grace begins anew; or where what is there has another length."""
    put(there)
    blobs = sorted(key for key in memory.held if key.startswith("blob/"))
    for key in blobs:
        memory.held[key] = memory.held[key][0], NOW - age
    memory.asked.clear()
    put(there, {"stage": "next"})
    assert sorted(one for one in memory.asked if one.startswith("put blob/")) == [f"put {key}" for key in blobs] * again
    memory.held[blobs[0]] = b"short", NOW
    memory.asked.clear()
    put(there, {"stage": "third"})
    assert [one for one in memory.asked if one.startswith("put blob/")] == [f"put {blobs[0]}"]


def test_equal_files_of_an_artifact_are_stored_once(memory: Memory, there: Store) -> None:
    with there.draft("segment") as draft:
        for name in "abc":
            (draft.path / name).write_text("same")
        ref = draft.finish({"a": 1})
    assert sum(one.startswith("put blob/") for one in memory.asked) == 1
    body = json.loads(memory.held[str(ref)][0])
    assert there.size(ref) == len(memory.held[str(ref)][0]) + 3 * 4
    assert set(body["outputs"]) == {"a", "b", "c"}


def test_another_process_that_was_first_keeps_its_artifact(memory: Memory, there: Store) -> None:
    ref = put(there)
    theirs = memory.held[str(ref)][0].replace(b'"rows": 3', b'"rows": 4')
    memory.held[str(ref)] = theirs, NOW - 50
    other = Store(memory.address)
    assert put(other, text="second") == ref
    assert memory.held[str(ref)] == (theirs, NOW), "it is marked as used"
    assert list((other.root / "segment").glob(".tmp-*")) == []


@pytest.mark.parametrize("times", [4, 5])
def test_a_name_that_others_take_and_remove_is_asked_for_five_times(memory: Memory, there: Store, times: int) -> None:
    plain, left = memory.create, 0

    def create(key: str, data: bytes) -> None:
        nonlocal left
        left -= key.startswith("segment/")
        if key.startswith("segment/") and left >= 0:
            raise ChangedError(key)
        plain(key, data)

    there.create()
    memory.create, left = create, times  # type: ignore[method-assign]
    if times < 5:
        assert there.has(put(there))
    else:
        with pytest.raises(StoreError, match=r"segment/[0-9a-f]+: other processes make and remove it again and again"):
            put(there)


def test_a_copy_is_whole_where_its_files_have_their_lengths(memory: Memory, there: Store) -> None:
    ref = put(there)
    place, outputs = backend(there), there.manifest(ref).outputs
    whole = memory.held[str(ref)][0]
    assert place.copies.is_whole(str(ref), whole, outputs)
    assert not place.copies.is_whole(str(ref), whole + b" ", outputs)
    assert not place.copies.is_whole("segment/none", whole, outputs)
    file = there.root / str(ref) / "a.txt"
    file.write_text("kontents")
    assert place.copies.is_whole(str(ref), whole, outputs)
    assert place.output(str(ref), "a.txt", outputs["a.txt"]) == file
    file.write_text("content")
    assert not place.copies.is_whole(str(ref), whole, outputs)
    fetched = place.output(str(ref), "a.txt", outputs["a.txt"])
    assert fetched == there.root / "blob" / outputs["a.txt"]["sha256"]
    assert fetched.read_text() == "contents"
    memory.asked.clear()
    assert place.output(str(ref), "a.txt", outputs["a.txt"]) == fetched
    assert memory.asked == [], "it is here"
    assert list((there.root / "blob").iterdir()) == [fetched]


@pytest.mark.parametrize("damage", [None, b"kontents", b"content"])
def test_a_damaged_object_names_itself_and_its_artifact(memory: Memory, there: Store, damage: bytes | None) -> None:
    ref = put(there)
    sealed = there.manifest(ref).outputs["a.txt"]
    key = f"blob/{sealed['sha256']}"
    memory.held[key] = damage or b"", NOW
    if damage is None:
        del memory.held[key]
    what = "it is missing" if damage is None else "its sha256 is not its name"
    said = (
        rf"^{memory.address}/{key}: corrupt, {what}\. "
        rf"Delete it and {memory.address}/{ref}, and run again: both will be made again$"
    )
    with pytest.raises(CorruptError, match=said):
        backend(there).copies.fetch_one(str(ref), sealed)
    with pytest.raises(CorruptError, match=said):
        there.fresh(reread=True).path(ref)
    assert [path.name for path in (there.root / "blob").iterdir() if path.is_file()] == []
    if damage != b"kontents":
        with pytest.raises(CorruptError, match=f"{key}: corrupt, it is missing, or has another length"):
            there.check_lengths(ref)
    else:
        there.check_lengths(ref)


def test_what_is_read_again_is_fetched_once(memory: Memory, there: Store) -> None:
    ref = put(there)
    again = there.fresh(reread=True)
    memory.asked.clear()
    for _ in range(3):
        again.path(ref)
    assert sum(one.startswith("get blob/") for one in memory.asked) == 2, "each of its files"
    memory.asked.clear()
    there.fresh().path(ref)
    assert [one for one in memory.asked if "blob/" in one] == []


@pytest.mark.parametrize("times", [4, 5])
def test_a_copy_that_others_write_too_is_renamed_five_times(
    there: Store, times: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = backend(there).copies
    place.create()
    (tmp_path / "draft").mkdir()
    left, plain = times, Path.rename

    def rename(path: Path, target: Path) -> Path:
        nonlocal left
        left -= path == tmp_path / "draft"
        if path == tmp_path / "draft" and left >= 0:
            raise OSError
        return plain(path, target)

    (place.root / "segment").mkdir()
    monkeypatch.setattr(Path, "rename", rename)
    if times < 5:
        place.install(tmp_path / "draft", "segment/x")
        assert (place.root / "segment" / "x").is_dir()
    else:
        with pytest.raises(StoreError, match=r"segment/x: other processes write this copy again and again; try it"):
            place.install(tmp_path / "draft", "segment/x")


def test_many_requests_say_how_far_they_are(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="aepipe")
    done: list[int] = []
    for count in (99, 100, 250):
        copies.together("storing", [partial(done.append, one) for one in range(count)])
    records: list[Any] = [record for record in caplog.records if hasattr(record, "stage")]
    said = [(record.stage, record.done, record.total) for record in records]
    assert said == [("storing", 100, 100), ("storing", 100, 250), ("storing", 200, 250)]
    assert len(done) == 449
    with pytest.raises(ValueError, match="math domain"):
        copies.together("x", [partial(math.fmod, 1, 0)])  # type: ignore[list-item]


def test_a_pointer_is_moved_by_who_knows_what_it_replaces(memory: Memory, there: Store) -> None:
    place, other = there.backend, Store(memory.address).backend
    place.swap("service/one", b"first")
    with pytest.raises(
        BusyError, match=rf"^{memory.address}/service/one: another process has changed it meanwhile; `aep"
    ):
        other.swap("service/one", b"second")
    assert other.read("service/one") == b"first"
    other.swap("service/one", b"second")
    other.swap("service/one", b"third")
    with pytest.raises(BusyError):
        place.swap("service/one", b"fourth")
    memory.delete("service/one")
    with pytest.raises(FileNotFoundError):
        place.read("service/one")
    place.swap("service/one", b"fifth")
    assert memory.held["service/one"][0] == b"fifth"


def test_lines_of_a_log_follow_each_other_whatever_clocks_say(memory: Memory, there: Store) -> None:
    place = there.backend
    late = time.time_ns() + 10**15
    memory.put(f"log/{late:020d}-aa.json", b"from the future")
    memory.put("log/x", b"no line of ours")
    key = place.append("log.jsonl", "second")
    assert int(key.partition("/")[2].partition("-")[0]) == late + 1
    assert key.startswith("log/")
    assert key.endswith(".json")
    assert place.lines("log.jsonl") == ["from the future", "second", "no line of ours"]
    memory.asked.clear()
    assert len(place.lines("log.jsonl")) == 3
    assert memory.asked == [], "each is read once"
    place.retract(key)
    assert place.lines("log.jsonl") == ["from the future", "no line of ours"]
    other = place.append("feedback/one.jsonl", "a mark")
    assert other.startswith("feedback/one.jsonl/")
    assert place.lines("feedback/one.jsonl") == ["a mark"]


def test_small_objects_are_moved_named_and_brought_here(memory: Memory, there: Store) -> None:
    place = there.backend
    for name in ("feedback/b", "feedback/a", "feedback/.hidden", "feedback/deep/c"):
        place.write(name, name.encode())
    assert place.names("feedback") == ["a", "b", "deep"]
    assert place.names("feedback", "[ab]") == ["a", "b"]
    assert place.sizes("feedback") == {".hidden": 16, "a": 10, "b": 10, "deep/c": 15}
    folder = place.file("feedback")
    assert (folder / "deep" / "c").read_bytes() == b"feedback/deep/c"
    memory.asked.clear()
    place.file("feedback")
    assert memory.asked == [], "what is here as it is there is not fetched"
    place.write("feedback/a", b"longer than before")
    assert (place.file("feedback") / "a").read_bytes() == b"longer than before"
    place.move("feedback", "marks")
    assert sorted(key for key in memory.held if "/" in key) == ["marks/.hidden", "marks/a", "marks/b", "marks/deep/c"]
    assert not folder.exists()
    place.write("one", b"1")
    place.move("one", "two")
    place.move("none", "three")
    assert {key for key in memory.held if "/" not in key} == {"two"}
    assert place.file("two").read_bytes() == b"1"
    place.delete("two")
    assert not (there.root / "two").exists()
    assert not place.file("two").exists()
    place.delete("marks")
    assert memory.held == {}


def test_work_here_and_there_is_added_up(memory: Memory, there: Store) -> None:
    place = there.backend
    folder = there.root / "work" / "abc"
    folder.mkdir(parents=True)
    (folder / "x").write_bytes(b"12345")
    for path in (folder / "x", folder):
        os.utime(path, (50, 50))
    memory.held["work/abc/a"] = b"123", 70.0
    memory.held["work/abc/b"] = b"12", 60.0
    memory.held["work/def/c"] = b"1", 10.0
    assert place.works() == {"abc": (71.0, 10), "def": (11.0, 1)}
    place.drop_work("abc")
    assert place.works() == {"def": (11.0, 1)}


def test_a_bucket_begins_with_its_scheme() -> None:
    one = Bucket("s3://bucket/some/store")
    assert (one.scheme, one._path("a/b"), one._path("")) == ("s3", "bucket/some/store/a/b", "bucket/some/store")


@pytest.mark.parametrize(
    ("info", "found"),
    [
        ({}, Object(0, "", 0.0)),
        ({"size": None, "ETag": None, "etag": "b", "LastModified": None}, Object(0, "b", 0.0)),
        ({"size": 3, "generation": 7, "ETag": "a", "updated": "1970-01-01T00:01:00Z"}, Object(3, "7", 60.0)),
        ({"size": "3", "ETag": "a", "last_modified": datetime(1970, 1, 1, 0, 1)}, Object(3, "a", 60.0)),
    ],
)
def test_what_drivers_say_of_an_object(info: dict[str, object], found: Object) -> None:
    """A time without a zone is one of UTC."""
    assert _object(info) == found


def test_what_is_fetched_is_named_in_the_progress(
    memory: Memory, there: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = put(there)
    told: list[tuple[str, int]] = []
    plain = copies.together

    def together(what: str, work: Any) -> None:
        told.append((what, len(work)))
        plain(what, work)

    monkeypatch.setattr(copies, "together", together)
    outputs = there.manifest(ref).outputs
    backend(there).copies.fetch(str(ref), memory.held[str(ref)][0], outputs)
    assert told == [(f"fetching {ref.kind}", len(outputs))]
    assert all((there.root / str(ref) / file).exists() for file in outputs)


@pytest.mark.parametrize(("there", "lost"), [(b"own", False), (b"other", True), (None, True)])
def test_who_meets_its_own_write_has_written(monkeypatch: pytest.MonkeyPatch, there: bytes | None, lost: bool) -> None:
    def call(_: Bucket, work: Any, *, size: int) -> None:
        assert size == 3
        raise ChangedError("key")

    def get(_: Bucket, key: str) -> bytes:
        if there is None:
            raise FileNotFoundError(key)
        return there

    monkeypatch.setattr(Bucket, "_call", call)
    monkeypatch.setattr(Bucket, "get", get)
    bucket = Bucket.__new__(Bucket)
    if lost:
        with pytest.raises(ChangedError, match=r"^key$"):
            bucket._conditional("key", b"own", list)
    else:
        bucket._conditional("key", b"own", list)


def test_the_bytes_of_a_download_that_have_come_are_counted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    counted: list[int] = []

    def call(_: Bucket, work: Any, *, come: Any) -> None:
        counted.append(come())
        (tmp_path / "file").write_bytes(b"1234")
        counted.append(come())

    monkeypatch.setattr(Bucket, "_call", call)
    Bucket.__new__(Bucket).download("key", tmp_path / "file")
    assert counted == [0, 4]
