"""Rows per second of encoding rows into packed codes, against torch in float32.

    python -m benchmarks.training.encode [--rows 20000] [--rounds 5]

The encoder is 784-1024-64 with random weights, frozen as releases have it. The peer is the same network in torch, fed
by a ``DataLoader`` without workers (batch 256) or, for the sake of fairness, by slices of one array. All arms take
turns; a ratio is the median of the rounds' ratios. The last line checks that the bits do not depend on the batch.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, TensorDataset

from aepipe.codes.encoder import GRAPH, Card, Encoder, write_card
from aepipe.learn import spec as layer_specs
from aepipe.learn import stack
from aepipe.learn.onnx_export import BATCH, Frozen, freeze
from aepipe.recipe import Choice, CodeRecipe, LayerRecipe
from benchmarks.common import add_output, describe, write

PACKAGES = ("torch", "onnxruntime")
SHAPE = (28, 28, 1)


def main() -> None:
    """Run the arms and print the table."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--rows", type=int, default=20_000)
    cli.add_argument("--rounds", type=int, default=5)
    add_output(cli, "encode")
    args = cli.parse_args()
    dense = LayerRecipe(net=Choice(kind="dense", options={"width": 1024}))
    specs = [layer_specs.layer_spec(dense, "layers.0"), layer_specs.code_spec(CodeRecipe(bits=64))]
    layers = [one.eval() for one in stack.build(specs, SHAPE, seed=0)]
    network = Frozen(layers, torch.zeros(64)).eval()
    items = np.random.default_rng(0).integers(0, 256, (args.rows, *SHAPE), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / GRAPH).write_bytes(freeze(layers, torch.zeros(64), SHAPE))
        write_card(Path(folder), Card("images", {}, SHAPE, 64, BATCH))
        encoder = Encoder.open(Path(folder))
    cores = os.cpu_count() or 1
    arms: dict[str, Callable[[], NDArray[np.uint8]]] = {
        "torch, DataLoader": lambda: _torch(network, (batch for (batch,) in _loader(items))),
        "torch, slices": lambda: _torch(network, torch.split(torch.from_numpy(items), 256)),
        "aepipe, 1 thread": lambda: encoder.encode(items).codes.packed,
        f"aepipe, {cores} threads": lambda: encoder.encode(items, threads=cores).codes.packed,
    }
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    for arm in arms.values():
        arm()
    for _ in range(args.rounds):
        for name, arm in arms.items():
            began = time.perf_counter()
            arm()
            seconds[name].append(time.perf_counter() - began)
    print(describe(*PACKAGES))
    print(f"784-1024-64, {args.rows:,} rows, median of {args.rounds} rounds\n")
    peer = seconds["torch, DataLoader"]
    rows = []
    for name, times in seconds.items():
        ratio = statistics.median(b / a for a, b in zip(times, peer, strict=True))
        speed = args.rows / statistics.median(times)
        print(f"{name:24}{speed:10,.0f} rows/s{ratio:8.2f} x")
        rows.append({"arm": name, "rows_per_s": speed, "ratio": ratio})
    order = np.random.default_rng(1).permutation(args.rows)
    whole = arms["aepipe, 1 thread"]()
    shuffled = encoder.encode(items[order], threads=cores).codes.packed
    single = np.concatenate([encoder.encode(items[i : i + 1]).codes.packed for i in range(min(args.rows, 2000))])
    differ = int(np.unpackbits(shuffled ^ whole[order]).sum() + np.unpackbits(single ^ whole[: len(single)]).sum())
    print(f"\nbits that differ in another order or one row at a time: {differ}")
    write(args.json, rows, PACKAGES, settings={"rows": args.rows, "rounds": args.rounds, "bits_that_differ": differ})


def _loader(items: NDArray[np.uint8]) -> DataLoader[tuple[torch.Tensor, ...]]:
    """Return the loader that most people write."""
    return DataLoader(TensorDataset(torch.from_numpy(items)), batch_size=256)


def _torch(network: Frozen, batches: object) -> NDArray[np.uint8]:
    """Encode with torch in float32 and pack the bits."""
    with torch.no_grad():
        bits = [network(batch)[2] for batch in batches]  # type: ignore[attr-defined]
    return np.packbits(torch.cat(bits).numpy(), axis=1)


if __name__ == "__main__":
    main()
