"""Rows hang off distinct codes as postings, so that a code is searched once however many rows have it.

Legend: N rows, M distinct codes, Q queries, T codes found for all queries together.

Codes stand in the order of their smallest row id, and a posting holds its ids ascending. That order makes a search for
codes exact in (distance, id) of rows. Take the first k codes in the order (distance, position). Claim: each of the k
rows that are smallest in (distance, id) has one of these codes. Proof: let row r have code c, and let k other codes
stand before c. The smallest row of each of them stands before r: it is nearer, or equally near with an id below the
smallest id of c, which is at most r. So k rows stand before r, and r is not among the first k.
"""

# (from grouping.py) Rows are put together by their codes, in parts: however many they are, memory holds some of them at a time.
# (from grouping.py)
# (from grouping.py) 1. Rows are dealt to piles by their codes. In a pile, equal codes are put side by side, the ids of each ascending.
# (from grouping.py) 2. Codes, with their rows, are dealt to piles by their smallest ids. In a pile, they are put in the order of these.
# (from grouping.py) 3. Places of rows are dealt to piles by ids. In a pile, they are put in the order of these.
# (from grouping.py)
# (from grouping.py) Legend: N rows, M distinct codes, W bytes of a code, V words of it.

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
from aepipe.index.external_sort import Output, Piles, scratch
from aepipe.index.hits import CodeHits, RaggedHits
from aepipe.index.scan import Scan
from aepipe.log import step
from aepipe.store import layout
from aepipe.store.io import mapped

OFFSETS = layout.Index.OFFSETS
IDS = layout.Index.IDS
BY_ID = layout.Index.BY_ID
FEW = 1000
"""So many rows of a query are put in order without asking first which are needed."""


