"""The multihash index: exact search that looks at a small part of the codes, and knows when that was enough.

The K bits are parted into m substrings. Two codes that differ in at most (r + 1) m - 1 bits differ in at most r bits of
some substring, for otherwise they would differ in at least r + 1 bits of each (the pigeonhole principle). So whoever
looks up, for each substring, every value at most r bits from the query's has seen all codes within (r + 1) m - 1 bits.
If k rows are as near as that, nothing nearer was missed: the answer is *certified*. Otherwise more bits are flipped, or
the codes are scanned. All three give the same answer.

Whether that pays is a matter of the codes. Learned ones have near neighbours, so small radii certify; but values that
many codes share make large buckets. So how far the k-th row is was measured when the index was built
(:mod:`aepipe.index.cost_model`), and how many codes a look-up would touch is known before they are touched: where a scan
would be cheaper, it is a scan.

Norouzi, Punjani, Fleet: Fast Exact Search in Hamming Space with Multi-Index Hashing, 2014. New here are the certificate
by rows rather than codes, and the guard.

Legend: M distinct codes, Q queries, k neighbours, m substrings, F values looked up for a query, C codes touched,
V words of a code.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from aepipe.codes.bitcodes import Words, words_of
from aepipe.index.cost_model import Reach, bound, deal, measure, scan_cost, stage_cost
from aepipe.index.hash_tables import LIMIT, Tables, Values, fill
from aepipe.index.hits import CodeHits
from aepipe.index.scan import Scan

if TYPE_CHECKING:
    from aepipe.recipe import Options

REACH = "reach.json"
SCANNED = -1
"""The stage of a query that was answered by a scan."""
MOST_BITS = 1 << 16
SHARED = 300_000.0
"""Look-ups that are expected to take so many nanoseconds a query gain from threads; others are steps so small that
threads would wait for Python's lock at each."""
PIECES = 4
"""Each thread gets its queries in so many pieces."""

Keys = NDArray[np.int64]
"""Codes that were found: distance and position in one number, so that one sort puts them in order."""
NOTHING: Keys = np.zeros(0, np.int64)
Answer = TypeVar("Answer")


