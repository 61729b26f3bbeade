"""How far hits are and how full buckets are, measured on a collection's own codes; and what a look-up would cost.

Legend: M distinct codes, m substrings, k neighbours, r bits turned.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aepipe.codes.bitcodes import n_bytes
from aepipe.index.hash_tables import COPIED, Values, fetched, lengths_of, parts_of
from aepipe.index.scan import Scan, ranged

NEAREST = (1, 10, 100, 1000)
"""The k for which the distance of the k-th row is measured; another k is taken for the next of these."""
MOST_TURNED = 3
MOST_VALUES = 2000
"""Values of one substring that are looked up at most; three bits are turned of at most 22."""
ASKED = 256
COMPARED = 8192
FEW = 8
TYPICAL = (10, 100)
"""The k for which the number of substrings is chosen."""

# What things cost on one core, in nanoseconds: only their ratios matter, and these differ little between machines.
SCANNED, SCANNED_BYTE = 1.0, 0.0125
"""Comparing with the next code, and reading each of its bytes."""
RANGED, RANGED_BYTE = 0.5, 0.02
"""The same where codes within a radius are looked for: :func:`aepipe.index.scan.ranged`."""
READ = 10.0
"""Taking the next code of a bucket, comparing it, sorting out what is near; a quarter more for each further 64 bits."""
FETCHED = 30.0
"""The same where codes are not copied into buckets, but fetched from anywhere."""
LOOKED_UP = 100.0
"""Hashing a value, and finding its bucket."""
BEGUN = 25_000.0
"""Beginning a stage."""


@dataclass(frozen=True, slots=True)
class Reach:
    """What was measured.

    Attributes:
        n_parts: m, the number of substrings that would be cheapest.
        distances: for each of NEAREST, how far the k-th other row is from some rows, ascending; they fall short where
            the collection is smaller.
        shares: the share of all codes that a look-up with r = 0, 1, ... bits turned touches, on average over the rows
            that a look-up with fewer does not certify: those are where codes are sparse.
    """

    n_parts: int
    distances: list[list[int]]
    shares: list[float]

    def to_dict(self) -> dict[str, Any]:
        """Return what :meth:`of_dict` takes."""
        return {"n_parts": self.n_parts, "distances": self.distances, "shares": self.shares}

    @classmethod
    def of_dict(cls, found: Mapping[str, Any]) -> Reach:
        """Read what :meth:`to_dict` gave.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        distances = [[int(value) for value in one] for one in found["distances"]]
        shares = [float(value) for value in found["shares"]]
        if len(distances) != len(NEAREST) or len(shares) > MOST_TURNED + 1:
            raise ValueError("not what was measured of an index")
        return cls(int(found["n_parts"]), distances, shares)

    def certified(self, k: int, turned: int) -> float:
        """Return the share of queries whose k nearest a look-up is expected to certify."""
        at = next((place for place, one in enumerate(NEAREST) if k <= one), None)
        far = self.distances[at] if at is not None else []
        return float(np.mean(np.array(far) <= bound(self.n_parts, turned))) if far else 0.0

    def cost(self, k: int, n_bits: int, n_codes: int) -> float:
        """Return what a query is expected to cost, in nanoseconds."""
        return self.plan(k, n_bits, n_codes)[0]

    def plan(self, k: int, n_bits: int, n_codes: int) -> tuple[float, int | None]:
        """Return the cheapest way.

        Returns:
            What a query is expected to cost, in nanoseconds, and with how many bits turned it begins; None where a scan
            is expected to be cheaper than any look-up.
        """
        scan = scan_cost(n_bits, n_codes)
        best, begin = scan, None
        # From the last stage backwards.
        for turned in reversed(range(len(self.shares))):
            own = stage_cost(n_bits, n_values(n_bits, self.n_parts, turned), self.shares[turned] * n_codes)
            sure = self.certified(k, turned)
            # Those it does not certify go on the best way that is known, or are scanned.
            cost = own + (1 - sure) * min(best, scan)
            if cost <= best:
                best, begin = cost, turned
        return best, begin


def bound(n_parts: int, turned: int) -> int:
    """Return up to which distance a look-up has seen all codes."""
    return (turned + 1) * n_parts - 1


def n_values(n_bits: int, n_parts: int, turned: int) -> int:
    """Return how many values are looked up for a query."""
    return sum(math.comb(length, count) for length in lengths_of(n_bits, n_parts) for count in range(turned + 1))


def compare_cost(n_bits: int, n_codes: int) -> float:
    """Return what comparing with codes that lie side by side costs, in nanoseconds."""
    return n_codes * (SCANNED + SCANNED_BYTE * n_bytes(n_bits))


def scan_cost(n_bits: int, n_codes: int) -> float:
    """Return what scanning all codes costs, in nanoseconds."""
    if ranged(n_bits, n_codes, TYPICAL[0]):
        return n_codes * (RANGED + RANGED_BYTE * n_bytes(n_bits))
    return compare_cost(n_bits, n_codes)


