"""Make the map of a release.

t-SNE places a few thousand landmarks, and every other row lies at the weighted mean of its nearest landmarks by Hamming
distance: a million rows take little longer than the landmarks.

Legend: N rows, L landmarks.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aepipe.index import hamming
from aepipe.log import step
from aepipe.release import maps
from aepipe.release.maps import LANDMARKS, NAMED, NONE, OTHERS, SEED, SIDE, Map
from aepipe.release.regions import regions
from aepipe.release.release import Release
from aepipe.store import layout
from aepipe.store.artifacts import Store
from aepipe.store.labels import parted

NEAREST = 8
"""Landmarks whose weighted mean is the place of a row."""
MARGIN = 0.03
"""Share of the side that stays empty on each edge."""
JITTER = 1 / 800
"""Share of the side by which rows are moved at random, so that rows with equal codes can be told apart."""
BLOCK = 1 << 16
"""Rows that are placed at a time."""

Places = NDArray[np.float64]


def make(store: Store, release: Release, *, threads: int = 1) -> Map:
    """Make the map of a release, or open the one that it has.

    Args:
        store: with the release.
        release: whose rows are placed.
        threads: that look for landmarks.

    Raises:
        ModuleNotFoundError: scikit-learn is not installed.
        FullError: the disk is full.
        StoreError: the store cannot be written.
    """
    known = maps.find(store, release.ref)
    if known is not None:
        return known
    rng = np.random.default_rng(SEED)
    order = rng.permutation(len(release.items.ids))
    landmarks = np.sort(order[:LANDMARKS])
    places = _scaled(_places(release, landmarks, threads))
    named = regions(release, np.asarray(release.items.ids)[landmarks], places[landmarks] * SIDE)
    places += rng.uniform(-JITTER, JITTER, places.shape)
    points = np.clip(np.rint(places * SIDE), 0, SIDE).astype(np.uint16)[order]
    classes, legend = _classes(release.items.column("label"), len(order))
    with store.draft("segment") as draft:
        columns = {layout.Map.X: points[:, 0], layout.Map.Y: points[:, 1], layout.Map.CLASS: classes[order]}
        columns[layout.Map.IDS] = np.asarray(release.items.ids)[order]
        for name, column in columns.items():
            np.save(draft.path / name, np.ascontiguousarray(column))
        card: dict[str, Any] = {"schema": 1, "landmarks": len(landmarks), "classes": legend}
        card |= {"regions": [asdict(one) for one in named]} if named else {}
        (draft.path / layout.Map.CARD).write_text(json.dumps(card), encoding="utf-8")
        facts = {"rows": len(order), "landmarks": len(landmarks)}
        return Map(store.path(draft.finish(maps.inputs_of(release.ref), facts)))


def _places(release: Release, landmarks: NDArray[np.int64], threads: int) -> Places:
    """Return the place of each row in ascending order of id, float64[N, 2], in any scale."""
    from aepipe.evaluate.probes import plane

    ids = np.asarray(release.items.ids)
    codes = release.segments.of(ids[landmarks])
    step("landmarks", 0, len(landmarks))
    fixed = plane(codes.unpack().astype(np.float32), seed=SEED).astype(np.float64)
    step("landmarks", len(landmarks), len(landmarks))
    found = np.zeros((len(ids), 2))
    if len(landmarks) < len(ids):
        index = hamming.build(codes, np.arange(len(landmarks)))
        for start in range(0, len(ids), BLOCK):
            some = release.segments.of(ids[start : start + BLOCK])
            hits = index.search(some, NEAREST, threads=threads)
            found[start : start + BLOCK] = _means(fixed, hits.ids, hits.distances)
            step("map", min(start + BLOCK, len(ids)), len(ids))
    found[landmarks] = fixed
    return found


def _means(fixed: Places, nearest: NDArray[np.int64], distances: NDArray[np.uint16]) -> Places:
    """Return the weighted means of landmarks, float64[n, 2]; each further bit halves a landmark's weight.

    So a row between two groups lies with the nearer one, and not in the empty space between them.
    """
    far = distances.astype(np.float64)
    weights = np.exp2(far[:, :1] - far) * (nearest >= 0)
    means: Places = np.einsum("nk,nkd->nd", weights, fixed[nearest]) / weights.sum(axis=1, keepdims=True)
    return means


def _scaled(places: Places) -> Places:
    """Return places within the unit square, both axes in one scale, float64[N, 2]."""
    if not len(places):
        return places
    low, high = places.min(axis=0), places.max(axis=0)
    wide = float((high - low).max()) or 1.0
    centred: Places = (places - (low + high) / 2) / wide * (1 - 2 * MARGIN)
    return centred + 0.5


def _classes(labels: Iterable[str | None], count: int) -> tuple[NDArray[np.uint8], list[dict[str, Any]]]:
    """Return the class of each row, uint8[N], and all classes; a row of several labels has the class of the first."""
    numbers: dict[str | None, int] = {}
    first = (parted(text)[0] if text else None for text in labels)
    seen = np.fromiter((numbers.setdefault(label, len(numbers)) for label in first), np.int64, count)
    counts = Counter(dict(zip(numbers, np.bincount(seen, minlength=len(numbers)).tolist(), strict=True)))
    none = counts.pop(None, 0)
    named = [label for label, _ in counts.most_common(NAMED)]
    table = np.full(len(numbers), OTHERS, np.uint8)
    table[[numbers[label] for label in named]] = np.arange(len(named))
    table[[number for label, number in numbers.items() if label is None]] = NONE
    others = counts.total() - sum(counts[label] for label in named)
    legend = [(number, label, counts[label]) for number, label in enumerate(named)]
    legend += [(number, None, left) for number, left in ((NONE, none), (OTHERS, others)) if left]
    return table[seen], [{"number": number, "label": label, "count": left} for number, label, left in legend]
