"""Predictive sparse decomposition: inference never rises, the encoder learns its result."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from aepipe.errors import RecipeError
from aepipe.learn import batches, stack
from aepipe.learn import spec as layer_specs
from aepipe.learn.batches import Feed
from aepipe.learn.objectives.psd import Energy, descent, largest_eigenvalue
from aepipe.learn.trainer import FileCheckpoint, Trainer
from aepipe.recipe import ComputeRecipe, LayerRecipe
from tests.support.samples import pixels

CPU = batches.resolve(ComputeRecipe(device="cpu", precision="float32"))


def draw(*shape: int, seed: int = 0) -> Any:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def energy(**changes: Any) -> Energy:
    atoms = draw(12, 20)
    given = {"atoms": atoms / atoms.norm(dim=0), "target": draw(7, 12, seed=1), "predicted": draw(7, 20, seed=2)}
    return Energy(**{**given, "observed": None, "sparsity": 0.3, "prediction": 0.2, **changes})


@pytest.mark.parametrize("rectified", [False, True])
@pytest.mark.parametrize("observed", [None, (torch.arange(12) < 9).float()])
def test_the_inner_loop_never_rises_and_ends_at_the_minimum(rectified: bool, observed: Any) -> None:
    one = energy(rectified=rectified, observed=observed)
    steps = list(islice(descent(one), 400))
    costs = torch.stack([cost for _, cost in steps])
    assert (costs[1:] <= costs[:-1]).all()
    assert costs[20].mean() < costs[0].mean() - 0.5
    # The minimum of a convex energy, by plain proximal steps, very many of them.
    code, rate = one.predicted, 0.5 / torch.linalg.matrix_norm(one.atoms, 2) ** 2
    for _ in range(20_000):
        code = one.proximal(code - rate * (one.error(code @ one.atoms.T) @ one.atoms), rate)
    best = one.cost(code, code @ one.atoms.T)
    torch.testing.assert_close(costs[-1], best, atol=1e-4, rtol=1e-4)
    found = steps[-1][0]
    assert torch.allclose(one.cost(found, found @ one.atoms.T), costs[-1], atol=1e-4)
    assert (found == 0).float().mean() > 0.2, "a sparse code has zeros"
    assert not rectified or (found >= 0).all()


@pytest.mark.parametrize("rectified", [False, True])
def test_each_step_is_that_of_the_published_descent(rectified: bool) -> None:
    """Decoded rows are combined as their codes are: the steps are those that decode each point anew."""
    one = energy(rectified=rectified)
    exact = replace(one, atoms=one.atoms.double(), target=one.target.double(), predicted=one.predicted.double())
    for (code, cost), expected in zip(islice(descent(exact), 25), plain_descent(exact), strict=False):
        torch.testing.assert_close(code, expected, atol=1e-9, rtol=0)
        torch.testing.assert_close(cost, exact.cost(expected, expected @ exact.atoms.T), atol=1e-9, rtol=0)


def plain_descent(one: Energy) -> Iterator[Any]:
    """Yield the codes of the monotone descent of Beck and Teboulle, with nothing kept from step to step but codes."""
    rate, momentum = 1 / largest_eigenvalue(one.atoms), 1.0
    code = point = one.predicted
    while True:
        yield code
        tried = one.proximal(point - rate * (one.error(point @ one.atoms.T) @ one.atoms), rate)
        lower = one.cost(tried, tried @ one.atoms.T) <= one.cost(code, code @ one.atoms.T)
        before, code = code, torch.where(lower[:, None], tried, code)
        following = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
        point = code + momentum / following * (tried - code) + (momentum - 1) / following * (code - before)
        momentum = following


def test_the_step_is_never_too_long() -> None:
    for seed in range(20):
        atoms = draw(12, 5 + 2 * seed, seed=seed)
        exact = torch.linalg.matrix_norm(atoms, 2) ** 2
        bound = largest_eigenvalue(atoms)
        assert exact * (1 - 1e-5) <= bound <= 1.12 * exact


def test_the_encoder_learns_to_predict_inferred_codes(tmp_path: Any) -> None:
    recipe = LayerRecipe.model_validate(
        {
            "net": {"kind": "dense", "width": 80, "activation": "relu"},
            "objective": {"kind": "psd", "sparsity": 0.1, "iterations": 10},
            "fit": {"epochs": 20, "batch": 64, "lr": 3e-3},
        }
    )
    spec = layer_specs.layer_spec(recipe, "layers.0")
    rows = pixels(1500, side=7)
    feed = Feed(rows, CPU)
    model = stack.build([spec], rows.shape[1:], seed=0)[0]
    one = Trainer(model, spec.training, train=feed, held_out=feed, seed=0, compute=CPU)
    curve = one.run(FileCheckpoint(tmp_path), lambda *_: None)
    assert curve[-1]["prediction"] < 0.2 * curve[0]["prediction"]
    assert curve[-1]["loss"] < 0.5 * curve[0]["loss"]
    down: Any = one.model.net.decoder
    np.testing.assert_allclose(down[0].weight.detach().norm(dim=0).numpy(), 1, atol=0.02)
    objective: Any = one._objective
    batch = one._batch(feed.batch(torch.arange(200)), torch.Generator().manual_seed(0))
    with torch.no_grad():
        predicted = one.model.encode(batch.noisy).mean
        code = objective.infer(batch, predicted)
    assert (code - predicted).square().sum() < 0.1 * code.square().sum()
    assert 0.05 < (code == 0).float().mean() < 0.99


@pytest.mark.parametrize(
    "row",
    [
        {"net": {"kind": "dense", "width": 8, "hidden": [9]}},
        {"net": {"kind": "dense", "width": 8, "tied": True}},
        {"net": {"kind": "dense", "width": 8}, "likelihood": "bernoulli"},
        {"net": {"kind": "conv", "channels": 8}},
    ],
)
def test_other_rows_are_refused(row: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match=r"layers\.0\.objective: infers the codes of a linear decoder"):
        layer_specs.layer_spec(LayerRecipe.model_validate({**row, "objective": "psd"}), "layers.0")
