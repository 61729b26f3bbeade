"""The multihash index: exact search that looks at a small part of the codes, and knows when that was enough.

The K bits are parted into m substrings. Two codes that differ in at most (r + 1) m - 1 bits differ in at most r bits of
some substring, for otherwise they would differ in at least r + 1 bits of each (the pigeonhole principle). So whoever
looks up, for each substring, every value at most r bits from the query's has seen all codes within (r + 1) m - 1 bits.
If k rows are as near as that, nothing nearer was missed: the answer is *certified*. Otherwise more bits are flipped, or
the codes are scanned. All three give the same answer.

Whether that pays is a matter of the codes. Learned ones have near neighbours, so small radii certify; but values that
many codes share make large buckets. So how far the k-th row is was measured when the index was built
(:mod:`aepipe.index.reach`), and how many codes a look-up would touch is known before they are touched: where a scan
would be cheaper, it is a scan.

Norouzi, Punjani, Fleet: Fast Exact Search in Hamming Space with Multi-Index Hashing, 2014. New here are the certificate
by rows rather than codes, and the guard.

Legend: M distinct codes, Q queries, k neighbours, m substrings, F values looked up for a query, C codes touched,
V words of a code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from aepipe.index.found import Found
from aepipe.index.reach import Reach, bound, measure, scan_cost, stage_cost
from aepipe.index.scan import Scan
from aepipe.index.tables import LIMIT, Tables, Values, Words, words_of

if TYPE_CHECKING:
    from aepipe.recipe import Options

REACH = "reach.json"
SCANNED = -1
"""The stage of a query that was answered by a scan."""
AT_ONCE = 1 << 20
"""Values that are looked up at a time, over all queries."""
MOST_BITS = 1 << 12


class MultiHash(Scan):
    """A search by look-ups, with a scan for what they cannot certify; see the module."""

    kind: ClassVar[str] = "multihash"

    def __init__(
        self, codes: Scan, offsets: NDArray[np.int64], tables: Tables, reach: Reach, options: Mapping[str, Any]
    ) -> None:
        super().__init__(codes.n_bits, codes.flat, options)
        self.tables = tables
        self.reach = reach
        self._offsets = offsets
        self._values: dict[int, Values] = {}
        self._begin: dict[int, int | None] = {}

    def save(self, folder: Path) -> None:
        """Write codes and tables into an existing folder."""
        super().save(folder)
        self.tables.save(folder)
        (folder / REACH).write_text(json.dumps(self.reach.to_dict()), encoding="utf-8")

    def nearest(self, packed: NDArray[np.uint8], k: int, threads: int = 1) -> Found:
        """Return codes that the k nearest rows of each query have; see :meth:`Scan.nearest`."""
        return self.staged(packed, k, threads)[0]

    def staged(self, packed: NDArray[np.uint8], k: int, threads: int = 1) -> tuple[Found, NDArray[np.int64]]:
        """Return the same, and by which stage each query was answered.

        Returns:
            What was found; int64[Q], how many bits were turned when the answer was certified, -1 for a scan.
        """
        stages = np.full(len(packed), SCANNED)
        begin = self._first(k)
        if begin is None or not len(packed):
            return super().nearest(packed, k, threads), stages
        if len(packed) == 1:
            found, stages[0] = self._one(words_of(packed)[0], k, begin)
            return (super().nearest(packed, k) if found is None else found), stages
        parts = []
        words, left, turned = words_of(packed), np.arange(len(packed)), np.full(len(packed), begin)
        for stage in range(begin, len(self.reach.shares)):
            now = turned == stage
            if not now.any():
                continue
            found, further = self._stage(words[left[now]], k, stage)
            parts.append((found, left[now]))
            sure = further == stage
            stages[left[now][sure]] = stage
            turned[now] = further
            now[now] = sure
            left, turned = left[~now], turned[~now]
        if len(left):
            parts.append((super().nearest(np.ascontiguousarray(packed[left]), k, threads), left))
        return (parts[0][0] if len(parts) == 1 else Found.join(parts)), stages

    def _one(self, query: Words, k: int, stage: int) -> tuple[Found | None, int]:
        """Do for one query, words[V], what :meth:`_stage` does for many, without their bookkeeping: in half the time.

        Returns:
            What answers it, and the stage; None and -1 where only a scan can tell.
        """
        while stage < len(self.reach.shares):
            begin, sizes, cheap = self._buckets(query[None], stage)
            if not cheap[0]:
                break
            positions, far = self.tables.compare(begin[0], sizes[0], query)
            kept = np.nonzero(far <= bound(self.reach.n_parts, stage))[0]
            keys = np.sort((far[kept].astype(np.int64) << 32) | positions[kept])
            keys = keys[_firsts(keys)]
            near = keys & (LIMIT - 1)
            if len(near) >= k or int((self._offsets[near + 1] - self._offsets[near]).sum()) >= k:
                return Found(np.zeros(len(near), np.int64), (keys >> 32).astype(np.uint16), near), stage
            counts = np.bincount(far, minlength=self.n_bits + 1)[None]
            stage = max(stage + 1, int(_stage_for(counts, k, self.reach.n_parts)[0]))
        return None, SCANNED

    def ball(self, packed: NDArray[np.uint8], radius: int, threads: int = 1) -> Found:
        """Return every code at most ``radius`` bits away from each query; see :meth:`Scan.ball`."""
        stages = range(len(self.reach.shares))
        stage = next((one for one in stages if bound(self.reach.n_parts, one) >= radius), None)
        if stage is None or not len(packed):
            return super().ball(packed, radius, threads)
        words = words_of(packed)
        begin, sizes, cheap = self._buckets(words, stage)
        looked_up, scanned = np.nonzero(cheap)[0], np.nonzero(~cheap)[0]
        parts = [(self._near(words[looked_up], begin[cheap], sizes[cheap], radius)[0], looked_up)]
        if len(scanned):
            parts.append((super().ball(np.ascontiguousarray(packed[scanned]), radius, threads), scanned))
        return Found.join(parts)

    def _stage(self, words: Words, k: int, stage: int) -> tuple[Found, NDArray[np.int64]]:
        """Look up what is at most ``stage`` bits away in some substring.

        Returns:
            What answers the queries that are certain by it; int64[Q], the stage itself for those, and for others the
            stage that may make them certain, or one that there is not.
        """
        at_once = max(1, AT_ONCE // len(self._values_of(stage)))
        if len(words) > at_once:
            blocks = [np.arange(at, min(at + at_once, len(words))) for at in range(0, len(words), at_once)]
            done = [self._stage(words[own], k, stage) for own in blocks]
            return Found.join([(one[0], own) for one, own in zip(done, blocks, strict=True)]), np.concatenate(
                [one[1] for one in done]
            )
        begin, sizes, cheap = self._buckets(words, stage)
        further = np.full(len(words), len(self.reach.shares))
        asked = np.nonzero(cheap)[0]
        if not len(asked):
            return Found.none(), further
        near, far = self._near(words[asked], begin[cheap], sizes[cheap], bound(self.reach.n_parts, stage))
        rows = np.bincount(near.query, self._offsets[near.positions + 1] - self._offsets[near.positions], len(asked))
        sure = rows >= k
        further[asked] = np.where(sure, stage, np.maximum(stage + 1, _stage_for(far, k, self.reach.n_parts)))
        if not sure.all():
            near = near.at(sure[near.query])
        return Found(asked[near.query], near.distances, near.positions), further

    def _buckets(self, words: Words, stage: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        """Return where each query's buckets begin, how large they are, and whether that beats a scan, bool[Q]."""
        values = self._values_of(stage)
        begin, sizes = self.tables.buckets(words, values)
        costs = stage_cost(self.n_bits, len(values), sizes.sum(axis=1))
        return begin, sizes, costs < scan_cost(self.n_bits, len(self))

    def _near(
        self, words: Words, begin: NDArray[np.int64], sizes: NDArray[np.int64], radius: int
    ) -> tuple[Found, NDArray[np.int64]]:
        """Return the codes in buckets that are within a radius, and how many are how far, int64[Q, K + 1].

        What several substrings find is counted several times, and returned once.
        """
        touched = sizes.sum(axis=1)
        query = np.repeat(np.arange(len(words)), touched)
        positions, distances = self.tables.compare(begin.ravel(), sizes.ravel(), words[query])
        far, width = distances.astype(np.int64), self.n_bits + 1
        histogram = np.bincount(query * width + far, minlength=len(words) * width).reshape(-1, width)
        kept = far <= radius
        # In one number, so that one sort puts them in order: 19 bits of query, 12 of distance, 32 of position.
        keys = np.sort((query[kept] << 44) | (far[kept] << 32) | positions[kept])
        keys = keys[_firsts(keys)]
        found = Found(keys >> 44, ((keys >> 32) & (MOST_BITS - 1)).astype(np.uint16), keys & (LIMIT - 1))
        return found, histogram

    def _first(self, k: int) -> int | None:
        """Return the stage to begin with, None for a scan."""
        if k not in self._begin:
            self._begin[k] = self.reach.first(k, self.n_bits, len(self))
        return self._begin[k]

    def _values_of(self, stage: int) -> Values:
        """Return what a stage looks up."""
        if stage not in self._values:
            self._values[stage] = Values.within(self.tables.parts, stage)
        return self._values[stage]


