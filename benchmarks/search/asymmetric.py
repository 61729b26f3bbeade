"""Milliseconds of a question that keeps its floats, against one with its code: the first 100 of all rows, exactly.

    python -m benchmarks.search.asymmetric [--rows 1000000] [--bits 64 128 256]

Codes are drawn at random, which changes nothing for floats; they are compared with every row. One thread.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

from aepipe.codes.bitcodes import BitCodes
from aepipe.index import asymmetric, hamming
from benchmarks.common import add_output, describe, write

PACKAGES = ("numpy", "faiss-cpu")
TOP, ROUNDS = 100, 15


def median(search: Callable[[], object]) -> float:
    """Return the median time of a search, in milliseconds; the first one is left out."""
    took = []
    for _ in range(ROUNDS + 1):
        began = time.perf_counter()
        search()
        took.append(1000 * (time.perf_counter() - began))
    return float(np.median(took[1:]))


def main() -> None:
    """Print a line for each number of bits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--bits", type=int, nargs="+", default=[64, 128, 256])
    add_output(parser, "asymmetric")
    asked = parser.parse_args()
    print(describe(*PACKAGES))
    print(f"{'bits':>5}{'floats':>10}{'code':>10}")
    rows = []
    for bits in asked.bits:
        rng = np.random.default_rng(0)
        codes = BitCodes(rng.integers(0, 256, (asked.rows, bits // 8), np.uint8), bits)
        index, values = hamming.build(codes, np.arange(asked.rows)), rng.normal(size=bits).astype(np.float32)
        code = BitCodes.from_bits(values[None] > 0)
        floats, plain = (
            median(lambda: asymmetric.search(index, values, TOP)),  # noqa: B023  called at once
            median(lambda: index.search(code, TOP)),  # noqa: B023
        )
        print(f"{bits:5}{floats:10.1f}{plain:10.1f}", flush=True)
        rows.append({"bits": bits, "floats": floats, "code": plain})
    write(asked.json, rows, PACKAGES, settings={"rows": asked.rows, "top": TOP, "threads": 1})


if __name__ == "__main__":
    main()
