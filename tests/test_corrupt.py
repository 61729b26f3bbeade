"""Corruptions: rates, what is kept, purity; and the torch twins' equality in distribution."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from aepipe import corrupt
from aepipe.recipe import Choice, Options

SHAPES = [(2000, 36), (2000, 6, 6, 1)]
OPTIONS: dict[str, Options] = {
    "none": corrupt.Clean(),
    "mask": corrupt.Mask(rate=0.3),
    "gaussian": corrupt.Gaussian(sigma=0.2),
    "salt_pepper": corrupt.SaltPepper(rate=0.4),
    "block": corrupt.Block(share=0.25),
    "shift": corrupt.Shift(pixels=2),
    "chain": corrupt.Chain(
        of=(Choice(kind="shift", options={"pixels": 1}), Choice(kind="mask", options={"rate": 0.3}))
    ),
}


def test_every_kind_is_tested() -> None:
    assert OPTIONS.keys() == corrupt.KINDS.keys()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", sorted(OPTIONS))
def test_pure_and_seeded(kind: str, shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).random(shape, np.float32)
    before = x.copy()
    call: Any = OPTIONS[kind]
    noisy, kept = call(x, np.random.default_rng(1))
    again, _ = call(x, np.random.default_rng(1))
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(noisy, again)
    assert noisy.shape == kept.shape == shape
    assert noisy.dtype == np.float32
    assert kept.dtype == np.bool_
    assert not np.shares_memory(noisy, x)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("kind", "lost"), [("none", 0), ("mask", 0.3), ("salt_pepper", 0.4), ("block", 0.25)])
def test_share_of_lost_cells(kind: str, lost: float, shape: tuple[int, ...]) -> None:
    x = np.full(shape, 0.5, np.float32)
    call: Any = OPTIONS[kind]
    noisy, kept = call(x, np.random.default_rng(0))
    assert 1 - kept.mean() == pytest.approx(lost, abs=0.01)
    np.testing.assert_array_equal(noisy[kept], 0.5)
    assert (noisy[~kept] != 0.5).all()


def test_gaussian_has_its_moments() -> None:
    x = np.full((1000, 100), 0.5, np.float32)
    noisy, kept = corrupt.Gaussian(sigma=0.2)(x, np.random.default_rng(0))
    assert kept.all()
    assert noisy.mean() == pytest.approx(0.5, abs=0.005)
    assert noisy.std() == pytest.approx(0.2, abs=0.005)


def test_salt_and_pepper_in_equal_parts() -> None:
    noisy, kept = corrupt.SaltPepper(rate=0.5, low=-1, high=2)(
        np.zeros((500, 100), np.float32), np.random.default_rng(0)
    )
    assert set(np.unique(noisy[~kept])) == {-1, 2}
    assert (noisy[~kept] == 2).mean() == pytest.approx(0.5, abs=0.01)


def test_block_is_one_rectangle() -> None:
    noisy, _ = corrupt.Block(share=0.25)(np.ones((50, 8, 8, 3), np.float32), np.random.default_rng(0))
    for image in noisy:
        rows, columns = np.nonzero(image[:, :, 0] == 0)
        assert len(rows) == 16
        assert np.ptp(rows) == np.ptp(columns) == 3
    corners = {tuple(np.argwhere(image[:, :, 0] == 0)[0]) for image in noisy}
    assert len(corners) > 5


def test_shift_moves_and_fills_with_zero() -> None:
    x = np.zeros((200, 5, 5, 1), np.float32)
    x[:, 2, 2] = 1
    noisy, _ = corrupt.Shift(pixels=2)(x, np.random.default_rng(0))
    assert (noisy.sum((1, 2, 3)) == 1).all()
    assert {tuple(np.argwhere(image)[0][:2]) for image in noisy} == {(i, j) for i in range(5) for j in range(5)}


def test_vectors_cannot_be_shifted() -> None:
    x = np.random.default_rng(0).random((4, 7), np.float32)
    noisy, _ = corrupt.Shift(pixels=2)(x, np.random.default_rng(0))
    np.testing.assert_array_equal(noisy, x)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", sorted(OPTIONS))
def test_twin_has_the_same_distribution(kind: str, shape: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch")
    from aepipe.learn import corruption

    x = np.broadcast_to(np.linspace(0.1, 0.9, int(np.prod(shape[1:])), dtype=np.float32).reshape(shape[1:]), shape)
    options: Any = OPTIONS[kind]
    noisy, kept = options(x.copy(), np.random.default_rng(0))
    twin, twin_kept = corruption.apply(options, torch.from_numpy(x.copy()), torch.Generator().manual_seed(0))
    # Each cell's mean, spread and chance of being kept, within five standard errors of 2,000 draws.
    error = 5 * max(float(noisy.std(0).max()), 0.01) * np.sqrt(2 / len(x))
    np.testing.assert_allclose(twin.numpy().mean(0), noisy.mean(0), atol=error)
    np.testing.assert_allclose(twin.numpy().std(0), noisy.std(0), atol=error)
    np.testing.assert_allclose(twin_kept.numpy().mean(0), kept.mean(0), atol=5 * np.sqrt(0.5 / len(x)))
    # And how cells hang together, which tells a block from a mask.
    flat, twin_flat = kept.reshape(len(x), -1), twin_kept.numpy().reshape(len(x), -1)
    both = (flat[:, 0] & flat[:, 1]).mean()
    assert (twin_flat[:, 0] & twin_flat[:, 1]).mean() == pytest.approx(both, abs=5 * np.sqrt(0.5 / len(x)))