def stage_cost(n_bits: int, values: float, touched: float) -> float:
    """Return what a look-up costs, in nanoseconds.

    Args:
        n_bits: K.
        values: looked up.
        touched: codes in their buckets.
    """
    words = -(-n_bits // 64)
    each = READ * (3 + words) / 4 if n_bits <= 8 * COPIED else FETCHED
    return BEGUN + LOOKED_UP * values + each * touched


def measure(codes: Scan, offsets: NDArray[np.int64], *, n_parts: int = 0) -> Reach:
    """Measure distances and buckets, and choose the number of substrings.

    Args:
        codes: M, at least 1.
        offsets: int64[M+1], of their rows.
        n_parts: m; 0 has it chosen.
    """
    return cheapest(measured(codes, offsets, n_parts=n_parts), codes.n_bits, len(codes))


def cheapest(found: Sequence[Reach], n_bits: int, n_codes: int) -> Reach:
    """Return the number of substrings, with what was measured of it, that is cheapest for so many codes."""
    return min(found, key=lambda one: sum(one.cost(k, n_bits, n_codes) for k in TYPICAL))


def measured(codes: Scan, offsets: NDArray[np.int64], *, n_parts: int = 0) -> list[Reach]:
    """Return what is measured of each number of substrings that may be chosen; see :func:`measure`."""
    rng = np.random.default_rng(0)
    n_rows = int(offsets[-1])
    rows = np.sort(rng.choice(n_rows, min(ASKED, n_rows), replace=False))
    asked = np.searchsorted(offsets, rows, side="right") - 1
    far = _distances(codes, offsets, asked)
    distances = [sorted(one.tolist()) for one in far]
    compared = np.sort(rng.choice(len(codes), min(COMPARED, len(codes)), replace=False))
    choices = [n_parts] if n_parts else candidates(codes.n_bits)
    some, tenth = asked[::4], far[NEAREST.index(TYPICAL[0])][::4]
    return [Reach(one, distances, _shares(codes, some, compared, one, tenth)) for one in choices]


def candidates(n_bits: int) -> list[int]:
    """Return the numbers of substrings to choose from: of about 8 to 48 bits, so that buckets tell codes apart."""
    return [one for one in range(1, 17) if 8 <= n_bits / one <= 48] or [max(1, round(n_bits / 32))]


def _distances(codes: Scan, offsets: NDArray[np.int64], asked: NDArray[np.int64]) -> list[NDArray[np.uint16]]:
    """Return for each of NEAREST how far the k-th other row of each is; nothing where there are not so many."""
    nearest = min(NEAREST[-1] + 1, len(codes))
    found = codes.nearest(np.ascontiguousarray(codes.packed[asked]), nearest, os.cpu_count() or 1)
    rows = (offsets[found.positions + 1] - offsets[found.positions]).reshape(len(asked), nearest).cumsum(axis=1)
    far = found.distances.reshape(len(asked), nearest)
    distances = []
    for k in NEAREST:
        at = np.minimum((rows < k + 1).sum(axis=1), nearest - 1)
        distances.append(far[np.arange(len(asked)), at] if offsets[-1] > k else far[:0, 0])
    return distances


def shares_of(codes: Scan, n_parts: int) -> list[float]:
    """Return the average share of codes that a look-up touches, with 0, 1, ... bits turned where that is feasible."""
    rng = np.random.default_rng(0)
    asked, compared = (rng.choice(len(codes), min(count, len(codes)), replace=False) for count in (32, COMPARED))
    return _shares(codes, asked, compared, n_parts, np.zeros(0, np.uint16))


def deal(codes: Scan, n_parts: int) -> NDArray[np.int64]:
    """Return the part of each bit, int64[K], by what some codes are like."""
    places = np.random.default_rng(1).choice(len(codes), min(COMPARED, len(codes)), replace=False)
    return parts_of(np.unpackbits(codes.packed[np.sort(places)], axis=1, count=codes.n_bits), n_parts)


def _shares(
    codes: Scan, asked: NDArray[np.int64], compared: NDArray[np.int64], n_parts: int, far: NDArray[np.uint16]
) -> list[float]:
    """Return the average share of codes that some substring finds, with 0, 1, ... bits turned.

    Args:
        codes: M.
        asked: int64[n], positions of those that ask.
        compared: int64[m], positions of those that are looked at.
        n_parts: number of substrings.
        far: uint16[n], within how many bits their neighbours are: then of each number of bits those only count, but at
            least FEW, whose neighbours fewer do not find; or uint16[0], and all count.
    """
    masks = Values.within(deal(codes, n_parts), 0).masks
    some, others = (fetched(codes.packed, places) for places in (asked, compared))
    # Word by word: numpy is slow where the innermost loop is short.
    differ = [some[:, None, word] ^ others[None, :, word] for word in range(some.shape[1])]
    turned = np.zeros((MOST_TURNED + 1, len(asked)))
    for mask in masks:
        apart = np.zeros((len(some), len(others)), np.uint16)
        for word, own in zip(differ, mask, strict=True):
            if own:
                apart += np.bitwise_count(word & own)
        turned += [(apart <= count).mean(axis=1) for count in range(MOST_TURNED + 1)]
    few = [count for count in range(MOST_TURNED + 1) if n_values(codes.n_bits, n_parts, count) <= MOST_VALUES * n_parts]
    if not len(far):
        return [float(turned[count].mean()) for count in few]
    farthest = np.argsort(-far.astype(np.int64), kind="stable")
    open_ = [max(FEW, int((far > bound(n_parts, count - 1)).sum())) if count else len(far) for count in few]
    return [float(turned[count, farthest[:rows]].mean()) for count, rows in zip(few, open_, strict=True)]
