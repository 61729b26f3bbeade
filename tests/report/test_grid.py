"""Grids of tiles: values as shades of grey, signed values in two colours, columns aligned under their heads."""

from __future__ import annotations

import numpy as np
import pytest

from aepipe.report.grid import Line, as_images, grid_picture, shade, tiled

TILES = np.linspace(0, 1, 4 * 6 * 5).reshape(4, 6, 5, 1)


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
