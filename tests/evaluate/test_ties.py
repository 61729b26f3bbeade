"""Closed forms of ties: against all orders of small rankings, and shuffles of larger ones."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from aepipe.evaluate.ties import (
    TieGroups,
    expected_ap_of_found,
    expected_hits,
    expected_precision_sum,
    harmonic_numbers,
    hypergeometric,
)

LEVELS = 4


def groups_of(distances: np.ndarray, relevant: np.ndarray) -> TieGroups:
    """Return the tie groups of one ranking."""
    counts = [np.bincount(values, minlength=LEVELS)[None] for values in (distances, distances[relevant])]
    return TieGroups.of_counts(*counts)


def sums(relevant: np.ndarray, cut: int) -> tuple[float, float, float]:
    """Return hits, sum of precisions, and the sum divided by the hits, of one order."""
    hits = relevant[:cut]
    total = float((np.cumsum(hits) / np.arange(1, len(hits) + 1))[hits].sum())
    return float(hits.sum()), total, total / max(int(hits.sum()), 1)


@pytest.mark.parametrize("seed", range(12))
def test_every_order_of_a_small_ranking(seed: int) -> None:
    """At every cut, also inside tie groups, the closed forms equal the mean over all orders of ascending distance."""
    rng = np.random.default_rng(seed)
    distances = np.sort(rng.integers(0, 3, 6))
    relevant = rng.random(6) < rng.choice([0.2, 0.5, 0.8])
    orders = [list(order) for order in permutations(range(6))]
    kept = [relevant[order] for order in orders if (np.diff(distances[order]) >= 0).all()]
    groups, harmonic = groups_of(distances, relevant), harmonic_numbers(6)
    for cut in range(1, 7):
        hits, total, ratio = np.mean([sums(order, cut) for order in kept], axis=0)
        assert expected_hits(groups, cut)[0] == pytest.approx(hits, abs=1e-12)
        assert expected_precision_sum(groups, cut, harmonic)[0] == pytest.approx(total, abs=1e-12)
        assert expected_ap_of_found(groups, cut, harmonic)[0] == pytest.approx(ratio, abs=1e-12)


def test_mean_of_found_is_not_the_ratio_of_means() -> None:
    """One near irrelevant row, then one of two at rank 2: E[sum/found] is 1/4, the ratio of the means 1/2."""
    groups = groups_of(np.array([0, 1, 1]), np.array([False, True, False]))
    assert expected_ap_of_found(groups, 2, harmonic_numbers(3))[0] == pytest.approx(0.25)


def test_shuffles_of_a_large_group() -> None:
    """A cut inside a group of 300 agrees with the mean of 4,000 shuffles within four standard errors."""
    rng = np.random.default_rng(3)
    distances = np.repeat([0, 1, 2], [20, 300, 80])
    relevant = rng.random(400) < np.array([0.7, 0.3, 0.1])[distances]
    drawn = []
    for _ in range(4000):
        order = np.lexsort((rng.random(400), distances))
        drawn.append(sums(relevant[order], 100))
    mean, error = np.mean(drawn, axis=0), np.std(drawn, axis=0) / np.sqrt(4000)
    groups, harmonic = groups_of(distances, relevant), harmonic_numbers(400)
    found = [f[0] for f in (expected_hits(groups, 100), expected_precision_sum(groups, 100, harmonic))]
    found.append(expected_ap_of_found(groups, 100, harmonic)[0])
    assert np.all(np.abs(np.array(found) - mean) < 4 * error)


@pytest.mark.parametrize(("size", "relevant", "drawn"), [(10, 4, 3), (10, 10, 3), (10, 8, 5), (7, 0, 3), (1, 1, 1)])
def test_hypergeometric_equals_the_binomial_formula(size: int, relevant: int, drawn: int) -> None:
    """The recurrence gives the textbook probabilities."""
    from math import comb

    values, weight = hypergeometric(size, relevant, drawn)
    exact = [comb(relevant, x) * comb(size - relevant, drawn - x) / comb(size, drawn) for x in values.tolist()]
    assert weight == pytest.approx(exact)
    assert sum(exact) == pytest.approx(1.0)


def test_hypergeometric_of_a_million_rows() -> None:
    """Probabilities of a very large group neither overflow nor lose their mean."""
    values, weight = hypergeometric(1_000_000, 100_000, 1000)
    assert float(values @ weight) == pytest.approx(100.0, rel=1e-9)
