"""The contractive penalty: closed form and probes against the Jacobian; tied weights."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn

from aepipe.errors import RecipeError
from aepipe.learn import batches, likelihood, nets, objectives, posterior, stack
from aepipe.learn import spec as layer_specs
from aepipe.learn.autoencoder import Autoencoder
from aepipe.learn.batches import Feed
from aepipe.learn.nets import dense
from aepipe.learn.objectives import Batch, contractive
from aepipe.learn.objectives.contractive import squared_norm
from aepipe.learn.trainer import FileCheckpoint, Trainer
from aepipe.recipe import Choice, CodeRecipe, ComputeRecipe, FitRecipe, LayerRecipe

CPU = batches.resolve(ComputeRecipe(device="cpu", precision="float32"))
BFLOAT16 = batches.resolve(ComputeRecipe(device="cpu", precision="bfloat16"))


def build(*, kind: str = "delta", **net: Any) -> Autoencoder:
    """Return an autoencoder of rows of 7 with random weights, past all refusals."""
    one: Any = posterior.KINDS[kind]()
    options = dense.Options(**{"width": 5, "tied": True, "activation": "sigmoid", **net})
    made = options.build((7,), torch.Generator().manual_seed(0), one.head)
    return Autoencoder(made, one, likelihood.Gaussian())


def rows(count: int = 6) -> Any:
    return torch.randn((count, 7), generator=torch.Generator().manual_seed(1))


def by_jacobian(model: Autoencoder, x: Any) -> Any:
    """Return the squared norm of each row's Jacobian, cell by cell."""
    code: Any = torch.func.jacrev(lambda row: model.encode(row[None]).mean[0], chunk_size=1)
    return torch.stack([code(row).square().sum() for row in x])


@pytest.mark.parametrize(
    ("parts", "single"),
    [
        ([nn.Flatten(), nn.Linear(7, 5), nn.Tanh()], True),
        ([nn.Flatten(), nn.Linear(7, 5), nn.Softmax(1)], False),
        ([nn.Flatten(), nn.Identity(), nn.Tanh()], False),
        ([nn.Identity(), nn.Linear(7, 5), nn.Tanh()], False),
        ([nn.Flatten(), nn.Linear(7, 5)], False),
        ([nn.Flatten(), nn.Linear(7, 5), nn.Tanh(), nn.Tanh()], False),
    ],
)
def test_there_is_a_closed_form_for_one_map_under_a_pointwise_activation(parts: list[nn.Module], single: bool) -> None:
    model = build()
    model.net.encoder = nn.Sequential(*parts)
    assert contractive._single_layer(model) == ((parts[1], parts[2]) if single else None)
    for other in (posterior.KSparse(k=2), posterior.Bernoulli()):
        model.posterior = other
        assert contractive._single_layer(model) is None


def test_for_sigmoid_units_it_is_the_sum_of_the_paper() -> None:
    model, x = build(), rows()
    weight, h = model.net.encoder[1].weight, model.encode(x).mean  # type: ignore[index]
    by_hand = (h * (1 - h)).square() @ weight.square().sum(1)
    torch.testing.assert_close(squared_norm(model, x), by_hand)


