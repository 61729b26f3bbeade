"""Seconds of a night in which one picture in a hundred has changed.

    python -m benchmarks.operations.nightly FASHION_MNIST_FOLDER [--share 0.01]

Run it from the clone. The 70,000 pictures of Fashion-MNIST are written as PNG files, all but a few that are kept back,
and the recipe ``fashion-mnist`` learns them, as ``aepipe nightly`` does in a first night. Then 1 % is replaced, removed
or added, a third each, with the pictures that were kept back. The next night is timed, and the one after it, in which
nothing has changed. Each night is a command in a process of its own. The seconds of the flow leave out the start of
Python, torch and a Prefect server, which a worker of a running server does not wait for.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.common import ROOT, Row, add_output, describe, fashion_mnist, write

PACKAGES = ("torch", "prefect", "numpy", "pillow")
RECIPE = ROOT / "flows" / "recipes" / "fashion-mnist.toml"
SOURCE = """[source]
kind = "images"
path = "pictures"
split = "top"

"""


def main() -> None:
    """Run three nights and print the seconds of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path, help="a folder of gzipped IDX files")
    parser.add_argument("--share", type=float, default=0.01, help="of the pictures that change")
    add_output(parser, "nightly")
    asked = parser.parse_args()
    with TemporaryDirectory(prefix="aepipe-benchmark-") as folder:
        home = Path(folder)
        train, test = fashion_mnist(asked.images)
        kept_back = int(asked.share * len(train))
        write_pictures(home / "pictures" / "train", train[kept_back:])
        write_pictures(home / "pictures" / "test", test)
        recipe = re.sub(r"(?ms)^\[source\].*?^(?=\[)", SOURCE, RECIPE.read_text(encoding="utf-8"))
        (home / "nights.toml").write_text(recipe, encoding="utf-8")
        print(describe(*PACKAGES) + f", load {os.getloadavg()[0]:.1f}")
        first, first_flow = night(home), flow_seconds(home)
        print(f"{'':40} {'command':>10} {'':8} {'flow':>10}")
        print(f"{'first night':40} {first:8.1f} s {'':8} {first_flow:8.1f} s")
        none: dict[str, Any] = {"command_share": None, "flow_share": None, "stages": {}}
        rows: list[Row] = [{"night": "first night", "command_s": first, "flow_s": first_flow, **none}]
        change(home / "pictures" / "train", train[:kept_back])
        for name in (f"{asked.share:.1%} of the pictures have changed", "nothing has changed"):
            seconds, flow = night(home), flow_seconds(home)
            figures = f"{seconds:8.1f} s {seconds / first:8.1%} {flow:8.1f} s {flow / first_flow:8.1%}"
            took = stages(home)
            print(f"{name:40} {figures}  {', '.join(f'{one} {s:.1f}' for one, s in took.items())}", flush=True)
            shares = {"command_share": seconds / first, "flow_share": flow / first_flow}
            rows.append({"night": name, "command_s": seconds, "flow_s": flow, **shares, "stages": took})
    write(asked.json, rows, PACKAGES, settings={"pictures": len(train) - kept_back + len(test)})


def write_pictures(folder: Path, images: NDArray[np.uint8]) -> None:
    """Write pictures as ``00000.png`` and so on."""
    folder.mkdir(parents=True)
    for number, one in enumerate(images):
        Image.fromarray(one.reshape(28, 28)).save(folder / f"{number:05d}.png")


def change(folder: Path, images: NDArray[np.uint8]) -> None:
    """Replace, remove and add pictures: for a third of the new ones each."""
    files = np.random.default_rng(0).permutation(np.array(sorted(folder.glob("*.png")), object))
    for number, one in enumerate(images):
        if number % 3 == 0:
            Image.fromarray(one.reshape(28, 28)).save(files[number])
        elif number % 3 == 1:
            files[number].unlink()
        else:
            Image.fromarray(one.reshape(28, 28)).save(folder / f"new{number:05d}.png")


def metrics(home: Path) -> str:
    """Return the metrics of the last night, as Prometheus reads them."""
    return (home / "store" / "metrics" / "nights.prom").read_text(encoding="utf-8")


def flow_seconds(home: Path) -> float:
    """Return the seconds of the flow of the last night."""
    found = re.search(r"(?m)^aepipe_run_seconds\{.*\} (.*)", metrics(home))
    assert found
    return float(found[1])


def stages(home: Path) -> dict[str, float]:
    """Return the seconds of each stage of the last night."""
    found = re.findall(r'(?m)^aepipe_stage_seconds\{.*stage="(\w+)"\} (.*)', metrics(home))
    return {stage: float(seconds) for stage, seconds in found}


def night(home: Path) -> float:
    """Run one night and return its seconds."""
    command = (sys.executable, "-m", "aepipe", "nightly", "nights.toml", "--home", "store", "--name", "nights")
    began = time.perf_counter()
    done = subprocess.run(command, cwd=home, text=True, capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    print(done.stdout.strip(), file=sys.stderr)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
