"""Seconds of grouping near-duplicate codes, as ``aepipe dedup`` does it.

    python -m benchmarks.search.growth FASHION_MNIST_FOLDER codes.npy --home STORE --rows 1000000
    python -m benchmarks.search.dedup codes.npy [--rows 1000000] [--radius 1 3 8]

One thread. The column "all pairs" is the time to compare every distinct code with every other, estimated from a sample.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path

import numpy as np

from aepipe.codes.bitcodes import BitCodes
from aepipe.index import near_duplicates
from aepipe.index.postings import group
from benchmarks.common import add_output, describe, write

PACKAGES = ("numpy", "faiss-cpu")
SAMPLED = 200


def main() -> None:
    """Measure each radius."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("codes", type=Path, help="uint8[N, bytes of a code]")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--radius", type=int, nargs="+", default=[0, 1, 3, 5, 8])
    add_output(parser, "dedup")
    asked = parser.parse_args()
    packed = np.load(asked.codes, mmap_mode="r")[: asked.rows]
    scan, _ = group(BitCodes(np.ascontiguousarray(packed), 8 * packed.shape[1]), np.arange(len(packed)))
    print(describe(*PACKAGES))
    print(f"{len(packed):,} rows of {scan.n_bits} bits, {len(scan):,} distinct\n")
    print(f"{'radius':>6}{'seconds':>10}{'all pairs':>11}{'first ones':>12}{'largest':>9}{'peak MB':>9}")
    rows = []
    for radius in asked.radius:
        began = time.perf_counter()
        first, _ = near_duplicates.groups(scan, radius)
        took = time.perf_counter() - began
        began = time.perf_counter()
        scan.ball(np.ascontiguousarray(scan.packed[:SAMPLED]), radius)
        pairs = (time.perf_counter() - began) * len(scan) / SAMPLED
        sizes = np.bincount(first)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        print(f"{radius:6}{took:10.1f}{pairs:11.0f}{(sizes > 0).sum():12,}{sizes.max():9,}{peak:9,}", flush=True)
        figures = {"seconds": took, "all_pairs": pairs, "groups": (sizes > 0).sum(), "largest": sizes.max()}
        rows.append({"radius": radius, **figures, "peak_mb": peak})
    settings = {"rows": len(packed), "bits": scan.n_bits, "distinct": len(scan), "threads": 1}
    write(asked.json, rows, PACKAGES, settings=settings)


if __name__ == "__main__":
    main()
