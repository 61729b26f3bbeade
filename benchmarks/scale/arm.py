"""One arm of :mod:`benchmarks.scale.engines`, in processes and a network of its own; prints its figures as JSON.

    python -m benchmarks.scale.arm ENGINE PARTS BLOCKS FOLDER [--kill]

ENGINE is ``local``, ``dask`` or ``ray``; the last two are started here, with two workers of one core each. With
``--kill`` one of them is ended by SIGKILL when a quarter of the parts is done, and does not come back.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aepipe import engines
from aepipe.engines import Needs, Part, Work
from aepipe.engines.local import Local
from benchmarks.scale import parts

BIN = Path(sys.executable).parent
DASK, RAY = "127.0.0.1:8786", "127.0.0.1:6399"
TICK = os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Start what is asked for, work, and print the figures."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("engine", choices=CLUSTERS)
    options.add_argument("parts", type=int)
    options.add_argument("blocks", type=int)
    options.add_argument("folder", type=Path)
    options.add_argument("--kill", action="store_true")
    given = options.parse_args()
    began = time.monotonic()
    with CLUSTERS[given.engine]() as (engine, workers):
        started = time.monotonic() - began
        work = Work("benchmark", parts.empty)
        if given.blocks:
            work = Work("benchmark", parts.burnt, {"blocks": given.blocks, "folder": str(given.folder)})
        listed = [Part(number, f"ref-{number}") for number in range(given.parts)]
        list(engine.map(Work("warm", parts.empty), listed[:8], Needs()))
        seconds, killed_at = worked(engine, work, listed, workers[-1] if given.kill else None)
        found = {"start": started, "seconds": seconds, "killed_at": killed_at, "cpu": processor_time()}
        found["begun"] = sum(one.stat().st_size for one in given.folder.glob("begun-*"))
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()


def worked(engine: engines.Engine, work: Work, listed: list[Part], victim: int | None) -> tuple[float, float | None]:
    """Do the work; return how long it took, and when a worker was killed."""
    began, killed_at = time.monotonic(), None
    for count, _ in enumerate(engine.map(work, listed, Needs()), 1):
        if victim is not None and killed_at is None and count >= len(listed) // 4:
            os.kill(victim, signal.SIGKILL)
            killed_at = time.monotonic() - began
    return time.monotonic() - began, killed_at


@contextmanager
def local() -> Iterator[tuple[engines.Engine, list[int]]]:
    """One thread of this process."""
    yield Local(1), []


@contextmanager
def dask() -> Iterator[tuple[engines.Engine, list[int]]]:
    """A scheduler and two workers that nobody starts again."""
    host, port = DASK.split(":")
    started = [begun("dask", "scheduler", "--host", host, "--port", port, "--no-dashboard")]
    worker = ("worker", f"tcp://{DASK}", "--host", host, "--nthreads", "1", "--no-nanny", "--no-dashboard")
    started += [begun("dask", *worker) for _ in range(2)]
    try:
        from distributed import Client

        with Client(f"tcp://{DASK}", timeout=60, set_as_default=False) as client:
            client.wait_for_workers(2)
        yield engines.resolve(f"dask://{DASK}"), [one.pid for one in started[1:]]
    finally:
        for one in started:
            one.kill()


@contextmanager
def ray() -> Iterator[tuple[engines.Engine, list[int]]]:
    """A head and a second node, of one core each."""
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}  # in a network of its own
    node = ("--num-cpus=1", "--object-store-memory=80000000", "--disable-usage-stats")
    host, port = RAY.split(":")
    head = ("--head", f"--node-ip-address={host}", f"--port={port}", "--include-dashboard=false")
    begun("ray", "start", *head, *node).wait()
    first = managers()
    begun("ray", "start", f"--address={RAY}", "--node-ip-address=127.0.0.2", *node).wait()
    try:
        yield engines.resolve(f"ray://{RAY}"), sorted(managers() - first)
    finally:
        begun("ray", "stop", "--force").wait()


CLUSTERS = {"local": local, "dask": dask, "ray": ray}


def begun(program: str, *arguments: str) -> subprocess.Popen[bytes]:
    """Start a program of this environment; its words are not shown."""
    return subprocess.Popen([BIN / program, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def managers() -> set[int]:
    """Return the processes that manage Ray's nodes."""
    return {number for number in processes() if Path(f"/proc/{number}/comm").read_text().strip() == "raylet"}


def processes() -> list[int]:
    """Return all processes that are here."""
    return [int(one.name) for one in Path("/proc").iterdir() if one.name.isdecimal()]


def processor_time() -> float:
    """Return the seconds that all processes here have computed, with those that have ended."""
    total = 0
    for number in processes():
        try:
            fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += sum(map(int, fields[11:15]))
    return total / TICK


if __name__ == "__main__":
    main()
