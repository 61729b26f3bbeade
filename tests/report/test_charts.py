"""Charts: every line and label is there, scales fit, the same data give the same bytes."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.offsetbox import AnnotationBbox
from PIL import Image

from aepipe.report.canvas import BLUE, MUTED
from aepipe.report.charts import (
    CLASSES,
    COLUMNS,
    LEGEND,
    OTHER,
    SIDE,
    SYSTEMS,
    Chart,
    _placed,
    by_part,
    comparison_picture,
    curves_picture,
    panels,
    plane_picture,
    precision_picture,
    series,
    study_picture,
    styled,
)
from aepipe.report.comparison import Line

NAN = float("nan")
POINTS = np.random.default_rng(0).standard_normal((500, 2)) * [4, 1]
FIGURES: dict[str, float | None] = {
    "reconstruction_bits": 17.25,
    "map_at_1000": 0.62,
    "entropy": 0.99,
    "seconds": 12.0,
    "parameters": 1_670_000.0,
}


def axes_of(chart: Chart) -> list[Any]:
    """The panels; Any, as matplotlib's own types say little of what a line holds."""
    return list(chart.figure.axes)


def drawn(chart: Chart) -> np.ndarray:
    """The pixels; drawing also settles the layout."""
    return np.asarray(chart.image()).astype(int)


def blank(chart: Chart) -> bool:
    return bool((drawn(chart) == 255).all())


def ticks(axes: Axes, axis: str = "y") -> list[float]:
    """The numbers on an axis that lie within its limits."""
    low, high = sorted(axes.get_ylim() if axis == "y" else axes.get_xlim())
    found = axes.get_yticks() if axis == "y" else axes.get_xticks()
    return [float(one) for one in found if low <= one <= high]


def line(name: str, merit: float = 0.6, **more: Any) -> Line:
    return Line(name, figures={**FIGURES, "map_at_1000": merit}, release="release/0", **more)


def grid() -> list[Line]:
    return [
        line("demo", 0.5 + batch / 1000 + lr, changes={"fit.batch": batch, "fit.lr": lr})
        for batch in (64, 256)
        for lr in (0.001, 0.003)
    ]


class TestFiles:
    """What all charts share."""

    def chart(self) -> Chart:
        return curves_picture({"layer 1": {"train": [3.0, 2.0], "valid": [4.0, 3.0]}}, title="demo: loss")

    def test_the_same_data_give_the_same_bytes(self, tmp_path: Path) -> None:
        for name in ("a.svg", "a.png"):
            self.chart().save(tmp_path / name)
            first = (tmp_path / name).read_bytes()
            chart = self.chart()
            assert not blank(chart), "to be drawn before changes nothing"
            chart.save(tmp_path / name)
            assert (tmp_path / name).read_bytes() == first

    def test_neither_date_nor_version_is_in_a_file(self, tmp_path: Path) -> None:
        text = self.chart().svg()
        assert "dc:date" not in text
        assert "Matplotlib" not in text
        self.chart().save(tmp_path / "a.png")
        with Image.open(tmp_path / "a.png") as picture:
            assert not picture.info.keys() & {"Software", "Creation Time"}

    def test_svg_is_what_a_browser_reads(self) -> None:
        root = ET.fromstring(self.chart().svg())
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert not re.search(r'href="(?!#)', self.chart().svg()), "nothing is loaded from elsewhere"

    @pytest.mark.parametrize(
        ("name", "format"), [("a.png", "PNG"), ("a.jpg", "JPEG"), ("a.webp", "WEBP"), ("a.gif", "GIF")]
    )
    def test_the_name_asks_for_the_format(self, name: str, format: str, tmp_path: Path) -> None:
        self.chart().save(tmp_path / name)
        with Image.open(tmp_path / name) as picture:
            assert picture.format == format

    def test_a_name_that_asks_for_nothing_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="unknown file extension"):
            self.chart().save(tmp_path / "a.doc")

    def test_a_users_own_settings_change_nothing_and_are_left_alone(self) -> None:
        before = drawn(self.chart())
        with rc_context({"font.size": 30, "axes.facecolor": "black"}) as _:
            import matplotlib

            np.testing.assert_array_equal(drawn(self.chart()), before)
            assert matplotlib.rcParams["font.size"] == 30

    @pytest.mark.filterwarnings("error")
    @pytest.mark.parametrize("name", ["", "a\nb\x1b[31m", "\udcff.png", "日本/鞄", "$x_$ and $", "<b>&</b>", "x" * 300])
    def test_any_name_can_be_written(self, name: str) -> None:
        for chart in (
            curves_picture({name: {"train": [2.0, 1.0]}}, title=name),
            comparison_picture([line(name or "-"), line("b", 0.5)]),
            study_picture([line(name, changes={"seed": name})]),
            plane_picture(POINTS[:9], [name] * 9, title=name),
        ):
            assert not blank(chart)
            ET.fromstring(chart.svg())

    def test_panels_go_on_below_in_lines_of_like_length(self) -> None:
        with styled():
            found = {count: panels(count) for count in (1, COLUMNS, COLUMNS + 1, 2 * COLUMNS - 1)}
        sizes = {count: tuple(figure.get_size_inches()) for count, (figure, _) in found.items()}
        assert [len(axes) for _, axes in found.values()] == list(found)
        assert sizes[1][0] < sizes[COLUMNS][0]
        assert sizes[1][1] == sizes[COLUMNS][1] < sizes[COLUMNS + 1][1]
        assert sizes[2 * COLUMNS - 1][0] == sizes[COLUMNS][0]
        assert sizes[COLUMNS + 1][0] < sizes[COLUMNS][0], "four are two and two"


