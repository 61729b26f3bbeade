"""Milliseconds of an exact search on learned codes: FAISS over rows, `flat` and `multihash`.

    python -m benchmarks.search.growth FASHION_MNIST_FOLDER codes.npy --home STORE --rows 10000000
    python -m benchmarks.search.search codes.npy codes.queries.npy [--rows 100000 1000000 10000000] [--k 1 10 100 1000]

One thread, one query at a time. The arms take turns after every 50 queries, so that other load on the machine meets all
of them. Every answer is compared: distances and ids are those of FAISS's scan of all rows. ``--distinct`` keeps one row
of each code, so that nothing collides. ``--json`` writes the figures that ``benchmarks.charts`` draws.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from aepipe.codes.bitcodes import BitCodes
from aepipe.index import hamming
from aepipe.index.kinds.multihash import MultiHash
from benchmarks.common import add_output, describe, write

Codes = NDArray[np.uint8]
PACKAGES = ("numpy", "faiss-cpu")
BATCH = 1000
TURN = 50
ARMS = ("FAISS flat, rows", "flat", "multihash")
FIGURES = ("median", "mean", "p99", "x_median", "x_mean", "x_p99")
"""Milliseconds, and how many times faster than FAISS's scan."""


def timed(call: Callable[[], object]) -> float:
    """Return the milliseconds of a call."""
    began = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - began)


class Arms:
    """The same rows in three indexes."""

    def __init__(self, packed: Codes) -> None:
        self.n_bits = 8 * packed.shape[1]
        codes, ids = BitCodes(packed, self.n_bits), np.arange(len(packed))
        self.rows = faiss.IndexBinaryFlat(self.n_bits)
        self.rows.add(packed)
        self.seconds = {"flat": timed(lambda: self._flat(codes, ids)) / 1000}
        self.seconds["multihash"] = timed(lambda: self._hashed(codes, ids)) / 1000

    def _flat(self, codes: BitCodes, ids: NDArray[np.int64]) -> None:
        self.flat = hamming.build(codes, ids)

    def _hashed(self, codes: BitCodes, ids: NDArray[np.int64]) -> None:
        self.hashed = hamming.build(codes, ids, kind="multihash")

    def ask(self, queries: Codes, k: int) -> NDArray[np.float64]:
        """Compare the answers of the arms; return milliseconds, float64[Q, arms]."""
        took = np.zeros((len(queries), len(ARMS)))
        found: list[list[tuple[NDArray[np.generic], NDArray[np.generic]]]] = [[], [], []]
        for arm, one in enumerate((None, self.flat, self.hashed)):
            for at in range(len(queries)):
                query = queries[at : at + 1]
                began = time.perf_counter()
                if one is None:
                    found[arm].append(self.rows.search(query, k))
                else:
                    hits = one.search(BitCodes(query, self.n_bits), k)
                    found[arm].append((hits.distances, hits.ids))
                took[at, arm] = 1000 * (time.perf_counter() - began)
        for others in found[1:]:
            for mine, theirs in zip(others, found[0], strict=True):
                np.testing.assert_array_equal(mine[0], theirs[0])
                np.testing.assert_array_equal(mine[1], theirs[1])
        return took

    def stages(self, queries: Codes, k: int) -> str:
        """Return how queries were answered: certified with 0, 1, ... bits flipped, or scanned."""
        engine = self.hashed.engine
        if not isinstance(engine, MultiHash):
            return "scanned 100%"
        stages = engine.staged(queries, k)[1]
        names = [f"{stage} flipped {share:.1%}" for stage in range(4) if (share := (stages == stage).mean())]
        scanned = (stages < 0).mean()
        return ", ".join([*names, *([f"scanned {scanned:.1%}"] if scanned else [])])

    def batch(self, queries: Codes, threads: int) -> dict[str, float]:
        """Return how many rows each arm compares per second for a batch of queries, in G."""
        many = np.resize(queries, (BATCH, queries.shape[1]))
        before = faiss.omp_get_max_threads()
        faiss.omp_set_num_threads(threads)
        calls = (
            lambda: self.rows.search(many, 10),
            lambda: self.flat.search(BitCodes(many, self.n_bits), 10, threads=threads),
            lambda: self.hashed.search(BitCodes(many, self.n_bits), 10, threads=threads),
        )
        took = [min(timed(call) for _ in range(3)) for call in calls]
        faiss.omp_set_num_threads(before)
        compared = BATCH * self.rows.ntotal / 1e6
        return {arm: compared / ms for arm, ms in zip(ARMS, took, strict=True)}


