"""Labels of an item as one text.

A single label is itself; several stand in order with a separator between them. So a collection whose items have one
label each is stored as it always was.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

SEPARATOR = "\x1f"
"""ASCII's unit separator, which no text has that people read."""


def joined(labels: Iterable[str]) -> str | None:
    """Return the text of some labels, each once and in order; None where there are none."""
    tidy = {label.replace(SEPARATOR, " ").strip() for label in labels}
    return SEPARATOR.join(sorted(tidy - {""})) or None


def parted(text: str | None) -> tuple[str, ...]:
    """Return the labels in a text; none for None."""
    return tuple(text.split(SEPARATOR)) if text else ()


def shown(text: str | None) -> str | None:
    """Return the labels in a text for people to read."""
    return text.replace(SEPARATOR, ", ") if text else text


def any_several(texts: Iterable[str | None]) -> bool:
    """Say whether an item has several labels."""
    return any(SEPARATOR in text for text in texts if text)


def label_sets(texts: Iterable[str | None]) -> NDArray[np.object_]:
    """Return the labels of each item as a frozenset, object[N]; an empty one where it has none."""
    sets = [frozenset(parted(text)) for text in texts]
    return np.fromiter(sets, np.object_, len(sets))
