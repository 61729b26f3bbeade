"""Walkback: its terms are those of a chain; after training, chains stay near the data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from aepipe.errors import RecipeError
from aepipe.learn import batches, generate, objectives, stack
from aepipe.learn import spec as layer_specs
from aepipe.learn.batches import Feed
from aepipe.learn.objectives import Batch
from aepipe.learn.trainer import FileCheckpoint, Trainer
from aepipe.recipe import ComputeRecipe, LayerRecipe
from tests.learn.two_sample import two_sample

CPU = batches.resolve(ComputeRecipe(device="cpu", precision="float32"))
NOISE = {"kind": "gaussian", "sigma": 0.25}


def generator(seed: int = 0) -> Any:
    return torch.Generator().manual_seed(seed)


def spec(epochs: int = 1, **options: Any) -> layer_specs.LayerSpec:
    row = {
        "net": {"kind": "dense", "width": 32, "hidden": [96], "activation": "gelu"},
        "likelihood": {"kind": "gaussian", "sigma": 0.18},
        "corruption": NOISE,
        "objective": {"kind": "walkback", **options},
        "fit": {"epochs": epochs, "batch": 128, "lr": 3e-3},
    }
    return layer_specs.layer_spec(LayerRecipe.model_validate(row), "layers.0")


def ring(count: int, seed: int) -> Any:
    """Return points around a circle of radius 1, float32[count, 2]."""
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, 2 * np.pi, count)
    points = np.stack([np.cos(angle), np.sin(angle)], 1) + 0.1 * rng.standard_normal((count, 2))
    return points.astype(np.float32)


def test_the_first_step_is_the_denoising_loss_and_later_ones_are_harder() -> None:
    one, plain = spec(steps=1), spec(steps=6)
    model = stack.build([one], (2,), seed=0)[0]
    x = torch.from_numpy(ring(500, 0))
    batch = Batch(x, x, None, generator(), None, one.training.corruption)
    first = objectives.build(model, one.training.objective, CPU).terms(batch)["reconstruction"]
    by_hand = model.likelihood.nll(model.decode(model.encode(x).mean), x).mean()
    torch.testing.assert_close(first, by_hand)
    walked = objectives.build(model, plain.training.objective, CPU)
    torch.testing.assert_close(walked.terms(batch._replace(generator=None))["reconstruction"], by_hand)
    assert walked.terms(batch._replace(generator=generator()))["reconstruction"] > first


@pytest.fixture(scope="module")
def trained(tmp_path_factory: Any) -> Any:
    choices = spec(epochs=60, steps=4)
    feed = Feed(ring(2000, 0), CPU)
    model = stack.build([choices], (2,), seed=0)[0]
    Trainer(model, choices.training, train=feed, held_out=feed, seed=0, compute=CPU).run(
        FileCheckpoint(tmp_path_factory.mktemp("walk")), lambda *_: None
    )
    return model, choices


def walk(model: Any, choices: Any, start: Any, steps: int) -> list[Any]:
    noise = choices.training.corruption
    return [rows.mean for rows in generate.chain(model, start, noise, steps=steps, generator=generator(5))]


def test_the_chain_stays_near_the_data(trained: Any) -> None:
    model, choices = trained
    held_out = torch.from_numpy(ring(150, 1))
    rows = walk(model, choices, torch.from_numpy(ring(150, 2)), 60)
    assert len(rows) == 60
    noise = 0.1 * torch.randn((150, 2), generator=generator())  # expected rows lack the spread of the data
    found = two_sample(rows[-1] + noise, held_out, generator=generator())
    untrained = stack.build([choices], (2,), seed=0)[0]
    strayed = two_sample(walk(untrained, choices, held_out, 60)[-1], held_out, generator=generator())
    assert found.p_value > 0.01, found
    assert strayed.p_value < 0.01
    assert found.statistic < 0.1 * strayed.statistic


def test_the_chain_finds_the_data_from_afar_and_gets_around(trained: Any) -> None:
    model, choices = trained
    start = torch.tensor([[2.5, 2.5]]).expand(200, 2)
    rows = torch.stack(walk(model, choices, start, 150))
    radius = rows[-1].norm(dim=1)
    assert (radius - 1).abs().mean() < 0.15
    angle = torch.atan2(rows[-1, :, 1], rows[-1, :, 0])
    assert torch.complex(angle.cos(), angle.sin()).mean().abs() < 0.5, "a chain forgets where it began"


def test_a_chain_needs_noise() -> None:
    row = {"net": {"kind": "dense", "width": 3}, "objective": "walkback"}
    with pytest.raises(RecipeError, match=r"layers\.0\.objective: its chain corrupts at every step; allowed: a"):
        layer_specs.layer_spec(LayerRecipe.model_validate(row), "layers.0")
