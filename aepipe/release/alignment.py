"""Lay one small picture over another, and tell how well their details agree.

An edited copy is its original after a crop, a turn, a mirror or a frame, with other colours and perhaps words over a
part of it. So the one is moved by an affine map until it lies on the other; then details of the same place are
compared, where an even change of brightness says nothing, and a covered part costs only itself. Pictures that are
merely alike in content have no map that brings their details together.

Source: Lucas and Kanade, "An Iterative Image Registration Technique", IJCAI 1981, with weights that fall for cells that
do not fit, and a gain and a bias for brightness, as in Baker and Matthews, "Lucas-Kanade 20 Years On", IJCV 2004.

Legend: N pictures, P pairs, V first guesses of a map, S side of a picture; maps are float32[P, 6] and give the place
(a x + b y + c, d x + e y + f) in the second picture for (x, y) in the first, both within -1..1.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
from numpy.typing import NDArray

SIDE = 64
"""Height and width of the pictures that are compared."""
VIEW = 16
"""Height and width of the views that first guesses are compared in."""
PARTS = 8
"""Rows and columns of the parts that slopes are between."""
LEAST_OVERLAP, LEAST_SHOWN = 0.35, 0.3
"""Share of the first picture that the second one covers, and share of the second that lies over the first."""
SOFTENED = (3, 9)
HOPELESS, SURE = 0.5, 0.97
BLOCK = 256

Floats = NDArray[np.float32]


def guesses() -> Floats:
    """Return the maps that are tried first, float32[V, 6]; half of them mirror."""
    boxes = [(1.0, 0.0, 0.0), (0.85, 0.0, 0.0), (1.18, 0.0, 0.0)]
    boxes += [(0.78, x, y) for x, y in itertools.product((-0.2, 0.2), repeat=2)]
    boxes += [(0.9, x, y) for x, y in ((-0.1, 0), (0.1, 0), (0, -0.1), (0, 0.1))]
    boxes += [(1.28, x, y) for x, y in itertools.product((-0.25, 0.25), repeat=2)]
    maps = [(scale, 0.0, x, 0.0, scale, y) for scale, x, y in boxes]
    for degrees in (-8, 8):
        cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        maps.append((cos, -sin, 0.0, sin, cos, 0.0))
    whole = np.array(maps, np.float32)
    return np.concatenate([whole, whole * np.array([-1, -1, -1, 1, 1, 1], np.float32)])


def views(pictures: Floats, maps: Floats) -> Floats:
    """Return each picture under each map, small and of length 1, float32[N, V, VIEW * VIEW].

    Args:
        pictures: float32[N, S, S].
        maps: float32[V, 6].
    """
    small = pictures
    while small.shape[1] > VIEW:
        small = _halved(small)
    found = np.empty((len(pictures), len(maps), VIEW * VIEW), np.float32)
    for place, one in enumerate(maps):
        for start in range(0, len(pictures), BLOCK):
            some = small[start : start + BLOCK]
            seen, inside, _, _ = _moved(some, np.broadcast_to(one, (len(some), 6)), VIEW)
            mean = (seen * inside).sum((1, 2), keepdims=True) / inside.sum((1, 2), keepdims=True)
            flat = _tamed(_detail((seen - mean) * inside, inside, 3)).reshape(len(some), -1)
            found[start : start + BLOCK, place] = flat / (np.linalg.norm(flat, axis=1, keepdims=True) + 1e-3)
    return found


def agreement(first: Floats, second: Floats, maps: Floats) -> Floats:
    """Return how well the details of pairs agree, laid one over the other, float32[P].

    Args:
        first: float32[P, S, S], brightness 0..1.
        second: the other picture of each pair.
        maps: a first guess for each pair.
    """
    parts = [slice(start, start + BLOCK) for start in range(0, len(first), BLOCK)]
    return np.concatenate([np.zeros(0, np.float32), *(_agreement(first[at], second[at], maps[at]) for at in parts)])


def slopes(pictures: Floats) -> NDArray[np.bool_]:
    """Return where pictures get lighter, downwards and to the right, bool[N, 2 * 8 * 7].

    Source: N. Krawetz, "Kind of Like That" (dHash), 2013, here in both directions.

    Args:
        pictures: float32[N, S, S].
    """
    size = pictures.shape[1] // PARTS
    means = pictures.reshape(len(pictures), PARTS, size, PARTS, size).mean((2, 4))
    rising = [(np.diff(means, axis=axis) > 0).reshape(len(pictures), PARTS * (PARTS - 1)) for axis in (1, 2)]
    return np.concatenate(rising, axis=1)


def moved(pictures: Floats, maps: Floats, ground: NDArray[np.integer]) -> Floats:
    """Return pictures under maps, float32[N, S, S]; what comes in has one shade.

    Args:
        pictures: float32[N, S, S].
        maps: float32[N, 6].
        ground: [N], the shade.
    """
    found, inside, _, _ = _moved(pictures, maps, pictures.shape[1])
    return found * inside + (1 - inside) * ground[:, None, None].astype(np.float32)


def softened(x: Floats, times: int) -> Floats:
    """Return means over 3 x 3 cells, the middle ones weighing double, taken some times."""
    for _ in range(times):
        y = np.pad(x, ((0, 0), (1, 1), (1, 1)), "edge")
        y = y[:, :-2] + 2 * y[:, 1:-1] + y[:, 2:]
        x = (y[:, :, :-2] + 2 * y[:, :, 1:-1] + y[:, :, 2:]) * np.float32(1 / 16)
    return x


def _agreement(first: Floats, second: Floats, maps: Floats) -> Floats:
    half, other_half = _halved(first), _halved(second)
    quarter, other_quarter = _halved(half), _halved(other_half)
    better = _refined(quarter, other_quarter, maps, 5)
    # Most pairs have nothing in common, and that shows when they are small.
    plain, near = (np.flatnonzero(_fit(*_laid(quarter, other_quarter, one)) > HOPELESS) for one in (maps, better))
    found = np.zeros(len(first), np.float32)
    if len(near):
        found[near] = _fit_under(first[near], second[near], _refined(half[near], other_half[near], better[near], 5))
    # A wide band of words leads a map away from where a picture that was not moved lies best.
    plain = plain[found[plain] < SURE]
    if len(plain):
        found[plain] = np.maximum(found[plain], _fit_under(first[plain], second[plain], maps[plain]))
    return found


def _fit_under(first: Floats, second: Floats, maps: Floats) -> Floats:
    """Return the fit of details at full size, float32[P]; 0 under a map that leaves little, or shows a small part."""
    own, other, whole = _laid(softened(first, 1), second, maps)
    shown = np.abs(maps[:, 0] * maps[:, 4] - maps[:, 1] * maps[:, 3])
    sane = (whole.mean((1, 2)) > LEAST_OVERLAP) & (shown > LEAST_SHOWN)
    found: Floats = np.where(sane, _best_fit(own, softened(other, 1), whole), np.float32(0))
    return found


def _laid(first: Floats, second: Floats, maps: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the first pictures, the second ones laid over them, and where both are whole."""
    seen, inside, _, _ = _moved(second, maps, first.shape[1])
    return first, seen, (softened(inside, 1) > 0.99).astype(np.float32)


