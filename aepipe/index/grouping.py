"""Rows are put together by their codes, in parts: however many they are, memory holds some of them at a time.

1. Rows are dealt to piles by their codes. In a pile, equal codes are put side by side, the ids of each ascending.
2. Codes, with their rows, are dealt to piles by their smallest ids. In a pile, they are put in the order of these.
3. Places of rows are dealt to piles by ids. In a pile, they are put in the order of these.

Legend: N rows, M distinct codes, W bytes of a code, V words of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from aepipe.bits import BitCodes, Words, copied_words
from aepipe.errors import CodeError
from aepipe.index import piles
from aepipe.index.piles import Piles, scratch
from aepipe.index.postings import Postings, checked_ids, ranges
from aepipe.index.scan import Scan
from aepipe.progress import step

Ids = NDArray[np.int64]


class SomeCodes(Protocol):
    """N codes, of which some can be had at a time; :class:`~aepipe.bits.BitCodes` are such."""

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
        sample = ids[:: piles.SAMPLED]
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
    dealt = Piles(copied_words(codes[:: piles.SAMPLED].packed)[:, 0], beside)
    for start in range(0, len(ids), piles.PART):
        part = slice(start, start + piles.PART)
        words = copied_words(codes[part].packed)
        dealt.put(words[:, 0], words, ids[part])
        if len(ids) > piles.PART:
            step("codes", start, len(ids))
    for words, own in dealt:
        yield words, own
    if len(ids) > piles.PART:
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
        cuts = np.unique(np.searchsorted(ends, np.arange(piles.PART, ends[-1], piles.PART)))
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