class MultiHash(Scan):
    """A search by look-ups, with a scan for what they cannot certify; see the module."""

    kind: ClassVar[str] = "multihash"

    def __init__(
        self, codes: Scan, offsets: NDArray[np.int64], tables: Tables, reach: Reach, options: Mapping[str, Any]
    ) -> None:
        super().__init__(codes.n_bits, codes.flat, options, codes.folder)
        self.tables = tables
        self.reach = reach
        self._offsets = offsets
        self._scan_cost = scan_cost(codes.n_bits, len(codes))
        self._values: dict[int, Values] = {}
        self._plans: dict[int, tuple[float, int | None]] = {}

    def save(self, folder: Path) -> None:
        """Write codes and tables into an existing folder."""
        super().save(folder)
        self.tables.save(folder)
        (folder / REACH).write_text(json.dumps(self.reach.to_dict()), encoding="utf-8")

    def nearest(self, packed: NDArray[np.uint8], k: int, threads: int = 1) -> CodeHits:
        """Return codes that the k nearest rows of each query have; see :meth:`Scan.nearest`."""
        return self.staged(packed, k, threads)[0]

    def staged(self, packed: NDArray[np.uint8], k: int, threads: int = 1) -> tuple[CodeHits, NDArray[np.int64]]:
        """Return the same, and by which stage each query was answered.

        Returns:
            What was found; int64[Q], how many bits were turned when the answer was certified, -1 for a scan.
        """
        cost, begin = self._plan(k)
        own, queries = _own_threads(cost, threads), max(1, len(packed))
        # A scan gains from threads what they promise.
        dear = cost / min(own, queries) > self._scan_cost / min(threads, queries)
        if begin is None or dear or not len(packed):
            return super().nearest(packed, k, threads), np.full(len(packed), SCANNED)
        answers = self._each(packed, own, lambda query: self._certain(query, k, begin))
        found, scanned = _joined([keys for keys, _ in answers])
        found = found.completed(len(packed), scanned, lambda open_: Scan.nearest(self, packed[open_], k, threads))
        return found, np.array([stage for _, stage in answers])

    def ball(self, packed: NDArray[np.uint8], radius: int, threads: int = 1) -> CodeHits:
        """Return every code at most ``radius`` bits away from each query; see :meth:`Scan.ball`."""
        stages = range(len(self.reach.shares))
        stage = next((one for one in stages if bound(self.reach.n_parts, one) >= radius), None)
        if stage is None or not len(packed):
            return super().ball(packed, radius, threads)
        touched = self.reach.shares[stage] * len(self)
        own = _own_threads(stage_cost(self.n_bits, len(self._values_of(stage)), touched), threads)
        answers = self._each(packed, own, lambda query: self._within(query, radius, stage))
        found, scanned = _joined(answers)
        return found.completed(len(packed), scanned, lambda open_: Scan.ball(self, packed[open_], radius, threads))

    def _each(self, packed: NDArray[np.uint8], threads: int, answer: Callable[[Words], Answer]) -> list[Answer]:
        """Return the answer to each query."""
        queries = list(words_of(packed))
        if threads == 1 or len(queries) == 1:
            return [answer(query) for query in queries]
        size = -(-len(queries) // (PIECES * threads))
        pieces = [queries[start : start + size] for start in range(0, len(queries), size)]
        with ThreadPoolExecutor(threads) as pool:
            answers = pool.map(lambda piece: [answer(query) for query in piece], pieces)
            return [one for some in answers for one in some]

    def _certain(self, query: Words, k: int, stage: int) -> tuple[Keys | None, int]:
        """Look up more and more, until the answer to a query, words[V], is certain.

        Returns:
            The codes, and the stage that made it certain; None and -1 where only a scan can tell.
        """
        while stage < len(self.reach.shares):
            touched = self._touched(query, stage)
            if touched is None:
                break
            positions, far = touched
            keys = _first(_near(positions, far, bound(self.reach.n_parts, stage)), k, k * self.reach.n_parts)
            near = keys & (LIMIT - 1)
            if len(near) == k or int((self._offsets[near + 1] - self._offsets[near]).sum()) >= k:
                return keys, stage
            stage = max(stage + 1, _stage_for(far, k, self.reach.n_parts))
        return None, SCANNED

    def _within(self, query: Words, radius: int, stage: int) -> Keys | None:
        """Return all codes within a radius that a stage is certain of; None where a scan is cheaper."""
        touched = self._touched(query, stage)
        if touched is None:
            return None
        return _distinct(_near(*touched, radius))

    def _touched(self, query: Words, stage: int) -> tuple[NDArray[np.uint32], NDArray[np.uint16]] | None:
        """Return the codes that a stage looks at, and how far they are; None where a scan is cheaper."""
        values = self._values_of(stage)
        begin, sizes = self.tables.buckets(query, values)
        if stage_cost(self.n_bits, len(values), float(sizes.sum())) >= self._scan_cost:
            return None
        return self.tables.compare(begin, sizes, query)

    def _plan(self, k: int) -> tuple[float, int | None]:
        """Return what a query is expected to cost, and the stage to begin with, None for a scan."""
        if k not in self._plans:
            self._plans[k] = self.reach.plan(k, self.n_bits, len(self))
        return self._plans[k]

    def _values_of(self, stage: int) -> Values:
        """Return what a stage looks up."""
        if stage not in self._values:
            self._values[stage] = Values.within(self.tables.parts, stage)
        return self._values[stage]


def _own_threads(cost: float, threads: int) -> int:
    """Return over how many of some threads look-ups of that cost are spread."""
    return threads if cost >= SHARED else 1


def _near(positions: NDArray[np.uint32], far: NDArray[np.uint16], radius: int) -> Keys:
    """Return the codes within a radius, in any order; what several substrings found is there several times."""
    kept = np.nonzero(far <= radius)[0]
    keys: Keys = (far[kept].astype(np.int64) << 32) | positions[kept]
    return keys


def _first(keys: Keys, k: int, most: int) -> Keys:
    """Return the first k different ones, in order; among the first ``most`` there probably are so many."""
    if len(keys) > 4 * most:
        found = _distinct(np.partition(keys, most)[:most])
        if len(found) >= k:
            return found[:k]
    return _distinct(keys)[:k]


def _distinct(keys: Keys) -> Keys:
    """Return different ones, in order."""
    keys = np.sort(keys)
    first = np.empty(len(keys), bool)
    first[:1] = True
    np.not_equal(keys[1:], keys[:-1], out=first[1:])
    return keys[first]


def _joined(answers: Sequence[Keys | None]) -> tuple[CodeHits, NDArray[np.int64]]:
    """Return what was found for queries, one after another, and the numbers of those without an answer."""
    keys = [NOTHING if one is None else one for one in answers]
    all_keys = keys[0] if len(keys) == 1 else np.concatenate(keys)
    query = np.repeat(np.arange(len(keys)), [len(one) for one in keys])
    found = CodeHits(query, (all_keys >> 32).astype(np.uint16), all_keys & (LIMIT - 1))
    return found, np.array([number for number, one in enumerate(answers) if one is None], np.int64)


def _stage_for(far: NDArray[np.uint16], k: int, n_parts: int) -> int:
    """Return the stage that should make a query certain, given how far some codes are.

    The k-th of those known is at least as far as the k-th of all. Where fewer are known, nothing is said.
    """
    if len(far) < k:
        return 0
    kth = int(np.partition(far, k - 1)[k - 1])
    return -(-(kth + 1) // n_parts) - 1


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
    """Build the tables; see :func:`aepipe.index.hamming.build`. Very few codes, or very long ones, are better scanned."""
    reach = looked_at(codes, offsets, substrings=substrings)
    return codes if reach is None else filled(codes, offsets, reach, {"substrings": substrings})


def looked_at(codes: Scan, offsets: NDArray[np.int64], *, substrings: int = 0) -> Reach | None:
    """Measure what look-ups would be like; None where codes are so few, or so long, that they are better scanned."""
    if len(codes) < 2 or codes.n_bits >= MOST_BITS or len(codes) >= LIMIT:
        return None
    return measure(codes, offsets, n_parts=min(substrings, codes.n_bits))


def filled(codes: Scan, offsets: NDArray[np.int64], reach: Reach, options: Mapping[str, Any]) -> MultiHash:
    """Fill the tables of as many substrings as was found best; they are made where the codes are."""
    tables = fill(codes.packed, deal(codes, reach.n_parts), codes.folder)
    return MultiHash(codes, offsets, tables, reach, options)


def open(folder: Path, codes: Scan, offsets: NDArray[np.int64], options: Mapping[str, Any]) -> Scan:
    """Open a saved one; see :func:`aepipe.index.hamming.open`."""
    reach = Reach.of_dict(json.loads((folder / REACH).read_bytes()))
    tables = Tables.open(folder, codes.packed, codes.n_bits)
    if tables.n_parts != reach.n_parts:
        raise ValueError(f"{REACH} does not fit the tables")
    return MultiHash(codes, offsets, tables, reach, options)
