"""Read the items of a source in many threads: bytes, digest, row.

Threads, not processes: Pillow and hashlib release Python's lock while they work, and no row has to be sent from one
process to another (benchmarks/training/ingest.py measures both). Items that take very little time are read in the
calling thread: passing the lock around would take longer than reading them.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import islice
from threading import Lock
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from aepipe.errors import EmptyItemError, ItemError
from aepipe.sources.files import InMemory, Refused, WholeFile, is_large
from aepipe.sources.item import Decode, Item, Source

Find: TypeAlias = Callable[[str, bytes], int]
Seen: TypeAlias = Callable[[Item], "tuple[int, int, bytes]"]
"""Returns the stamp of an item, and the number and sha256 of its row where that tells; else -1 and no bytes."""
DUPLICATE = "duplicate key"
"""The reason why the second item with a key is not read."""
_CHUNK = 16  # items that a thread takes at once
_WINDOW = 3  # chunks under way per thread
_HELD = 64 << 20  # bytes of items that their container has read already and that are under way, at most
_QUICK = 2.5e-4  # seconds per item, below which threads do not pay
_TRIED = 64  # chunks that threads read before one is timed again
_GONE = Refused("read already")
_ONE_AT_A_TIME = Lock()  # for items that are large, so that a few of them cannot fill the memory


@dataclass(frozen=True, slots=True)
class Outcome:
    """One item after reading.

    Attributes:
        item: the item.
        sha256: of its bytes; empty where they could not be read.
        features: its row; None where it is known already, or cannot be read.
        known: the number that ``find`` returned; -1 for a row that is not known.
        reason: why it has no row; None where it has one.
        empty: it can be read, but has nothing in it: it is passed over, and is no bad item.
        stamp: that it had before it was read; 0 where there is none.
    """

    item: Item
    sha256: bytes = b""
    features: NDArray[np.generic] | None = None
    known: int = -1
    reason: str | None = None
    empty: bool = False
    stamp: int = 0


def read_all(
    source: Source,
    find: Find | None = None,
    row: Decode | None = None,
    *,
    items: Iterator[Item] | None = None,
    threads: int = 0,
    seen: Seen | None = None,
) -> Iterator[Outcome]:
    """Read, hash and decode the items of a source in many threads.

    Args:
        source: with the items.
        find: returns a number >= 0 for a key and the sha256 of its bytes where the row is known already and need not be
            decoded; where it is None, no row is known.
        row: makes rows of bytes, in any thread; where it is None, the source does.
        items: some of the source's; where it is None, all of them.
        threads: to decode with; 0 takes what the source says.
        seen: tells of an item that need not be read, and has its stamp; where it is None, all are read.

    Returns:
        The outcomes in the source's order, whatever the number of threads. Only a bounded number of items is under way.
    """

    def work(items: list[Item]) -> list[Outcome]:
        return [_read(item, row or source.row, find or _unknown, seen) for item in items]

    threads = threads or source.workers or len(os.sched_getaffinity(0))
    # The source is iterated in this thread only: its iterator need not be safe for many.
    chunks = _chunks(_unique(source.items() if items is None else items))
    waiting: deque[Future[list[Outcome]]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="ingest") as pool:
        try:
            while chunk := next(chunks, None):
                done, quick = _timed(work, chunk)
                yield from done
                held = deque[int]()
                for one in () if quick else islice(chunks, _TRIED):
                    waiting.append(pool.submit(work, one))
                    held.append(sum(map(_weight, one)))
                    while len(waiting) >= _WINDOW * threads or (waiting and sum(held) > _HELD):
                        held.popleft()
                        yield from waiting.popleft().result()
                while waiting:
                    yield from waiting.popleft().result()
        finally:
            # A consumer that stops early must not wait for items that nobody wants.
            pool.shutdown(wait=False, cancel_futures=True)


def _timed(work: Callable[[list[Item]], list[Outcome]], chunk: list[Item]) -> tuple[list[Outcome], bool]:
    """Read some items in this thread; return the outcomes, and whether that was quick."""
    began = time.perf_counter()
    done = work(chunk)
    return done, time.perf_counter() - began < _QUICK * len(chunk)


def _unknown(_: str, __: bytes) -> int:
    return -1


def _read(item: Item, row: Decode, find: Find, seen: Seen | None) -> Outcome:
    """Read, hash, and decode one item unless its features are known."""
    # The stamp comes first: a file that changes while it is read has another one the next time.
    stamp, known, sha256 = (0, -1, b"") if seen is None else seen(item)
    if known >= 0:
        return Outcome(_without_bytes(item), sha256, None, known, stamp=stamp)
    try:
        with _ONE_AT_A_TIME if is_large(item.reader) else nullcontext():
            data = item.read()
            sha256 = hashlib.sha256(data).digest()
            known = find(item.key, sha256)
            features = row(data, item.key) if known < 0 else None
            del data
    except ItemError as error:
        return Outcome(_without_bytes(item), reason=error.reason, empty=isinstance(error, EmptyItemError))
    return Outcome(_without_bytes(item), sha256, features, known, stamp=stamp)


def _without_bytes(item: Item) -> Item:
    """Return an item that no longer holds its bytes; one that is a file never does."""
    if isinstance(item.reader, WholeFile):
        return item
    # Written out, because dataclasses.replace takes more than twice as long.
    return Item(item.key, item.place, _GONE, item.label, item.split, item.columns, item.whole)


def _unique(items: Iterator[Item]) -> Iterator[Item]:
    """Yield the items, but refuse those whose key another item had before."""
    seen: set[str] = set()
    for item in items:
        yield item if item.key not in seen else replace(item, reader=Refused(DUPLICATE))
        seen.add(item.key)


def _chunks(items: Iterator[Item]) -> Iterator[list[Item]]:
    """Yield some items at a time; large ones that are in memory already alone, so that few of them are."""
    chunk, weight = list[Item](), 0
    for item in items:
        chunk.append(item)
        weight += _weight(item)
        if len(chunk) == _CHUNK or weight > _HELD // 4:
            yield chunk
            chunk, weight = [], 0
    if chunk:
        yield chunk


def _weight(item: Item) -> int:
    """Return the bytes of an item that are in memory before it is read."""
    return len(item.reader.data) if isinstance(item.reader, InMemory) else 0
