"""Probes: against brute force and closed forms, on rows with known results."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")

from aepipe.errors import CodeError
from aepipe.evaluate.probes import cluster_nmi, pca_errors, plane, probe_accuracy, squared_errors

RNG = np.random.default_rng(0)
CLASSES = np.array(["bag", "boot", "coat"])


def clouds(count: int, spread: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows around three corners of a cube, with their classes."""
    label = RNG.integers(0, 3, count)
    return np.eye(3)[label] * 4 + spread * RNG.normal(size=(count, 3)), CLASSES[label]


def test_the_probe_separates_linear_classes_only() -> None:
    assert probe_accuracy(clouds(300, 0.1), clouds(200, 0.1)) == 1.0
    rows, labels = RNG.normal(size=(3000, 5)), CLASSES[RNG.integers(0, 3, 3000)]
    chance = probe_accuracy((rows[:2000], labels[:2000]), (rows[2000:], labels[2000:]))
    assert chance == pytest.approx(1 / 3, abs=0.06)
    side = RNG.choice([-1.0, 1.0], (2000, 2))
    xor = (side + 0.1 * RNG.normal(size=side.shape), side.prod(1))
    assert probe_accuracy(tuple(x[:1000] for x in xor), tuple(x[1000:] for x in xor)) < 0.8  # type: ignore[arg-type]


def test_the_probe_finds_the_minimum_of_its_loss() -> None:
    """Two classes in one unit: a grid search finds the boundary with the least penalised logistic loss."""
    x = np.concatenate([RNG.normal(-0.5, 1, 300), RNG.normal(1.5, 1, 100)])
    y = np.repeat([0, 1], [300, 100])
    z = (x - x.mean()) / x.std()
    slope, offset = (axis.ravel()[:, None] for axis in np.meshgrid(np.linspace(0, 3, 121), np.linspace(-3, 3, 241)))
    # Of two classes, a multinomial regression is the logistic one.
    loss = np.logaddexp(0, -(2 * y - 1) * (slope * z + offset)).sum(1) + 50 * slope[:, 0] ** 2
    best = int(loss.argmin())
    where = x.mean() + x.std() * -offset[best, 0] / slope[best, 0]
    grid = np.linspace(-4, 6, 401)[:, None]
    said = probe_accuracy((x[:, None], y), (grid, (grid[:, 0] > where).astype(int)))
    assert said > 0.98


def test_the_probe_ignores_scale_and_constant_units() -> None:
    (known, classes), (asked, truth) = clouds(300, 2), clouds(300, 2)
    plain = probe_accuracy((known, classes), (asked, truth))
    assert 0.5 < plain < 1
    other = [np.column_stack([rows * [1, 1e4, 1e-4] + [0, 7, -1], np.full(300, 0.1)]) for rows in (known, asked)]
    assert probe_accuracy((other[0], classes), (other[1], truth)) == pytest.approx(plain, abs=0.01)
    assert probe_accuracy((known, classes), (asked, truth)) == plain, "the same every time"


def test_clusters_against_classes() -> None:
    """Four far points in two pairs: k-means finds the pairs."""
    rows = np.repeat([[0.0], [1.0], [20.0], [21.0]], 50, axis=0)
    pair, within = np.repeat([0, 1], 100), np.tile(np.repeat([0, 1], 50), 2)
    assert cluster_nmi(rows, pair, seed=0) == pytest.approx(1)
    assert cluster_nmi(rows, within, seed=0) == pytest.approx(0, abs=1e-9)
    # Classes of 50 and 150: I = H(pair) + H(class) - H(both), over the mean of H(pair) and H(class).
    one = np.repeat([1, 0], [50, 150])
    h_pair, h_one, h_both = (-sum(p * np.log(p) for p in ps) for ps in ([0.5] * 2, [0.25, 0.75], [0.25, 0.25, 0.5]))
    assert cluster_nmi(rows, one, seed=0) == pytest.approx((h_pair + h_one - h_both) / ((h_pair + h_one) / 2))


def test_fewer_distinct_codes_than_classes_give_fewer_clusters() -> None:
    assert cluster_nmi(np.zeros((30, 4), np.uint8), np.arange(30) % 3, seed=0) == pytest.approx(0)


@pytest.mark.parametrize("shape", [(200, 12), (60, 40)])
def test_rebuilt_from_principal_components(shape: tuple[int, int]) -> None:
    train, test = RNG.normal(size=shape) @ np.diag(np.linspace(3, 0.1, shape[1])) + 5, RNG.normal(size=(30, shape[1]))
    found = pca_errors(train, test, [1, 4, 9], seed=0)
    mean = train.mean(0)
    axes = np.linalg.svd(train - mean)[2]
    for error, kept in zip(found, [1, 4, 9], strict=True):
        rebuilt = mean + (test - mean) @ axes[:kept].T @ axes[:kept]
        assert error == pytest.approx(np.square(test - rebuilt).sum(1).mean(), rel=1e-4)


def test_squared_errors_are_on_the_scale_of_the_network() -> None:
    rows = RNG.integers(0, 256, (4, 3, 2, 1), np.uint8)
    rebuilt = RNG.random((4, 3, 2, 1)).astype(np.float32)
    by_hand = [
        sum((a / 255 - b) ** 2 for a, b in zip(x.flat, y.flat, strict=True)) for x, y in zip(rows, rebuilt, strict=True)
    ]
    np.testing.assert_allclose(squared_errors(rows, rebuilt), by_hand, rtol=1e-5)
    holes = np.array([[np.nan, 2.0], [1.0, np.nan]])
    assert squared_errors(holes, np.array([[9.0, 0.0], [4.0, 9.0]])).tolist() == [4.0, 9.0], "NaN is no cell"


def test_probe_errors() -> None:
    rows = np.zeros((3, 2))
    with pytest.raises(CodeError, match="2 classes at least: there is 1 class"):
        probe_accuracy((rows, np.zeros(3)), (rows, np.zeros(3)))
    with pytest.raises(CodeError, match="test rows: there are none"):
        probe_accuracy((rows, np.arange(3)), (rows[:0], np.arange(0)))
    with pytest.raises(CodeError, match="2 classes at least: there are 0 classes"):
        cluster_nmi(rows[:0], np.arange(0), seed=0)
    with pytest.raises(CodeError, match="2 components of 3 rows and 2 cells: fewer"):
        pca_errors(rows, rows, [1, 2], seed=0)


def test_the_evaluator_is_imported_without_scikit_learn() -> None:
    script = "import sys, aepipe.evaluate, aepipe.evaluate.probes; assert 'sklearn' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).parents[2])


@pytest.mark.parametrize(
    ("rows", "moved"),
    [
        (np.ones((120, 8)), False),
        (np.ones((2, 8)), False),
        (np.arange(50.0)[:, None], True),
        (np.repeat(np.eye(2), 60, axis=0), True),
        (np.vstack([np.ones((100, 8)), np.zeros((1, 8))]), True),
        (np.arange(10.0).reshape(5, 2), True),
    ],
    ids=["equal", "two rows", "one column", "two places", "one apart", "five rows"],
)
def test_a_plane_of_degenerate_rows(rows: np.ndarray, moved: bool) -> None:
    placed = plane(rows)
    assert placed.shape == (len(rows), 2)
    assert np.isfinite(placed).all()
    assert bool(np.ptp(placed)) == moved
