"""The map of codes: dots in the colours of their classes, in scale, with pictures that do not overlap."""

from __future__ import annotations

import numpy as np
from PIL import Image

from aepipe.report.plane import COLOURS, LEGEND, SIDE, _placed, plane_picture

POINTS = np.random.default_rng(0).standard_normal((500, 2)) * [4, 1]


def test_the_legend_names_the_classes_that_there_are() -> None:
    bare = plane_picture(POINTS, [None] * 500)
    named = plane_picture(POINTS, ["a", "b"] * 250)
    assert named.width - bare.width == 2 * LEGEND
    pixels = set(map(tuple, np.asarray(named).reshape(-1, 3).tolist()))
    for colour in COLOURS[:2]:
        assert tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5)) in pixels


def test_only_the_most_frequent_classes_get_a_colour() -> None:
    labels = [str(i % 30) for i in range(500)]
    assert plane_picture(POINTS, labels).width == plane_picture(POINTS, ["a"] * 500).width


def test_both_axes_have_one_scale_and_the_longer_lies_down() -> None:
    for points in (POINTS, POINTS[:, ::-1]):
        placed, height = _placed(points)
        at = np.array(placed)
        assert height < SIDE / 2
        assert ((at >= 0) & (at <= [SIDE, height])).all()
        wanted = np.ptp(np.quantile(POINTS, [0.1, 0.9], axis=0), axis=0)
        found = np.ptp(np.quantile(at, [0.1, 0.9], axis=0), axis=0)
        np.testing.assert_allclose(found / found[0], wanted / wanted[0], rtol=1e-6)


def test_one_point_and_equal_points_are_drawn() -> None:
    plane_picture(np.zeros((1, 2)), ["a"])
    plane_picture(np.ones((7, 2)), [None] * 7)


def test_pictures_do_not_cover_each_other() -> None:
    red = Image.new("RGB", (28, 28), "#ff0000")
    one = np.asarray(plane_picture(np.zeros((2, 2)), [None, None], tiles={0: red}))
    two = np.asarray(plane_picture(np.zeros((2, 2)), [None, None], tiles={0: red, 1: red}))
    assert (one == [255, 0, 0]).all(2).sum() > 0
    np.testing.assert_array_equal(one, two)
