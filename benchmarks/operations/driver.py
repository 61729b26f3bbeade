"""Memory and processor seconds of the process that lists a large collection and joins its parts.

    python -m benchmarks.operations.driver [--items 1000000 10000000]

The items are made up, and so is the work on them: a part is written from its listing, one byte for each row, by an
engine that decodes nothing. What is left is what one process does however many machines decode: list the items, find
keys that come twice, give ids, and write the list. Two nights follow each other: the first, and one in which every
hundredth part has a new item. The peak is that of the process, from the start of a
night on, without what it took before; each number of items has a process of its own. The arm *one table* is what a
collection takes that is not cut into parts.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from aepipe.engines import Done, Needs, Part, Work
from aepipe.pipeline.ingest import ingest
from aepipe.pipeline.parts.listing import columns_of, part_read
from aepipe.pipeline.parts.reading import STAGE, VERSION, note
from aepipe.sources.files import InMemory
from aepipe.sources.item import Item
from aepipe.sources.passed_over import PassedOver
from aepipe.store import layout
from aepipe.store.artifacts import Ref, Store
from aepipe.store.kept import key_hash
from aepipe.store.rows import Rows
from aepipe.store.rows_writer import RowsWriter
from benchmarks.common import Row, add_output, describe, write

PACKAGES = ("numpy", "pyarrow")
ALLOWED = 200e6
"""Bytes that the process may take besides those for each item."""
EVERY = 100
"""Parts of 10,000 items, of which the last night changes one."""


@dataclass(slots=True)
class MadeUp:
    """A collection without files."""

    count: int
    part: int = 10_000
    changed: bool = False
    kind: str = "made-up"
    name: str = "made-up"
    location: Path = Path("/made-up")
    roots: tuple[Path, ...] = ()
    shape: tuple[int, ...] = (1,)
    dtype: str = "uint8"
    spans: list[dict[str, Any]] | None = None
    max_bad_share: float = 0.0
    max_vanished_share: float = 0.5
    workers: int = 1
    test_share: float = 0.0
    kept: float = 1.0
    passed_over: PassedOver = field(default_factory=PassedOver)
    left_out: Mapping[str, str] = field(default_factory=dict)
    dates: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def fitted(self, known: Mapping[str, Any] | None) -> Self:
        """Return the source itself."""
        return self

    def under(self, known: Mapping[str, Any] | None) -> Self:
        """Return the source itself."""
        return self

    def keep_types(self, known: pa.Schema) -> None:
        """There are no columns."""

    def features(self) -> dict[str, Any]:
        """Return what decides a row."""
        return {"kind": self.kind}

    def schema(self) -> pa.Schema:
        """Return no columns."""
        return pa.schema([])

    def total(self) -> int:
        """Return the number of items."""
        return self.count

    def items(self) -> Iterator[Item]:
        """Yield the items; where they are changed, one is new now and then."""
        for number in range(self.count):
            key = f"shard-{number // 10_000:06d}/{number % 10_000:04d}.jpg"
            if self.changed and number % (EVERY * 10_000) == 5_000:
                yield Item(f"{key}.new", f"{key}.new", InMemory(b"new"))
            yield Item(key, key, InMemory(number.to_bytes(8, "little")))

    def split(self, item: Item, sha256: bytes) -> str:
        """Return the split of all items."""
        return "train"

    def row(self, data: bytes, key: str) -> NDArray[np.generic]:
        """Return one byte."""
        return np.frombuffer(data[:1], np.uint8)


class Undecoding:
    """An engine that makes parts of their listings without a look at an item."""

    def __init__(self, store: Store, source: MadeUp) -> None:
        self._store = store
        self._source = source
        self.seconds = 0.0
        self.parts = 0

    def map(self, work: Work, parts: Sequence[Part], needs: Needs) -> Iterator[Done]:
        """Yield what has become of each part."""
        for part in parts:
            began = time.process_time()
            made, rows = self._made(Ref.parse(part.ref.split()[0]))
            self.seconds += time.process_time() - began
            self.parts += 1
            yield Done(part.number, str(made), rows)

    def _made(self, listed: Ref) -> tuple[Ref, int]:
        known = part_read(self._store, listed, self._source)
        if known is not None:
            return known, self._store.manifest(known).facts["rows"]
        file = self._store.path(listed) / layout.Listing.TABLE
        table = pq.read_table(file, columns=["key", "place", "label", "data"])
        keys, data = table.column("key").to_pylist(), table.column("data").to_pylist()
        inputs = {"stage": STAGE, "version": VERSION, "source": listed.digest, "features": self._source.features()}
        inputs |= {"columns": columns_of(self._source)}
        with self._store.draft("rows") as draft, RowsWriter(draft.path, shape=(1,), columns=pa.schema([])) as writer:
            writer.extend(
                pa.table(
                    {
                        "id": pa.array(np.arange(len(keys))),
                        "key": table.column("key"),
                        "sha256": pa.array([hashlib.sha256(one).digest() for one in data], pa.binary(32)),
                        "place": table.column("place"),
                        "label": table.column("label"),
                        "split": pa.array(["train"] * len(keys)),
                        "features": pa.array([one[:1] for one in data], pa.binary(1)),
                    }
                )
            )
            writer.close(source=listed.digest, next_id=len(keys))
            np.save(draft.path / layout.Rows.HASHES, np.fromiter(map(key_hash, keys), np.uint64, len(keys)))
            heads = [int.from_bytes(hashlib.sha256(one).digest()[:8], "little") for one in data]
            np.save(draft.path / layout.Rows.HEADS, np.array(heads, np.uint64))
            made = draft.finish(inputs, Rows(draft.path).facts)
        note(self._store, listed, self._source, made, np.zeros(len(keys), np.uint64))
        return made, len(keys)


def peak(since: int = 0) -> int:
    """Return the largest number of bytes that this process had in memory since the last reset, above a number."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    (found,) = (line for line in lines if line.startswith("VmHWM"))
    return int(found.split()[1]) * 1024 - since


