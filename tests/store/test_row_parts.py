"""Rows that are a list of tables: read as one, with ids of the list; checked and marked with their parts."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from aepipe.errors import CorruptError
from aepipe.pipeline.ingest import ingest
from aepipe.store.artifacts import Ref, Store
from aepipe.store.row_parts import Slices, ids_of_runs, joined, runs_of
from aepipe.store.rows import Rows, gather
from tests.support.fakes import Fake

KEYS = [f"k{number:03d}" for number in range(120)]


@pytest.mark.parametrize("seed", range(5))
def test_runs_are_the_ids(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pieces = [np.arange(start, start + rng.integers(1, 9)) for start in rng.integers(0, 500, 30)]
    ids: NDArray[np.int64] = np.concatenate(pieces) if seed else np.empty(0, np.int64)
    runs = runs_of(ids)
    assert (ids_of_runs(runs) == ids).all()
    assert (runs[1:, 0] != runs[:-1].sum(axis=1)).all()
    cuts = np.sort(rng.integers(0, len(ids) + 1, 4)).tolist()
    bounds = [0, *cuts, len(ids)]
    slices = Slices(runs)
    parts = [slices.of(start, stop) for start, stop in pairwise(bounds)]
    for part, (start, stop) in zip(parts, pairwise(bounds), strict=True):
        assert (ids_of_runs(part) == ids[start:stop]).all()
    assert (joined(parts) == runs).all()
    some = rng.integers(0, len(ids), 20) if len(ids) else np.empty(0, np.int64)
    assert (slices.at(some) == ids[some]).all()


@pytest.fixture
def listed(store: Store) -> Ref:
    """Rows in parts, with an item that came later between the others."""
    first = ingest(store, Fake({key: key.encode() for key in KEYS}, part=16))
    data = {key: key.encode() for key in [*KEYS[:50], "late", *KEYS[50:80], *KEYS[81:]]}
    return ingest(store, Fake(data, part=16), previous=first)


def test_a_list_is_read_as_one_table(store: Store, listed: Ref) -> None:
    rows = Rows(store.verified(listed))
    ids = [*range(50), 120, *range(50, 80), *range(81, 120)]
    keys = [*KEYS[:50], "late", *KEYS[50:80], *KEYS[81:]]
    assert len(rows.parts) == len(rows.part_names) == len(rows.folders) > 4
    assert (rows.ids().tolist(), rows.keys(), list(rows.each_key()), len(rows)) == (ids, keys, keys, 120)
    assert rows.table(["key", "id"]).column("id").to_pylist() == ids
    assert [one.id for one in rows.records()] == [one.id for one in rows.rows()] == ids
    assert [one for table in rows.tables() for one in table.column("id").to_pylist()] == ids
    assert np.concatenate([block for block, _ in rows.batches(7)]).tolist() == ids
    assert [one for part in rows.parts for one in part.ids().tolist()] == ids
    assert [key for keys_of_part in map(Rows.keys, rows.parts) for key in keys_of_part] == keys
    features = rows.features()
    for place in (0, 49, 50, 51, 119):
        assert (rows.feature(place) == features[place]).all()
        assert bytes(features[place].ravel()) == keys[place].encode()[:4]
    wanted = np.array([120, 3, 999, 119])
    assert rows.digests_of(wanted) == {ids[place]: rows.sha256()[place].tobytes() for place in (3, 50, 119)}
    assert rows.runs().tolist() == [[0, 50], [120, 1], [50, 30], [81, 39]]


def test_features_are_gathered_from_all_parts(store: Store, listed: Ref, tmp_path: Path) -> None:
    rows, chosen = Rows(store.verified(listed)), np.array([119, 0, 50, 77])
    found = gather(rows, {"some": chosen}, tmp_path, lambda _: None)
    assert (found["some"] == rows.features()[chosen]).all()


def test_damage_of_a_part_is_damage_of_the_list(store: Store, listed: Ref) -> None:
    part = store.parts(listed)[2]
    file = next((store.root / "rows" / part.digest).glob("rows-*.parquet"))
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    fresh = Store(store.root)
    assert fresh.path(listed)
    with pytest.raises(CorruptError, match=f"{part.digest}.*sha256 does not match"):
        fresh.verified(listed)
    file.write_bytes(data[:-1])
    with pytest.raises(CorruptError, match=f"{part.digest}.*bytes instead of"):
        fresh.path(listed)


def test_parts_are_used_with_their_list(store: Store, listed: Ref) -> None:
    before = {part: store.used(part) for part in store.parts(listed)}
    assert store.reuse(listed)
    assert all(store.used(part) > when for part, when in before.items())
    card = json.loads((store.path(listed) / "rows.json").read_text())
    assert [f"rows/{name}" for name in card["parts"]] == store.manifest(listed).inputs["parts"]
    assert store.parts(store.parts(listed)[0]) == ()


def test_runs_of_no_rows_and_their_types() -> None:
    none = np.empty((0, 2), np.int64)
    for empty in (runs_of(np.empty(0, np.int64)), joined([]), joined([none, none]), Slices(none).of(0, 0)):
        assert (empty.shape, empty.dtype.name) == ((0, 2), "int64")
    assert ids_of_runs(none).tolist() == []
    assert runs_of(np.array([5, 6, 9], np.int32)).tolist() == [[5, 2], [9, 1]]
    assert runs_of(np.array([5, 6])).dtype == ids_of_runs(np.array([[5, 2]])).dtype == np.int64
    assert runs_of(np.array([6, 5])).tolist() == [[6, 1], [5, 1]]


def test_runs_that_go_on_become_one() -> None:
    parts = [np.array([[0, 3], [10, 2]]), np.array([[12, 1]]), np.array([[13, 4], [20, 1]]), np.array([[20, 1]])]
    assert joined(parts).tolist() == [[0, 3], [10, 7], [20, 1], [20, 1]]


def test_slices_of_runs_leave_them_as_they_were() -> None:
    runs = np.array([[0, 3], [10, 5], [20, 1]])
    slices = Slices(runs)
    assert slices.of(1, 4).tolist() == [[1, 2], [10, 1]]
    assert slices.of(3, 8).tolist() == [[10, 5]]
    assert slices.of(4, 6).tolist() == [[11, 2]]
    assert slices.of(8, 9).tolist() == [[20, 1]]
    for start, stop in ((4, 4), (5, 4), (9, 9)):
        assert slices.of(start, stop).shape == (0, 2)
    assert slices.at(np.array([0, 2, 3, 7, 8])).tolist() == [0, 2, 10, 14, 20]
    assert runs.tolist() == [[0, 3], [10, 5], [20, 1]]
