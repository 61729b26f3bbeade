"""Contact sheets and grids: their size, their marks, and pictures shown as they are."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from aepipe.report import canvas
from aepipe.report.tiles import (
    COLUMNS,
    Found,
    Line,
    Tile,
    as_images,
    grid_picture,
    hits_picture,
    shade,
    strip_picture,
    tiled,
)

TILES = np.linspace(0, 1, 4 * 6 * 5).reshape(4, 6, 5, 1)
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
    tile = np.asarray(canvas.fit(checks, 112))
    assert tile.shape == (224, 224, 3)
    assert set(np.unique(tile)) == {0, 255}, "nearest neighbour makes no grey between"
    photo = np.asarray(canvas.fit(_grey(90, (400, 200)), 112))
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
    short = canvas.cut(text, 10, 100)
    assert canvas.text_width(short, 10) <= 100
    assert short.startswith("some")
    assert short.endswith("photo_0001.jpg"[-8:])
    assert canvas.cut("short", 10, 100) == "short"
    assert canvas.cut("text", 10, 0) == ""


def test_a_strip_is_tiles_in_one_line() -> None:
    one, two = strip_picture([Tile("q", _grey())]), strip_picture([Tile("q", _grey()), Tile("h")])
    assert two.size == (2 * one.width, one.height)


def test_values_are_grey_and_cut_to_their_range() -> None:
    tile = np.array([[[-1.0], [0.5], [2.0]]])
    assert np.asarray(shade(tile, "values")).tolist() == [[0, 128, 255]]
    assert shade(np.zeros((2, 2, 3)), "values").mode == "RGB"


def test_signed_values_are_white_at_zero_blue_above_and_orange_below() -> None:
    red, green, blue = np.moveaxis(np.asarray(shade(np.array([[[-2.0], [0.0], [1.0]]]), "signed")).astype(int), 2, 0)
    assert (red[0, 0], green[0, 0], blue[0, 0]) == (0xC2, 0x57, 0x0C)
    assert (red[0, 1], green[0, 1], blue[0, 1]) == (255, 255, 255)
    assert blue[0, 2] > red[0, 2], "half as strong as the strongest, and blue"
    assert (np.asarray(shade(np.zeros((2, 2, 1)), "signed")) == 255).all()


def test_missing_cells_are_drawn_as_zero() -> None:
    assert np.asarray(shade(np.array([[[np.nan], [1.0]]]), "values")).tolist() == [[0, 255]]


def test_a_sheet_grows_with_tiles_lines_names_and_title() -> None:
    plain = grid_picture([Line("", TILES)])
    assert grid_picture([Line("", TILES[:2])]).width < plain.width
    assert grid_picture([Line("", TILES)] * 2).height > plain.height
    assert grid_picture([Line("reconstruction", TILES)]).width > plain.width
    assert grid_picture([Line("", TILES)], title="a").height > plain.height
    assert grid_picture([Line("", TILES)], heads=list("abcd")).height > plain.height
    assert grid_picture([Line("", TILES[:1])], title="a title that is wider than one tile").width > 250


@pytest.mark.parametrize(("count", "lines"), [(1, 1), (5, 1), (6, 2), (11, 3)])
def test_many_tiles_break_into_lines(count: int, lines: int) -> None:
    found = tiled(np.zeros((count, 2, 2, 1)), 5)
    assert len(found) == lines
    assert sum(len(line.tiles) for line in found) == count


def test_rows_that_are_no_images_become_strips() -> None:
    assert as_images(np.zeros((3, 8, 8, 3))).shape == (3, 8, 8, 3)
    assert as_images(np.zeros((3, 7))).shape == (3, 1, 7, 1)
    assert as_images(np.zeros((3, 4, 4, 16))).shape == (3, 1, 256, 1)
