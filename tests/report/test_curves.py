"""Small multiples of losses: round ticks, and panels for every state that training can leave."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aepipe.report.charts import by_part, curves_picture, round_ticks

NAN = float("nan")


@given(st.floats(-1e9, 1e9), st.floats(0, 1e9))
def test_ticks_are_few_ascending_and_hold_the_range(low: float, span: float) -> None:
    high = low + span
    ticks = round_ticks(low, high)
    assert 2 <= len(ticks) <= 7
    assert all(a < b for a, b in pairwise(ticks))
    margin = 1e-6 * (abs(low) + abs(high)) + 1e-12
    assert ticks[0] <= low + margin
    assert high - margin <= ticks[-1]


def test_ticks_are_round() -> None:
    assert round_ticks(0.281, 0.58) == pytest.approx([0.2, 0.3, 0.4, 0.5, 0.6])
    assert round_ticks(0.29, 0.31) == pytest.approx([0.29, 0.295, 0.3, 0.305, 0.31])
    assert round_ticks(3.0, 3.0)[0] < 3.0 < round_ticks(3.0, 3.0)[-1], "one value stands in the middle"


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
def test_every_curve_is_drawn(curve: dict[str, list[float]]) -> None:
    assert curves_picture({"layer 1": curve}).width > 0


def test_the_line_goes_where_the_losses_go() -> None:
    falling = np.asarray(curves_picture({"": {"valid": [1.0, 0.0]}})).astype(int)
    rising = np.asarray(curves_picture({"": {"valid": [0.0, 1.0]}})).astype(int)

    def centre(picture: np.ndarray) -> tuple[float, float]:
        blue = (picture[:, :, 2] - picture[:, :, 0]) > 80
        half = picture.shape[1] // 2
        return float(np.nonzero(blue[:, : half - 60])[0].mean()), float(
            np.nonzero(blue[:, half - 60 : half + 30])[0].mean()
        )

    left, right = centre(falling)
    assert left < right, "down is larger"
    left, right = centre(rising)
    assert left > right


def test_panels_go_on_below() -> None:
    one = {"train": [2.0, 1.0]}
    three, four = (curves_picture({str(i): one for i in range(n)}, title="losses") for n in (3, 4))
    assert four.width == three.width
    assert four.height > three.height


def test_what_training_wrote_becomes_two_curves() -> None:
    epochs = [{"nll": 1.0, "loss": 2.0, "held_out": 3.0}, {"loss": 1.5}]
    assert by_part(epochs) == {"train": [2.0, 1.5], "valid": [3.0]}
