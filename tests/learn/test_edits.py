"""Edits of pictures: how many rows get one, how strong it is at most, and what it does to their pixels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import torch.nn.functional as F

from aepipe.learn.edits import Edits

NONE = dict.fromkeys(("crop", "frame", "turn", "mirror", "light", "contrast", "blur", "noise", "band"), 0.0)
ROWS = 1500


def smooth(count: int, side: int = 12, channels: int = 2) -> Any:
    """Return smooth pictures within 0.3..0.7, so that light cuts nothing off."""
    coarse = torch.rand((count, channels, 4, 4), generator=torch.Generator().manual_seed(1))
    fine = F.interpolate(coarse, size=(side, side), mode="bilinear", align_corners=True)
    return 0.3 + 0.4 * fine.permute(0, 2, 3, 1)


def edited(x: Any, **strength: float) -> Any:
    return Edits.model_validate(NONE | strength).apply(x, torch.Generator().manual_seed(0))


def changed(found: Any, x: Any, least: float = 1e-4) -> np.ndarray:
    """Return which rows are not as they were, beyond the rounding of a map."""
    return np.asarray((found - x).abs().flatten(1).amax(1).numpy() > least)


def test_light_is_a_factor_between_its_bounds() -> None:
    x = smooth(ROWS)
    found = edited(x, light=0.3)
    factor = (found / x).flatten(1)
    assert (factor.amax(1) - factor.amin(1)).max() < 1e-3, "one factor for all cells"
    log = factor.mean(1).log().numpy()
    moved = np.abs(log) > 1e-3
    assert moved.mean() == pytest.approx(0.35, abs=0.05)
    assert (log.min(), log.max()) == (pytest.approx(-0.3, abs=0.01), pytest.approx(0.3, abs=0.01))
    assert log[moved].mean() == pytest.approx(0, abs=0.03)
    assert edited(x, light=2.0).max() == 1, "what is too bright is cut off"


def test_contrast_changes_distances_from_the_mean() -> None:
    x = smooth(ROWS)
    found = edited(x, contrast=0.4)
    np.testing.assert_allclose(found.flatten(1).mean(1), x.flatten(1).mean(1), atol=1e-4)
    factor = (found.flatten(1).std(1) / x.flatten(1).std(1)).numpy()
    moved = np.abs(factor - 1) > 1e-3
    assert moved.mean() == pytest.approx(0.35, abs=0.05)
    assert (factor.min(), factor.max()) == (pytest.approx(0.6, abs=0.01), pytest.approx(1.4, abs=0.01))


def test_blur_is_a_share_of_the_mean_of_the_neighbourhood() -> None:
    x = torch.rand((ROWS, 9, 11, 1), generator=torch.Generator().manual_seed(2))
    found = edited(x, blur=0.8)
    padded = np.pad(x.numpy()[..., 0], ((0, 0), (2, 2), (2, 2)), mode="edge")
    mean = np.mean([padded[:, i : i + 9, j : j + 11] for i in range(5) for j in range(5)], axis=0)
    step, whole = (found - x).numpy()[..., 0], mean - x.numpy()[..., 0]
    share = (step * whole).sum((1, 2)) / (whole**2).sum((1, 2))
    np.testing.assert_allclose(step, share[:, None, None] * whole, atol=1e-3)
    moved = share > 1e-3
    assert moved.mean() == pytest.approx(0.3, abs=0.05)
    assert (share.min(), share.max()) == (pytest.approx(0, abs=1e-3), pytest.approx(0.8, abs=0.02))


@pytest.mark.parametrize("shape", [(ROWS, 12, 12, 2), (ROWS, 200)])
def test_noise_has_its_deviation(shape: tuple[int, ...]) -> None:
    x = torch.full(shape, 0.5)
    spread = (edited(x, noise=0.1) - x).flatten(1).std(1).numpy()
    moved = spread > 1e-5
    assert moved.mean() == pytest.approx(0.3, abs=0.05)
    assert spread.max() == pytest.approx(0.1, abs=0.012)
    assert spread[moved].mean() == pytest.approx(0.05, abs=0.008)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_so_many_rows_are_mirrored(share: float) -> None:
    x = smooth(ROWS)
    found = edited(x, mirror=share)
    mirrored = ~changed(found, x.flip(2), 1e-3)
    assert mirrored.mean() == pytest.approx(share, abs=0.05)
    assert not changed(found, x, 1e-3)[~mirrored].any()


def centres(x: Any) -> np.ndarray:
    """Return the centre of mass of each picture, across and down, in parts of its half width from its middle."""
    weight = x.sum(3).double().numpy()
    place = (2 * np.arange(weight.shape[1]) + 1) / weight.shape[1] - 1
    whole = weight.sum((1, 2))[:, None]
    return np.asarray(np.stack([(weight * place).sum((1, 2)), (weight * place[:, None]).sum((1, 2))], 1) / whole)


def spot(count: int, across: float, down: float, side: int = 33) -> Any:
    place = (2 * torch.arange(side) + 1) / side - 1
    flat = torch.exp(-((place - across)[None] ** 2 + (place - down)[:, None] ** 2) / 0.01)
    return flat[None, :, :, None].repeat(count, 1, 1, 1)


def test_turns_are_about_the_middle_and_no_larger_than_asked() -> None:
    """What comes in has another colour, so spots are looked for far from the edge."""
    x = spot(600, 0.4, 0.0)
    found = edited(x, turn=30.0)
    inside = found[:, 6:-6, 6:-6]
    at = centres((inside - inside.flatten(1).amin(1)[:, None, None, None]).clamp(min=0) ** 4)
    angle = np.degrees(np.arctan2(at[:, 1], at[:, 0]))
    moved = np.abs(angle) > 0.5
    assert moved.mean() == pytest.approx(0.4, abs=0.07)
    assert (angle.min(), angle.max()) == (pytest.approx(-30, abs=2), pytest.approx(30, abs=2))
    np.testing.assert_allclose(np.hypot(*at.T), np.hypot(*at[~moved][0]), atol=0.02)


def test_a_crop_keeps_a_part_of_the_picture_in_its_proportions() -> None:
    """Two spots tell how large the part is, and where it lies: within the picture, even at both ends."""
    x = torch.cat([spot(800, 0.1, 0.0), spot(800, -0.1, 0.0)], 3)
    found = edited(x, crop=0.4)
    first, second = (centres(found[..., place : place + 1] ** 2) for place in (0, 1))
    kept = 0.2 / (first - second)[:, 0]
    cropped = kept < 0.995
    assert cropped.mean() == pytest.approx(0.5, abs=0.06)
    assert kept.min() == pytest.approx(0.6, abs=0.02)
    move = -kept[:, None] * (first + second) / 2
    room = 1 - kept[cropped]
    assert (np.abs(move[cropped]) <= room[:, None] + 0.02).all()
    assert np.abs(move[cropped] / room[:, None])[room > 0.1].max() > 0.9
    assert np.abs(move[cropped].mean(0)).max() < 0.05
    assert abs(float(np.corrcoef(move[cropped].T)[0, 1])) < 0.2, "across and down are drawn apart"


def test_frames_are_of_one_colour_and_shrink_the_picture() -> None:
    x = torch.full((2000, 20, 20, 1), 0.37)
    x[:, 10, 10] = 0.38  # no colour of a frame by chance
    found = edited(x, frame=0.5)
    rows, columns = ((found - 0.37).abs().amax(axis)[:, :, 0] > 0.02 for axis in (2, 1))
    framed = (found[:, 0, 0, 0] - 0.37).abs() > 1e-3
    assert framed.float().mean().item() == pytest.approx(0.25, abs=0.04)
    ground = found[framed][:, 0, 0, 0]
    colours = torch.stack([ground < 1e-3, ground > 1 - 1e-3]).float().mean(1).tolist()
    assert colours == pytest.approx([0.3, 0.3], abs=0.09), "six in ten are black or white"
    assert not (rows | columns)[~framed].any()
    inner = ((found[framed] - 0.37).abs() < 0.02)[:, :, :, 0].float()
    high, wide = inner.amax(2).mean(1), inner.amax(1).mean(1)
    assert (min(high), min(wide)) == (pytest.approx(0.5, abs=0.1), pytest.approx(0.5, abs=0.1))
    assert abs(float(np.corrcoef(high, wide)[0, 1])) < 0.5, "width and height of a frame differ"


def test_bands_lie_at_the_top_or_the_bottom_with_strokes_in_them() -> None:
    x = torch.full((1500, 40, 30, 1), 0.37)
    found = edited(x, band=0.25)[..., 0]
    covered = ((found - 0.37).abs() > 1e-3).float().mean(2) > 0.5
    height = covered.float().mean(1)
    banded = height > 0
    # A draw of less than half a row covers none.
    assert banded.float().mean().item() == pytest.approx(0.25 * (1 - 0.0125 / 0.25), abs=0.03)
    assert height.max() == pytest.approx(0.25)
    top, bottom = covered[banded][:, 0], covered[banded][:, -1]
    assert bool((top ^ bottom).all())
    assert top.float().mean().item() == pytest.approx(0.5, abs=0.07)
    runs = (covered[banded].int().diff(dim=1) != 0).sum(1)
    assert bool((runs == 1).all()), "rows of a band lie side by side"
    tall = banded & (height > 0.2)
    cells = [row[mask] for row, mask in zip(found[tall], covered[tall], strict=True)]
    ground = torch.stack([one.flatten().mode().values for one in cells])
    assert set(ground.tolist()) == {0, 1}
    assert ground.mean().item() == pytest.approx(0.5, abs=0.15)
    strokes = torch.stack([(one - one.flatten().mode().values).abs().amax() for one in cells])
    assert strokes.max() == pytest.approx(0.8, abs=0.06)
    share = torch.stack([((one - one.flatten().mode().values).abs() > 0).float().mean() for one in cells])
    assert share.mean().item() == pytest.approx(0.35 * 0.6, abs=0.03)


def test_rows_without_places_get_light_and_noise_only() -> None:
    x = torch.rand((ROWS, 50), generator=torch.Generator().manual_seed(1)) * 0.2 + 0.4
    still = dict.fromkeys(("crop", "frame", "mirror", "blur", "band"), 0.4) | {"turn": 12.0}
    assert torch.equal(edited(x, **still), x)
    found = edited(x, contrast=0.5, light=0.2)
    drawn = torch.Generator().manual_seed(0)

    def some(share: float, most: float) -> Any:
        chosen = (torch.rand(ROWS, generator=drawn) < share).float()
        return chosen * (-most + 2 * most * torch.rand(ROWS, generator=drawn))

    mean, contrast, light = x.mean(1), 1 + some(0.35, 0.5), some(0.35, 0.2).exp()
    expected = ((mean[:, None] + (x - mean[:, None]) * contrast[:, None]) * light[:, None]).clamp(0, 1)
    torch.testing.assert_close(found, expected)


def test_all_edits_together_stay_within_the_range() -> None:
    x = torch.rand((200, 9, 9, 3), generator=torch.Generator().manual_seed(1))
    found = Edits().apply(x, torch.Generator().manual_seed(0))
    assert found.shape == x.shape
    assert bool(((found >= 0) & (found <= 1)).all())
    assert changed(found, x).mean() > 0.9
    assert math.isfinite(float(found.sum()))