def _best_fit(first: Floats, second: Floats, whole: Floats) -> Floats:
    """Return the fit of details; one of the two may be a blurred or enlarged copy, so the other is softened, too."""
    found = _fit(first, second, whole)
    for times in SOFTENED:
        found = np.maximum(found, _fit(softened(first, times), second, whole))
        found = np.maximum(found, _fit(first, softened(second, times), whole))
    return found


def _fit(first: Floats, second: Floats, whole: Floats) -> Floats:
    """Return the correlation of details without the worst quarter of the blocks, which words may cover, float32[P]."""
    a, b = (_tamed(_detail(x * whole, whole, 2)) for x in (first, second))
    joint, own, other = _blocks(a * b), _blocks(a * a), _blocks(b * b)
    best = np.argsort(joint - 0.5 * (own + other), axis=1)[:, joint.shape[1] // 4 :]
    joint, own, other = (np.take_along_axis(part, best, 1).sum(1) for part in (joint, own, other))
    found: Floats = joint / np.sqrt(own * other + 1e-2)
    return found


def _blocks(x: Floats) -> Floats:
    """Return the sums over 4 x 4 blocks, float32[P, 16]."""
    side = x.shape[1] // 4
    found: Floats = x.reshape(len(x), 4, side, 4, side).sum((2, 4)).reshape(len(x), 16)
    return found


def _refined(first: Floats, second: Floats, maps: Floats, steps: int) -> Floats:
    x, y = _places(first.shape[1])
    for _ in range(steps):
        moved, inside, across, down = _moved(second, maps, first.shape[1])
        own, other, gain = _centred(first, moved, inside)
        rest = own - gain * other
        # The mean absolute residual is a robust enough scale, and much quicker than a median.
        scale = np.abs(rest * inside).mean((1, 2), keepdims=True) + 0.01
        weight = (inside / (1 + (rest / (2 * scale)) ** 2)).reshape(len(first), -1, 1)
        slopes = np.stack([across * x, across * y, across, down * x, down * y, down], -1) * gain[..., None]
        slopes = slopes.reshape(len(first), -1, 6)
        slopes -= (weight * slopes).sum(1, keepdims=True) / (weight.sum(1, keepdims=True) + 1e-6)
        weighed = (slopes * weight).transpose(0, 2, 1)
        square = weighed @ slopes
        damped = 1e-3 * np.trace(square, axis1=1, axis2=2)[:, None, None] / 6 + 1e-6
        step = np.linalg.solve(square + damped * np.eye(6, dtype=np.float32), weighed @ rest.reshape(len(first), -1, 1))
        maps = maps + step[..., 0].clip(-0.2, 0.2)
    return maps


def _centred(first: Floats, moved: Floats, inside: Floats) -> tuple[Floats, Floats, Floats]:
    """Return both less their means where they overlap, and the gain that makes the second as strong as the first."""
    count = inside.sum((1, 2), keepdims=True) + 1e-6
    own = first - (inside * first).sum((1, 2), keepdims=True) / count
    other = moved - (inside * moved).sum((1, 2), keepdims=True) / count
    joint = (inside * own * other).sum((1, 2), keepdims=True) / count
    gain = np.maximum(joint, 1e-3) / ((inside * other * other).sum((1, 2), keepdims=True) / count + 1e-4)
    return own, other, gain


def _moved(pictures: Floats, maps: Floats, side: int) -> tuple[Floats, Floats, Floats, Floats]:
    """Return pictures under maps, where they are inside, and slopes along x and y, each float32[P, side, side]."""
    count, size, _ = pictures.shape
    x, y = _places(side)
    at_x, at_y = (
        maps[:, k, None, None] * x + maps[:, k + 1, None, None] * y + maps[:, k + 2, None, None] for k in (0, 3)
    )
    inside = ((np.abs(at_x) <= 1) & (np.abs(at_y) <= 1)).astype(np.float32)
    column, row = (((at + 1) * (size / 2) - 0.5).clip(0, size - 1.001) for at in (at_x, at_y))
    left, top = column.astype(np.int32), row.astype(np.int32)
    right, below = (column - left).astype(np.float32), (row - top).astype(np.float32)
    at = (np.arange(count) * size * size)[:, None, None] + top * size + left
    cells = pictures.reshape(-1)
    corners = [cells[at + move] for move in (0, 1, size, size + 1)]
    above, beneath = corners[1] - corners[0], corners[3] - corners[2]
    upper, lower = corners[0] + above * right, corners[2] + beneath * right
    across = (above * (1 - below) + beneath * below) * (size / 2)
    return upper + (lower - upper) * below, inside, across, (lower - upper) * (size / 2)


def _places(side: int) -> tuple[Floats, Floats]:
    middle = ((np.arange(side, dtype=np.float32) + 0.5) / side * 2 - 1).astype(np.float32)
    return middle[None, :], middle[:, None]


def _tamed(x: Floats) -> Floats:
    """Let strong edges count, but not so much that all else is silent."""
    found: Floats = np.tanh(x / (np.sqrt((x * x).mean((1, 2), keepdims=True)) + 0.003))
    return found


def _detail(x: Floats, there: Floats, reach: int) -> Floats:
    """Return what differs from the mean of the cells within a reach that are there."""
    found: Floats = (x - there * _summed(x, reach) / (_summed(there, reach) + 1e-3)) * there
    return found


def _summed(x: Floats, reach: int) -> Floats:
    """Return sums over windows."""
    wide, edges = 2 * reach + 1, ((0, 0), (reach + 1, reach), (reach + 1, reach))
    total = np.pad(x, edges).cumsum(1, dtype=np.float32).cumsum(2, dtype=np.float32)
    high = total[:, wide:] - total[:, :-wide]
    found: Floats = high[:, :, wide:] - high[:, :, :-wide]
    return found


def _halved(x: Floats) -> Floats:
    """Return means over 2 x 2 cells."""
    side = x.shape[1] // 2
    found: Floats = x.reshape(len(x), side, 2, side, 2).mean((2, 4), dtype=np.float32)
    return found
