"""The map of a release: near codes near each other, the same each time, kept as long as its release."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from aepipe.errors import CorruptError
from aepipe.release import gc as collector
from aepipe.release import maps, placing
from aepipe.release.lifecycle import verify
from aepipe.release.release import Release
from aepipe.store import layout, registry
from aepipe.store.artifacts import Store
from tests.support.releases import make_release

SHAPE = (8, 8, 1)


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """A release of 80 pictures of five classes, each with one shape."""
    store = Store(tmp_path_factory.mktemp("maps") / "store")
    make_release(store, n=80, shape=SHAPE)
    return Release.open(store)


@pytest.fixture(scope="module")
def made(release: Release) -> maps.Map:
    """Its map."""
    return placing.make(release.store, release)


def test_all_rows_are_on_it_once_and_shuffled(made: maps.Map, release: Release) -> None:
    assert sorted(made.ids.tolist()) == release.items.ids.tolist()
    assert made.ids.tolist() != release.items.ids.tolist()
    assert [str(one.dtype) for one in (made.x, made.y, made.classes, made.ids)] == [
        "uint16",
        "uint16",
        "uint8",
        "int64",
    ]
    assert np.ptp(made.x.astype(int)) > maps.SIDE * 0.3


def test_each_point_bears_the_class_of_its_row(made: maps.Map, release: Release) -> None:
    labels = [row.label for row in release.describe(made.ids)]
    names = {one.number: one.label for one in made.legend}
    assert [names[number] for number in made.classes.tolist()] == labels
    assert {one.label: one.count for one in made.legend} == {name: labels.count(name) for name in set(labels)}
    assert [one.count for one in made.legend] == sorted((one.count for one in made.legend), reverse=True)


def test_rows_with_equal_codes_lie_together(made: maps.Map, release: Release) -> None:
    codes = release.codes_of(release.items.ids)
    pair = np.argwhere(np.triu(codes.distances(codes) == 0, 1))[0]
    first, last = made.points_of(pair)
    across, down = (float(axis[first]) - float(axis[last]) for axis in (made.x, made.y))
    far = np.hypot(across, down)
    assert far < maps.SIDE / 20


def test_it_is_the_same_each_time(made: maps.Map, release: Release) -> None:
    before = made.chunk(0, len(made))
    release.store.remove(maps.ref_of(release.ref))
    again = placing.make(release.store, release, threads=2)
    assert again.chunk(0, len(again)) == before
    assert placing.make(release.store, release).chunk(0, 80) == before


def test_rows_beyond_the_landmarks_lie_with_their_nearest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placing, "LANDMARKS", 40)
    store = Store(tmp_path / "store")
    make_release(store, n=120, shape=SHAPE)
    release = Release.open(store)
    found = placing.make(store, release)
    assert found.landmarks == 40
    codes = release.codes_of(found.ids)
    near = codes.distances(codes).astype(float)
    np.fill_diagonal(near, np.inf)
    places = np.column_stack([found.x, found.y]).astype(float)
    far = np.hypot(*(places[:, None] - places[None]).transpose(2, 0, 1))
    nearest = far[np.arange(120), near.argmin(axis=1)]
    assert np.median(nearest) < np.median(far) / 3


def test_places_between_two_groups_are_those_of_the_nearer() -> None:
    fixed = np.array([[0.0, 0.0], [10.0, 0.0]])
    (found,) = placing._means(fixed, np.array([[0, 1, -1]]), np.array([[2, 12, 65535]], np.uint16))
    assert found[0] < 0.1


@pytest.mark.parametrize("count", [1, 3, 300])
def test_labels_beyond_the_most_frequent_are_others(count: int) -> None:
    labels = [f"label{number}" for number in range(count)] + ["label0", None, "a\x1fb", "a"]
    numbers, legend = placing._classes(labels, len(labels))
    assert numbers[0] == numbers[count]
    assert numbers[count + 1] == maps.NONE
    assert numbers[count + 2] == numbers[count + 3] < maps.NAMED
    assert sum(one["count"] for one in legend) == len(labels)
    assert (legend[-1]["number"] == maps.OTHERS) == (count == 300)


def test_places_near_a_place_come_in_order(made: maps.Map) -> None:
    x, y = float(made.x[5]), float(made.y[5])
    found = made.near(x, y, maps.SIDE, 20)
    far = np.hypot(made.x[found] - x, made.y[found] - y)
    assert found[0] == 5
    assert (np.diff(far) >= 0).all()
    assert len(found) == 20
    assert made.near(x, y, 0, 20).tolist() == [5]


def test_it_stays_as_long_as_its_release(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    old, new, newest = (make_release(store, n=20, shape=SHAPE, seed=seed) for seed in range(3))
    for ref in (old, newest):
        placing.make(store, Release.open(store, ref=ref))
    collector.collect(store, collector.find(store, keep=1, hours=0.0))
    assert maps.find(store, newest) is not None
    assert maps.find(store, old) is None
    assert registry.previous(store, "pictures") == new
    assert verify(store, newest)


def test_a_damaged_map_is_named(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    ref = make_release(store, n=12, shape=SHAPE)
    assert maps.find(store, ref) is None
    placing.make(store, Release.open(store))
    card = store.path(maps.ref_of(ref)) / layout.Map.CARD
    text = json.loads(card.read_bytes())
    card.write_text(json.dumps(text).replace("landmarks", "landmarkz"))
    with pytest.raises(CorruptError, match="delete the folder"):
        maps.find(store, ref)


def test_a_row_lies_at_the_mean_of_landmarks_that_halve_with_each_bit() -> None:
    rng = np.random.default_rng(0)
    fixed = rng.normal(size=(9, 2))
    near = np.array([rng.permutation(9)[:4] for _ in range(6)])
    far = np.sort(rng.integers(0, 12, (6, 4)), axis=1).astype(np.uint16)
    near[2, 2:], near[3, 1:] = -1, -1
    found = placing._means(fixed, near, far)
    for place in range(6):
        weights = [2.0 ** -float(bits) if row >= 0 else 0.0 for row, bits in zip(near[place], far[place], strict=True)]
        assert found[place] == pytest.approx(np.average(fixed[near[place]], axis=0, weights=weights))


def test_places_fill_the_square_but_for_its_margin() -> None:
    given = np.array([[10.0, 5.0], [30.0, 5.0], [20.0, 15.0]])
    found = placing._scaled(given)
    assert found == pytest.approx(np.array([[0.03, 0.265], [0.97, 0.265], [0.5, 0.735]]))
    assert placing._scaled(np.ones((3, 2))).tolist() == [[0.5, 0.5]] * 3
    assert placing._scaled(np.zeros((0, 2))).shape == (0, 2)


def test_classes_are_the_most_frequent_labels() -> None:
    labels = ["b", "a", "a", None, "c", "a", "b", None] + [f"x{number}" for number in range(maps.NAMED)]
    numbers, legend = placing._classes(labels, len(labels))
    assert numbers[:8].tolist() == [1, 0, 0, maps.NONE, 2, 0, 1, maps.NONE]
    assert numbers[8 : 8 + maps.NAMED - 3].tolist() == list(range(3, maps.NAMED))
    assert numbers[8 + maps.NAMED - 3 :].tolist() == [maps.OTHERS] * 3
    assert legend[:3] == [
        {"number": 0, "label": "a", "count": 3},
        {"number": 1, "label": "b", "count": 2},
        {"number": 2, "label": "c", "count": 1},
    ]
    assert legend[maps.NAMED :] == [
        {"number": maps.NONE, "label": None, "count": 2},
        {"number": maps.OTHERS, "label": None, "count": 3},
    ]
    plain, named = placing._classes(["a", "b"], 2)
    assert (plain.tolist(), [one["number"] for one in named]) == ([0, 1], [0, 1])


def test_rows_that_are_not_on_a_map_have_no_point(made: maps.Map) -> None:
    ids = np.array([-1, int(made.ids[3]), 10_000, int(made.ids[0])])
    assert made.points_of(ids).tolist() == [3, 0]
    bare = maps.Map.__new__(maps.Map)
    bare.ids, bare.x, bare.y = made.ids[:0], made.x[:0], made.y[:0]
    assert bare.points_of(ids).tolist() == []
    assert bare.near(1.0, 2.0, 3.0, 4).tolist() == []


def test_points_within_a_radius_are_those_of_all_distances(made: maps.Map) -> None:
    x, y = float(made.x[7]) + 0.5, float(made.y[7])
    far = np.hypot(made.x.astype(float) - x, made.y.astype(float) - y)
    for radius in (0.5, 3000.0, float(np.sort(far)[10])):
        inside = np.flatnonzero(far <= radius)
        expected = inside[np.argsort(far[inside], kind="stable")]
        assert made.near(x, y, radius, 99).tolist() == expected.tolist()
        assert made.near(x, y, radius, 2).tolist() == expected[:2].tolist()
