"""Small pictures laid over one another: each step against plain NumPy, cell by cell."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from aepipe.release import alignment, copies, made_copies
from aepipe.release.alignment import PARTS, VIEW, agreement, guesses, moved, slopes, softened, views

Floats = NDArray[np.float32]
SAME = np.array([1, 0, 0, 0, 1, 0], np.float32)


def pictures(count: int, side: int = 64, seed: int = 0) -> Floats:
    """Return smooth random pictures with details, float32[N, S, S]."""
    drawn = np.random.default_rng(seed).random((count, side, side)).astype(np.float32)
    found = softened(drawn, 2) - np.float32(0.5)
    return np.asarray(0.5 + found * (0.35 / np.abs(found).max()), np.float32)


def at(picture: Floats, x: float, y: float) -> tuple[float, bool]:
    """Return the value at a place within -1..1 between the middles of four cells, and whether it is inside."""
    size = len(picture)
    column, row = (min(max((one + 1) * size / 2 - 0.5, 0), size - 1.001) for one in (x, y))
    left, top = int(column), int(row)
    right, below = column - left, row - top
    cells = picture[top : top + 2, left : left + 2].astype(float)
    upper, lower = cells[:, 0] * (1 - right) + cells[:, 1] * right
    return upper * (1 - below) + lower * below, abs(x) <= 1 and abs(y) <= 1


def under(picture: Floats, one: Floats, side: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a picture under a map, and where it is inside, one cell after another."""
    seen, inside = np.zeros((side, side)), np.zeros((side, side))
    for i in range(side):
        for j in range(side):
            x, y = (2 * j + 1) / side - 1, (2 * i + 1) / side - 1
            seen[i, j], inside[i, j] = at(picture, *(float(one[k] * x + one[k + 1] * y + one[k + 2]) for k in (0, 3)))
    return seen, inside


MAPS = np.array(
    [[1, 0, 0, 0, 1, 0], [0.8, 0.1, -0.1, 0.05, 0.9, 0.2], [-1.2, 0.2, 0.1, 0.3, 1.1, -0.3], [1, 0, 0.5, 0, 1, -0.25]],
    np.float32,
)


@pytest.mark.parametrize("number", range(4))
def test_a_picture_under_a_map_is_sampled_between_its_cells(number: int) -> None:
    given = pictures(2, 8)
    found = moved(given, np.repeat(MAPS[number][None], 2, 0), np.array([0, 1]))
    for picture, told, ground in zip(given, found, (0, 1), strict=True):
        seen, inside = under(picture, MAPS[number], 8)
        np.testing.assert_allclose(told, np.where(inside > 0, seen, ground), atol=1e-4)


@pytest.mark.parametrize("number", range(4))
def test_slopes_of_a_moved_picture_are_its_changes_in_each_direction(number: int) -> None:
    """A half width of the picture is one unit; differences are those between the four cells around a place."""
    given, step = pictures(1, 8), 1e-3
    seen, inside, across, down = (one[0] for one in alignment._moved(given, MAPS[number][None], 8))
    shifts = []
    for place in (2, 5):
        one, other = MAPS[number].astype(float), MAPS[number].astype(float)
        one[place] += step
        other[place] -= step
        shifts.append((under(given[0], one, 8)[0] - under(given[0], other, 8)[0]) / (2 * step))
    plain, whole = under(given[0], MAPS[number], 8)
    np.testing.assert_allclose(seen, plain, atol=1e-4)
    np.testing.assert_array_equal(inside, whole)
    x, y = alignment._places(8)
    places = [MAPS[number][k] * x + MAPS[number][k + 1] * y + MAPS[number][k + 2] for k in (0, 3)]
    parts = [(place + 1) * 4 - 0.5 for place in places]
    # Between the middles of the outermost cells, and not on a line between cells, where the slope changes.
    smooth = np.all([(one > 0.02) & (one < 6.98) & (np.abs(one - np.round(one)) > 0.02) for one in parts], axis=0)
    assert smooth.sum() > 5 or number in (0, 3)
    np.testing.assert_allclose(across[smooth], shifts[0][smooth], atol=1e-2)
    np.testing.assert_allclose(down[smooth], shifts[1][smooth], atol=1e-2)


@pytest.mark.parametrize("times", [0, 1, 3])
def test_softened_cells_are_means_that_weigh_the_middle_double(times: int) -> None:
    given = pictures(2, 7)
    expected = given.astype(float)
    for _ in range(times):
        wide = np.pad(expected, ((0, 0), (1, 1), (1, 1)), "edge")
        parts = [
            (2 - abs(i)) * (2 - abs(j)) * wide[:, 1 + i : 8 + i, 1 + j : 8 + j] for i in (-1, 0, 1) for j in (-1, 0, 1)
        ]
        expected = np.sum(parts, axis=0) / 16
    np.testing.assert_allclose(softened(given, times), expected, atol=1e-5)


