"""A cluster that loses machines, event by event: what the length of a part costs, for 10 to 1,000 machines.

    python -m benchmarks.scale.simulation [--save]

Workers take parts; a worker dies, its part is begun again after the engine has noticed, and the worker comes back after
a while or never. The model is first held against the kills that :mod:`benchmarks.scale.engines` has measured, and ends
with status 1 where it is off by more than a fifth; then it says what is lost at sizes that nobody has here.
"""

from __future__ import annotations

import argparse
import heapq
import random
import statistics
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.common import RESULTS, add_output, read, write

NOTICED = {"dask": 1.4, "ray": 16.0, "dask, cut off": 40.0, "ray, cut off": 30.0, "ray, cut off, its defaults": 424.0}
"""Seconds until an engine begins a lost part again: killed, or cut off from the network."""
OVERHEAD = {"dask": 0.0027, "ray": 0.0007}
"""Seconds for each part of the process that hands them out."""
HOURS_TO_FAIL = 24.0
"""Mean time until a cheap machine is taken away."""
COMES_BACK = 120.0
"""Seconds until another one is there."""
WORK = 3600.0
"""Seconds of one core, for each worker."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """What is simulated.

    Attributes:
        workers: each does one part at a time.
        parts: number of them.
        seconds: of one.
        noticed: seconds until a lost part is begun again.
        overhead: seconds between two parts that are handed out.
        kills: times at which the next worker dies; it does not come back.
        mean_life: mean seconds until a worker dies, or 0 for never.
        comes_back: seconds until another one is there.
    """

    workers: int
    parts: int
    seconds: float
    noticed: float
    overhead: float = 0.0
    kills: tuple[float, ...] = ()
    mean_life: float = 0.0
    comes_back: float = COMES_BACK


def simulated(cluster: Cluster, seed: int = 0) -> tuple[float, int]:
    """Return the seconds until the last part is done, and how often a part was begun."""
    chance = random.Random(seed)
    waiting, begun, handed = cluster.parts, 0, 0.0
    events: list[tuple[float, int, str, int]] = []
    order = iter(range(sys.maxsize))
    end_of = [0.0] * cluster.workers
    life = [0] * cluster.workers
    busy, alive, idle = set[int](), set(range(cluster.workers)), list(range(cluster.workers))

    def put(at: float, what: str, worker: int) -> None:
        heapq.heappush(events, (at, next(order), what, worker))

    def doomed(worker: int, now: float) -> None:
        if cluster.mean_life:
            put(now + chance.expovariate(1 / cluster.mean_life), f"dies {life[worker]}", worker)

    for worker in alive:
        doomed(worker, 0.0)
    for number, at in enumerate(cluster.kills):
        put(at, "dies 0", cluster.workers - 1 - number)
    done, now = 0, 0.0
    while done < cluster.parts:
        while idle and waiting:
            worker = idle.pop()
            handed = max(handed, now) + cluster.overhead
            end_of[worker] = handed + cluster.seconds
            put(end_of[worker], f"ends {life[worker]}", worker)
            busy.add(worker)
            waiting, begun = waiting - 1, begun + 1
        now, _, what, worker = heapq.heappop(events)
        kind, _, which = what.partition(" ")
        if kind in {"ends", "dies"} and int(which) != life[worker]:
            continue
        if kind == "ends":
            done += 1
            busy.discard(worker)
            idle.append(worker)
        elif kind == "dies":
            life[worker] += 1
            if worker in busy:
                busy.discard(worker)
                put(now + cluster.noticed, "lost", worker)
            elif worker in idle:
                idle.remove(worker)
            if cluster.mean_life:
                put(now + cluster.comes_back, "back", worker)
        elif kind == "lost":
            waiting += 1
        else:
            idle.append(worker)
            doomed(worker, now)
    return now, begun


def measured(rows: list[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the kills that were measured, and what the model says of them."""
    for row in rows:
        if row["what"] != "kill":
            continue
        # Two workers share the parts, so an undisturbed run gives the seconds of one.
        seconds = 2 * row["seconds"] / row["parts"]
        model = Cluster(2, row["parts"], seconds, NOTICED[row["engine"]], kills=(row["killed_at"],))
        said, begun = simulated(model)
        yield {
            "what": "kill", "engine": row["engine"], "measured": row["hurt"], "model": said,
            "off": said / row["hurt"] - 1, "begun": row["begun"], "begun_model": begun,
        }  # fmt: skip


def foreseen() -> Iterator[dict[str, Any]]:
    """Yield what is lost for several lengths of a part and sizes of a cluster."""
    for engine, noticed in NOTICED.items():
        overhead = OVERHEAD[engine.partition(",")[0]]
        for workers in (10, 100, 1000):
            for seconds in (10.0, 60.0, 600.0):
                count = max(workers, round(workers * WORK / seconds))
                ideal = count * seconds / workers
                model = Cluster(workers, count, seconds, noticed, overhead, mean_life=3600 * HOURS_TO_FAIL)
                lost = [simulated(model, seed)[0] / ideal - 1 for seed in range(3)]
                yield {
                    "what": "foreseen", "engine": engine, "workers": workers, "length": f"parts of {seconds:.0f} s",
                    "parts": count, "lost": statistics.mean(lost),
                }  # fmt: skip


def main() -> None:
    """Hold the model against the kills, and print what it foresees."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_output(options, "simulation")
    given = options.parse_args()
    rows = []
    for row in [*measured(read(RESULTS / "engines.json")["rows"]), *foreseen()]:
        print(row, flush=True)
        rows.append(row)
    settings = {"hours_to_fail": HOURS_TO_FAIL, "comes_back": COMES_BACK, "seconds_each": WORK}
    write(given.json, rows, (), settings=settings, load=False)
    sys.exit(int(any(abs(row.get("off", 0)) > 0.2 for row in rows)))


if __name__ == "__main__":
    main()
