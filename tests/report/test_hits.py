"""The contact sheet: its size, its marks, and pictures shown as they are."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from aepipe.report import canvas as ink
from aepipe.report.tiles import COLUMNS, Found, Tile, hits_picture, strip_picture

ORANGE, INK = (0xC2, 0x57, 0x0C), (0x1F, 0x23, 0x28)


def _has(picture: Image.Image, colour: tuple[int, int, int]) -> bool:
    return bool((np.asarray(picture) == colour).all(axis=2).any())


def _grey(value: int = 90, size: tuple[int, int] = (28, 28)) -> Image.Image:
    return Image.new("L", size, value)


def test_a_row_for_each_query_and_a_column_for_each_hit() -> None:
    query, hit = Tile("q", _grey()), Tile("h", _grey(), distance=1)
    one = hits_picture([Found(query, [hit])])
    assert hits_picture([Found(query, [hit] * 3)]).width > one.width
    assert hits_picture([Found(query, [hit])] * 2).height > one.height
    many = hits_picture([Found(query, [hit] * (COLUMNS + 1))])
    assert many.width == hits_picture([Found(query, [hit] * COLUMNS)]).width
    assert many.height > one.height, "more hits than columns go on below"


def test_only_hits_with_another_label_are_marked() -> None:
    def sheet(query: str, hit: str) -> Image.Image:
        return hits_picture([Found(Tile("q", _grey(), query), [Tile("h", _grey(), hit, 3)])])

    assert _has(sheet("bag", "shoe"), ORANGE)
    assert not _has(sheet("bag", "bag"), ORANGE)
    assert not _has(sheet("", "shoe"), ORANGE), "where the query's label is not known there is no other label"
    assert _has(sheet("", ""), INK), "the query is framed"


def test_what_is_not_there_is_a_grey_tile() -> None:
    sheet = hits_picture([Found(Tile("q", _grey()), [Tile("gone/away.jpg", None, "", 2)]), Found(Tile("r"), [])])
    assert _has(sheet, (0xF1, 0xF2, 0xF4))


def test_small_pictures_stay_sharp_and_large_ones_fit() -> None:
    checks = Image.fromarray((np.indices((28, 28)).sum(0) % 2 * 255).astype(np.uint8))
    tile = np.asarray(ink.fit(checks, 112))
    assert tile.shape == (224, 224, 3)
    assert set(np.unique(tile)) == {0, 255}, "nearest neighbour makes no grey between"
    photo = np.asarray(ink.fit(_grey(90, (400, 200)), 112))
    assert (photo[112] == 90).all(), "a photo fills the width"
    assert (photo[4] != 90).all(), "and keeps its shape"


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_every_mode_is_drawn(mode: str) -> None:
    hits_picture([Found(Tile("q", Image.new(mode, (9, 5))), [])])


@pytest.mark.parametrize("key", ["", "a\nb\x1b[31m", "\udcff.png", "日本/鞄.png", "x" * 999])
def test_any_key_can_be_written(key: str) -> None:
    hits_picture([Found(Tile(key), [Tile(key, None, key, 65535)])], title=key)


def test_long_text_is_cut_in_its_middle_to_the_width() -> None:
    text = "some/deep/folder/with/names/photo_0001.jpg"
    short = ink.cut(text, 10, 100)
    assert ink.font(10).getlength(short) <= 100 * ink.SCALE
    assert short.startswith("some")
    assert short.endswith("photo_0001.jpg"[-8:])
    assert ink.cut("short", 10, 100) == "short"
    assert ink.cut("text", 10, 0) == ""


def test_a_strip_is_tiles_in_one_line() -> None:
    one, two = strip_picture([Tile("q", _grey())]), strip_picture([Tile("q", _grey()), Tile("h")])
    assert two.size == (2 * one.width, one.height)
