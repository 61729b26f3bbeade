"""Fill the holes of a table with a masked autoencoder that was trained on the very same table.

Cells are shares of levels, as :mod:`aepipe.columns` makes them; some of those that are there are hidden from the
network in each step, whole values at a time, and it is asked for their distribution.

Legend: N rows, D cells of a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from aepipe.learn import stack
from aepipe.learn.checkpoint import FileCheckpoint
from aepipe.learn.compute import Compute
from aepipe.learn.feed import Feed
from aepipe.learn.fit import Report, Trainer
from aepipe.learn.layer import Autoencoder, layer_spec
from aepipe.recipe import LayerRecipe

Cells = NDArray[np.float32]
STEPS = 8000
BATCH = 256
EPOCHS = (20, 400)
HELD_OUT = 0.1
PATIENCE = 0.2
"""Share of the epochs without a better loss on held-out rows after which training stops."""
ENOUGH_ROWS = 5000
"""With so many rows none are held out: that many steps do not see one often enough to learn it by heart."""


def recipe(spans: Sequence[int], rows: int, *, steps: int = STEPS) -> LayerRecipe:
    """Return the layer that is trained: residual blocks that read holes, and a softmax for each column.

    Args:
        spans: cells of each column.
        rows: N; the fewer, the smaller the batch and the more epochs.
        steps: of training, about.
    """
    batch = max(16, min(BATCH, rows // 20))
    epochs = int(np.clip(round(steps * batch / max(rows, 1)), *EPOCHS))
    of = [{"columns": n, "likelihood": {"kind": "categorical" if n > 1 else "gaussian"}} for n in spans]
    return LayerRecipe.model_validate(
        {
            "net": {"kind": "residual", "width": 256, "hidden": 256, "blocks": 2, "activation": "relu", "holes": True},
            "likelihood": {"kind": "columns", "of": of},
            "corruption": {"kind": "mcar", "rate": 0.05, "rate_max": 0.5, "spans": tuple(spans)},
            "objective": {"kind": "masked", "hidden": 1.0, "seen": 0.1},
            "fit": {
                "epochs": epochs,
                "batch": batch,
                "lr": 2e-3,
                "warmup": 240,
                "weight_decay": 0.01,
                "patience": 0 if rows >= ENOUGH_ROWS else max(5, int(epochs * PATIENCE)),
            },
        }
    )


def fit(cells: Cells, layer: LayerRecipe, *, seed: int, compute: Compute, work: Path, report: Report) -> Autoencoder:
    """Train on rows with holes.

    Args:
        cells: float32[N, D]; NaN where a value is missing.
        layer: what :func:`recipe` gives.
        seed: of everything random.
        compute: the device.
        work: folder of checkpoints.
        report: of progress.

    Raises:
        TrainingError: a loss is not finite.
    """
    spec = layer_spec(layer, "impute")
    order = np.random.default_rng(seed).permutation(len(cells))
    kept_back = 0 if len(cells) >= ENOUGH_ROWS else int(len(cells) * HELD_OUT)
    held_out, train = (np.sort(part) for part in (order[:kept_back], order[kept_back:]))
    model = stack.build([spec], cells.shape[1:], seed=seed)[0]
    feeds = {"train": Feed(cells[train], compute), "held_out": Feed(cells[held_out], compute)}
    trainer = Trainer(model, spec.training, seed=seed, compute=compute, **feeds)
    trainer.run(FileCheckpoint(work), report)
    return trainer.model


def predict(model: Autoencoder, cells: Cells, compute: Compute) -> Cells:
    """Return the distribution over the levels of every column, given all cells that are there, float32[N, D]."""
    out = np.empty_like(cells)
    start = 0
    with torch.no_grad():
        for block in Feed(cells, compute).blocks():
            shares = model.likelihood.mean(model.decode(model.encode(block).mean))
            out[start : start + len(block)] = shares.float().cpu().numpy()
            start += len(block)
    return out
