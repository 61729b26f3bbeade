"""Reading the items of a source in many threads: bytes, digest, row.

Threads, not processes: Pillow and hashlib let go of Python's lock while they work, and no row has to be sent from one
process to another (benchmarks/training/ingest.py). Items that take next to no time are read in the thread that
asks: handing that lock around would take longer than they do.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from aepipe.errors import ItemError
from aepipe.sources.files import Refused, WholeFile
from aepipe.sources.item import Decode, Item, Source

Find: TypeAlias = Callable[[str, bytes], int]
_CHUNK = 16  # items that a thread takes at once
_WINDOW = 3  # chunks under way per thread
_QUICK = 2.5e-4  # seconds that an item takes at most for threads not to pay
_TRIED = 64  # chunks read by threads before one is timed again
_GONE = Refused("read already")


@dataclass(frozen=True, slots=True)
class Outcome:
    """One item after reading.

    Attributes:
        item: the item.
        sha256: of its bytes; empty where they could not be read.
        features: its row; None where it is known already, or bad.
        known: what ``find`` gave; -1 for a row that is not known.
        reason: why it is bad; None if it is not.
    """

    item: Item
    sha256: bytes = b""
    features: NDArray[np.generic] | None = None
    known: int = -1
    reason: str | None = None


def read_all(source: Source, find: Find | None = None, row: Decode | None = None) -> Iterator[Outcome]:
    """Read, hash and decode the items of a source in many threads.

    Args:
        source: whose items.
        find: gives for a key and the sha256 of its bytes a number >= 0 where the row is known already and need not be
            decoded; none is known where it is None.
        row: makes rows of bytes, in any thread; the source does where it is None.

    Returns:
        the outcomes in the source's order, whatever the number of threads. The window of items under way is bounded.
    """

    def work(items: list[Item]) -> list[Outcome]:
        return [_read(item, row or source.row, find or _unknown) for item in items]

    threads = source.workers or len(os.sched_getaffinity(0))
    chunks = _chunks(_unique(source.items()))
    waiting: deque[Future[list[Outcome]]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="ingest") as pool:
        try:
            while chunk := next(chunks, None):
                done, quick = _timed(work, chunk)
                yield from done
                for one in () if quick else islice(chunks, _TRIED):
                    waiting.append(pool.submit(work, one))
                    if len(waiting) >= _WINDOW * threads:
                        yield from waiting.popleft().result()
                while waiting:
                    yield from waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _timed(work: Callable[[list[Item]], list[Outcome]], chunk: list[Item]) -> tuple[list[Outcome], bool]:
    """Read some items here, and say whether that was quick."""
    began = time.perf_counter()
    done = work(chunk)
    return done, time.perf_counter() - began < _QUICK * len(chunk)


def _unknown(_: str, __: bytes) -> int:
    """Know no row."""
    return -1


def _read(item: Item, row: Decode, find: Find) -> Outcome:
    """Read, hash, and decode one item unless its features are known."""
    try:
        data = item.read()
        sha256 = hashlib.sha256(data).digest()
        known = find(item.key, sha256)
        features = row(data, item.key) if known < 0 else None
    except ItemError as error:
        return Outcome(_without_bytes(item), reason=error.reason)
    return Outcome(_without_bytes(item), sha256, features, known)


def _without_bytes(item: Item) -> Item:
    """Return an item that no longer holds its bytes; a file never did."""
    if isinstance(item.reader, WholeFile):
        return item
    return Item(item.key, item.place, _GONE, item.label, item.split, item.columns)


def _unique(items: Iterator[Item]) -> Iterator[Item]:
    """Refuse items whose key another had before."""
    seen: set[str] = set()
    for item in items:
        yield item if item.key not in seen else replace(item, reader=Refused("duplicate key"))
        seen.add(item.key)


def _chunks(items: Iterator[Item]) -> Iterator[list[Item]]:
    """Cut into lists."""
    while chunk := list(islice(items, _CHUNK)):
        yield chunk
