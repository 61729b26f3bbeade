"""Candidates for edited copies, and the copies that are made to judge them: against plain lists."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from aepipe.codes.bitcodes import BitCodes
from aepipe.index.hits import Hits
from aepipe.release import alignment, copies
from aepipe.release.copies import Calibration


@pytest.mark.parametrize(("most", "count"), [(2, 3), (10, 7)])
def test_rows_near_by_code_are_candidates(monkeypatch: pytest.MonkeyPatch, most: int, count: int) -> None:
    """Rows that a release has and that are not looked at are none."""
    monkeypatch.setattr(copies, "BY_CODE", most)
    ids, every = np.array([3, 5, 9, 12]), np.array([1, 3, 5, 7, 9, 12, 20])
    bits = np.random.default_rng(0).integers(0, 2, (7, 16))
    codes = BitCodes.from_bits(bits)

    def query(asked: BitCodes, k: int) -> Hits:
        far = asked.distances(codes)
        order = np.argsort(far, axis=1, kind="stable")[:, :k]
        return Hits(every[order], np.take_along_axis(far, order, 1), np.full(len(asked), k))

    class Seven(SimpleNamespace):
        def __len__(self) -> int:
            return 7

    release: Any = Seven(query=query, codes_of=lambda some: codes[np.asarray(np.searchsorted(every, some))])
    (found,) = copies._by_code(release, ids)
    expected = []
    for place, row in enumerate(ids.tolist()):
        far = (bits != bits[every.tolist().index(row)]).sum(axis=1)
        near = every[np.argsort(far, kind="stable")[:count]].tolist()
        expected += [[place, ids.tolist().index(one)] for one in near if one in ids]
    assert found.tolist() == expected


def test_few_pictures_have_all_views_with_the_plain_ones_first(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = np.random.default_rng(0).random((3, 64, 64)).astype(np.float32)
    maps = alignment.guesses()
    half = len(maps) // 2
    order = [0, half, *range(1, half), *range(half + 1, len(maps))]
    every = alignment.views(pictures, maps)
    monkeypatch.setattr(copies, "MOST_TURNED", 3)
    assert np.array_equal(copies.views_of(pictures, maps), every[:, order])
    monkeypatch.setattr(copies, "MOST_TURNED", 2)
    assert np.array_equal(copies.views_of(pictures, maps), every[:, [0, half]])


NEAR = np.array([[0, 2, 4], [5, 1, 3], [2, 4, 0]])
"""The pictures near each made copy."""


def test_made_copies_are_judged_with_what_is_most_like_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "MADE", 3)
    grey = np.arange(6, dtype=np.float32)[:, None, None] * np.ones((1, 2, 2), np.float32)
    maps = np.arange(4.0)
    chosen = sorted(np.random.default_rng(0).permutation(6)[:3].tolist())
    seen: dict[str, Any] = {}

    def made(pictures: NDArray[np.float32], rng: np.random.Generator) -> Any:
        seen["made"] = pictures[:, 0, 0].tolist()
        seen["draw"] = int(rng.integers(1 << 30))
        return pictures + 100

    def views(pictures: NDArray[np.float32], given: NDArray[np.float64]) -> Any:
        seen["views"] = given.tolist()
        return np.stack([pictures[:, 0], pictures[:, 1] + 7], 1)

    def near_views(own: NDArray[np.float32], given: object) -> NDArray[np.int64]:
        seen["near"] = own[:, 0].tolist(), given
        return NEAR

    def agreements(first: Any, second: Any, pairs: NDArray[np.int64], given: object) -> Any:
        assert second is grey
        assert given is maps
        seen["pairs"] = first[:, 0, 0].tolist(), pairs.tolist()
        return np.arange(len(pairs), dtype=np.float32) / 100

    def calibrated(own: NDArray[np.float32], other: NDArray[np.float32]) -> Calibration:
        seen["agreed"] = own.tolist(), other.tolist()
        return Calibration(0.9, 0.8, 0.7)

    for name, fake in (("made", made), ("near_views", near_views), ("agreements", agreements)):
        monkeypatch.setattr(copies, name, fake)
    monkeypatch.setattr(copies, "calibrated", calibrated)
    monkeypatch.setattr(alignment, "views", views)
    pairs = np.array([[a, b] for a in range(6) for b in range(a + 1, 6)])
    found = np.resize(np.array([0.97, 0.80, 0.79, 0.9, 0.969], np.float64), len(pairs))
    every = object()
    assert copies._judged(grey, every, pairs, found, maps) == Calibration(0.9, 0.8, 0.7)  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    rng.permutation(6)
    assert seen["made"] == chosen
    assert seen["draw"] == int(rng.integers(1 << 30)), "copies are drawn after the pictures"
    assert seen["views"] == [0.0]
    assert seen["near"] == ([one + 100 for one in chosen], every)
    others = {(place, near) for place, row in enumerate(NEAR.tolist()) for near in row}
    same = set()
    for (a, b), value in zip(pairs.tolist(), found.tolist(), strict=True):
        same |= {(a, b), (b, a)} if value >= 0.97 else set()
        ends = [(a, b), (b, a)] if value >= 0.80 else []
        others |= {(chosen.index(own), other) for own, other in ends if own in chosen}
    kept = sorted((a, b) for a, b in others if b != chosen[a] and (chosen[a], b) not in same)
    own = list(enumerate(chosen))
    assert len(kept) < len(others)
    assert seen["pairs"] == ([one + 100 for one in chosen], [list(pair) for pair in [*own, *kept]])
    numbers = (np.arange(len(own) + len(kept), dtype=np.float32) / 100).tolist()
    assert seen["agreed"] == (numbers[: len(own)], numbers[len(own) :])


def test_pairs_that_reach_the_threshold_are_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = np.arange(3, dtype=np.uint8)[:, None, None] * np.full((1, 64, 64), 51, np.uint8)
    maps, views, ids = alignment.guesses(), object(), np.array([4, 6, 8])
    candidates = np.array([[0, 1], [0, 2], [1, 2]])
    seen: list[Any] = []

    def judged(*given: Any) -> Calibration:
        seen.append(given)
        return Calibration(0.9, 0.5, None)

    def agreements(first: Any, second: Any, pairs: NDArray[np.int64], given: NDArray[np.float32]) -> Any:
        assert first is second
        assert pairs.tolist() == candidates.tolist()
        assert np.array_equal(given, maps)
        assert first.dtype == np.float32
        assert first[:, 5, 5].tolist() == pytest.approx([0, 0.2, 0.4])
        return np.array([0.9, 0.89, 0.95])

    release: Any = object()
    by_code = [np.array([[1, 0], [0, 0]])]
    monkeypatch.setattr(copies, "_by_code", lambda *given: by_code if given == (release, ids) else [])
    monkeypatch.setattr(copies, "_by_view", lambda given: [candidates[1:]] if given is views else [])
    monkeypatch.setattr(copies, "views_of", lambda grey, given: views if len(grey) == 3 and len(given) else None)
    monkeypatch.setattr(copies, "agreements", agreements)
    monkeypatch.setattr(copies, "_judged", judged)
    pairs, found, told = copies.find(release, ids, pictures)
    assert pairs.tolist() == [[0, 1], [1, 2]]
    assert found.tolist() == [0.9, 0.95]
    assert told == Calibration(0.9, 0.5, None)
    ((grey, given_views, given_pairs, agreed, given_maps),) = seen
    assert grey.shape == (3, 64, 64)
    assert given_views is views
    assert given_pairs.tolist() == candidates.tolist()
    assert agreed.tolist() == [0.9, 0.89, 0.95]
    assert np.array_equal(given_maps, maps)