def reset() -> int:
    """Let the peak begin again, and return what this process has in memory now."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return peak()


def nights(count: int, part: int) -> Iterator[dict[str, Any]]:
    """Give the figures of each night."""
    with TemporaryDirectory(prefix="aepipe-benchmark-") as folder:
        store, previous = Store(Path(folder)), None
        told = (("first", False), (f"1 part of {EVERY} has changed", True))
        for night, changed in told if part < count else told[:1]:
            source = MadeUp(count, part, changed)
            engine = Undecoding(store, source)
            held, began = reset(), time.process_time()
            previous = ingest(store, source, previous=previous, engine=engine)
            seconds = time.process_time() - began
            most = peak(held)
            yield {
                "form": "parts" if part < count else "one table",
                "items": count,
                "night": night,
                "parts": len(store.parts(previous)),
                "made": engine.parts,
                "peak_mb": most / 1e6,
                "an_item": most / count,
                "allowed_mb": (20 * count + ALLOWED) / 1e6,
                "cpu_s": seconds - engine.seconds,
            }


def main() -> None:
    """Run each number of items in a process of its own."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--items", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--one", type=int, nargs=2, metavar=("ITEMS", "PART"), help="only this, in this process")
    add_output(parser, "driver")
    asked = parser.parse_args()
    if asked.one:
        for row in nights(*asked.one):
            print(json.dumps(row), flush=True)
        return
    print(describe(*PACKAGES), f"load {os.getloadavg()[0]:.1f}", sep=", ")
    rows: list[Row] = []
    for count, part in [(asked.items[0], 10**9), *((count, 10_000) for count in asked.items)]:
        command = (sys.executable, "-m", "benchmarks.operations.driver", "--one", str(count), str(part))
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        found = [json.loads(line) for line in done.stdout.splitlines()]
        print(*map(line_of, found), sep="\n", flush=True)
        rows += found
    write(asked.json, rows, PACKAGES)


def line_of(row: Row) -> str:
    """Return a row as a line of text."""
    figures = f"{row['peak_mb']:8.0f} MB of {row['allowed_mb']:6.0f}, {row['an_item']:6.1f} B an item"
    return f"{row['items']:>12,} {row['form']:10} {row['night']:28} {figures}, {row['cpu_s']:7.1f} s of CPU"


if __name__ == "__main__":
    main()
