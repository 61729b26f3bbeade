"""The shelf: written once, whole or not at all, and every change of a byte is found."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from aepipe.errors import CorruptError, FullError, NotFoundError, StoreError
from aepipe.store import artifacts, layout
from aepipe.store.artifacts import Ref, Store, digest_of, ref_of
from aepipe.store.io import sha256_of, write_durably

INPUTS = {"stage": "test", "version": 1}


def put(store: Store, inputs: dict[str, object] | None = None, text: str = "contents") -> Ref:
    """Write a directory with two files."""
    with store.draft("segment") as draft:
        (draft.path / "a.txt").write_text(text)
        (draft.path / "below").mkdir()
        (draft.path / "below" / "b.bin").write_bytes(bytes(range(256)))
        return draft.finish(inputs or INPUTS, {"rows": 3})


def drafts(store: Store) -> list[Path]:
    """What is being written, or was left."""
    return list(store.root.glob("*/.tmp-*"))


def folder(store: Store, ref: Ref) -> Path:
    """Where a directory is."""
    return store.root / ref.kind / ref.digest


def test_a_finished_draft_is_found_by_its_inputs(store: Store) -> None:
    assert not store.has(ref_of("segment", INPUTS))
    ref = put(store)
    assert ref == ref_of("segment", INPUTS)
    assert store.has(ref)
    assert store.refs("segment") == [ref]
    assert (store.verified(ref) / "a.txt").read_text() == "contents"
    manifest = store.manifest(ref)
    assert (manifest.inputs, manifest.facts) == (INPUTS, {"rows": 3})
    assert manifest.outputs["a.txt"]["bytes"] == 8
    assert set(manifest.outputs) == {"a.txt", "below/b.bin"}
    assert drafts(store) == []


def test_names_depend_on_inputs_and_kind_alone() -> None:
    assert ref_of("segment", {"b": 1, "a": [1, None]}) == ref_of("segment", {"a": [1, None], "b": 1})
    assert ref_of("segment", INPUTS).digest != ref_of("model", INPUTS).digest
    assert ref_of("segment", INPUTS).digest != ref_of("segment", INPUTS | {"version": 2}).digest


def test_finishing_twice_keeps_the_first(store: Store) -> None:
    first = put(store, text="first")
    assert put(store, text="second") == first
    assert (store.verified(first) / "a.txt").read_text() == "first"
    assert drafts(store) == []


def test_a_draft_that_is_left_leaves_nothing(store: Store) -> None:
    with store.draft("segment") as draft:
        (draft.path / "a.txt").write_text("half")
    with pytest.raises(ZeroDivisionError), store.draft("segment"):
        raise ZeroDivisionError
    assert drafts(store) == []
    assert store.refs("segment") == []


def test_looking_makes_nothing(store: Store) -> None:
    assert not store.has(Ref("rows", "x"))
    assert store.refs("rows") == []
    with pytest.raises(NotFoundError, match=rf"rows/x is not in the store {store.root}"):
        store.path(Ref("rows", "x"))
    assert not store.root.exists()


def test_the_folder_is_private_and_ignored(store: Store) -> None:
    put(store)
    assert store.root.stat().st_mode & 0o777 == 0o700
    assert (store.root / ".gitignore").read_text() == "*\n"
    assert (store.root / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d172789f06886806bc55")


def test_the_shelf_is_found_upwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    monkeypatch.delenv("AEPIPE_HOME", raising=False)
    (tmp_path / ".aepipe").mkdir()
    assert Store.locate().root == tmp_path / ".aepipe"
    monkeypatch.setenv("AEPIPE_HOME", str(tmp_path / "home"))
    assert Store.locate().root == tmp_path / "home"


def test_references_are_read(store: Store) -> None:
    assert Ref.parse("segment/abc") == Ref("segment", "abc")
    assert str(Ref("segment", "abc")) == "segment/abc"
    for text in ("segment", "segment/", "thing/abc", ""):
        with pytest.raises(NotFoundError, match="is not a reference"):
            Ref.parse(text)


def test_a_flipped_byte_is_found(store: Store) -> None:
    ref = put(store)
    file = folder(store, ref) / "below" / "b.bin"
    file.write_bytes(bytes(255) + b"\x01")
    assert store.path(ref)
    with pytest.raises(CorruptError, match=rf"{file}: corrupt, its sha256 .* Delete the folder"):
        store.verified(ref)


@pytest.mark.parametrize("what", ["a folder without its list of files", "a file", "an empty folder"])
def test_what_has_the_name_of_an_artifact_and_is_none_makes_room(store: Store, what: str) -> None:
    ref = put(store)
    shutil.rmtree(folder(store, ref))
    if what == "a file":
        folder(store, ref).write_text("no folder")
    else:
        folder(store, ref).mkdir()
        if what != "an empty folder":
            (folder(store, ref) / "a.txt").write_text("torn")
    assert put(store, text="once more") == ref
    assert (store.verified(ref) / "a.txt").read_text() == "once more"
    assert drafts(store) == []


@pytest.mark.parametrize("what", ["truncated", "longer", "missing"])
def test_another_length_is_found_without_reading(store: Store, what: str) -> None:
    ref = put(store)
    file = folder(store, ref) / "below" / "b.bin"
    if what == "missing":
        file.unlink()
    else:
        file.write_bytes(bytes(255 if what == "truncated" else 257))
    with pytest.raises(CorruptError, match=f"{file}: corrupt") as caught:
        store.path(ref)
    assert what == "missing" or f"it has {file.stat().st_size} bytes instead of 256" in str(caught.value)


def test_any_change_of_a_manifest_is_found(store: Store) -> None:
    ref = put(store)
    file = folder(store, ref) / layout.MANIFEST
    whole = file.read_text()
    changed = [
        whole.replace('"rows": 3', '"rows": 4'),
        whole.replace('"bytes": 8', '"bytes": 9'),
        whole.replace('"test"', '"best"'),
        whole[:-1],
        whole[: len(whole) // 2],
        "",
        "[]",
        "{}",
        json.dumps(json.loads(whole) | {"more": 1}),
    ]
    for text in changed:
        assert text != whole
        file.write_text(text)
        with pytest.raises(CorruptError, match=f"{file}: corrupt, its checksum"):
            store.manifest(ref)
    file.write_text(whole)
    assert store.manifest(ref)


def test_a_sealed_manifest_under_another_name_is_found(store: Store) -> None:
    ref, other = put(store), put(store, {"stage": "other"})
    (folder(store, ref) / layout.MANIFEST).write_text((folder(store, other) / layout.MANIFEST).read_text())
    with pytest.raises(CorruptError, match=ref.digest):
        store.manifest(ref)


def test_a_draft_of_a_killed_process_is_swept(store: Store) -> None:
    script = (
        "import sys; from pathlib import Path; from aepipe.store.artifacts import Store\n"
        f"with Store(Path({str(store.root)!r})).draft('segment') as draft:\n"
        "    (draft.path / 'a.txt').write_text('half'); print(draft.path, flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        left = Path(process.stdout.readline().decode().strip())
        put(store)
        assert (left / "a.txt").read_text() == "half", "the draft of a process that lives was swept"
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert left.exists()
    assert store.refs("segment") == [ref_of("segment", INPUTS)], "half a directory was taken for a whole one"
    put(store, {"stage": "next"})
    assert not left.exists()


def test_drafts_of_other_hosts_are_left_alone(store: Store) -> None:
    put(store)
    others = [store.root / "segment" / f".tmp-{socket.gethostname()}{name}-999999999-ab" for name in ("-2", "x")]
    for path in others:
        path.mkdir()
    put(store, {"stage": "next"})
    assert drafts(store) == sorted(others) or set(drafts(store)) == set(others)


def test_work_outlives_a_process_until_it_is_done(store: Store) -> None:
    ref = Ref("layer", "abc")
    (store.work(ref) / "checkpoint").write_text("half")
    assert (Store(store.root).work(ref) / "checkpoint").exists()
    store.work_done(ref)
    store.work_done(ref)
    assert not (store.root / "work" / "abc").exists()


def test_a_small_file_is_replaced_whole(tmp_path: Path) -> None:
    file = tmp_path / "name"
    write_durably(file, "one")
    write_durably(file, "two")
    assert file.read_text() == "two"
    assert os.listdir(tmp_path) == ["name"]


def test_digests_are_of_canonical_json() -> None:
    assert digest_of({"b": 1, "a": "ä"}) == digest_of(dict(a="ä", b=1))  # noqa: C408
    assert digest_of({"a": 1}) != digest_of({"a": "1"})


def test_a_limit_of_file_size_is_a_full_disk(store: Store) -> None:
    """Any user can have this one: the system refuses to write more, as a quota does."""
    before = put(store)
    script = (
        "import resource; from pathlib import Path\n"
        "from aepipe.errors import FullError; from aepipe.store.artifacts import Store\n"
        f"store = Store(Path({str(store.root)!r}))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\n"
        "try:\n"
        "    with store.draft('segment') as draft:\n"
        "        (draft.path / 'big').write_bytes(bytes(20_000)); draft.finish({'big': True})\n"
        "except FullError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == (
        f"{store.root}: no room left on the disk. Nothing in the store was changed; free some space and run again\n"
    )
    assert (store.refs("segment"), drafts(store)) == ([before], [])


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"needs the right to mount a small disk: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_leaves_the_shelf_as_it_was(small_disk: Path) -> None:
    store = Store(small_disk / "shelf")
    before = put(store)
    with pytest.raises(FullError, match="no room left on the disk"), store.draft("segment") as draft:
        (draft.path / "big").write_bytes(bytes(1 << 20))
    assert (store.refs("segment"), drafts(store)) == ([before], [])
    store.verified(before)
    (small_disk / "filler").write_bytes(bytes(small_disk_free(small_disk)))
    with pytest.raises(FullError, match=str(store.root)):
        put(store, {"stage": "next"})
    (small_disk / "filler").unlink()
    assert put(store, {"stage": "next"})


def small_disk_free(disk: Path) -> int:
    """Bytes that are left."""
    found = os.statvfs(disk)
    return found.f_bavail * found.f_frsize


def test_a_library_that_drops_the_errno_is_understood(small_disk: Path) -> None:
    store = Store(small_disk / "shelf")
    put(store)
    with pytest.raises(FullError), store.draft("segment") as draft:
        write_forgetfully(draft.path / "big")


def write_forgetfully(file: Path) -> None:
    """Write too much, and fail without saying why."""
    try:
        file.write_bytes(bytes(1 << 20))
    except OSError:
        raise RuntimeError("write failed") from None


def test_other_errors_stay_what_they_are(store: Store) -> None:
    with pytest.raises(RuntimeError, match="write failed"), store.draft("segment"):
        raise RuntimeError("write failed")
    with pytest.raises(PermissionError), store.draft("segment"):
        raise PermissionError(13, "no")


def test_what_was_written_is_said_with_its_time(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="aepipe")
    with pytest.MonkeyPatch.context() as patch:
        clock = iter([10.0, 12.34567])
        patch.setattr("aepipe.store.artifacts.time", Mock(monotonic=lambda: next(clock)))
        with store.draft("segment") as draft:
            ref = draft.finish({"stage": "codes"})
    record: Any = next(one for one in caplog.records if one.getMessage() == f"{ref} is written")
    assert (record.ref, record.stage, record.seconds) == (str(ref), "codes", 2.346)
    with store.draft("model") as draft:
        other = draft.finish({"a": 1})
    record = next(one for one in caplog.records if one.getMessage() == f"{other} is written")
    assert record.stage == "model", "its kind, where its inputs name no stage"


def test_a_manifest_says_everything_about_its_artifact(store: Store) -> None:
    ref = put(store)
    text = (folder(store, ref) / layout.MANIFEST).read_text()
    body = json.loads(text)
    assert text == json.dumps(body, indent=1)
    assert list(body) == ["schema", "kind", "digest", "created", "inputs", "facts", "outputs", "seal"]
    assert (body["schema"], body["kind"], body["digest"], body["facts"]) == (1, "segment", ref.digest, {"rows": 3})
    seal = body.pop("seal")
    assert seal == digest_of(body)
    made = store.manifest(ref)
    assert made.created == body["created"]
    assert abs((datetime.fromisoformat(made.created) - datetime.now(UTC)).total_seconds()) < 60
    assert made.created.endswith("+00:00")
    assert len(made.created) == len("2026-01-01T00:00:00+00:00")
    with store.draft("segment") as draft:
        assert store.manifest(draft.finish({"b": 1})).facts == {}


def test_digests_of_the_same_text_stay_the_same() -> None:
    """Stores of earlier versions hold these."""
    text = '{"a":[1,null],"b":"\\u00e4"}'
    assert digest_of({"b": "ä", "a": [1, None]}) == hashlib.sha256(text.encode()).hexdigest()
    inputs = '{"inputs":{"a":1},"kind":"rows"}'
    assert ref_of("rows", {"a": 1}) == Ref("rows", hashlib.sha256(inputs.encode()).hexdigest())


def test_what_is_no_reference_is_said_with_what_is() -> None:
    with pytest.raises(NotFoundError, match=r"^'thing/abc' is not a reference: backbone, .*, release, a slash and a"):
        Ref.parse("thing/abc")
    assert Ref.parse("rows/a/b") == Ref("rows", "a/b")


def listed(store: Store, *parts: Ref) -> Ref:
    """Write rows that are a list of others."""
    with store.draft("rows") as draft:
        (draft.path / "rows.json").write_text("{}")
        return draft.finish({"parts": [str(one) for one in parts]})


def part(store: Store, name: str) -> Ref:
    with store.draft("rows") as draft:
        (draft.path / "a.txt").write_text(name)
        return draft.finish({"name": name})


def test_a_list_is_checked_with_its_parts(store: Store) -> None:
    parts = [part(store, name) for name in "ab"]
    whole = listed(store, *parts)
    assert store.parts(whole) == tuple(parts)
    assert store.parts(parts[0]) == ()
    other = put(store, {"parts": ["rows/none"]})
    assert store.parts(other) == (), "other kinds are no lists"
    assert store.path(other)
    file = folder(store, parts[1]) / "a.txt"
    file.write_text("more")
    assert store.path(whole, with_parts=False) == folder(store, whole)
    for check in (store.path, store.check_lengths, Store(store.root).verified):
        with pytest.raises(CorruptError, match=rf"{file}: corrupt, it has 4 bytes instead of 1\. Delete the folder"):
            check(whole)
    assert store.reuse(whole)
    store.remove(parts[1])
    assert not store.reuse(whole)
    manifest = folder(store, whole) / layout.MANIFEST
    said = rf"^{manifest}: corrupt, its part rows/{parts[1].short} is not in the store {store.root}\. Delete the folder"
    with pytest.raises(CorruptError, match=said):
        store.path(whole)
    store.check_lengths(parts[0])
    manifest.write_text("{")
    assert store.reuse(whole), "whoever opens a damaged list says so"


def test_files_are_read_once_by_a_process(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    ref, read = put(store), list[str]()
    plain = sha256_of

    def counted(file: Path) -> str:
        read.append(file.name)
        return plain(file)

    monkeypatch.setattr(artifacts, "sha256_of", counted)
    for one in (store, store, store.fresh()):
        assert one.verified(ref) == folder(store, ref)
    assert read == ["a.txt", "b.bin"] * 2
    assert store.remove(ref)
    put(store)
    store.verified(ref)
    assert len(read) == 6, "what was removed is another one"


def test_what_is_no_file_is_no_output(store: Store) -> None:
    ref = put(store)
    file = folder(store, ref) / "a.txt"
    file.unlink()
    file.mkdir()
    with pytest.raises(
        CorruptError, match=rf"^{file}: corrupt, it is no file\. Delete the folder {file.parent} and run"
    ):
        store.path(ref)
    file.rmdir()
    with pytest.raises(CorruptError, match=rf"^{file}: corrupt, it is missing\. Delete"):
        store.path(ref)


def test_what_the_system_says_of_a_file_is_told(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = put(store)

    def refuse(file: Path) -> str:
        raise OSError(errno.EISDIR if file.name == "a.txt" else errno.EMFILE, "the reason", str(file))

    monkeypatch.setattr(artifacts, "sha256_of", refuse)
    with pytest.raises(StoreError, match=r"a\.txt: .*the reason"):
        store.verified(ref)
    assert store.place("log.jsonl") == f"{store.root}/log.jsonl"


def test_the_nearest_folder_upwards_is_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AEPIPE_HOME", raising=False)
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    assert Store.locate().root == inside / ".aepipe", "a new one is made here"
    (tmp_path / ".aepipe").mkdir()
    (tmp_path / "a" / ".aepipe").write_text("a file is none")
    assert Store.locate().root == tmp_path / ".aepipe"
    (inside / ".aepipe").mkdir()
    assert Store.locate().root == inside / ".aepipe"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AEPIPE_HOME", "~/mine")
    assert Store.locate().root == tmp_path / "mine"
