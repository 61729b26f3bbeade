"""The displacement of a denoising autoencoder against the true score of the density.

    python -m benchmarks.quality.score [--picture docs/benchmarks/images/score.png]

Rows lie on a spiral with a little noise: 120 Gaussians, so that the density of rows under the corruption, and its
score, are known exactly. The cosine between the two fields is the mean over fresh noisy rows. For comparison, the same
cosine of the directions to the mean of all rows, and of the directions to the nearest of 1,000 clean rows.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from aepipe.learn import batches, density, stack
from aepipe.learn import spec as layer_specs
from aepipe.learn.autoencoder import Autoencoder
from aepipe.learn.batches import Feed
from aepipe.learn.trainer import FileCheckpoint, Trainer
from aepipe.recipe import Choice, ComputeRecipe, FitRecipe, LayerRecipe
from aepipe.report.charts import Chart
from benchmarks.common import add_output, describe, write
from benchmarks.quality.score_field import field_picture

TURN = np.sqrt(np.linspace(2.0, (3.6 * math.pi) ** 2, 120))  # equal steps along the spiral
CENTRES = np.stack([TURN * np.cos(TURN), TURN * np.sin(TURN)], 1) / TURN[-1]
WIDTH, SIGMA = 0.02, 0.08

Points = NDArray[np.float32]


def main() -> None:
    """Train, measure, draw."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--picture", type=Path, default=Path("docs/benchmarks/images/score.png"))
    cli.add_argument("--epochs", type=int, default=30)
    add_output(cli, "score")
    args = cli.parse_args()
    rng = np.random.default_rng(0)
    rows = draw(20_000, rng)
    began = time.perf_counter()
    model = train(rows, args.epochs)
    seconds = time.perf_counter() - began
    noisy = draw(5_000, rng) + rng.normal(0, SIGMA, (5_000, 2)).astype(np.float32)
    nearest = rows[((noisy[:, None] - rows[None, :1_000]) ** 2).sum(2).argmin(1)]
    arms = {
        "reconstruction": moved(model, noisy),
        "to the nearest row": nearest - noisy,
        "to the mean": rows.mean(0) - noisy,
    }
    print(describe("torch"))
    print(f"20,000 rows, {args.epochs} epochs, noise {SIGMA}, {seconds:.0f} s on {os.cpu_count()} cores\n")
    truth = true_score(noisy)
    cosines = {name: cosine(arm, truth) for name, arm in arms.items()}
    for name, value in cosines.items():
        print(f"{name:24}cosine {value:6.3f}")
    error = np.linalg.norm(arms["reconstruction"] - SIGMA**2 * truth) / np.linalg.norm(SIGMA**2 * truth)
    print(f"\nerror of the displacement, relative to sigma^2 times the score: {error:.3f}")
    picture(model, rows, cosines["reconstruction"]).save(args.picture)
    print(f"drawn in {args.picture}")
    settings = {"epochs": args.epochs, "noise": SIGMA, "seconds": seconds, "relative_error": float(error)}
    told = [{"field": name, "cosine": value} for name, value in cosines.items()]
    write(args.json, told, ["torch"], settings=settings)


def draw(count: int, rng: np.random.Generator) -> Points:
    """Return clean rows, float32[count, 2]."""
    clean: Points = (CENTRES[rng.integers(0, len(CENTRES), count)] + rng.normal(0, WIDTH, (count, 2))).astype(
        np.float32
    )
    return clean


def true_score(points: Points) -> Points:
    """Return the gradient of the log-density of noisy rows, a mixture of Gaussians."""
    variance = WIDTH**2 + SIGMA**2
    ways = CENTRES - points[:, None].astype(np.float64)
    exponent = -0.5 * (ways**2).sum(2) / variance
    weight = np.exp(exponent - exponent.max(1, keepdims=True))
    weight /= weight.sum(1, keepdims=True)
    mean: Points = ((weight[:, :, None] * ways).sum(1) / variance).astype(np.float32)
    return mean


def train(rows: Points, epochs: int) -> Autoencoder:
    """Return a denoising autoencoder of the rows."""
    cpu = batches.resolve(ComputeRecipe(device="cpu", precision="float32"))
    recipe = LayerRecipe(
        net=Choice(kind="dense", options={"width": 64, "hidden": [128, 128], "activation": "gelu"}),
        corruption=Choice(kind="gaussian", options={"sigma": SIGMA}),
        fit=FitRecipe(epochs=epochs, batch=512, lr=0.01),
    )
    spec = layer_specs.layer_spec(recipe, "layers.0")
    model = stack.build([spec], (2,), seed=0)[0]
    feed, nothing = Feed(rows, cpu), Feed(rows[:0], cpu)
    trainer = Trainer(model, spec.training, train=feed, held_out=nothing, seed=0, compute=cpu)
    trainer.run(FileCheckpoint(Path("never"), seconds=math.inf), lambda done, total, note: None)
    return model


def moved(model: Autoencoder, points: Points) -> Points:
    """Return the displacement of each point."""
    found: Points = density.displacement(model, torch.from_numpy(points)).numpy()
    return found


def cosine(a: Points, b: Points) -> float:
    """Return the mean cosine between the rows of two fields."""
    return float(((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).mean())


def picture(model: Autoencoder, rows: Points, found: float) -> Chart:
    """Return both fields where noisy rows are."""
    line = np.linspace(-1.25, 1.25, 36)
    grid = np.stack(np.meshgrid(line, line), 2).reshape(-1, 2).astype(np.float32)
    near = ((grid[:, None] - CENTRES) ** 2).sum(2).min(1) < (2.5 * SIGMA) ** 2
    grid = grid[near]
    fields = {
        "g(f(x)) - x: where the reconstruction moves a point": moved(model, grid),
        "sigma^2 times the score: where the density of noisy rows rises": SIGMA**2 * true_score(grid),
    }
    title = f"What a denoising autoencoder learns: the way to where rows are denser (mean cosine {found:.2f})"
    return field_picture(grid, fields, samples=rows[:3_000], title=title)


if __name__ == "__main__":
    main()