class TestCurves:
    """Losses over epochs."""

    @settings(deadline=None, max_examples=30)
    @given(st.floats(-1e9, 1e9), st.floats(0, 1e9))
    def test_ticks_are_few_and_ascending_and_the_range_is_within_the_axis(self, low: float, span: float) -> None:
        (axes,) = axes_of(curves_picture({"": {"valid": [low + span, low]}}))
        found = ticks(axes)
        assert 2 <= len(found) <= 7
        assert all(a < b for a, b in pairwise(found))
        bottom, top = axes.get_ylim()
        assert bottom <= low
        assert low + span <= top

    def test_ticks_are_round(self) -> None:
        (axes,) = axes_of(curves_picture({"": {"valid": [0.58, 0.281]}}))
        assert ticks(axes) == pytest.approx([0.3, 0.4, 0.5])
        (axes,) = axes_of(curves_picture({"": {"valid": [3.0, 3.0]}}))
        assert axes.get_ylim()[0] < 3.0 < axes.get_ylim()[1], "one value stands in the middle"

    @pytest.mark.parametrize(
        "curve",
        [
            {"train": [0.5, 0.4], "valid": [0.6, 0.45]},
            {"train": [3.0]},
            {"train": [], "valid": []},
            {},
            {"train": [1.0, NAN, 0.5], "valid": [NAN]},
            {"train": [0.0, 0.0]},
            {"train": [-1e-9, 1e9]},
        ],
    )
    @pytest.mark.filterwarnings("error")
    def test_every_curve_is_drawn(self, curve: dict[str, list[float]]) -> None:
        chart = curves_picture({"layer 1": curve})
        (axes,) = axes_of(chart)
        assert not blank(chart)
        shown = {part: [x for x in losses if np.isfinite(x)] for part, losses in curve.items()}
        shown = {part: losses for part, losses in shown.items() if losses}
        assert [list(one.get_ydata()) for one in axes.lines] == list(shown.values())
        legend = axes.get_legend()
        named = [text.get_text() for text in legend.get_texts()] if legend else []
        assert named == [f"{part} {losses[-1]:.3g}" for part, losses in shown.items()]
        said = [text.get_text() for text in axes.texts]
        assert said == ([] if shown else ["no completed epoch"])

    def test_epochs_count_from_one_and_a_gap_stays_a_gap_in_their_count(self) -> None:
        (axes,) = axes_of(curves_picture({"": {"train": [1.0, NAN, 0.5]}}))
        assert list(axes.lines[0].get_xdata()) == [1, 3]
        assert all(one == int(one) for one in ticks(axes, "x"))

    def test_the_line_goes_where_the_losses_go(self) -> None:
        def centre(picture: np.ndarray) -> tuple[float, float]:
            """Heights of the blue line at its left and right ends."""
            blue = (picture[:, :, 2] - picture[:, :, 0]) > 80
            columns = np.nonzero(blue.any(0))[0]
            edges = columns.min(), columns.max()
            heights = [np.nonzero(blue[:, at])[0].mean() for at in (edges[0] + 8, edges[1] - 8)]
            return float(heights[0]), float(heights[1])

        falling, rising = (curves_picture({"": {"valid": losses}}) for losses in ([1.0, 0.0], [0.0, 1.0]))
        for chart in (falling, rising):
            axes_of(chart)[0].get_legend().remove()
        left, right = centre(drawn(falling))
        assert left < right, "down is larger"
        left, right = centre(drawn(rising))
        assert left > right

    def test_what_training_wrote_becomes_two_curves(self) -> None:
        epochs = [{"nll": 1.0, "loss": 2.0, "held_out": 3.0}, {"loss": 1.5}]
        assert by_part(epochs) == {"train": [2.0, 1.5], "valid": [3.0]}


