"""A release seen through the first bits of its codes: smaller, faster, coarser, and the same rows.

Codes whose prefixes were trained to be codes (``nested`` under the objective ``neighbourhood``) lose little by it;
others lose whatever their first bits happen not to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from aepipe.bits import BitCodes
from aepipe.encoder import Encoder
from aepipe.errors import QueryError
from aepipe.index.rows import RowIndex
from aepipe.index.updated import Updated
from aepipe.release import Release
from aepipe.segments import CodeSegments


class Prefix(Release):
    """A release whose codes end after some bits; its fingerprint says so, ``<fingerprint>/<bits>``.

    Args:
        whole: the release.
        n_bits: how many bits are looked at.

    Raises:
        QueryError: there are not so many.
    """

    def __init__(self, whole: Release, n_bits: int) -> None:
        if not 1 <= n_bits <= whole.n_bits:
            raise QueryError(f"{whole.name}: its codes have {whole.n_bits} bits, not {n_bits}")
        own = ("encoder", "index", "segments")  # what the whole has opened already is not that of a prefix
        self.__dict__.update({name: value for name, value in whole.__dict__.items() if name not in own})
        self._whole = whole
        self.n_bits = n_bits
        if n_bits < whole.n_bits:
            self.fingerprint = f"{whole.fingerprint}/{n_bits}"

    @property
    def whole(self) -> Release:
        """The release that it is a prefix of."""
        return self._whole

    @cached_property
    def encoder(self) -> Encoder:
        """The encoder of the whole."""
        return self._whole.encoder

    @cached_property
    def index(self) -> RowIndex | Updated:
        """The index of the prefixes, made of that of the whole in memory."""
        return self._whole.index.prefix(self.n_bits)

    @cached_property
    def segments(self) -> CodeSegments:
        """Those of the whole."""
        return self._whole.segments

    @property
    def decoder(self) -> None:
        """None: nothing is rebuilt from the first bits only."""
        return

    def encode(self, items: NDArray[np.uint8], *, threads: int = 1) -> BitCodes:
        """Return the prefixes of the codes of decoded items; see :meth:`Release.encode`."""
        return self._whole.encode(items, threads=threads).prefix(self.n_bits)

    def codes_of(self, ids: NDArray[np.int64] | Sequence[int]) -> BitCodes:
        """Return the prefixes of the stored codes of some rows; see :meth:`Release.codes_of`."""
        return self._whole.codes_of(ids).prefix(self.n_bits)
