"""The store on object storage: whole or not at all, moved by one of many, and checked by every reader."""

from __future__ import annotations

import json
import logging
import os
import random
import shutil
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import count, pairwise
from pathlib import Path

import pytest

from aepipe.errors import BusyError, CorruptError, ExtraError, NotFoundError, StoreError, TargetError
from aepipe.pipeline.ingest import ingest
from aepipe.store import addresses, layout, names, registry
from aepipe.store.artifacts import Ref, Store, ref_of
from aepipe.store.backends import bucket as buckets
from aepipe.store.backends import checkpoints, leases, objects
from aepipe.store.backends.bucket import Bucket, ChangedError
from aepipe.store.backends.objects import Objects
from tests.pipeline.test_parts import FIRST, changed, fake, said
from tests.store.test_artifacts import INPUTS, put
from tests.support.objects import KEY, SECRET, ObjectServer

ROOT = Path(__file__).parents[2]
SOAK = 180.0 if os.environ.get("AEPIPE_SOAK") else 1.0
"""Seconds of the soak."""
WRITERS = 16


@pytest.fixture
def there(bucket: str) -> Store:
    """An empty store on object storage."""
    return Store(bucket)


def bucket_of(store: Store) -> Bucket:
    backend = store.backend
    assert isinstance(backend, Objects)
    return backend.bucket


def elsewhere(store: Store, folder: Path) -> Store:
    """Return the same store as another machine sees it, without copies."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("AEPIPE_CACHE", str(folder))
        return Store(store.address)


def test_an_artifact_is_that_of_a_folder(there: Store, store: Store, tmp_path: Path) -> None:
    ref = put(there)
    assert ref == put(store)
    assert there.manifest(ref).outputs == store.manifest(ref).outputs
    other = elsewhere(there, tmp_path / "other")
    assert other.has(ref)
    assert other.refs("segment") == [ref]
    assert not (other.root / ref.kind).exists()
    for folder in (other.verified(ref), there.verified(ref)):
        assert (folder / "a.txt").read_text() == "contents"
        assert (folder / "below" / "b.bin").read_bytes() == bytes(range(256))
    kept = set(bucket_of(there).listed(""))
    blobs = {f"blob/{one['sha256']}" for one in there.manifest(ref).outputs.values()}
    assert kept == {str(ref), layout.Root.OBJECTS, *blobs}
    with pytest.raises(NotFoundError, match="is not in the store s3://"):
        other.manifest(Ref("segment", "0" * 64))


def test_a_copy_is_fetched_once(there: Store, object_server: ObjectServer, tmp_path: Path) -> None:
    ref, other = put(there), elsewhere(there, tmp_path / "other")
    other.verified(ref)
    object_server.asked.clear()
    again = elsewhere(there, tmp_path / "other")
    again.verified(ref)
    again.verified(ref)
    asked = [f"{method} {path.split('/')[3]}" for method, path in object_server.asked]
    assert asked == ["GET segment"], "the manifest, and nothing else"


@pytest.mark.parametrize("what", ["wrong", "short", "missing"])
def test_a_damaged_object_is_refused(there: Store, tmp_path: Path, what: str) -> None:
    ref, other = put(there), elsewhere(there, tmp_path / "other")
    key = f"blob/{there.manifest(ref).outputs['a.txt']['sha256']}"
    if what == "missing":
        bucket_of(there).delete(key)
    else:
        bucket_of(there).put(key, b"kontents" if what == "wrong" else b"content")
    with pytest.raises(CorruptError, match=f"{key}: corrupt, .* Delete it and .*segment/") as caught:
        other.verified(ref)
    assert there.address in str(caught.value)
    assert not (other.root / ref.kind / ref.digest).exists()
    with pytest.raises(CorruptError):
        there.fresh(reread=True).verified(ref)
    there.verified(ref)
    if what != "wrong":
        with pytest.raises(CorruptError, match="it is missing, or has another length"):
            there.check_lengths(ref)


def test_a_damaged_copy_is_fetched_again(there: Store, tmp_path: Path) -> None:
    ref, other = put(there), elsewhere(there, tmp_path / "other")
    file = other.verified(ref) / "a.txt"
    file.write_text("kontents")
    assert (elsewhere(there, tmp_path / "other").verified(ref) / "a.txt").read_text() == "contents"
    file.unlink()
    assert (elsewhere(there, tmp_path / "other").path(ref) / "a.txt").read_text() == "contents"


def test_one_file_is_fetched_alone(there: Store, tmp_path: Path) -> None:
    ref, other = put(there), elsewhere(there, tmp_path / "other")
    found = other.output(ref, "a.txt")
    assert found is not None
    assert found.read_text() == "contents"
    assert not (other.root / ref.kind).exists()
    assert other.output(ref, "b.txt") is None
    assert there.output(ref, "a.txt") == there.root / ref.kind / ref.digest / "a.txt"


WRITING = """
import json, os, random, signal, sys, time
from aepipe.store import addresses
from aepipe.store.artifacts import Store
import s3fs, aiobotocore.session
addresses.PATIENCE = 300.0  # 16 processes and their server may have one core
address, seed = sys.argv[1], int(sys.argv[2])
children = []
for n in range(16):
    if (pid := os.fork()) == 0:
        os.environ["AEPIPE_CACHE"] = f"{sys.argv[3]}/{n}"
        store = Store(address)
        with store.draft("segment") as draft:
            for file in ("a", "b", "c"):
                (draft.path / file).write_bytes(f"{n} {file} ".encode() * 20_000)
            draft.finish({"stage": "race"}, {"by": n})
        os._exit(0)
    children.append(pid)