class TestComparison:
    """Recipes side by side."""

    def test_a_dot_for_each_recipe_the_best_on_top_and_blue(self) -> None:
        lines = [line("middle", 0.65), Line("broken", failed="a loss is nan"), line("best", 0.7), line("last", 0.5)]
        chart = comparison_picture(lines)
        found = {axes.get_title(loc="left"): axes for axes in axes_of(chart)}
        assert list(found) == [
            "squared error, bits",
            "mAP@1000",
            "entropy of a bit",
            "seconds of training",
            "parameters",
        ]
        axes = found["mAP@1000"]
        names = axes_of(chart)[0].get_yticklabels()
        assert [label.get_text() for label in names] == ["best", "middle", "last"], "once, on the left"
        assert axes.yaxis_inverted(), "the first one is on top"
        grey, blue = axes.lines
        assert (to_hex(grey.get_color()), to_hex(blue.get_color())) == (MUTED, BLUE)
        assert list(zip(grey.get_xdata(), grey.get_ydata(), strict=True)) == [(0.65, 1), (0.5, 2)]
        assert list(zip(blue.get_xdata(), blue.get_ydata(), strict=True)) == [(0.7, 0)]
        assert [text.get_text() for text in axes.texts] == ["0.700"]
        assert axes.get_xlabel() == "higher is better"
        assert found["seconds of training"].get_xlabel() == "lower is better"
        assert not blank(chart)

    def test_less_is_better_where_it_is(self) -> None:
        lines = [Line("slow", figures={"seconds": 9.0, "map_at_1000": 0.6}), Line("fast", figures={"seconds": 2.0})]
        axes = axes_of(comparison_picture(lines))[-1]
        assert list(axes.lines[1].get_xdata()) == [2.0]

    def test_a_figure_of_zero_is_drawn_and_one_that_is_missing_is_not(self) -> None:
        lines = [line("a"), Line("b", figures={"map_at_1000": 0.0}), Line("c", figures={"seconds": 1.0})]
        axes = next(one for one in axes_of(comparison_picture(lines)) if one.get_title(loc="left") == "mAP@1000")
        assert sum(len(one.get_xdata()) for one in axes.lines) == 2

    def test_noise_does_not_look_like_a_difference(self) -> None:
        """Values that are written the same way stand close together."""
        lines = [Line(str(i), figures={"entropy": 0.9999 + i * 1e-6}) for i in range(5)]
        (axes,) = axes_of(comparison_picture(lines))
        low, high = axes.get_xlim()
        assert high - low > 0.09

    def test_pictures_grow_with_what_they_show(self) -> None:
        one, two = (comparison_picture(lines).image() for lines in ([line("a")], [line("a"), line("b", 0.7)]))
        assert two.height > one.height
        assert two.width == one.width

    def test_more_figures_than_a_line_holds_go_on_below(self) -> None:
        more = {"p_at_100": 0.7, "probe_embedding": 0.8, "nmi_bits": 0.5}
        few, many = (comparison_picture([Line("a", figures=one)]) for one in (FIGURES, FIGURES | more))
        assert len(axes_of(many)) == 8
        assert many.image().height > few.image().height
        assert many.image().width < few.image().width, "eight are four and four"


