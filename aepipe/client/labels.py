"""Labels that a service gives the rows of a collection."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aepipe.report.labels import Line

ROWS = 10_000
"""Rows of one answer."""


@dataclass(frozen=True, slots=True, eq=False)
class RemoteLabelled:
    """The rows of a collection, labelled by words; as :class:`aepipe.release.label.Labelled`.

    Attributes:
        words: W texts.
        ids: int64[N], ascending.
        keys: of the rows.
        places: of the words that rows are labelled with, int64[N].
        confidence: float32[N], 0..1, how far these stand out from the other words.
        far: what is to be said of words that the collection does not understand.
    """

    words: tuple[str, ...]
    ids: NDArray[np.int64]
    keys: Sequence[str]
    places: NDArray[np.int64]
    confidence: NDArray[np.float32]
    far: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    def counts(self) -> dict[str, int]:
        """Return how many rows each of the words has, in their order."""
        return dict(zip(self.words, np.bincount(self.places, minlength=len(self.words)).tolist(), strict=True))

    def lines(self) -> Iterator[Line]:
        """Yield id, key, label and confidence of each row."""
        confidence = (round(float(one), 4) for one in self.confidence)
        yield from zip(self.ids.tolist(), self.keys, (self.words[one] for one in self.places), confidence, strict=True)


def labelled(words: Sequence[str], page: Callable[[Mapping[str, Any]], Any]) -> RemoteLabelled:
    """Return the labels of all rows.

    Args:
        words: two at least.
        page: answers a request for some rows.
    """
    rows, after = list[Any](), 0
    while True:
        told = page({"words": list(words), "after": after, "limit": ROWS})
        rows += told["rows"]
        if told["next"] is None:
            break
        after = told["next"]
    numbers = {word: place for place, word in enumerate(told["words"])}
    return RemoteLabelled(
        tuple(told["words"]),
        np.array([one["id"] for one in rows], np.int64),
        [one["key"] for one in rows],
        np.array([numbers[one["label"]] for one in rows], np.int64),
        np.array([one["confidence"] for one in rows], np.float32),
        tuple(told["far"]),
    )
