"""Corruptions: rates, kept cells, purity; arrays and tensors are equal in distribution."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")

from aepipe.learn import corruption as corruptions
from aepipe.learn import spec as layer_specs
from aepipe.learn.corruption import Array, Corrupted, Corruption
from aepipe.recipe import Choice, LayerRecipe

SHAPES = [(2000, 36), (2000, 6, 6, 1)]
OPTIONS: dict[str, Corruption] = {
    "none": corruptions.Clean(),
    "mask": corruptions.Mask(rate=0.3),
    "gaussian": corruptions.Gaussian(sigma=0.2),
    "salt_pepper": corruptions.SaltPepper(rate=0.4),
    "block": corruptions.Block(share=0.25),
    "shift": corruptions.Shift(pixels=2),
    "chain": corruptions.Chain(
        of=(Choice(kind="shift", options={"pixels": 1}), Choice(kind="mask", options={"rate": 0.3}))
    ),
    "mcar": corruptions.MCAR(rate=0.2, rate_max=0.4),
    "mar": corruptions.MAR(rate=0.3),
    "mnar": corruptions.MNAR(rate=0.3),
}
HOLES = {"mcar", "mar", "mnar"}


def test_every_kind_is_tested() -> None:
    assert OPTIONS.keys() == corruptions.KINDS.keys()


class Negate(Corruption):
    """A new kind: every cell with the opposite sign."""

    digest_name: ClassVar[str] = "corruption.Negate"

    def corrupt(self, x: NDArray[Array], rng: np.random.Generator) -> Corrupted[Array]:
        """Return ``(noisy, kept)``."""
        return -x, np.ones(x.shape, np.bool_)

    def corrupt_tensor(self, x: Any, generator: Any) -> tuple[Any, Any]:
        """Return ``(noisy, kept)``."""
        return -x, torch.ones_like(x, dtype=torch.bool)


def test_a_class_and_a_line_are_a_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(corruptions.KINDS, "negate", Negate)
    recipe = LayerRecipe.model_validate({"net": {"kind": "dense", "width": 2}, "corruption": ["negate", "none"]})
    spec = layer_specs.layer_spec(recipe, "layers.0")
    one = spec.training.corruption
    np.testing.assert_array_equal(one.corrupt(np.ones((2, 3)), np.random.default_rng(0))[0], -1)
    assert torch.equal(one.corrupt_tensor(torch.ones(2, 3), torch.Generator())[0], -torch.ones(2, 3))
    assert "negate" in str(spec.key()["corruption"])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", sorted(OPTIONS))
def test_pure_and_seeded(kind: str, shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).random(shape, np.float32)
    before = x.copy()
    one = OPTIONS[kind]
    noisy, kept = one.corrupt(x, np.random.default_rng(1))
    again, _ = one.corrupt(x, np.random.default_rng(1))
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(noisy, again)
    assert noisy.shape == kept.shape == shape
    assert noisy.dtype == np.float32
    assert kept.dtype == np.bool_
    assert not np.shares_memory(noisy, x)
    assert one.makes_holes == (kind in HOLES)
    assert np.isnan(noisy).any() == (kind in HOLES)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("kind", "lost"), [("none", 0), ("mask", 0.3), ("salt_pepper", 0.4), ("block", 0.25)])
def test_share_of_lost_cells(kind: str, lost: float, shape: tuple[int, ...]) -> None:
    x = np.full(shape, 0.5, np.float32)
    one = OPTIONS[kind]
    noisy, kept = one.corrupt(x, np.random.default_rng(0))
    assert 1 - kept.mean() == pytest.approx(lost, abs=0.01)
    np.testing.assert_array_equal(noisy[kept], 0.5)
    assert (noisy[~kept] != 0.5).all()


def test_gaussian_has_its_moments() -> None:
    x = np.full((1000, 100), 0.5, np.float32)
    noisy, kept = corruptions.Gaussian(sigma=0.2).corrupt(x, np.random.default_rng(0))
    assert kept.all()
    assert noisy.mean() == pytest.approx(0.5, abs=0.005)
    assert noisy.std() == pytest.approx(0.2, abs=0.005)


def test_salt_and_pepper_in_equal_parts() -> None:
    noisy, kept = corruptions.SaltPepper(rate=0.5, low=-1, high=2).corrupt(
        np.zeros((500, 100), np.float32), np.random.default_rng(0)
    )
    assert set(np.unique(noisy[~kept])) == {-1, 2}
    assert (noisy[~kept] == 2).mean() == pytest.approx(0.5, abs=0.01)


def test_block_is_one_rectangle() -> None:
    noisy, _ = corruptions.Block(share=0.25).corrupt(np.ones((50, 8, 8, 3), np.float32), np.random.default_rng(0))
    for image in noisy:
        rows, columns = np.nonzero(image[:, :, 0] == 0)
        assert len(rows) == 16
        assert np.ptp(rows) == np.ptp(columns) == 3
    corners = {tuple(np.argwhere(image[:, :, 0] == 0)[0]) for image in noisy}
    assert len(corners) > 5


def test_shift_moves_and_fills_with_zero() -> None:
    x = np.zeros((200, 5, 5, 1), np.float32)
    x[:, 2, 2] = 1
    noisy, _ = corruptions.Shift(pixels=2).corrupt(x, np.random.default_rng(0))
    assert (noisy.sum((1, 2, 3)) == 1).all()
    assert {tuple(np.argwhere(image)[0][:2]) for image in noisy} == {(i, j) for i in range(5) for j in range(5)}


def test_vectors_are_not_shifted() -> None:
    x = np.random.default_rng(0).random((4, 7), np.float32)
    noisy, _ = corruptions.Shift(pixels=2).corrupt(x, np.random.default_rng(0))
    np.testing.assert_array_equal(noisy, x)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", sorted(OPTIONS))
def test_tensors_have_the_same_distribution(kind: str, shape: tuple[int, ...]) -> None:
    x = np.broadcast_to(np.linspace(0.1, 0.9, int(np.prod(shape[1:])), dtype=np.float32).reshape(shape[1:]), shape)
    one = OPTIONS[kind]
    noisy, kept = one.corrupt(x.copy(), np.random.default_rng(0))
    tensor, tensor_kept = one.corrupt_tensor(torch.from_numpy(x.copy()), torch.Generator().manual_seed(0))
    np.testing.assert_array_equal(np.isnan(noisy), ~kept if kind in HOLES else False)
    noisy, tensor = np.nan_to_num(noisy), tensor.nan_to_num()
    # Each cell's mean, spread and chance of being kept, within five standard errors of 2,000 draws.
    error = 5 * max(float(noisy.std(0).max()), 0.01) * np.sqrt(2 / len(x))
    np.testing.assert_allclose(tensor.numpy().mean(0), noisy.mean(0), atol=error)
    np.testing.assert_allclose(tensor.numpy().std(0), noisy.std(0), atol=error)
    np.testing.assert_allclose(tensor_kept.numpy().mean(0), kept.mean(0), atol=5 * np.sqrt(0.5 / len(x)))
    # And the correlation of two cells, which distinguishes a block from a mask.
    flat, tensor_flat = kept.reshape(len(x), -1), tensor_kept.numpy().reshape(len(x), -1)
    both = (flat[:, 0] & flat[:, 1]).mean()
    assert (tensor_flat[:, 0] & tensor_flat[:, 1]).mean() == pytest.approx(both, abs=5 * np.sqrt(0.5 / len(x)))


def correlation(a: Any, b: Any) -> float:
    return float(np.corrcoef(a, b)[0, 1])


@pytest.mark.parametrize("rate", [0.05, 0.2, 0.5, 0.8])
def test_missing_cells_have_their_rate_and_their_mechanism(rate: float) -> None:
    x = np.random.default_rng(0).standard_normal((4000, 10)).astype(np.float32)
    rng = np.random.default_rng(1)
    _, mcar = corruptions.MCAR(rate=rate).corrupt(x, rng)
    assert 1 - mcar.mean() == pytest.approx(rate, abs=0.01)
    assert abs(correlation(mcar[:, 0], x[:, 0])) < 0.06

    by_others = corruptions.MAR(rate=rate, always=0.2)
    there, weights = by_others.mechanism(10)
    _, mar = by_others.corrupt(x, rng)
    assert there.sum() == 2
    assert mar[:, there].all()
    assert 1 - mar[:, ~there].mean() == pytest.approx(rate, abs=0.01)
    column = int(np.flatnonzero(~there)[0])
    assert correlation(mar[:, column], x[:, there] @ weights) < -0.3
    assert abs(correlation(mar[:, column], x[:, column])) < 0.06

    _, mnar = corruptions.MNAR(rate=rate).corrupt(x, rng)
    assert 1 - mnar.mean() == pytest.approx(rate, abs=0.01)
    assert all(correlation(mnar[:, i], x[:, i]) < -0.3 for i in range(10))


def test_a_rate_of_each_row_spreads_over_its_range() -> None:
    _, kept = corruptions.MCAR(rate=0.1, rate_max=0.7).corrupt(
        np.zeros((2000, 500), np.float32), np.random.default_rng(0)
    )
    shares = 1 - kept.mean(1)
    assert shares.mean() == pytest.approx(0.4, abs=0.01)
    assert shares.std() == pytest.approx(0.6 / np.sqrt(12), abs=0.02)


def test_cells_of_one_value_are_missing_together() -> None:
    one = corruptions.MCAR(rate=0.3, spans=(1, 3, 2))
    _, kept = one.corrupt(np.zeros((3000, 6), np.float32), np.random.default_rng(0))
    _, tensor = one.corrupt_tensor(torch.zeros(3000, 6), torch.Generator().manual_seed(0))
    for found in (kept, tensor.numpy()):
        assert (found[:, 1] == found[:, 2]).all()
        assert (found[:, 1] == found[:, 3]).all()
        assert (found[:, 4] == found[:, 5]).all()
        assert (found[:, 0] != found[:, 1]).any()
        np.testing.assert_allclose(1 - found.mean(0), 0.3, atol=0.03)


def test_equal_values_are_missing_equally_often() -> None:
    x = np.zeros((2000, 50), np.float32)
    x[1000:] = 1
    _, kept = corruptions.MNAR(rate=0.5).corrupt(x, np.random.default_rng(0))
    # Ranks of the lower half are uniform in 0..1/2 in random order, with a mean chance of 1/4; of the upper, 3/4.
    assert 1 - kept[:1000].mean() == pytest.approx(0.25, abs=0.01)
    assert np.ptp(kept[:1000].reshape(4, 250, 50).mean((1, 2))) < 0.03
