"""Prefix queries: a release seen through the first bits of its codes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from aepipe.codes.bitcodes import BitCodes
from aepipe.codes.encoder import Encoder
from aepipe.errors import QueryError
from aepipe.index.remote import Index
from aepipe.release.release import Release
from aepipe.store.segments import CodeSegments


class Prefix(Release):
    """A release seen through the first bits of its codes: the same rows, faster and coarser.

    Its fingerprint is ``<fingerprint>/<bits>``, so its codes are never compared with whole ones. Codes whose prefixes
    were trained to be codes (``nested`` under the objective ``neighbourhood``) lose little; others lose whatever their
    first bits do not say.

    Args:
        whole: the release.
        n_bits: how many of the first bits are compared.

    Raises:
        QueryError: codes of the release have fewer bits.
    """

    def __init__(self, whole: Release, n_bits: int) -> None:
        if not isinstance(n_bits, int | np.integer) or not 1 <= n_bits <= whole.n_bits:
            raise QueryError(f"{whole.name}: its codes have {whole.n_bits} bits, not {n_bits!r}")
        own = ("encoder", "index", "segments", "confidence")  # cached by the whole, and another thing in a prefix
        self.__dict__.update({name: value for name, value in whole.__dict__.items() if name not in own})
        self._whole = whole
        self.n_bits = n_bits
        if n_bits < whole.n_bits:
            self.fingerprint = f"{whole.fingerprint}/{n_bits}"

    @property
    def whole(self) -> Release:
        """The release with all bits."""
        return self._whole

    @cached_property
    def encoder(self) -> Encoder:
        """The encoder of the whole release, which gives all bits."""
        return self._whole.encoder

    @cached_property
    def index(self) -> Index:
        """An index of the prefixes, made in memory."""
        return self._whole.index.prefix(self.n_bits)

    @cached_property
    def segments(self) -> CodeSegments:
        """The codes of the whole release, with all bits."""
        return self._whole.segments

    @property
    def decoder(self) -> None:
        """None: items cannot be decoded from the first bits alone."""
        return

    def encode(self, items: NDArray[np.generic], *, threads: int = 1) -> BitCodes:
        """Return the prefixes of the codes of decoded items; see :meth:`Release.encode`."""
        return self._whole.encode(items, threads=threads).prefix(self.n_bits)

    def codes_of(self, ids: NDArray[np.int64] | Sequence[int]) -> BitCodes:
        """Return the prefixes of the stored codes of some rows; see :meth:`Release.codes_of`."""
        return self._whole.codes_of(ids).prefix(self.n_bits)
