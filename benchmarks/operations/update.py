"""Seconds to add rows to a large collection and to remove rows, while queries go on.

    python -m benchmarks.operations.update [--rows 10000000] [--changed 10000]

Run it from the clone. Codes and keys of the collection are made up, as in ``benchmarks.search.query``; the added rows
are pictures in a folder, decoded and encoded as usual. Each change is made as a library call and as a command in a
process of its own. Meanwhile a thread that holds the release in service queries it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from aepipe.pipeline import update
from aepipe.pipeline import update as adding
from aepipe.release.release import Release
from aepipe.store import registry
from aepipe.store.artifacts import Store
from benchmarks.common import Row, add_output, describe, meanwhile, write
from benchmarks.made_up import SHAPE, folder_of

PACKAGES = ("numpy", "pillow", "onnxruntime", "faiss-cpu")
NAME = "benchmark"


def main() -> None:
    """Make the release, change it in turn, and print the seconds of each change."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=int, default=10_000_000)
    options.add_argument("--changed", type=int, default=10_000)
    options.add_argument("--rounds", type=int, default=3)
    add_output(options, "update")
    given = options.parse_args()
    with TemporaryDirectory(prefix="aepipe-benchmark-") as folder:
        made = (sys.executable, "-m", "benchmarks.made_up", folder, str(given.rows))
        subprocess.run(made, check=True)
        store = Store(Path(folder) / "store")
        print(describe(*PACKAGES) + f", load {os.getloadavg()[0]:.1f}")
        print(f"{given.changed:,} rows added to {given.rows:,} of 64 bits, and as many removed\n")
        print(f"{'':24} {'seconds':>8} {'query before, ms':>18} {'meanwhile':>10} {'after':>8}")
        rows = []
        for number in range(given.rounds):
            more = write_pictures(folder_of(store) / f"new{number}", given.changed, seed=number)
            rows.append(report("add", store, lambda more=more: add(store, more)))
            some = np.random.default_rng(number).choice(given.rows // given.rounds, given.changed, replace=False)
            gone = number + given.rounds * some  # no row goes twice
            rows.append(report("remove", store, lambda gone=gone: remove(store, gone)))
        more = write_pictures(folder_of(store) / "last", given.changed, seed=99)
        rows.append(report("aepipe add FOLDER", store, lambda: command(store, "add", str(more))))
        keys = "\n".join(f"last/{i:05d}.png" for i in range(given.changed))
        rows.append(report("aepipe remove - < KEYS", store, lambda: command(store, "remove", "-", stdin=keys)))
    settings = {"rows": given.rows, "changed": given.changed, "bits": 64}
    write(given.json, rows, PACKAGES, settings=settings)


def add(store: Store, folder: Path) -> None:
    """Add a folder of pictures to the release in service."""
    release = Release.open(store)
    done = adding.add(store, release, adding.sources_of(release, [str(folder)]))
    registry.promote(store, NAME, done.release, why="benchmark")


def remove(store: Store, ids: NDArray[np.int64]) -> None:
    """Remove rows from the release in service."""
    registry.promote(store, NAME, update.remove(store, Release.open(store), ids), why="benchmark")


def command(store: Store, *words: str, stdin: str | None = None) -> None:
    """Run ``aepipe`` in a process of its own."""
    usual = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    run = (sys.executable, "-m", "aepipe", *words, "--home", str(store.root))
    subprocess.run(run, check=True, input=stdin, text=True, env=usual, stdout=subprocess.DEVNULL)


def report(name: str, store: Store, change: object) -> Row:
    """Make one change; print and return its seconds and those of a query.

    A query is timed in milliseconds before the change, meanwhile, and after it.
    """
    before = Release.open(store)
    alone = [ask(before, number) for number in range(200)]
    with asking(before) as meanwhile:
        began = time.perf_counter()
        change()  # type: ignore[operator]
        seconds = time.perf_counter() - began
    after = Release.open(store)
    later = [ask(after, number) for number in range(200)]
    times = [1000 * median(some) for some in (alone, meanwhile, later)]
    print(f"{name:24} {seconds:8.2f} {times[0]:18.2f} {times[1]:10.2f} {times[2]:8.2f}", flush=True)
    return {"change": name, "seconds": seconds, "before_ms": times[0], "meanwhile_ms": times[1], "after_ms": times[2]}


@contextmanager
def asking(release: Release) -> Iterator[list[float]]:
    """Query a release in a thread, ten times a second; collect the seconds of each answer."""
    times: list[float] = []
    with meanwhile(lambda: times.append(ask(release, len(times))), 0.1):
        yield times


def ask(release: Release, seed: int) -> float:
    """Query the 10 rows nearest to a random row; return the seconds."""
    code = release.codes_of([int(np.random.default_rng(seed).choice(release.items.ids))])
    began = time.perf_counter()
    release.query(code, 10)
    return time.perf_counter() - began


def write_pictures(folder: Path, count: int, seed: int) -> Path:
    """Write small pictures into a folder, and return it."""
    folder.mkdir(parents=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (count, *SHAPE[:2]), dtype=np.uint8)
    for number, one in enumerate(pixels):
        Image.fromarray(one).save(folder / f"{number:05d}.png")
    return folder


if __name__ == "__main__":
    main()
