"""Recirculation: nearly the gradient's direction, no graph, and reconstructions improve."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from aepipe.errors import RecipeError
from aepipe.learn import batches, likelihood, objectives, stack
from aepipe.learn import spec as layer_specs
from aepipe.learn.batches import Feed
from aepipe.learn.objectives import Batch, reconstruction
from aepipe.learn.trainer import FileCheckpoint, Trainer
from aepipe.recipe import ComputeRecipe, LayerRecipe
from tests.support.samples import pixels

CPU = batches.resolve(ComputeRecipe(device="cpu", precision="float32"))


def spec(objective: Any, **net: Any) -> layer_specs.LayerSpec:
    row = {
        "net": {"kind": "dense", "width": 10, "activation": "sigmoid", **net},
        "likelihood": "bernoulli",
        "objective": objective,
        "fit": {"epochs": 15, "batch": 64, "lr": 3e-3},
    }
    return layer_specs.layer_spec(LayerRecipe.model_validate(row), "layers.0")


def changes(one: Any, x: Any) -> list[Any]:
    """Return the gradient that an objective leaves on each parameter for a batch."""
    (phase,) = one.phases()
    one.model.zero_grad()
    phase.step(Batch(x, x, None, torch.Generator().manual_seed(0)))
    return [parameter.grad.clone() for parameter in one.model.parameters()]


def test_for_symmetric_linear_units_the_direction_is_that_of_the_gradient() -> None:
    choices = spec({"kind": "recirculation", "regression": 0.95}, activation="linear")
    gaussian = likelihood.Gaussian()
    model = stack.build([choices], (12,), seed=0)[0]
    model.likelihood = gaussian
    encoder, decoder = model.net.encoder, model.net.decoder
    with torch.no_grad():
        decoder[0].weight.copy_(encoder[1].weight.T)  # type: ignore[index]
    x = torch.randn((200, 12), generator=torch.Generator().manual_seed(1))
    found = changes(objectives.build(model, choices.training.objective, CPU), x)
    gradient = changes(objectives.build(model, reconstruction.Options(), CPU), x)
    cosines = [torch.cosine_similarity(a.flatten(), b.flatten(), dim=0) for a, b in zip(found, gradient, strict=True)]
    assert min(cosines) > 0.95
    # The encoder moves by the share that is new, of the row and of the code.
    ratio = found[0].norm() / gradient[0].norm()
    assert ratio.item() == pytest.approx(0.05**2, rel=0.2)
    torch.testing.assert_close(found[2], 0.05 * gradient[2], rtol=1e-3, atol=1e-5)


def test_nothing_is_backpropagated() -> None:
    choices = spec("recirculation")
    model = stack.build([choices], (12,), seed=0)[0]
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    x = torch.rand((20, 12), generator=torch.Generator().manual_seed(1))
    left = changes(objectives.build(model, choices.training.objective, CPU), x)
    assert all(change.abs().sum() > 0 for change in left)


def test_a_layer_learns_almost_as_well_as_by_the_gradient(tmp_path: Any) -> None:
    rows = pixels(1500, side=7)
    feed = Feed(rows, CPU)
    before, after = {}, {}
    for kind in ("recirculation", "reconstruction"):
        choices = spec(kind)
        model = stack.build([choices], rows.shape[1:], seed=0)[0]
        one = Trainer(model, choices.training, train=feed, held_out=feed, seed=0, compute=CPU)
        before[kind] = one.evaluate(feed)["reconstruction"]
        one.run(FileCheckpoint(tmp_path / kind), lambda *_: None)
        after[kind] = one.evaluate(feed)["reconstruction"]
    gained = {kind: before[kind] - after[kind] for kind in before}
    assert gained["recirculation"] > 0.85 * gained["reconstruction"]


@pytest.mark.parametrize("net", [{"hidden": [9]}, {"tied": True}, {"normalize": True}])
def test_deeper_or_tied_networks_are_refused(net: dict[str, Any]) -> None:
    with pytest.raises(
        RecipeError, match=r"layers\.0\.objective: activities pass one map each way; allowed: a dense net"
    ):
        spec("recirculation", **net)
