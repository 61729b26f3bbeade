"""Tie-aware metrics: expected values over all random orders within ties.

Hamming distances are integers, so thousands of rows share one. A plain sort would let the order of the database decide
between them, and databases are often sorted by class. Here nothing is sorted or shuffled: every metric is the exact
mean over all orders that keep the distances ascending (McSherry & Najork, "Computing information retrieval performance
measures efficiently in the presence of tied scores", ECIR 2008).

Legend: Q queries, G tie groups, N rows. Before a group come s rows, R of them relevant; the group has t rows, r of them
relevant. The row at place j = 1..t of the group is relevant with probability r/t, and given that, the j-1 rows of the
group before it hold (j-1) c relevant ones on average, c = (r-1)/(t-1). So the first m places of the group add

    r/t * sum_j (R + 1 + (j-1) c) / (s+j)  =  r/t * [(R + 1 - (s+1) c) (H(s+m) - H(s)) + c m]

to the sum of precisions at the relevant places, where H are the harmonic numbers: O(1) per group, at any cut.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Ints: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class TieGroups:
    """The tie groups of Q rankings, nearest first; groups without relevant rows are optional.

    Attributes:
        start: int64[Q, G], rows ranked strictly before the group.
        size: int64[Q, G], rows in the group; 0 where there is none.
        relevant: int64[Q, G], relevant rows in the group.
    """

    start: Ints
    size: Ints
    relevant: Ints

    @classmethod
    def of_counts(cls, size: Ints, relevant: Ints) -> TieGroups:
        """Return the groups of histograms over distances, int64[Q, K+1] each."""
        return cls(np.cumsum(size, axis=1) - size, size, relevant)

    def before(self) -> Ints:
        """Return the relevant rows ranked strictly before each group, int64[Q, G]."""
        before: Ints = np.cumsum(self.relevant, axis=1) - self.relevant
        return before

    def taken(self, cut: int) -> Ints:
        """Return the number of rows of each group among the first ``cut``, int64[Q, G]."""
        taken: Ints = np.clip(cut - self.start, 0, self.size)
        return taken


def harmonic_numbers(n: int) -> Floats:
    """Return H(0) to H(n), float64[n+1]: H(i) = 1 + 1/2 + ... + 1/i."""
    return np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, n + 1))])


def expected_hits(groups: TieGroups, cut: int) -> Floats:
    """Return the expected number of relevant rows among the first ``cut``, float64[Q]."""
    hits: Floats = (groups.relevant * groups.taken(cut) / np.maximum(groups.size, 1)).sum(axis=1)
    return hits


def expected_precision_sum(groups: TieGroups, cut: int, harmonic: Floats) -> Floats:
    """Return the expected sum of precisions at the relevant rows before the cut, float64[Q].

    Divided by a number that does not depend on the order (all relevant rows, or min(relevant, cut)), it is the exact
    expected average precision.

    Args:
        groups: the rankings.
        cut: number of rows that count; at most N.
        harmonic: H(0) to at least H(cut), see :func:`harmonic_numbers`.
    """
    total: Floats = _precision_sums(groups, cut, harmonic).sum(axis=1)
    return total


def expected_ap_of_found(groups: TieGroups, cut: int, harmonic: Floats) -> Floats:
    """Return the expected average precision over the relevant rows found, float64[Q].

    It is 0 where none is found.

    Where the cut falls inside a tie group, both the sum and the divisor depend on the order. The number x of relevant
    rows of the group before the cut is then hypergeometric, and given x every order of the places before the cut is
    equally likely. So the closed form of the group holds with (m, x) in place of (t, r), and the mean over x is exact:
    O(min(m, r)) for a query.

    Args:
        groups: the rankings.
        cut: number of rows that count; at most N.
        harmonic: H(0) to at least H(cut).
    """
    sums = _precision_sums(groups, cut, harmonic)
    taken, before = groups.taken(cut), groups.before()
    split = (taken > 0) & (taken < groups.size) & (groups.relevant > 0)
    ratio: Floats = sums.sum(axis=1) / np.maximum(expected_hits(groups, cut), 1.0)
    for query, group in np.argwhere(split):
        whole = float(sums[query, :group].sum())
        place = (int(groups.start[query, group]), int(before[query, group]), int(taken[query, group]))
        counts = (int(groups.size[query, group]), int(groups.relevant[query, group]))
        ratio[query] = _split_group_ap(whole, place, counts, harmonic)
    return ratio


def _split_group_ap(whole: float, place: tuple[int, int, int], counts: tuple[int, int], harmonic: Floats) -> float:
    # E[sum / found] where the cut takes m of a group's t rows: ``place`` is (s, R, m), ``counts`` is (t, r).
    (start, before, m), (size, relevant) = place, counts
    found, weight = hypergeometric(size, relevant, m)
    sums = whole + _group_sum(start, before, np.int64(m), found, np.int64(m), harmonic)
    return float(weight @ (sums / np.maximum(before + found, 1)))


def hypergeometric(size: int, relevant: int, drawn: int) -> tuple[Ints, Floats]:
    """Return the possible numbers of relevant rows in a draw, and their probabilities."""
    values = np.arange(max(0, drawn - (size - relevant)), min(drawn, relevant) + 1, dtype=np.int64)
    x = values[:-1].astype(np.float64)
    # Ratios of neighbouring terms, in logarithms: factorials of a million rows would overflow.
    steps = np.log((relevant - x) * (drawn - x)) - np.log((x + 1) * (size - relevant - drawn + x + 1))
    logs = np.concatenate([[0.0], np.cumsum(steps)])
    weight = np.exp(logs - logs.max())
    return values, weight / weight.sum()


def _precision_sums(groups: TieGroups, cut: int, harmonic: Floats) -> Floats:
    # Groups beyond the cut take 0 rows, so any valid index of the table serves them.
    start = np.minimum(groups.start, cut)
    return _group_sum(start, groups.before(), groups.size, groups.relevant, groups.taken(cut), harmonic)


def _group_sum(
    start: Ints | int,
    before: Ints | int,
    size: Ints | np.int64,
    relevant: Ints,
    taken: Ints | np.int64,
    harmonic: Floats,
) -> Floats:
    # The closed form at the top of this file: s, R, t, r and m are start, before, size, relevant and taken.
    slope = (relevant - 1) / np.maximum(size - 1, 1)
    steps = harmonic[start + taken] - harmonic[start]
    total: Floats = relevant / np.maximum(size, 1) * ((before + 1 - (start + 1) * slope) * steps + slope * taken)
    return total
