"""Ingestion: ids, digests, quarantine, decoding only where needed, and bounded memory."""

from __future__ import annotations

import io
import logging
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from aepipe import recipe as recipes
from aepipe.errors import ItemError, SourceError
from aepipe.log import Progress, logger
from aepipe.pipeline.ingest import ingest
from aepipe.sources import listing, loader, resolve
from aepipe.sources.images import decode
from aepipe.sources.item import Item, Source
from aepipe.sources.passed_over import PassedOver
from aepipe.store import layout, reading
from aepipe.store.artifacts import Ref, Store
from aepipe.store.rows import Rows, read_quarantine
from tests.support.fakes import SHAPE, Fake, things


def rows(store: Store, ref: Ref) -> Rows:
    return Rows(store.path(ref))


def ids(store: Store, ref: Ref) -> dict[str, int]:
    table = rows(store, ref)
    return dict(zip(table.keys(), table.ids().tolist(), strict=True))


def check_features(store: Store, ref: Ref, source: Fake) -> None:
    table = rows(store, ref)
    expected = [replace(source, decoded=[]).row(source.things[row.key], row.key) for row in table.records()]
    np.testing.assert_array_equal(table.features(), np.stack(expected))


def test_a_first_run(store: Store) -> None:
    source = Fake(things("b", "a", "t"), labels={"a": "x"}, extra={"a": 5})
    ref = ingest(store, source)
    table = rows(store, ref)
    assert table.keys() == ["b", "a", "t"]
    assert table.ids().tolist() == [0, 1, 2]
    assert table.labels() == [None, "x", None]
    assert table.splits() == ["train", "train", "test"]
    assert table.places() == ["at/b", "at/a", "at/t"]
    assert table.table(["price"]).column("price").to_pylist() == [None, 5, None]
    check_features(store, ref, source)
    manifest = store.manifest(ref)
    assert manifest.facts["location"] == "/things"
    assert manifest.facts["skipped"] == 3
    assert manifest.facts["rows"] == 3
    assert manifest.inputs["source"] == table.facts["source"]
    assert ingest(store, source) == ref


def test_an_unchanged_source_returns_the_rows_before_and_decodes_nothing(store: Store) -> None:
    first = ingest(store, Fake(things("a", "b", "c")))
    again = Fake(things("a", "b", "c"))
    assert ingest(store, again, previous=first) == first
    assert again.decoded == []
    turned = Fake(things("c", "a", "b"))
    assert ingest(store, turned, previous=first) == first  # the digest is over the sorted keys
    assert turned.decoded == []
    assert [path.name for path in (store.root / "rows").iterdir()] == [first.digest]


def test_an_id_is_never_given_twice(store: Store) -> None:
    first = ingest(store, Fake(things("a", "b", "c", "d")))
    second = ingest(store, Fake(things("0", "a", "c", "d", "e")), previous=first)
    assert ids(store, second) == {"a": 0, "c": 2, "d": 3, "0": 4, "e": 5}
    third_source = Fake(things("a", "b", "c", "d"))
    third = ingest(store, third_source, previous=second)
    assert ids(store, third) == {"a": 0, "c": 2, "d": 3, "b": 6}  # b is a new item, and 1 was given before
    assert third != first
    assert third_source.decoded == ["b"]
    gone = ingest(store, Fake(things("a")), previous=third)
    assert ids(store, gone) == {"a": 0}
    assert ids(store, ingest(store, Fake(things("a", "z")), previous=gone))["z"] == 7
    check_features(store, third, third_source)


def test_renames_copies_and_changes(store: Store) -> None:
    first = ingest(store, Fake(things("a", "b", "c")))
    source = Fake({"a": b"a", "b2": b"b", "c": b"changed", "copy": b"a"})
    second = ingest(store, source, previous=first)
    assert ids(store, second) == {"a": 0, "b2": 3, "c": 2, "copy": 4}
    assert source.decoded == ["c"]
    check_features(store, second, source)
    assert rows(store, second).facts["distinct"] == 3
    facts = store.manifest(second).facts
    assert (facts["new"], facts["changed"], facts["vanished"]) == (2, 1, 1)


