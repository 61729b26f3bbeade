"""The lower bound and the evidence, against models of known likelihood and countable codes."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from aepipe.errors import RecipeError, TrainingError
from aepipe.learn import batches, likelihood, objectives, posterior, stack
from aepipe.learn import spec as layer_specs
from aepipe.learn.autoencoder import Autoencoder
from aepipe.learn.density import log_likelihood
from aepipe.learn.nets import dense
from aepipe.learn.objectives import Batch, variational
from aepipe.recipe import Choice, CodeRecipe, ComputeRecipe, FinetuneRecipe, LayerRecipe

CPU = batches.resolve(ComputeRecipe(device="cpu", precision="float32"))
D, H, SIGMA = 5, 2, 0.7


def generator(seed: int = 0) -> Any:
    return torch.Generator().manual_seed(seed)


def linear_gaussian() -> tuple[Autoencoder, Any]:
    """Return probabilistic PCA with its exact posterior, and its decoder's weights.

    The posterior of such a model has correlated units; columns at right angles make them independent.
    """
    net: Any = dense.Options(width=H, activation="linear").build((D,), generator(), posterior.Gaussian().head)
    weight = torch.linalg.qr(torch.randn((D, H), generator=generator(1)))[0] * torch.tensor([1.5, 0.8])
    precision = 1 + weight.square().sum(0) / SIGMA**2
    with torch.no_grad():
        net.decoder[0].weight.copy_(weight)
        net.decoder[0].bias.zero_()
        net.encoder[1].weight[:H] = weight.T / SIGMA**2 / precision[:, None]
        net.encoder[1].weight[H:] = 0
        net.encoder[1].bias[:H] = 0
        net.encoder[1].bias[H:] = -0.5 * precision.log()
    return Autoencoder(net, posterior.Gaussian(), likelihood.Gaussian(sigma=SIGMA)), weight


def bound(model: Autoencoder, x: Any, draws: int) -> Any:
    """Return the evidence lower bound of each row, over many draws."""
    many = x.repeat_interleave(draws, 0)
    encoding = model.encode(many, generator(3))
    assert encoding.kl is not None
    nll = model.likelihood.nll(model.decode(encoding.sample), many) + model.likelihood.constant(D)
    return -(nll + encoding.kl).view(len(x), draws).mean(1).detach()


def test_the_evidence_of_probabilistic_pca() -> None:
    model, weight = linear_gaussian()
    x = 1.5 * torch.randn((40, D), generator=generator(2))
    covariance = weight @ weight.T + SIGMA**2 * torch.eye(D)
    exact = torch.distributions.MultivariateNormal(torch.zeros(D), covariance).log_prob(x)
    torch.testing.assert_close(log_likelihood(model, x, samples=50, generator=generator()), exact, atol=1e-3, rtol=0)
    # With the exact posterior the bound is tight; with another one it is below, and samples close the gap.
    assert (bound(model, x, 4000) - exact).abs().mean() < 0.05
    with torch.no_grad():
        encoder: Any = model.net.encoder
        encoder[1].bias += torch.tensor([0.4, -0.3, 0.3, -0.2])
    below = bound(model, x, 2000).mean()
    sampled = log_likelihood(model, x, samples=200, generator=generator()).mean()
    assert below < sampled - 0.05
    assert sampled == pytest.approx(exact.mean().item(), abs=0.03)


@pytest.mark.parametrize("kind", ["bernoulli", "categorical"])
def test_the_evidence_of_countable_codes(kind: str) -> None:
    classes = 3
    one: Any = posterior.Bernoulli(rate=0.3) if kind == "bernoulli" else posterior.Categorical(classes=classes)
    width = 4 if kind == "bernoulli" else 2 * classes
    net = dense.Options(width=width).build((D,), generator(), one.head)
    model = Autoencoder(net, one, likelihood.Bernoulli())
    x = torch.rand((7, D), generator=generator(1)).round()
    if kind == "bernoulli":
        codes = torch.tensor(list(itertools.product([0.0, 1.0], repeat=4)))
        log_prior = (codes * math.log(0.3) + (1 - codes) * math.log(0.7)).sum(1)
    else:
        eye = torch.eye(classes)
        codes = torch.stack([torch.cat([eye[a], eye[b]]) for a in range(classes) for b in range(classes)])
        log_prior = torch.full((len(codes),), -2 * math.log(classes))
    with torch.no_grad():
        nll = torch.stack([model.likelihood.nll(model.decode(codes), row.expand(len(codes), -1)) for row in x])
    exact = (log_prior - nll).logsumexp(1)
    found = log_likelihood(model, x, samples=5000, generator=generator())
    torch.testing.assert_close(found, exact, atol=0.06, rtol=0)


def test_a_posterior_without_a_prior_has_no_evidence() -> None:
    model = Autoencoder(dense.Options(width=H).build((D,), generator()), posterior.Delta(), likelihood.Gaussian())
    with pytest.raises(TrainingError, match="Delta: a posterior without a prior"):
        log_likelihood(model, torch.zeros(2, D), generator=generator())


def objective(**options: Any) -> Any:
    recipe = LayerRecipe.model_validate(
        {
            "net": {"kind": "dense", "width": 4},
            "posterior": "gaussian",
            "objective": {"kind": "variational", **options},
        }
    )
    spec = layer_specs.layer_spec(recipe, "layers.0")
    return objectives.build(stack.build([spec], (D,), seed=0)[0], spec.training.objective, CPU)


def test_the_terms_of_the_bound() -> None:
    x = torch.rand((50, D), generator=generator())
    plain = objective()
    terms = plain.terms(Batch(x, x, None, None))
    encoding = plain.model.encode(x)
    torch.testing.assert_close(terms["kl"], encoding.kl.mean())
    nll = plain.model.likelihood.nll(plain.model.decode(encoding.mean), x).mean()
    torch.testing.assert_close(terms["reconstruction"], nll)
    assert objective(beta=3.0).terms(Batch(x, x, None, None))["kl"].item() == pytest.approx(3 * terms["kl"].item())
    assert objective(free_nats=100.0).terms(Batch(x, x, None, None))["kl"] == 0


def test_more_draws_make_a_steadier_bound() -> None:
    x = torch.rand((20, D), generator=generator())

    def spread(samples: int) -> float:
        one = objective(samples=samples)
        drawn = [one.terms(Batch(x, x, None, generator(i)))["reconstruction"] for i in range(60)]
        return float(torch.stack(drawn).std().detach())

    assert spread(16) < 0.5 * spread(1)


def test_a_divergence_needs_a_prior() -> None:
    dense_layer = LayerRecipe(net=Choice(kind="dense", options={"width": 4}), objective=Choice(kind="variational"))
    with pytest.raises(RecipeError, match=r"layers\.0\.objective: .*allowed: bernoulli, categorical, gaussian"):
        layer_specs.layer_spec(dense_layer, "layers.0")
    with pytest.raises(RecipeError, match=r"finetune\.objective: trains single layers, not a whole stack"):
        layer_specs.finetune_training(
            FinetuneRecipe(objective=Choice(kind="variational")), [layer_specs.code_spec(CodeRecipe(bits=4))]
        )
    assert variational.Options().beta == 1
