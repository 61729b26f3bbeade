"""Seconds, memory and disk of building an index in parts, and milliseconds to open it.

    python -m benchmarks.search.build CODES.npy [--rows 10000000 100000000] [--kind flat multihash]

Codes come from ``benchmarks.search.growth`` and are memory-mapped. Memory is the anonymous memory of the process
(RssAnon of Linux), sampled a hundred times a second, less what it had before. Mapped files are not counted: the system
drops them from memory as it likes.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from aepipe.codes.bitcodes import BitCodes
from aepipe.index import hamming
from benchmarks.common import Row, add_output, describe, meanwhile, write

PACKAGES = ("numpy", "faiss-cpu")
OPENED = """
import sys, time
from pathlib import Path
from aepipe.index import hamming
began = time.perf_counter()
hamming.open(Path(sys.argv[1]))
print(time.perf_counter() - began)
"""


def main() -> None:
    """Build each size of each kind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("codes", type=Path, help="uint8[N, bytes of a code]")
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000_000])
    parser.add_argument("--kind", nargs="+", default=["flat", "multihash"])
    parser.add_argument("--scratch", type=Path, help="where indexes are built; the system's folder if it is left out")
    add_output(parser, "build")
    asked = parser.parse_args()
    packed = np.load(asked.codes, mmap_mode="r")
    print(describe(*PACKAGES))
    print(f"codes of {8 * packed.shape[1]} bits\n")
    print(f"{'rows':>12}  {'kind':10}{'distinct':>9}{'seconds':>9}{'memory MB':>11}{'disk MB':>9}{'open ms':>9}")
    found = []
    for rows in asked.rows:
        for kind in asked.kind:
            with tempfile.TemporaryDirectory(dir=asked.scratch) as folder:
                one = built(packed[:rows], kind, Path(folder))
            found.append(one)
            print(line(one), flush=True)
    write(asked.json, found, PACKAGES, settings={"bits": 8 * packed.shape[1]})


def line(one: Row) -> str:
    """Format the line of one index."""
    figures = f"{one['seconds']:9.1f}{one['memory_mb']:11,.0f}{one['disk_mb']:9,.0f}{one['open_ms']:9.1f}"
    return f"{one['rows']:12,}  {one['kind']:10}{one['distinct']:9.1%}{figures}"


def built(packed: np.ndarray[tuple[int, int], np.dtype[np.uint8]], kind: str, folder: Path) -> Row:
    """Build one index; return seconds, memory, disk and the time to open it."""
    codes, ids = BitCodes(packed, 8 * packed.shape[1]), np.arange(len(packed))
    began = time.perf_counter()
    with _peak() as peaks:
        one = hamming.build(codes, ids, kind=kind, folder=folder)
        one.save(folder)
    took = time.perf_counter() - began
    size = sum(file.stat().st_size for file in folder.iterdir())
    command = [sys.executable, "-c", OPENED, str(folder)]
    opened = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    figures = {"seconds": took, "memory_mb": peaks[0] / 1e6, "disk_mb": size / 1e6, "open_ms": 1000 * opened}
    return {"rows": len(packed), "kind": kind, "distinct": one.n_codes / len(packed), **figures}


@contextmanager
def _peak() -> Iterator[list[int]]:
    """Watch the most bytes that the process takes during the block, less those from before."""
    before, most = _anonymous(), [0]

    def watch() -> None:
        most[0] = max(most[0], _anonymous() - before)

    with meanwhile(watch, 0.01):
        yield most


def _anonymous() -> int:
    """Return the bytes of memory that are no mapped file."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon"))


if __name__ == "__main__":
    main()
