"""The kind that is chosen by measuring: flat or multihash, which are exact, or IVF where some recall may be given up.

How far hits are, how full buckets and cells are, and how often a cell misses a hit is measured on the codes; what a
look-up costs beside a scan is known (:mod:`aepipe.index.reach`). So the same codes give the same choice. The index is
saved as the kind that was chosen.

Legend: M distinct codes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aepipe.index import ivf, multihash
from aepipe.index.reach import TYPICAL, scan_cost
from aepipe.index.scan import Scan

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aepipe.recipe import Options

ASKED = 500
WORTH = 0.7
"""Another kind than flat is chosen where a query costs at most so much of a scan."""
PROBED = 1.5
"""A code in a cell costs so many scanned ones."""


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
    """Build the kind that should be fastest; see :func:`aepipe.index.build`."""
    scan = scan_cost(codes.n_bits, len(codes))
    offers = [(scan * WORTH, codes)]
    hashed = multihash.build(codes, offsets)
    if isinstance(hashed, multihash.MultiHash):
        offers.append((hashed.reach.cost(TYPICAL[0], codes.n_bits, len(codes)), hashed))
    if recall < 1:
        parted = ivf.build(codes, offsets)
        found = _probes(parted, codes, recall) if isinstance(parted, ivf.Ivf) else None
        if found is not None and isinstance(parted, ivf.Ivf):
            probes, share = found
            chosen = ivf.Ivf(codes, parted.cells, parted.options | {"probes": probes})
            centres = scan_cost(codes.n_bits, parted.cells.nlist)
            offers.append((centres + PROBED * share * scan, chosen))
    return min(offers, key=lambda offer: offer[0])[1]


def open(folder: Path, codes: Scan, offsets: NDArray[np.int64], options: Mapping[str, Any]) -> Scan:
    """Refuse: an index is saved as the kind that was chosen."""
    raise ValueError("no index is saved as auto")


def _probes(parted: ivf.Ivf, codes: Scan, recall: float) -> tuple[int, float] | None:
    """Return the fewest probes that reach a recall, and the share of codes they compare; None where none do.

    Recall is of distances: a hit counts where it is as near as the farthest of the true ones.
    """
    places = np.random.default_rng(0).choice(len(codes), min(ASKED, len(codes)), replace=False)
    # A query is seldom a code of the collection: one bit is turned.
    asked = codes.packed[np.sort(places)].copy()
    asked[:, 0] ^= 0x80
    k = min(TYPICAL[0], len(codes))
    limit = codes.nearest(asked, k).distances.reshape(-1, k)[:, -1]
    probes = 1
    while probes < parted.cells.nlist:
        found = ivf.Ivf(codes, parted.cells, {"probes": probes}).nearest(asked, k)
        if (found.distances <= limit[found.query]).sum() >= recall * k * len(asked):
            return probes, min(1.0, probes / parted.cells.nlist)
        probes *= 2
    return None
