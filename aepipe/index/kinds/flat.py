"""Flat index: compare the query with every distinct code; exact."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aepipe.index.scan import Scan

if TYPE_CHECKING:
    from aepipe.recipe import Options


def options() -> type[Options]:
    """Return the model of this kind's options; a query must not load pydantic."""
    from aepipe.recipe import Options

    class Flat(Options):
        """Options of the flat index: none."""

    return Flat


def build(codes: Scan, offsets: NDArray[np.int64]) -> Scan:
    """Return the scan itself; see :func:`aepipe.index.hamming.build`."""
    return codes


def open(folder: Path, codes: Scan, offsets: NDArray[np.int64], options: Mapping[str, Any]) -> Scan:
    """Return the scan itself; see :func:`aepipe.index.hamming.open`."""
    return codes