class TestStudy:
    """Variations of one recipe."""

    def test_a_line_for_each_value_of_the_second_key(self) -> None:
        chart = study_picture(grid())
        assert len(axes_of(chart)) == 5
        axes = next(one for one in axes_of(chart) if one.get_title(loc="left") == "mAP@1000")
        assert [label.get_text() for label in axes.get_xticklabels()] == ["64", "256"]
        assert axes.get_xlabel() == "fit.batch"
        found = {str(one.get_label()): list(one.get_ydata()) for one in axes.lines}
        assert found == {"0.001": pytest.approx([0.565, 0.757]), "0.003": pytest.approx([0.567, 0.759])}
        (legend,) = chart.figure.legends
        assert legend.get_title().get_text() == "fit.lr"
        assert [text.get_text() for text in legend.get_texts()] == ["0.001", "0.003"]
        assert chart.image().height > 500

    def test_a_value_has_one_look_in_all_panels(self) -> None:
        """Also where the first value has no figure in one of them."""
        lines = [
            one if one.changes["fit.lr"] == 0.003 else Line("demo", one.changes, {"seconds": 3.0}) for one in grid()
        ]
        looks = {
            (str(one.get_label()), to_hex(one.get_color()), str(one.get_marker()))
            for axes in axes_of(study_picture(lines))
            for one in axes.lines
        }
        assert len(looks) == 2
        assert len({look[1:] for look in looks}) == 2

    @pytest.mark.filterwarnings("error")
    def test_few_figures_and_few_keys_are_drawn(self) -> None:
        assert not blank(study_picture([line("demo", changes={"seed": 0})]))
        assert not blank(study_picture([line("demo")]))
        assert not blank(study_picture([Line("demo", failed="a loss is nan")]))

    def test_series_are_by_the_second_key_and_the_place_of_the_first(self) -> None:
        found = series(grid(), ["fit.batch", "fit.lr"], "map_at_1000")
        assert found.keys() == {"0.001", "0.003"}
        assert found["0.001"] == pytest.approx({0: 0.565, 1: 0.757})

    def test_further_keys_are_averaged(self) -> None:
        lines = [line("demo", merit, changes={"a": 1, "b": 2, "seed": seed}) for seed, merit in enumerate((0.4, 0.6))]
        assert series(lines, ["a", "b", "seed"], "map_at_1000") == {"2": {0: pytest.approx(0.5)}}


class TestPrecision:
    """Our codes and the baselines."""

    def scores(self, *systems: str) -> dict[str, Any]:
        rows = [{"system": name, "precision": [0.0, 0.9, 0.5, 0.1], "recall": [0.0, 0.2, 0.6, 1.0]} for name in systems]
        return {"protocol": {"n_bits": 3}, "rows": [*rows, {"system": "float"}]}

    def test_a_curve_for_each_system_in_both_panels(self) -> None:
        chart = precision_picture(self.scores(*SYSTEMS), title="demo: 3 bits")
        assert chart is not None
        left, right = axes_of(chart)
        for axes in (left, right):
            assert {str(one.get_label()): to_hex(one.get_color()) for one in axes.lines} == SYSTEMS
            assert len({str(one.get_linestyle()) + str(one._dash_pattern) for one in axes.lines}) == len(SYSTEMS)
            top = max(axes.lines, key=lambda one: one.get_zorder())
            assert top.get_label() == "ours"
        assert list(left.lines[0].get_xdata()) == [0.2, 0.6, 1.0], "where nothing is found nothing is drawn"
        assert list(right.lines[0].get_ydata()) == [0.0, 0.9, 0.5, 0.1]
        assert (left.get_xlim(), right.get_xlim()) == ((0, 1), (0, 3))
        (legend,) = chart.figure.legends
        assert [text.get_text() for text in legend.get_texts()] == list(SYSTEMS)

    def test_without_labels_there_is_nothing_to_draw(self) -> None:
        assert precision_picture(self.scores(), title="") is None


