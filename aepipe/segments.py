"""Segments of codes: which row has which code, spread over directories that are written once and only ever added to.

Files of one: ``ids.npy``, int64[N] ascending; ``codes.npy``, uint8[N, W], packed as :mod:`aepipe.bits` says.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aepipe.bits import BitCodes, n_bytes
from aepipe.errors import CorruptError, FingerprintError
from aepipe.store import Ref, Store

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
        self._parts = [tuple(_mapped(folder / name) for name in (IDS, CODES)) for folder in folders]

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
        missing = np.ones(len(ids), bool)
        for own, codes in self._parts:
            places = np.minimum(np.searchsorted(own, ids), len(own) - 1)
            here = missing & (own[places] == ids) if len(own) else np.zeros(len(ids), bool)
            packed[here] = codes[places[here]]
            missing &= ~here
        if missing.any():
            raise CorruptError(f"no segment has the code of row {ids[missing][0]} ({missing.sum():,} such): run again")
        return BitCodes(packed, self.n_bits, self.fingerprint)


def _mapped(file: Path) -> NDArray[np.generic]:
    """Map an array."""
    return np.asarray(np.load(file, mmap_mode="r", allow_pickle=False))
