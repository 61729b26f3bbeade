"""Corruptions: rates, kept cells, purity; arrays and tensors are equal in distribution."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")

from aepipe.learn import affine, batches
from aepipe.learn import corruption as corruptions
from aepipe.learn import spec as layer_specs
from aepipe.learn.batches import BitGenerator, Compute
from aepipe.learn.corruption import Array, Corrupted, Corruption
from aepipe.recipe import Choice, ComputeRecipe, LayerRecipe

SHAPES = [(2000, 36), (2000, 6, 6, 1)]
OPTIONS: dict[str, Corruption] = {
    "none": corruptions.Clean(),
    "mask": corruptions.Mask(rate=0.3),
    "gaussian": corruptions.Gaussian(sigma=0.2),
    "salt_pepper": corruptions.SaltPepper(rate=0.4),
    "block": corruptions.Block(share=0.25),
    "shift": corruptions.Shift(pixels=2),
    "jitter": corruptions.Jitter(mirror=0.5, brightness=0.1, contrast=0.2),
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
@pytest.mark.parametrize("kind", sorted(OPTIONS))
def test_tensors_are_seeded_by_their_generator_alone(kind: str, shape: tuple[int, ...]) -> None:
    x = torch.rand(20, *shape[1:], generator=torch.Generator().manual_seed(0))
    found: list[Any] = []
    for other in range(2):
        torch.manual_seed(other)
        found += OPTIONS[kind].corrupt_tensor(x.clone(), torch.Generator().manual_seed(1))
    assert torch.equal(found[0].nan_to_num(9), found[2].nan_to_num(9))
    assert torch.equal(found[1], found[3])


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


STILL = {"shift": 0.0, "turn": 0.0, "scale": 0.0}


def dots(count: int, row: int, column: int, side: int = 9) -> NDArray[np.float32]:
    x = np.zeros((count, side, side, 1), np.float32)
    x[:, row, column] = 1
    return x


def places(x: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the centre of mass of each picture, in pixels from the first."""
    weight = x[..., 0].astype(np.float64)
    grid = np.indices(weight.shape[1:])
    return np.stack([(weight * axis).sum((1, 2)) / weight.sum((1, 2)) for axis in grid], 1)


def test_jitter_without_changes_is_the_picture() -> None:
    x = np.random.default_rng(0).random((3, 6, 8, 3), np.float32)
    noisy, kept = corruptions.Jitter(**STILL).corrupt(x, np.random.default_rng(0))
    np.testing.assert_array_equal(noisy, x)
    assert kept.all()


def test_jitter_moves_both_ways_and_no_farther() -> None:
    noisy, _ = corruptions.Jitter(**STILL | {"shift": 2.0}).corrupt(dots(500, 4, 4), np.random.default_rng(0))
    moved = places(noisy) - 4
    assert abs(moved).max() <= 2
    np.testing.assert_allclose(moved.mean(0), 0, atol=0.2)
    np.testing.assert_allclose(moved.std(0), 2 / np.sqrt(3), atol=0.1)


def test_jitter_turns_about_the_middle() -> None:
    noisy, _ = corruptions.Jitter(**STILL | {"turn": 90.0}).corrupt(dots(500, 4, 7), np.random.default_rng(0))
    moved = places(noisy) - 4
    np.testing.assert_allclose(np.hypot(*moved.T), 3, atol=0.35)
    angles = np.degrees(np.arctan2(moved[:, 0], moved[:, 1]))
    assert angles.min() < -70
    assert angles.max() > 70
    assert abs(angles).max() <= 91


def test_jitter_turns_what_it_has_sized() -> None:
    draw = 2 * torch.rand((50, affine.DRAWS), generator=torch.Generator().manual_seed(0)) - 1
    most = affine.Most(shift=0, turn=40, scale=0.5, mirror=0, brightness=0, contrast=0)
    maps = affine._maps(draw[:, :6], most, (8, 8))[:, :, :2]
    torch.testing.assert_close(maps.norm(dim=1), torch.exp(0.5 * draw[:, 1:3]))
    torch.testing.assert_close((maps[:, :, 0] * maps[:, :, 1]).sum(1), torch.zeros(50))
    torch.testing.assert_close(torch.atan2(maps[:, 1, 0], maps[:, 0, 0]), math.radians(40) * draw[:, 0])


def test_jitter_sizes_by_its_factors() -> None:
    noisy, _ = corruptions.Jitter(**STILL | {"scale": 0.3}).corrupt(dots(500, 4, 7), np.random.default_rng(0))
    across = places(noisy)[:, 1] - 4
    assert 3 * np.exp(-0.3) - 0.35 < across.min() < 2.6
    assert 3.4 < across.max() < 3 * np.exp(0.3) + 0.35


def test_jitter_mirrors_left_and_right_as_often_as_asked() -> None:
    x = np.random.default_rng(0).random((1, 5, 6, 3), np.float32).repeat(400, 0)
    noisy, _ = corruptions.Jitter(**STILL, mirror=0.25).corrupt(x, np.random.default_rng(0))
    mirrored = np.isclose(noisy, x[:, :, ::-1], atol=1e-5).all((1, 2, 3))
    assert np.isclose(noisy[~mirrored], x[0], atol=1e-5).all()
    assert mirrored.mean() == pytest.approx(0.25, abs=0.06)


