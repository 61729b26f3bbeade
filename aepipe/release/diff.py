"""What differs between two releases of a collection: rows, codes, and who is whose neighbour.

Rows are matched by their keys. Legend: Q rows asked, k neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aepipe.codes.bitcodes import BitCodes
from aepipe.errors import QueryError
from aepipe.release.release import Release

K = 10
ASKED = 1000


@dataclass(frozen=True, slots=True)
class Neighbours:
    """What one row finds in two releases, nearest first, itself left out.

    Attributes:
        key: of the row.
        ids: its id in each.
        before: ids of its hits in the first, and their distances.
        after: the same in the second.
        common: share of the hits that both have.
    """

    key: str
    ids: tuple[int, int]
    before: tuple[NDArray[np.int64], NDArray[np.uint16]]
    after: tuple[NDArray[np.int64], NDArray[np.uint16]]
    common: float


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs.

    Attributes:
        rows: in the first, and in the second.
        asked: the rows that were asked, of those that both have.
        lost: share of the rows looked at in the first that the second has not.
        come: share of the rows looked at in the second that the first has not.
        flips: share of the bits that differ, of the rows that both have; None where codes have not the same length.
        mixed: share of the neighbours in the second that a code of the second finds among the codes of the first: what
            is left to whoever keeps old codes and asks them new ones. None as ``flips``.
        k: neighbours of each.
    """

    rows: tuple[int, int]
    asked: tuple[Neighbours, ...]
    lost: float
    come: float
    flips: float | None
    mixed: float | None
    k: int

    @property
    def overlap(self) -> float:
        """The mean share of the neighbours that both have; 1 where no row is in both."""
        return float(np.mean([one.common for one in self.asked])) if self.asked else 1.0

    @property
    def unchanged(self) -> float:
        """The share of the rows whose neighbours are the same, in whatever order."""
        return float(np.mean([one.common == 1 for one in self.asked])) if self.asked else 1.0

    @property
    def interval(self) -> float:
        """Half of the 95 % interval of :attr:`overlap`, by the normal approximation."""
        common = [one.common for one in self.asked]
        return float(1.96 * np.std(common) / np.sqrt(len(common))) if common else 0.0


def compare(before: Release, after: Release, *, k: int = K, asked: int = ASKED, seed: int = 0) -> Difference:
    """Compare what rows find in two releases.

    Args:
        before: the first.
        after: the second.
        k: neighbours that are looked at.
        asked: rows that are looked at, at most, drawn at random from each.
        seed: of the draw.

    Raises:
        QueryError: k or the number of rows is less than 1.
    """
    if min(k, asked) < 1:
        raise QueryError(f"the {k} nearest of {asked} rows: at least one of each can be looked at")
    pairs, lost = _pairs(before, after, asked, seed)
    come = _pairs(after, before, asked, seed)[1]
    ids = [np.array(column, np.int64) for column in zip(*pairs, strict=True)] if pairs else []
    comparable = bool(pairs) and before.n_bits == after.n_bits
    flips = _flips(before, after, ids) if comparable else None
    rows = (len(before), len(after))
    found = [_nearest(release, one, k) for release, one in zip((before, after), ids, strict=False)]
    keys = [key or "" for key in before.items.texts("key", ids[0])] if pairs else []
    named = [[_keys(release, hits) for hits in some] for release, some in zip((before, after), found, strict=False)]
    neighbours = tuple(
        Neighbours(keys[i], pairs[i], found[0][i], found[1][i], _common(named[0][i], named[1][i]))
        for i in range(len(pairs))
    )
    mixed = _mixed(before, after, ids, named[1], k) if comparable else None
    return Difference(rows, neighbours, lost, come, flips, mixed, k)


def _pairs(one: Release, other: Release, asked: int, seed: int) -> tuple[list[tuple[int, int]], float]:
    """Return the ids in both of rows drawn from one, and the share of those drawn that the other has not."""
    ids = one.items.ids
    drawn = np.sort(np.random.default_rng(seed).choice(ids, min(asked, len(ids)), replace=False))
    there = [
        (int(row), other.items.find(key or "")) for row, key in zip(drawn, one.items.texts("key", drawn), strict=True)
    ]
    pairs = [(row, found) for row, found in there if found is not None]
    return pairs, 1 - len(pairs) / len(drawn)


def _mixed(before: Release, after: Release, ids: Sequence[NDArray[np.int64]], now: Sequence[set[str]], k: int) -> float:
    """Return the share of the neighbours of now that new codes find among the old ones."""
    codes = BitCodes(after.codes_of(ids[1]).packed, after.n_bits, before.fingerprint)
    hits = before.query(codes, k + 1)
    common = []
    for number, row in enumerate(ids[0]):
        near, distances = hits.of(number)
        others = near != row
        common.append(_common(_keys(before, (near[others][:k], distances[others][:k])), now[number]))
    return float(np.mean(common))


def _flips(before: Release, after: Release, ids: Sequence[NDArray[np.int64]]) -> float:
    """Return the share of bits that differ."""
    codes = before.codes_of(ids[0]).packed ^ after.codes_of(ids[1]).packed
    return float(np.bitwise_count(codes).sum() / (len(codes) * before.n_bits))


def _nearest(release: Release, ids: NDArray[np.int64], k: int) -> list[tuple[NDArray[np.int64], NDArray[np.uint16]]]:
    """Return the k nearest of some rows, themselves left out."""
    hits = release.query(release.codes_of(ids), k + 1)
    found = []
    for number, row in enumerate(ids):
        near, distances = hits.of(number)
        others = near != row
        found.append((near[others][:k], distances[others][:k]))
    return found


def _keys(release: Release, hits: tuple[NDArray[np.int64], NDArray[np.uint16]]) -> set[str]:
    """Return the keys of some hits."""
    return {key or "" for key in release.items.texts("key", hits[0])}


def _common(one: set[str], other: set[str]) -> float:
    """Return the share of keys that both have."""
    return len(one & other) / max(len(one), len(other), 1)
