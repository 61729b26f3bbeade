"""Small trainings of every objective, in one process or shared out over several, and what came of them.

    python -m tests.support.shared_trainings FOLDER RANK SIZE

runs one of the processes; they meet by a file in the folder, and the first writes the results there.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aepipe.learn import batches, objectives, stack
from aepipe.learn import spec as layer_specs
from aepipe.learn.batches import Feed
from aepipe.learn.trainer import FileCheckpoint, Trainer
from aepipe.learn.world import ALONE, World, joined
from aepipe.recipe import CodeRecipe, ComputeRecipe, FitRecipe, LayerRecipe

CPU = batches.resolve(ComputeRecipe(device="cpu", precision="float32"))
RNG = np.random.default_rng(0)
PATTERNS = RNG.integers(0, 2, (16, 4, 4, 1), np.uint8)
ROWS = np.where(RNG.random((230, 4, 4, 1)) < 0.05, 1, PATTERNS[RNG.integers(0, 16, 230)]).astype(np.uint8) * 255
SIGMOID = {"kind": "dense", "width": 8, "activation": "sigmoid"}
NORMAL = {"kind": "dense", "width": 6, "hidden": [10], "normalize": True}
SHARDS = {"reconstruction": 3, "neighbourhood": 4}
"""Slices where they are not two: an odd number, and more than one for each of two processes."""
EPOCHS = {"neighbourhood, nested": 2, "reconstruction, normalised": 2}
"""Where they are not one: edges are found again after the first, and running averages go on."""

VARIANTS: Mapping[str, dict[str, Any]] = {
    "reconstruction, decorrelation": {"bits": 8, "objective": {"kind": "reconstruction", "decorrelation": 0.5}},
    "reconstruction, normalised": {"net": NORMAL, "objective": "reconstruction"},
    "reconstruction, noise": {
        "objective": "reconstruction",
        "bits": 6,
        "binarize": {"kind": "straight-through", "noise": 0.3},
    },
    "masked, by rank": {
        "net": {**SIGMOID, "holes": True},
        "corruption": {"kind": "mnar", "rate": 0.3},
        "objective": "masked",
    },
    "masked, by others": {
        "net": {**SIGMOID, "holes": True},
        "corruption": {"kind": "mar", "rate": 0.3},
        "objective": "masked",
    },
    "sparse, kl": {"net": SIGMOID, "objective": {"kind": "sparse", "l1": 0.0, "kl": 2.0, "rate": 0.1}},
    "variational, free nats": {
        "net": SIGMOID,
        "posterior": "gaussian",
        "likelihood": "bernoulli",
        "objective": {"kind": "variational", "free_nats": 0.3},
    },
    "neighbourhood, nested": {
        "bits": 8,
        "objective": {"kind": "neighbourhood", "k": 5, "nested": [4], "refresh": 1},
    },
    "convolution": {"net": {"kind": "conv", "channels": 3, "kernel": 3, "pool": 2}, "objective": "reconstruction"},
    "recurrent": {"net": {"kind": "gru", "width": 4, "hidden": 6}, "objective": "reconstruction"},
    "residual": {"net": {"kind": "residual", "width": 4, "hidden": 8}, "objective": "reconstruction"},
}
"""Choices whose terms are about pairs of rows or statistics of a batch, and every kind of network."""


def cases() -> list[str]:
    """Return the names of all trainings: every objective, found by its file, and the variants."""
    return [*sorted(objectives.kinds()), *VARIANTS]


def spec_of(case: str, fit: Mapping[str, Any] = {}) -> layer_specs.LayerSpec:
    """Return the layer of a case."""
    common: dict[str, Any] = {"corruption": {"kind": "mask", "rate": 0.2}}
    common["fit"] = FitRecipe(**{"epochs": EPOCHS.get(case, 1), "batch": 64, "lr": 0.01, **fit})
    if case in VARIANTS:
        chosen = {**common, **VARIANTS[case]}
    else:
        example = objectives.kinds()[case].example
        own = {"bits": 8} if not example or "normalize" in example else {"net": SIGMOID}
        chosen = {**own, **common, "objective": {"kind": case}, **example}
    if "bits" in chosen:
        return layer_specs.code_spec(CodeRecipe.model_validate(chosen))
    return layer_specs.layer_spec(LayerRecipe.model_validate(chosen), case)


def trainer(case: str, shards: int, world: World = ALONE, fit: Mapping[str, Any] = {}) -> Trainer:
    """Return a training whose batches are cut into slices."""
    compute = replace(CPU, shards=shards, world=world)
    one = spec_of(case, fit)
    model = stack.build([one], ROWS.shape[1:], seed=1)[0]
    train, held_out = Feed(ROWS, compute), Feed(ROWS[:90], compute)
    return Trainer(model, one.training, train=train, held_out=held_out, seed=2, compute=compute)


def outcome(case: str, folder: Path, world: World = ALONE, shards: int = 0) -> dict[str, Any]:
    """Train, and return the curve and the sha256 of the weights."""
    one = trainer(case, shards or SHARDS.get(case, 2), world)
    curve = one.run(FileCheckpoint(folder), _quiet, neighbours=by_hand)
    return {"curve": curve, "weights": digest(one), "evaluation": one.evaluate(one.train)}


def digest(one: Trainer) -> str:
    """Return the sha256 of the weights."""
    state = one.model.state_dict()
    return hashlib.sha256(b"".join(state[name].numpy().tobytes() for name in sorted(state))).hexdigest()


def by_hand(features: np.ndarray, k: int) -> np.ndarray:
    """Return the k nearest other rows of each, by a sort of all pairs."""
    pairs = features @ features.T
    np.fill_diagonal(pairs, -np.inf)
    return np.argsort(-pairs, axis=1, kind="stable")[:, :k].astype(np.int32)


def run(folder: Path, rank: int, size: int) -> None:
    """Run all trainings as one of several processes."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(size), "GLOO_SOCKET_IFNAME": "lo"}
    torch.set_num_threads(1)
    with joined(CPU.device, meet=folder / "meet", limit=60.0) as world:
        found = {case: outcome(case, folder / "none", world) for case in cases()}
    if rank == 0:
        (folder / "found.json").write_text(json.dumps(found), encoding="utf-8")


def _quiet(done: int, total: int, note: str) -> None:
    """Ignore reports."""


if __name__ == "__main__":
    run(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
