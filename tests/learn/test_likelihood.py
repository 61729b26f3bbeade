"""Likelihoods against plain NumPy: losses, constants, draws, and the rows that they refuse."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from aepipe.learn import likelihood
from aepipe.recipe import Choice


def draw(*shape: int, seed: int = 0) -> Any:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def generator() -> Any:
    return torch.Generator().manual_seed(3)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-x)))


def softmax(x: np.ndarray) -> np.ndarray:
    weights = np.exp(x)
    return np.asarray(weights / weights.sum(-1, keepdims=True))


@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.5])
def test_a_gaussian_is_a_density(sigma: float) -> None:
    """With its constant, the loss is the logarithm of the normal density, cell by cell."""
    one = likelihood.Gaussian(sigma=sigma)
    params, x = draw(4, 2, 3), draw(4, 2, 3, seed=1)
    density = torch.distributions.Normal(params, sigma).log_prob(x).flatten(1).sum(1)
    torch.testing.assert_close(-one.nll(params, x) - one.constant(6), density)
    noise = torch.randn(params.shape, generator=generator())
    torch.testing.assert_close(one.sample(params, generator()), params + sigma * noise)


def test_losses_of_coins_are_those_of_their_formulas() -> None:
    params, x = draw(5, 7), torch.rand(5, 7, generator=torch.Generator().manual_seed(1))
    x[0, :2] = torch.tensor([0.0, 1.0])
    p, seen = sigmoid(params.double().numpy()), x.double().numpy()
    cross = -(seen * np.log(p) + (1 - seen) * np.log(1 - p))
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = -np.nan_to_num(seen * np.log(seen)) - np.nan_to_num((1 - seen) * np.log(1 - seen))
    np.testing.assert_allclose(likelihood.Bernoulli().cells(params, x), cross, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(likelihood.Divergence().cells(params, x), cross - entropy, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(likelihood.Divergence().nll(params, x), (cross - entropy).sum(1), rtol=1e-4)
    agree = x[1:].logit()
    np.testing.assert_allclose(likelihood.Divergence().cells(agree, x[1:]), 0, atol=1e-6)
    for one in (likelihood.Bernoulli(), likelihood.Divergence(), likelihood.Hinge()):
        assert one.constant(5) == 0
        assert one.refusal((3, 4)) is None


def test_a_hinge_costs_the_distance_from_its_margin() -> None:
    params, x = draw(6, 9) * 2, torch.rand(6, 9, generator=torch.Generator().manual_seed(1))
    said, seen = params.numpy(), x.numpy()
    expected = np.abs(2 * seen - 1) * np.maximum(0, 1 - np.sign(2 * seen - 1) * said)
    one = likelihood.Hinge()
    np.testing.assert_allclose(one.cells(params, x), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(one.mean(params), (np.clip(said, -1, 1) + 1) / 2, rtol=1e-5)


@pytest.mark.parametrize("classes", [None, 3, 6])
def test_choices_are_those_of_a_softmax(classes: int | None) -> None:
    one = likelihood.Categorical(classes=classes)
    params, x = draw(4, 2, 3), torch.rand(4, 2, 3, generator=torch.Generator().manual_seed(1))
    grouped = softmax(params.double().numpy().reshape(4, -1, classes or 6)).reshape(4, 2, 3)
    cells = -x.double().numpy() * np.log(grouped)
    np.testing.assert_allclose(one.mean(params), grouped, rtol=1e-5)
    np.testing.assert_allclose(one.nll(params, x), cells.sum((1, 2)), rtol=1e-5)
    observed = torch.rand(4, 2, 3, generator=generator()) < 0.5
    np.testing.assert_allclose(one.nll(params, x, observed), (cells * observed.numpy()).sum((1, 2)), rtol=1e-5)
    drawn = one.sample(params, generator()).view(4, -1, classes or 6)
    assert drawn.shape == (4, 6 // (classes or 6), classes or 6)
    assert bool(((drawn == 0) | (drawn == 1)).all())
    assert bool((drawn.sum(-1) == 1).all())
    assert one.constant(6) == 0


@pytest.mark.parametrize(
    ("classes", "shape", "said"),
    [
        (None, (7,), None),
        (3, (2, 3), None),
        (4, (2, 3), "6 values are no multiple of 4 classes; allowed: a divisor of 6"),
        (2, (3,), "3 values are no multiple of 2 classes; allowed: a divisor of 3"),
    ],
)
def test_values_have_to_divide_into_choices(classes: int | None, shape: tuple[int, ...], said: str | None) -> None:
    assert likelihood.Categorical(classes=classes).refusal(shape) == said


def columns(*spans: tuple[int, str, dict[str, Any]]) -> likelihood.Columns:
    return likelihood.Columns(
        of=tuple(
            likelihood.Span(columns=count, likelihood=Choice(kind=kind, options=options))
            for count, kind, options in spans
        )
    )


def test_columns_are_the_sum_of_their_spans() -> None:
    one = columns((2, "gaussian", {"sigma": 0.5}), (3, "categorical", {"classes": 3}), (1, "bernoulli", {}))
    parts: list[tuple[Any, slice]] = [
        (likelihood.Gaussian(sigma=0.5), slice(0, 2)),
        (likelihood.Categorical(classes=3), slice(2, 5)),
        (likelihood.Bernoulli(), slice(5, 6)),
    ]
    params, x = draw(5, 6), torch.rand(5, 6, generator=torch.Generator().manual_seed(1))
    observed = torch.rand(5, 6, generator=generator()) < 0.6
    whole = sum(part.nll(params[:, place], x[:, place]) for part, place in parts)
    seen = sum(part.nll(params[:, place], x[:, place], observed[:, place]) for part, place in parts)
    torch.testing.assert_close(one.nll(params, x), whole)
    torch.testing.assert_close(one.nll(params, x, observed), seen)
    torch.testing.assert_close(one.mean(params), torch.cat([part.mean(params[:, place]) for part, place in parts], 1))
    again = generator()
    torch.testing.assert_close(
        one.sample(params, generator()), torch.cat([part.sample(params[:, place], again) for part, place in parts], 1)
    )
    assert one.constant(6) == pytest.approx(2 * (0.5 * math.log(2 * math.pi) + math.log(0.5)))
    later = columns((2, "gaussian", {"sigma": 0.5}), (1, "bernoulli", {}), (3, "gaussian", {"sigma": 2.0}))
    half = 0.5 * math.log(2 * math.pi)
    assert later.constant(6) == pytest.approx(5 * half + 2 * math.log(0.5) + 3 * math.log(2))


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((5,), None),
        ((6,), "its spans have 5 columns in all, and rows are of shape [6]; allowed: a flat row"),
        ((5, 1), "its spans have 5 columns in all, and rows are of shape [5, 1]; allowed: a flat row"),
    ],
)
def test_spans_have_to_fill_the_row(shape: tuple[int, ...], said: str | None) -> None:
    assert columns((2, "gaussian", {}), (3, "softmax", {"classes": 3})).refusal(shape) == said
    wrong = columns((2, "gaussian", {}), (3, "softmax", {"classes": 2}))
    assert wrong.refusal((5,)) == "3 values are no multiple of 2 classes; allowed: a divisor of 3"
