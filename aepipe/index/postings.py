"""Postings: the rows of each distinct code, so that a code is compared only once.

Codes are ordered by their smallest row id, and a posting lists its ids in ascending order. With that order, a search
for codes is exact in (distance, id) of rows:

    Take the first k codes in the order (distance, position). Claim: each of the k rows that come first in the order
    (distance, id) has one of these codes. Proof: let row r have code c, and suppose that k other codes come before c.
    The smallest row of each of these codes comes before r, for it is either nearer than r, or equally near with a
    smaller id: codes at the same distance are ordered by their smallest ids, so its id is below the smallest id of c,
    and that is at most the id of r. So at least k rows come before r, and r is not among the first k.

:func:`group` makes postings of any number of rows while memory holds one part of them at a time (see
:mod:`aepipe.index.external_sort`):

1. Rows are partitioned by code. Within a partition, equal codes are put next to each other, with ascending ids.
2. Codes and their rows are partitioned by smallest id, and each partition is sorted by it.
3. The places of rows are partitioned by id, and each partition is sorted by it; this is the order for look-ups by id.

Legend: N rows, M distinct codes, Q queries, T codes found for all queries together, W bytes of a code, V words of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from aepipe.codes.bitcodes import BitCodes, Words, copied_words
from aepipe.errors import CodeError, QueryError
from aepipe.index import external_sort
from aepipe.index.external_sort import Output, Partitions, scratch
from aepipe.index.hits import CodeHits, RaggedHits
from aepipe.index.scan import Scan
from aepipe.log import step
from aepipe.store import layout
from aepipe.store.io import damaged, mapped

OFFSETS = layout.Index.OFFSETS
IDS = layout.Index.IDS
BY_ID = layout.Index.BY_ID
FEW = 1000
"""Up to this number of rows per query, all are sorted; of more, those that cannot be among the first k are dropped."""

Ids = NDArray[np.int64]


class SomeCodes(Protocol):
    """N codes that can be read in parts, as :class:`~aepipe.codes.bitcodes.BitCodes` can."""

    @property
    def n_bits(self) -> int:
        """K."""

    @property
    def fingerprint(self) -> str:
        """Digest of the encoder that made the codes; empty where no encoder did."""

    def __len__(self) -> int:
        """N."""

    def __getitem__(self, rows: slice, /) -> BitCodes:
        """Return the codes of some rows."""


class Postings:
    """The rows of M codes.

    Attributes:
        offsets: int64[M+1]; the rows of code c are ``ids[offsets[c]:offsets[c + 1]]``.
        ids: int64[N].
        longest: the largest number of rows that share a code.

    Args:
        by_id: see :attr:`by_id`; None to compute it when it is needed.
        folder: the folder that the arrays are mapped from; None where they are in memory.
    """

    def __init__(
        self,
        offsets: NDArray[np.int64],
        ids: NDArray[np.int64],
        longest: int,
        by_id: NDArray[np.integer] | None = None,
        folder: Path | None = None,
    ) -> None:
        self.offsets = offsets
        self.ids = ids
        self.longest = longest
        self._by_id = by_id
        self._folder = folder

    @staticmethod
    def output(n_rows: int, n_codes: int, folder: Path | None) -> tuple[Output, Output, Output]:
        """Return the outputs for offsets, ids and places by id: files in a folder, or memory."""
        place = place_type(n_rows)
        kinds = {OFFSETS: ((n_codes + 1,), np.int64), IDS: ((n_rows,), np.int64), BY_ID: ((n_rows,), place)}
        offsets, ids, by_id = (Output(shape, kind, folder, name) for name, (shape, kind) in kinds.items())
        return offsets, ids, by_id

    @classmethod
    def open(cls, folder: Path, longest: int, *, sorted_by_id: bool) -> Postings:
        """Map saved postings.

        Args:
            folder: their folder.
            longest: the largest number of rows that share a code.
            sorted_by_id: the order of ids was saved; older indexes lack it, and it is computed when it is needed.

        Raises:
            CorruptError: a file is missing, or is not an array.
            ValueError: the files do not belong together.
        """
        offsets, ids = mapped(folder / OFFSETS), mapped(folder / IDS)
        by_id = mapped(folder / BY_ID) if sorted_by_id else None
        if by_id is not None and len(by_id) != len(ids):
            raise ValueError("its files do not belong together")
        return cls(offsets, ids, longest, by_id, folder)

    def save(self, folder: Path) -> None:
        """Write the postings into an existing folder, unless they are mapped from it."""
        if folder == self._folder:
            return
        np.save(folder / OFFSETS, self.offsets)
        np.save(folder / IDS, self.ids)
        np.save(folder / BY_ID, self.by_id)

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def by_id(self) -> NDArray[np.integer]:
        """Places of all rows in ``ids``, in ascending order of id.

        uint32[N], or int64[N] from 2^32 rows on.
        """
        if self._by_id is not None:
            return self._by_id
        order = np.argsort(self.ids, kind="stable")
        return order.astype(place_type(len(order)), copy=False)

    def places(self, ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return the places of ids in ``ids``, int64[n], and which are present, bool[n]."""
        if not len(self):
            return np.zeros(len(ids), np.int64), np.zeros(len(ids), bool)
        ranks = np.minimum(np.searchsorted(self.ids, ids, sorter=self.by_id), len(self) - 1)
        places = self.by_id[ranks].astype(np.int64)
        return places, self.ids[places] == ids

    def codes_at(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the positions of the codes of rows, given by their places in ``ids``."""
        return np.searchsorted(self.offsets, places, side="right") - 1

    def nearest(self, found: CodeHits, k: int, queries: int) -> RaggedHits:
        """Return at least the k first rows of each query, or all where there are fewer.

        Args:
            found: for each query, all codes that its k nearest rows have.
            k: as requested.
            queries: Q.
        """
        starts = self.offsets[found.positions]
        sizes = np.minimum(self.offsets[found.positions + 1] - starts, k)
        if self.longest > 1 and int(sizes.sum()) > FEW * max(queries, 1):
            kept = _needed(found, sizes, k)
            starts, sizes, found = starts[kept], sizes[kept], found.at(kept)
        return self._expand(found, starts, sizes, queries)

    def all(self, found: CodeHits, queries: int) -> RaggedHits:
        """Return every row of some codes."""
        starts = self.offsets[found.positions]
        return self._expand(found, starts, self.offsets[found.positions + 1] - starts, queries)

    def _expand(self, found: CodeHits, starts: NDArray[np.int64], sizes: NDArray[np.int64], queries: int) -> RaggedHits:
        if len(sizes) and (sizes.min() < 0 or starts.min() < 0 or (starts + sizes).max() > len(self.ids)):
            raise damaged(self.offsets, "rows of a code begin after they end, or after the last row")
        if self.longest <= 1:
            return RaggedHits.sort(found.query, found.distances, self.ids[starts], queries)
        ids = self.ids[ranges(starts, sizes)]
        return RaggedHits.sort(np.repeat(found.query, sizes), np.repeat(found.distances, sizes), ids, queries)


def _needed(found: CodeHits, sizes: NDArray[np.int64], k: int) -> NDArray[np.bool_]:
    """Return which codes can have a row among the first k of their query.

    A code cannot where k rows are strictly nearer.
    """
    if not len(sizes):
        return np.zeros(0, bool)
    before = np.cumsum(sizes) - sizes
    new_query = np.ones(len(sizes), bool)
    new_query[1:] = found.query[1:] != found.query[:-1]
    new_run = new_query.copy()
    new_run[1:] |= found.distances[1:] != found.distances[:-1]
    nearer = before[np.maximum.accumulate(np.where(new_run, np.arange(len(sizes)), 0))]
    own = before[np.maximum.accumulate(np.where(new_query, np.arange(len(sizes)), 0))]
    kept: NDArray[np.bool_] = nearer - own < k
    return kept


def place_type(n_rows: int) -> type[np.integer]:
    """Return the smallest type that holds the place of any of N rows."""
    return np.uint32 if n_rows < 1 << 32 else np.int64


def ranges(starts: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the numbers from ``starts[i]`` up, ``sizes[i]`` of them, for each i, joined."""
    ends = np.cumsum(sizes)
    return np.repeat(starts - ends + sizes, sizes) + np.arange(int(ends[-1]) if len(ends) else 0)


def checked_ids(ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Check ids, and return them as int64.

    Raises:
        CodeError: an id is negative or not an integer.
        QueryError: an id is given twice.
    """
    found = np.asarray(ids)
    if found.ndim != 1 or (found.size and (found.dtype.kind not in "iu" or int(found.min()) < 0)):
        raise CodeError("ids are int64[N], not negative")
    found = found.astype(np.int64, copy=False)
    # Ids mostly come in ascending order; testing that in parts spares a sorted copy of all.
    parts = (found[start : start + external_sort.PART + 1] for start in range(0, len(found), external_sort.PART))
    if all((part[:-1] < part[1:]).all() for part in parts):
        return found
    in_order = np.sort(found)
    twice = in_order[1:][in_order[1:] == in_order[:-1]]
    if len(twice):
        raise QueryError(f"id {twice[0]} is given twice")
    return found


def group(codes: SomeCodes, ids: Ids, folder: Path | None = None) -> tuple[Scan, Postings]:
    """Return the distinct codes in the order of their smallest ids, and their postings.

    Args:
        codes: N.
        ids: int64[N], not negative, each once, in any order.
        folder: an existing folder; both are written into it while they are made, and mapped from it. None to make
            them in memory.

    Raises:
        CodeError: the numbers of ids and codes differ, or an id is negative.
        QueryError: an id is given twice.
    """
    ids = checked_ids(ids)
    if len(ids) != len(codes):
        raise CodeError(f"{len(codes):,} codes and {len(ids):,} ids: each code needs one id")
    with scratch(folder) as work, ExitStack() as stack:
        sample = ids[:: external_sort.SAMPLED]
        heads, rows, places = (Partitions(sample, work) for _ in range(3))
        n_codes, longest = _group_equal(_by_code(codes, ids, work), heads, rows)
        packed = stack.enter_context(Scan.output(n_codes, codes.n_bits, folder))
        out = Postings.output(len(ids), n_codes, folder)
        offsets, own_ids, by_id = (stack.enter_context(one) for one in out)
        offsets.extend(np.zeros(1, np.int64))
        for words, sizes, own in _by_smallest_id(heads, rows):
            begin = own_ids.done
            packed.extend(words.view(np.uint8))
            offsets.extend(begin + np.cumsum(sizes))
            own_ids.extend(own)
            if folder is not None:  # in memory, the order by id is computed when it is needed
                places.put(own, own, np.arange(begin, own_ids.done, dtype=by_id.array.dtype))
        for own, at in places:
            by_id.extend(at[np.argsort(own)])
    if folder is not None:
        return Scan.map(folder, codes.n_bits), Postings.open(folder, longest, sorted_by_id=True)
    distinct = BitCodes(packed.array, codes.n_bits)
    return Scan.of(distinct), Postings(offsets.array, own_ids.array, longest)


def _by_code(codes: SomeCodes, ids: Ids, work: Path | None) -> Iterator[tuple[Words, Ids]]:
    """Partition rows by code: yield words[n, V] and ids, int64[n].

    All rows of a code are in one part.
    """
    partitions = Partitions(copied_words(codes[:: external_sort.SAMPLED].packed)[:, 0], work)
    for start in range(0, len(ids), external_sort.PART):
        part = slice(start, start + external_sort.PART)
        words = copied_words(codes[part].packed)
        partitions.put(words[:, 0], words, ids[part])
        if len(ids) > external_sort.PART:
            step("codes", start, len(ids))
    for words, own in partitions:
        yield words, own
    if len(ids) > external_sort.PART:
        step("codes", len(ids), len(ids))


def _group_equal(parts: Iterable[tuple[Words, Ids]], heads: Partitions, rows: Partitions) -> tuple[int, int]:
    """Group the rows of equal codes, and partition the codes by their smallest ids.

    Args:
        parts: the output of :func:`_by_code`.
        heads: receives the smallest id, the number of rows, and the words of each distinct code.
        rows: receives the ids of its rows, ascending, in the same order.

    Returns:
        M, and the largest number of rows that share a code.
    """
    n_codes, longest = 0, 0
    for words, ids in parts:
        order, firsts = _sorted(words, ids)
        sizes = np.diff(np.append(firsts, len(order)))
        ids = ids[order]
        smallest = ids[firsts]
        heads.put(smallest, smallest, sizes, words[order[firsts]])
        rows.put(np.repeat(smallest, sizes), ids)
        n_codes, longest = n_codes + len(firsts), max(longest, int(sizes.max()))
    return n_codes, longest


def _by_smallest_id(heads: Partitions, rows: Partitions) -> Iterator[tuple[Words, Ids, Ids]]:
    """Yield codes in the order of smallest ids, with their rows.

    Each part is words[m, V], numbers of rows, int64[m], and the ids of these rows.
    """
    for (smallest, sizes, words), (ids,) in zip(heads, rows, strict=True):
        order = np.argsort(smallest)
        starts = (np.cumsum(sizes) - sizes)[order]
        ends = np.cumsum(sizes[order])
        # Codes with many rows mostly have small ids, so a partition may hold far more rows than codes: cut it by rows.
        cuts = np.unique(np.searchsorted(ends, np.arange(external_sort.PART, ends[-1], external_sort.PART)))
        for codes, begins in zip(np.split(order, cuts), np.split(starts, cuts), strict=True):
            yield words[codes], sizes[codes], ids[ranges(begins, sizes[codes])]


def _sorted(words: Words, ids: Ids) -> tuple[Ids, Ids]:
    """Sort words[n, V], equal ones by their ids, int64[n].

    Returns:
        The order, int64[n]; the place in it where each distinct word begins, int64[m].
    """
    if bool((ids[1:] < ids[:-1]).any()):
        by_id = np.argsort(ids)
        order, firsts = _sorted(words[by_id], ids[by_id])
        return by_id[order], firsts
    order = np.argsort(words[:, 0]) if words.shape[1] == 1 else np.lexsort(words.T[::-1])
    changes = (words[order[1:]] != words[order[:-1]]).any(axis=1)
    run = np.zeros(len(words), np.int64)
    np.cumsum(changes, out=run[1:])
    # Equal words are in no order yet. Sorting plain numbers, run and row in one, is faster than a stable argsort.
    few = len(words) < 1 << 31
    order = np.sort((run << 32) | order) & ((1 << 32) - 1) if few else order[np.lexsort((order, run))]
    return order, np.concatenate([np.zeros(min(len(words), 1), np.int64), np.nonzero(changes)[0] + 1])
