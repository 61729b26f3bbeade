"""Near-duplicates: exact groups of codes within a radius of their first one.

The codes are visited in order. A code that is in no group yet becomes the first of a new group, which takes all free
codes within the radius. So every code is within the radius of the first of its group, and no two firsts are within it:
groups do not chain, and keeping only the first of each group leaves no near-duplicates.

The neighbours of a first code are looked up by substrings, as :mod:`aepipe.index.kinds.multihash` does, with the number
of substrings that is cheapest for these codes; or by a scan where that is cheaper.

On a release: :mod:`aepipe.release.dedup`.

Legend: M distinct codes, m substrings, r bits flipped in a look-up.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from aepipe.codes.bitcodes import Words, words_of
from aepipe.index.cost_model import MOST_FLIPPED, deal, n_values, scan_cost, shares_of, stage_cost
from aepipe.index.hash_tables import Tables, Values, fill
from aepipe.index.scan import Scan
from aepipe.log import step

Places = NDArray[np.int64]
Neighbours = Callable[[int], tuple[Places, NDArray[np.uint16]]]
"""From the position of a code to the codes within the radius, which may repeat, and their distances."""

REPORTED = 20_000
"""Codes between two reports of progress."""


def groups(codes: Scan, radius: int) -> tuple[Places, NDArray[np.uint16]]:
    """Group near-duplicate codes.

    Args:
        codes: M distinct codes.
        radius: the number of bits in which a code may differ from the first of its group.

    Returns:
        For each code, the position of the first of its group, int64[M], and the distance to it, uint16[M], bits.
    """
    count = len(codes)
    first, far = np.full(count, -1), np.zeros(count, np.uint16)
    neighbours = _neighbours(codes, radius) if count and radius else None
    for place in range(count):
        if place % REPORTED == 0:
            step("comparing", place, count)
        if first[place] >= 0:
            continue
        first[place] = place
        if neighbours is not None:
            near, distances = neighbours(place)
            free = first[near] < 0
            first[near[free]], far[near[free]] = place, distances[free]
    step("comparing", count, count)
    return first, far


def _neighbours(codes: Scan, radius: int) -> Neighbours:
    """Return the cheapest exact search for the codes within a radius."""
    ways = []
    for flipped in range(MOST_FLIPPED + 1):
        # The fewest substrings with which r flipped bits miss nothing within the radius.
        n_parts = -(-(radius + 1) // (flipped + 1))
        if n_parts <= codes.n_bits // 2 or n_parts == 1:
            values = n_values(codes.n_bits, n_parts, flipped)
            touched = shares_of(codes, n_parts)[flipped:][:1]
            ways += [(stage_cost(codes.n_bits, values, share * len(codes)), n_parts, flipped) for share in touched]
    cost, n_parts, flipped = min(ways, default=(np.inf, 0, 0))
    packed = np.ascontiguousarray(codes.packed)
    if cost >= scan_cost(codes.n_bits, len(codes)):
        return _by_scan(codes, packed, radius)
    tables = fill(packed, deal(codes, n_parts))
    return _by_tables(tables, Values.within(tables.parts, flipped), words_of(packed), radius)


def _by_tables(tables: Tables, values: Values, words: Words, radius: int) -> Neighbours:

    def near(place: int) -> tuple[Places, NDArray[np.uint16]]:
        positions, far = tables.compare(*tables.buckets(words[place], values), words[place])
        kept = np.nonzero(far <= radius)[0]
        return positions[kept].astype(np.int64), far[kept]

    return near


def _by_scan(codes: Scan, packed: NDArray[np.uint8], radius: int) -> Neighbours:

    def near(place: int) -> tuple[Places, NDArray[np.uint16]]:
        found = codes.ball(packed[place : place + 1], radius)
        return found.positions, found.distances

    return near