drawn = random.Random(seed)
for pid in drawn.sample(children, 8):
    time.sleep(drawn.uniform(0, 0.4))
    os.kill(pid, signal.SIGKILL)
print(json.dumps([os.waitpid(pid, 0)[1] for pid in children]))
"""


def race(there: Store, folder: Path, seed: int) -> Ref:
    """Let 16 processes write one artifact with different bytes, and kill half of them at random."""
    command = [sys.executable, "-c", WRITING, there.address, str(seed), str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
        ref = ref_of("segment", {"stage": "race"})
        readers = 0
        while process.poll() is None:  # whoever reads meanwhile sees all of it, or nothing
            readers += reads_whole(elsewhere(there, folder / "reader"), ref)
        assert process.stdout is not None
        ends = json.loads(process.stdout.read())
    assert ends.count(0) >= WRITERS // 2
    return ref


def reads_whole(store: Store, ref: Ref) -> bool:
    """Read an artifact of the race; say whether it is there."""
    try:
        folder = store.verified(ref)
    except NotFoundError:
        return False
    by = store.manifest(ref).facts["by"]
    assert {(folder / file).read_bytes() for file in "abc"} == {f"{by} {file} ".encode() * 20_000 for file in "abc"}
    return True


def test_of_16_writers_one_is_seen_and_half_of_them_may_die(there: Store, tmp_path: Path) -> None:
    there.create()
    ref = race(there, tmp_path, seed=7)
    assert there.refs("segment") == [ref]
    for n in range(3):
        assert reads_whole(elsewhere(there, tmp_path / f"late-{n}"), ref)
    assert reads_whole(elsewhere(there, tmp_path / "reader"), ref)


def test_of_16_who_move_a_pointer_one_succeeds(there: Store) -> None:
    releases = [Ref("release", f"{n:064x}") for n in range(WRITERS + 1)]
    registry.promote(there, "one", releases[0], why="the first")
    start = threading.Barrier(WRITERS)

    def move(ref: Ref) -> bool:
        own = Store(there.address)
        assert registry.current(own, "one") == releases[0]
        start.wait()
        try:
            own.backend.swap("service/one", f"{ref.digest}\n".encode())
        except BusyError:
            return False
        return True

    with ThreadPoolExecutor(WRITERS) as pool:
        moved = list(pool.map(move, releases[1:]))
    assert moved.count(True) == 1
    assert registry.current(there, "one") == releases[1:][moved.index(True)]


def test_who_held_the_lock_replaces_no_release_of_another(there: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, third = (Ref("release", f"{n:064x}") for n in range(3))
    with registry.lock(there, "one"):
        registry.promote(there, "one", first, why="the first")
    with registry.lock(there, "one"):
        bucket_of(there).put("service/one", f"{second.digest}\n".encode())  # as one whose lease was taken over does
        with pytest.raises(BusyError, match="service/one: another process has changed it meanwhile"):
            registry.promote(there, "one", third, why="too late")
    assert registry.current(there, "one") == second
    assert [event.after for event in registry.history(there)] == [first.digest], "what did not happen is not logged"
    with registry.lock(there, "one"):
        registry.promote(there, "one", third, why="once more")
        registry.promote(there, "one", first, why="and back", action="rollback")
    assert registry.current(there, "one") == first


def test_conditional_writes_that_met_are_sent_again(
    there: Store, object_server: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buckets, "PAUSE", 0.001)
    left = 3

    def refuse(method: str, path: str) -> int | None:
        nonlocal left
        left -= method == "PUT" and "/service/" in path
        return 409 if method == "PUT" and "/service/" in path and left >= 0 else None

    ref = Ref("release", "1" * 64)
    with object_server.refusing(refuse):
        registry.promote(there, "one", ref, why="in the end")
    assert left < 0
    assert registry.current(there, "one") == ref
    left = 1000
    with object_server.refusing(refuse), pytest.raises(StoreError, match="refuses"):
        registry.promote(there, "one", Ref("release", "2" * 64), why="never")
    assert registry.current(there, "one") == ref


def test_a_list_that_others_write_too_is_read_and_written_again(there: Store) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: names.give(Store(there.address), {f"{n}": "new"}), range(4)))
    assert names.given(there) == {str(n): "new" for n in range(4)}


def test_a_write_whose_answer_was_lost_is_known(there: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    one = bucket_of(there)
    one.create("x", b"mine")
    one.create("x", b"mine")  # as a driver that tries again
    with pytest.raises(ChangedError):
        one.create("x", b"other")
    stamp = one.stamp_of("x", b"mine")
    one.swap("x", b"new", stamp)
    one.swap("x", b"new", stamp)
    with pytest.raises(ChangedError):
        one.swap("x", b"newer", stamp)
    with pytest.raises(ChangedError):
        one.swap("nothing", b"x", stamp)


def test_a_server_without_conditions_is_no_store(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bucket, "create", Bucket.put)
    with pytest.raises(StoreError, match="the server does not keep conditions of writes"):
        put(Store(bucket))
    assert Bucket(bucket).listed("") == {}


def test_a_bucket_that_is_missing_is_named(bucket: str) -> None:
    missing = Store(f"{bucket.partition('/store')[0]}-2/store")
    for act in (registry.names, put):
        with pytest.raises(StoreError, match="-2/store: there is no such bucket; make it first"):
            act(missing)


def test_a_bucket_that_may_not_be_listed_is_believed_to_be_there(bucket: str, object_server: ObjectServer) -> None:
    store = Store(bucket)
    assert registry.names(store) == []
    *first, last = object_server.asked
    asked = count(1)
    with object_server.refusing(lambda *_: 403 if next(asked) > len(first) else None):
        assert registry.names(store.fresh()) == []
    assert (first, next(asked)) == ([last] * len(first), len(first) + 2)  # it was the last request that was refused


class AzureDriver:
    """Answers as Azure's driver does: no file for what is no bucket, and a list where a folder is an object."""

    class MissingError(Exception):
        """As azure.core has it."""

        status_code = 404

    def find(self, path: str, **_: object) -> list[str]:
        """Return the object itself."""
        return [path]

    def pipe_file(self, path: str, *_: object, **__: object) -> None:
        """Refuse."""
        raise self.MissingError("The specified container does not exist.")


