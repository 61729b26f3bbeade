"""Shards: an index in several parts, each with its share of the rows.

A row lies in the shard that its id says: ``id % S``. So every shard holds the same mixture of rows, a question costs
all of them the same, and where a row lies is known without asking. Each part is an index of its own, of any kind, with
its own added and removed rows. The first k of S ordered answers are the first k of all rows, ties by id included, so
the answer of exact shards is that of one exact index.

Each shard alone would have to look for its own k nearest rows, of which most are too far. So where codes are looked up,
all shards are asked for what lies within a radius that mostly holds k rows of all of them. Where it holds fewer, the
k-th row that was seen says how far the k nearest are at most, and that is the radius of a second look.

Where a search takes long enough, the shards are searched at the same time, in threads.

Legend: S shards, Q queries, k neighbours.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from aepipe.codes.bitcodes import BitCodes, check_same
from aepipe.errors import QueryError
from aepipe.index import hamming
from aepipe.index.cost_model import Reach, bound, scan_cost
from aepipe.index.hamming import DeltaIndex, RowIndex
from aepipe.index.hits import Hits, RaggedHits
from aepipe.index.postings import checked_ids

Ids = NDArray[np.int64]
Part: TypeAlias = RowIndex | DeltaIndex
Result = TypeVar("Result")

MOSTLY = 0.8
"""Share of questions whose k nearest rows should lie within the radius that is asked for first."""
WORTH_THREADS = 1e6
"""Expected nanoseconds of a search in one shard, from which on all are searched at the same time."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One of several shards.

    Attributes:
        number: 0..S-1; people count from 1.
        count: S.
    """

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read ``2/4``, the second of four.

        Raises:
            QueryError: it is no such text.
        """
        found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text.strip())
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            raise QueryError(f"{text!r}: a shard is wanted as 2/4, the second of four")
        return cls(int(found[1]) - 1, int(found[2]))

    def __str__(self) -> str:
        return f"{self.number + 1}/{self.count}"

    def own(self, ids: Ids) -> Ids:
        """Return those of some ids that lie in this shard."""
        own: Ids = ids[ids % self.count == self.number]
        return own


def split(ids: Ids | None, count: int) -> list[Ids | None]:
    """Return the ids that lie in each of S shards; S times None for None."""
    return [None if ids is None else Shard(number, count).own(np.asarray(ids)) for number in range(count)]


def build(
    codes: BitCodes, ids: Ids, count: int, *, kind: str = "flat", options: Mapping[str, Any] | None = None
) -> Shards:
    """Build an index in shards, in memory; see :func:`aepipe.index.hamming.build`."""
    ids = checked_ids(ids)
    places = _places(ids, count)
    return Shards([hamming.build(codes[own], ids[own], kind=kind, options=options) for own in places])


def open(folders: Sequence[Path], changes: Path | None = None) -> Part | Shards:
    """Open the index of a release: one, or several shards in their order.

    Args:
        folders: of the shards, at least one.
        changes: the folder that ``save_changes`` wrote; None where rows were neither added nor removed.

    Raises:
        CorruptError: a file is missing or is not what was saved.
    """
    bases = [hamming.open(folder) for folder in folders]
    if len(bases) == 1:
        return bases[0] if changes is None else DeltaIndex.open(bases[0], changes)
    return Shards([base if changes is None else open_part(base, changes, place) for place, base in enumerate(bases)])


def open_part(base: RowIndex, changes: Path, number: int) -> DeltaIndex:
    """Open the changes of one of several shards.

    Raises:
        CorruptError: the folder does not hold changes of this shard.
    """
    return DeltaIndex.open(base, changes / str(number))


