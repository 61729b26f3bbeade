"""Find edited copies among pictures: candidates first, then a comparison of details.

Two rows are candidates where one is among the nearest of the other, by the codes of the release or by its small grey
view as it is or mirrored. Of each pair one picture is laid over the other (:mod:`aepipe.release.alignment`), and it is
a pair of copies where their details agree at least as much as those of made copies do, see :func:`calibrated`.

Legend: N pictures, P pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aepipe.log import step
from aepipe.release import alignment
from aepipe.release.alignment import Floats
from aepipe.release.made_copies import made
from aepipe.release.release import Release

BY_CODE, BY_VIEW = 10, 4
"""Nearest rows that become candidates."""
MOST_VIEWED = 50_000
"""Pictures up to which views are compared, each with all others."""
MOST_TURNED = 5_000
"""Pictures up to which they are also compared cropped, framed and turned."""
MADE = 150
"""Pictures of which copies are made."""
PRECISION = 0.99
LEAST, MOST = 0.80, 0.97
"""Of the threshold. Pictures that agree more are copies, whatever the made ones say."""
TURNED = 5
"""Slopes of 112 that differ at most where a picture was only made small, blurred or saved again."""
BLOCK = 512

Pairs = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Calibration:
    """What made copies say.

    Attributes:
        threshold: agreement from which two pictures are copies, 0..1.
        recall: share of the made copies that reach it.
        precision: share of made copies among all pairs that reach it; None without made copies.
    """

    threshold: float
    recall: float
    precision: float | None


def calibrated(own: Floats, other: Floats, precision: float = PRECISION) -> Calibration:
    """Return the lowest threshold of a precision.

    Args:
        own: agreement of each made copy with its original.
        other: agreement of made copies with other pictures.
        precision: that is wanted.
    """
    if not len(own):
        return Calibration(MOST, 0.0, None)
    for threshold in np.arange(LEAST, MOST, 0.005).round(3):
        right, wrong = int((own >= threshold).sum()), int((other >= threshold).sum())
        if right and right >= precision * (right + wrong):
            return Calibration(float(threshold), right / len(own), right / (right + wrong))
    right, wrong = int((own >= MOST).sum()), int((other >= MOST).sum())
    return Calibration(MOST, right / len(own), right / max(1, right + wrong))


def find(release: Release, ids: NDArray[np.int64], pictures: NDArray[np.uint8]) -> tuple[Pairs, Floats, Calibration]:
    """Return pairs of copies as places in ``ids``, how far each agrees, and the calibration.

    Args:
        release: whose codes give candidates.
        ids: int64[N] ascending, of rows that are all different.
        pictures: uint8[N, S, S], grey.
    """
    grey = pictures.astype(np.float32) / np.float32(255)
    maps = alignment.guesses()
    views = views_of(grey, maps)
    pairs = _unique([*_by_code(release, ids), *_by_view(views)])
    found = agreements(grey, grey, pairs, maps)
    judged = _judged(grey, views, pairs, found, maps)
    kept = found >= judged.threshold
    return pairs[kept], found[kept], judged


def agreements(first: Floats, second: Floats, pairs: Pairs, maps: Floats) -> Floats:
    """Return how well the details of pairs agree, float32[P].

    Args:
        first: float32[N, S, S].
        second: likewise; pairs hold a place in each.
        pairs: int64[P, 2].
        maps: that are tried first.
    """
    found = np.zeros(len(pairs), np.float32)
    for start in range(0, len(pairs), BLOCK):
        step("comparing pictures", start, len(pairs))
        some = pairs[start : start + BLOCK]
        agreed = _agreed(first, second, some, maps)
        # What covers a part of one picture may mislead the map one way, and not the other.
        open_ = np.flatnonzero((agreed > 0) & (agreed < MOST))
        agreed[open_] = np.maximum(agreed[open_], _agreed(second, first, some[open_, ::-1], maps))
        # Small, blurred and noisy copies have lost details, and kept the slopes between large parts.
        alike = np.flatnonzero((agreed >= LEAST) & (agreed < MOST))
        pair = (alignment.slopes(side[some[alike, at]]) for at, side in enumerate((first, second)))
        agreed[alike[np.not_equal(*pair).sum(1) <= TURNED]] = MOST
        found[start : start + BLOCK] = agreed
    step("comparing pictures", len(pairs), len(pairs))
    return found


def _agreed(first: Floats, second: Floats, pairs: Pairs, maps: Floats) -> Floats:
    names, place = np.unique(pairs[:, 1], return_inverse=True)
    own = alignment.views(first[pairs[:, 0]], maps[:1])[:, 0]
    close = np.einsum("pd,pvd->pv", own, alignment.views(second[names], maps)[place])
    return alignment.agreement(first[pairs[:, 0]], second[pairs[:, 1]], maps[close.argmax(1)])


def views_of(pictures: Floats, maps: Floats) -> Floats:
    """Return the views that candidates are found by, float32[N, V, D].

    These are plain and mirrored ones, and of few pictures all others.

    Args:
        pictures: float32[N, S, S].
        maps: whose second half mirrors.
    """
    plain = [0, len(maps) // 2]
    rest = [one for one in range(len(maps)) if one not in plain] if len(pictures) <= MOST_TURNED else []
    return alignment.views(pictures, maps[plain + rest])


def near_views(own: Floats, views: Floats) -> Pairs:
    """Return for each view the places of candidates: the nearest plain ones, and of all.

    Args:
        own: float32[n, D].
        views: of :func:`views_of`.
    """
    count = min(BY_VIEW + 1, len(views))
    return np.concatenate([nearest(own, views[:, :2], count), nearest(own, views, count)], 1)


def nearest(own: Floats, views: Floats, count: int) -> Pairs:
    """Return for each view the places of the pictures that are most like it, int64[n, count].

    Args:
        own: float32[n, D].
        views: float32[N, V, D]; the best of V counts.
        count: of places, at most N.
    """
    found = np.empty((len(own), count), np.int64)
    for start in range(0, len(own), BLOCK):
        some = own[start : start + BLOCK]
        close = np.max([some @ views[:, number].T for number in range(views.shape[1])], axis=0)
        found[start : start + BLOCK] = np.argpartition(-close, count - 1, axis=1)[:, :count]
    return found


def _by_code(release: Release, ids: NDArray[np.int64]) -> list[Pairs]:
    hits = release.query(release.codes_of(ids), min(BY_CODE + 1, len(release)))
    places = np.searchsorted(ids, hits.ids).clip(max=len(ids) - 1)
    known = ids[places] == hits.ids
    own = np.broadcast_to(np.arange(len(ids))[:, None], places.shape)
    return [np.stack([own[known], places[known]], 1)]


def _by_view(views: Floats) -> list[Pairs]:
    if not 1 < len(views) <= MOST_VIEWED:
        return []
    return [_joined(near_views(views[:, 0], views))]


def _joined(near: Pairs) -> Pairs:
    return np.stack([np.repeat(np.arange(len(near)), near.shape[1]), near.ravel()], 1)


def _unique(parts: Sequence[Pairs]) -> Pairs:
    pairs = np.sort(np.concatenate([np.zeros((0, 2), np.int64), *parts]), axis=1)
    return np.unique(pairs[pairs[:, 0] != pairs[:, 1]], axis=0)


def _judged(grey: Floats, views: Floats, pairs: Pairs, found: Floats, maps: Floats) -> Calibration:
    """Make copies of some pictures, and compare them with their originals and with those most like these."""
    rng = np.random.default_rng(0)
    chosen = np.sort(rng.permutation(len(grey))[:MADE])
    copies = made(grey[chosen], rng)
    own = np.stack([np.arange(len(chosen)), chosen], 1)
    others = _joined(near_views(alignment.views(copies, maps[:1])[:, 0], views))
    # The nearest of an original by all candidates are the hardest; those that are copies of it prove nothing.
    place = np.full(len(grey), -1)
    place[chosen] = np.arange(len(chosen))
    same = {(int(a), int(b)) for a, b in pairs[found >= MOST]}
    close = np.concatenate([pairs, pairs[:, ::-1]])[np.concatenate([found, found]) >= LEAST]
    close = close[place[close[:, 0]] >= 0]
    others = np.unique(np.concatenate([others, np.stack([place[close[:, 0]], close[:, 1]], 1)]), axis=0)
    fair = [b != chosen[a] and tuple(sorted((int(chosen[a]), int(b)))) not in same for a, b in others]
    others = others[np.array(fair, bool)]
    agreed = agreements(copies, grey, np.concatenate([own, others]), maps)
    return calibrated(agreed[: len(own)], agreed[len(own) :])
