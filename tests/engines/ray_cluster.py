"""Start a Ray cluster of two nodes, do work on it, kill one, and print as JSON what was seen; see ``test_ray.py``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import aepipe
from aepipe import engines
from aepipe.engines import Needs, Part, Work
from aepipe.errors import EngineError
from aepipe.store.artifacts import Store
from tests.engines.test_collections import PART, written
from tests.support import part_work
from tests.support.plain_flows import plain_flows, write_collection

PARTS = [Part(number, f"ref-{number}") for number in range(20)]
HEAD = "127.0.0.1:6399"
RAY = str(Path(sys.executable).with_name("ray"))
NODE = ("--num-cpus=1", "--object-store-memory=80000000", "--disable-usage-stats")


def start(*where: str) -> None:
    """Start a node."""
    subprocess.run([RAY, "start", *where, *NODE], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def node_processes() -> set[int]:
    """Return the processes of all nodes' managers."""
    found = subprocess.run(["pgrep", "-x", "raylet"], capture_output=True, text=True, check=False).stdout
    return {int(word) for word in found.split()}


def errors() -> dict[str, list[str]]:
    """Return what is raised for each kind of error."""
    seen = {}
    for kind in part_work.ERRORS:
        try:
            list(engine.map(Work("fail", part_work.failed, {"kind": kind}), PARTS, Needs()))
        except Exception as error:
            seen[kind] = [type(error).__name__, str(error), *error.__notes__]
    return seen


def refused(work: Work, needs: Needs) -> str:
    """Return why work is refused."""
    try:
        list(engine.map(work, PARTS, needs))
    except EngineError as error:
        return str(error)
    return "not refused"


def same_bytes() -> bool:
    """Say whether a collection in parts is the same here and on the cluster."""
    recipe = write_collection(folder / "collection", numbers=range(40))
    recipe.write_text(recipe.read_text().replace('label = "parent"', f'label = "parent"\npart = {PART}'))
    made = []
    for engine in ("local", f"ray://{HEAD}"):
        with plain_flows():
            aepipe.run(recipe, home=(home := folder / engine.partition(":")[0]), engine=engine)
        made.append(written(Store(home)))
    return len(made[0]) > 8 and made[0] == made[1]


folder = Path(sys.argv[1])
os.environ.update({"RAY_USAGE_STATS_ENABLED": "0", "RAY_health_check_period_ms": "500"})
handler = signal.getsignal(signal.SIGTERM)
start("--head", "--node-ip-address=127.0.0.1", f"--port={HEAD.rpartition(':')[2]}", "--include-dashboard=false")
first = node_processes()
start(f"--address={HEAD}", "--node-ip-address=127.0.0.2")
second = node_processes() - first

engine = engines.resolve(f"ray://{HEAD}")
work = Work("double", part_work.doubled, {"folder": str(folder)})
seen: dict[str, object] = {}
on_cluster = sorted(engine.map(work, PARTS, Needs()), key=lambda one: one.part)
seen["begun"] = max(len(one.read_bytes()) for one in folder.glob("begun-*"))
here = sorted(engines.resolve("local").map(work, PARTS, Needs()), key=lambda one: one.part)
seen["as in threads"] = on_cluster == here

import ray

seen["nodes"] = len(ray.nodes())
seen["same bytes"] = same_bytes()
seen["our answer to SIGTERM"] = signal.getsignal(signal.SIGTERM) == handler
seen["errors"] = errors()
seen["after a worker died"] = len(
    list(engine.map(Work("kill", part_work.killed, {"folder": str(folder)}), PARTS, Needs()))
)
seen["no room"] = refused(work, Needs(cpus=99))
sys.modules["aepipe.engines.ray"].installed = lambda: "0.0.1"  # type: ignore[attr-defined]
seen["another version"] = "and 0.0.1 asks it for work" in refused(work, Needs())
sys.modules["aepipe.engines.ray"].installed = engines.installed  # type: ignore[attr-defined]

found = engine.map(Work("slow", part_work.slow, {"folder": str(folder), "seconds": 0.3}), PARTS, Needs())
done = [next(found)]
began = time.monotonic()
for process in second:
    os.kill(process, signal.SIGKILL)
done += found
seen["seconds after a node died"] = time.monotonic() - began
seen["after a node died"] = len({one.part for one in done})
ray.shutdown()
subprocess.run([RAY, "stop", "--force"], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
sys.stdout.write(json.dumps(seen))