def _firsts(keys: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which of sorted numbers are not those before them again."""
    first = np.empty(len(keys), bool)
    first[:1] = True
    np.not_equal(keys[1:], keys[:-1], out=first[1:])
    return first


def _stage_for(far: NDArray[np.int64], k: int, n_parts: int) -> NDArray[np.int64]:
    """Return the stage that should make each query certain, given how many codes are known at which distance.

    The k-th of those known is at least as far as the k-th of all. Where fewer are known, nothing is said.
    """
    counts = far.cumsum(axis=1)
    kth = (counts < k).sum(axis=1)
    stages = -(-(kth + 1) // n_parts) - 1
    return np.where(counts[:, -1] < k, 0, stages)


def options() -> type[Options]:
    """Return the model of this kind's options; a function, so that a query need not import the recipe."""
    from pydantic import Field

    from aepipe.recipe import Options

    class Multihash(Options):
        """Look-ups by substrings.

        Attributes:
            substrings: into how many the bits are parted; 0 has it chosen by what the codes are like.
        """

        substrings: int = Field(0, ge=0, le=64)

    return Multihash


def build(codes: Scan, offsets: NDArray[np.int64], *, substrings: int = 0) -> Scan:
    """Build the tables; see :func:`aepipe.index.build`. Very few codes, or very long ones, are better scanned."""
    if len(codes) < 2 or codes.n_bits >= MOST_BITS or len(codes) >= LIMIT:
        return codes
    reach = measure(codes, offsets, n_parts=min(substrings, codes.n_bits))
    tables = Tables.build(codes.packed, reach.deal(codes))
    return MultiHash(codes, offsets, tables, reach, {"substrings": substrings})


def open(folder: Path, codes: Scan, offsets: NDArray[np.int64], options: Mapping[str, Any]) -> Scan:
    """Open a saved one; see :func:`aepipe.index.open`."""
    reach = Reach.of_dict(json.loads((folder / REACH).read_bytes()))
    tables = Tables.open(folder, codes.packed, codes.n_bits)
    if tables.n_parts != reach.n_parts:
        raise ValueError(f"{REACH} does not fit the tables")
    return MultiHash(codes, offsets, tables, reach, options)
