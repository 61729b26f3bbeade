"""Generation and inspection, against linear networks, where every answer is known."""

from __future__ import annotations

import math
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from aepipe.learn import generate, likelihood, posterior, stack
from aepipe.learn.autoencoder import Autoencoder
from aepipe.learn.nets import conv, dense, gru

SHAPE = (4, 3, 1)


def generator(seed: int = 0) -> Any:
    return torch.Generator().manual_seed(seed)


def linear(width: int = 5, kind: Any = None) -> Any:
    one = kind or posterior.Delta()
    net = dense.Options(width=width, activation="linear").build(SHAPE, generator(), one.head)
    return Autoencoder(net, one, likelihood.Gaussian())


def stacked() -> Any:
    lower = linear(5)
    upper_net = dense.Options(width=2, activation="linear").build((5,), generator(1))
    return stack.unroll([lower, Autoencoder(upper_net, posterior.Delta(), likelihood.Gaussian())])


def test_samples_are_decoded_draws() -> None:
    model = linear(kind=posterior.Gaussian())
    found = generate.from_prior([model], 6, generator(3)).mean
    codes = posterior.Gaussian().prior(6, 5, generator(3))
    torch.testing.assert_close(found, model.decode(codes))
    assert found.shape == (6, *SHAPE)
    assert not found.requires_grad


@pytest.mark.parametrize("steps", [2, 5])
def test_a_path_has_its_two_ends(steps: int) -> None:
    for model in (linear(), linear(kind=posterior.Gaussian())):
        a, b = torch.randn((2, *SHAPE), generator=generator(4))
        rows = generate.interpolate(model, a, b, steps).mean
        assert rows.shape == (steps, *SHAPE)
        ends = model.decode(model.encode(torch.stack([a, b])).mean)
        torch.testing.assert_close(rows[[0, -1]], ends)


def test_the_straight_path_is_straight_and_the_arc_keeps_its_length() -> None:
    a, b = torch.randn((2, *SHAPE), generator=generator(4))
    model = linear()
    rows = generate.interpolate(model, a, b, 3).mean
    torch.testing.assert_close(rows[1], rows[[0, 2]].mean(0))
    x, y = torch.tensor([3.0, 0.0]), torch.tensor([0.0, 3.0])
    middle = generate._around(x, y, torch.tensor([[0.5]]))
    torch.testing.assert_close(middle.norm(), torch.tensor(3.0))
    torch.testing.assert_close(generate._around(x, x, torch.tensor([[0.3]])), x[None], atol=1e-3, rtol=0)


@pytest.mark.parametrize("angle", [0.01, 1.3, math.pi - 0.01])
def test_on_the_arc_directions_turn_evenly_and_lengths_grow_evenly(angle: float) -> None:
    share = torch.tensor([[0.0], [0.25], [0.7], [1.0]], dtype=torch.float64)
    a, b = 0.5 * _at(0.0), 3.0 * _at(angle)
    found = generate._around(a, b, share)
    expected = [(0.5 + 2.5 * one) * _at(one * angle) for one in share.ravel().tolist()]
    torch.testing.assert_close(found, torch.stack(expected))
    nothing = generate._around(0 * a, b, share)
    assert nothing.isfinite().all()
    assert nothing[0].tolist() == [0, 0]


def _at(angle: float) -> Any:
    return torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64)


def test_between_opposite_directions_a_path_counts_as_an_arc_of_almost_half_a_turn() -> None:
    x, least = _at(0.4), math.pi - 1e-3
    found = generate._around(x, -x, torch.tensor([[0.3], [0.5]], dtype=torch.float64))
    factor = (math.sin(0.7 * least) - math.sin(0.3 * least)) / math.sin(least)
    torch.testing.assert_close(found, torch.stack([factor * x, 0 * x]))


@pytest.mark.parametrize("model", [linear(), stacked()], ids=["layer", "stack"])
def test_tangents_of_a_linear_network_are_its_singular_vectors(model: Any) -> None:
    eye = torch.eye(12).view(12, *SHAPE)
    with torch.no_grad():
        matrix = (model.net.encoder(eye) - model.net.encoder(torch.zeros(1, *SHAPE))).T
    _, strengths, directions = torch.linalg.svd(matrix, full_matrices=False)
    k = min(3, len(strengths))
    found = generate.tangents(model, torch.randn(SHAPE, generator=generator()), 3)
    torch.testing.assert_close(found.strengths, strengths[:k])
    flat = found.directions.flatten(1)
    torch.testing.assert_close(flat @ flat.T, torch.eye(k), atol=1e-5, rtol=0)
    torch.testing.assert_close((flat * directions[:k]).sum(1).abs(), torch.ones(k), atol=1e-4, rtol=0)


def test_tangents_of_a_curved_network_predict_how_its_code_moves() -> None:
    net = dense.Options(width=6, hidden=(9,), activation="tanh").build(SHAPE, generator())
    model = Autoencoder(net, posterior.Delta(), likelihood.Gaussian())
    row = torch.randn(SHAPE, generator=generator(2))
    found = generate.tangents(model, row, 6)
    assert (found.strengths[:-1] >= found.strengths[1:]).all()
    with torch.no_grad():
        moved = net.encoder(row[None] + 1e-2 * found.directions) - net.encoder(row[None] - 1e-2 * found.directions)
    torch.testing.assert_close(moved.norm(dim=1) / 2e-2, found.strengths, rtol=1e-2, atol=1e-4)


def test_filters_are_incoming_weights() -> None:
    model = linear()
    torch.testing.assert_close(generate.filters(model).flatten(1), model.net.encoder[1].weight)
    holed = dense.Options(width=3, holes=True).build((7,), generator())
    assert generate.filters(Autoencoder(holed, posterior.Delta(), likelihood.Gaussian())).shape == (3, 7)
    maps = conv.Options(channels=6, kernel=3).build(SHAPE, generator())
    assert generate.filters(Autoencoder(maps, posterior.Delta(), likelihood.Gaussian())).shape == (6, 3, 3, 1)
    lines = gru.Options(width=3, hidden=4).build(SHAPE, generator())
    assert generate.filters(Autoencoder(lines, posterior.Delta(), likelihood.Gaussian())).shape == (12, 1, 3, 1)


def test_features_are_the_change_that_a_unit_makes() -> None:
    model = linear()
    weight = model.net.decoder[0].weight.detach()
    found = generate.features(model, torch.tensor([2, 0]), strength=3.0)
    torch.testing.assert_close(found.flatten(1), 3 * weight.T[[2, 0]])
    maps = conv.Options(channels=6, kernel=3).build((8, 8, 1), generator())
    one = generate.features(Autoencoder(maps, posterior.Delta(), likelihood.Gaussian()), torch.tensor([1]))
    assert one.shape == (1, 8, 8, 1)
    assert one[0, 3:6, 3:6].abs().sum() > 0
    assert one[0, :3].abs().sum() == 0, "a unit in the middle reaches as far as its filter"
