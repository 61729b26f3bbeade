"""Corruptions by the draws of their generators: each cell as its formula says, for arrays and for tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from aepipe.learn import affine
from aepipe.learn import corruption as corruptions
from aepipe.learn.batches import BitGenerator
from aepipe.recipe import Choice

N, D = 40, 12


def generator(seed: int = 5) -> Any:
    return torch.Generator().manual_seed(seed)


def rng(seed: int = 5) -> np.random.Generator:
    return np.random.default_rng(seed)


def rows(*shape: int) -> Any:
    return rng(1).random(shape or (N, D), np.float32) + 0.1


def pair(one: Any, x: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return what becomes of an array and of a tensor."""
    noisy, kept = one.corrupt_tensor(torch.from_numpy(x), generator())
    return [one.corrupt(x, rng()), (noisy.numpy(), kept.numpy())]


def uniform(shape: tuple[int, ...]) -> list[np.ndarray]:
    """Return the first draws of both generators."""
    return [rng().random(shape, np.float32), torch.rand(shape, generator=generator()).numpy()]


@pytest.mark.parametrize("rescale", [False, True])
def test_a_mask_hides_cells_whose_draw_is_below_the_rate(rescale: bool) -> None:
    x = rows()
    for (noisy, kept), drawn in zip(
        pair(corruptions.Mask(rate=0.3, rescale=rescale), x), uniform(x.shape), strict=True
    ):
        assert np.array_equal(kept, drawn >= np.float32(0.3))
        np.testing.assert_allclose(noisy, np.where(kept, x / (0.7 if rescale else 1), 0), rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gaussian_noise_is_the_draw_times_its_deviation(dtype: Any) -> None:
    x = rows().astype(dtype)
    drawn = [
        rng().standard_normal(x.shape, np.float32),
        torch.randn(x.shape, generator=generator(), dtype=torch.from_numpy(x).dtype),
    ]
    for (noisy, kept), noise in zip(pair(corruptions.Gaussian(sigma=0.2), x), drawn, strict=True):
        assert kept.all()
        assert noisy.dtype == dtype
        np.testing.assert_allclose(noisy, x + 0.2 * np.asarray(noise), rtol=1e-5)


def test_salt_is_the_upper_half_of_the_draws_below_the_rate() -> None:
    x = rows()
    one = corruptions.SaltPepper(rate=0.4, low=-2, high=3)
    for (noisy, kept), drawn in zip(pair(one, x), uniform(x.shape), strict=True):
        assert np.array_equal(kept, drawn >= np.float32(0.4))
        np.testing.assert_array_equal(noisy, np.where(kept, x, np.where(drawn < np.float32(0.2), -2, 3)))


@pytest.mark.parametrize(
    ("shape", "sides"), [((N, 8, 6, 2), (4, 3)), ((N, 12), (3,)), ((N, 3, 1, 1), (2, 1)), ((N, 2), (1,))]
)
def test_a_block_begins_where_the_draw_says(shape: tuple[int, ...], sides: tuple[int, ...]) -> None:
    x = rows(*shape)
    drawn, again = rng(), generator()
    starts = [
        [drawn.integers(0, side - length + 1, N) for side, length in zip(shape[1:], sides, strict=False)],
        [
            torch.randint(0, side - length + 1, (N, 1), generator=again)[:, 0].numpy()
            for side, length in zip(shape[1:], sides, strict=False)
        ],
    ]
    for (noisy, kept), start in zip(pair(corruptions.Block(share=0.25), x), starts, strict=True):
        for row in range(N):
            hidden = np.zeros(shape[1:], bool)
            hidden[tuple(slice(at[row], at[row] + length) for at, length in zip(start, sides, strict=True))] = True
            assert np.array_equal(kept[row], ~hidden)
        np.testing.assert_array_equal(noisy, np.where(kept, x, 0))


def test_a_shift_is_the_draw_less_the_longest_move() -> None:
    x = rows(N, 5, 7, 2)
    drawn = [rng().integers(0, 5, (2, N, 1)), torch.randint(0, 5, (2, N, 1), generator=generator()).numpy()]
    padded = np.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)))
    for (noisy, kept), moves in zip(pair(corruptions.Shift(pixels=2), x), drawn, strict=True):
        assert kept.all()
        for row in range(N):
            down, across = moves[0, row, 0], moves[1, row, 0]
            np.testing.assert_array_equal(noisy[row], padded[row, down : down + 5, across : across + 7])


