"""Automatic choice: flat or multihash, or IVF where less recall is allowed.

Distances of hits, fill of buckets and cells, and the recall of cells are measured on the codes; the costs of look-ups
and scans are constants (:mod:`aepipe.index.cost_model`). So the same codes always give the same choice. The index is
saved as the chosen kind.

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
"""A kind other than flat is chosen where a query costs less than this share of a scan."""


def options() -> type[Options]:
    """Return the model of this kind's options; a query must not load pydantic."""
    from pydantic import Field

    from aepipe.recipe import Options

    class Auto(Options):
        """Options of the automatic choice.

        Attributes:
            recall: the share of the 10 nearest rows that must be found; below 1, approximate kinds may be chosen.
        """

        recall: float = Field(1.0, gt=0, le=1)

    return Auto


def build(codes: Scan, offsets: NDArray[np.int64], *, recall: float = 1.0) -> Scan:
    """Build the kind with the lowest expected cost; see :func:`aepipe.index.hamming.build`."""
    scan = scan_cost(codes.n_bits, len(codes))
    offers: list[tuple[float, Scan | Reach]] = [(scan * WORTH, codes)]
    reach = multihash.looked_at(codes, offsets)
    if reach is not None:
        offers.append((reach.cost(TYPICAL[0], codes.n_bits, len(codes)), reach))
    if recall < 1:
        in_cells = ivf.build(codes, offsets)
        if isinstance(in_cells, ivf.Ivf):
            offers += _with_cells(in_cells, recall)
    best = min(offers, key=lambda offer: offer[0])[1]
    # Filling tables is the expensive part, so it is left until multihash is chosen.
    return multihash.filled(codes, offsets, best, {"substrings": 0}) if isinstance(best, Reach) else best


def open(folder: Path, codes: Scan, offsets: NDArray[np.int64], options: Mapping[str, Any]) -> Scan:
    """Refuse: an index is saved as the chosen kind, never as auto."""
    raise ValueError("no index is saved as auto")


def _with_cells(in_cells: ivf.Ivf, recall: float) -> list[tuple[float, Scan | Reach]]:
    """Return cost and index with the fewest probes that reach the recall; or nothing."""
    places = np.random.default_rng(0).choice(len(in_cells), min(ASKED, len(in_cells)), replace=False)
    doubled = (1 << power for power in itertools.count())
    tried = ivf.recalls(in_cells, np.sort(places), doubled)
    probes = next((probes for probes, found in tried if found >= recall), None)
    if probes is None:
        return []
    cells = in_cells.cells.nlist
    took = ivf.cost(in_cells.n_bits, len(in_cells), cells=cells, share=probes / cells)
    return [(took, ivf.Ivf(in_cells, in_cells.cells, in_cells.options | {"probes": probes}))]
