"""The flat index: every distinct code is compared, so answers are exact."""

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
    """Return the model of this kind's options; a function, so that a query need not import the recipe."""
    from aepipe.recipe import Options

    class Flat(Options):
        """The flat index has nothing to choose."""

    return Flat


def build(codes: Scan, offsets: NDArray[np.int64]) -> Scan:
    """Build a search among distinct codes; see :func:`aepipe.index.hamming.build`."""
    return codes


def open(folder: Path, codes: Scan, offsets: NDArray[np.int64], options: Mapping[str, Any]) -> Scan:
    """Open a saved one; see :func:`aepipe.index.hamming.open`."""
    return codes
