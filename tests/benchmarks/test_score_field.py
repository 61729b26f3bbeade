"""Vector fields: arrows start and point where they should, and have one scale."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.quiver import Quiver

from aepipe.report.charts import Chart
from benchmarks.quality.score_field import COLOURS, LONG, _pitch, _scaled, field_picture

LINE = np.linspace(-1.0, 1.0, 5)
GRID = np.stack(np.meshgrid(LINE, LINE), 2).reshape(-1, 2)


def blue(chart: Chart) -> np.ndarray:
    """Return rows and columns of blue pixels below the panel's name."""
    pixels = np.asarray(chart.image()).astype(int)
    found = np.argwhere(pixels[:, :, 2] - pixels[:, :, 0] > 80)
    return found[found[:, 0] > 60]


def arrows(chart: Chart, panel: int = 0) -> Any:
    (found,) = [one for one in chart.figure.axes[panel].collections if isinstance(one, Quiver)]
    return found


def dots(chart: Chart) -> np.ndarray:
    """Return where samples are drawn."""
    (found,) = [one for one in chart.figure.axes[0].collections if not isinstance(one, Quiver)]
    return np.asarray(found.get_offsets())


def test_a_panel_for_each_field() -> None:
    one = field_picture(GRID, {"a": GRID})
    two = field_picture(GRID, {"a": GRID, "b": -GRID}, title="both")
    assert two.image().width == 2 * one.image().width
    assert two.image().height > one.image().height
    assert [axes.get_title(loc="left") for axes in two.figure.axes] == ["a", "b"]
    assert [to_hex(arrows(two, panel).get_facecolor()[0]) for panel in (0, 1)] == list(COLOURS)
    assert len({axes.get_xlim() + axes.get_ylim() for axes in two.figure.axes}) == 1, "places have one scale"


@pytest.mark.parametrize(("way", "rows", "columns"), [((1, 0), 0, 1), ((0, 1), -1, 0), ((-1, 0), 0, -1)])
def test_an_arrow_goes_from_its_point_where_it_points(way: tuple[int, int], rows: int, columns: int) -> None:
    panel = field_picture(np.zeros((1, 2)), {"": np.array([way], np.float32)})
    marks = blue(panel)
    axes: Any = panel.figure.axes[0]
    across, up = axes.transData.transform((0, 0))
    start = np.array([panel.image().height - up, across])
    away = marks.mean(0) - start
    assert np.sign(np.round(away / 20)).tolist() == [rows, columns]
    assert np.abs(marks - start).min(0).max() <= 2, "it starts at the point"


def test_lengths_have_one_scale_over_all_panels_and_are_cut() -> None:
    fields = {"a": np.tile([[1.0, 0.0]], (95, 1)), "b": np.concatenate([[[0.0, 50.0]], np.tile([[0.0, 2.0]], (94, 1))])}
    found = _scaled(fields, 10.0)
    assert found["a"][5] == pytest.approx([4.5, 0])
    assert found["b"][5] == pytest.approx([0, 9])
    assert found["b"][0] == pytest.approx([0, 9]), "what is longer is cut"


def test_an_arrow_is_as_long_as_it_says() -> None:
    """Lengths on the picture are those of the plane: no arrow reaches the next point."""
    chart = field_picture(GRID, {"": np.tile([[1.0, 0.0]], (25, 1))})
    found = arrows(chart)
    assert (found.scale, found.scale_units, found.angles) == (1, "xy", "xy")
    np.testing.assert_allclose(np.asarray(found.U), LONG * 0.5)


def test_samples_lie_below_and_stay_inside() -> None:
    outside = np.array([[0.3, 0.3], [99.0, 0.0], [-99.0, -99.0]])
    bare, dotted = field_picture(GRID, {"": GRID}), field_picture(GRID, {"": GRID}, samples=outside)
    assert dots(bare).shape == (0, 2)
    assert dots(dotted).tolist() == [[0.3, 0.3]]
    changed = np.argwhere((np.asarray(bare.image()) != np.asarray(dotted.image())).any(2))
    assert 0 < len(changed) < 50, "one small dot"
    assert [isinstance(one, Quiver) for one in dotted.figure.axes[0].collections] == [False, True], "below the arrows"


@pytest.mark.parametrize("at", [GRID[:1], np.zeros((3, 2)), GRID])
def test_fields_that_stand_still_are_drawn(at: np.ndarray) -> None:
    assert len(blue(field_picture(at, {"": np.zeros_like(at)}))) > 0
    assert _pitch(GRID) == pytest.approx(0.5)