class Postings:
    """The rows of M codes.

    Attributes:
        offsets: int64[M+1]; the rows of code c are ``ids[offsets[c]:offsets[c + 1]]``.
        ids: int64[N].
        longest: rows of the code that has most.

    Args:
        by_id: see :attr:`by_id`; None to make it when it is needed.
        folder: that they are mapped from; None where they are not.
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
        """Return where offsets, ids, and their places by id are written: into a folder, or to memory."""
        place = place_type(n_rows)
        kinds = {OFFSETS: ((n_codes + 1,), np.int64), IDS: ((n_rows,), np.int64), BY_ID: ((n_rows,), place)}
        offsets, ids, by_id = (Output(shape, kind, folder, name) for name, (shape, kind) in kinds.items())
        return offsets, ids, by_id

    @classmethod
    def open(cls, folder: Path, longest: int, *, sorted_by_id: bool) -> Postings:
        """Map saved postings.

        Args:
            folder: where they are.
            longest: rows of the code that has most.
            sorted_by_id: the order of ids was saved, too; older indexes lack it, and it is made when it is needed.

        Raises:
            CorruptError: a file is missing, or is no array.
            ValueError: they do not fit one another.
        """
        offsets, ids = mapped(folder / OFFSETS), mapped(folder / IDS)
        by_id = mapped(folder / BY_ID) if sorted_by_id else None
        if by_id is not None and len(by_id) != len(ids):
            raise ValueError("its files do not fit one another")
        return cls(offsets, ids, longest, by_id, folder)

    def save(self, folder: Path) -> None:
        """Write them into an existing folder, where they are not mapped from it."""
        if folder == self._folder:
            return
        np.save(folder / OFFSETS, self.offsets)
        np.save(folder / IDS, self.ids)
        np.save(folder / BY_ID, self.by_id)

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def by_id(self) -> NDArray[np.integer]:
        """Places of all rows in ``ids``, in ascending order of id: uint32[N], or int64[N] of 2^32 rows or more."""
        if self._by_id is not None:
            return self._by_id
        order = np.argsort(self.ids, kind="stable")
        return order.astype(place_type(len(order)), copy=False)

    def places(self, ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return where ids stand in ``ids``, int64[n], and which are there at all, bool[n]."""
        if not len(self):
            return np.zeros(len(ids), np.int64), np.zeros(len(ids), bool)
        ranks = np.minimum(np.searchsorted(self.ids, ids, sorter=self.by_id), len(self) - 1)
        places = self.by_id[ranks].astype(np.int64)
        return places, self.ids[places] == ids

    def codes_at(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the positions of the codes of rows, given by their places in ``ids``."""
        return np.searchsorted(self.offsets, places, side="right") - 1

    def nearest(self, found: CodeHits, k: int, queries: int) -> RaggedHits:
        """Return the rows of the nearest codes: at least the k first rows of each query, where there are so many.

        Args:
            found: codes that the k nearest rows of each query have.
            k: as asked for.
            queries: Q.
        """
        starts = self.offsets[found.positions]
        sizes = np.minimum(self.offsets[found.positions + 1] - starts, k)
        if self.longest > 1 and int(sizes.sum()) > FEW * max(queries, 1):
            kept = _needed(found, sizes, k)
            starts, sizes, found = starts[kept], sizes[kept], found.at(kept)
        return self._expand(found, starts, sizes, queries)

    def all(self, found: CodeHits, queries: int) -> RaggedHits:
        """Return every row of the codes found."""
        starts = self.offsets[found.positions]
        return self._expand(found, starts, self.offsets[found.positions + 1] - starts, queries)

    def _expand(self, found: CodeHits, starts: NDArray[np.int64], sizes: NDArray[np.int64], queries: int) -> RaggedHits:
        """Return some rows of each code found."""
        if self.longest <= 1:
            return RaggedHits.sort(found.query, found.distances, self.ids[starts], queries)
        ids = self.ids[ranges(starts, sizes)]
        return RaggedHits.sort(np.repeat(found.query, sizes), np.repeat(found.distances, sizes), ids, queries)


def _needed(found: CodeHits, sizes: NDArray[np.int64], k: int) -> NDArray[np.bool_]:
    """Return which codes can have a row among the first k of their query.

    Where k rows are strictly nearer than a code, its own cannot be.
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
    """Return the type of places among so many rows."""
    return np.uint32 if n_rows < 1 << 32 else np.int64


def ranges(starts: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return ``starts[i], starts[i] + 1, ...``, ``sizes[i]`` numbers for each i, one after another."""
    ends = np.cumsum(sizes)
    return np.repeat(starts - ends + sizes, sizes) + np.arange(int(ends[-1]) if len(ends) else 0)


def checked_ids(ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return ids as int64, checked.

    Raises:
        CodeError: an id is negative or not an integer.
        QueryError: an id is given twice.
    """
    found = np.asarray(ids)
    if found.ndim != 1 or (found.size and (found.dtype.kind not in "iu" or int(found.min()) < 0)):
        raise CodeError("ids are int64[N], not negative")
    found = found.astype(np.int64, copy=False)
    parts = (found[start : start + external_sort.PART + 1] for start in range(0, len(found), external_sort.PART))
    if all((part[:-1] < part[1:]).all() for part in parts):
        return found
    in_order = np.sort(found)
    twice = in_order[1:][in_order[1:] == in_order[:-1]]
    if len(twice):
        raise QueryError(f"id {twice[0]} is given twice")
    return found


Ids = NDArray[np.int64]


class SomeCodes(Protocol):
    """N codes, of which some can be had at a time; :class:`~aepipe.codes.bitcodes.BitCodes` are such."""

    @property
    def n_bits(self) -> int:
        """K."""

    @property
    def fingerprint(self) -> str:
        """Digest of the encoder that made the codes; empty where no encoder did."""

    def __len__(self) -> int:
        """N."""

    def __getitem__(self, rows: slice, /) -> BitCodes:
        """Return some of them."""


def group(codes: SomeCodes, ids: Ids, folder: Path | None = None) -> tuple[Scan, Postings]:
    """Return the distinct codes in the order of their smallest ids, and their postings.

    Args:
        codes: N.
        ids: int64[N], not negative, each once, in any order.
        folder: an existing one, into which both are saved while they are made, and from which they are mapped; None to
            make them in memory.

    Raises:
        CodeError: not one id per code, or a negative id.
        QueryError: an id is given twice.
    """
    ids = checked_ids(ids)
    if len(ids) != len(codes):
        raise CodeError(f"{len(codes):,} codes and {len(ids):,} ids: each code needs one id")
    with scratch(folder) as beside, ExitStack() as stack:
        sample = ids[:: external_sort.SAMPLED]
        heads, rows, places = (Piles(sample, beside) for _ in range(3))
        n_codes, longest = _side_by_side(_by_code(codes, ids, beside), heads, rows)
        packed = stack.enter_context(Scan.output(n_codes, codes.n_bits, folder))
        out = Postings.output(len(ids), n_codes, folder)
        offsets, own_ids, by_id = (stack.enter_context(one) for one in out)
        offsets.extend(np.zeros(1, np.int64))
        for words, sizes, own in _in_order(heads, rows):
            begin = own_ids.done
            packed.extend(words.view(np.uint8))
            offsets.extend(begin + np.cumsum(sizes))
            own_ids.extend(own)
            if folder is not None:  # in memory, they are put in order when that is needed
                places.put(own, own, np.arange(begin, own_ids.done, dtype=by_id.array.dtype))
        for own, at in places:
            by_id.extend(at[np.argsort(own)])
    if folder is not None:
        return Scan.map(folder, codes.n_bits), Postings.open(folder, longest, sorted_by_id=True)
    distinct = BitCodes(packed.array, codes.n_bits)
    return Scan.of(distinct), Postings(offsets.array, own_ids.array, longest)


def _by_code(codes: SomeCodes, ids: Ids, beside: Path | None) -> Iterator[tuple[Words, Ids]]:
    """Give words[n, V] and ids, int64[n], of rows, all that have a code at once."""
    dealt = Piles(copied_words(codes[:: external_sort.SAMPLED].packed)[:, 0], beside)
    for start in range(0, len(ids), external_sort.PART):
        part = slice(start, start + external_sort.PART)
        words = copied_words(codes[part].packed)
        dealt.put(words[:, 0], words, ids[part])
        if len(ids) > external_sort.PART:
            step("codes", start, len(ids))
    for words, own in dealt:
        yield words, own
    if len(ids) > external_sort.PART:
        step("codes", len(ids), len(ids))


def _side_by_side(parts: Iterable[tuple[Words, Ids]], heads: Piles, rows: Piles) -> tuple[int, int]:
    """Put equal codes side by side, and deal them to piles by their smallest ids.

    Args:
        parts: what :func:`_by_code` gives.
        heads: gets the smallest id, the number of rows, and the words of each distinct code.
        rows: gets the ids of its rows, ascending, in the same order.

    Returns:
        M, and the rows of the code that has most.
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


def _in_order(heads: Piles, rows: Piles) -> Iterator[tuple[Words, Ids, Ids]]:
    """Give words[m, V] of codes, how many rows each has, int64[m], and their ids, in the order of smallest ids."""
    for (smallest, sizes, words), (ids,) in zip(heads, rows, strict=True):
        order = np.argsort(smallest)
        starts = (np.cumsum(sizes) - sizes)[order]
        ends = np.cumsum(sizes[order])
        # Codes that have many rows are mostly those with small ids, so there may be far more rows here than codes.
        cuts = np.unique(np.searchsorted(ends, np.arange(external_sort.PART, ends[-1], external_sort.PART)))
        for codes, begins in zip(np.split(order, cuts), np.split(starts, cuts), strict=True):
            yield words[codes], sizes[codes], ids[ranges(begins, sizes[codes])]


def _sorted(words: Words, ids: Ids) -> tuple[Ids, Ids]:
    """Put words[n, V] in order, equal ones in the order of their ids, int64[n].

    Returns:
        The order, int64[n]; where in it each distinct word begins, int64[m].
    """
    if bool((ids[1:] < ids[:-1]).any()):
        by_id = np.argsort(ids)
        order, firsts = _sorted(words[by_id], ids[by_id])
        return by_id[order], firsts
    order = np.argsort(words[:, 0]) if words.shape[1] == 1 else np.lexsort(words.T[::-1])
    changes = (words[order[1:]] != words[order[:-1]]).any(axis=1)
    run = np.zeros(len(words), np.int64)
    np.cumsum(changes, out=run[1:])
    # Equal words stand in any order yet. A sort of plain numbers, run and row in one, is faster than a stable argsort.
    few = len(words) < 1 << 31
    order = np.sort((run << 32) | order) & ((1 << 32) - 1) if few else order[np.lexsort((order, run))]
    return order, np.concatenate([np.zeros(min(len(words), 1), np.int64), np.nonzero(changes)[0] + 1])
