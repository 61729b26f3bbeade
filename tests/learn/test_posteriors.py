"""Posteriors: samples average to the mean, divergences agree with draws, gradients pass."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from aepipe.errors import RecipeError
from aepipe.learn import posterior
from aepipe.learn import spec as layer_specs
from aepipe.learn.nets import Head
from aepipe.learn.posterior import Stochastic
from aepipe.recipe import Choice, CodeRecipe, LayerRecipe

PRIORS: dict[str, Any] = {
    "gaussian": posterior.Gaussian(),
    "bernoulli": posterior.Bernoulli(rate=0.3),
    "categorical": posterior.Categorical(classes=3),
}
WIDTH = 6


def generator(seed: int = 0) -> Any:
    return torch.Generator().manual_seed(seed)


def activations(one: Any, rows: int = 1) -> Any:
    drawn = torch.randn((1, WIDTH * one.head.heads), generator=generator())
    return drawn.expand(rows, -1)


def test_which_kinds_have_a_prior() -> None:
    with_prior = {kind for kind, model in posterior.KINDS.items() if isinstance(model(), Stochastic)}
    assert with_prior == PRIORS.keys()


@pytest.mark.parametrize("kind", sorted(PRIORS))
def test_hard_draws_average_to_the_mean_and_weigh_the_divergence(kind: str) -> None:
    one = PRIORS[kind]
    x = 0.3 * activations(one, 60_000)
    code, log_ratio = one.log_ratio(x, generator())
    encoding = one.encode(x[:1], None)
    torch.testing.assert_close(code.mean(0), encoding.mean[0], atol=0.03, rtol=0)
    # KL(q || p) is minus the mean of log p - log q over draws of q, and the mean of p / q is one.
    assert -log_ratio.mean().item() == pytest.approx(encoding.kl.item(), abs=0.02)
    assert log_ratio.exp().mean().item() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("kind", sorted(PRIORS))
def test_the_prior_has_no_divergence_from_itself(kind: str) -> None:
    one = PRIORS[kind]
    own = {
        "gaussian": torch.zeros(1, 2 * WIDTH),
        "bernoulli": torch.full((1, WIDTH), math.log(0.3 / 0.7)),
        "categorical": torch.full((1, WIDTH), 0.7),
    }[kind]
    encoding = one.encode(own, None)
    assert encoding.kl.item() == pytest.approx(0, abs=1e-5)
    assert one.encode(own + 1.3 * torch.arange(own.shape[1]), None).kl.item() > 0.1
    drawn = one.prior(50_000, WIDTH, generator())
    torch.testing.assert_close(drawn.mean(0), encoding.mean[0], atol=0.02, rtol=0)


@pytest.mark.parametrize("kind", ["bernoulli", "categorical"])
def test_relaxed_draws_become_hard_at_a_low_temperature(kind: str) -> None:
    def softness(temperature: float) -> float:
        one = PRIORS[kind].model_copy(update={"temperature": temperature})
        sample = one.encode(activations(one, 5000), generator()).sample
        return float((sample * (1 - sample)).mean())

    assert softness(0.05) < 0.02 < softness(1.0)


def test_a_relaxed_coin_has_the_odds_of_a_hard_one() -> None:
    one = PRIORS["bernoulli"]
    x = activations(one, 60_000)
    sample = one.encode(x, generator()).sample
    torch.testing.assert_close((sample > 0.5).float().mean(0), x[0].sigmoid(), atol=0.01, rtol=0)


@pytest.mark.parametrize("kind", sorted(PRIORS))
def test_gradients_pass_and_codes_may_be_maps(kind: str) -> None:
    one = PRIORS[kind]
    x = torch.randn((4, 2, 3, WIDTH * one.head.heads), generator=generator(), requires_grad=True)
    encoding = one.encode(x, generator())
    assert encoding.mean.shape == encoding.sample.shape == (4, 2, 3, WIDTH)
    assert encoding.kl.shape == (4,)
    flat = torch.stack([one.encode(row.reshape(6, -1), None).kl.sum() for row in x])
    torch.testing.assert_close(encoding.kl, flat)
    encoding.sample.square().sum().backward()
    assert x.grad is not None
    assert (x.grad.flatten(1).abs().sum(1) > 0).all()


def test_extreme_variances_stay_finite() -> None:
    for extreme in (1e4, -1e4):
        kl = posterior.Gaussian().encode(torch.full((1, 8), extreme), generator()).kl
        assert kl is not None
        assert kl.isfinite().all()


def test_only_the_largest_activations_are_kept() -> None:
    x = torch.tensor([[0.5, -3.0, 2.0, 1.0]], requires_grad=True)
    encoding = posterior.KSparse(k=2).encode(x, generator())
    assert encoding.mean.tolist() == [[0, 0, 2, 1]]
    torch.autograd.backward(encoding.sample.sum())
    assert x.grad is not None
    assert x.grad.tolist() == [[0, 0, 1, 1]]


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"kind": "categorical", "classes": 3}, "layers.0.posterior: 10 units are no multiple of 3 classes"),
        ({"kind": "k-sparse", "k": 10}, "layers.0.posterior: k = 10 of 10 units keeps all"),
    ],
)
def test_a_width_that_does_not_fit_is_refused(choice: Any, message: str) -> None:
    net = Choice(kind="dense", options={"width": 10})
    spec = layer_specs.layer_spec(LayerRecipe(net=net, posterior=Choice.model_validate(choice)), "layers.0")
    with pytest.raises(RecipeError) as caught:
        layer_specs.check_stack([spec, layer_specs.code_spec(CodeRecipe(bits=4))], (7,))
    assert message in str(caught.value)


def uniform(shape: Any, seed: int = 5) -> np.ndarray:
    """Return the draws of a generator, within the bounds in which their logarithms are finite."""
    return np.asarray(np.clip(torch.rand(shape, generator=generator(seed)).double().numpy(), 1e-7, 1 - 1e-7))


def sigmoid(x: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-x)))


def test_a_gaussian_is_that_of_its_formulas() -> None:
    x = 2 * torch.randn((7, 8), generator=generator())
    x[0, 4:6] = torch.tensor([9.0, -12.0])
    mean, log_sigma = x.double().numpy()[:, :4], np.clip(x.double().numpy()[:, 4:], -10, 5)
    one, noise = posterior.Gaussian(), torch.randn((7, 4), generator=generator(5)).double().numpy()
    encoding = one.encode(x, generator(5))
    np.testing.assert_allclose(encoding.mean, mean, rtol=1e-6)
    np.testing.assert_allclose(encoding.sample, mean + np.exp(log_sigma) * noise, rtol=1e-4, atol=1e-5)
    kl = 0.5 * (mean**2 + np.exp(2 * log_sigma) - 1) - log_sigma
    np.testing.assert_allclose(encoding.kl, kl.sum(1), rtol=1e-4)  # type: ignore[arg-type]
    assert torch.equal(one.encode(x, None).sample, encoding.mean)
    code, ratio = one.log_ratio(x, generator(5))
    torch.testing.assert_close(code, encoding.sample)
    prior = torch.distributions.Normal(0.0, 1.0).log_prob(code.double())
    own = torch.distributions.Normal(torch.from_numpy(mean), torch.from_numpy(np.exp(log_sigma))).log_prob(
        code.double()
    )
    torch.testing.assert_close(ratio[1:].double(), (prior - own).sum(1)[1:], rtol=1e-3, atol=1e-3)
    assert torch.equal(one.prior(3, 4, generator(5)), torch.randn((3, 4), generator=generator(5)))


def test_coins_are_those_of_their_formulas() -> None:
    x = 2 * torch.randn((7, 4), generator=generator())
    one, logit, drawn = posterior.Bernoulli(rate=0.3, temperature=0.4), x.double().numpy(), uniform((7, 4))
    logistic = np.log(drawn) - np.log(1 - drawn)
    p = sigmoid(logit)
    encoding = one.encode(x, generator(5))
    np.testing.assert_allclose(encoding.mean, p, rtol=1e-5)
    np.testing.assert_allclose(encoding.sample, sigmoid((logit + logistic) / 0.4), rtol=1e-3, atol=1e-6)
    kl = (p * np.log(p / 0.3) + (1 - p) * np.log((1 - p) / 0.7)).sum(1)
    np.testing.assert_allclose(encoding.kl, kl, rtol=1e-4)  # type: ignore[arg-type]
    code, ratio = one.log_ratio(x, generator(5))
    np.testing.assert_array_equal(code, logistic + logit > 0)
    hard = code.numpy() > 0
    own, prior = np.where(hard, p, 1 - p), np.where(hard, 0.3, 0.7)
    np.testing.assert_allclose(ratio, np.log(prior / own).sum(1), rtol=1e-4, atol=1e-5)
    prior_draw = torch.rand((3, 4), generator=generator(5)) < 0.3
    assert torch.equal(one.prior(3, 4, generator(5)), prior_draw.float())


def test_choices_are_those_of_their_formulas() -> None:
    x = 2 * torch.randn((7, 6), generator=generator())
    one, logits = posterior.Categorical(classes=3, temperature=0.4), x.double().numpy().reshape(7, 2, 3)
    p = np.exp(logits) / np.exp(logits).sum(2, keepdims=True)
    gumbel = -np.log(-np.log(uniform((7, 2, 3))))
    encoding = one.encode(x, generator(5))
    np.testing.assert_allclose(encoding.mean, p.reshape(7, 6), rtol=1e-5)
    warm = np.exp((logits + gumbel) / 0.4)
    np.testing.assert_allclose(encoding.sample, (warm / warm.sum(2, keepdims=True)).reshape(7, 6), rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(encoding.kl, (p * np.log(3 * p)).sum((1, 2)), rtol=1e-4)  # type: ignore[arg-type]
    assert torch.equal(one.encode(x, None).sample, encoding.mean)
    code, ratio = one.log_ratio(x, generator(5))
    chosen = (logits + gumbel).argmax(2)
    np.testing.assert_array_equal(code.numpy().reshape(7, 2, 3), np.eye(3)[chosen])
    own = np.take_along_axis(p, chosen[:, :, None], 2)[:, :, 0]
    np.testing.assert_allclose(ratio, -np.log(3 * own).sum(1), rtol=1e-4, atol=1e-5)
    prior = -np.log(-np.log(uniform((2, 2, 3))))
    np.testing.assert_array_equal(one.prior(2, 6, generator(5)).numpy().reshape(2, 2, 3), np.eye(3)[prior.argmax(2)])


@pytest.mark.parametrize(
    ("one", "head"),
    [
        (posterior.Delta(), Head()),
        (posterior.KSparse(), Head()),
        (posterior.Gaussian(), Head(heads=2, linear=True)),
        (posterior.Bernoulli(), Head(linear=True)),
        (posterior.Categorical(), Head(linear=True)),
        (posterior.Noise(), Head(linear=True)),
        (posterior.Rotation(), Head(linear=True, turned=True)),
    ],
)
def test_what_top_of_an_encoder_a_kind_needs(one: Any, head: Head) -> None:
    assert one.head == head
    assert one.binary is isinstance(one, posterior.Bits)
    assert one.refusal(24) is None
    assert one.at(0.5).model_dump() == one.model_dump()


@pytest.mark.parametrize(("k", "width", "refused"), [(3, 4, False), (4, 4, True), (5, 4, True)])
def test_some_units_have_to_be_left_out(k: int, width: int, refused: bool) -> None:
    assert (posterior.KSparse(k=k).refusal(width) is not None) is refused


@pytest.mark.parametrize(("width", "refused"), [(6, False), (7, True), (2, True)])
def test_units_have_to_divide_into_choices(width: int, refused: bool) -> None:
    assert (posterior.Categorical(classes=3).refusal(width) is not None) is refused