@pytest.mark.parametrize("reach", [0, 1, 3])
def test_details_are_what_differs_from_the_cells_around_that_are_there(reach: int) -> None:
    x = pictures(2, 9)
    there = (np.random.default_rng(1).random(x.shape) < 0.7).astype(np.float32)
    x = x * there
    expected = np.zeros(x.shape)
    for n, i, j in np.ndindex(x.shape):
        window = (n, slice(max(0, i - reach), i + reach + 1), slice(max(0, j - reach), j + reach + 1))
        expected[n, i, j] = there[n, i, j] * (x[n, i, j] - x[window].sum() / (there[window].sum() + 1e-3))
    np.testing.assert_allclose(alignment._detail(x, there, reach), expected, atol=1e-4)


def tamed(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Let strong edges count, but not so much that all else is silent; one picture after another."""
    return np.array([np.tanh(one / (np.sqrt((one**2).mean()) + 0.003)) for one in x])


def test_views_are_small_details_of_length_one() -> None:
    given = pictures(2, 32)
    found = views(given, MAPS)
    assert found.shape == (2, 4, VIEW * VIEW)
    for picture, told in zip(given, found, strict=True):
        small = picture.reshape(16, 2, 16, 2).mean((1, 3))
        for one, view in zip(MAPS, told, strict=True):
            seen, inside = under(small, one, VIEW)
            mean = (seen * inside).sum() / inside.sum()
            detail = alignment._detail(
                ((seen - mean) * inside)[None].astype(np.float32), inside[None].astype(np.float32), 3
            )
            flat = tamed(detail.astype(float)).ravel()
            np.testing.assert_allclose(view, flat / (np.linalg.norm(flat) + 1e-3), atol=2e-4)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    given = pictures(5)
    other, same = ((given + pictures(5, seed=1)) / 2).astype(np.float32), np.repeat(SAME[None], 5, 0)
    whole = views(given, MAPS), agreement(given, other, same)
    monkeypatch.setattr(alignment, "BLOCK", 2)
    np.testing.assert_allclose(views(given, MAPS), whole[0], atol=1e-5)
    np.testing.assert_allclose(agreement(given, other, same), whole[1], atol=1e-4)
    assert agreement(given[:0], other[:0], same[:0]).shape == (0,)


def test_slopes_tell_where_eighths_of_a_picture_get_lighter() -> None:
    given = pictures(3, 24)
    means = np.array(
        [[[one[3 * i : 3 * i + 3, 3 * j : 3 * j + 3].mean() for j in range(8)] for i in range(8)] for one in given]
    )
    down = means[:, 1:] > means[:, :-1]
    right = means[:, :, 1:] > means[:, :, :-1]
    expected = np.concatenate([down.reshape(3, -1), right.reshape(3, -1)], axis=1)
    assert slopes(given).tolist() == expected.tolist()
    assert slopes(given).shape == (3, 2 * PARTS * (PARTS - 1))
    assert not slopes(np.ones((1, 8, 8), np.float32)).any()


def test_the_fit_is_a_correlation_without_the_worst_quarter() -> None:
    first, second = pictures(3, 16), pictures(3, 16, seed=1)
    second = (0.7 * first + 0.3 * second).astype(np.float32)
    whole = np.ones(first.shape, np.float32)
    whole[1, :, :5] = 0
    found = alignment._fit(first, second, whole)
    for n in range(3):
        a, b = (
            tamed(alignment._detail((x[n] * whole[n])[None], whole[n][None], 2).astype(float))[0]
            for x in (first, second)
        )
        blocks = [(slice(4 * i, 4 * i + 4), slice(4 * j, 4 * j + 4)) for i in range(4) for j in range(4)]
        sums = [((a * b)[at].sum(), (a * a)[at].sum(), (b * b)[at].sum()) for at in blocks]
        kept = sorted(sums, key=lambda one: one[0] - (one[1] + one[2]) / 2)[4:]
        joint, own, other = np.sum(kept, axis=0)
        assert found[n] == pytest.approx(joint / np.sqrt(own * other + 0.01), abs=1e-4)
    assert alignment._fit(first, first, whole) == pytest.approx(np.ones(3), abs=0.01)


def test_means_gain_and_overlap() -> None:
    first, second = pictures(2, 8), pictures(2, 8, seed=1)
    inside = (np.random.default_rng(1).random(first.shape) < 0.7).astype(np.float32)
    own, other, gain = alignment._centred(first, second, inside)
    for n in range(2):
        there = inside[n] > 0
        a, b = first[n] - first[n][there].mean(), second[n] - second[n][there].mean()
        np.testing.assert_allclose(own[n], a, atol=1e-4)
        np.testing.assert_allclose(other[n], b, atol=1e-4)
        joint = max((a * b)[there].mean(), 1e-3)
        assert gain[n, 0, 0] == pytest.approx(joint / ((b * b)[there].mean() + 1e-4), rel=1e-3)


@pytest.mark.parametrize("light", [1.0, 0.6])
def test_a_map_is_found_from_near_by(light: float) -> None:
    """The picture under a map lies best under that map; a few steps from the identity come close to it."""
    wide = pictures(6, 64, seed=3)
    smooth = softened(wide, 6)
    rng = np.random.default_rng(2)
    truth = SAME + rng.uniform(-0.04, 0.04, (6, 6)).astype(np.float32)
    seen, _, _, _ = alignment._moved(smooth, truth, 64)
    found = np.repeat(SAME[None], 6, 0)
    errors = [float(np.abs(found - truth).max(axis=1).mean())]
    for _ in range(2):
        found = alignment._refined((seen * light).astype(np.float32), smooth, found, 5)
        errors.append(float(np.abs(found - truth).max(axis=1).mean()))
    assert errors[1] < 0.35 * errors[0]
    assert errors[2] < 0.1 * errors[0]
    assert agreement(seen.astype(np.float32), smooth, np.repeat(SAME[None], 6, 0)).min() > 0.9


@pytest.mark.parametrize(
    ("size", "aside", "fits"),
    [(1.0, 0.0, True), (1.0, 1.2, True), (1.0, 1.4, False), (0.5, 0.0, False), (0.6, 0.0, True), (1.8, 0.0, False)],
)
def test_a_map_that_leaves_little_or_shows_little_fits_nothing(size: float, aside: float, fits: bool) -> None:
    given, one = softened(pictures(1), 2), np.array([[size, 0, aside, 0, size, 0]], np.float32)
    found = alignment._fit_under(moved(given, one, np.array([0])), given, one)
    assert found[0] > 0.8 if fits else found[0] == 0


def test_first_guesses_are_crops_frames_and_turns_plain_and_mirrored() -> None:
    found = guesses()
    half = len(found) // 2
    np.testing.assert_allclose(found[half:], found[:half] * np.array([-1, -1, -1, 1, 1, 1]))
    told = {tuple(round(float(one), 3) for one in row) for row in found[:half]}
    boxes = [(1, 0, 0), (0.85, 0, 0), (1.18, 0, 0), (0.9, -0.1, 0), (0.9, 0.1, 0), (0.9, 0, -0.1), (0.9, 0, 0.1)]
    boxes += [(size, x, y) for size, far in ((0.78, 0.2), (1.28, 0.25)) for x in (-far, far) for y in (-far, far)]
    expected = {(float(size), 0.0, float(x), 0.0, float(size), float(y)) for size, x, y in boxes}
    for degrees in (-8, 8):
        cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        expected.add(tuple(round(one, 3) for one in (cos, -sin, 0.0, sin, cos, 0.0)))  # type: ignore[arg-type]
    assert told == expected
    assert np.array_equal(found[0], SAME), "the first guess is the picture as it is"


def test_maps_of_made_copies() -> None:
    """A third is cropped, a third turned, a third framed; a third of all is mirrored."""
    maps = made_copies._maps(6000, np.random.default_rng(0)).astype(float)
    flip = np.sign(maps[:, 0])
    assert (flip < 0).mean() == pytest.approx(1 / 3, abs=0.03)
    size = np.hypot(maps[:, 1], maps[:, 4])
    np.testing.assert_allclose(np.hypot(maps[:, 0], maps[:, 3]), size, rtol=1e-5)
    np.testing.assert_allclose(maps[:, 3] * flip, -maps[:, 1], atol=1e-6)
    angle = np.degrees(np.arctan2(-maps[:, 1], maps[:, 4]))
    cropped, framed, turned = size < 0.9999, size > 1.0001, np.abs(angle) > 1e-3
    for kind in (cropped, framed, turned):
        assert kind.mean() == pytest.approx(1 / 3, abs=0.03)
    assert (cropped | framed | turned).mean() > 0.99
    assert not (turned & (cropped | framed)).any()
    assert (size.min(), size.max()) == (pytest.approx(0.7, abs=0.01), pytest.approx(1.2, abs=0.01))
    assert (angle.min(), angle.max()) == (pytest.approx(-10, abs=0.2), pytest.approx(10, abs=0.2))
    move, room = np.abs(maps[:, [2, 5]]), np.maximum(1 - size, 0)[:, None]
    assert (move <= room + 1e-6).all()
    assert (move[cropped] / room[cropped]).max() == pytest.approx(1, abs=0.01)
    assert abs(float(np.corrcoef(maps[cropped, 2], maps[cropped, 5])[0, 1])) < 0.1


def test_light_noise_and_bands_of_made_copies() -> None:
    rng, given = np.random.default_rng(0), np.full((3000, 16, 16), 0.4, np.float32)
    factor = made_copies._lit(given, rng)[:, 0, 0] / 0.4
    assert (factor.min(), factor.max()) == (pytest.approx(0.6, abs=0.01), pytest.approx(1.7, abs=0.01))
    bright = made_copies.made(given * 2, rng)
    assert (bright.min(), bright.max()) == (0, 1), "copies are pictures, too"
    noise = made_copies._noisy(given, rng) - given
    assert noise.std() == pytest.approx(0.05, rel=0.02)
    assert noise.mean() == pytest.approx(0, abs=1e-3)
    banded = made_copies._captioned(np.full((4000, 50, 4), 0.4, np.float32), rng)
    covered = banded[:, :, 0] != np.float32(0.4)
    assert (covered[:, 0] ^ covered[:, -1]).all()
    assert covered[:, 0].mean() == pytest.approx(0.5, abs=0.04)
    assert ((np.diff(covered.astype(int), axis=1) != 0).sum(1) == 1).all()
    assert (covered.sum(1).min(), covered.sum(1).max()) == (4, 11)
    shade = banded.max(axis=(1, 2)) == 1
    assert shade.mean() == pytest.approx(0.5, abs=0.04)


@pytest.mark.parametrize(
    ("own", "other", "precision", "threshold", "recall", "reached"),
    [
        ([0.9, 0.9, 0.7, 0.7], [0.5], 0.99, 0.8, 0.5, 1.0),
        ([0.9, 0.9, 0.82, 0.7], [0.85], 0.99, 0.855, 0.5, 1.0),
        ([0.9] * 99 + [0.7], [0.95], 0.99, 0.8, 0.99, 0.99),
        ([0.9] * 98 + [0.7], [0.95], 0.99, 0.97, 0.0, 0.0),
        ([0.9, 0.9], [0.95, 0.95], 0.5, 0.8, 1.0, 0.5),
        ([0.98, 0.5], [0.99], 0.99, 0.97, 0.5, 0.5),
        ([0.5], [], 0.99, 0.97, 0.0, 0.0),
    ],
)
def test_the_lowest_threshold_of_a_precision(
    own: list[float], other: list[float], precision: float, threshold: float, recall: float, reached: float
) -> None:
    found = copies.calibrated(np.array(own), np.array(other), precision)
    assert (found.threshold, found.recall, found.precision) == pytest.approx((threshold, recall, reached))


def test_nearest_pictures_are_those_of_their_best_view(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "BLOCK", 3)
    rng = np.random.default_rng(0)
    own, seen = rng.normal(size=(8, 5)).astype(np.float32), rng.normal(size=(20, 4, 5)).astype(np.float32)
    expected = np.argsort(-np.einsum("nd,mvd->nmv", own, seen).max(2), axis=1)[:, :3]
    assert np.sort(copies.nearest(own, seen, 3)).tolist() == np.sort(expected).tolist()
    both = copies.near_views(own, seen)
    plain = np.argsort(-np.einsum("nd,mvd->nmv", own, seen[:, :2]).max(2), axis=1)[:, :5]
    whole = np.argsort(-np.einsum("nd,mvd->nmv", own, seen).max(2), axis=1)[:, :5]
    assert np.sort(both[:, :5]).tolist() == np.sort(plain).tolist()
    assert np.sort(both[:, 5:]).tolist() == np.sort(whole).tolist()
    assert copies.near_views(own, seen[:2]).shape == (8, 4)


def test_each_pair_of_two_pictures_is_looked_at_once() -> None:
    parts = [np.array([[3, 1], [1, 3], [2, 2]]), np.array([[0, 5], [1, 3]])]
    assert copies._unique(parts).tolist() == [[0, 5], [1, 3]]
    assert copies._unique([]).shape == (0, 2)


@pytest.mark.parametrize(("count", "looked"), [(1, False), (2, True), (5, True), (6, False)])
def test_views_of_so_many_pictures_are_compared(count: int, looked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "MOST_VIEWED", 5)
    seen = np.random.default_rng(0).normal(size=(count, 3, 4)).astype(np.float32)
    found = copies._by_view(seen)
    assert bool(found) is looked
    if looked:
        near = copies.near_views(seen[:, 0], seen)
        assert found[0].tolist() == [[row, other] for row in range(count) for other in near[row].tolist()]


def test_both_pictures_are_whole_where_all_cells_around_are_inside() -> None:
    given = pictures(1, 16)
    first, seen, whole = alignment._laid(given, given, np.array([[1, 0, 0.5, 0, 1, 0.25]], np.float32))
    assert first is given
    inside = np.pad(np.pad(np.ones((14, 12)), ((0, 2), (0, 4)))[None], ((0, 0), (1, 1), (1, 1)), "edge")[0]
    around = np.min([inside[i : i + 16, j : j + 16] for i in range(3) for j in range(3)], axis=0)
    assert whole[0].tolist() == around.tolist()
    np.testing.assert_allclose(seen[0, :13, :11], given[0, 2:15, 4:15], atol=1e-4)


def test_pictures_agree_as_well_as_the_better_of_both_ways() -> None:
    """A band over one of two pictures may mislead the map one way, and not the other."""
    plain = softened(pictures(12, seed=5), 2)
    banded = plain.copy()
    banded[:6, :22], banded[6:, -22:] = 0, 1
    pairs, maps = np.stack([np.arange(12)] * 2, 1), guesses()
    one, other = copies._agreed(banded, plain, pairs, maps), copies._agreed(plain, banded, pairs, maps)
    both = np.where((one > 0) & (one < copies.MOST), np.maximum(one, other), one)
    expected = np.where((both >= copies.LEAST) & (both < copies.MOST), -1, both)
    found = copies.agreements(banded, plain, pairs, maps)
    sure = expected >= 0  # the others may have kept their slopes
    assert (both > one).any()
    assert found[sure] == pytest.approx(both[sure], abs=1e-5)
    assert ((found == both) | (found == np.float32(copies.MOST))).all()


def refined(first: Floats, second: Floats, one: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return a map after one step of weighted least squares with few pixels that differ much counting little."""
    moved, inside, across, down = (part[0].astype(float) for part in alignment._moved(second[None], one[None], 16))
    own, other, gain = (
        part[0] for part in alignment._centred(first[None], moved[None].astype(np.float32), inside[None].astype("f4"))
    )
    amount, rest = float(gain[0, 0]), (own - float(gain[0, 0]) * other).astype(float)
    scale = np.abs(rest * inside).mean() + 0.01
    weight = inside / (1 + (rest / (2 * scale)) ** 2)
    x, y = np.meshgrid(*[(2 * np.arange(16) + 1) / 16 - 1] * 2)
    changes = np.stack([across * x, across * y, across, down * x, down * y, down], -1).reshape(-1, 6) * amount
    changes -= (weight.reshape(-1, 1) * changes).sum(0) / (weight.sum() + 1e-6)
    square = changes.T @ (weight.reshape(-1, 1) * changes)
    square += np.eye(6) * (1e-3 * np.trace(square) / 6 + 1e-6)
    step = np.linalg.solve(square, changes.T @ (weight * rest).ravel())
    found: NDArray[np.float64] = one + step.clip(-0.2, 0.2)
    return found


@pytest.mark.parametrize("light", [0.5, 1.5])
def test_a_step_is_that_of_weighted_least_squares(light: float) -> None:
    first, second = softened(pictures(4, 16, seed=3), 1), softened(pictures(4, 16, seed=3), 1)
    second[2] = second[2, ::-1]  # leads far away, so the step is cut
    second[1, 4:7] = 1
    second[3] = second[3, :, 7:8] + 0.01 * second[3]  # next to no slopes across
    maps = MAPS + np.float32(0.02) * np.arange(6, dtype=np.float32)
    found = alignment._refined((first * np.float32(light)).astype(np.float32), second, maps, 1)
    expected = [refined(first[n] * np.float32(light), second[n], maps[n]) for n in range(4)]
    np.testing.assert_allclose(found, expected, atol=2e-4)
    assert (np.abs(found - maps).max(axis=1) > 0.1999).any(), "one step was cut"
    twice = alignment._refined(first, second, alignment._refined(first, second, maps, 1), 1)
    np.testing.assert_allclose(alignment._refined(first, second, maps, 2), twice, atol=1e-4)
