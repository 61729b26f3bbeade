"""What it costs to cut batches into slices, and to share these out: rows and CPU seconds.

    python -m benchmarks.training.processes FASHION_MNIST_FOLDER [--rounds 3] [--rows 30000]

Every arm trains the layer 784-1024-784 (ReLU up, linear down, squared error, masks, batch 256) for one epoch in
float32, each process with one thread. CPU seconds are those of all processes while they train, without their start. The
weights of all arms with as many slices have to be the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from aepipe.learn import batches, stack
from aepipe.learn import spec as layer_specs
from aepipe.learn.batches import Feed
from aepipe.learn.trainer import FileCheckpoint, Trainer
from aepipe.learn.world import ALONE, World, joined
from aepipe.recipe import Choice, ComputeRecipe, FitRecipe, LayerRecipe
from benchmarks.common import add_output, describe, fashion_mnist, write

WIDTH, BATCH = 1024, 256
ARMS = ((1, 1), (2, 1), (2, 2), (4, 1), (4, 2))
"""Slices and processes."""
Figures = dict[str, float | str]


def train(folder: Path, rows: int, shards: int, world: World) -> Figures:
    """Train the layer; return seconds, CPU seconds of this process, and the sha256 of the weights."""
    torch.set_num_threads(1)
    recipe = LayerRecipe(
        net=Choice(kind="dense", options={"width": WIDTH}),
        corruption=Choice(kind="mask", options={"rate": 0.25}),
        fit=FitRecipe(epochs=1, batch=BATCH),
    )
    spec = layer_specs.layer_spec(recipe, "layer")
    compute = batches.resolve(ComputeRecipe(device="cpu", precision="float32", shards=shards))
    where = replace(compute, world=world)
    data = fashion_mnist(folder)[0].reshape(-1, 784)[:rows]
    model = stack.build([spec], (784,), seed=0)[0]
    feed, nothing = Feed(data, where), Feed(data[:0], where)
    trainer = Trainer(model, spec.training, train=feed, held_out=nothing, seed=0, compute=where)
    world.tell(None)  # begin together
    began, spent = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as scratch:
        trainer.run(FileCheckpoint(Path(scratch), seconds=3600), lambda *_: None)
    seconds, cpu = time.perf_counter() - began, time.process_time() - spent
    state = b"".join(value.numpy().tobytes() for value in model.state_dict().values())
    return {"seconds": seconds, "cpu": cpu, "weights": hashlib.sha256(state).hexdigest()}


def part(folder: Path, rows: int, shards: int, size: int, scratch: Path) -> None:
    """Be one of the processes; write the figures of this one."""
    rank = os.environ["RANK"]
    if size == 1:
        found = train(folder, rows, shards, ALONE)
    else:
        with joined(torch.device("cpu"), meet=scratch / "meet") as world:
            found = train(folder, rows, shards, world)
    (scratch / f"{rank}.json").write_text(json.dumps(found), encoding="utf-8")


def measured(folder: Path, rows: int, shards: int, size: int) -> list[Figures]:
    """Return the figures of each of ``size`` processes."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", __spec__.name, str(folder), "--rows", str(rows)]
        command += ["--part", str(shards), str(size), scratch]
        base = {**os.environ, "WORLD_SIZE": str(size), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
        started = [subprocess.Popen(command, env=base | {"RANK": str(rank)}) for rank in range(size)]
        if [one.wait() for one in started] != [0] * size:
            raise SystemExit(f"{shards} slices in {size} processes: failed")
        return [json.loads((Path(scratch) / f"{rank}.json").read_text(encoding="utf-8")) for rank in range(size)]


def main() -> None:
    """Run the arms in turns, and print a line for each."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("folder", type=Path)
    cli.add_argument("--rounds", type=int, default=3)
    cli.add_argument("--rows", type=int, default=30_000)
    cli.add_argument("--part", nargs=3, help=argparse.SUPPRESS)
    add_output(cli, "processes")
    args = cli.parse_args()
    if args.part:
        shards, size, scratch = args.part
        part(args.folder, args.rows, int(shards), int(size), Path(scratch))
        return
    found: dict[tuple[int, int], list[list[Figures]]] = {arm: [] for arm in ARMS}
    for _ in range(args.rounds):
        for arm in ARMS:
            found[arm].append(measured(args.folder, args.rows, *arm))
    table = []
    for (shards, size), rounds in found.items():
        cpu = [sum(float(one["cpu"]) for one in figures) for figures in rounds]
        whole = [sum(float(one["cpu"]) for one in figures) for figures in found[ARMS[0]]]
        weights = {one["weights"] for figures in rounds for one in figures}
        assert len(weights) == 1, "the processes of an arm, and its rounds, differ in their weights"
        seconds = statistics.median(max(float(one["seconds"]) for one in figures) for figures in rounds)
        ratio = statistics.median(a / b for a, b in zip(cpu, whole, strict=True))
        row = {"slices": shards, "processes": size, "rows_per_s": args.rows / seconds, "x_whole": ratio}
        row["cpu_ms"] = statistics.median(cpu) / (args.rows / BATCH) * 1e3
        row["weights"] = str(weights.pop())[:12]
        table.append(row)
        print(
            f"{shards} slices, {size} processes: {row['rows_per_s']:,.0f} rows/s, {row['cpu_ms']:.2f} CPU ms a step, "
            f"x {ratio:.2f}, weights {row['weights']}"
        )
    print(describe("torch"))
    write(args.json, table, ["torch"], settings={"rows": args.rows, "batch": BATCH, "rounds": args.rounds})


if __name__ == "__main__":
    main()
