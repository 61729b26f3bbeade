"""Conditions in SQL from strangers: over columns only, and within a time.

One of them is asked at a time.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from aepipe.release.filter import ids_where
from aepipe.release.release import Release

KEPT = 64
"""Answers that are kept."""


class Conditions:
    """The rows that fit conditions.

    Args:
        seconds: that one condition may take.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, str], NDArray[np.int64]] = OrderedDict()

    def rows(self, release: Release, condition: str) -> NDArray[np.int64]:
        """Return the ids of the rows for which a condition holds, int64[n], ascending.

        Raises:
            QueryError: it is not a condition over the columns, or takes too long.
            CorruptError: the rows of the release are missing.
            ExtraError: the database that reads it is not installed.
        """
        place = (release.ref.digest, condition)
        # One at a time: each may take a gigabyte.
        with self._lock:
            if place not in self._known:
                self._known[place] = ids_where(release, condition, seconds=self._seconds, plain=True)
            self._known.move_to_end(place)
            while len(self._known) > KEPT:
                self._known.popitem(last=False)
            return self._known[place]
