"""Groups of near codes: which codes are within a radius of one that stands for them, found exactly.

Codes are gone through in their order. One that no group has taken yet founds a group, and takes all untaken codes that
are at most so many bits away. So a code is never farther than the radius from the one that stands for its group, and no
two of those are within it: groups do not chain, and to keep the first of each is to keep no doubles.

A founder's neighbours are looked up by substrings, as :mod:`aepipe.index.kinds.multihash` does, in the way that is cheapest
for these codes; where none is cheaper than comparing with all codes, that is done.

Legend: M distinct codes, m substrings, r bits turned in a look-up.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from aepipe.codes.bitcodes import Words, words_of
from aepipe.index.cost_model import MOST_TURNED, deal, n_values, scan_cost, shares_of, stage_cost
from aepipe.index.hash_tables import Tables, Values, fill
from aepipe.index.scan import Scan
from aepipe.log import step

Places = NDArray[np.int64]
Neighbours = Callable[[int], tuple[Places, NDArray[np.uint16]]]
"""Gives the codes within the radius of one, and how far each is; some may stand twice."""

TOLD = 20_000
"""Codes after which it is told how far the work is."""


def groups(codes: Scan, radius: int) -> tuple[Places, NDArray[np.uint16]]:
    """Put codes into groups.

    Args:
        codes: M distinct ones.
        radius: bits by which a code may differ from the one that stands for its group.

    Returns:
        The position of the code that stands for each one's group, int64[M]; how far it is, uint16[M], bits.
    """
    count = len(codes)
    first, far = np.full(count, -1), np.zeros(count, np.uint16)
    neighbours = _neighbours(codes, radius) if count and radius else None
    for place in range(count):
        if place % TOLD == 0:
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
    """Return the cheapest way to find what is within a radius."""
    ways = []
    for turned in range(MOST_TURNED + 1):
        n_parts = -(-(radius + 1) // (turned + 1))
        if n_parts <= codes.n_bits // 2 or n_parts == 1:
            values = n_values(codes.n_bits, n_parts, turned)
            touched = shares_of(codes, n_parts)[turned:][:1]
            ways += [(stage_cost(codes.n_bits, values, share * len(codes)), n_parts, turned) for share in touched]
    cost, n_parts, turned = min(ways, default=(np.inf, 0, 0))
    packed = np.ascontiguousarray(codes.packed)
    if cost >= scan_cost(codes.n_bits, len(codes)):
        return _by_scan(codes, packed, radius)
    tables = fill(packed, deal(codes, n_parts))
    return _by_tables(tables, Values.within(tables.parts, turned), words_of(packed), radius)


def _by_tables(tables: Tables, values: Values, words: Words, radius: int) -> Neighbours:
    """Return a search by look-ups."""

    def near(place: int) -> tuple[Places, NDArray[np.uint16]]:
        positions, far = tables.compare(*tables.buckets(words[place], values), words[place])
        kept = np.nonzero(far <= radius)[0]
        return positions[kept].astype(np.int64), far[kept]

    return near


def _by_scan(codes: Scan, packed: NDArray[np.uint8], radius: int) -> Neighbours:
    """Return a search through all codes."""

    def near(place: int) -> tuple[Places, NDArray[np.uint16]]:
        found = codes.ball(packed[place : place + 1], radius)
        return found.positions, found.distances

    return near