class Shards:
    """Several indexes as one.

    Its methods are those of :class:`aepipe.index.hamming.HammingIndex`; it is saved shard by shard.

    Attributes:
        n_bits: bits of a code.
        fingerprint: of the encoder that made the codes.
        parts: the shards in their order.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = list(parts)
        self.n_bits = parts[0].n_bits
        self.fingerprint = next((part.fingerprint for part in parts if part.fingerprint), "")
        self._plans: dict[int, tuple[float, int | None]] = {}

    @property
    def n_codes(self) -> int:
        """Codes that a search compares; one that several shards have counts several times."""
        return sum(part.n_codes for part in self.parts)

    @property
    def changes(self) -> dict[str, int]:
        """How many rows were added, and how many were removed, since the shards were built."""
        found = [part.changes for part in self.parts if isinstance(part, DeltaIndex)]
        return {name: sum(one[name] for one in found) for name in ("added", "removed")}

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def save_changes(self, folder: Path) -> None:
        """Write the changes of each shard into a folder of its own."""
        for number, part in enumerate(self.parts):
            (folder / str(number)).mkdir()
            (DeltaIndex(part) if isinstance(part, RowIndex) else part).save_changes(folder / str(number))

    def add(self, codes: BitCodes, ids: Ids) -> Shards:
        """Return an index with further rows, each in its shard; see :meth:`HammingIndex.add`."""
        check_same(self, codes)
        ids = checked_ids(ids)
        pairs = zip(self.parts, _places(ids, len(self.parts)), strict=True)
        return Shards([part.add(codes[own], ids[own]) if len(own) else part for part, own in pairs])

    def remove(self, ids: Ids) -> Shards:
        """Return an index without some rows; see :meth:`HammingIndex.remove`."""
        own = zip(self.parts, split(checked_ids(ids), len(self.parts)), strict=True)
        return Shards([part.remove(some) if some is not None and len(some) else part for part, some in own])

    def holds(self, ids: Ids) -> NDArray[np.bool_]:
        """Return which of some ids have a row, bool[n]."""
        found = np.zeros(len(ids), bool)
        for number, part in enumerate(self.parts):
            own = ids % len(self.parts) == number
            found[own] = part.holds(ids[own])
        return found

    def prefix(self, n_bits: int) -> Shards:
        """Return an index by the first bits; see :meth:`HammingIndex.prefix`."""
        return Shards([part.prefix(n_bits) for part in self.parts])

    def search(self, codes: BitCodes, k: int, where: Ids | None = None, *, threads: int = 1) -> Hits:
        """Return the k nearest rows of each code; see :meth:`HammingIndex.search`."""
        cost, radius = self._plan(k)
        if where is None and radius is not None:
            return self._by_radius(codes, k, radius, threads)
        found = self._ask(len(codes) * cost, where, lambda part, own: part.search(codes, k, own, threads=threads))
        return found[0].merge(*found[1:])

    def within(self, codes: BitCodes, radius: int, where: Ids | None = None, *, threads: int = 1) -> RaggedHits:
        """Return every row at most ``radius`` bits away; see :meth:`HammingIndex.within`."""
        expected = len(codes) * max(scan_cost(self.n_bits, part.n_codes) for part in self.parts)
        found = self._ask(expected, where, lambda part, own: part.within(codes, radius, own, threads=threads))
        return RaggedHits.merge(found)

    def _by_radius(self, codes: BitCodes, k: int, radius: int, threads: int) -> Hits:
        """Return the k nearest rows of each code: those within a radius, and where they are too few, within another."""
        hits = self._close(codes, k, radius, threads)
        far = hits.distances[:, -1].copy()  # where fewer than k were seen, more than any distance
        for limit in np.unique(far[far > radius]).tolist():
            open_ = np.flatnonzero(far == limit)
            hits.put(open_, self._close(codes[open_], k, min(limit, self.n_bits), threads))
        return hits

    def _close(self, codes: BitCodes, k: int, radius: int, threads: int) -> Hits:
        """Return the k nearest rows of each code, where rows beyond a radius may be missing."""
        expected = len(codes) * self._plan(k)[0]
        found = self._ask(expected, None, lambda part, _: part.close(codes, k, radius, threads=threads))
        return found[0].merge(*found[1:])

    def _plan(self, k: int) -> tuple[float, int | None]:
        """Return the expected nanoseconds of a query in the dearest shard, and a radius that mostly holds k rows.

        The radius is None where a shard is scanned.
        """
        if k not in self._plans:
            costs, radii = zip(*(_plan_of(part, k, len(self.parts)) for part in self.parts), strict=True)
            self._plans[k] = max(costs), None if None in radii else min(radii)
        return self._plans[k]

    def _ask(self, expected: float, where: Ids | None, ask: Callable[[Part, Ids | None], Result]) -> list[Result]:
        """Return the answers of all shards, in their order; each is expected to take some nanoseconds."""
        own = split(where, len(self.parts))
        if expected < WORTH_THREADS:
            return [ask(part, some) for part, some in zip(self.parts, own, strict=True)]
        return list(_searchers(os.getpid()).map(ask, self.parts, own))


def _places(ids: Ids, count: int) -> list[NDArray[np.intp]]:
    """Return where those of some ids stand that lie in each of S shards."""
    return [np.flatnonzero(ids % count == number) for number in range(count)]


def _plan_of(part: Part, k: int, count: int) -> tuple[float, int | None]:
    """Return the expected nanoseconds of a query in one of S shards, and the radius that is asked for first."""
    engine = part.base.engine if isinstance(part, DeltaIndex) else part.engine
    reach: Reach | None = getattr(engine, "reach", None)
    if reach is None:
        return scan_cost(part.n_bits, len(engine)), None
    alone = reach.cost(k, part.n_bits, len(engine))
    stage = reach.stage_for(k / count, MOSTLY)
    if stage is None or (cost := reach.stage(stage, part.n_bits, len(engine))) >= alone:
        return alone, None
    return cost, bound(reach.n_parts, stage)


@cache
def _searchers(process: int) -> ThreadPoolExecutor:
    """Return the threads of this process that search shards; a process that was forked off has its own."""
    return ThreadPoolExecutor(os.cpu_count() or 1, f"shards-{process}")
