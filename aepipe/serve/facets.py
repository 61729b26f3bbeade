"""Rows by label and by split: counts for filters, and the ids that fit them, without SQL.

Legend: N rows of a release.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from aepipe.store.labels import parted

Ids = NDArray[np.int64]


class Facet:
    """Which rows have which of the values of a column.

    Args:
        column: N texts, each a value or several (:mod:`aepipe.store.labels`), or None.
        ids: int64[N], the rows.

    Attributes:
        counts: rows by value.
    """

    def __init__(self, column: Iterable[str | None], ids: Ids) -> None:
        numbers: dict[str | None, int] = {}
        self._ids = ids
        self._numbers = np.fromiter((numbers.setdefault(text, len(numbers)) for text in column), np.int32, len(ids))
        sizes = np.bincount(self._numbers, minlength=len(numbers)).tolist()
        self._texts = [frozenset(parted(text)) for text in numbers]
        self.counts: Counter[str] = Counter()
        for values, size in zip(self._texts, sizes, strict=True):
            self.counts.update(dict.fromkeys(values, size))

    def rows(self, values: Sequence[str]) -> Ids:
        """Return the ids of the rows that have one of some values, int64[n], ascending."""
        wanted = np.fromiter((not texts.isdisjoint(values) for texts in self._texts), bool, len(self._texts))
        found: Ids = self._ids[wanted[self._numbers]]
        return found
