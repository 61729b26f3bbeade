"""Vector fields: arrows that start where they should, point where they should, and have one scale."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.quality.score_field import CAPTION, GAP, MARGIN, SIDE, _pitch, _scaled, field_picture

LINE = np.linspace(-1.0, 1.0, 5)
GRID = np.stack(np.meshgrid(LINE, LINE), 2).reshape(-1, 2)


def blue(picture: object) -> np.ndarray:
    """Return rows and columns of what is drawn in blue."""
    pixels = np.asarray(picture).astype(int)
    return np.argwhere(pixels[:, :, 2] - pixels[:, :, 0] > 80)


def test_a_panel_for_each_field() -> None:
    one = field_picture(GRID, {"a": GRID})
    two = field_picture(GRID, {"a": GRID, "b": -GRID}, title="both")
    assert two.width - one.width == 2 * (SIDE + GAP)
    assert two.height > one.height


@pytest.mark.parametrize(("way", "rows", "columns"), [((1, 0), 0, 1), ((0, 1), -1, 0), ((-1, 0), 0, -1)])
def test_an_arrow_goes_from_its_point_where_it_points(way: tuple[int, int], rows: int, columns: int) -> None:
    panel = field_picture(np.zeros((1, 2)), {"": np.array([way], np.float32)})
    marks = blue(panel)
    start = 2 * np.array([MARGIN + CAPTION + SIDE / 2, MARGIN + SIDE / 2])
    away = marks.mean(0) - start
    assert np.sign(np.round(away / 20)).tolist() == [rows, columns]
    assert np.abs(marks - start).min(0).max() <= 2, "it starts at the point"


def test_lengths_have_one_scale_over_all_panels_and_are_cut() -> None:
    fields = {"a": np.tile([[1.0, 0.0]], (95, 1)), "b": np.concatenate([[[0.0, 50.0]], np.tile([[0.0, 2.0]], (94, 1))])}
    found = _scaled(fields, 10.0)
    assert found["a"][5] == pytest.approx([4.5, 0])
    assert found["b"][5] == pytest.approx([0, -9])
    assert found["b"][0] == pytest.approx([0, -9]), "what is longer is cut"


def test_samples_lie_below_and_stay_inside() -> None:
    outside = np.array([[0.3, 0.3], [99.0, 0.0], [-99.0, -99.0]])
    bare, dotted = field_picture(GRID, {"": GRID}), field_picture(GRID, {"": GRID}, samples=outside)
    changed = np.argwhere((np.asarray(bare) != np.asarray(dotted)).any(2))
    assert 0 < len(changed) < 50, "one small dot"


@pytest.mark.parametrize("at", [GRID[:1], np.zeros((3, 2)), GRID])
def test_fields_that_stand_still_are_drawn(at: np.ndarray) -> None:
    assert len(blue(field_picture(at, {"": np.zeros_like(at)}))) > 0
    assert _pitch(GRID) == pytest.approx(0.5)
