"""The service next to its library and to other servers, under load, and its page in a browser.

    python -m benchmarks.serve [--rows 1000000] [--only latency throughput ...]

Run it from the clone. Codes and keys are made up; photographs are clouds. Library and service are asked in turn, so
that other load of the machine meets both; ``wrk`` (Debian's package) asks with 8 connections, and Chromium (Debian's,
too) opens the page.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.common import add_output, describe, write
from benchmarks.serve.goals import Figure, judged

PACKAGES = ("numpy", "faiss-cpu", "starlette", "uvicorn", "msgspec", "httptools", "fastapi", "flask", "qdrant-client")
SMALL = 100_000
"""Codes where releases follow each other."""


def main() -> None:
    """Make releases, run all parts, and print the figures and what they are worth."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    add_output(options, "serving")
    given = options.parse_args()
    print(describe(*PACKAGES), flush=True)
    figures: list[Figure] = []
    with TemporaryDirectory(prefix="aepipe-benchmark-") as name:
        folder = Path(name)
        for part in given.only:
            for one in PARTS[part](folder, given.rows):
                print(f"{one.row or '':>3} {one.what:72} {one.value:12,.3f} {one.unit}", flush=True)
                figures.append(one)
    rows = list(judged(figures))
    print(*(f"{row['is']}: {row['what']}" for row in rows if "not" in row.get("is", "")), sep="\n")
    write(given.json, rows, PACKAGES, settings={"rows": given.rows, "bits": 64})


def made(folder: Path, name: str, rows: int, kind: str = "flat") -> Path:
    """Return a store with a release of made-up codes; it is made once."""
    store = folder / name / "store"
    if not store.exists():
        command = (sys.executable, "-m", "benchmarks.made_up", str(folder / name), str(rows), kind)
        subprocess.run(command, check=True)
    return store


def latency(folder: Path, rows: int) -> Iterator[Figure]:
    """Yield rows 1, 2, 7, 8 and 10."""
    from benchmarks.serve import speed

    for kind in ("flat", "multihash"):
        yield from speed.latency(made(folder, kind, rows, kind), kind)


def throughput(folder: Path, rows: int) -> Iterator[Figure]:
    """Yield rows 3 to 5."""
    from benchmarks.serve import speed

    yield from speed.throughput(made(folder, "flat", rows), made(folder, "multihash", rows, "multihash"))


def qdrant(folder: Path, rows: int) -> Iterator[Figure]:
    """Yield row 6."""
    from benchmarks.serve.qdrant import beside_qdrant

    yield from beside_qdrant(made(folder, "flat", rows))


def steadiness(folder: Path, rows: int) -> Iterator[Figure]:
    """Yield rows 11, 14 and 16."""
    from benchmarks.serve import steadiness

    made(folder, "two", SMALL - 1000)
    again = (sys.executable, "-m", "benchmarks.made_up", str(folder / "two"), str(SMALL))
    subprocess.run(again, check=True)
    yield from steadiness.promotions(folder / "two" / "store")
    yield from steadiness.crowd(made(folder, "flat", rows))
    yield from steadiness.bodies(made(folder, "small", SMALL))


def page(folder: Path, rows: int) -> Iterator[Figure]:
    """Yield rows 18 to 23."""
    from benchmarks.serve import page

    yield from page.opened(folder / "page")
    yield from page.mapped(made(folder, "flat", rows))


PARTS: dict[str, Callable[[Path, int], Iterator[Figure]]] = {
    "latency": latency,
    "throughput": throughput,
    "qdrant": qdrant,
    "steadiness": steadiness,
    "page": page,
}
"""The parts, each with what measures it."""

if __name__ == "__main__":
    main()
