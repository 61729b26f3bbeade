"""Identical originals and edited copies: found, named, and told from pictures that are merely alike."""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

from aepipe.errors import ItemError, QueryError
from aepipe.log import Progress
from aepipe.pipeline.ingest import ingest
from aepipe.release import alignment, copies, dedup, twins
from aepipe.release.alignment import Floats
from aepipe.release.groups import COPY, FIRST, IDENTICAL
from aepipe.release.made_copies import made
from aepipe.release.release import Release
from aepipe.store.artifacts import Store
from tests.support.releases import bare_plan, pictures_of, publish_rows, put_encoder


def drawn(seed: int, side: int = 160) -> Image.Image:
    """Return a picture with shapes at all scales, as photographs have them."""
    rng = np.random.default_rng(seed)
    picture = Image.new("RGB", (side, side), tuple(rng.integers(0, 256, 3).tolist()))
    pen = ImageDraw.Draw(picture)
    for size in (80, 80, 60, 50, 40, 40, 30, 30, 30, 20, 20, 20, 20, 16, 16, 16, 16):
        x, y = rng.integers(-size // 2, side - size // 2, 2).tolist()
        shape = (pen.ellipse, pen.rectangle)[int(rng.integers(2))]
        shape((x, y, x + size, y + size * rng.uniform(0.5, 1.5)), fill=tuple(rng.integers(0, 256, 3).tolist()))
    return picture


def captioned(picture: Image.Image) -> Image.Image:
    found = picture.copy()
    ImageDraw.Draw(found).rectangle((0, 136, 160, 160), fill=(255, 255, 255))
    return found


EDITS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "cropped": lambda picture: picture.crop((20, 10, 140, 130)),
    "turned": lambda picture: picture.rotate(8, Image.Resampling.BICUBIC),
    "mirrored": ImageOps.mirror,
    "captioned": captioned,
    "brighter": lambda picture: ImageEnhance.Brightness(picture).enhance(1.4),
    "smaller": lambda picture: picture.resize((60, 60)),
}


def small(*pictures: Image.Image) -> Floats:
    size = (alignment.SIDE, alignment.SIDE)
    rows = [np.asarray(one.convert("L").resize(size, Image.Resampling.BILINEAR)) for one in pictures]
    return np.stack(rows).astype(np.float32) / np.float32(255)


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    store = Store(tmp_path_factory.mktemp("twins") / "store")
    folder = pictures_of(store) / "train" / "all"
    folder.mkdir(parents=True)
    for seed in range(20):
        drawn(seed).save(folder / f"{seed:02}.png")
    for place, (name, edit) in enumerate(EDITS.items()):
        edit(drawn(place)).save(folder / f"copy-{name}.jpg", quality=85)
    (folder / "twin.png").write_bytes((folder / "10.png").read_bytes())
    drawn(11).save(folder / "pixels.bmp")
    plan = bare_plan(store)
    rows = ingest(store, plan.source)
    return Release.open(store, ref=publish_rows(store, plan, rows, put_encoder(store, plan)))


def named(release: Release, ids: NDArray[np.int64]) -> list[str]:
    return [Path(row.key).name for row in release.describe(ids)]


@pytest.mark.parametrize("name", EDITS)
def test_details_of_an_edited_picture_agree_with_its_own_and_no_other(name: str) -> None:
    known = small(*(drawn(seed) for seed in range(8)))
    copy = np.repeat(small(EDITS[name](drawn(3))), len(known), 0)
    pairs = np.stack([np.arange(len(known))] * 2, 1)
    agreed = copies.agreements(copy, known, pairs, alignment.guesses())
    assert agreed.argmax() == 3
    assert agreed[3] > 0.9
    assert np.delete(agreed, 3).max() < 0.8


def test_a_wide_band_of_words_does_not_lead_astray() -> None:
    places = range(12)
    known = small(*(drawn(seed) for seed in places))
    lines = [drawn(seed) for seed in places]
    for picture in lines:
        pen = ImageDraw.Draw(picture)
        pen.rectangle((0, 124, 160, 160), fill=(0, 0, 0))
        pen.text((4, 128), "one does not simply", fill=(255, 255, 255), font_size=25)
    agreed = copies.agreements(small(*lines), known, np.stack([places] * 2, 1), alignment.guesses())
    assert agreed.min() > 0.9


def test_a_copy_that_lost_its_details_is_as_sure_as_one_with_them() -> None:
    light = np.add.outer(np.arange(64), 2 * np.arange(64)).astype(np.float32) / np.float32(189)
    known = ((small(*(drawn(seed) for seed in range(6))) + 3 * light) / 4).astype(np.float32)
    blurred = alignment.softened(known, 9)
    slopes = alignment.slopes(known) != alignment.slopes(blurred)
    assert slopes.shape == (6, 112)
    assert slopes.sum(1).max() <= copies.TURNED
    others = alignment.slopes(known[:1]) != alignment.slopes(known[1:])
    assert others.sum(1).min() > copies.TURNED
    agreed = copies.agreements(blurred, known, np.stack([np.arange(6)] * 2, 1), alignment.guesses())
    assert agreed.min() >= copies.MOST


