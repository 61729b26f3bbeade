"""Multihash index: exact search that compares only a small part of the codes.

The K bits are split into m substrings. Two codes that differ in at most (r + 1) m - 1 bits differ in at most r bits of
some substring, for otherwise they would differ in at least r + 1 bits of each (the pigeonhole principle). So a look-up,
for each substring, of every value at most r bits from the query's finds all codes within (r + 1) m - 1 bits. If k rows
lie within that distance, nothing nearer was missed: the answer is *certified*. Otherwise more bits are flipped, or the
codes are scanned. All ways give the same answer.

Whether look-ups pay depends on the codes. Learned codes have near neighbours, so small radii certify; but values that
many codes share make large buckets. So the distance of the k-th row is measured when the index is built
(:mod:`aepipe.index.cost_model`), and a query counts the codes in its buckets before it compares any: where a scan would
be cheaper, it scans.

Norouzi, Punjani, Fleet: Fast Exact Search in Hamming Space with Multi-Index Hashing, 2014. Added here: certificates
count rows rather than codes, and the guard against large buckets.

Legend: M distinct codes, Q queries, k neighbours, m substrings, F values looked up for a query, C codes touched,
V words of a code.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, TypeVar

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
"""The stage of a query that a scan answered."""
MOST_BITS = 1 << 16
"""Codes of this length or more are scanned: their distances may exceed 16 bits."""
SHARED = 300_000.0
"""Look-ups gain from threads from this expected cost on, in nanoseconds a query. The steps of cheaper ones are so small
that threads would wait for Python's lock at each."""
PIECES = 4
"""Each thread gets its queries in this number of pieces, so that an uneven load evens out."""

TOGETHER, TOUCHED = 64, 1 << 18
"""Queries that are looked up at once, and the codes that these are expected to touch."""
LOW = (1 << 48) - 1
"""A key without the number of its query."""

Keys = NDArray[np.int64]
"""Found codes: distance and position in one number, so that one sort orders them by both."""
NOTHING: Keys = np.zeros(0, np.int64)
Seen: TypeAlias = tuple[Keys, int, NDArray[np.uint16]]
"""The first codes, how many rows these have, and the distances of all codes that were compared."""
Answer = TypeVar("Answer")


