"""Rows per second of training one layer: aepipe, a plain PyTorch loop, and pythae.

    python -m benchmarks.training.pretrain FASHION_MNIST_FOLDER [--rounds 3] [--epochs 3] [--rows 60000] [--device cuda]

Every arm trains the layer 784-1024-784 (ReLU up, linear down, squared error, Adam, lr 1e-3, batch 256) for equally
many epochs. The plain loop is what most people write: float32, ``TensorDataset``, ``DataLoader`` without workers. It
corrupts its input by masking, as aepipe's arms do. pythae has no corruption, so its peer is an aepipe arm without one.
Arms take turns for several rounds, so that a ratio is of runs minutes apart at most; the loss is on the test set.
pythae is not a dependency: its arm runs where ``pip install 'pythae>=0.1.2'`` was done, in an environment of its own,
for it brings a package that breaks Prefect.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from aepipe.learn import batches, stack
from aepipe.learn import spec as layer_specs
from aepipe.learn.batches import Feed
from aepipe.learn.trainer import FileCheckpoint, Trainer
from aepipe.recipe import Choice, ComputeRecipe, FitRecipe, LayerRecipe
from benchmarks.common import add_output, describe, fashion_mnist, write

WIDTH, BATCH, RATE, LR = 1024, 256, 0.25, 1e-3
Arm = Callable[[np.ndarray, int, int, str], tuple[float, nn.Module]]


def ours(precision: str, corruption: str, draws: str = "floats") -> Arm:
    """Return aepipe's arm at a precision, with or without corruption, whose cells are drawn as floats or in bits."""

    def train(rows: np.ndarray, epochs: int, seed: int, device: str) -> tuple[float, nn.Module]:
        options = {"rate": RATE} if corruption == "mask" else {}
        recipe = LayerRecipe(
            net=Choice(kind="dense", options={"width": WIDTH}),
            corruption=Choice(kind=corruption, options=options),
            fit=FitRecipe(epochs=epochs, batch=BATCH, lr=LR, schedule="constant"),
        )
        spec = layer_specs.layer_spec(recipe, "layer")
        where = batches.resolve(
            ComputeRecipe.model_validate({"device": device, "precision": precision, "draws": draws})
        )
        began = time.perf_counter()
        model = stack.build([spec], (784,), seed=seed)[0]
        feed, nothing = Feed(rows, where), Feed(rows[:0], where)
        trainer = Trainer(model, spec.training, train=feed, held_out=nothing, seed=seed, compute=where)
        with tempfile.TemporaryDirectory() as folder:
            trainer.run(FileCheckpoint(Path(folder)), lambda *_: None)
        return time.perf_counter() - began, nn.Sequential(model.net.encoder, model.net.decoder)

    return train


def plain(rows: np.ndarray, epochs: int, seed: int, device: str) -> tuple[float, nn.Module]:
    """Train the layer as most people would."""
    torch.manual_seed(seed)
    began = time.perf_counter()
    x = torch.from_numpy(rows.astype(np.float32) / 255)
    model = nn.Sequential(nn.Linear(784, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 784)).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=LR)
    loader = DataLoader(TensorDataset(x), batch_size=BATCH, shuffle=True)
    for _ in range(epochs):
        total = 0.0
        for (batch,) in loader:
            clean = batch.to(device)
            noisy = clean * (torch.rand_like(clean) >= RATE)
            loss = 0.5 * ((model(noisy) - clean) ** 2).sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
    return time.perf_counter() - began, model


def pythae(rows: np.ndarray, epochs: int, seed: int, device: str) -> tuple[float, nn.Module]:
    """Train the layer with pythae's trainer."""
    from pythae.models import AE, AEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    class Up(BaseEncoder):  # type: ignore[misc]
        def __init__(self) -> None:
            BaseEncoder.__init__(self)
            self.net = nn.Sequential(nn.Linear(784, WIDTH), nn.ReLU())

        def forward(self, x: Tensor) -> Any:
            return ModelOutput(embedding=self.net(x))

    class Down(BaseDecoder):  # type: ignore[misc]
        def __init__(self) -> None:
            BaseDecoder.__init__(self)
            self.net = nn.Linear(WIDTH, 784)

        def forward(self, z: Tensor) -> Any:
            return ModelOutput(reconstruction=self.net(z))

    logging.disable(logging.WARNING)
    torch.manual_seed(seed)
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        model = AE(AEConfig(input_dim=(784,), latent_dim=WIDTH), encoder=Up(), decoder=Down())
        config = BaseTrainerConfig(
            output_dir=folder,
            num_epochs=epochs,
            learning_rate=LR,
            per_device_train_batch_size=BATCH,
            optimizer_cls="Adam",
            no_cuda=device == "cpu",
            seed=seed,
        )
        x = {"data": torch.from_numpy(rows.astype(np.float32) / 255), "labels": torch.zeros(len(rows))}
        BaseTrainer(model=model, train_dataset=_Labelled(x), training_config=config).train()
        seconds = time.perf_counter() - began
    logging.disable(logging.NOTSET)
    return seconds, nn.Sequential(model.encoder.net, model.decoder.net)


