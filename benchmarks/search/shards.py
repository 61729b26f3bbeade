"""Milliseconds of a search in one index, and in shards: in turn, in threads, and the slowest shard alone.

    python -m benchmarks.search.shards [--rows 1000000] [--shards 4] [--kinds flat multihash]

Codes of 64 bits are made up: they lie in groups of 50 with few bits between them. Questions are codes of rows with two
bits turned. One query at a time, k = 10, arms in turn after every few queries. The slowest shard alone is what machines
of their own would take, without the network. Answers of all arms are compared, ids and distances. The ratio is that of
the processor's time, which does not depend on what else the machine does.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from functools import partial, reduce
from typing import Any

import numpy as np

from aepipe.codes.bitcodes import BitCodes
from aepipe.index import hamming, shards
from aepipe.index.hits import Hits
from benchmarks.common import add_output, describe, write
from benchmarks.made_up import N_BITS, grouped

PACKAGES = ("numpy", "faiss-cpu")
K, BLOCK = 10, 20
ARMS = ("one", "in turn", "in threads", "slowest")

Search = Callable[[BitCodes], Hits]


def timed(search: Search, codes: BitCodes, clock: Callable[[], float]) -> tuple[list[float], list[Hits]]:
    """Return the milliseconds of each query by itself, and the answers."""
    took, found = [], []
    for place in range(len(codes)):
        began = clock()
        found.append(search(codes[place : place + 1]))
        took.append(1000 * (clock() - began))
    return took, found


def with_threads(index: shards.Shards, least: int) -> Search:
    """Return a search that uses threads from a number of comparisons on."""

    def search(codes: BitCodes) -> Hits:
        shards.WORTH_THREADS = least
        return index.search(codes, K)

    return search


def slowest(index: shards.Shards, codes: BitCodes, clock: Callable[[], float]) -> tuple[list[float], list[Hits]]:
    """Return the milliseconds of the slowest shard of each query, and the merged answers."""
    parts = [timed(partial(part.search, k=K), codes, clock) for part in index.parts]
    took = np.max([one for one, _ in parts], axis=0)
    return took.tolist(), [reduce(Hits.merge, each) for each in zip(*(found for _, found in parts), strict=True)]


def measure(kind: str, rows: int, count: int, queries: int) -> dict[str, Any]:
    """Return the milliseconds of each arm: median and 99th percentile."""
    rng = np.random.default_rng(0)
    codes, ids = BitCodes(grouped(rng, rows), N_BITS), np.arange(rows)
    turned = codes.unpack()[rng.integers(0, rows, queries)]
    for one in turned:
        one[rng.choice(N_BITS, 2, replace=False)] ^= True
    asked = BitCodes.from_bits(turned)
    one, several = hamming.build(codes, ids, kind=kind), shards.build(codes, ids, count, kind=kind)
    arms: dict[str, Callable[[BitCodes], tuple[list[float], list[Hits]]]] = {
        "one": lambda block: timed(lambda code: one.search(code, K), block, time.perf_counter),
        "in turn": lambda block: timed(with_threads(several, 1 << 62), block, time.perf_counter),
        "in threads": lambda block: timed(with_threads(several, 0), block, time.perf_counter),
        "slowest": lambda block: slowest(several, block, time.perf_counter),
        "one, processor": lambda block: timed(lambda code: one.search(code, K), block, time.thread_time),
        "in turn, processor": lambda block: timed(with_threads(several, 1 << 62), block, time.thread_time),
    }
    took: dict[str, list[float]] = {name: [] for name in arms}
    for start in range(0, queries, BLOCK):
        answers = []
        for name, arm in arms.items():
            times, found = arm(asked[start : start + BLOCK])
            took[name] += times[1:]  # the first one fetches what another arm has driven out of the cache
            answers.append([(hits.ids.tolist(), hits.distances.tolist()) for hits in found])
        assert all(each == answers[0] for each in answers), f"{kind}: answers differ"
    figures = {
        name: {"median": float(np.median(one)), "p99": float(np.percentile(one, 99))} for name, one in took.items()
    }
    ratio = figures["in turn, processor"]["median"] / figures["one, processor"]["median"]
    return {"kind": kind, "rows": rows, "shards": count, "ratio": ratio, **figures}


def main() -> None:
    """Print a line for each kind of index."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--kinds", nargs="+", default=["flat", "multihash"])
    add_output(parser, "shards")
    asked = parser.parse_args()
    print(describe(*PACKAGES))
    rows = []
    for kind in asked.kinds:
        one = measure(kind, asked.rows, asked.shards, asked.queries)
        told = ", ".join(f"{name} {one[name]['median']:.3f} (p99 {one[name]['p99']:.3f})" for name in ARMS)
        print(f"{kind}: {told}; in turn {one['ratio']:.2f} x", flush=True)
        rows.append(one)
    settings = {"k": K, "queries": asked.queries, "bits": N_BITS, "cores": os.cpu_count()}
    write(asked.json, rows, PACKAGES, settings=settings)


if __name__ == "__main__":
    main()
