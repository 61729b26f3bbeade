"""Building an index in parts: seconds, the memory it takes beside its input, and how long it takes to open.

    python -m benchmarks.build CODES.npy [--rows 10000000 100000000] [--kind flat multihash]

Codes are those of :mod:`benchmarks.growth`, mapped. Memory is what the process asks for itself (RssAnon of Linux),
looked at a hundred times a second; files that are mapped are not in it: the system drops them from memory as it likes.
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
from benchmarks.machine import describe, meanwhile

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
    asked = parser.parse_args()
    packed = np.load(asked.codes, mmap_mode="r")
    print(describe("numpy", "faiss-cpu"))
    print(f"codes of {8 * packed.shape[1]} bits\n")
    print(f"{'rows':>12}  {'kind':10}{'distinct':>9}{'seconds':>9}{'memory MB':>11}{'disk MB':>9}{'open ms':>9}")
    for rows in asked.rows:
        for kind in asked.kind:
            with tempfile.TemporaryDirectory(dir=asked.scratch) as folder:
                print(f"{rows:12,}  {kind:10}" + _built(packed[:rows], kind, Path(folder)), flush=True)


def _built(packed: np.ndarray[tuple[int, int], np.dtype[np.uint8]], kind: str, folder: Path) -> str:
    """Build one, and say what it took."""
    codes, ids = BitCodes(packed, 8 * packed.shape[1]), np.arange(len(packed))
    began = time.perf_counter()
    with _peak() as peaks:
        one = hamming.build(codes, ids, kind=kind, folder=folder)
        one.save(folder)
    took = time.perf_counter() - began
    size = sum(file.stat().st_size for file in folder.iterdir())
    command = [sys.executable, "-c", OPENED, str(folder)]
    opened = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    figures = f"{took:9.1f}{peaks[0] / 1e6:11,.0f}{size / 1e6:9,.0f}{1000 * opened:9.1f}"
    return f"{one.n_codes / len(packed):9.1%}{figures}"


@contextmanager
def _peak() -> Iterator[list[int]]:
    """Watch how many bytes the process takes at most during the block, beside what it had before."""
    before, most = _anonymous(), [0]

    def watch() -> None:
        most[0] = max(most[0], _anonymous() - before)

    with meanwhile(watch, 0.01):
        yield most


def _anonymous() -> int:
    """Return the bytes of memory that no file is behind."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon"))


if __name__ == "__main__":
    main()