@pytest.mark.parametrize(
    "change",
    [
        {"labels": {"c": "x"}},
        {"extra": {"b": 9}},
        {"things": things("a", "b", "c", "d")},
        {"things": things("a", "b")},
        {"things": things("b", "c")},
        {"option": 1},
    ],
)
def test_every_change_makes_new_rows(store: Store, change: dict[str, Any]) -> None:
    source = Fake(things("a", "b", "c"))
    first = ingest(store, source)
    changed = replace(source, decoded=[], **change)
    second = ingest(store, changed, previous=first)
    assert second != first
    table = rows(store, second)
    assert table.keys() == list(changed.things)
    assert ids(store, second) == {key: ord(key) - ord("a") for key in changed.things}
    assert [record.label for record in table.records()] == [changed.labels.get(key) for key in changed.things]
    assert [record.columns["price"] for record in table.records()] == [changed.extra.get(k) for k in changed.things]
    check_features(store, second, changed)
    expected = list(changed.things) if changed.option else sorted(changed.things.keys() - source.things.keys())
    assert sorted(changed.decoded) == expected


def test_the_location_is_not_part_of_the_digest(store: Store) -> None:
    first = ingest(store, Fake(things("a", "b")))
    elsewhere = Fake(things("a", "b"), location=Path("/elsewhere"))
    assert ingest(store, elsewhere, previous=first) == first


