"""Changed pictures: maps and light by their formulas, and which pixel comes from where."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from aepipe.learn import affine
from aepipe.learn.affine import DRAWS, Most, change

STILL = Most(shift=0, turn=0, scale=0, mirror=0, brightness=0, contrast=0)


def draws(count: int, seed: int = 0) -> Any:
    return 2 * torch.rand((count, DRAWS), generator=torch.Generator().manual_seed(seed)) - 1


def pictures(count: int, height: int = 6, width: int = 9, channels: int = 2) -> Any:
    return torch.rand((count, height, width, channels), generator=torch.Generator().manual_seed(1))


def by_formula(draw: np.ndarray, most: Most, size: tuple[int, int]) -> np.ndarray:
    """Return the map of one row: a turn after a mirror and two factors, and a move in pixels."""
    angle = math.radians(most.turn) * draw[0]
    wide, high = np.exp(most.scale * draw[1]), np.exp(most.scale * draw[2])
    wide *= -1 if draw[3] < 2 * most.mirror - 1 else 1
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    move = most.shift * draw[4:6] * 2 / np.array([size[1], size[0]])
    return np.column_stack([turn @ np.diag([wide, high]), move])


@pytest.mark.parametrize("mirror", [0.0, 0.4, 1.0])
def test_maps_are_those_of_the_formula(mirror: float) -> None:
    most = Most(shift=1.5, turn=33, scale=0.4, mirror=mirror, brightness=0, contrast=0)
    drawn = draws(60)
    found = affine._maps(drawn[:, :6], most, (6, 9)).numpy()
    expected = np.array([by_formula(one, most, (6, 9)) for one in drawn.double().numpy()])
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(("across", "down"), [(1, 0), (0, 1), (-2, 1), (3, -2)])
def test_a_move_by_whole_pixels_moves_each_pixel(across: int, down: int) -> None:
    x, drawn = pictures(1), torch.zeros((1, DRAWS))
    drawn[0, 4:6] = torch.tensor([across / 3, down / 3])
    found = change(x, drawn, STILL._replace(shift=3.0))[0].numpy()
    rows = np.clip(np.arange(6) + down, 0, 5)
    places = np.clip(np.arange(9) + across, 0, 8)
    np.testing.assert_allclose(found, x[0].numpy()[rows][:, places], atol=1e-5)


def test_a_quarter_turn_and_a_mirror_are_exact() -> None:
    x, drawn = pictures(1, 7, 7), torch.zeros((1, DRAWS))
    drawn[0, 0] = 1.0
    found = change(x, drawn, STILL._replace(turn=90.0))[0].numpy()
    np.testing.assert_allclose(found, np.rot90(x[0].numpy()), atol=1e-4)
    drawn[0, 3] = -0.99
    found = change(x, drawn, STILL._replace(mirror=0.5))[0].numpy()
    np.testing.assert_allclose(found, x[0].numpy()[:, ::-1], atol=1e-5)


@pytest.mark.parametrize("part", ["shift", "turn", "scale", "mirror"])
def test_each_part_alone_moves_cells(part: str) -> None:
    x, drawn = pictures(20), draws(20)
    found = change(x, drawn, STILL._replace(**{part: 1.0 if part in {"scale", "mirror"} else 20.0}))
    assert (found - x).abs().flatten(1).mean(1).min() > 1e-3
    assert change(x, drawn, STILL) is x


@pytest.mark.parametrize(("brightness", "contrast"), [(0.2, 0.0), (0.0, 0.7), (0.3, 0.5)])
def test_light_is_that_of_the_formula(brightness: float, contrast: float) -> None:
    x, drawn = pictures(30), draws(30)
    found = change(x, drawn, STILL._replace(brightness=brightness, contrast=contrast)).numpy()
    for row, draw, given in zip(found, drawn.double().numpy(), x.double().numpy(), strict=True):
        mean = given.mean()
        lit = mean + (given - mean) * np.exp(contrast * draw[7]) + brightness * draw[6]
        np.testing.assert_allclose(row, np.clip(lit, 0, 1), atol=1e-5)


def test_half_precision_stays_half_precision() -> None:
    x = pictures(3).to(torch.bfloat16)
    most = Most(shift=1, turn=5, scale=0.1, mirror=0.5, brightness=0.1, contrast=0.1)
    assert change(x, draws(3), most).dtype == torch.bfloat16
