"""Processor time of `aepipe study` and `aepipe compare` next to that of the trainings in them.

    python -m benchmarks.operations.comparisons [--seeds 3] [--images FASHION_MNIST_FOLDER]

Run it from the clone. ``small`` are 2,000 rows of 32 numbers in 10 clusters under a short recipe, ``demo`` is the
recipe of that name on the sample in ``data/``; ``fashion-mnist``, whose trainings are of a usual length, needs the
folder of its gzipped IDX files. Each is varied over seeds by `study`, and compared with itself without
pretraining by `compare`. Seconds are those of the processor, of all processes of a command, because those by the clock
depend on what else a machine does. A training is what :class:`aepipe.learn.trainer.Trainer` runs; what two recipes
share counts once. ``start`` is the time until the first recipe begins: Python and torch, the same for an hour of
training. Linear algebra has one thread.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks.common import ROOT, Row, add_output, describe, write

PACKAGES = ("torch", "prefect", "scikit-learn", "numpy")
RECIPES = ("small", "demo", "fashion-mnist")
PACKAGED = ROOT / "flows" / "recipes"
SAMPLE = ROOT / "data" / "fashion-mnist.parquet"
SMALL = """name = "small"

[source]
kind = "vectors"
path = "small.npy"
split = { test = 0.1 }

[[layers]]
net = { kind = "dense", width = 64 }
fit = { epochs = 10, batch = 64 }

[code]
bits = 32
fit = { epochs = 10, batch = 64 }

[finetune]
epochs = 20
batch = 64
objective = "neighbourhood"
"""
TOLD = "AEPIPE_BENCHMARK_TOLD"
"""Set for the process that runs a command: the file that it writes its seconds to."""


def main() -> None:
    """Print a line for each command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="variations of a study")
    parser.add_argument("--images", type=Path, help="a folder of gzipped IDX files: the whole of Fashion-MNIST, too")
    parser.add_argument("--only", choices=RECIPES, action="append", help="of the recipes")
    add_output(parser, "comparisons")
    given = parser.parse_args()
    print(describe(*PACKAGES) + f", load {os.getloadavg()[0]:.1f}")
    with TemporaryDirectory(prefix="aepipe-benchmark-") as folder:
        home = Path(folder)
        _write(home, given.images)
        measured(home, "ready", ["study", "small.toml", "--vary", "seed=100"])
        seeds = ["--vary", "seed=" + ",".join(map(str, range(given.seeds)))]
        rows: list[Row] = []
        for recipe in given.only or RECIPES[: 3 if given.images else 2]:
            for verb, more in (("study", seeds), ("compare", [f"{recipe}-plain.toml"])):
                rows.append({"recipe": recipe, **measured(home, verb, [verb, f"{recipe}.toml", *more])})
                print({key: round(one, 2) if isinstance(one, float) else one for key, one in rows[-1].items()})
                # After each command, so that nothing is lost if it is stopped.
                write(given.json, rows, PACKAGES, settings={"seeds": given.seeds})


def _write(home: Path, images: Path | None) -> None:
    """Write the recipes, each also without pretraining and under another seed, and the rows.

    Args:
        home: the folder.
        images: of the whole of Fashion-MNIST, where it is there.
    """
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(10, 32))
    np.save(home / "small.npy", (centres[rng.integers(0, 10, 2000)] + rng.normal(size=(2000, 32))).astype(np.float32))
    recipes = {"small": SMALL}
    for name, place in (("demo", SAMPLE), ("fashion-mnist", images)):
        if place is not None:
            text = (PACKAGED / f"{name}.toml").read_text(encoding="utf-8").replace("seed = 0\n", "", 1)
            recipes[name] = re.sub(r"(?m)^path = .*$", f'path = "{place.absolute()}"', text, count=1)
    for name, text in recipes.items():
        (home / f"{name}.toml").write_text(text, encoding="utf-8")
        (home / f"{name}-plain.toml").write_text(f"seed = 1000\npretrain = false\n{text}", encoding="utf-8")


def measured(home: Path, verb: str, words: list[str]) -> dict[str, float | str]:
    """Run one command, and return its processor seconds and those of the trainings that it made."""
    before, told = _cpu(), home / "told.json"
    command = (sys.executable, "-m", __spec__.name, *words, "--home", "store", "--json")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", TOLD: str(told)}
    done = subprocess.run(command, cwd=home, text=True, capture_output=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(done.stderr)
    seconds, within = _cpu() - before, json.loads(told.read_text())
    return {
        "verb": verb,
        "trainings": within["trainings"],
        "command_s": seconds,
        "training_s": within["training"],
        "start_s": within["start"],
        "ratio": seconds / within["training"],
        "ratio_without_start": (seconds - within["start"]) / within["training"],
    }


def run_verb(told: Path) -> None:
    """Run the verb of this process's arguments, and write its processor seconds for :func:`measured`."""
    from aepipe.cli.main import main
    from aepipe.learn.trainer import Trainer

    seconds = {"training": 0.0, "start": 0.0, "trainings": 0}
    train, say = Trainer.run, logging.Handler.handle

    def timed(*given: Any, **named: Any) -> Any:
        began = time.process_time()
        try:
            return train(*given, **named)
        finally:
            seconds["training"] += time.process_time() - began
            seconds["trainings"] += 1

    def handled(handler: logging.Handler, record: logging.LogRecord) -> Any:
        if hasattr(record, "chapter") and not seconds["start"]:
            seconds["start"] = time.process_time()
        return say(handler, record)

    with patch.object(Trainer, "run", timed), patch.object(logging.Handler, "handle", handled):
        try:
            main()
        finally:
            told.write_text(json.dumps(seconds))


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    if TOLD in os.environ:
        run_verb(Path(os.environ[TOLD]))
    else:
        main()
