"""Places of rows on a map, from landmarks: against plain loops."""

from __future__ import annotations

import json
import logging
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from aepipe.codes.bitcodes import BitCodes
from aepipe.log import Progress
from aepipe.release import maps, placing
from aepipe.release.maps import NONE, SEED, SIDE
from aepipe.store.artifacts import Ref, Store

IDS = np.array([3, 4, 6, 9, 12, 13, 20])
BITS = np.random.default_rng(0).integers(0, 2, (7, 16))


def release(**more: Any) -> Any:
    codes = BitCodes.from_bits(BITS)
    segments = SimpleNamespace(of=lambda ids: codes[np.asarray(np.searchsorted(IDS, ids))])
    return SimpleNamespace(items=SimpleNamespace(ids=IDS, **more), segments=segments, ref=Ref("release", "1" * 64))


def test_rows_lie_among_their_nearest_landmarks_and_landmarks_where_they_are(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(placing, "NEAREST", 2)
    monkeypatch.setattr(placing, "BLOCK", 3)
    given: list[tuple[Any, int]] = []

    def plane(rows: NDArray[np.float32], *, seed: int) -> NDArray[np.float32]:
        given.append((rows.tolist(), seed))
        return np.arange(2 * len(rows), dtype=np.float32).reshape(-1, 2) ** 2

    monkeypatch.setattr("aepipe.evaluate.probes.plane", plane)
    landmarks = np.array([1, 2, 5])
    with caplog.at_level(logging.INFO, logger="aepipe.progress"):
        found = placing._places(release(), landmarks, 1)
    assert given == [(BITS[landmarks].tolist(), SEED)]
    fixed = [np.array([0.0, 1]), np.array([4.0, 9]), np.array([16.0, 25])]
    for row in range(7):
        if row in landmarks:
            assert found[row].tolist() == fixed[landmarks.tolist().index(row)].tolist()
            continue
        far = (BITS[landmarks] != BITS[row]).sum(axis=1)
        near = np.argsort(far, kind="stable")[:2]
        weights = [2.0 ** -float(far[one]) for one in near]
        mean = sum(weight * fixed[one] for weight, one in zip(weights, near, strict=True)) / sum(weights)
        assert found[row].tolist() == pytest.approx(mean.tolist())
    steps = [(one.stage, one.done, one.total) for record in caplog.records if (one := Progress.of(record))]
    assert steps == [("landmarks", 0, 3), ("landmarks", 3, 3), *(("map", done, 7) for done in (3, 6, 7))]
    every = placing._places(release(), np.arange(7), 1)
    assert every.tolist() == [[float(4 * one**2), float((2 * one + 1) ** 2)] for one in range(7)]


def test_a_map_has_its_rows_in_one_random_order(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.create()
    monkeypatch.setattr(placing, "LANDMARKS", 4)
    labels = ["a", "b", None, "a", "a", "b", "c"]
    asked: list[tuple[Any, ...]] = []

    def places(_: Any, landmarks: NDArray[np.int64], threads: int) -> NDArray[np.float64]:
        asked.append((landmarks.tolist(), threads))
        return np.arange(14.0).reshape(7, 2)

    def regions(_: Any, ids: NDArray[np.int64], at: NDArray[np.float64]) -> list[Any]:
        asked.append((ids.tolist(), at))
        return []

    monkeypatch.setattr(placing, "_places", places)
    monkeypatch.setattr(placing, "regions", regions)
    given = release(column=lambda name: iter(labels) if name == "label" else iter([]))
    made = placing.make(store, given, threads=3)
    folder = store.path(maps.ref_of(given.ref))
    rng = np.random.default_rng(SEED)
    order = rng.permutation(7)
    landmarks = sorted(order[:4].tolist())
    square = placing._scaled(np.arange(14.0).reshape(7, 2))
    assert asked[0] == (landmarks, 3)
    assert asked[1][0] == IDS[landmarks].tolist()
    np.testing.assert_allclose(asked[1][1], square[landmarks] * SIDE)
    moved = square + rng.uniform(-placing.JITTER, placing.JITTER, square.shape)
    points = np.clip(np.rint(moved * SIDE), 0, SIDE).astype(int)
    columns = {name: np.load(folder / f"{name}.npy").tolist() for name in ("x", "y", "class", "ids")}
    assert columns["x"] == points[order, 0].tolist()
    assert columns["y"] == points[order, 1].tolist()
    assert columns["ids"] == IDS[order].tolist()
    assert columns["class"] == [{"a": 0, "b": 1, "c": 2, None: NONE}[labels[row]] for row in order]
    told = json.loads((folder / "map.json").read_text())
    assert (told["schema"], told["landmarks"], "regions" in told) == (1, 4, False)
    assert store.manifest(maps.ref_of(given.ref)).facts == {"rows": 7, "landmarks": 4}
    assert len(made) == 7
    assert len(placing.make(store, given)) == 7
    assert len(asked) == 2, "the map that there is is opened"
