"""Sources whose items a frozen network looks at, below the stack."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aepipe.sources.feature_cache import FeatureCache


@dataclass(frozen=True, slots=True)
class Wanted:
    """A network as a recipe names it.

    Attributes:
        name: of a network that a package brings; empty for one of the user's own.
        files: of one of the user's own, by the name that they bear on the shelf.
        sha256: of these.
        width: F, features of an item.
    """

    name: str
    files: Mapping[str, Path]
    sha256: str
    width: int


class Seeing:
    """What such a source has beside what all sources have; without ``backbone`` it is like any other."""

    backbone: Wanted | None = None
    _ref: str = ""
    _cache: FeatureCache | None = None

    def equip(self, folder: Path, ref: str) -> None:
        """Take the network, and what the shelf calls it.

        Raises:
            CorruptError: it cannot be used.
        """
        raise NotImplementedError

    def remember(self, cache: FeatureCache) -> None:
        """Take features from a cache, and put new ones there."""
        self._cache = cache

    def _remembered(self, data: bytes, look: Callable[[], NDArray[np.generic]]) -> NDArray[Any]:
        """Return the features of an item, by its bytes, from the cache where they are there."""
        digest = hashlib.sha256(data).digest()
        known = None if self._cache is None else self._cache.get(digest)
        if known is None:
            known = look()
            if self._cache is not None:
                self._cache.put(digest, known)
        return known