@pytest.mark.parametrize("quick", [0.0, 1e-4, 10.0])
def test_order_does_not_depend_on_the_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: float) -> None:
    monkeypatch.setattr(loader, "_QUICK", quick)
    monkeypatch.setattr(loader, "_TRIED", 5)
    everything = {f"{number:04d}": bytes([number % 251, number // 251]) for number in range(700)}
    refs = [ingest(Store(tmp_path / str(n)), Fake(everything, workers=n)) for n in (1, 2, 7)]
    assert len(set(refs)) == 1
    outputs = [Store(tmp_path / str(n)).manifest(refs[0]).outputs for n in (1, 2, 7)]
    assert outputs[0] == outputs[1] == outputs[2]
    assert rows(Store(tmp_path / "7"), refs[0]).keys() == list(everything)


def test_only_a_window_of_items_is_under_way(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "_CHUNK", 4)
    monkeypatch.setattr(loader, "_QUICK", 0.0)
    source = Fake({f"{number:04d}": b"x" for number in range(400)}, workers=2)
    outstanding, lock, most = 0, threading.Lock(), 0
    taken = 0
    for outcome in loader.read_all(source):
        taken += 1
        with lock:
            outstanding = source.given - taken
            most = max(most, outstanding)
        with pytest.raises(ItemError):  # the bytes are no longer held
            outcome.item.read()
    assert taken == 400
    assert 4 <= most <= 4 * 2 * 3


def test_quick_items_are_read_in_the_calling_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = set()

    def row(_: bytes, __: str) -> NDArray[np.generic]:
        seen.add(threading.current_thread())
        return np.zeros(SHAPE, np.uint8)

    monkeypatch.setattr(loader, "_QUICK", 10.0)
    assert len(list(loader.read_all(Fake(things(*"abcdefgh")), row=row))) == 8
    assert seen == {threading.current_thread()}


def test_bad_items_are_listed_and_the_run_goes_on(store: Store) -> None:
    source = Fake({"a": b"a", "b": b"bad: cut", "c": b"c", "a'": b"again"}, max_bad_share=0.5)
    ref = ingest(store, source)
    table = rows(store, ref)
    assert table.keys() == ["a", "c"]
    assert table.ids().tolist() == [0, 1]
    assert [(bad.key, bad.place, bad.reason) for bad in table.quarantine()] == [
        ("b", "at/b", "bad: cut"),
        ("a", "at/a'", "duplicate key"),
    ]
    assert table.facts["quarantined"] == 2
    assert "a'" not in source.decoded
    assert source.decoded.count("a") == 1
    mended = Fake({**source.things, "b": b"good", "a'": b"again"}, max_bad_share=0.5)
    assert ids(store, ingest(store, mended, previous=ref)) == {"a": 0, "b": 2, "c": 1}


def test_too_many_bad_items_fail_with_the_reasons_and_a_list_that_stays(store: Store) -> None:
    bad = {f"{number}": b"bad: cut" for number in range(5)} | {"x": b"bad: odd", "y": b"bad: odd", "z": b"bad: no"}
    source = Fake({**things("a", "b"), **bad}, max_bad_share=0.5)
    with pytest.raises(SourceError) as caught:
        ingest(store, source)
    path = store.root / "quarantine-things.parquet"
    text = str(caught.value)
    assert text.startswith("/things: 8 of 10 items (80.0%) are unreadable, and max_bad_share allows 50.0%: ")
    assert "5 x bad: cut (0); 2 x bad: odd (x); 1 x bad: no (z)" in text
    assert str(path) in text
    assert [(one["what"], one["key"] or one["place"]) for one in read_quarantine(path)] == [
        *(("unreadable", key) for key in "01234xyz"),
        *(("passed over", place) for place in "abc"),
    ]
    assert list((store.root / "rows").iterdir()) == []
    ingest(store, Fake(things("a"), passed_over=PassedOver()))
    assert not path.exists()


def test_too_many_vanished_items_fail_unless_the_source_is_another(store: Store) -> None:
    first = ingest(store, Fake(things(*"abcd")))
    with pytest.raises(SourceError, match=r"/things: 3 of the 4 items .* allows 50.0%. Is the disk mounted\?"):
        ingest(store, Fake(things("a"), max_vanished_share=0.5), previous=first)
    assert ids(store, ingest(store, Fake(things("a", "b"), max_vanished_share=0.5), previous=first)) == {"a": 0, "b": 1}
    assert ids(store, ingest(store, Fake(things("a")), previous=first)) == {"a": 0}
    elsewhere = Fake(things("a"), max_vanished_share=0.5, location=Path("/elsewhere"))
    assert ids(store, ingest(store, elsewhere, previous=first)) == {"a": 0}


def test_only_unreadable_items_fail_under_any_limit(store: Store) -> None:
    with pytest.raises(SourceError, match="1 of 1 items"):
        ingest(store, Fake({"a": b"bad"}, max_bad_share=1.0))


def test_a_source_without_training_rows_is_refused(store: Store) -> None:
    with pytest.raises(SourceError, match=r"no item is in the split 'train'; there are: 'test' \(2\)"):
        ingest(store, Fake(things("t1", "t2")))


def test_a_new_unreadable_item_leaves_unchanged_rows_and_is_listed(store: Store) -> None:
    first = ingest(store, Fake(things("a", "b")))
    source = Fake({**things("a", "b"), "c": b"bad"}, max_bad_share=0.5)
    assert reading.facts_of(store, "things", first)["unreadable"] == []
    source.passed_over.add("d", "hidden")
    assert ingest(store, source, previous=first) == first
    listed = read_quarantine(store.root / "quarantine-things.parquet")
    assert [one["key"] for one in listed if one["what"] == "unreadable"] == ["c"]
    assert [one["place"] for one in listed if one["what"] == "passed over"] == ["a", "b", "c", "d"]
    read = reading.facts_of(store, "things", first)
    assert [(fact["reason"], fact["count"], fact["first"]) for fact in read["unreadable"]] == [("bad", 1, ["c"])]
    assert [(fact["reason"], fact["count"]) for fact in read["passed_over"]] == [("other", 3), ("hidden", 1)]
    assert read["list"] == str(store.root / "quarantine-things.parquet")


def test_the_facts_of_reading_are_those_of_the_rows_that_are_asked_for(store: Store) -> None:
    first = ingest(store, Fake(things("a"), notes=["the delimiter is ;"], left_out={"id": "row numbers"}))
    ingest(store, Fake(things("a", "b"), passed_over=PassedOver()), previous=first)
    read = reading.facts_of(store, "things", first)
    assert (read["skipped"], read["notes"], read["left_out"]) == (3, ["the delimiter is ;"], {"id": "row numbers"})
    assert read["list"] == str(store.path(first) / "quarantine.parquet")
    assert reading.facts_of(store, "other", Ref("rows", "0" * 64)) == {}


def test_a_failure_in_the_middle_leaves_nothing(store: Store) -> None:
    class Broken(Fake):
        def items(self) -> Iterator[Item]:
            yield from super().items()
            raise SourceError("the archive is cut off")

    with pytest.raises(SourceError, match="cut off"):
        ingest(store, Broken(things(*"abcdefgh")))
    assert list((store.root / "rows").iterdir()) == []


def test_progress_is_reported(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    # Prefect may have taken these records for itself, so they are read where they are written.
    records = list[logging.LogRecord]()
    monkeypatch.setattr(logger, "handle", records.append)
    monkeypatch.setattr(logger, "level", logging.INFO)
    monkeypatch.setattr(logger, "_cache", {})
    ingest(store, Fake({f"{number}": b"x" for number in range(2500)}))
    steps = [step for record in records if (step := Progress.of(record))]
    assert [(step.stage, step.done, step.total) for step in steps] == [
        ("ingest", 1000, 2500),
        ("ingest", 2000, 2500),
        ("ingest", 2500, 2500),
    ]


def photos(folder: Path, number: int) -> None:
    for shade in range(number):
        path = folder / f"{shade % 3}" / f"{shade}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 7), (shade, 0, 255 - shade)).save(path)


def images(folder: Path, size: int = 4, **options: Any) -> Source:
    table = {
        "name": "photos",
        "source": {"kind": "images", "path": str(folder), "label": "parent", **options},
        "features": {"size": [size, size]},
        "layers": [{"net": "dense"}],
    }
    return resolve(recipes.parse(table, folder / "r.toml"))


def test_images_from_end_to_end(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "photos"
    photos(folder, 40)
    (folder / "0" / "notes.txt").write_text("not one of them")
    (folder / "0" / "text.jpg").write_text("not one of them either")
    (folder / "1" / "empty.png").write_bytes(b"")
    first = ingest(store, images(folder, split={"test": 0.2}, max_bad_share=0.1))
    table = rows(store, first)
    assert {bad.key: bad.reason for bad in table.quarantine()} == {
        "0/text.jpg": "not an image",
        "1/empty.png": "empty file",
    }
    assert store.manifest(first).facts["skipped"] == 1
    assert set(table.splits()) == {"train", "test"}
    names = [row.key.split("/") for row in table.records()]
    assert table.labels() == [folder for folder, _ in names]
    expected = [[int(name.removesuffix(".png")), 0] for _, name in names]
    np.testing.assert_array_equal(table.features()[:, 0, 0, :2], expected)

    calls: list[str] = []
    plain = decode.decode

    def counted(data: bytes, **options: Any) -> NDArray[np.uint8]:
        calls.append(options["key"])
        return plain(data, **options)

    monkeypatch.setattr(decode, "decode", counted)
    (folder / "0" / "text.jpg").unlink()
    (folder / "1" / "empty.png").unlink()
    assert ingest(store, images(folder, split={"test": 0.2}), previous=first) == first
    assert calls == []
    (folder / "2" / "2.png").rename(folder / "0" / "moved.png")
    with io.BytesIO() as stream:
        Image.new("L", (5, 5)).save(stream, "GIF")
        (folder / "new.gif").write_bytes(stream.getvalue())
    second = ingest(store, images(folder, split={"test": 0.2}), previous=first)
    assert calls == ["new.gif"]
    old, new = ids(store, first), ids(store, second)
    assert {key: new[key] for key in new.keys() & old.keys()} == {key: old[key] for key in new.keys() & old.keys()}
    assert sorted(new[key] for key in new.keys() - old.keys()) == [40, 41]
    assert rows(store, second).splits()[0] in {"train", "test"}


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys of all items that have been read; files may be as old as they are."""
    found, whole = list[str](), Item.read

    def reading_it(item: Item) -> bytes:
        found.append(item.key)
        return whole(item)

    monkeypatch.setattr(Item, "read", reading_it)
    monkeypatch.setattr(listing, "FRESH", -60.0)
    return found


def test_files_that_stay_are_not_read_again(store: Store, tmp_path: Path, read: list[str]) -> None:
    folder = tmp_path / "photos"
    for number in range(40):
        write_picture(folder / "train" / f"{number:02d}.png", number)
    source = images(tmp_path / "photos")
    first = ingest(store, source)
    assert len(read) == 40
    read.clear()
    assert ingest(store, source, previous=first) == first
    assert read == []

    (folder / "train" / "07.png").touch()
    assert ingest(store, source, previous=first) == first
    assert read == ["train/07.png"], "it has other times, and the same bytes"
    read.clear()
    assert ingest(store, source, previous=first) == first
    assert read == [], "and those are known then"

    size = (folder / "train" / "03.png").stat()
    changed = write_picture(folder / "train" / "03.png", 99)
    os.utime(changed, ns=(size.st_atime_ns, size.st_mtime_ns))
    (folder / "train" / "05.png").unlink()
    write_picture(folder / "train" / "a.png", 5)
    second = ingest(store, source, previous=first)
    assert read == ["train/03.png", "train/a.png"]
    (store.root / layout.Root.stamps(source.name)).unlink()
    assert ingest(store, source, previous=first) == second, "as if all were read"
    assert len(read) == 42


def test_files_that_may_still_change_are_read_again(
    store: Store, tmp_path: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_picture(tmp_path / "photos" / "train" / "0.png", 0)
    source = images(tmp_path / "photos")
    monkeypatch.setattr(listing, "FRESH", 1e9)
    first = ingest(store, source)
    assert ingest(store, source, previous=first) == first
    assert len(read) == 2


def test_what_decides_features_differently_is_read_again(store: Store, tmp_path: Path, read: list[str]) -> None:
    write_picture(tmp_path / "photos" / "train" / "0.png", 0)
    first = ingest(store, images(tmp_path / "photos"))
    second = ingest(store, images(tmp_path / "photos", 5), previous=first)
    assert len(read) == 2
    assert rows(store, second).shape[:2] == (5, 5)


def write_picture(file: Path, number: int) -> Path:
    """Write a picture without compression, so that all have one size."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(number).integers(0, 256, (4, 4), dtype=np.uint8)).save(file, compress_level=0)
    return file
