"""The kind that is chosen by measuring: flat or multihash, which are exact, or IVF where some recall may be given up.

How far hits are, how full buckets and cells are, and how often a cell misses a hit is measured on the codes; what a
look-up costs beside a scan is known (:mod:`aepipe.index.cost_model`). So the same codes give the same choice. The index is
saved as the kind that was chosen.

Legend: M distinct codes.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aepipe.index.cost_model import TYPICAL, Reach, scan_cost
from aepipe.index.kinds import ivf, multihash
from aepipe.index.scan import Scan

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aepipe.recipe import Options

ASKED = 500
WORTH = 0.7
"""Another kind than flat is chosen where a query costs at most so much of a scan."""


def options() -> type[Options]:
    """Return the model of this kind's options; a function, so that a query need not import the recipe."""
    from pydantic import Field

    from aepipe.recipe import Options

    class Auto(Options):
        """What is asked of an index.

        Attributes:
            recall: the share of the 10 nearest that must be found; below 1, approximate kinds may be chosen, too.
        """

        recall: float = Field(1.0, gt=0, le=1)

    return Auto


def build(codes: Scan, offsets: NDArray[np.int64], *, recall: float = 1.0) -> Scan:
    """Build the kind that should be fastest; see :func:`aepipe.index.hamming.build`."""
    scan = scan_cost(codes.n_bits, len(codes))
    offers: list[tuple[float, Scan | Reach]] = [(scan * WORTH, codes)]
    reach = multihash.looked_at(codes, offsets)
    if reach is not None:
        offers.append((reach.cost(TYPICAL[0], codes.n_bits, len(codes)), reach))
    if recall < 1:
        parted = ivf.build(codes, offsets)
        if isinstance(parted, ivf.Ivf):
            offers += _with_cells(parted, recall)
    best = min(offers, key=lambda offer: offer[0])[1]
    # Tables are filled only where they are wanted.
    return multihash.filled(codes, offsets, best, {"substrings": 0}) if isinstance(best, Reach) else best


def open(folder: Path, codes: Scan, offsets: NDArray[np.int64], options: Mapping[str, Any]) -> Scan:
    """Refuse: an index is saved as the kind that was chosen."""
    raise ValueError("no index is saved as auto")


def _with_cells(parted: ivf.Ivf, recall: float) -> list[tuple[float, Scan | Reach]]:
    """Return what a query costs with the fewest probes that reach a recall, and that index; nothing where none do."""
    places = np.random.default_rng(0).choice(len(parted), min(ASKED, len(parted)), replace=False)
    doubled = (1 << power for power in itertools.count())
    tried = ivf.recalls(parted, np.sort(places), doubled)
    probes = next((probes for probes, found in tried if found >= recall), None)
    if probes is None:
        return []
    cells = parted.cells.nlist
    took = ivf.cost(parted.n_bits, len(parted), cells=cells, share=probes / cells)
    return [(took, ivf.Ivf(parted, parted.cells, parted.options | {"probes": probes}))]