def test_what_azures_driver_says_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bucket, "_system", AzureDriver())
    there = Bucket("az://bucket/store")
    assert there.listed("names.json") == {}
    with pytest.raises(StoreError, match=r"^az://bucket/store: there is no such bucket; make it first$"):
        there.create("a", b"x")


def test_a_silent_server_is_an_error_within_the_time(
    bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr(addresses, "PATIENCE", 0.3)
        begun = time.monotonic()
        with pytest.raises(StoreError, match=r"no answer for 0\.3 s; is the server reachable from here\?"):
            registry.names(Store(bucket))
        assert time.monotonic() - begun < 60
    assert addresses.PATIENCE == 0.3


def test_no_credentials_in_errors_logs_and_objects(
    there: Store, object_server: ObjectServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="aepipe")
    ref = put(there)
    registry.promote(there, "one", ref, why="a test")
    everything = b"".join(bucket_of(there).get(key) for key in bucket_of(there).listed(""))
    refused = pytest.raises(StoreError, match=r"no permission .*are the credentials set")
    with object_server.refusing(lambda *_: 403), refused as caught:
        Store(there.address).refs("segment")
    for secret in (KEY, SECRET):
        assert secret not in str(caught.value)
        assert secret not in caplog.text
        assert secret.encode() not in everything
    said = f"GET https://me:pw@host/x?Signature=abc {SECRET}\nmore"
    assert addresses.without_secrets(said) == "GET https://host/x ***"


def test_addresses_of_stores() -> None:
    assert addresses.of_objects(Path("s3://bucket/some/store")) == "s3://bucket/some/store"
    assert addresses.of_objects("GS://bucket/") == "gs://bucket"
    assert addresses.of_objects("/home/me/s3:/x") is None
    assert addresses.of_objects("s3") is None
    for text in ("s3://", "s3:", "s3:///bucket/store", "S3A://b/c", "http://h/x", "ftp://x/y", "file:///x", "sftp:/x"):
        with pytest.raises(TargetError, match="no address of a store; write a folder, or s3://BUCKET/FOLDER"):
            addresses.of_objects(text)
    for wrong in ("s3://key:secret@bucket/x", "s3://bucket/x?versionId=1", "s3://b/../x", "s3://b//x", "s3://a/x::y"):
        with pytest.raises(StoreError) as caught:
            Store(wrong)
        assert "secret" not in str(caught.value)


def test_a_driver_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(ExtraError, match="gcsfs is not installed"):
        registry.names(Store("gs://bucket/store"))


def test_locks_are_leases(there: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = elsewhere(there, tmp_path / "other")
    assert registry.writing_since(there) == float("inf")
    with registry.lock(there, "one"):
        with pytest.raises(BusyError, match=r"another run is writing to s3://.*process"), registry.lock(other, "one"):
            pass
        with registry.lock(other, "two"):
            pass
        assert time.time() - 120 < registry.writing_since(other) <= time.time()
    assert bucket_of(there).listed("locks") == {}
    with registry.lock(other, "one"):
        pass


def test_a_lease_that_nobody_renews_is_taken_over(
    there: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = there.backend.lock("one")
    assert lease.taken()
    lease.close()  # as where the process was killed
    held = elsewhere(there, tmp_path / "other").backend.lock("one")
    assert not held.taken()
    held.close()
    with registry.lock(there, "one"):  # of this machine: its file tells that nobody holds it
        pass
    lease = there.backend.lock("one")
    assert lease.taken()
    lease.close()
    monkeypatch.setattr(leases, "LEASE", -10.0)
    with registry.lock(elsewhere(there, tmp_path / "other"), "one"):
        pass


def test_a_holder_whose_lease_was_taken_over_moves_nothing(
    there: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Ref("release", "1" * 64), Ref("release", "2" * 64)
    other = elsewhere(there, tmp_path / "other")
    with registry.lock(there, "one"):
        monkeypatch.setattr(leases, "LEASE", -10.0)
        with registry.lock(other, "one"):
            registry.promote(other, "one", first, why="taken over")
        assert registry.current(there, "one") == first
        with pytest.raises(BusyError):
            registry.promote(there, "one", second, why="began before")
    assert registry.current(there, "one") == first


@pytest.mark.parametrize("lost", [False, True])
def test_a_lease_is_renewed(there: Store, monkeypatch: pytest.MonkeyPatch, lost: bool) -> None:
    """Also after a renewal whose answer was lost on the way."""
    there.create()
    swap, losing = Bucket.swap, iter([lost])

    def answering(self: Bucket, key: str, data: bytes, stamp: str) -> None:
        swap(self, key, data, stamp)
        if next(losing, False):
            raise StoreError("no answer")

    monkeypatch.setattr(Bucket, "swap", answering)
    monkeypatch.setattr(leases, "BEAT", 0.02)
    with registry.lock(there, "one"):
        key, until = "locks/one", time.monotonic() + 20
        while json.loads(bucket_of(there).get(key))["beat"] < 2:
            assert time.monotonic() < until
    assert bucket_of(there).info(key) is None


def test_files_of_removed_artifacts_stay_for_a_day(
    there: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = put(there), put(there, {"stage": "next"}, "contents")
    assert len(bucket_of(there).listed("blob")) == 2, "equal files are stored once"
    other = put(there, {"stage": "other"}, "others")
    reader = elsewhere(there, tmp_path / "reader")
    reader.manifest(other)
    assert not there.remove(first, unused_since=time.time() - 60), "it was used since"
    assert there.remove(first)
    assert there.remove(other)
    assert there.refs("segment") == [second]
    there.backend.sweep()
    assert (reader.verified(other) / "a.txt").read_text() == "others"
    monkeypatch.setattr(objects, "GRACE", -10.0)
    there.fresh().backend.sweep()
    assert len(bucket_of(there).listed("blob")) == 2
    assert bucket_of(there).listed("removed") == {}
    assert elsewhere(there, tmp_path / "late").verified(second)
    assert not (there.root / str(first)).exists()


def test_a_use_while_it_is_removed_keeps_it(there: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    ref, used = put(there), iter([False, True])
    monkeypatch.setattr(Objects, "_is_used", lambda *_: next(used))
    assert not there.remove(ref)
    assert there.has(ref)


def test_a_damaged_manifest_keeps_all_files(
    there: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ref, kept = put(there), put(there, {"stage": "next"}, "others")
    bucket_of(there).put(str(ref), b"{")
    there.remove(kept)
    monkeypatch.setattr(objects, "GRACE", -10.0)
    there.fresh().backend.sweep()
    assert f"the manifest {ref} is damaged; no file is removed" in caplog.text
    assert len(bucket_of(there).listed("blob")) == 3
    with pytest.raises(CorruptError, match=f"{there.address}/{ref}: corrupt, its checksum does not match. Delete it"):
        there.fresh().manifest(ref)


def test_many_are_marked_together(there: Store, store: Store) -> None:
    for one in (there, store):
        made = [str(put(one, {"stage": n})) for n in "ab"]
        assert one.backend.mark(*made)
        assert not one.backend.mark(*made, f"segment/{'0' * 64}")
        assert one.backend.mark()


def test_files_that_are_needed_again_are_written_again(there: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    put(there)
    key = f"blob/{next(iter(there.manifest(ref_of('segment', INPUTS)).outputs.values()))['sha256']}"
    monkeypatch.setattr(objects, "FRESH", -10.0)
    before = bucket_of(there).info(key)
    time.sleep(1.1)  # servers round to seconds
    put(there, {"stage": "next"})
    after = bucket_of(there).info(key)
    assert before is not None
    assert after is not None
    assert after.modified > before.modified


def test_checkpoints_go_from_machine_to_machine(there: Store, tmp_path: Path) -> None:
    ref, other = Ref("layer", "abc"), elsewhere(there, tmp_path / "other")
    folder = there.work(ref)
    (folder / "checkpoint.safetensors").write_bytes(b"half")
    (folder / "codes.npy").write_bytes(b"large")
    backend = there.backend
    assert isinstance(backend, Objects)
    backend._checkpoints.save()
    assert set(bucket_of(there).listed("work")) == {"abc/checkpoint.safetensors"}
    assert [path.name for path in other.work(ref).iterdir()] == ["checkpoint.safetensors"]
    (folder / "checkpoint.safetensors").write_bytes(b"more")
    assert (there.fresh().work(ref) / "checkpoint.safetensors").read_bytes() == b"more", "that of this machine is first"
    (touched, size), *_ = other.backend.works().values()
    assert size == 8
    assert touched > time.time() - 60
    there.work_done(ref)
    assert bucket_of(there).listed("work") == {}
    assert not folder.exists()


def test_checkpoints_are_copied_while_training_runs(there: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "EVERY", 0.02)
    ref = Ref("layer", "abc")
    file, until = there.work(ref) / "checkpoint.safetensors", time.monotonic() + 20
    for state in (b"one", b"two"):
        file.with_suffix(".new").write_bytes(state)
        file.with_suffix(".new").replace(file)
        while bucket_of(there).listed("work") == {} or bucket_of(there).get(f"work/abc/{file.name}") != state:
            assert time.monotonic() < until
    there.work_done(ref)


def test_rows_in_parts_are_those_of_a_folder(there: Store, store: Store, tmp_path: Path) -> None:
    first, data = ingest(there, fake(FIRST, 36)), changed(dict(FIRST), 1)
    assert first == ingest(store, fake(FIRST, 36))
    assert there.parts(first)
    other = elsewhere(there, tmp_path / "other")
    after = ingest(other, fake(data, 36), previous=first)
    assert after == ingest(store, fake(data, 36), previous=first)
    assert said(elsewhere(there, tmp_path / "late"), after) == said(store, after)
    part = there.parts(after)[-1]
    assert there.remove(part)
    assert not other.reuse(after), "a list without one of its parts is made again"


def test_small_files(there: Store, tmp_path: Path) -> None:
    backend, other = there.backend, elsewhere(there, tmp_path / "other").backend
    backend.write("feedback/one/a.png", b"a")
    assert backend.append("feedback/one.jsonl", "first") < backend.append("feedback/one.jsonl", "second")
    assert other.lines("feedback/one.jsonl") == ["first", "second"]
    assert other.sizes("feedback/one") == {"a.png": 1}
    assert (other.file("feedback") / "one" / "a.png").read_bytes() == b"a"
    backend.move("feedback/one", "feedback/two")
    assert other.sizes("feedback/one") == {}
    assert other.sizes("feedback/two") == {"a.png": 1}
    backend.delete("feedback/one.jsonl")
    assert other.lines("feedback/one.jsonl") == []
    backend.create()
    backend.file("quarantine-x.parquet").write_bytes(b"some")
    backend.keep("quarantine-x.parquet")
    assert other.names("", "quarantine-*") == ["quarantine-x.parquet"]
    assert other.file("quarantine-x.parquet").read_bytes() == b"some"
    backend.file("quarantine-x.parquet").unlink(missing_ok=True)
    backend.keep("quarantine-x.parquet")
    assert not other.file("quarantine-x.parquet").exists()


def soak(there: Store, folder: Path, seconds: float) -> dict[str, int]:
    """Let writers, movers, readers and a collector of garbage work on one store; return how much each has done."""
    registry.promote(there, "one", Ref("release", "0" * 64), why="the first")
    until, drawn = time.monotonic() + seconds, random.Random(3)

    def write(n: int) -> int:
        own, made = elsewhere(there, folder / f"w{n}"), 0
        while not made or time.monotonic() < until:
            put(own, {"stage": "soak", "n": drawn.randrange(6)}, f"{n} {drawn.random()}")
            made += 1
        return made

    def read(n: int) -> int:
        found = 0
        while time.monotonic() < until:
            own = elsewhere(there, folder / f"r{n}")
            for ref in own.refs("segment"):
                with suppress(NotFoundError):  # removed at this moment
                    own.verified(ref)
                    found += 1
            shutil.rmtree(own.root, ignore_errors=True)
        return found

    def move(n: int) -> int:
        own, moved = elsewhere(there, folder / f"m{n}"), 0
        while time.monotonic() < until:
            with suppress(BusyError), registry.lock(own, "one", wait=0.5):
                registry.promote(own, "one", Ref("release", f"{drawn.randrange(1 << 60):064x}"), why="soak")
                moved += 1
        return moved

    def collect() -> int:
        own, removed = elsewhere(there, folder / "c"), 0
        while time.monotonic() < until:
            removed += sum(own.remove(ref, unused_since=time.time() - 1) for ref in own.refs("segment"))
            own.backend.sweep()
        return removed

    with ThreadPoolExecutor(8) as pool:
        work = {"written": (write, 2), "read": (read, 2), "moved": (move, 3)}
        begun = {what: [pool.submit(one, n) for n in range(count)] for what, (one, count) in work.items()}
        begun["removed"] = [pool.submit(collect)]
        return {what: sum(one.result() for one in running) for what, running in begun.items()}


def test_soak(there: Store, tmp_path: Path) -> None:
    """Nobody ever sees a part of anything, and nobody replaces a release without knowing it."""
    done = soak(there, tmp_path, SOAK)
    assert done["written"]
    events = registry.history(there)
    assert len(events) == done["moved"] + 1
    for earlier, later in pairwise(events):
        assert later.before == earlier.after
    assert registry.current(there, "one") == Ref("release", events[-1].after)
