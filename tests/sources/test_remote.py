"""Collections at addresses: local, in memory, and such that cannot be read."""

from __future__ import annotations

import gzip
import io
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

fsspec = pytest.importorskip("fsspec", reason="needs the extra remote")

from aepipe import sources
from aepipe.errors import SourceError
from aepipe.pipeline import places, suggest
from aepipe.pipeline.ingest import ingest
from aepipe.recipe import Choice, LayerRecipe, Recipe
from aepipe.sources import preview, remote, resolve
from aepipe.sources.item import Source
from aepipe.sources.loader import read_all
from aepipe.store.artifacts import Store


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache of its own, and an empty memory file system."""
    monkeypatch.setenv("AEPIPE_CACHE", str(tmp_path / "cache"))
    yield tmp_path / "cache"
    fsspec.filesystem("memory").store.clear()


def png(seed: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def collection(folder: Path) -> Path:
    """Write twelve pictures in two folders."""
    for n in range(12):
        file = folder / ("cats" if n % 2 else "dogs") / f"{n}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(png(n))
    return folder


def upload(folder: Path, address: str) -> str:
    """Copy a folder into the memory file system."""
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            fsspec.filesystem("memory").pipe_file(f"/{address}/{file.relative_to(folder)}", file.read_bytes())
    return f"memory://{address}"


def source(path: str, kind: str = "images", **options: Any) -> Source:
    chosen: dict[str, dict[str, Any]] = {"images": {"size": [8, 8]}, "text": {"least": 1, "most": 1.0}}
    return resolve(
        Recipe(
            name="far",
            source=Choice(kind=kind, options={"path": path, **options}),
            features=chosen.get(kind, {}),
            layers=(LayerRecipe(net=Choice(kind="dense")),),
        )
    )


def rows(one: Source) -> list[tuple[str, bytes, str | None]]:
    """Return key, digest and label of each item."""
    found = list(read_all(one.fitted(None)))
    assert all(outcome.reason is None for outcome in found)
    return [(outcome.item.key, outcome.sha256, outcome.item.label) for outcome in found]


@pytest.mark.parametrize("way", ["memory", "file", "glob"])
def test_an_address_is_the_same_collection_as_the_folder(tmp_path: Path, way: str) -> None:
    folder = collection(tmp_path / "near")
    near = str(folder / "*" / "1*.png") if way == "glob" else str(folder)
    far = folder.as_uri() if way == "file" else upload(folder, "bucket/photos")
    far += "/*/1*.png" if way == "glob" else ""
    one, other = source(near, label="parent"), source(far, label="parent")
    assert rows(one) == rows(other)
    store = Store(tmp_path / "store")
    first = ingest(store, one)
    assert ingest(store, other, previous=first) == first


def test_a_file_url_is_read_where_it_is(tmp_path: Path, cache: Path) -> None:
    folder = collection(tmp_path / "with space")
    assert source(folder.as_uri()).location == folder
    assert not cache.exists()


def test_the_letters_of_a_scheme_may_be_large(tmp_path: Path) -> None:
    assert remote.fetched(f"FILE://{tmp_path}") == tmp_path
    with pytest.raises(SourceError, match=r"^FTP://host/x: addresses of this kind"):
        remote.fetched("FTP://host/x")


def test_originals_are_shown_when_the_address_is_gone(tmp_path: Path) -> None:
    one = source(upload(collection(tmp_path / "near"), "bucket"))
    item = next(iter(one.items()))
    fsspec.filesystem("memory").store.clear()
    assert preview(one.location, item.place) == png(1)


def test_only_what_has_changed_is_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = upload(collection(tmp_path / "near"), "bucket")
    memory, fetched = fsspec.filesystem("memory"), list[str]()
    monkeypatch.setattr(remote, "_STAMPS", ("created",))
    get = type(memory).get_file

    def counted(self: Any, path: str, to: str, **more: Any) -> None:
        fetched.append(path)
        get(self, path, to, **more)

    monkeypatch.setattr(type(memory), "get_file", counted)
    before = rows(source(address))
    assert len(fetched) == 12
    assert rows(source(address)) == before
    assert len(fetched) == 12
    memory.pipe_file("/bucket/cats/1.png", png(99))
    memory.rm_file("/bucket/cats/3.png")
    after = rows(source(address))
    assert fetched[12:] == ["/bucket/cats/1.png"]
    assert len(after) == 11
    copy = Path(str(source(address).location)) / "dogs" / "0.png"
    copy.write_bytes(b"cut")
    assert rows(source(address)) == after


def test_every_format_may_be_at_an_address(tmp_path: Path) -> None:
    near = tmp_path / "near"
    near.mkdir()
    pq.write_table(pa.table({"image": [png(n) for n in range(3)], "label": ["a", "b", "a"]}), near / "x.parquet")
    with tarfile.open(near / "x.tar", "w") as archive:
        for n in range(3):
            member = tarfile.TarInfo(f"{n}.png")
            member.size = len(png(n))
            archive.addfile(member, io.BytesIO(png(n)))
    np.save(near / "x.npy", np.random.default_rng(0).random((5, 4), np.float32))
    (near / "x.csv").write_text("text\n" + "".join(f"the cat sat on mat number {n}\n" for n in range(4)))
    lines = "".join(f'{{"text": "a dog and a cat are {n}"}}\n' for n in range(4))
    (near / "x.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    address = upload(near, "bucket")
    kinds = {"x.parquet": "images", "x.tar": "images", "x.npy": "vectors", "x.csv": "text", "x.jsonl.gz": "text"}
    for name, kind in kinds.items():
        found = rows(source(f"{address}/{name}", kind))
        assert found == rows(source(str(near / name), kind))
        assert len(found) >= 3


def test_a_recipe_is_suggested_for_an_address(tmp_path: Path) -> None:
    address = upload(collection(tmp_path / "near"), "bucket/My Photos".replace(" ", "-"))
    name, text, held = suggest.suggest(address, folder=tmp_path)
    assert (name, held.kind) == ("my-photos", "images")
    assert f'path = "{address}"' in text
    (tmp_path / "r.toml").write_text(text)
    assert places.same_source(tmp_path / "r.toml", address)
    assert not places.same_source(tmp_path / "r.toml", address + "2")


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("nonsense://bucket/x", "nonsense://bucket/x: addresses of this kind are not opened; known are s3://, gs://"),
        ("memory://nothing/there", "memory://nothing/there: nothing is there|no files there"),
        ("memory://nothing/*.png", "no files there"),
        ("s3://key:secret@bucket/photos", r"s3://\.\.\.@bucket/photos: an address with a password in it"),
        ("gs://bucket/x", "gs://bucket/x: .*gcsfs"),
    ],
)
def test_an_address_that_cannot_be_read_is_one_line(address: str, says: str) -> None:
    with pytest.raises(SourceError, match=says) as caught:
        source(address)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    [
        "reference://a.json",
        "reference::file:///etc/hostname",
        "dir::file:///etc",
        "zip://a.png::file:///etc/x.zip",
        "simplecache::s3://bucket/x",
        "s3://bucket/x::file:///etc/x",
        "FILE+X://x",
        "local:///etc/hostname",
        "python://os",
        "ssh://host/x",
    ],
)
def test_other_schemes_and_chains_are_refused_before_a_driver_is_imported(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(SourceError, match=r"known are s3://, gs://, az://, abfs://, http://, https://, file://$"):
        source(address)


def test_a_server_that_does_not_answer_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = upload(collection(tmp_path / "near"), "bucket")
    memory, silence = type(fsspec.filesystem("memory")), threading.Event()
    for call in ("isfile", "get_file"):
        with monkeypatch.context() as patch:
            patch.setattr(remote, "PATIENCE", 0.2)
            patch.setattr(memory, call, lambda *_, **__: silence.wait(30))
            with pytest.raises(SourceError, match=f"{address}: no answer for 0.2 s; is the server reachable"):
                source(address)
    silence.set()
    assert len(rows(source(address))) == 12


def test_a_slow_server_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = upload(collection(tmp_path / "near"), "bucket")
    memory = type(fsspec.filesystem("memory"))
    monkeypatch.setattr(remote, "PATIENCE", 0.5)

    def slow(self: Any, path: str, to: str, **_: Any) -> None:
        with Path(to).open("wb") as stream:
            for piece in range(16):  # more than the patience in all, but something comes long before it ends
                stream.write(self.cat_file(path)[piece::16])
                stream.flush()
                time.sleep(0.04)

    monkeypatch.setattr(memory, "get_file", slow)
    assert source(address).total() == 12


def test_errors_while_fetching_name_the_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = upload(collection(tmp_path / "near"), "bucket")
    memory = type(fsspec.filesystem("memory"))
    for error, says in (
        (PermissionError("403"), "no permission"),
        (TimeoutError("late"), "cannot be read: late"),
    ):

        def fail(*_: object, failure: Exception = error, **__: object) -> None:
            raise failure

        monkeypatch.setattr(memory, "get_file", fail)
        with pytest.raises(SourceError, match=f"{address}: {says}"):
            source(address)


def test_names_cannot_lead_out_of_the_copy() -> None:
    for path in ("bucket/../secret", "bucket/x/../../y", "other/x", "bucket/"):
        with pytest.raises(SourceError, match="leads out of"):
            remote._name(path, "bucket")
    assert remote._name("bucket/a/b.png", "bucket") == "a/b.png"


def test_words_are_no_address() -> None:
    assert remote.is_address("s3://bucket/a.png")
    assert not remote.is_address("what is at s3://bucket ?")
    assert not remote.is_address("C:/pictures")
    (item,) = sources.query_items("images", "x.png")
    assert item.key == "x.png"
