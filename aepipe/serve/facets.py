"""Rows by label and by split: counts for filters, and the ids that fit them, without SQL.

Legend: N rows of a release.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aepipe.store.labels import parted

Ids = NDArray[np.int64]


class Facet:
    """Which rows have which of the values of a column.

    Args:
        texts: that rows have, each a value or several (:mod:`aepipe.store.labels`), or None.
        numbers: int32[N], which of these each row has.
        ids: int64[N], the rows.

    Attributes:
        counts: rows by value.
    """

    def __init__(self, texts: Sequence[str | None], numbers: NDArray[np.int32], ids: Ids) -> None:
        self._ids = ids
        self._numbers = numbers
        sizes = np.bincount(numbers, minlength=len(texts)).tolist()
        self._texts = [frozenset(parted(text)) for text in texts]
        self.counts: Counter[str] = Counter()
        for values, size in zip(self._texts, sizes, strict=True):
            self.counts.update(dict.fromkeys(values, size))

    def rows(self, values: Sequence[str]) -> Ids:
        """Return the ids of the rows that have one of some values, int64[n], ascending."""
        wanted = np.fromiter((not texts.isdisjoint(values) for texts in self._texts), bool, len(self._texts))
        found: Ids = self._ids[wanted[self._numbers]]
        return found
