"""What the system or a library says of a file becomes one line of ours; a refusal is not taken for damage."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load, save_file

from aepipe.errors import CorruptError, FullError, NotFoundError, StoreError, TargetError
from aepipe.index.scan import faiss_errors_named
from aepipe.release import lifecycle
from aepipe.release.release import Release
from aepipe.store import names
from aepipe.store.artifacts import Ref, Store
from aepipe.store.io import (
    REMEDY,
    append_line,
    array_in,
    bytes_in,
    check_local,
    check_target,
    damaged,
    disk_errors_named,
    entries,
    files_below,
    load_numpy,
    mapped,
    replacing,
    seal_file,
    sealed_json,
    table_errors_named,
    weights_in,
    write_durably,
    write_into_folder,
)
from aepipe.store.rows import Rows
from aepipe.store.strings import Strings
from tests.faults.damage import as_others
from tests.support.releases import make_release


def test_a_folder_that_may_not_be_read_is_no_empty_one(tmp_path: Path) -> None:
    (tmp_path / "folder" / "below").mkdir(parents=True)
    (tmp_path / "folder" / "below" / "file").touch()
    (tmp_path / "folder" / "one").touch()
    assert [path.name for path in entries(tmp_path / "folder")] == ["below", "one"]
    assert files_below(tmp_path / "folder") == ["below/file", "one"]
    assert entries(tmp_path / "none") == []
    (tmp_path / "folder" / "below").chmod(0)
    with as_others() as stopped:
        if not stopped:
            pytest.skip("permissions do not count for this user")
        with pytest.raises(StoreError, match=r"below: Permission denied; give this user permission"):
            files_below(tmp_path / "folder")
    (tmp_path / "folder" / "below").chmod(0o700)


def test_releases_are_not_overlooked_where_their_folder_cannot_be_read(store: Store) -> None:
    make_release(store, n=12, shape=(8, 8, 1))
    (store.root / "release").chmod(0)
    with as_others() as stopped:
        if not stopped:
            pytest.skip("permissions do not count for this user")
        for ask in (lambda: store.refs("release"), lambda: lifecycle.last_sound(store, "pictures")):
            with pytest.raises(StoreError, match="Permission denied"):
                ask()
    (store.root / "release").chmod(0o700)


@pytest.mark.parametrize("address", ["s3://bucket/rows", "reference://x", "http://host/a/b.png"])
def test_an_address_is_no_place_of_an_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.chdir(tmp_path)
    for check in (check_local, check_target):
        with pytest.raises(TargetError, match=r"an address; name a file or a folder of this machine"):
            check(Path(address))
    for place in ("a:b/c", "12:30/a", "C:/a", "rows:"):
        check_local(Path(place))
    (tmp_path / "s3:" / "bucket").mkdir(parents=True)
    check_local(Path("s3://bucket/rows"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s3:"]


@pytest.mark.parametrize(("number", "damaged"), [(errno.EIO, False), (errno.ENOENT, True)])
def test_a_file_that_the_system_does_not_look_at_is_not_called_missing(
    store: Store, monkeypatch: pytest.MonkeyPatch, number: int, damaged: bool
) -> None:
    ref, look = make_release(store, n=12), os.stat

    def refuse(path: str, **options: Any) -> Any:
        if str(path).endswith("release.json"):
            raise OSError(number, "the reason", path)
        return look(path, **options)

    monkeypatch.setattr(os, "stat", refuse)
    with pytest.raises(StoreError, match=r"release\.json: .*(it is missing|the reason)") as caught:
        store.path(ref)
    assert isinstance(caught.value, CorruptError) == damaged


def test_weights_that_cannot_be_read_name_their_file(tmp_path: Path) -> None:
    """The library names neither the file nor what the system said."""
    file = tmp_path / "weights.safetensors"
    save_file({"a": np.arange(3)}, file)
    assert weights_in(file, load)["a"].tolist() == [0, 1, 2]
    with as_others() as stopped:
        file.chmod(0)
        if stopped:
            with pytest.raises(StoreError, match=r"weights\.safetensors: Permission denied"):
                weights_in(file, load)
    file.chmod(0o600)
    file.write_bytes(file.read_bytes()[:9])
    with pytest.raises(CorruptError, match=r"weights\.safetensors: corrupt, no weights in it"):
        weights_in(file, load)
    file.unlink()
    with pytest.raises(CorruptError, match=r"weights\.safetensors: corrupt, it cannot be read"):
        weights_in(file, load)


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (OSError("23 requested and 0 written"), StoreError, "STORE: 23 requested and 0 written; look for faults"),
        (ValueError("I/O error: Too many open files (os error 24)"), StoreError, "STORE: Too many open files; raise"),
        (ValueError("I/O error: No space left on device (os error 28)"), FullError, "no room left"),
        (OSError(errno.EIO, "Input/output error", "STORE/x"), StoreError, "STORE/x: Input/output error; look"),
    ],
)
def test_errors_of_libraries_name_the_store(
    tmp_path: Path, error: Exception, kind: type[StoreError], said: str
) -> None:
    if isinstance(error, OSError) and error.filename:
        error.filename = str(tmp_path / "x")
    with pytest.raises(kind) as caught, disk_errors_named(tmp_path):
        raise error
    assert said.replace("STORE", str(tmp_path)) in str(caught.value)


@pytest.mark.parametrize(
    "error", [ConnectionError("gone"), ValueError("another"), OSError(errno.EIO, "x", "/elsewhere")]
)
def test_errors_of_others_stay_as_they_are(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(type(error)) as caught, disk_errors_named(tmp_path):
        raise error
    assert caught.value is error


def test_errors_of_tables_name_their_file(tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    with pytest.raises(OSError, match=str(file)) as caught, table_errors_named(file):
        raise OSError("Memory mapping file failed: Permission denied")
    assert caught.value.errno == errno.EIO
    with pytest.raises(CorruptError, match=f"{file}: corrupt, it cannot be read"), table_errors_named(file):
        raise pa.ArrowInvalid("not a Parquet file")
    (tmp_path / "rows.json").write_text("{}")
    with pytest.raises(CorruptError, match=r"no rows-\*\.parquet is in it"):
        Rows(tmp_path)


@pytest.mark.parametrize(
    ("said", "number"),
    [("could not open x: Too many open files", errno.EMFILE), ("write error in x: Bad address", errno.EIO)],
)
def test_errors_of_faiss_are_those_of_the_system(tmp_path: Path, said: str, number: int) -> None:
    with pytest.raises(OSError, match=str(tmp_path)) as caught, faiss_errors_named(tmp_path / "x"):
        raise RuntimeError(said)
    assert caught.value.errno == number
    with pytest.raises(RuntimeError, match="holds no index"), faiss_errors_named(tmp_path / "x"):
        raise RuntimeError("it holds no index")


@pytest.mark.parametrize(("number", "kind"), [(errno.EMFILE, StoreError), (errno.ENOENT, CorruptError)])
def test_a_refusal_is_not_called_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[StoreError]
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, "the reason")

    monkeypatch.setattr("aepipe.store.io.load_numpy", refuse)
    with pytest.raises(StoreError, match="the reason") as caught:
        mapped(tmp_path / "array.npy")
    assert type(caught.value) is kind
    assert ("delete the folder" in str(caught.value)) == (kind is CorruptError)


def test_a_file_that_may_not_be_read_is_not_made_again(store: Store) -> None:
    ref = make_release(store, n=12, shape=(8, 8, 1))
    manifest = store.root / "release" / ref.digest / "manifest.json"
    manifest.chmod(0)
    ask: list[Callable[[Ref], object]] = [store.manifest, store.verified]
    with as_others() as stopped:
        if not stopped:
            pytest.skip("permissions do not count for this user")
        for one in ask:
            with pytest.raises(StoreError, match="Permission denied; give this user") as caught:
                one(ref)
            assert not isinstance(caught.value, CorruptError | NotFoundError)
    manifest.chmod(0o600)


@pytest.mark.parametrize("shape", [(0,), (0, 3), (2, 3)])
def test_an_array_of_the_store_is_of_its_type_whatever_its_size(tmp_path: Path, shape: tuple[int, ...]) -> None:
    made = array_in(tmp_path / "some.npy", np.int32, shape)
    assert (made.dtype.name, made.shape) == ("int32", shape)
    found = np.load(tmp_path / "some.npy")
    assert (found.dtype, found.shape) == (np.dtype(np.int32), shape)


def test_strings_out_of_order_are_damage(tmp_path: Path) -> None:
    Strings.write(tmp_path, "key", ["one", None, "two"])
    offsets = np.load(tmp_path / "key.offsets.npy")
    assert [Strings.open(tmp_path, "key")[one] for one in range(3)] == ["one", None, "two"]
    offsets[1] = 2**40
    np.save(tmp_path / "key.offsets.npy", offsets)
    with pytest.raises(CorruptError, match=r"key\.offsets\.npy: corrupt, a string ends before it begins, or after"):
        Strings.open(tmp_path, "key")[0]


@pytest.mark.parametrize(("text", "said"), [("[1]", "not the names of releases; put a copy"), ("{", "Expecting")])
def test_names_of_releases_that_are_no_table_are_damage(store: Store, text: str, said: str) -> None:
    store.create()
    (store.root / "names.json").write_text(text)
    with pytest.raises(CorruptError, match=rf"names\.json: corrupt.*{said}"):
        names.given(store)


def test_one_bit_of_the_description_of_rows_is_found(store: Store) -> None:
    rows = store.path(Release.open(store, ref=make_release(store, n=12, shape=(8, 8, 1))).part("rows"))
    assert Rows(rows).next_id == 12
    file = rows / "rows.json"
    whole = file.read_text()
    for broken in (whole.replace('"next_id": 12', '"next_id": 11'), whole.replace("{", "[", 1)):
        file.write_text(broken)
        with pytest.raises(CorruptError, match=r"rows\.json: corrupt, "):
            Rows(rows)


def test_what_is_no_array_is_named_with_its_reason(tmp_path: Path) -> None:
    file = tmp_path / "some.npy"
    os.mkfifo(file)
    with pytest.raises(CorruptError, match=r"some\.npy: corrupt, not an array \(.*not a file\); delete the folder"):
        mapped(file)
    file.unlink()
    with pytest.raises(CorruptError, match=r"some\.npy: corrupt, not an array \(.*No such file"):
        mapped(file)
    np.save(file, np.arange(3))
    assert isinstance(mapped(file).base, np.memmap)
    with file.open("rb") as stream:
        assert not isinstance(load_numpy(stream), np.memmap)
    np.save(file, np.array([{}], object), allow_pickle=True)
    for what in (file, io.BytesIO(file.read_bytes())):
        with pytest.raises(ValueError, match=r"allow_pickle|Python objects"):
            load_numpy(what)


def test_damage_names_the_file_of_a_view(tmp_path: Path) -> None:
    np.save(tmp_path / "some.npy", np.arange(12).reshape(3, 4))
    array = mapped(tmp_path / "some.npy")
    said = f"{tmp_path / 'some.npy'}: corrupt, too many; {REMEDY}"
    assert str(damaged(array, "too many")) == str(damaged(array[1:].T[::2], "too many")) == said
    assert str(damaged(np.arange(3), "too many")) == f"an array of the store: corrupt, too many; {REMEDY}"


@pytest.mark.parametrize(
    ("number", "refused"), [(errno.ENOSPC, True), (errno.EOPNOTSUPP, False), (errno.EINVAL, False)]
)
def test_room_is_reserved_where_the_file_system_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, refused: bool
) -> None:
    """A write into a map without room would kill the process."""
    asked: list[tuple[int, int]] = []

    def reserve(_handle: int, start: int, size: int) -> None:
        asked.append((start, size))
        raise OSError(number, "no")

    monkeypatch.setattr(os, "posix_fallocate", reserve)
    file = tmp_path / "some.npy"
    if refused:
        with pytest.raises(OSError, match="no"):
            array_in(file, np.int32, (4, 5))
    else:
        made = array_in(file, np.int32, (4, 5))
        made[:] = np.arange(20).reshape(4, 5)
        assert (made.dtype.name, np.load(file).tolist()) == ("int32", made.tolist())
    assert asked == [(0, 128 + 80)]


def test_a_small_file_is_flushed_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[bool, int]] = []
    file = tmp_path / "below" / "name"

    def flushed(handle: int) -> None:
        about = os.fstat(handle)
        seen.append((stat.S_ISDIR(about.st_mode), 0 if stat.S_ISDIR(about.st_mode) else about.st_size))

    monkeypatch.setattr(os, "fsync", flushed)
    write_into_folder(file, "äb")
    assert file.read_bytes() == "äb".encode()
    assert seen == [(False, 3), (True, 0)], "first its bytes, then its folder"
    write_durably(file, b"\xff")
    assert (file.read_bytes(), os.listdir(file.parent)) == (b"\xff", ["name"])
    seen.clear()
    append_line(file, "one")
    append_line(file, "two")
    assert file.read_bytes() == b"\xff\none\ntwo\n", "a line that was cut off is ended first"
    assert seen == [(False, 6), (False, 10)]
    seen.clear()
    assert seal_file(file) == {"sha256": hashlib.sha256(file.read_bytes()).hexdigest(), "bytes": 10}
    assert seen == [(False, 10)]
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="file"):
        write_into_folder(tmp_path / "file" / "below" / "x", "text")


def test_a_place_of_an_output_is_checked_before_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "out.csv"
    check_target(file, overwrite=False)
    file.write_text("x")
    check_target(file)
    wrong = [
        (tmp_path / "none" / "out", True, rf"none/out: there is no folder {tmp_path / 'none'}; make it first"),
        (tmp_path, True, "is a folder; name a file in it"),
        (file, False, r"out\.csv: is there already; say --overwrite, or name another file with --out"),
    ]
    for path, overwrite, said in wrong:
        with pytest.raises(TargetError, match=said):
            check_target(path, overwrite=overwrite)
    for refused in (tmp_path, file):
        monkeypatch.setattr(os, "access", lambda path, how, refused=refused: (path, how) != (refused, os.W_OK))
        with pytest.raises(StoreError, match=r"out\.csv: cannot be written: no permission"):
            check_target(file)
        if refused == file:
            check_target(tmp_path / "new.csv")
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    check_target(Path("new.csv"))


def test_a_file_is_replaced_where_all_went_well(tmp_path: Path) -> None:
    file = tmp_path / "out"
    file.write_text("old")
    with replacing(file) as beside:
        beside.write_text("new")
        assert beside.parent == tmp_path
        assert file.read_text() == "old"
    assert file.read_text() == "new"
    with pytest.raises(ZeroDivisionError), replacing(file) as beside:
        raise ZeroDivisionError(beside.write_text("half"))
    assert (file.read_text(), os.listdir(tmp_path)) == ("new", ["out"])
    with pytest.raises(StoreError, match=r"out: cannot be written: no reason"), replacing(file):
        raise OSError(errno.EPIPE, "no reason", "/elsewhere")
    with pytest.raises(FullError), replacing(file):
        raise OSError(errno.EDQUOT, "quota")


def test_bytes_below_a_folder_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "x").write_bytes(b"12345")
    (tmp_path / "a" / "y").write_bytes(b"123")
    (tmp_path / "a" / "lost").symlink_to(tmp_path / "none")
    assert bytes_in(tmp_path) == 8
    assert bytes_in(tmp_path / "none") == 0
    assert [path.name for path in entries(tmp_path / "a", "[bx]")] == ["b"]


def test_a_small_file_of_an_artifact_is_compared_with_the_manifest(tmp_path: Path) -> None:
    file, manifest = tmp_path / "some.json", tmp_path / "manifest.json"
    file.write_text('{"a": 1}')
    assert sealed_json(tmp_path, "some.json") == {"a": 1}, "a draft has no manifest yet"
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    manifest.write_text(json.dumps({"outputs": {"some.json": {"sha256": digest}}}))
    assert sealed_json(tmp_path, "some.json") == {"a": 1}
    file.write_text('{"a": 2}')
    with pytest.raises(CorruptError, match=r"some\.json: corrupt, its sha256 does not match the manifest; delete"):
        sealed_json(tmp_path, "some.json")
    for text in ("{", '{"outputs": {}}', '{"outputs": 3}', "[]"):
        manifest.write_text(text)
        with pytest.raises(CorruptError, match=r"some\.json: corrupt, it cannot be read \(.+\); delete"):
            sealed_json(tmp_path, "some.json")


@pytest.mark.parametrize(("free", "full"), [((1 << 16) - 1, True), (1 << 16, False)])
def test_a_disk_without_room_explains_an_error_without_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, full: bool
) -> None:
    looked_at: list[Path] = []

    def usage(path: Path) -> object:
        looked_at.append(path)
        return SimpleNamespace(free=free)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    root = tmp_path / "not" / "there"
    for error in (RuntimeError("write failed"), OSError(errno.EIO, "failed", "/elsewhere")):
        with pytest.raises(FullError if full else type(error)), disk_errors_named(root):
            raise error
    assert looked_at == [tmp_path] * 2
    with pytest.raises(ValueError, match="another"), disk_errors_named(root):
        raise ValueError("another")
    for said_of in ("x: No space left on device", "File too large"):
        said = rf"{root}: no room left on the disk\. Nothing in the store was changed"
        with pytest.raises(FullError, match=said), disk_errors_named(root):
            raise ValueError(said_of)


def test_errors_of_tables_keep_what_the_system_said(tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    with pytest.raises(OSError, match="the reason") as caught, table_errors_named(file):
        raise OSError(errno.EMFILE, "the reason")
    assert (caught.value.errno, caught.value.filename) == (errno.EMFILE, str(file))
    with pytest.raises(OSError, match="first") as caught, table_errors_named(file):
        raise OSError("first\nsecond")
    assert caught.value.strerror == "first"
    with pytest.raises(CorruptError, match=r"it cannot be read \(first\); delete"), table_errors_named(file):
        raise ValueError("first\nsecond")


@pytest.mark.parametrize(
    "array",
    [
        np.arange(5),
        np.arange(6, dtype="<f4").reshape(2, 3),
        np.zeros((2, 3, 4), bool),
        np.array(["one", "two"]),
        np.array([b"abc"]),
        np.asfortranarray(np.arange(6).reshape(2, 3)),
        np.arange(3, dtype=">i4"),
        np.array(7),
        np.empty((0, 3)),
        np.zeros(2, [("a", "<i4")]),
    ],
)
def test_arrays_are_mapped_as_numpy_loads_them(tmp_path: Path, array: NDArray[Any]) -> None:
    np.save(tmp_path / "some.npy", array)
    found, wanted = mapped(tmp_path / "some.npy"), np.load(tmp_path / "some.npy")
    assert (found.dtype, found.shape, found.tolist()) == (wanted.dtype, wanted.shape, wanted.tolist())
    with pytest.raises(ValueError, match="read-only"):
        found[...] = found


def test_an_array_that_was_cut_off_is_damage(tmp_path: Path) -> None:
    np.save(tmp_path / "some.npy", np.arange(50))
    whole = (tmp_path / "some.npy").read_bytes()
    for damage in (whole[:-1], whole[:200], whole[:128], whole[:100], b"", whole.replace(b"(50,)", b"(51,)")):
        (tmp_path / "some.npy").write_bytes(damage)
        with pytest.raises(CorruptError, match=r"some\.npy: corrupt, not an array"):
            mapped(tmp_path / "some.npy")
