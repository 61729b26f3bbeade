"""What a billion pictures cost: core-hours, money, network and memory, from rates that other benchmarks have measured.

    python -m benchmarks.scale.cost [--core-hour 0.04] [--gb-month 0.023] [--save]

Rates for one core come from ``benchmarks/results``: decoding from ``ingest``, encoding from ``encode``. That of a
network is measured here, with the extra ``photos``. Prices are assumptions, and options.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.common import RESULTS, add_output, describe, read, write

KB = 25.7
"""Of a picture."""
OVERHEAD = 1.2
"""For the engine, parts that are begun again, and the last ones."""
NODES, CORES = 64, 16
ROW_BYTES = {"pixels": 64 * 64 * 3, "backbone": 1280 * 2}
CODE_BYTES, EMBEDDING_BYTES = 8, 64
PART = 10_000
DRIVER_BYTES = 20
"""Most bytes for each item that a run holds."""


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--core-hour", type=float, default=0.04, metavar="USD")
    options.add_argument("--gb-month", type=float, default=0.023, metavar="USD")
    options.add_argument("--gets", type=float, default=0.0004, metavar="USD", help="for 1,000 requests")
    add_output(options, "cost")
    given = options.parse_args()
    print(describe("numpy", "onnxruntime"), flush=True)
    rates = measured()
    print(", ".join(f"{name} {value:,.0f} rows/s of a core" for name, value in rates.items()))
    rows = list(costs(rates, given.core_hour, given.gb_month, given.gets))
    for row in rows:
        print(f"{row['what']:55} " + " ".join(f"{row[name]:>16,.2f}" for name in row if name not in {"what", "unit"}))
    prices = {"core_hour": given.core_hour, "gb_month": given.gb_month, "gets": given.gets}
    write(given.json, rows, ("numpy", "onnxruntime"), settings=rates | prices)


def measured() -> dict[str, float]:
    """Return rows a second of one core, for each kind of work."""
    decode = next(row for row in read(RESULTS / "ingest.json")["rows"] if row["arm"].endswith("decode, 1 thread"))
    encode = next(row for row in read(RESULTS / "encode.json")["rows"] if row["arm"] == "aepipe, 1 thread")
    return {"decode": decode["images_per_cpu_s"], "encode": encode["rows_per_s"], "backbone": backbone()}


def backbone(count: int = 60) -> float:
    """Return pictures a second of EfficientNet-Lite0 on one thread."""
    import onnxruntime

    from aepipe.learn.onnx_export import efficientnet

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(efficientnet("efficientnet-lite0", (224, 224)), options)
    picture = {session.get_inputs()[0].name: np.zeros((1, 3, 224, 224), np.float32)}
    session.run(None, picture)
    began = time.perf_counter()
    for _ in range(count):
        session.run(None, picture)
    return count / (time.perf_counter() - began)


def costs(rates: dict[str, float], core_hour: float, gb_month: float, gets: float) -> Iterator[dict[str, Any]]:
    """Yield a row for each thing that costs, for 1e9 and 1e10 pictures, by pixels and by a network."""
    cases = [(f"{count:.0e} {kind}", count, kind) for count in (1e9, 1e10) for kind in ROW_BYTES]

    def row(what: str, unit: str, value: Any) -> dict[str, Any]:
        return {"what": what, "unit": unit} | {name: value(count, kind) for name, count, kind in cases}

    def read_hours(count: float, kind: str) -> float:
        seconds = 1 / rates["decode"] + (1 / rates["backbone"] if kind == "backbone" else 0)
        return count * seconds / 3600

    def hours(count: float, kind: str) -> float:
        return OVERHEAD * (read_hours(count, kind) + count / rates["encode"] / 3600)

    def network(count: float, kind: str) -> float:
        return count * KB * 8e3 / 1e9 / (3600 * hours(count, kind) / NODES / CORES)

    yield row("read, decode, and the network", "core-hours", read_hours)
    yield row("encode", "core-hours", lambda count, _: count / rates["encode"] / 3600)
    yield row("together, with a fifth more for all else", "core-hours", hours)
    yield row("that costs", "USD", lambda count, kind: hours(count, kind) * core_hour)
    yield row(f"on {NODES} machines of {CORES} cores", "hours", lambda count, kind: hours(count, kind) / NODES / CORES)
    yield row("originals", "TB", lambda count, _: count * KB / 1e9)
    yield row("originals in object storage", "USD a month", lambda count, _: count * KB / 1e6 * gb_month)
    yield row("requests, one for each picture", "USD", lambda count, _: count / 1000 * gets)
    yield row(f"requests, shards of {PART:,}", "USD", lambda count, _: count / PART / 1000 * gets)
    yield row("network of all machines", "Gbit/s", network)
    yield row("rows, where they are kept", "TB", lambda count, kind: count * ROW_BYTES[kind] / 1e12)
    yield row("codes of 64 bits", "GB", lambda count, _: count * CODE_BYTES / 1e9)
    yield row("embeddings of 64 bytes", "GB", lambda count, _: count * EMBEDDING_BYTES / 1e9)
    yield row("memory of the run, at most", "GB", lambda count, _: 0.2 + count * DRIVER_BYTES / 1e9)


if __name__ == "__main__":
    main()
