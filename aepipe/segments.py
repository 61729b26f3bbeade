"""Segments of codes: which row has which code, spread over directories that are written once and only ever added to.

Files of one: ``ids.npy``, int64[N] ascending; ``codes.npy``, uint8[N, W], packed as :mod:`aepipe.bits` says; and, where
the recipe keeps them, ``embedding.npy``, int8[N, H], as :mod:`aepipe.embeddings` has it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from aepipe import embeddings
from aepipe.bits import BitCodes, n_bytes
from aepipe.disk import mapped
from aepipe.errors import CorruptError, FingerprintError
from aepipe.store import Ref, Store

Places: TypeAlias = NDArray[np.int64]

IDS = "ids.npy"
CODES = "codes.npy"


class CodeSegments:
    """The codes of one encoder, mapped.

    Args:
        folders: of the segments, oldest first.
        n_bits: K.
        fingerprint: of the encoder.
    """

    def __init__(self, folders: Sequence[Path], n_bits: int, fingerprint: str) -> None:
        self.n_bits = n_bits
        self.fingerprint = fingerprint
        self._folders = folders
        self._parts = [tuple(mapped(folder / name) for name in (IDS, CODES)) for folder in folders]

    @classmethod
    def open(cls, store: Store, refs: Sequence[Ref]) -> CodeSegments:
        """Open segments after checking their bytes.

        Raises:
            CorruptError: a file is not what was written.
            FingerprintError: two encoders made them.
        """
        facts = [store.manifest(ref).facts for ref in refs]
        made_by = sorted({fact["fingerprint"] for fact in facts})
        if len(made_by) > 1:
            raise FingerprintError(f"segments of {len(made_by)} encoders in one: {', '.join(x[:12] for x in made_by)}")
        return cls([store.verified(ref) for ref in refs], facts[0]["n_bits"], made_by[0])

    def of(self, ids: NDArray[np.int64]) -> BitCodes:
        """Return the codes of some rows, in the order asked for.

        Raises:
            CorruptError: no segment has one of them.
        """
        packed = np.zeros((len(ids), n_bytes(self.n_bits)), np.uint8)
        for codes, places, here in self._places(ids):
            packed[here] = codes[places[here]]
        return BitCodes(packed, self.n_bits, self.fingerprint)

    @cached_property
    def width(self) -> int | None:
        """H of the embeddings; None where not every row has one."""
        files = [folder / embeddings.FILE for folder in self._folders]
        if not all(file.exists() for file in files):
            return None
        return int(self._embeddings[0].shape[1])

    def embeddings_of(self, ids: NDArray[np.int64]) -> NDArray[np.int8]:
        """Return the embeddings of some rows, int8[n, H], in the order asked for; all rows have one.

        Raises:
            CorruptError: no segment has one of them.
        """
        found = np.zeros((len(ids), self.width or 0), np.int8)
        for number, (_, places, here) in enumerate(self._places(ids)):
            found[here] = self._embeddings[number][places[here]]
        return found

    @cached_property
    def _embeddings(self) -> list[NDArray[np.generic]]:
        """The embeddings of each segment, mapped."""
        return [mapped(folder / embeddings.FILE) for folder in self._folders]

    def _places(self, ids: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.generic], Places, NDArray[np.bool_]]]:
        """Go over the segments: codes, where each id would stand, and which ids are taken from there.

        Raises:
            CorruptError: no segment has one of them.
        """
        missing = np.ones(len(ids), bool)
        for own, codes in self._parts:
            places = np.minimum(np.searchsorted(own, ids), len(own) - 1)
            here = missing & (own[places] == ids) if len(own) else np.zeros(len(ids), bool)
            yield codes, places, here
            missing &= ~here
        if missing.any():
            raise CorruptError(f"no segment has the code of row {ids[missing][0]} ({missing.sum():,} such): run again")
