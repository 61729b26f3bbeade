"""Bytes that a night writes of a large collection of which 1 % has changed, and what the items of a release take.

    python -m benchmarks.scale.night [--items 200000] [--part 3125] [--save]

The items are made up, without labels and columns, and so is the work on them (:mod:`benchmarks.operations.driver`); the
encoder is real, 1 to 8 to 64 bits. After the first night, 1 % of the items have other bytes: in the second night they
follow each other, as where a folder or an archive has changed, and in the third they are scattered over all. Keys
and places are written twice in each night: as one segment, as versions before did, and as a segment for each part. The
index is one of as many rows with codes of their own, and is the same in every night. Seconds are those of the processor
of this process; the peak is what it takes above what it had before.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from aepipe.codes.bitcodes import BitCodes
from aepipe.engines.local import Local
from aepipe.index import hamming
from aepipe.pipeline.encode import encode_all
from aepipe.pipeline.ingest import ingest
from aepipe.pipeline.publish import write_all_items, write_items
from aepipe.sources.files import InMemory
from aepipe.sources.item import Item
from aepipe.store.artifacts import Ref, Store
from benchmarks.common import add_output, describe, write
from benchmarks.made_up import N_BITS, drawn
from benchmarks.operations.driver import MadeUp, Undecoding, peak, reset
from tests.support.encoders import write_encoder

PACKAGES = ("numpy", "pyarrow", "onnxruntime", "faiss-cpu")
ARMS = ("one_mb", "items_mb")
CHANGED = 100
"""One item of so many has changed."""


@dataclass(slots=True)
class Night(MadeUp):
    """A collection without files, of which some items have other bytes than at first."""

    other: range = range(0)

    def items(self) -> Iterator[Item]:
        """Yield the items."""
        for number in range(self.count):
            key = f"photos/shard-{number // 10_000:06d}/{number % 10_000:04d}.jpg"
            yield Item(key, key, InMemory(number.to_bytes(8, "little") + (b"new" if number in self.other else b"")))


def main() -> None:
    """Run the nights, and print what each has written."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=200_000)
    parser.add_argument("--part", type=int, default=3125, help="items of a part")
    add_output(parser, "night")
    asked = parser.parse_args()
    print(describe(*PACKAGES), f"load {os.getloadavg()[0]:.1f}", sep=", ", flush=True)
    few = asked.items // CHANGED
    nights = {
        "first": range(0),
        "1 % in one place": range(asked.items // 2, asked.items // 2 + few),
        "1 % scattered": range(0, asked.items, CHANGED),
    }
    with TemporaryDirectory(prefix="aepipe-benchmark-") as folder:
        kept = Kept(Path(folder))
        rows = [kept.night(name, Night(asked.items, asked.part, other=other)) for name, other in nights.items()]
    index = index_of(asked.items)
    for row in rows:
        row["index_mb"] = index
        row["before_mb"], row["all_mb"] = (row["rows_mb"] + row["codes_mb"] + row[one] + index for one in ARMS)
        print(row, flush=True)
    write(asked.json, rows, PACKAGES, settings={"items": asked.items, "part": asked.part})


class Kept:
    """A store, and the rows and codes of the night before."""

    def __init__(self, folder: Path) -> None:
        self._store, self._root = Store(folder / "store"), folder / "photos"
        with self._store.draft("model") as draft:
            write_encoder(draft.path, shape=(1,), hidden=(8,), n_bits=64)
            self._model = draft.finish({"benchmark": "night"})
        self._rows: Ref | None = None
        self._codes: list[Ref] = []

    def night(self, name: str, source: Night) -> dict[str, Any]:
        """Read and encode the source, write its items both ways, and return the figures."""
        store, before = self._store, self._rows
        there = {ref for kind in ("listing", "rows", "segment") for ref in store.refs(kind)}
        rows = ingest(store, source, previous=before, engine=Undecoding(store, source))
        self._codes = encode_all(store, self._model, rows, known=self._codes, before=before, engine=Local(1))
        self._rows, parts = rows, store.parts(rows)
        items, each = timed(lambda: write_all_items(store, rows, self._root))
        one, whole = timed(lambda: write_items(store, rows, self._root))

        def written(refs: Sequence[Ref]) -> float:
            return sum(store.size(ref) for ref in refs if ref not in there) / 1e6

        found: dict[str, Any] = {"night": name, "parts": len(parts), "made": len(set(parts) - there)}
        found |= {"rows_mb": written([rows, *parts]), "codes_mb": written(self._codes)}
        found |= {"items_mb": written(items), "one_mb": written([one])}
        found |= {f"items_{what}": value for what, value in each.items()}
        found |= {f"one_{what}": value for what, value in whole.items()}
        return found


def index_of(rows: int) -> float:
    """Return the MB of an index of so many rows with codes of their own, which every night writes."""
    codes = BitCodes(drawn(np.random.default_rng(0), rows), N_BITS, "")
    with TemporaryDirectory(prefix="aepipe-benchmark-") as folder:
        hamming.build(codes, np.arange(rows)).save(Path(folder))
        return sum(file.stat().st_size for file in Path(folder).iterdir()) / 1e6


def timed(call: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """Return what a function returns, the seconds of the processor that it took, and its peak in MB."""
    held, began = reset(), time.process_time()
    found = call()
    return found, {"s": time.process_time() - began, "peak_mb": peak(held) / 1e6}


if __name__ == "__main__":
    main()