def test_identical_rows_have_equal_bytes_or_pixels(release: Release) -> None:
    found = dedup.search(release, "identical")
    keys = [named(release, ids) for ids, _ in found]
    assert keys == [["10.png", "twin.png"], ["11.png", "pixels.bmp"]]
    assert [found.relations_of(place) for place in range(2)] == [[FIRST, IDENTICAL]] * 2


def check_progress(caplog: pytest.LogCaptureFixture) -> None:
    """Check that each stage has told its progress from 0 to the end."""
    told: dict[str, list[tuple[int, int | None]]] = {}
    for record in caplog.records:
        if (step := Progress.of(record)) is not None:
            told.setdefault(step.stage, []).append((step.done, step.total))
    assert told["looking at originals"] == [(0, 28), (28, 28)]
    steps = told["comparing pictures"]
    assert steps[0][0] == 0
    assert steps[-1][0] == steps[-1][1]
    assert all(total is not None and 0 <= done <= total for done, total in steps)


def test_edited_copies_are_found_and_nothing_else(release: Release, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="aepipe.progress"):
        found = dedup.search(release)
    check_progress(caplog)
    said = {
        name: (names[0], relation)
        for place, names in enumerate(named(release, ids) for ids, _ in found)
        for name, relation in zip(names[1:], found.relations_of(place)[1:], strict=True)
    }
    expected = {f"copy-{name}.jpg": (f"{place:02}.png", COPY) for place, name in enumerate(EDITS)}
    assert said == expected | {"twin.png": ("10.png", IDENTICAL), "pixels.bmp": ("11.png", IDENTICAL)}
    assert "2 identical, 6 edited copies" in found.summary()
    assert "of copies made on purpose are found" in found.summary()


def test_ways_that_do_not_fit_are_refused(release: Release) -> None:
    with pytest.raises(QueryError, match="a radius is of codes"):
        dedup.search(release, "copies", 3)
    with pytest.raises(QueryError, match="allowed: identical, copies, content"):
        dedup.search(release, "same")  # type: ignore[arg-type]
    assert dedup.search(release, radius=0).alike == "content"


def test_the_threshold_is_the_lowest_of_the_precision() -> None:
    own = np.linspace(0.7, 1, 100, dtype=np.float32)
    other = np.array([0.5, 0.86], np.float32)
    judged = copies.calibrated(own, other)
    assert judged.threshold == 0.865
    assert judged.precision == 1
    assert judged.recall == np.mean(own >= 0.865)
    assert copies.calibrated(own, other[:1]).threshold == copies.LEAST
    assert copies.calibrated(own[:0], other).precision is None


def test_made_copies_are_of_the_same_shape_and_repeat() -> None:
    pictures = small(*(drawn(seed) for seed in range(8)))
    first, second = (made(pictures, np.random.default_rng(0)) for _ in range(2))
    assert np.array_equal(first, second)
    assert first.shape == pictures.shape
    assert (first.min(), first.max()) >= (0, 0)
    assert np.abs(first - pictures).mean((1, 2)).min() > 0


def test_many_pictures_are_looked_for_as_they_are_and_mirrored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "MOST_TURNED", 0)
    pictures = np.random.default_rng(0).random((3, 64, 64)).astype(np.float32)
    found, mirrored = (copies.views_of(some, alignment.guesses()) for some in (pictures, pictures[:, :, ::-1].copy()))
    assert found.shape[1] == 2
    np.testing.assert_allclose(found[:, 1], mirrored[:, 0], atol=1e-3)
    assert not np.allclose(found[:, 0], found[:, 1], atol=1e-2)


