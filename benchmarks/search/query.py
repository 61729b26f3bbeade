"""Seconds of a cold query: ``aepipe query picture.png -k 10`` in a fresh process.

    python -m benchmarks.search.query [--rows 1000000] [--runs 15]

Run it from the clone. Five processes take turns, so that other load on the machine meets all of them: the query, the
same one in the order of codes (``--fast``), one that only imports torch, one that only imports what a query needs, and
one that does nothing. The figure is the ratio of the medians. Codes, embeddings and keys are made up; the encoder is
real, 784-1024-256-64.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.common import add_output, describe, write

PACKAGES = ("numpy", "pillow", "onnxruntime", "typer", "faiss-cpu", "torch")
PYTHON = (sys.executable, "-c")
IMPORTS = "import numpy, PIL.Image, onnxruntime, typer, faiss"
UNWELCOME = ("torch", "pyarrow", "pandas", "prefect", "rich", "pydantic", "scipy", "sklearn", "duckdb", "onnx")
SPY = (
    "import runpy, sys\n"
    "sys.argv = sys.argv[1:]\n"
    "try: runpy.run_module('aepipe', run_name='__main__')\n"
    "finally: print('MODULES', *sorted({m.partition('.')[0] for m in sys.modules}), file=sys.stderr)\n"
)


def main() -> None:
    """Make the release, time everything in turn, and print the ratios."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--runs", type=int, default=15)
    add_output(options, "query")
    given = options.parse_args()
    with TemporaryDirectory(prefix="aepipe-benchmark-") as folder:
        # A process of its own: Linux counts what the parent held when it forked to the peak of its children.
        made = (sys.executable, "-m", "benchmarks.made_up", folder, str(given.rows))
        subprocess.run(made, check=True)
        query = ("query", f"{folder}/picture.png", "-k", "10", "--home", f"{folder}/store")
        report(given, time_in_turn(commands(query), given.runs), loaded_modules(query))


def commands(query: Sequence[str]) -> dict[str, Sequence[str]]:
    """Return the commands, by name."""
    return {
        "query": (sys.executable, "-m", "aepipe", *query),
        "query --fast": (sys.executable, "-m", "aepipe", *query, "--fast"),
        "import torch": (*PYTHON, "import torch"),
        "imports of a query": (*PYTHON, IMPORTS),
        "nothing": (*PYTHON, "pass"),
    }


def time_in_turn(timed: dict[str, Sequence[str]], runs: int) -> dict[str, list[tuple[float, int]]]:
    """Run all commands in turn, after one uncounted round; return seconds and peak kB."""
    found: dict[str, list[tuple[float, int]]] = {name: [] for name in timed}
    for round_number in range(runs + 1):
        for name, command in timed.items():
            measured = run(command)
            if round_number:
                found[name].append(measured)
    return found


def run(command: Sequence[str]) -> tuple[float, int]:
    """Run one process to its end; return its seconds and its peak memory in kB."""
    began = time.perf_counter()
    # Bytecode is kept between runs, as it is where nobody forbids it: the first round, not counted, writes it.
    usual = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=usual) as process:
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        said = process.stderr.read().decode() if process.stderr else ""
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: status {process.returncode}: {said}")
    return seconds, usage.ru_maxrss


def loaded_modules(query: Sequence[str]) -> set[str]:
    """Return the packages that a query has loaded when it ends."""
    done = subprocess.run((*PYTHON, SPY, "aepipe", *query), capture_output=True, text=True, check=True)
    line = next(line for line in done.stderr.splitlines() if line.startswith("MODULES"))
    return set(line.split()[1:])


def report(given: argparse.Namespace, found: dict[str, list[tuple[float, int]]], modules: set[str]) -> None:
    """Print machine, versions, medians and ratios."""
    print(describe(*PACKAGES) + f", load {os.getloadavg()[0]:.1f}")
    print(f"{given.rows:,} codes of 64 bits, {given.runs} runs in turn\n")
    print(f"{'':20} {'median s':>9} {'best s':>9} {'x query':>9} {'peak MB':>9}")
    base = median(seconds for seconds, _ in found["query"])
    rows = []
    for name, runs in found.items():
        middle, best, peak = median(s for s, _ in runs), min(s for s, _ in runs), max(kb for _, kb in runs)
        print(f"{name:20} {middle:9.3f} {best:9.3f} {middle / base:9.2f} {peak / 1024:9.0f}")
        figures = {"median_s": middle, "best_s": best, "x_query": middle / base, "peak_mb": peak / 1024}
        rows.append({"process": name, **figures})
    extra = base - median(seconds for seconds, _ in found["imports of a query"])
    print(f"\na query takes {1000 * extra:.0f} ms more than its imports")
    print(f"loaded although not needed: {listed(modules & set(UNWELCOME))}")
    write(given.json, rows, PACKAGES, settings={"rows": given.rows, "bits": 64, "runs": given.runs})


def listed(names: Iterable[str]) -> str:
    """Return names in order, or that there are none."""
    return ", ".join(sorted(names)) or "nothing"


if __name__ == "__main__":
    main()
