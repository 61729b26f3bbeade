"""Near-duplicates between queries and the rows that answer: what makes figures look better than they are.

Legend: N database rows, Q queries, D features, k neighbours.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aepipe.evaluate.floats import Features
from aepipe.evaluate.ties import Ints

NEAR = 0.06
"""Distance of two rows, as a share of what it is between any two, up to which they are one thing: the same picture
saved again, or a recording with a little noise."""
NAMED = 3
"""Near-duplicates that a note names."""


def near_duplicates(database: Features, queries: Features, neighbours: Ints) -> Ints:
    """Return for each query the row of the database that it nearly is, int64[Q]; -1 where there is none.

    Args:
        database: uint8 or float [N, D].
        queries: uint8 or float [Q, D].
        neighbours: int64[Q, k], each query's nearest rows, in any order.
    """
    # Two rows that are drawn by themselves differ, in the mean of squares, by twice the variance.
    usual = float(np.sqrt(2 * queries.astype(np.float64).var(axis=0).mean()))
    found = np.full(len(queries), -1, np.int64)
    for place, near in enumerate(neighbours):
        differ = database[near].astype(np.float64) - queries[place].astype(np.float64)
        error = np.sqrt(np.square(differ).mean(axis=1))
        if error.min() <= NEAR * usual:
            found[place] = near[error.argmin()]
    return found


def said_of(twins: Ints, rows: NDArray[np.str_] | None, queries: NDArray[np.str_] | None) -> list[str]:
    """Say in one note which queries are nearly rows of the database; no note where none is.

    Args:
        twins: what :func:`near_duplicates` found.
        rows: keys of the database; None where they have none.
        queries: keys of the queries; None where they have none.
    """
    found = np.flatnonzero(twins >= 0)
    if not len(found):
        return []
    examples = ""
    if rows is not None and queries is not None:
        first = [f"{queries[query]} ~ {rows[twins[query]]}" for query in found[:NAMED]]
        examples = f": {', '.join(first)}{', ...' if len(found) > NAMED else ''}"
    return [
        f"{len(found):,} of {len(twins):,} queries nearly are rows that answer (they differ by less than {NEAR:.0%} "
        f"of what any two do), which flatters the figures{examples}"
    ]