def measure(packed: Codes, queries: Codes, ks: list[int], threads: list[int]) -> list[dict[str, Any]]:
    """Print the tables of one size; return its figures."""
    faiss.omp_set_num_threads(1)
    arms, told = Arms(packed), list[dict[str, Any]]()
    engine = arms.hashed.engine
    parts = f", {engine.tables.n_parts} substrings" if isinstance(engine, MultiHash) else ""
    built = ", ".join(f"{arm} built in {seconds:.1f} s" for arm, seconds in arms.seconds.items())
    share = arms.flat.n_codes / len(packed)
    print(f"\n{len(packed):,} rows of {arms.n_bits} bits, {share:.1%} distinct{parts}; {built}")
    print(f"{'k':>5}  {'':18}{'median ms':>10}{'mean':>9}{'p99':>9}{'x faster: median':>18}{'mean':>7}{'p99':>7}")
    for k in ks:
        arms.ask(queries[:20], k)
        took = np.concatenate([arms.ask(queries[at : at + TURN], k) for at in range(0, len(queries), TURN)])
        figures = np.stack([np.median(took, 0), took.mean(0), np.quantile(took, 0.99, axis=0)], 1)
        for arm, own in zip(ARMS, figures, strict=True):
            ratios = figures[0] / own
            line = f"{k:>5}  {arm:18}{own[0]:10.3f}{own[1]:9.3f}{own[2]:9.3f}"
            print(line + f"{ratios[0]:18.1f}{ratios[1]:7.1f}{ratios[2]:7.1f}", flush=True)
            named = dict(zip(FIGURES, [*own.tolist(), *ratios.tolist()], strict=True))
            case = {"bits": arms.n_bits, "rows": len(packed), "distinct": share, "queries": len(queries)}
            told.append({**case, "k": k, "arm": arm, **named})
        print(f"{'':7}multihash: {arms.stages(queries, k)}")
    for count in threads:
        speeds = arms.batch(queries, count)
        listed = ", ".join(f"{arm} {speed:.1f} G/s" for arm, speed in speeds.items())
        print(f"  {BATCH:,} queries at once, k = 10, {count} threads: {listed}", flush=True)
        case = {"bits": arms.n_bits, "rows": len(packed), "batch": BATCH, "threads": count, "k": 10}
        told += [{**case, "arm": arm, "g_per_s": speed} for arm, speed in speeds.items()]
    return told


def main() -> None:
    """Measure all sizes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("codes", type=Path, help="uint8[N, bytes of a code]")
    parser.add_argument("queries", type=Path, help="of the same width")
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000, 10_000_000])
    parser.add_argument("--k", type=int, nargs="+", default=[1, 10, 100, 1000])
    parser.add_argument("--asked", type=int, default=1000, help="queries")
    parser.add_argument("--threads", type=int, nargs="+", default=[2], help="of a batch")
    parser.add_argument("--distinct", action="store_true", help="one row of each code")
    add_output(parser, "search-64")
    asked = parser.parse_args()
    codes, queries = np.load(asked.codes, mmap_mode="r"), np.load(asked.queries)[: asked.asked]
    if asked.distinct:
        codes = codes[np.sort(np.unique(codes.view(f"V{codes.shape[1]}")[:, 0], return_index=True)[1])]
    print(describe(*PACKAGES))
    told: list[dict[str, Any]] = []
    for rows in asked.rows:
        if rows > len(codes):
            print(f"\n{rows:,} rows: there are only {len(codes):,}")
            continue
        told += measure(np.ascontiguousarray(codes[:rows]), queries, asked.k, asked.threads)
    write(asked.json, told, PACKAGES)


if __name__ == "__main__":
    main()
