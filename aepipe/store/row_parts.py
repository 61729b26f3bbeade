"""Ids of rows as runs: rows that follow each other mostly have ids that do.

A run is the first id of some rows that follow each other, and how many they are. A collection that was read once is one
run, whatever its parts; each row that was added in the middle later may make two more.

Legend: N rows, R runs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def runs_of(ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the runs of some ids, int64[R, 2]: first id and number.

    Args:
        ids: int64[N], in the order of rows.
    """
    if not len(ids):
        return np.empty((0, 2), np.int64)
    starts = np.concatenate([[0], np.flatnonzero(np.diff(ids) != 1) + 1])
    return np.stack([ids[starts], np.diff(np.append(starts, len(ids)))], axis=1).astype(np.int64)


def ids_of_runs(runs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the ids of runs, int64[N]."""
    first, counts = np.asarray(runs[:, 0]), np.asarray(runs[:, 1])
    shifts = first - (np.cumsum(counts) - counts)
    ids: NDArray[np.int64] = np.arange(int(counts.sum()), dtype=np.int64) + np.repeat(shifts, counts)
    return ids


def joined(parts: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Return the runs of parts that follow each other, int64[R, 2]; those that go on become one."""
    runs = np.concatenate([np.empty((0, 2), np.int64), *parts])
    if not len(runs):
        return runs
    begins = np.append(True, runs[1:, 0] != runs[:-1, 0] + runs[:-1, 1])
    starts = np.flatnonzero(begins)
    return np.stack([runs[starts, 0], np.add.reduceat(runs[:, 1], starts)], axis=1)


class Slices:
    """Runs, asked for the rows at some positions, without all ids in memory.

    Args:
        runs: int64[R, 2].
    """

    def __init__(self, runs: NDArray[np.int64]) -> None:
        self._runs = np.asarray(runs)
        self._ends = np.cumsum(self._runs[:, 1])

    def at(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the ids of the rows at some positions, int64[n]."""
        runs = np.searchsorted(self._ends, positions, side="right")
        ids: NDArray[np.int64] = self._runs[runs, 0] + positions - (self._ends[runs] - self._runs[runs, 1])
        return ids

    def of(self, start: int, stop: int) -> NDArray[np.int64]:
        """Return the runs of the rows from one position up to another, int64[R, 2]."""
        first = int(np.searchsorted(self._ends, start, side="right"))
        last = int(np.searchsorted(self._ends, stop, side="left"))
        cut = self._runs[first : last + 1].copy()
        if start >= stop or not len(cut):
            return np.empty((0, 2), np.int64)
        skipped = start - int(self._ends[first] - self._runs[first, 1])
        cut[0] += [skipped, -skipped]
        cut[-1, 1] -= int(self._ends[last]) - stop
        return cut
