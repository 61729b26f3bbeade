"""Listings: parts that stay while others change, stamps, and readers that are written and read again."""

from __future__ import annotations

import os
import random
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from aepipe import recipe, sources
from aepipe.errors import ItemError
from aepipe.sources import listing
from aepipe.sources.audio.decode import Slice
from aepipe.sources.files import InMemory, Piece, Refused, WholeFile
from aepipe.sources.item import Item, Reader
from aepipe.store.artifacts import Store
from tests.support.releases import write_pictures

PRICE = pa.schema({"price": pa.int64()})


def item(key: str, reader: Reader | None = None) -> Item:
    return Item(key, f"at/{key}", reader or InMemory(key.encode()), columns={"price": len(key)})


def parts(keys: list[str], usual: int = 16) -> list[list[str]]:
    return [[one.key for one in found] for found, _ in listing.cut(map(item, keys), usual)]


def test_parts_have_the_usual_length_on_average_and_hold_all_items() -> None:
    keys = [f"k{number}" for number in range(20_000)]
    found = parts(keys, 100)
    lengths = sorted(map(len, found))
    assert [key for part in found for key in part] == keys
    assert 85 < len(keys) / len(found) < 115
    assert lengths[1] >= 50
    assert lengths[-1] <= 400


def test_one_item_more_or_less_changes_a_part_or_two() -> None:
    keys = [f"k{number}" for number in range(2000)]
    before = set(map(tuple, parts(keys)))
    for seed in range(40):
        rng = random.Random(seed)
        other = keys.copy()
        if seed % 2:
            other.insert(rng.randrange(len(keys)), f"new{seed}")
        else:
            other.pop(rng.randrange(len(keys)))
        assert len(set(map(tuple, parts(other))) - before) <= 4


def test_items_in_memory_end_a_part_by_their_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "HELD", 1000)
    found = list(listing.cut((item(f"k{number}", InMemory(b"x" * 400)) for number in range(9)), 100))
    assert [len(one) for one, _ in found] == [3, 3, 3]


def again(folder: Path, *items: Item) -> Iterator[Item]:
    (found,) = listing.cut(iter(items), 1000)
    listing.write(folder, listing.listed(*found), PRICE)
    return listing.read(folder, PRICE.names)


def test_items_come_back_as_they_were(tmp_path: Path) -> None:
    file = tmp_path / "bytes\udcff.bin"
    file.write_bytes(b"0123456789")
    path, calls = str(file), list[str]()

    def called(key: str) -> bytes:
        calls.append(key)
        return b"made"

    def torn(key: str) -> bytes:
        raise ItemError(key, "torn")

    readers: list[Reader] = [
        WholeFile(path),
        Piece(path, 2, 3),
        Slice(WholeFile(path), 0.5, 2.0),
        Refused("why"),
        InMemory(b"\0"),
        InMemory(b""),
    ]
    given = [item(f"k{number}", reader) for number, reader in enumerate(readers)]
    given += [Item("l", "p", WholeFile(path), "class", "test", {"price": None}, b"w" * 32)]
    for one, back in zip(given, again(tmp_path, *given), strict=True):
        assert one == back
    made, refused = again(tmp_path, item("made", called), item("torn", torn))
    assert (made.reader, refused.reader, calls) == (InMemory(b"made"), Refused("torn"), ["made"])


def digest(*items: Item) -> str:
    return listing.listed(list(items), np.zeros(len(items), np.uint64)).digest


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that counts as old."""
    monkeypatch.setattr(listing, "FRESH", -1e9)
    file = tmp_path / "a.bin"
    file.write_bytes(b"0123456789")
    return file


@pytest.mark.parametrize(
    "change",
    [
        lambda file: file.write_bytes(b"01234"),
        lambda file: os.utime(file, (5, 5)),
        lambda file: (file.unlink(), file.write_bytes(b"9876543210")),
        lambda file: file.unlink(),
    ],
)
def test_the_digest_tells_files_that_may_have_changed(old: Path, change: Callable[[Path], object]) -> None:
    said = [item("a", WholeFile(str(old))), item("b", Slice(WholeFile(str(old)), 1.0, 2.0))]
    before = [digest(one) for one in said]
    assert [digest(one) for one in said] == before
    time.sleep(0.005)
    change(old)
    assert not set(before) & {digest(one) for one in said}


def test_a_file_that_was_just_written_is_never_taken_as_known(tmp_path: Path) -> None:
    file = tmp_path / "a.bin"
    file.write_bytes(b"0123456789")
    one = item("a", WholeFile(str(file)))
    assert digest(one) != digest(one)
    assert digest(item("a")) == digest(item("a"))


def test_the_digest_is_over_all_that_is_said_of_an_item() -> None:
    one = item("a")
    others = [
        item("b"),
        Item("a", "elsewhere", one.reader, columns=one.columns),
        Item("a", one.place, InMemory(b"other"), columns=one.columns),
        Item("a", one.place, one.reader, "label", columns=one.columns),
        Item("a", one.place, one.reader, None, "test", one.columns),
        Item("a", one.place, one.reader, columns={"price": 9}),
        Item("a", one.place, one.reader, columns=one.columns, whole=b"w"),
    ]
    assert len({digest(one), *map(digest, others)}) == 1 + len(others)
    assert digest(one, item("b")) != digest(item("b"), one)


def _tar(pictures: Path, file: Path) -> None:
    with tarfile.open(file, "w:gz" if file.suffix == ".gz" else "w") as archive:
        archive.add(pictures, "pictures")


def _zip(pictures: Path, file: Path) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for one in sorted(pictures.rglob("*.png")):
            archive.write(one, str(one.relative_to(pictures)))


@pytest.mark.parametrize(("name", "pack"), [("", None), ("all.tar", _tar), ("all.tar.gz", _tar), ("all.zip", _zip)])
def test_readers_of_containers_can_be_written(
    tmp_path: Path, store: Store, name: str, pack: Callable[[Path, Path], None] | None
) -> None:
    write_pictures(tmp_path / "pictures", 12, (8, 8, 1))
    path = tmp_path / (name or "pictures")
    if pack:
        pack(tmp_path / "pictures", path)
    table = {"name": "p", "source": {"kind": "images", "path": str(path)}, "layers": [{"net": "dense"}]}
    source = sources.resolve(recipe.parse(table, tmp_path / "p.toml"))
    given = list(source.items())
    assert len(given) == 12
    (found,) = listing.cut(iter(given), 100)
    listing.write(tmp_path, listing.listed(*found), source.schema())
    back = list(listing.read(tmp_path, source.schema().names))
    assert [(one.key, one.place, one.read()) for one in back] == [(one.key, one.place, one.read()) for one in given]
    if not name.endswith(".gz"):
        assert not any(isinstance(one.reader, InMemory) for one in back), "the bytes stay where they are"
