"""Compare two releases of a collection: rows, bits and nearest neighbours.

Rows are matched by their keys. Legend: Q rows compared, k neighbours.
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
    """The nearest rows of one row in two releases, itself left out.

    Attributes:
        key: of the row.
        ids: its id in each release.
        before: ids and distances of its hits in the first release.
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
    """The differences between two releases.

    Attributes:
        before: the first.
        after: the second.
        asked: neighbours of rows that both have.
        lost: share of the rows drawn from the first that the second has not.
        gained: share of the rows drawn from the second that the first has not.
        flips: share of bits that differ, of rows that both have; None where codes have different lengths.
        mixed: share of a row's neighbours in the second that its code of the second finds among the codes of the first:
            what is left if old codes are kept and searched with new ones. None as ``flips``.
        k: neighbours of each row.
    """

    before: Release
    after: Release
    asked: tuple[Neighbours, ...]
    lost: float
    gained: float
    flips: float | None
    mixed: float | None
    k: int

    @property
    def same_encoder(self) -> bool:
        """Whether the codes of both can be compared."""
        return self.before.fingerprint == self.after.fingerprint

    @property
    def overlap(self) -> float:
        """Mean share of neighbours that both have; 1 where no row is in both."""
        return float(np.mean([one.common for one in self.asked])) if self.asked else 1.0

    @property
    def unchanged(self) -> float:
        """Share of rows whose neighbours are the same, in any order."""
        return float(np.mean([one.common == 1 for one in self.asked])) if self.asked else 1.0

    @property
    def interval(self) -> float:
        """Half the 95 % interval of :attr:`overlap`, by the normal approximation."""
        common = [one.common for one in self.asked]
        return float(1.96 * np.std(common) / np.sqrt(len(common))) if common else 0.0

    def most_changed(self, count: int) -> list[Neighbours]:
        """Return the rows whose neighbours have changed most."""
        return sorted(self.asked, key=lambda one: (one.common, one.key))[:count]


def compare(before: Release, after: Release, *, k: int = K, asked: int = ASKED, seed: int = 0) -> Difference:
    """Compare two releases by the nearest rows of rows that both have.

    Args:
        before: the first.
        after: the second.
        k: neighbours of each row.
        asked: rows that are drawn at random from each, at most.
        seed: of the draw.

    Raises:
        QueryError: k or the number of rows is less than 1.
    """
    if min(k, asked) < 1:
        raise QueryError(f"the {k} nearest of {asked} rows: at least one of each can be looked at")
    pairs, lost = _pairs(before, after, asked, seed)
    gained = _pairs(after, before, asked, seed)[1]
    ids = [np.array(column, np.int64) for column in zip(*pairs, strict=True)] if pairs else []
    comparable = bool(pairs) and before.n_bits == after.n_bits
    flips = _flips(before, after, ids) if comparable else None
    found = [_nearest(release, one, k) for release, one in zip((before, after), ids, strict=False)]
    keys = [key or "" for key in before.items.texts("key", ids[0])] if pairs else []
    named = [[_keys(release, hits) for hits in some] for release, some in zip((before, after), found, strict=False)]
    neighbours = tuple(
        Neighbours(keys[i], pairs[i], found[0][i], found[1][i], _common(named[0][i], named[1][i]))
        for i in range(len(pairs))
    )
    mixed = _mixed(before, after, ids, named[1], k) if comparable else None
    return Difference(before, after, neighbours, lost, gained, flips, mixed, k)


def _pairs(one: Release, other: Release, asked: int, seed: int) -> tuple[list[tuple[int, int]], float]:
    """Draw rows of one release; return their ids in both, and the share missing in the other."""
    ids = one.items.ids
    drawn = np.sort(np.random.default_rng(seed).choice(ids, min(asked, len(ids)), replace=False))
    there = [
        (int(row), other.items.find(key or "")) for row, key in zip(drawn, one.items.texts("key", drawn), strict=True)
    ]
    pairs = [(row, found) for row, found in there if found is not None]
    return pairs, 1 - len(pairs) / len(drawn)


def _mixed(before: Release, after: Release, ids: Sequence[NDArray[np.int64]], now: Sequence[set[str]], k: int) -> float:
    """Return the share of new neighbours that new codes find among old codes."""
    # The fingerprint is the old one on purpose: this measures what would come of ignoring it.
    codes = BitCodes(after.codes_of(ids[1]).packed, after.n_bits, before.fingerprint)
    hits = before.query(codes, k + 1)
    common = []
    for number, row in enumerate(ids[0]):
        near, distances = hits.of(number)
        others = near != row
        common.append(_common(_keys(before, (near[others][:k], distances[others][:k])), now[number]))
    return float(np.mean(common))


def _flips(before: Release, after: Release, ids: Sequence[NDArray[np.int64]]) -> float:
    codes = before.codes_of(ids[0]).packed ^ after.codes_of(ids[1]).packed
    return float(np.bitwise_count(codes).sum() / (len(codes) * before.n_bits))


def _nearest(release: Release, ids: NDArray[np.int64], k: int) -> list[tuple[NDArray[np.int64], NDArray[np.uint16]]]:
    """Return the k nearest of each row, the row itself left out."""
    # One more than wanted, because each row finds itself.
    hits = release.query(release.codes_of(ids), k + 1)
    found = []
    for number, row in enumerate(ids):
        near, distances = hits.of(number)
        others = near != row
        found.append((near[others][:k], distances[others][:k]))
    return found


def _keys(release: Release, hits: tuple[NDArray[np.int64], NDArray[np.uint16]]) -> set[str]:
    return {key or "" for key in release.items.texts("key", hits[0])}


def _common(one: set[str], other: set[str]) -> float:
    return len(one & other) / max(len(one), len(other), 1)
