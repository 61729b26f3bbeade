"""Cost model: expected cost of look-ups in hash tables and of scans.

Two things decide whether a look-up is cheaper than a scan: the distances of the nearest rows, since near ones are
certified by small radii, and the fill of the buckets. Both are measured on a sample of the codes.

Legend: M distinct codes, m substrings, k neighbours, r bits flipped.
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
"""The k for which the distance of the k-th row is measured; any other k counts as the next larger of these."""
MOST_FLIPPED = 3
MOST_VALUES = 2000
"""Most values of one substring that are looked up: three flipped bits are affordable up to 22 bits."""
ASKED, COMPARED = 256, 8192
"""Sizes of the samples: rows whose neighbours are searched, and codes that buckets are estimated from."""
FEW = 8
"""Least number of sampled rows that an average over buckets is taken of."""
TYPICAL = (10, 100)
"""The k for which the number of substrings is chosen."""

# Costs on one core, in nanoseconds. Only their ratios matter, and these differ little between machines.
SCANNED, SCANNED_BYTE = 1.0, 0.0125
"""Scan: compare with the next code, and read each of its bytes."""
RANGED, RANGED_BYTE = 0.5, 0.02
"""The same in a search within a radius; see :func:`aepipe.index.scan.ranged`."""
READ = 10.0
"""Bucket: read and compare the next code, keep the near ones; a quarter more for each further 64 bits."""
FETCHED = 30.0
"""The same where codes are not copied into buckets, but fetched from any place."""
LOOKED_UP = 100.0
"""Hash a value, and find its bucket."""
BEGUN = 25_000.0
"""Begin a stage."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Distances of neighbours and fill of buckets, measured for one number of substrings.

    Attributes:
        n_parts: m, the number of substrings.
        distances: for each of NEAREST, the distances of the k-th other row from the sampled rows, ascending; empty
            where the collection has no k other rows.
        shares: the share of all codes that a look-up with r = 0, 1, ... flipped bits touches, averaged over the rows
            that fewer flipped bits do not certify: these rows lie where codes are sparse.
    """

    n_parts: int
    distances: list[list[int]]
    shares: list[float]

    def to_dict(self) -> dict[str, Any]:
        """Return a form for JSON."""
        return {"n_parts": self.n_parts, "distances": self.distances, "shares": self.shares}

    @classmethod
    def of_dict(cls, found: Mapping[str, Any]) -> Reach:
        """Read the output of :meth:`to_dict`.

        Raises:
            KeyError, TypeError, ValueError: the data are something else.
        """
        distances = [[int(value) for value in one] for one in found["distances"]]
        shares = [float(value) for value in found["shares"]]
        if len(distances) != len(NEAREST) or len(shares) > MOST_FLIPPED + 1:
            raise ValueError("not the measurements of an index")
        return cls(int(found["n_parts"]), distances, shares)

    def certified(self, k: float, flipped: int) -> float:
        """Return the expected share of queries whose k nearest rows a look-up certifies."""
        at = next((place for place, one in enumerate(NEAREST) if k <= one), None)
        far = self.distances[at] if at is not None else []
        return float(np.mean(np.array(far) <= bound(self.n_parts, flipped))) if far else 0.0

    def cost(self, k: int, n_bits: int, n_codes: int) -> float:
        """Return the expected cost of a query, in nanoseconds."""
        return self.plan(k, n_bits, n_codes)[0]

    def stage(self, flipped: int, n_bits: int, n_codes: int) -> float:
        """Return the expected cost of a look-up, in nanoseconds."""
        return stage_cost(n_bits, n_values(n_bits, self.n_parts, flipped), self.shares[flipped] * n_codes)

    def stage_for(self, k: float, share: float) -> int | None:
        """Return the fewest flipped bits that certify a share of queries; None where none do.

        Args:
            k: of several shards, the k nearest rows of all are k / S of each on average. The share lies between those
                of the next smaller and the next larger number of NEAREST.
            share: of queries.
        """
        least = max((one for one in NEAREST if one <= k), default=1)
        weight = math.log10(max(k, 1) / least)  # NEAREST are powers of ten
        stages = range(len(self.shares))
        shares = ((1 - weight) * self.certified(least, one) + weight * self.certified(k, one) for one in stages)
        return next((one for one, found in zip(stages, shares, strict=True) if found >= share), None)

    def plan(self, k: int, n_bits: int, n_codes: int) -> tuple[float, int | None]:
        """Choose the cheapest way to answer a query.

        Returns:
            The expected cost, in nanoseconds, and the number of flipped bits to begin with; None where a scan is
            expected to be cheaper than any look-up.
        """
        scan = scan_cost(n_bits, n_codes)
        best, begin = scan, None
        # Dynamic programming from the last stage backwards.
        for flipped in reversed(range(len(self.shares))):
            own = self.stage(flipped, n_bits, n_codes)
            sure = self.certified(k, flipped)
            # Queries that this stage does not certify take the best later stage, or a scan.
            cost = own + (1 - sure) * min(best, scan)
            if cost <= best:
                best, begin = cost, flipped
        return best, begin


def bound(n_parts: int, flipped: int) -> int:
    """Return the largest distance up to which a look-up misses no code."""
    return (flipped + 1) * n_parts - 1


def n_values(n_bits: int, n_parts: int, flipped: int) -> int:
    """Return the number of values that are looked up for a query."""
    return sum(math.comb(length, count) for length in lengths_of(n_bits, n_parts) for count in range(flipped + 1))


def compare_cost(n_bits: int, n_codes: int) -> float:
    """Return the cost of comparing with consecutive codes, in nanoseconds."""
    return n_codes * (SCANNED + SCANNED_BYTE * n_bytes(n_bits))


def scan_cost(n_bits: int, n_codes: int) -> float:
    """Return the cost of scanning all codes, in nanoseconds."""
    if ranged(n_bits, n_codes, TYPICAL[0]):
        return n_codes * (RANGED + RANGED_BYTE * n_bytes(n_bits))
    return compare_cost(n_bits, n_codes)


def stage_cost(n_bits: int, values: float, touched: float) -> float:
    """Return the cost of a look-up, in nanoseconds.

    Args:
        n_bits: K.
        values: number of values looked up.
        touched: number of codes in their buckets.
    """
    words = -(-n_bits // 64)
    each = READ * (3 + words) / 4 if n_bits <= 8 * COPIED else FETCHED
    return BEGUN + LOOKED_UP * values + each * touched


def measure(codes: Scan, offsets: NDArray[np.int64], *, n_parts: int = 0) -> Reach:
    """Measure distances and buckets for the cheapest number of substrings.

    Args:
        codes: M, at least 1.
        offsets: int64[M+1], of their rows.
        n_parts: m; 0 to choose it.
    """
    return cheapest(measured(codes, offsets, n_parts=n_parts), codes.n_bits, len(codes))


def cheapest(found: Sequence[Reach], n_bits: int, n_codes: int) -> Reach:
    """Return the measurement whose number of substrings is cheapest for M codes."""
    return min(found, key=lambda one: sum(one.cost(k, n_bits, n_codes) for k in TYPICAL))


def measured(codes: Scan, offsets: NDArray[np.int64], *, n_parts: int = 0) -> list[Reach]:
    """Measure each candidate number of substrings; see :func:`measure`."""
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
    """Return the candidate numbers of substrings, each of about 8 to 48 bits.

    Shorter ones have overfull buckets; longer ones certify little.
    """
    return [one for one in range(1, 17) if 8 <= n_bits / one <= 48] or [max(1, round(n_bits / 32))]


def _distances(codes: Scan, offsets: NDArray[np.int64], asked: NDArray[np.int64]) -> list[NDArray[np.uint16]]:
    """Return the distances of the k-th other rows, for each k of NEAREST.

    Empty where the collection has no k other rows.
    """
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
    """Return the average share of codes that a look-up touches, per number of flipped bits."""
    rng = np.random.default_rng(0)
    asked, compared = (rng.choice(len(codes), min(count, len(codes)), replace=False) for count in (32, COMPARED))
    return _shares(codes, asked, compared, n_parts, np.zeros(0, np.uint16))


def deal(codes: Scan, n_parts: int) -> NDArray[np.int64]:
    """Assign bits to parts by the correlations in a sample; return int64[K]."""
    places = np.random.default_rng(1).choice(len(codes), min(COMPARED, len(codes)), replace=False)
    return parts_of(np.unpackbits(codes.packed[np.sort(places)], axis=1, count=codes.n_bits), n_parts)


def _shares(
    codes: Scan, asked: NDArray[np.int64], compared: NDArray[np.int64], n_parts: int, far: NDArray[np.uint16]
) -> list[float]:
    """Return the average share of codes that any substring finds, with 0, 1, ... bits flipped.

    Args:
        codes: M.
        asked: int64[n], positions of the codes used as queries.
        compared: int64[c], positions of the codes they are compared with.
        n_parts: m, the number of substrings.
        far: uint16[n], the distance of each query's neighbours. For each number of flipped bits, the average is over
            the queries that fewer bits do not certify, but over at least the FEW farthest. uint16[0] to average over
            all queries.
    """
    masks = Values.within(deal(codes, n_parts), 0).masks
    some, others = (fetched(codes.packed, places) for places in (asked, compared))
    # Word by word: numpy is slow where the innermost loop is short.
    differ = [some[:, None, word] ^ others[None, :, word] for word in range(some.shape[1])]
    found = np.zeros((MOST_FLIPPED + 1, len(asked)))
    for mask in masks:
        apart = np.zeros((len(some), len(others)), np.uint16)
        for word, own in zip(differ, mask, strict=True):
            if own:
                apart += np.bitwise_count(word & own)
        found += [(apart <= count).mean(axis=1) for count in range(MOST_FLIPPED + 1)]
    few = [
        count for count in range(MOST_FLIPPED + 1) if n_values(codes.n_bits, n_parts, count) <= MOST_VALUES * n_parts
    ]
    if not len(far):
        return [float(found[count].mean()) for count in few]
    farthest = np.argsort(-far.astype(np.int64), kind="stable")
    open_ = [max(FEW, int((far > bound(n_parts, count - 1)).sum())) if count else len(far) for count in few]
    return [float(found[count, farthest[:rows]].mean()) for count, rows in zip(few, open_, strict=True)]