class TestMap:
    """Codes on a plane: one scale, a colour for each class, pictures that do not overlap."""

    def dots(self, chart: Chart) -> dict[str, int]:
        """How many dots are drawn in each colour."""
        (axes,) = axes_of(chart)
        return {
            to_hex(one.get_facecolor()[0]): len(one.get_offsets()) for one in axes.collections if len(one.get_offsets())
        }

    def test_the_legend_names_the_classes_that_there_are(self) -> None:
        bare, named = plane_picture(POINTS, [None] * 500), plane_picture(POINTS, ["a", "b"] * 250)
        assert named.image().width - bare.image().width == 2 * LEGEND
        (legend,) = named.figure.legends
        assert [text.get_text() for text in legend.get_texts()] == ["a", "b"]
        assert not bare.figure.legends
        assert self.dots(named) == {to_hex(colour): 250 for colour in CLASSES[:2]}
        assert self.dots(bare) == {OTHER: 500}

    def test_only_the_most_frequent_classes_get_a_colour(self) -> None:
        labels = [str(i % 30) for i in range(480)] + ["29"] * 20
        chart = plane_picture(POINTS, labels)
        (legend,) = chart.figure.legends
        assert len(legend.get_texts()) == len(CLASSES)
        assert "29" in {text.get_text() for text in legend.get_texts()}
        assert self.dots(chart)[OTHER] == 20 * 16
        assert sum(self.dots(chart).values()) == 500
        assert chart.image().width == plane_picture(POINTS, ["a"] * 500).image().width

    def test_both_axes_have_one_scale_and_the_longer_lies_down(self) -> None:
        for points in (POINTS, POINTS[:, ::-1]):
            at, height = _placed(points)
            assert height < SIDE / 2
            assert ((at >= 0) & (at <= [SIDE, height])).all()
            wanted = np.ptp(np.quantile(POINTS, [0.1, 0.9], axis=0), axis=0)
            found = np.ptp(np.quantile(at, [0.1, 0.9], axis=0), axis=0)
            np.testing.assert_allclose(found / found[0], wanted / wanted[0], rtol=1e-6)
            (axes,) = axes_of(plane_picture(points, ["a"] * 500))
            box = axes.get_window_extent()
            assert box.width / SIDE == pytest.approx(box.height / height), "and the picture keeps it"

    @pytest.mark.filterwarnings("error")
    def test_one_point_and_equal_points_are_drawn(self) -> None:
        assert self.dots(plane_picture(np.zeros((1, 2)), ["a"])) == {to_hex(CLASSES[0]): 1}
        assert not blank(plane_picture(np.ones((7, 2)), [None] * 7))

    def test_pictures_do_not_cover_each_other(self) -> None:
        red = Image.new("RGB", (28, 28), "#ff0000")
        one = plane_picture(np.zeros((2, 2)), [None, None], tiles={0: red})
        two = plane_picture(np.zeros((2, 2)), [None, None], tiles={0: red, 1: red})
        far = plane_picture(np.array([[0.0, 0], [9, 0]]), [None, None], tiles={0: red, 1: red})
        boxes = [sum(isinstance(a, AnnotationBbox) for a in axes_of(chart)[0].artists) for chart in (one, two, far)]
        assert boxes == [1, 1, 2]
        assert (drawn(one) == [255, 0, 0]).all(2).sum() == 56**2, "28 points, two pixels to each, sharp at its edges"
        np.testing.assert_array_equal(drawn(one), drawn(two))
