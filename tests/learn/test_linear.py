"""On real data: linear networks find principal components, wide ones copy clean rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from aepipe.learn import batches, generate, stack
from aepipe.learn import spec as layer_specs
from aepipe.learn.batches import Feed
from aepipe.learn.trainer import FileCheckpoint, Trainer
from aepipe.recipe import ComputeRecipe, LayerRecipe
from tests.support.samples import pixels

CPU = batches.resolve(ComputeRecipe(device="cpu", precision="float32"))


def learn(rows: Any, row: dict[str, Any], folder: Any) -> Any:
    spec = layer_specs.layer_spec(LayerRecipe.model_validate(row), "layers.0")
    model = stack.build([spec], rows.shape[1:], seed=0)[0]
    feed = Feed(rows, CPU)
    one = Trainer(model, spec.training, train=feed, held_out=Feed(rows[:0], CPU), seed=0, compute=CPU)
    one.run(FileCheckpoint(folder), lambda *_: None)
    return model


def test_a_linear_autoencoder_spans_the_principal_components(tmp_path: Any) -> None:
    x = pixels(2000, side=7).reshape(2000, -1).astype(np.float32) / 255
    x -= x.mean(0)
    _, values, components = np.linalg.svd(x, full_matrices=False)
    k = 2
    assert values[k - 1] > 1.2 * values[k], "there is a gap, so the space is well defined"
    row = {
        "net": {"kind": "dense", "width": k, "activation": "linear"},
        "fit": {"epochs": 300, "batch": 500, "lr": 0.02},
    }
    model = learn(x, row, tmp_path)
    down: Any = model.net.decoder
    basis, _ = np.linalg.qr(down[0].weight.detach().numpy())
    cosines = np.linalg.svd(components[:k] @ basis, compute_uv=False)
    assert np.arccos(cosines.clip(-1, 1)).max() < 1e-2


def test_a_wide_layer_copies_unless_its_input_is_noisy(tmp_path: Any) -> None:
    rows = pixels(800, side=7)
    train, held_out = rows[:600], rows[600:]
    clean = held_out.astype(np.float32) / 255
    variance = float(((clean - (train.astype(np.float32) / 255).mean(0)) ** 2).sum((1, 2, 3)).mean())
    row = {"net": {"kind": "dense", "width": 150}, "fit": {"epochs": 50, "batch": 50, "lr": 5e-3}}
    hidden = np.random.default_rng(0).random(held_out.shape) < 0.4
    noisy = np.where(hidden, 0, held_out)

    def errors(model: Any) -> tuple[float, float]:
        """Return the squared errors of clean and of noisy rows, in units of the variance."""
        found = [
            ((generate.reconstruct_rows(model, given, CPU) - clean) ** 2).sum((1, 2, 3)).mean()
            for given in (held_out, noisy)
        ]
        return float(found[0] / variance), float(found[1] / variance)

    copied = errors(learn(train, row, tmp_path / "copy"))
    denoised = errors(learn(train, {**row, "corruption": {"kind": "mask", "rate": 0.4}}, tmp_path / "denoise"))
    assert copied[0] < 0.02, "with more units than cells, a clean row is copied"
    assert copied[1] > 0.5, "and so is its noise"
    assert denoised[1] < 0.4 * copied[1], "with noise on its input it learns the distribution of rows"