class _Labelled(torch.utils.data.Dataset[Any]):
    """Dictionaries of one row for pythae's trainer; their fields are attributes, too."""

    def __init__(self, columns: dict[str, Tensor]) -> None:
        from pythae.data.datasets import DatasetOutput

        self._columns, self._output = columns, DatasetOutput

    def __len__(self) -> int:
        return len(self._columns["data"])

    def __getitem__(self, index: int) -> Any:
        return self._output(**{name: column[index] for name, column in self._columns.items()})


def test_loss(model: nn.Module, test: np.ndarray, *, noisy: bool) -> float:
    """Return half the squared error per row of the test set, under one fixed corruption."""
    clean = torch.from_numpy(test.astype(np.float32) / 255)
    kept = torch.from_numpy(np.random.default_rng(0).random(clean.shape, np.float32) >= RATE) if noisy else 1
    with torch.no_grad():
        return float(0.5 * ((model.cpu().eval()(clean * kept) - clean) ** 2).sum(1).mean())


def main() -> None:
    """Run the arms and print the table."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("folder", type=Path)
    cli.add_argument("--rounds", type=int, default=3)
    cli.add_argument("--epochs", type=int, default=3)
    cli.add_argument("--rows", type=int, default=60_000)
    cli.add_argument("--device", default="cpu")
    add_output(cli, "pretrain")
    args = cli.parse_args()
    train, test = (part.reshape(-1, 784) for part in fashion_mnist(args.folder))
    arms: dict[str, tuple[Arm, bool]] = {
        "plain loop, float32": (plain, True),
        "aepipe, float32": (ours("float32", "mask"), True),
        "aepipe, bfloat16": (ours("bfloat16", "mask"), True),
        "aepipe, bfloat16, drawn in bits": (ours("bfloat16", "mask", "bits"), True),
        "aepipe, bfloat16, no corruption": (ours("bfloat16", "none"), False),
    }
    if importlib.util.find_spec("pythae"):
        arms["pythae, no corruption"] = (pythae, False)
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    losses: dict[str, list[float]] = {name: [] for name in arms}
    for seed in range(args.rounds):
        for name, (arm, noisy) in arms.items():
            took, model = arm(train[: args.rows], args.epochs, seed, args.device)
            seconds[name].append(took)
            losses[name].append(test_loss(model, test, noisy=noisy))
    packages = ("torch", *(["pythae"] if "pythae, no corruption" in arms else []))
    print(describe(*packages))
    what = f"784-{WIDTH}-784, {args.rows:,} rows, batch {BATCH}, {args.epochs} epochs, {args.device}"
    print(f"{what}, median of {args.rounds} rounds\n")
    print(f"{'arm':34}{'rows/s':>10}{'x plain':>10}{'x pythae':>10}{'test loss':>12}")
    rows = []
    for name in arms:
        rate = statistics.median(args.rows * args.epochs / s for s in seconds[name])
        ratio = statistics.median(b / a for a, b in zip(seconds[name], seconds["plain loop, float32"], strict=True))
        other = seconds.get("pythae, no corruption")
        against = statistics.median(b / a for a, b in zip(seconds[name], other, strict=True)) if other else None
        loss = statistics.mean(losses[name])
        column = f"{against:10.2f}" if against else ""
        print(f"{name:34}{rate:10,.0f}{ratio:10.2f}{column}{loss:12.3f}")
        rows.append({"arm": name, "rows_per_s": rate, "x_plain": ratio, "x_pythae": against, "test_loss": loss})
    settings = {"batch": BATCH, "rows": args.rows, "epochs": args.epochs, "rounds": args.rounds, "device": args.device}
    write(args.json, rows, packages, settings=settings)


if __name__ == "__main__":
    main()