def test_jitter_hands_its_numbers_on() -> None:
    x = rows(N, 6, 8, 2).clip(0, 1)
    one = corruptions.Jitter(shift=1.2, turn=20.0, scale=0.2, mirror=0.4, brightness=0.1, contrast=0.3)
    most = affine.Most(shift=1.2, turn=20.0, scale=0.2, mirror=0.4, brightness=0.1, contrast=0.3)
    drawn = [rng().uniform(-1, 1, (N, affine.DRAWS)).astype(np.float32), 2 * uniform((N, affine.DRAWS))[1] - 1]
    for (noisy, kept), draw in zip(pair(one, x), drawn, strict=True):
        assert kept.all()
        expected = affine.change(torch.from_numpy(x), torch.from_numpy(draw), most)
        np.testing.assert_allclose(noisy, expected, atol=1e-6)


def test_parts_of_jitter_are_made_weaker_one_by_one() -> None:
    one = corruptions.Jitter(shift=2.0, turn=20.0, scale=0.2, mirror=0.4, brightness=0.1, contrast=0.3)
    assert one.parts == ("shift", "turn", "scale", "mirror", "brightness", "contrast")
    halved = one.by(dict.fromkeys(one.parts, 0.5))
    assert halved == corruptions.Jitter(shift=1.0, turn=10.0, scale=0.1, mirror=0.4, brightness=0.05, contrast=0.15)
    assert one.by({"turn": 0.1234567, "mirror": 0.0}) == one.model_copy(update={"turn": 2.469134, "mirror": 0.0})
    nothing = dict.fromkeys(one.parts, 0.0)
    assert one.only("turn", 0.5) == corruptions.Jitter(**nothing | {"turn": 10.0})
    assert one.only("mirror", 0.5) == corruptions.Jitter(**nothing | {"mirror": 1.0})
    assert corruptions.Jitter().only("mirror", 0.5) == corruptions.Jitter(**nothing), "it mirrors nothing"
    assert corruptions.Mask().parts == ()
    assert corruptions.Mask().by({"rate": 0.5}) == corruptions.Mask()
    assert corruptions.Mask().only("rate", 0.5) == corruptions.Mask()


def chance_of(score: np.ndarray, order: np.ndarray, rate: float) -> np.ndarray:
    """Return the chance of each cell by its rank; of equal scores the first in the order has the lower one."""
    place = np.empty(len(order), int)
    place[order] = np.arange(len(order))
    rank = np.empty(score.shape)
    for column in range(score.shape[1]):
        rank[np.lexsort((place, score[:, column])), column] = np.arange(len(score))
    return np.asarray(((rank + 0.5) / len(score)) ** ((1 - rate) / rate))


@pytest.mark.parametrize("rate", [0.2, 0.6])
def test_a_chance_follows_the_rank_of_a_score(rate: float) -> None:
    score = np.round(rows() * 4)  # with ties
    found = corruptions.by_rank(score, rate, rng())
    np.testing.assert_allclose(found, chance_of(score, rng().permutation(N), rate), rtol=1e-4)
    tensor = corruptions.tensor_by_rank(torch.from_numpy(score), rate, generator())
    np.testing.assert_allclose(
        tensor, chance_of(score, torch.randperm(N, generator=generator()).numpy(), rate), rtol=1e-4
    )
    assert found.mean() == pytest.approx(rate, abs=0.01)