@pytest.mark.parametrize("activation", sorted(nets.ACTIVATIONS))
def test_the_closed_form_is_the_jacobian(activation: Any) -> None:
    model, x = build(activation=activation), rows()
    assert contractive._single_layer(model) is not None
    torch.testing.assert_close(squared_norm(model, x), by_jacobian(model, x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("activation", sorted(nets.ACTIVATIONS))
def test_probes_are_unbiased(activation: Any) -> None:
    model = build(hidden=[6], activation=activation)
    assert contractive._single_layer(model) is None
    one = rows(1)
    truth = by_jacobian(model, one).item()
    with torch.no_grad():
        many = squared_norm(model, one.expand(20_000, 7), generator=torch.Generator().manual_seed(2))
    error = many.std().item() / np.sqrt(len(many))
    assert many.std() > 0
    assert abs(many.mean().item() - truth) < 4 * error


def test_more_probes_are_less_noisy() -> None:
    model, x = build(hidden=[6], activation="tanh"), rows(1).expand(2000, 7)
    spread = [squared_norm(model, x, probes=n, generator=torch.Generator().manual_seed(3)).std() for n in (1, 16)]
    assert spread[1].item() == pytest.approx(spread[0].item() / 4, rel=0.2)


@pytest.mark.parametrize("holes", [True, False])
def test_other_posteriors_and_holes_are_probed(holes: bool) -> None:
    model = build(holes=holes)
    x = rows(1).repeat(20_000, 1)
    if holes:
        x[:, 2] = torch.nan
    else:
        model.posterior = posterior.KSparse(k=2)  # the units that are left out do not count
    truth = by_jacobian(model, x[:1]).item()
    found = squared_norm(model, x, generator=torch.Generator().manual_seed(0)).detach()
    assert abs(found.mean().item() - truth) < 4 * found.std().item() / np.sqrt(len(x))


@pytest.mark.parametrize("net", [{}, {"hidden": [6]}], ids=["closed form", "probes"])
def test_its_gradient_is_that_of_the_jacobian(net: dict[str, Any]) -> None:
    model, x = build(activation="tanh", **net), rows()
    other = copy.deepcopy(model)
    for part in (*model.net.decoder.modules(), *other.net.decoder.modules()):
        assert not isinstance(part, torch.nn.Linear), "tied"
    every = 2000 if net else 1
    squared_norm(model, x, probes=every, generator=torch.Generator().manual_seed(0)).mean().backward()  # type: ignore[no-untyped-call]
    by_jacobian(other, x).mean().backward()
    pairs = list(zip(model.net.encoder.parameters(), other.net.encoder.parameters(), strict=True))
    for found, wanted in pairs:
        if wanted.grad is not None and wanted.grad.any():
            assert found.grad is not None
            error = (found.grad - wanted.grad).norm() / wanted.grad.norm()
            assert error < (0.1 if net else 1e-5)
    assert any(wanted.grad is not None and wanted.grad.any() for _, wanted in pairs)


@pytest.mark.parametrize("net", [{}, {"hidden": [6]}], ids=["closed form", "probes"])
def test_without_gradients_it_is_the_same_every_time(net: dict[str, Any]) -> None:
    model, x = build(**net), rows()
    with torch.no_grad():
        first, second = squared_norm(model, x), squared_norm(model, x)
    assert not first.requires_grad
    assert torch.equal(first, second)
    assert torch.equal(first, squared_norm(model, x).detach())
    assert all(p.grad is None for p in model.parameters())
    assert not x.requires_grad


@pytest.mark.parametrize("net", [{}, {"hidden": [6]}], ids=["closed form", "probes"])
def test_under_bfloat16_it_is_computed_in_float32(net: dict[str, Any]) -> None:
    model, x = build(**net), rows()
    expected = squared_norm(model, x)
    with BFLOAT16.autocast():
        assert model.encode(x).mean.dtype == torch.bfloat16
        found = squared_norm(model, x)
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)
    torch.autograd.backward(found.sum())


def recipe(net: dict[str, Any], weight: float = 0.2) -> LayerRecipe:
    return LayerRecipe(
        net=Choice(kind="dense", options={"width": 5, "activation": "relu", "tied": True, **net}),
        objective=Choice(kind="contractive", options={"weight": weight}),
        fit=FitRecipe(epochs=20, batch=32, lr=0.01),
    )


def trained(net: dict[str, Any], folder: Path, weight: float = 0.2) -> tuple[Autoencoder, Any, Any]:
    """Return an autoencoder trained on rows of few directions, its objective and the rows."""
    spec = layer_specs.layer_spec(recipe(net, weight), "layers.0")
    x = torch.randn((256, 3), generator=torch.Generator().manual_seed(4)) @ rows(3)
    model = stack.build([spec], (7,), seed=0)[0]
    feed = Feed(x.numpy(), CPU)
    trainer = Trainer(model, spec.training, train=feed, held_out=feed, seed=0, compute=CPU)
    trainer.run(FileCheckpoint(folder), lambda done, total, note: None)
    return model, objectives.build(model, spec.training.objective, CPU), x


def scaled(model: Autoencoder, factor: float) -> None:
    """Scale the code down, and an untied decoder up to compensate."""
    with torch.no_grad():
        for parameter in model.net.encoder.parameters():
            parameter.mul_(factor)
        own = model.net.decoder[0]  # type: ignore[index]
        if isinstance(own, torch.nn.Linear):
            own.weight.div_(factor)


def test_untied_weights_avoid_the_penalty_by_scaling_and_tied_ones_cannot(tmp_path: Path) -> None:
    tied, objective, x = trained({}, tmp_path)
    untied = build(activation="relu", tied=False)
    own, bias = untied.net.decoder[0], tied.net.decoder[0].bias  # type: ignore[index]
    with torch.no_grad():  # the same function, with a decoder of its own
        for there, here in zip(untied.net.encoder.parameters(), tied.net.encoder.parameters(), strict=True):
            there.copy_(here)
        own.weight.copy_(tied.net.encoder[1].weight.T)  # type: ignore[index]
        own.bias.copy_(bias)

    def measured(model: Autoencoder) -> tuple[float, float]:
        objective.model = model
        with torch.no_grad():
            found = objective.terms(Batch(x, x, None, None))
        return found["reconstruction"].item(), found["contraction"].item()

    before = measured(tied)
    assert measured(untied) == pytest.approx(before)
    for factor in (0.5, 0.01):
        one, other = copy.deepcopy(untied), copy.deepcopy(tied)
        scaled(one, factor)
        scaled(other, factor)
        free, held = measured(one), measured(other)
        assert free == pytest.approx((before[0], factor**2 * before[1]), rel=1e-3), (
            "equally good reconstructions, and a smaller penalty"
        )
        assert held[0] > 1.5 * before[0], "tied weights pay for it with their reconstruction"
        assert sum(held) > sum(before)


def test_training_contracts(tmp_path: Path) -> None:
    cases: list[dict[str, Any]] = [{"activation": "sigmoid"}, {"activation": "tanh", "hidden": [6]}]
    for number, net in enumerate(cases):
        model, _, x = trained(net, tmp_path / str(number), weight=10.0)
        free = stack.build([layer_specs.layer_spec(recipe(net), "x")], (7,), seed=0)[0]
        spec = layer_specs.layer_spec(recipe(net).model_copy(update={"objective": Choice(kind="reconstruction")}), "x")
        feed = Feed(x.numpy(), CPU)
        Trainer(free, spec.training, train=feed, held_out=feed, seed=0, compute=CPU).run(
            FileCheckpoint(tmp_path / f"free{number}"), lambda done, total, note: None
        )
        assert by_jacobian(model, x).mean() < 0.8 * by_jacobian(free, x).mean()


@pytest.mark.parametrize(
    ("net", "message"),
    [
        ({"tied": False}, r"layers\.0\.objective: a decoder with weights of its own .* allowed: .*`tied = true`"),
        ({"normalize": True}, r"layers\.0\.objective: a standardised unit .* allowed: `normalize = false`"),
    ],
)
def test_unsuitable_layers_are_refused(net: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        layer_specs.layer_spec(recipe(net), "layers.0")


def test_a_layer_of_bits_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"code\.objective: .* allowed: "):
        layer_specs.code_spec(CodeRecipe(objective=Choice(kind="contractive")))
