"""Strangers: rows of another sort are found, and few others; a limit leaves the share of new ones that is promised."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest

from aepipe.evaluate.strangers import ENOUGH, Space, Strangers, faint, fit_space, nearest_figure


def rows(rng: np.random.Generator, count: int, width: int = 40) -> np.ndarray:
    """Rows near a plane through the space."""
    plane = np.random.default_rng(7).normal(size=(3, width))
    return np.asarray(rng.normal(size=(count, 3)) @ plane + 0.1 * rng.normal(size=(count, width)), np.float32)


def limit(space: Space, held: np.ndarray) -> Strangers:
    found = Strangers.measure(space.figures(held), np.zeros(len(held), bool))
    assert found is not None
    return found


def test_axes_are_those_of_an_exact_decomposition() -> None:
    given = rows(np.random.default_rng(0), 300)
    space = fit_space(given, 3, 1000, seed=0)
    exact = np.linalg.svd(given - given.mean(axis=0), full_matrices=False)[2][:3]
    assert np.abs((space.axes * exact).sum(axis=1)) == pytest.approx(np.ones(3), abs=1e-3)
    again = Space.of_arrays(*space.arrays())
    assert np.array_equal(again.project(given), space.project(given))


def test_figures_are_distances_in_the_space() -> None:
    rng = np.random.default_rng(1)
    given, asked = rows(rng, 200), rows(rng, 20)
    space = fit_space(given, 4, 1000, seed=0)
    at, seen = space.project(asked), space.project(given)
    inside = np.linalg.norm(at[:, None, :-1] - seen[None, :, :-1], axis=2).min(axis=1)
    outside = np.log(np.sqrt(inside**2 + at[:, -1] ** 2))
    found = space.figures(asked)
    assert found["outside"] == pytest.approx(outside, abs=1e-3)
    assert found["sparse"] == pytest.approx(outside - np.log(np.linalg.norm(asked, axis=1)), abs=1e-3)
    assert found["dense"] == pytest.approx(np.log(inside) - np.log(np.linalg.norm(at, axis=1)), abs=1e-3)
    assert found["strong"] == pytest.approx(asked.std(axis=1), abs=1e-5)


def test_strangers_are_found_and_new_rows_are_not() -> None:
    rng = np.random.default_rng(2)
    space = fit_space(rows(rng, 2000), 8, 2000, seed=0)
    known = limit(space, rows(rng, 400))
    new, other = space.figures(rows(rng, 4000)), space.figures(rng.normal(size=(400, 40)).astype(np.float32) * 2)
    assert (known.apart(new) > known.limit).mean() <= 0.02 + 0.012, "two standard errors of the 400 held out"
    assert (known.apart(other) > known.limit).mean() >= 0.95
    first = {name: float(values[0]) for name, values in other.items()}
    assert known.is_one(first) == bool(known.apart(other)[0] > known.limit)
    assert known.knows(first)
    assert not known.knows({})


@pytest.mark.parametrize("count", [150, 1000])
def test_the_limit_leaves_the_promised_share_of_new_items(count: int) -> None:
    rng, shares = np.random.default_rng(4), []
    for _ in range(50):
        held, new = rng.gamma(2, size=(2, count)), rng.gamma(2, size=(2, 4000))
        same = np.arange(count) >= count * 3 // 4
        found = Strangers.measure(dict(zip("ab", held, strict=True)), same)
        assert found is not None
        told = found.apart(dict(zip("ab", new, strict=True))) > found.limit
        shares.append(0.75 * told.mean())  # a quarter has the code of a row, and is never a stranger
    assert 0.006 <= np.mean(shares) <= 0.02


def test_a_figure_of_rare_large_values_counts_less() -> None:
    rng = np.random.default_rng(5)
    held = {"usual": rng.uniform(size=1000), "wild": rng.pareto(1.5, size=1000)}
    found = Strangers.measure(held, np.zeros(1000, bool))
    assert found is not None
    usual, wild = ({"usual": 0.5, "wild": 0.6} | one for one in ({"usual": 1.6}, {"wild": 1.7}))
    assert found.is_one(usual)
    assert not found.is_one(wild)


def test_limits_of_older_versions_count_in_spreads() -> None:
    older = Strangers.from_dict({"figures": ["a"], "median": [1.0], "spread": [0.5], "limit": 2.5, "n_queries": 200})
    assert older.apart({"a": np.array([0.0, 2.0, 3.0])}) == pytest.approx([0, 2, 4])
    assert older.is_one({"a": 2.3})


def test_few_items_give_no_limit() -> None:
    figures = {"nearest": np.zeros(ENOUGH - 1)}
    assert Strangers.measure(figures, np.zeros(ENOUGH - 1, bool)) is None


@pytest.mark.parametrize("missing", [np.nan, np.inf, -np.inf])
def test_a_missing_cell_is_no_distance(missing: float) -> None:
    given = rows(np.random.default_rng(3), 100)
    space, hole = fit_space(given, 4, 1000, seed=0), given[:2].copy()
    hole[:, 3] = 0.0
    empty = space.figures(hole)
    hole[:, 3] = missing
    for name, figure in space.figures(hole).items():
        np.testing.assert_array_equal(figure, empty[name])


def test_a_copy_is_nearest_and_a_short_embedding_is_faint() -> None:
    assert nearest_figure(1.0, 5) < nearest_figure(0.9, 0) < nearest_figure(-1.0, 0)
    assert nearest_figure(None, 3) == 3
    short, long = faint(np.array([[0.1, 0.0], [3.0, 4.0]]))
    assert short > long


def test_through_json() -> None:
    found = Strangers(("nearest", "faint"), (0.5, 1.0), (0.1, 0.2), 1.5, 200, (0.3, 0.4))
    assert Strangers.from_dict(json.loads(json.dumps(asdict(found)))) == found
