"""Names for what features show, by a text tower: the one of some words that stands out.

A tower knows every text, so it can name nothing by itself: it is asked with words that may be names.

Legend: W words, F features.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aepipe.words import Words
from aepipe.words.groups import groups
from aepipe.words.own import OwnWords

OWN = 200
"""Own words of a collection that may be names, the most frequent ones."""
ALIKE, STANDS_OUT = 0.3, 3.0
"""Cosine that a word and features have at least, for the word to name them; and how many standard deviations of the
cosines of all words that is above their mean. Chosen by eye on a map of emoji."""


class TowerNames:
    """Words that may name what features show; see :class:`aepipe.words.Names`.

    Args:
        words: of a text tower.
        texts: W words.
    """

    def __init__(self, words: Words, texts: Sequence[str]) -> None:
        self._texts, self._centre = texts, words.centre
        self._directions = np.stack([_unit(words(text).features - self._centre) for text in texts])

    def name_of(self, features: NDArray[np.floating]) -> str | None:
        """Return the word that is most like features [F]; None where none stands out."""
        near = self._directions @ _unit(features.astype(np.float32) - self._centre)
        best = int(near.argmax())
        clear = near[best] - near.mean() >= STANDS_OUT * near.std()
        return self._texts[best] if clear and near[best] >= ALIKE else None


def candidates(own: OwnWords) -> list[str]:
    """Return words that may be names: those of a collection, and kinds of things."""
    return list(dict.fromkeys([*own.texts[:OWN], *(names[0] for names, _ in groups())]))


def _unit(x: NDArray[np.float32]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = x / max(float(np.linalg.norm(x)), 1e-12)
    return found
