"""Seconds of `aepipe study` and `aepipe compare` next to those of the trainings in them.

    python -m benchmarks.operations.comparisons [--seeds 3]

Run it from the clone. ``small`` are 2,000 rows of 32 numbers in 10 clusters under a short recipe, ``demo`` is the
recipe of that name on the sample in ``data/``. Each is varied over seeds by `study`, and compared with itself without
pretraining by `compare`. The seconds of the trainings are those that the store has noted for each layer and model, so
what two recipes share counts once. ``start`` is the time until the first recipe begins: Python, torch and a Prefect
server, which is the same for an hour of training. The store has a Prefect database before.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from aepipe.store.artifacts import Store
from benchmarks.common import ROOT, Row, add_output, describe, write

PACKAGES = ("torch", "prefect", "scikit-learn", "numpy")
DEMO = ROOT / "flows" / "recipes" / "demo.toml"
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
_BEGINS = re.compile(r"(?m)^ *([\d.]+) s  1/\d+  ")
"""The line of progress where the first recipe begins."""


def main() -> None:
    """Print a line for each command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="variations of a study")
    add_output(parser, "comparisons")
    given = parser.parse_args()
    print(describe(*PACKAGES) + f", load {os.getloadavg()[0]:.1f}")
    with TemporaryDirectory(prefix="aepipe-benchmark-") as folder:
        home = Path(folder)
        _write(home)
        measured(home, "ready", ["study", "small.toml", "--vary", "seed=100"])
        seeds = ["--vary", "seed=" + ",".join(map(str, range(given.seeds)))]
        rows: list[Row] = []
        for recipe in ("small", "demo"):
            for verb, more in (("study", seeds), ("compare", [f"{recipe}-plain.toml"])):
                rows.append({"recipe": recipe, **measured(home, verb, [verb, f"{recipe}.toml", *more])})
                print({key: round(one, 2) if isinstance(one, float) else one for key, one in rows[-1].items()})
                # After each command, so that nothing is lost if it is stopped.
                write(given.json, rows, PACKAGES, settings={"seeds": given.seeds})


def _write(home: Path) -> None:
    """Write the recipes, each also without pretraining and under another seed, and the rows."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(10, 32))
    np.save(home / "small.npy", (centres[rng.integers(0, 10, 2000)] + rng.normal(size=(2000, 32))).astype(np.float32))
    demo = re.sub(r"(?m)^path = .*$", f'path = "{SAMPLE}"', DEMO.read_text(encoding="utf-8"), count=1)
    demo = demo.replace("seed = 0\n", "", 1)
    for name, text in (("small", SMALL), ("demo", demo)):
        (home / f"{name}.toml").write_text(text, encoding="utf-8")
        (home / f"{name}-plain.toml").write_text(f"seed = 1000\npretrain = false\n{text}", encoding="utf-8")


def measured(home: Path, verb: str, words: list[str]) -> dict[str, float | str]:
    """Run one command, and return its seconds and those of the trainings that it made."""
    store = Store(home / "store")
    before, cpu = _trainings(store), _cpu()
    command = (sys.executable, "-m", "aepipe", *words, "--home", "store", "--json")
    began = time.perf_counter()
    done = subprocess.run(command, cwd=home, text=True, capture_output=True, check=False)
    seconds = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(done.stderr)
    trained = {name: one for name, one in _trainings(store).items() if name not in before}
    begins = _BEGINS.search(done.stderr)
    start = float(begins[1]) if begins else float("nan")
    total = sum(trained.values())
    return {
        "verb": verb,
        "trainings": sum(name.startswith("model/") for name in trained),
        "command_s": seconds,
        "training_s": total,
        "start_s": start,
        "ratio": seconds / total,
        "ratio_without_start": (seconds - start) / total,
        "cpu_s": _cpu() - cpu,
    }


def _trainings(store: Store) -> dict[str, float]:
    """Return the seconds of each layer and model in a store."""
    refs = [ref for kind in ("layer", "model") for ref in store.refs(kind)]
    return {str(ref): float(store.manifest(ref).facts.get("seconds", 0.0)) for ref in refs}


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
