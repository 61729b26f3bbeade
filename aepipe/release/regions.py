"""Parts of a map with a name each: what its rows have in common, in a known word.

Rows that lie together are taken together, and the known word is named whose features are most like the mean of theirs.
Words that are known one by one name it themselves, see :mod:`aepipe.words.known`; a text tower is asked with the
collection's own words and those of many kinds of things, see :mod:`aepipe.words.naming`.

Legend: N rows, F features.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aepipe.release.maps import Region
from aepipe.release.release import Release
from aepipe.release.words import features_of
from aepipe.words import Names

MOST, ROWS_OF_ONE = 24, 25
"""Parts of a map at most; and the rows that one has on average at least."""
SEED = 0


def regions(release: Release, ids: NDArray[np.int64], places: NDArray[np.floating]) -> list[Region]:
    """Return the parts of a map that have a name, the largest first.

    Args:
        release: whose rows lie there.
        ids: int64[N], of some rows.
        places: float[N, 2], where they lie.

    Raises:
        CorruptError: the rows are missing from the store.
        ModuleNotFoundError: scikit-learn is not installed.
    """
    parts = min(MOST, len(ids) // ROWS_OF_ONE)
    names = _names(release) if parts > 1 else None
    if names is None:
        return []
    from sklearn.cluster import KMeans

    features = np.stack(features_of(release, ids.tolist()))
    part = KMeans(parts, n_init=4, random_state=SEED).fit_predict(places.astype(np.float64))
    counts = np.bincount(part, minlength=parts)
    found, taken = list[Region](), set[str]()
    for number in np.argsort(-counts, kind="stable").tolist():
        inside = part == number
        name = names.name_of(features[inside].mean(axis=0)) if counts[number] else None
        # A name that a larger part has says nothing of this one.
        if name is not None and name.casefold() not in taken:
            taken.add(name.casefold())
            x, y = np.median(places[inside], axis=0).tolist()
            found.append(Region(name, x, y, int(counts[number])))
    return found


def _names(release: Release) -> Names | None:
    """Return what names features; None where a release answers no words."""
    words = release.words
    if words is None or isinstance(words, Names):
        return words
    from aepipe.store.rows import Rows
    from aepipe.words.naming import TowerNames, candidates
    from aepipe.words.own import own_words

    return TowerNames(words, candidates(own_words(Rows(release.folders("rows")[0]), ())))
