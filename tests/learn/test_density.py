"""A denoising autoencoder's displacement is the score of noisy rows, times the variance."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from aepipe.learn import batches, density, stack
from aepipe.learn import spec as layer_specs
from aepipe.learn.batches import Feed
from aepipe.learn.trainer import FileCheckpoint, Trainer
from aepipe.recipe import Choice, ComputeRecipe, FitRecipe, LayerRecipe

CPU = batches.resolve(ComputeRecipe(device="cpu", precision="float32"))
CENTRES, SHARES = np.array([[-0.6, -0.4], [0.7, -0.2], [0.0, 0.7]]), np.array([0.5, 0.3, 0.2])
WIDTH, SIGMA = 0.15, 0.15


def draw(count: int, width: float, *, seed: int) -> Any:
    rng = np.random.default_rng(seed)
    centres = CENTRES[rng.choice(len(SHARES), count, p=SHARES)]
    return (centres + rng.normal(0, width, (count, 2))).astype(np.float32)


def spec() -> layer_specs.LayerSpec:
    recipe = LayerRecipe(
        net=Choice(kind="dense", options={"width": 32, "hidden": [64], "activation": "tanh"}),
        corruption=Choice(kind="gaussian", options={"sigma": SIGMA}),
        fit=FitRecipe(epochs=8, batch=128, lr=0.01),
    )
    return layer_specs.layer_spec(recipe, "layers.0")


def cosine(a: Any, b: Any) -> float:
    return float(((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).mean())


def test_the_displacement_points_where_the_density_of_noisy_rows_rises(tmp_path: Path) -> None:
    model = stack.build([spec()], (2,), seed=0)[0]
    rows = draw(10_000, WIDTH, seed=0)
    one = Trainer(model, spec().training, train=Feed(rows, CPU), held_out=Feed(rows[:0], CPU), seed=0, compute=CPU)
    one.run(FileCheckpoint(tmp_path), lambda *_: None)
    spread = math.hypot(WIDTH, SIGMA)
    noisy = torch.from_numpy(draw(5_000, spread, seed=1)).double().requires_grad_()
    mixture = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(torch.from_numpy(SHARES)),
        torch.distributions.Independent(torch.distributions.Normal(torch.from_numpy(CENTRES), spread), 1),
    )
    (truth,) = torch.autograd.grad(mixture.log_prob(noisy).sum(), noisy)
    points = noisy.detach().float()
    found = density.displacement(model, points).numpy()
    assert cosine(found, truth.numpy()) >= 0.9
    assert cosine(rows.mean(0) - points.numpy(), truth.numpy()) < 0.7, "the direction to the middle would not do"
    wanted = SIGMA**2 * truth.numpy()
    assert np.linalg.norm(found - wanted) < 0.5 * np.linalg.norm(wanted), "and the length is right, too"
    np.testing.assert_allclose(density.score(model, points, sigma=SIGMA).numpy() * SIGMA**2, found, rtol=1e-5)


def test_the_displacement_is_the_reconstruction_minus_the_point() -> None:
    model = stack.build([spec()], (2,), seed=0)[0]
    points = torch.from_numpy(draw(7, 1.0, seed=2))
    found = density.displacement(model, points)
    assert not found.requires_grad
    torch.testing.assert_close(found + points, model.decode(model.encode(points).mean).detach())