def test_jitter_lights_within_the_range() -> None:
    x = np.random.default_rng(0).uniform(0.3, 0.6, (300, 6, 6, 3)).astype(np.float32)
    brighter, _ = corruptions.Jitter(**STILL, brightness=0.1).corrupt(x, np.random.default_rng(0))
    added = (brighter - x).reshape(300, -1)
    assert added.std(1).max() < 1e-5
    assert 0.09 < abs(added).max() <= 0.1001
    steeper, _ = corruptions.Jitter(**STILL, contrast=0.4).corrupt(x, np.random.default_rng(0))
    factor = steeper.std((1, 2, 3)) / x.std((1, 2, 3))
    assert np.exp(-0.41) < factor.min() < 0.75
    assert 1.4 < factor.max() < np.exp(0.41)
    np.testing.assert_allclose(steeper.mean((1, 2, 3)), x.mean((1, 2, 3)), atol=1e-5)
    far, _ = corruptions.Jitter(**STILL, brightness=1.0).corrupt(x, np.random.default_rng(0))
    assert (far.min(), far.max()) == (0, 1)


def test_the_edge_of_a_picture_goes_on() -> None:
    noisy, _ = corruptions.Jitter().corrupt(np.full((20, 7, 7, 1), 0.5, np.float32), np.random.default_rng(0))
    np.testing.assert_allclose(noisy, 0.5, atol=1e-6)


def test_jitter_leaves_vectors_and_refuses_them_as_items() -> None:
    x = np.random.default_rng(0).random((4, 7), np.float32)
    np.testing.assert_array_equal(corruptions.Jitter().corrupt(x, np.random.default_rng(0))[0], x)
    assert corruptions.Jitter().refusal((28, 28, 1)) is None
    assert "shape (7,)" in (corruptions.Jitter().refusal((7,)) or "")


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


@pytest.mark.parametrize(
    "kind",
    [
        corruptions.Mask(rate=0.3),
        corruptions.Mask(rate=0.2, rescale=True),
        corruptions.SaltPepper(rate=0.4, low=-0.1, high=0.7),
    ],
)
def test_tensors_on_the_cpu_have_the_bytes_that_torch_gives(kind: Any) -> None:
    x = torch.rand((64, 30), generator=torch.Generator().manual_seed(1)) - 0.3
    x[0] = torch.tensor([float("nan"), float("inf"), -0.0]).repeat(10)
    noisy, kept = kind.corrupt_tensor(x, torch.Generator().manual_seed(2))
    # With a gradient it takes the way of other devices.
    other, also = kind.corrupt_tensor(x.clone().requires_grad_(), torch.Generator().manual_seed(2))
    assert torch.equal(kept, also)
    assert torch.equal(noisy.view(torch.int32), other.detach().view(torch.int32))


@pytest.mark.parametrize("rate", [1e-6, 0.2, 0.25, 0.999])
def test_cells_that_are_drawn_in_bits_have_the_chance_that_is_asked_for(rate: float) -> None:
    x = torch.ones(1001, 333)
    generator = Compute(torch.device("cpu"), torch.float32, 1, bits=True).generator(4)
    noisy, kept = corruptions.Mask(rate=rate).corrupt_tensor(x, generator)
    lost = max(rate, 1 / BitGenerator.LEVELS)
    assert abs((~kept).float().mean().item() - lost) < 5 * (lost / kept.numel()) ** 0.5 + 1 / BitGenerator.LEVELS
    assert torch.equal(noisy, kept.float())
    again = Compute(torch.device("cpu"), torch.float32, 1, bits=True).generator(4)
    assert torch.equal(corruptions.Mask(rate=rate).corrupt_tensor(x, again)[1], kept)
    assert not torch.equal(corruptions.Mask(rate=0.5).corrupt_tensor(x, again)[1], kept)


def test_cells_in_bits_are_lost_alike_in_every_row_and_column() -> None:
    x = torch.full((4000, 50), 0.5)
    noisy, kept = corruptions.SaltPepper(rate=0.4).corrupt_tensor(x, BitGenerator().manual_seed(0))
    for axis, spread in ((0, 0.4 * 0.6 / 4000), (1, 0.4 * 0.6 / 50)):
        assert ((kept.float().mean(axis) - 0.6).abs() < 5.5 * spread**0.5).all()
    assert abs((noisy == 1).float().mean().item() - 0.2) < 0.005
    assert abs((noisy == 0).float().mean().item() - 0.2) < 0.005
    together = torch.corrcoef(kept[:, :8].float().T)
    assert (together - torch.eye(8)).abs().max() < 0.08, "four cells of a word are independent"


def test_draws_in_bits_are_another_training_on_the_cpu_and_only_there() -> None:
    asked = batches.resolve(ComputeRecipe(device="cpu", precision="float32", draws="bits"))
    assert asked.key() == {"device": "cpu", "precision": "float32", "draws": "bits"}
    assert isinstance(asked.generator(1), BitGenerator)
    assert batches.resolve(ComputeRecipe(device="meta", precision="float32", draws="bits")).key().keys() == {
        "device",
        "precision",
    }
    usual = batches.resolve(ComputeRecipe(device="cpu", precision="float32"))
    assert usual.key() == {"device": "cpu", "precision": "float32"}
    assert type(usual.generator(1)) is torch.Generator
    assert "draws" not in ComputeRecipe().model_dump()