class MultiHash(Scan):
    """A search by look-ups, with a scan for the queries that these cannot certify."""

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
        """Return the nearest codes; see :meth:`Scan.nearest`."""
        return self.staged(packed, k, threads)[0]

    def staged(self, packed: NDArray[np.uint8], k: int, threads: int = 1) -> tuple[CodeHits, NDArray[np.int64]]:
        """Return the nearest codes, and the stage that answered each query.

        Returns:
            The codes; int64[Q], the number of flipped bits that certified the answer, or -1 for a scan.
        """
        cost, begin = self._plan(k)
        own, queries = _own_threads(cost, threads), max(1, len(packed))
        # A scan shares its work between all threads, look-ups only between ``own``.
        dear = cost / min(own, queries) > self._scan_cost / min(threads, queries)
        if begin is None or dear or not len(packed):
            return super().nearest(packed, k, threads), np.full(len(packed), SCANNED)
        if own == 1 and len(packed) > 1:
            answers = self._certain_together(words_of(packed), k, begin)
        else:
            answers = self._each(packed, own, lambda query: self._certain(query, k, begin))
        found, scanned = _joined([keys for keys, _ in answers])
        found = found.completed(len(packed), scanned, lambda open_: Scan.nearest(self, packed[open_], k, threads))
        return found, np.array([stage for _, stage in answers])

    def close(self, packed: NDArray[np.uint8], k: int, radius: int, threads: int = 1) -> CodeHits:
        """Return what :meth:`nearest` does, where codes beyond a radius may be missing."""
        stage = self._stage_of(radius)
        if stage is None or not len(packed):
            return self.nearest(packed, k, threads)
        # What lies beyond the radius and was found tells how far the k nearest are at most.
        queries = words_of(packed)
        if len(queries) == 1:
            keys = [self._seen(queries[0], k, stage)]
        else:
            keys = [one and one[0] for one in self._together(queries, k, stage, self.n_bits)]
        hits, scanned = _joined(keys)
        return hits.completed(len(packed), scanned, lambda open_: Scan.nearest(self, packed[open_], k, threads))

    def ball(self, packed: NDArray[np.uint8], radius: int, threads: int = 1) -> CodeHits:
        """Return every code at most ``radius`` bits away from each query; see :meth:`Scan.ball`."""
        stage = self._stage_of(radius)
        if stage is None or not len(packed):
            return super().ball(packed, radius, threads)
        touched = self.reach.shares[stage] * len(self)
        own = _own_threads(stage_cost(self.n_bits, len(self._values_of(stage)), touched), threads)
        answers = self._each(packed, own, lambda query: self._within(query, radius, stage))
        found, scanned = _joined(answers)
        return found.completed(len(packed), scanned, lambda open_: Scan.ball(self, packed[open_], radius, threads))

    def _each(self, packed: NDArray[np.uint8], threads: int, answer: Callable[[Words], Answer]) -> list[Answer]:
        """Answer each query, by several threads where that pays."""
        queries = list(words_of(packed))
        if threads == 1 or len(queries) == 1:
            return [answer(query) for query in queries]
        size = -(-len(queries) // (PIECES * threads))
        pieces = [queries[start : start + size] for start in range(0, len(queries), size)]
        with ThreadPoolExecutor(threads) as pool:
            answers = pool.map(lambda piece: [answer(query) for query in piece], pieces)
            return [one for some in answers for one in some]

    def _certain(self, query: Words, k: int, stage: int) -> tuple[Keys | None, int]:
        """Look up with more and more flipped bits, until the answer is certified.

        Returns:
            The codes, and the stage that certified them; None and -1 where a scan must answer.
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

    def _certain_together(self, queries: Words, k: int, stage: int) -> list[tuple[Keys | None, int]]:
        """Look up for several queries at once, and go on alone with those that this stage does not certify.

        Args:
            queries: words[Q, V].
            k: as requested.
            stage: to begin with.

        Returns:
            For each query what :meth:`_certain` returns.
        """
        answers: list[tuple[Keys | None, int]] = []
        found = self._together(queries, k, stage, bound(self.reach.n_parts, stage))
        for query, one in zip(queries, found, strict=True):
            if one is None:
                answers.append((None, SCANNED))
                continue
            keys, rows, far = one
            if len(keys) == k or rows >= k:
                answers.append((keys, stage))
            else:
                answers.append(self._certain(query, k, max(stage + 1, _stage_for(far, k, self.reach.n_parts))))
        return answers

    def _together(self, queries: Words, k: int, stage: int, limit: int) -> Iterator[Seen | None]:
        """Look up for several queries at once.

        Args:
            queries: words[Q, V].
            k: as requested.
            stage: flipped bits.
            limit: codes farther than this are left out.

        Yields:
            For each query the first k codes, how many rows they have, and the distances of all codes that were
            compared, uint16[C]; None where a scan is cheaper.
        """
        at_once = int(max(1, min(TOGETHER, TOUCHED / (1 + self.reach.shares[stage] * len(self)))))
        for start in range(0, len(queries), at_once):
            yield from self._block(queries[start : start + at_once], k, stage, limit)

    def _block(self, queries: Words, k: int, stage: int, limit: int) -> Iterator[Seen | None]:
        values = self._values_of(stage)
        begin, sizes = self.tables.buckets(queries[:, None], values)
        touched = sizes.sum(axis=1)
        costs = (stage_cost(self.n_bits, len(values), float(one)) for one in touched.tolist())
        dear = np.fromiter((one >= self._scan_cost for one in costs), bool, len(queries))
        sizes[dear], touched[dear] = 0, 0
        owner = np.repeat(np.arange(len(queries)), touched)
        positions, far = self.tables.compare(begin.ravel(), sizes.ravel(), queries[owner])
        near = np.nonzero(far <= limit)[0]
        keys = _distinct((owner[near] << 48) | (far[near].astype(np.int64) << 32) | positions[near])
        ends = np.searchsorted(keys, np.arange(len(queries) + 1) << 48)
        rows = self._offsets[(keys & (LIMIT - 1)) + 1] - self._offsets[keys & (LIMIT - 1)]
        ends_of_touched = np.cumsum(touched)
        for number, (first, last) in enumerate(itertools.pairwise(ends.tolist())):
            own = keys[first : min(last, first + k)]
            if dear[number]:
                yield None
                continue
            seen = far[ends_of_touched[number] - touched[number] : ends_of_touched[number]]
            yield own & LOW, int(rows[first : first + len(own)].sum()), seen

    def _seen(self, query: Words, k: int, stage: int) -> Keys | None:
        """Return the nearest codes in the buckets of a stage, however far; None where a scan is cheaper."""
        touched = self._touched(query, stage)
        return None if touched is None else _first(_near(*touched, self.n_bits), k, k * self.reach.n_parts)

    def _within(self, query: Words, radius: int, stage: int) -> Keys | None:
        touched = self._touched(query, stage)
        if touched is None:
            return None
        return _distinct(_near(*touched, radius))

    def _touched(self, query: Words, stage: int) -> tuple[NDArray[np.uint32], NDArray[np.uint16]] | None:
        """Return codes and distances in the buckets of a stage; None where a scan is cheaper."""
        values = self._values_of(stage)
        begin, sizes = self.tables.buckets(query, values)
        if stage_cost(self.n_bits, len(values), float(sizes.sum())) >= self._scan_cost:
            return None
        return self.tables.compare(begin, sizes, query)

    def _plan(self, k: int) -> tuple[float, int | None]:
        # Kept for each k: a service asks for the same k again and again.
        if k not in self._plans:
            self._plans[k] = self.reach.plan(k, self.n_bits, len(self))
        return self._plans[k]

    def _stage_of(self, radius: int) -> int | None:
        """Return the fewest flipped bits that miss no code within a radius; None where only a scan does not."""
        stages = range(len(self.reach.shares))
        return next((one for one in stages if bound(self.reach.n_parts, one) >= radius), None)

    def _values_of(self, stage: int) -> Values:
        if stage not in self._values:
            self._values[stage] = Values.within(self.tables.parts, stage)
        return self._values[stage]


def _own_threads(cost: float, threads: int) -> int:
    return threads if cost >= SHARED else 1


def _near(positions: NDArray[np.uint32], far: NDArray[np.uint16], radius: int) -> Keys:
    # A code that several substrings found is repeated.
    kept = np.nonzero(far <= radius)[0]
    keys: Keys = (far[kept].astype(np.int64) << 32) | positions[kept]
    return keys


def _first(keys: Keys, k: int, most: int) -> Keys:
    """Return the first k distinct keys, sorted.

    They probably lie among the ``most`` smallest, so these are tried first.
    """
    if len(keys) > 4 * most:
        found = _distinct(np.partition(keys, most)[:most])
        if len(found) >= k:
            return found[:k]
    return _distinct(keys)[:k]


def _distinct(keys: Keys) -> Keys:
    """Return the distinct keys, sorted; faster than np.unique."""
    keys = np.sort(keys)
    first = np.empty(len(keys), bool)
    first[:1] = True
    np.not_equal(keys[1:], keys[:-1], out=first[1:])
    return keys[first]


def _joined(answers: Sequence[Keys | None]) -> tuple[CodeHits, NDArray[np.int64]]:
    """Join the answers to consecutive queries; also return the numbers of open queries."""
    keys = [NOTHING if one is None else one for one in answers]
    all_keys = keys[0] if len(keys) == 1 else np.concatenate(keys)
    query = np.repeat(np.arange(len(keys)), [len(one) for one in keys])
    found = CodeHits(query, (all_keys >> 32).astype(np.uint16), all_keys & (LIMIT - 1))
    return found, np.array([number for number, one in enumerate(answers) if one is None], np.int64)


def _stage_for(far: NDArray[np.uint16], k: int, n_parts: int) -> int:
    # The k-th of the found codes is at least as far as the k-th of all; with fewer than k, nothing is known.
    if len(far) < k:
        return 0
    kth = int(np.partition(far, k - 1)[k - 1])
    return -(-(kth + 1) // n_parts) - 1


def options() -> type[Options]:
    """Return the model of this kind's options; a query must not load pydantic."""
    from pydantic import Field

    from aepipe.recipe import Options

    class Multihash(Options):
        """Options of the look-ups.

        Attributes:
            substrings: number of substrings; 0 to choose it by measuring the codes.
        """

        substrings: int = Field(0, ge=0, le=64)

    return Multihash


def build(codes: Scan, offsets: NDArray[np.int64], *, substrings: int = 0) -> Scan:
    """Build the tables, or scan very few or very long codes.

    See :func:`aepipe.index.hamming.build`.
    """
    reach = looked_at(codes, offsets, substrings=substrings)
    return codes if reach is None else filled(codes, offsets, reach, {"substrings": substrings})


def looked_at(codes: Scan, offsets: NDArray[np.int64], *, substrings: int = 0) -> Reach | None:
    """Measure the codes for look-ups; None where they must be scanned."""
    if len(codes) < 2 or codes.n_bits >= MOST_BITS or len(codes) >= LIMIT:
        return None
    return measure(codes, offsets, n_parts=min(substrings, codes.n_bits))


def filled(codes: Scan, offsets: NDArray[np.int64], reach: Reach, options: Mapping[str, Any]) -> MultiHash:
    """Fill the tables for the measured number of substrings, where the codes are stored."""
    tables = fill(codes.packed, deal(codes, reach.n_parts), codes.folder)
    return MultiHash(codes, offsets, tables, reach, options)


def open(folder: Path, codes: Scan, offsets: NDArray[np.int64], options: Mapping[str, Any]) -> Scan:
    """Open saved tables; see :func:`aepipe.index.hamming.open`."""
    reach = Reach.of_dict(json.loads((folder / REACH).read_bytes()))
    tables = Tables.open(folder, codes.packed, codes.n_bits)
    if tables.n_parts != reach.n_parts:
        raise ValueError(f"{REACH} does not belong to the tables")
    return MultiHash(codes, offsets, tables, reach, options)
