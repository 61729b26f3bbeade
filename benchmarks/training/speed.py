"""Rows per second of training an AE and a VAE: aepipe and pythae in one run.

    python -m benchmarks.training.speed FASHION_MNIST_FOLDER [--rounds 3] [--rows 20000] [--batch 64]

The network is pythae's own default for vectors, 784-512-16-512-784 with relu; squared error for the AE, cross-entropy
for the VAE; Adam, lr 1e-3. The batch of 64 is its default, too. Both arms take turns; losses are on the test set.
pythae is not a dependency: install ``pythae>=0.1.2`` in an environment of its own, for it brings a package that breaks
Prefect.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aepipe.learn import batches, stack
from aepipe.learn import spec as layer_specs
from aepipe.learn.batches import Feed
from aepipe.learn.trainer import FileCheckpoint, Trainer
from aepipe.recipe import ComputeRecipe, LayerRecipe
from benchmarks.common import add_output, describe, fashion_mnist, write

PACKAGES = ("torch", "pythae")
HIDDEN, LATENT, LR = 512, 16, 1e-3


def ours(kind: str, rows: np.ndarray, test: np.ndarray, batch: int, epochs: int, seed: int) -> tuple[float, float]:
    """Train with aepipe; return seconds and the loss per test row."""
    row: dict[str, Any] = {
        "net": {"kind": "dense", "width": LATENT, "hidden": [HIDDEN], "code_activation": "linear"},
        "likelihood": "bernoulli" if kind == "vae" else "gaussian",
        "fit": {"epochs": epochs, "batch": batch, "lr": LR, "schedule": "constant"},
    }
    if kind == "vae":
        row |= {"posterior": "gaussian", "objective": "variational"}
    where = batches.resolve(ComputeRecipe(device="cpu"))
    began = time.perf_counter()
    spec = layer_specs.layer_spec(LayerRecipe.model_validate(row), kind)
    model = stack.build([spec], (784,), seed=seed)[0]
    feed, nothing = Feed(rows, where), Feed(rows[:0], where)
    trainer = Trainer(model, spec.training, train=feed, held_out=nothing, seed=seed, compute=where)
    with tempfile.TemporaryDirectory() as folder:
        trainer.run(FileCheckpoint(Path(folder)), lambda *_: None)
    seconds = time.perf_counter() - began
    return seconds, sum(trainer.evaluate(Feed(test, where)).values())


def theirs(kind: str, rows: np.ndarray, test: np.ndarray, batch: int, epochs: int, seed: int) -> tuple[float, float]:
    """Train with pythae; return seconds and the loss per test row, in the units of ours."""
    from pythae.models import AE, VAE, AEConfig, VAEConfig
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    from benchmarks.training.pretrain import _Labelled

    logging.disable(logging.WARNING)
    torch.manual_seed(seed)
    config: Any = VAEConfig if kind == "vae" else AEConfig
    more = {"reconstruction_loss": "bce"} if kind == "vae" else {}
    x = torch.from_numpy(rows.astype(np.float32) / 255)
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        model = (VAE if kind == "vae" else AE)(config(input_dim=(784,), latent_dim=LATENT, **more))
        training = BaseTrainerConfig(
            output_dir=folder,
            num_epochs=epochs,
            learning_rate=LR,
            per_device_train_batch_size=batch,
            optimizer_cls="Adam",
            no_cuda=True,
            seed=seed,
        )
        data = _Labelled({"data": x, "labels": torch.zeros(len(rows))})
        BaseTrainer(model=model, train_dataset=data, training_config=training).train()
        seconds = time.perf_counter() - began
    logging.disable(logging.NOTSET)
    return seconds, _loss(kind, model.eval(), torch.from_numpy(test.astype(np.float32) / 255))


def _loss(kind: str, model: Any, x: Tensor) -> float:
    """Return the loss per row: half the squared error, or the bound without noise."""
    with torch.no_grad():
        encoded = model.encoder(x)
        rebuilt = model.decoder(encoded.embedding).reconstruction.reshape(x.shape)
        if kind == "ae":
            return float(0.5 * ((rebuilt - x) ** 2).sum(1).mean())
        nll = torch.nn.functional.binary_cross_entropy(rebuilt, x, reduction="none").sum(1)
        variance = encoded.log_covariance
        kl = 0.5 * (encoded.embedding**2 + variance.exp() - 1 - variance).sum(1)
        return float((nll + kl).mean())


def main() -> None:
    """Run the arms and print the table."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("folder", type=Path)
    cli.add_argument("--rounds", type=int, default=3)
    cli.add_argument("--epochs", type=int, default=1)
    cli.add_argument("--rows", type=int, default=20_000)
    cli.add_argument("--batch", type=int, default=64)
    add_output(cli, "speed")
    args = cli.parse_args()
    train, test = (part.reshape(-1, 784) for part in fashion_mnist(args.folder))
    rows = train[: args.rows]
    print(describe(*PACKAGES))
    print(
        f"784-{HIDDEN}-{LATENT}, {len(rows):,} rows, batch {args.batch}, {args.epochs} epochs, {args.rounds} rounds\n"
    )
    print(f"{'':6}{'aepipe rows/s':>16}{'pythae rows/s':>16}{'ratio':>8}{'test loss':>12}{'pythae':>10}")
    told = []
    for kind in ("ae", "vae"):
        for arm in (ours, theirs):
            arm(kind, rows[:640], test[:640], args.batch, 1, 0)  # imports, and whatever else happens once
        runs = [
            (arm(kind, rows, test, args.batch, args.epochs, seed) for arm in (ours, theirs))
            for seed in range(args.rounds)
        ]
        found = [tuple(one) for one in runs]
        speeds = [statistics.median(args.rows * args.epochs / one[arm][0] for one in found) for arm in (0, 1)]
        ratio = statistics.median(one[1][0] / one[0][0] for one in found)
        losses = [statistics.mean(one[arm][1] for one in found) for arm in (0, 1)]
        print(f"{kind:6}{speeds[0]:16,.0f}{speeds[1]:16,.0f}{ratio:8.2f}{losses[0]:12.2f}{losses[1]:10.2f}", flush=True)
        figures = {"aepipe": speeds[0], "pythae": speeds[1], "ratio": ratio}
        told.append({"model": kind, **figures, "loss": losses[0], "pythae_loss": losses[1]})
    settings = {"rows": args.rows, "batch": args.batch, "epochs": args.epochs, "rounds": args.rounds}
    write(args.json, told, PACKAGES, settings=settings)


if __name__ == "__main__":
    main()
