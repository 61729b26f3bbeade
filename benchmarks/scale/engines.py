"""What an engine costs next to one thread, and what a worker that dies costs.

    python -m benchmarks.scale.engines [--only overhead processor kill] [--save]

Each arm runs in processes and in a network of its own (``unshare``, which root may do), so that no port of a cluster is
open to others, and so that the processor's time of all its processes can be counted.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any

from aepipe.engines import Part
from benchmarks.common import add_output, describe, write
from benchmarks.scale import parts
from tests.support.own_network import run_alone

PACKAGES = ("ray", "distributed")
KINDS = ("local", "dask", "ray")
EMPTY = 2000
"""Parts without work."""
SECONDS, COUNT = 0.5, 62
"""Of the processor for a part, and parts, where the processor's time is counted: half a minute, and a whole one."""
LONG, FEW = 1.0, 24
"""Seconds of a part, and parts, where a worker is killed."""


def main() -> None:
    """Run all parts, and print the figures."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    add_output(options, "engines")
    given = options.parse_args()
    print(describe(*PACKAGES), flush=True)
    rows = []
    for name in given.only:
        for row in PARTS[name]():
            print(row, flush=True)
            rows.append(row)
    write(given.json, rows, PACKAGES, settings={"seconds": SECONDS, "parts": COUNT, "long": LONG, "few": FEW})


def overhead() -> Iterator[dict[str, Any]]:
    """Yield what a part without work costs."""
    for kind in KINDS:
        found = arm(kind, EMPTY, 0)
        yield {"what": "empty", "engine": kind, "start": found["start"], "ms": 1e3 * found["seconds"] / EMPTY}


def processor() -> Iterator[dict[str, Any]]:
    """Yield the processor's time for the same work, from the start of the arm and for twice the parts more."""
    blocks, base = blocks_of(SECONDS), None
    for kind in KINDS:
        once, twice = (arm(kind, COUNT * factor, blocks) for factor in (1, 2))
        base = base or (once["cpu"], twice["cpu"])
        yield {
            "what": "processor", "engine": kind, "cpu": once["cpu"], "seconds": once["seconds"],
            "x": once["cpu"] / base[0], "marginal": (twice["cpu"] - once["cpu"]) / (base[1] - base[0]),
            "twice": twice["seconds"],
        }  # fmt: skip


def kill() -> Iterator[dict[str, Any]]:
    """Yield what a worker costs that dies when a quarter of the parts is done."""
    blocks = blocks_of(LONG)
    for kind in KINDS[1:]:
        whole, hurt = arm(kind, FEW, blocks), arm(kind, FEW, blocks, "--kill")
        yield {
            "what": "kill", "engine": kind, "seconds": whole["seconds"], "hurt": hurt["seconds"],
            "killed_at": hurt["killed_at"], "begun": hurt["begun"], "parts": FEW,
        }  # fmt: skip


PARTS: dict[str, Callable[[], Iterator[dict[str, Any]]]] = {
    "overhead": overhead,
    "processor": processor,
    "kill": kill,
}


def blocks_of(seconds: float) -> int:
    """Return how many MB are hashed in so many seconds of this processor."""
    with TemporaryDirectory() as folder:
        began = process_time()
        parts.burnt(Part(0, "x"), 200, folder)
        return round(200 * seconds / (process_time() - began))


def arm(kind: str, count: int, blocks: int, *more: str) -> dict[str, Any]:
    """Run one arm and return its figures."""
    with TemporaryDirectory(prefix="aepipe-arm-") as folder:
        words = ("-m", "benchmarks.scale.arm", kind, str(count), str(blocks), folder, *more)
        found = run_alone(sys.executable, *words)
        if found.returncode:
            raise SystemExit(f"{kind}: {found.stderr[-2000:]}")
        # Ray writes to the same output when it ends.
        told = next(line for line in found.stdout.splitlines() if line.startswith('{"start"'))
        read: dict[str, Any] = json.loads(told)
        made = len(list(Path(folder).glob("made-*")))
        assert not blocks or made == count, f"{kind}: {made} of {count} parts were made"
        return read


if __name__ == "__main__":
    main()
