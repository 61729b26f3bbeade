"""Pages of documents and frames of animations as items of their own."""

from __future__ import annotations

import hashlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aepipe.errors import ItemError, RecipeError
from aepipe.recipe import parse
from aepipe.sources import preview, query_items, resolve
from aepipe.sources.images import pages
from aepipe.sources.item import Source

SHADES = (10, 120, 230)


def write(file: Path, kind: str, shades: tuple[int, ...] = SHADES, **options: Any) -> None:
    frames = [Image.new("RGB", (40, 30), (shade, shade, 0)) for shade in shades]
    file.parent.mkdir(parents=True, exist_ok=True)
    frames[0].save(file, kind, save_all=True, append_images=frames[1:], **options)


def source_of(folder: Path, **options: Any) -> Source:
    table = {"name": "a", "source": {"kind": "images", "path": str(folder), **options}, "layers": [{"net": "dense"}]}
    return resolve(parse({**table, "features": {"size": [4, 4]}}, folder / "a.toml"))


def shades(source: Source) -> dict[str, int]:
    return {item.key: int(source.row(item.read(), item.key)[0, 0, 0]) for item in source.items()}


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("TIFF", {}),
        ("TIFF", {"big_tiff": True}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("GIF", {}),
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
        ("AVIF", {"quality": 95}),
    ],
)
def test_each_page_is_an_item(kind: str, options: dict[str, Any], tmp_path: Path) -> None:
    write(tmp_path / "in" / "many.x", kind, **options)
    write(tmp_path / "in" / "one.png", "PNG", (60,))
    source = source_of(tmp_path / "in", pages="all")
    found = shades(source)
    assert list(found) == ["many.x@1", "many.x@2", "many.x@3", "one.png"]
    np.testing.assert_allclose(list(found.values()), [*SHADES, 60], atol=3)
    assert len({item.read() for item in source.items()}) == 4
    for item in source.items():
        assert preview(source.location, item.place) == item.read()
    assert [item.place for item in source.items()][:2] == ["many.x#i1", "many.x#i2"]
    np.testing.assert_allclose([*shades(source_of(tmp_path / "in")).values()], [SHADES[0], 60], atol=3)


def test_a_query_may_name_a_page(tmp_path: Path) -> None:
    write(tmp_path / "scan.tif", "TIFF")
    source = source_of(tmp_path)
    (item,) = query_items("images", f"{tmp_path / 'scan.tif'}@2")
    assert int(source.row(item.read(), item.key)[0, 0, 0]) == SHADES[1]
    (item,) = query_items("images", f"{tmp_path / 'scan.tif'}@9")
    with pytest.raises(ItemError, match="no page 9 in it"):
        item.read()


@pytest.mark.parametrize("kind", ["TIFF", "GIF"])
def test_pages_of_a_file_are_in_one_split(kind: str, tmp_path: Path) -> None:
    for number in range(16):
        write(tmp_path / f"{number}.x", kind, (number, 90 + number, 200 + number))
    source = source_of(tmp_path, pages="all", split={"test": 0.4})
    found: dict[str, set[str]] = {}
    for item in source.items():
        split = source.split(item, hashlib.sha256(item.read()).digest())
        found.setdefault(item.key.partition("@")[0], set()).add(split)
    assert {len(splits) for splits in found.values()} == {1}
    assert set.union(*found.values()) == {"train", "test"}


def test_pages_keep_their_depth(tmp_path: Path) -> None:
    deep = [Image.fromarray(np.full((4, 4), value, "<u2")) for value in (5000, 60_000)]
    deep[0].save(tmp_path / "deep.tif", save_all=True, append_images=deep[1:])
    assert list(shades(source_of(tmp_path, pages="all")).values()) == [round(5000 / 8191 * 255), round(60_000 / 257)]


def test_small_copies_are_no_pages(tmp_path: Path) -> None:
    frames = [Image.new("L", (40, 30), shade) for shade in SHADES]
    for frame, copy in zip(frames, (0, 1, 0), strict=True):
        frame.encoderinfo = {"tiffinfo": {254: copy}}
    frames[0].save(tmp_path / "a.tif", save_all=True, append_images=frames[1:], tiffinfo={254: 0})
    found = shades(source_of(tmp_path, pages="all"))
    assert list(found.values()) == [SHADES[0], SHADES[2]]


def test_damage_is_told(tmp_path: Path) -> None:
    write(tmp_path / "a.gif", "GIF", tuple(range(0, 250, 10)))
    write(tmp_path / "b.tif", "TIFF")
    write(tmp_path / "good.tif", "TIFF")
    for name, part in (("a.gif", 0.5), ("b.tif", 0.3)):
        data = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(data[: int(len(data) * part)])
    items = list(source_of(tmp_path, pages="all").items())
    keys = [item.key for item in items]
    assert keys[-3:] == ["good.tif@1", "good.tif@2", "good.tif@3"]
    assert keys[:2] == ["a.gif@1", "a.gif@2"]
    assert {"a.gif", "b.tif"} <= {*keys}
    with pytest.raises(ItemError, match="damaged after page"):
        items[keys.index("a.gif")].read()


def test_too_many_pages_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "MOST", 2)
    write(tmp_path / "a.tif", "TIFF")
    write(tmp_path / "b.gif", "GIF")
    for item in source_of(tmp_path, pages="all").items():
        with pytest.raises(ItemError, match="more than 2 pages"):
            item.read()


def test_large_frames_are_made_smaller(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (2048, 512), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    first = next(iter(source_of(tmp_path, pages="all").items()))
    with Image.open(BytesIO(first.read())) as image:
        assert image.size == (1024, 256)


def test_other_words_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.tif", "TIFF")
    with pytest.raises(RecipeError, match=r"source\.pages"):
        source_of(tmp_path, pages="some")
    with pytest.raises(RecipeError, match=r"source\.max_megapixels"):
        source_of(tmp_path, max_megapixels=0)
