"""A machine that dies, or falls silent, or a run that is killed, at a random part: what is lost, and for how long.

    python -m benchmarks.scale.faults [--repeats 10] [--only dask ray] [--save]

Two machines are two network namespaces with a cable between them (``ip netns``, which root may use), each with one
worker of one core. When a random number of 24 parts is done, all processes of one are ended by SIGKILL at once, or the
cable is pulled and nobody is told; or the run itself is killed, and started again. Every part has to be there, with the
bytes that it has to have.
"""

from __future__ import annotations

import argparse
import random
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from aepipe import engines
from aepipe.engines import Needs, Part, Work
from aepipe.engines.ray import KEEPALIVE
from benchmarks.common import add_output, describe, write
from benchmarks.scale import parts
from tests.support.nodes import HERE, THERE, Nodes, two_nodes

PACKAGES = ("ray", "distributed")
BIN = Path(sys.executable).parent
PORTS = {"dask": "8786", "ray": "6399"}
FAULTS = ("a machine dies", "the cable is pulled", "the run is killed")
PARTS, SECONDS = 24, 0.5
"""Parts, and how long each takes; it waits, so that other work on this machine changes little."""
LONGEST = 300.0
"""Seconds until a run counts as hung."""


def main() -> None:
    """Repeat all faults, and print the figures."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--only", nargs="+", choices=PORTS, default=list(PORTS))
    options.add_argument("--repeats", type=int, default=10)
    options.add_argument("--role", nargs=2, metavar=("ENGINE", "FOLDER"), help=argparse.SUPPRESS)
    add_output(options, "faults")
    given = options.parse_args()
    if given.role:
        work(given.role[0], Path(given.role[1]))
        return
    print(describe(*PACKAGES), flush=True)
    rows, rng = [], random.Random(0)
    for engine in given.only:
        for fault in FAULTS:
            seen = []
            for _ in range(given.repeats):
                seen.append(once(engine, fault, rng.randrange(1, PARTS * 2 // 3)))
                print(engine, fault, seen[-1], flush=True)
            rows.append(summed(engine, fault, seen))
            settings = {"repeats": given.repeats, "parts": PARTS, "seconds": SECONDS}
            write(given.json, rows, PACKAGES, settings=settings)


def summed(engine: str, fault: str, seen: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the row of a table for several runs."""
    again = sorted(one["again"] for one in seen)
    return {
        "engine": engine, "fault": fault, "runs": len(seen), "whole": sum(one["whole"] for one in seen),
        "median": again[len(again) // 2], "longest": again[-1],
        "twice": max(one["worked"] for one in seen) - PARTS,
    }  # fmt: skip


def once(engine: str, fault: str, at: int) -> dict[str, Any]:
    """Run all parts with one fault, and say what has become of them.

    Args:
        engine: that works on them.
        fault: one of :data:`FAULTS`.
        at: parts that are done before.
    """
    with TemporaryDirectory(prefix="aepipe-", dir="/tmp") as given, two_nodes() as nodes:
        folder = Path(given)
        environment = STARTS[engine](nodes, folder)
        run = start(nodes, folder, engine, environment)
        wait_for(lambda: len(list(folder.glob("made-*"))) >= at)
        began, before = time.time(), {one.name for one in folder.glob("made-*")}
        begun = {one.name for one in folder.glob("work-*")}
        if fault == "a machine dies":
            nodes.kill(1)
        elif fault == "the cable is pulled":
            nodes.cable("down")
        else:
            run.kill()
            run.wait()
            run = start(nodes, folder, engine, environment)
        if run.wait(LONGEST):
            raise SystemExit((folder / "run.log").read_text(encoding="utf-8")[-2000:])
        lost = [folder / name for name in begun if name.replace("work", "made") not in before]
        # A part that the other machine was working on has been begun once more.
        again = [one.stat().st_mtime - began for one in lost if one.stat().st_size > 1]
        made = {one.read_text(encoding="utf-8") for one in folder.glob("made-*")}
        whole = len(list(folder.glob("made-*"))) == PARTS and len(made) == 1
        return {"at": len(before), "again": round(max(again, default=0.0), 1), "whole": whole, "worked": count(folder)}


def start(nodes: Nodes, folder: Path, engine: str, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start the run on the first machine."""
    words = ("-m", "benchmarks.scale.faults", "--role", engine, str(folder))
    return nodes.start(0, folder / "run.log", sys.executable, *words, **environment)


def count(folder: Path) -> int:
    """Return how often a part was worked on."""
    return sum(one.stat().st_size for one in folder.glob("work-*"))


def work(engine: str, folder: Path) -> None:
    """Do all parts."""
    listed = [Part(number, f"ref-{number}") for number in range(PARTS)]
    given = {"blocks": 1, "folder": str(folder), "seconds": SECONDS}
    found = engines.resolve(f"{engine}://{HERE}:{PORTS[engine]}")
    assert len({one.part for one in found.map(Work("benchmark", parts.burnt, given), listed, Needs())}) == PARTS


def dask(nodes: Nodes, folder: Path) -> Mapping[str, str]:
    """Start a scheduler on the first machine, and a worker on each."""
    at, log = f"tcp://{HERE}:{PORTS['dask']}", folder / "dask.log"
    program = str(BIN / "dask")
    nodes.start(0, log, program, "scheduler", "--host", HERE, "--port", PORTS["dask"], "--no-dashboard")
    for node, address in enumerate((HERE, THERE)):
        nodes.start(node, log, program, "worker", at, "--host", address, "--nthreads", "1", "--no-dashboard")
    wait_for(lambda: log.read_text(encoding="utf-8").count("Registered to:") >= 2)
    return {}


def ray(nodes: Nodes, folder: Path) -> Mapping[str, str]:
    """Start a head on the first machine, and a node on the second."""
    own = {"RAY_TMPDIR": str(folder), "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16)}
    own |= {"RAY_USAGE_STATS_ENABLED": "0"} | KEEPALIVE
    head = ("--head", f"--node-ip-address={HERE}", f"--port={PORTS['ray']}", "--include-dashboard=false")
    other = (f"--address={HERE}:{PORTS['ray']}", f"--node-ip-address={THERE}")
    size = ("--num-cpus=1", "--object-store-memory=80000000", "--disable-usage-stats")
    for node, where in enumerate((head, other)):
        if nodes.start(node, folder / "ray.log", str(BIN / "ray"), "start", *where, *size, **own).wait(120):
            raise SystemExit((folder / "ray.log").read_text(encoding="utf-8")[-2000:])
    return own


STARTS = {"dask": dask, "ray": ray}


def wait_for(found: Callable[[], bool]) -> None:
    """Wait until something is so."""
    until = time.monotonic() + LONGEST
    while not found():
        if time.monotonic() > until:
            raise SystemExit(f"not within {LONGEST} s")
        time.sleep(0.05)


if __name__ == "__main__":
    main()