def test_rows_join_the_first_picture_that_they_are_copies_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows 0 to 7: 1 is identical to 0, 5 to 4, and 7 is no picture; 4 is a copy of 0 and of 3, 6 of 4."""
    ids = np.array([10, 11, 12, 13, 14, 15, 16, 17])
    smalls = [np.full((2, 2), row, np.uint8) for row in range(7)]
    given: list[tuple[list[int], list[int]]] = []
    precisions: list[float | None] = []

    def find(_: object, some: Any, pictures: NDArray[np.uint8]) -> tuple[NDArray[np.int64], Floats, object]:
        given.append((some.tolist(), pictures[:, 0, 0].tolist()))
        # Places among the first of each group: rows 0, 2, 3, 4, 6.
        pairs, agreed = np.array([[0, 3], [2, 3], [3, 4], [1, 2]]), np.array([0.931, 0.99, 0.9, 0.9999], np.float32)
        return pairs, agreed, copies.Calibration(0.873, 0.456, precisions[-1])

    monkeypatch.setattr(copies, "find", find)
    for precision, said in ((0.9, "46% of copies made on purpose are found"), (None, "")):
        precisions.append(precision)
        founder, distances = np.array([0, 0, 2, 3, 4, 4, 6, 7]), np.zeros(8, np.uint16)
        told = twins._join_copies(object(), ids, [*smalls, None], founder, distances)  # type: ignore[arg-type]
        assert told == (13, said)
        assert founder.tolist() == [0, 0, 2, 2, 0, 0, 6, 7]
        assert distances.tolist() == [0, 0, 0, 1, 7, 7, 0, 0]
    assert given == [([10, 12, 13, 14, 16], [0, 2, 3, 4, 6])] * 2


@pytest.mark.parametrize(("alike", "smallest"), [("identical", 2), ("identical", 1), ("copies", 2), ("copies", 3)])
def test_groups_have_their_rows_in_order_with_what_each_is(
    monkeypatch: pytest.MonkeyPatch, alike: Literal["identical", "copies"], smallest: int
) -> None:
    """Of seven originals b is gone, and c, f have the bytes of a; e is a copy of a and g of d, where copies count."""
    data = {"a": b"A", "c": b"A", "d": b"D", "e": b"E", "f": b"A", "g": b"G"}
    ids = np.array([3, 4, 6, 8, 9, 12, 20])

    def preview(_: object, place: str) -> bytes:
        if place not in data:
            raise ItemError(place, "gone")
        return data[place]

    def join(_: object, some: NDArray[np.int64], smalls: list[object], founder: Any, distances: Any) -> tuple[int, str]:
        assert some.tolist() == [3, 6, 8, 9, 12, 20]
        assert smalls == [None] * 6
        assert founder.tolist() == [0, 0, 2, 3, 0, 5]
        founder[3], founder[5], distances[3], distances[5] = 0, 2, 7, 4
        return 13, "46% are found"

    monkeypatch.setattr(twins, "preview", preview)
    monkeypatch.setattr(twins, "_join_copies", join)
    items = SimpleNamespace(ids=ids, root=Path(), texts=lambda name, _: list("abcdefg") if name == "place" else [])
    asked: Any = SimpleNamespace(items=items, recipe={"source": {"kind": "text"}})
    found = twins.twins(asked, alike, smallest)
    groups = {
        "identical": [[(3, 0, FIRST), (6, 0, IDENTICAL), (12, 0, IDENTICAL)]],
        "copies": [[(3, 0, FIRST), (6, 0, IDENTICAL), (12, 0, IDENTICAL), (9, 7, COPY)]],
    }[alike]
    groups += [[(8, 0, FIRST), (20, 4, COPY)]] if (alike, smallest) == ("copies", 2) else []
    groups += [[(8, 0, FIRST)], [(9, 0, FIRST)], [(20, 0, FIRST)]] if smallest == 1 else []
    for place, group in enumerate(groups):
        assert list(zip(*found.of(place), found.relations_of(place), strict=True)) == group
    assert len(found) == len(groups)
    assert (found.rows, found.alike) == (7, alike)
    one_gone = "1 originals could not be read"
    assert (found.radius, found.remark) == ((13, f"46% are found; {one_gone}") if alike == "copies" else (0, one_gone))


def test_of_no_original_there_is_no_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(twins, "_looked_at", lambda *_: [])
    items = SimpleNamespace(ids=np.zeros(0, np.int64), root=Path())
    nothing: Any = SimpleNamespace(items=items, recipe={"source": {"kind": "images"}})
    found = twins.twins(nothing, "copies", 2)
    assert (len(found), found.rows, found.remark, found.radius) == (0, 0, "", 0)


def test_pairs_are_compared_both_ways_block_by_block(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = (np.ones((6, 2, 2), np.float32) * np.arange(start, start + 6)[:, None, None] for start in (0, 10))
    there = [0.0, 0.5, 0.97, 0.85, 0.96, 0.7]
    back = [0.9, 0.6, 0.99, 0.3, 0.98, 0.8]
    turned = [0, 0, 0, 6, 0, 5]

    def agreed(one: Floats, other: Floats, pairs: NDArray[np.int64], maps: Floats) -> Floats:
        assert maps is given
        assert (one is first) == (other is second)
        place = 0 if one is first else 1
        assert all(pair[1 - place] == 5 - pair[place] for pair in pairs)
        return np.array([(there, back)[place][pair[place]] for pair in pairs], np.float32)

    def slopes(pictures: Floats) -> NDArray[np.bool_]:
        counts = [turned[int(one) - 10] if one >= 10 else 0 for one in pictures[:, 0, 0]]
        return np.arange(112)[None] < np.array(counts, int)[:, None]

    given, pairs = alignment.guesses(), np.array([[place, 5 - place] for place in range(6)])
    turned.reverse()  # of the second pictures, which are in the other order
    monkeypatch.setattr(copies, "BLOCK", 4)
    monkeypatch.setattr(copies, "_agreed", agreed)
    monkeypatch.setattr(alignment, "slopes", slopes)
    with caplog.at_level(logging.INFO, logger="aepipe.progress"):
        found = copies.agreements(first, second, pairs, given)
    assert found.tolist() == pytest.approx([0.0, 0.6, 0.97, 0.85, 0.98, copies.MOST])
    assert found.dtype == np.float32
    steps = [step for record in caplog.records if (step := Progress.of(record)) is not None]
    told = [("comparing pictures", done, 6) for done in (0, 4, 6)]
    assert [(step.stage, step.done, step.total) for step in steps] == told


def seen(*means: float | None) -> list[Any]:
    """Return originals of their own bytes; None is no picture."""
    return [
        twins._Seen(f"{place}.png", bytes([place]), None if mean is None else np.full((2, 2), mean))
        for place, mean in enumerate(means)
    ]


def test_only_pictures_as_bright_as_another_are_compared_by_their_pixels() -> None:
    given = seen(10, None, 10.5, 50.2, 11.125, 50, 10, None)
    firsts = np.array([0, 1, 2, 3, 4, 5, 0, 7])
    assert twins._much_alike(given, firsts) == [0, 2, 3, 5], "4 is farther than half a step, and 6 has the bytes of 0"
    assert twins._much_alike(seen(1, 2, 3), np.arange(3)) == []
    assert twins._much_alike(seen(None, None), np.arange(2)) == []
    assert twins._much_alike([], np.zeros(0, np.int64)) == []


def test_equal_bytes_and_equal_pixels_have_one_first(monkeypatch: pytest.MonkeyPatch) -> None:
    given = seen(10, 10, 10, 10, None, 90, 90)
    given[3] = twins._Seen("copy.png", given[1].digest, given[1].small)
    pixels = {"0.png": b"a", "1.png": b"b", "2.png": b"a", "5.png": b"b", "6.png": b"c"}
    asked: list[str] = []

    def of(one: Any, root: Path) -> bytes:
        assert root == Path("there")
        asked.append(one.place)
        return pixels[one.place]

    monkeypatch.setattr(twins, "_pixels", of)
    found = twins._first_equal(given, Path("there"))
    assert found.tolist() == [0, 1, 0, 1, 4, 1, 6]
    assert found.dtype == np.int64
    assert asked == ["0.png", "1.png", "2.png", "5.png", "6.png"]


@pytest.mark.parametrize("pictures", [True, False])
def test_each_original_is_read_once_and_a_missing_one_keeps_its_place(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, *, pictures: bool
) -> None:
    stream = io.BytesIO()
    Image.new("RGB", (3, 2), (90, 90, 90)).save(stream, "PNG")
    held = {"0": stream.getvalue(), "1": b"no picture", "3": b"", "4": stream.getvalue()}

    def preview(root: Path, place: str) -> bytes:
        assert root == Path("there")
        if place not in held:
            raise ItemError(place, "gone")
        return held[place]

    monkeypatch.setattr(twins, "preview", preview)
    monkeypatch.setattr(twins, "BATCH", 2)
    texts = {"place": ["0", "1", "2", "3", "4"]}
    items = SimpleNamespace(root=Path("there"), texts=lambda name, ids: texts[name][: len(ids)])
    asked: Any = SimpleNamespace(items=items)
    with caplog.at_level(logging.INFO, logger="aepipe.progress"):
        found = twins._looked_at(asked, np.arange(5), pictures)
    assert [one and one.place for one in found] == ["0", "1", None, "3", "4"]
    for one in filter(None, found):
        assert one.digest == hashlib.sha256(held[one.place]).digest()
        if pictures and one.place in "04":
            assert one.small is not None
            assert one.small.shape == (alignment.SIDE, alignment.SIDE)
            assert np.unique(one.small).tolist() == [90]
            assert twins._pixels(one, Path("there")) == hashlib.sha256(b"RGB (3, 2)" + b"Z" * 18).digest()
        else:
            assert one.small is None
            assert one.place in "04" or twins._pixels(one, Path("there")) == one.digest
    steps = [step for record in caplog.records if (step := Progress.of(record)) is not None]
    assert {step.stage for step in steps} == {"looking at originals"}
    assert [(step.done, step.total) for step in steps] == [(0, 5), (2, 5), (4, 5), (5, 5)]
