"""Identical originals and edited copies: found, named, and told from pictures that are merely alike."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

from aepipe.errors import QueryError
from aepipe.log import Progress
from aepipe.pipeline.ingest import ingest
from aepipe.release import alignment, copies, dedup
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
