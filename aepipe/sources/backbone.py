"""Sources whose rows are the features of a frozen network.

The networks themselves are in :mod:`aepipe.sources.networks`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aepipe.sources.item import Decode
from aepipe.sources.networks.cache import FeatureCache
from aepipe.sources.networks.graph import whole_graph
from aepipe.store import layout

GRAPH = layout.Backbone.GRAPH
TOKENIZER = layout.Backbone.TOKENIZER
VERSION = 1
"""Of the artifact of a network; another one makes the artifact anew."""


@dataclass(frozen=True, slots=True)
class BackboneSpec:
    """A network as a recipe names it.

    Attributes:
        name: of a network that a package brings; empty for one of the user's own.
        files: of one of the user's own, by the names that they have in the store.
        sha256: of what the store has of them.
        width: F, features of an item.
        size: height and width of the pictures that it takes; None for a network that takes others.
        output: of the graph that is taken; empty for a graph that the store has as it is.
        said: what was read of the network's folder, in words.
    """

    name: str
    files: Mapping[str, Path]
    sha256: str
    width: int
    size: tuple[int, int] | None = None
    output: str = ""
    said: tuple[str, ...] = ()

    def contents(self) -> dict[str, bytes]:
        """Return the user's own files as the store has them, the graph with all of its weights.

        Raises:
            CorruptError: the weights of the graph cannot be read.
        """
        return {
            name: whole_graph(file, self.output) if name == GRAPH else file.read_bytes()
            for name, file in self.files.items()
        }

    def inputs(self) -> dict[str, Any]:
        """Return everything that its artifact in a store depends on, for the digest."""
        size = list(self.size) if self.size else None
        return {"stage": "equip", "version": VERSION, "name": self.name, "sha256": self.sha256, "size": size}


class BackboneSource:
    """The part of a source that may have a frozen network; without one it is like any other.

    Attributes:
        backbone: the network whose features are the rows; None where the kind makes rows by itself.
    """

    backbone: BackboneSpec | None = None
    _ref: str = ""
    _sha256: str = ""
    _decode: Decode | None = None
    _cache: FeatureCache | None = None

    @property
    def network_said(self) -> Sequence[str]:
        """What the network's folder says of it, in words."""
        return self.backbone.said if self.backbone else ()

    def attach(self, folder: Path, ref: str) -> None:
        """Open the network.

        Args:
            folder: with its files.
            ref: its artifact in the store, which becomes a part of the features' description.

        Raises:
            CorruptError: it cannot be used.
        """
        raise NotImplementedError

    def attach_later(self, ref: str, sha256: str, folder: Callable[[], Path]) -> None:
        """Open the network only when an item is decoded that no earlier rows have.

        Args:
            ref: its artifact in the store.
            sha256: of its files, as :meth:`attach` finds it.
            folder: gives the folder of its files.
        """
        self._ref, self._sha256 = ref, sha256

        def decode(data: bytes, key: str) -> NDArray[np.generic]:
            self.attach(folder(), ref)
            assert self._decode is not None
            return self._decode(data, key)

        self._decode = decode

    def use_cache(self, cache: FeatureCache) -> None:
        """Take features from a cache where it has them, and put new ones there."""
        self._cache = cache

    def row(self, data: bytes, key: str) -> NDArray[np.generic]:
        """Return the row of one item: as the kind makes it, or float16[F] by the network.

        Raises:
            ItemError: the bytes cannot be decoded.
        """
        decode = self._decode
        assert decode is not None, "fitted() or attach() comes first"
        return self._cached(data, lambda: decode(data, key)) if self.backbone else decode(data, key)

    def _cached(self, data: bytes, make: Callable[[], NDArray[np.generic]]) -> NDArray[Any]:
        """Return the features of an item, by its bytes: from the cache, or made and put there."""
        digest = hashlib.sha256(data).digest()
        known = None if self._cache is None else self._cache.get(digest)
        if known is None:
            known = make()
            if self._cache is not None:
                self._cache.put(digest, known)
        return known
