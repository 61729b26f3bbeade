"""Parts of a map are named by known words."""

from __future__ import annotations

import numpy as np
import pytest

from aepipe.release import placing, regions
from aepipe.release.release import Release
from aepipe.store.artifacts import Store
from tests.support.towers import COLOURS


def test_parts_are_named_by_what_their_rows_show(known_colours: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regions, "ROWS_OF_ONE", 12)
    release = Release.open(known_colours)
    ids = np.asarray(release.items.ids)
    corners = {name: (10 * number, 5 * (number % 2)) for number, name in enumerate(COLOURS)}
    places = np.array([corners[str(row.label)] for row in release.describe(ids)], float)
    found = regions.regions(release, ids, places + np.random.default_rng(0).normal(0, 0.1, places.shape))
    right = [one for one in found if np.hypot(*np.subtract((one.x, one.y), corners[one.name])) < 1]
    assert len(found) == len({one.name for one in found}) >= 6
    assert len(right) >= len(found) - 1


def test_a_map_keeps_its_names(known_colours: Store) -> None:
    made = placing.make(known_colours, Release.open(known_colours))
    assert made.regions
    assert all(0 <= one.x <= 65_535 and 0 <= one.y <= 65_535 for one in made.regions)


def test_a_text_tower_is_asked_with_own_words(colours: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regions, "ROWS_OF_ONE", 12)
    release = Release.open(colours)
    ids = np.asarray(release.items.ids)
    names = [str(row.label) for row in release.describe(ids)]
    corners = {name: (10 * number, 5 * (number % 2)) for number, name in enumerate(sorted(set(names)))}
    places = np.array([corners[name] for name in names], float)
    found = regions.regions(release, ids, places + np.random.default_rng(0).normal(0, 0.1, places.shape))
    assert found
    assert all(np.hypot(*np.subtract((one.x, one.y), corners[one.name])) < 1 for one in found)