@pytest.mark.parametrize("most", [None, 0.9])
@pytest.mark.parametrize("spans", [(), (1, 4, 7)])
def test_cells_are_missing_where_the_draw_is_below_the_rate_of_the_row(
    most: float | None, spans: tuple[int, ...]
) -> None:
    x, one = rows(), corruptions.MCAR(rate=0.3, rate_max=most, spans=spans)
    drawn, again = rng(), generator()
    size = (N, len(spans) or D)
    cells = drawn.random(size, np.float32)
    share = drawn.random((N, 1), np.float32)
    tensor_share = torch.rand((N, 1), generator=again).numpy()
    tensor_cells = torch.rand(size, generator=again).numpy()
    for (noisy, kept), draw, chance in zip(pair(one, x), (cells, tensor_cells), (share, tensor_share), strict=True):
        wide = np.repeat(draw, spans, axis=1) if spans else draw
        rate = 0.3 + ((most or 0.3) - 0.3) * chance
        assert np.array_equal(kept, wide >= rate.astype(np.float32))
        np.testing.assert_array_equal(noisy, np.where(kept, x, np.nan))


def test_a_weighted_sum_of_columns_that_are_there_decides_on_the_others() -> None:
    x, one = rows(), corruptions.MAR(rate=0.4, always=0.3, seed=7)
    x[::5, :] = np.nan
    there, weights = one.mechanism(D)
    drawn = rng(7)
    assert np.flatnonzero(there).tolist() == sorted(drawn.permutation(D)[:4].tolist())
    np.testing.assert_array_equal(weights, drawn.standard_normal(4).astype(np.float32))
    score = (np.nan_to_num(x[:, there]) @ weights)[:, None]
    chance = np.where(there, 0, chance_of(score, rng().permutation(N), 0.4))
    np.testing.assert_allclose(one.chances(x, rng()), chance, rtol=1e-4)
    tensor = np.where(there, 0, chance_of(score, torch.randperm(N, generator=generator()).numpy(), 0.4))
    np.testing.assert_allclose(one.tensor_chances(torch.from_numpy(x), generator()), tensor, rtol=1e-4)


@pytest.mark.parametrize(
    ("always", "width", "count"), [(0.3, 12, 4), (0.01, 12, 1), (0.99, 12, 11), (0.5, 2, 1), (0.5, 1, 1)]
)
def test_how_many_columns_are_always_there(always: float, width: int, count: int) -> None:
    there, weights = corruptions.MAR(always=always).mechanism(width)
    assert there.sum() == len(weights) == count


def test_a_chain_keeps_what_each_link_keeps() -> None:
    x = rows()
    links = (corruptions.Mask(rate=0.3), corruptions.MCAR(rate=0.2), corruptions.Gaussian(sigma=0.2))
    options = [{"kind": "mask", "rate": 0.3}, {"kind": "mcar", "rate": 0.2}, {"kind": "gaussian", "sigma": 0.2}]
    one = corruptions.Chain(of=tuple(Choice.model_validate(choice) for choice in options))
    drawn, again = rng(), generator()
    arrays, tensors, whole, both = x, torch.from_numpy(x), np.ones(x.shape, bool), torch.ones(x.shape, dtype=torch.bool)
    for link in links:
        arrays, kept = link.corrupt(arrays, drawn)
        tensors, there = link.corrupt_tensor(tensors, again)
        whole, both = whole & kept, both & there
    for (noisy, kept), expected, marks in zip(pair(one, x), (arrays, tensors), (whole, both), strict=True):
        np.testing.assert_array_equal(noisy, expected)
        np.testing.assert_array_equal(kept, marks)
    assert one.makes_holes
    assert not corruptions.Chain(of=(Choice(kind="mask"),)).makes_holes


def test_cells_drawn_in_bits_are_the_words_of_a_seed() -> None:
    seed = int(torch.randint(1 << 62, (), generator=generator()))
    draw = np.random.SFC64(seed).random_raw(9).view(np.uint16)[:35].reshape(5, 7)
    shares = (0.25, 0.5, 0.0, 1e-9, 1 - 1e-9)
    drawn: Any = BitGenerator().manual_seed(5)
    found = drawn.at_least((5, 7), shares)
    for one, least in zip(found, (1 << 14, 1 << 15, 1, 1, 1 << 16), strict=True):
        assert np.array_equal(one, draw >= least)
