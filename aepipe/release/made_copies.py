"""Make edited copies of small grey pictures, by which it is measured how alike copies are.

Legend: N pictures, S side.
"""

from __future__ import annotations

import math

import numpy as np

from aepipe.release import alignment
from aepipe.release.alignment import Floats


def made(pictures: Floats, rng: np.random.Generator) -> Floats:
    """Return one edited copy of each picture, float32[N, S, S].

    A third of them is cropped, a third turned by up to 10 degrees, a third framed; a third of all is mirrored, and each
    has one of: other light, a blur, noise, a band over a part of it.

    Args:
        pictures: float32[N, S, S], 0..1.
        rng: of all draws.
    """
    count = len(pictures)
    moved = alignment.moved(pictures, _maps(count, rng), rng.integers(0, 2, count))
    kind = rng.integers(0, 4, count)
    changed = [_lit(moved, rng), alignment.softened(moved, 3), _noisy(moved, rng), _captioned(moved, rng)]
    found: Floats = np.stack(changed)[kind, np.arange(count)].clip(0, 1)
    return found


def _maps(count: int, rng: np.random.Generator) -> Floats:
    kind = rng.integers(0, 3, count)
    scale = np.where(kind == 0, rng.uniform(0.7, 1, count), np.where(kind == 2, rng.uniform(1, 1.2, count), 1))
    x, y = (rng.uniform(-1, 1, count) * (1 - scale).clip(0) for _ in range(2))
    angle = np.where(kind == 1, rng.uniform(-10, 10, count), 0) * (math.pi / 180)
    flip = np.where(rng.random(count) < 1 / 3, -1.0, 1.0)
    cos, sin = np.cos(angle) * scale, np.sin(angle) * scale
    return np.stack([cos * flip, -sin, x, sin * flip, cos, y], 1).astype(np.float32)


def _lit(pictures: Floats, rng: np.random.Generator) -> Floats:
    factor = rng.uniform(0.6, 1.7, (len(pictures), 1, 1)).astype(np.float32)
    return pictures * factor


def _noisy(pictures: Floats, rng: np.random.Generator) -> Floats:
    return pictures + rng.normal(0, 0.05, pictures.shape).astype(np.float32)


def _captioned(pictures: Floats, rng: np.random.Generator) -> Floats:
    place = (np.arange(pictures.shape[1]) + 0.5) / pictures.shape[1]
    high = rng.uniform(0.08, 0.22, (len(pictures), 1))
    top = rng.integers(0, 2, (len(pictures), 1)) > 0
    covered = np.where(top, place < high, place > 1 - high)[:, :, None]
    return np.where(covered, rng.integers(0, 2, (len(pictures), 1, 1)).astype(np.float32), pictures)
