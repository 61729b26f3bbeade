"""The IVF index: codes are parted into cells around centres, and a query compares those of the nearest cells only.

Fast, and approximate: what lies in another cell is missed. Learned codes cluster, so few cells hold most of the hits;
on codes without structure, recall is poor. A radius search is a scan, and exact.

Legend: M distinct codes, Q queries, k neighbours, W bytes of a code.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import faiss
import numpy as np
from numpy.typing import NDArray

from aepipe.index.cost_model import compare_cost
from aepipe.index.hits import CodeHits
from aepipe.index.scan import Scan, swig, threads_of_faiss

if TYPE_CHECKING:
    from aepipe.recipe import Options

FILE = "ivf.faiss"
FIT_CODES_PER_CELL = 64
MOST_CELLS = 1 << 16
NEAREST = 10
"""Recall is that of so many."""
PROBED = 1.5
"""A code in a cell costs so many scanned ones."""


class Ivf(Scan):
    """A search among the codes of the nearest cells."""

    kind: ClassVar[str] = "ivf"

    def __init__(self, codes: Scan, cells: faiss.IndexBinaryIVF, options: Mapping[str, Any]) -> None:
        super().__init__(codes.n_bits, codes.flat, options, codes.folder)
        self.cells: Any = cells
        self.probes = int(options["probes"])

    def save(self, folder: Path) -> None:
        """Write codes and cells into an existing folder."""
        super().save(folder)
        swig.write_index_binary(self.cells, str(folder / FILE))

    def nearest(self, packed: NDArray[np.uint8], k: int, threads: int = 1) -> CodeHits:
        """Return near codes; see :meth:`Scan.nearest`. Queries whose cells hold too few are answered by a scan."""
        if not len(packed):
            return CodeHits.none()
        with threads_of_faiss(threads if len(packed) > 1 else 1):
            params = swig.SearchParametersIVF(nprobe=self.probes)
            distances, positions = self.cells.search(packed, min(k, len(self)), params=params)
        return self.completed(packed, k, distances, positions, threads)


def options() -> type[Options]:
    """Return the model of this kind's options; a function, so that a query need not import the recipe."""
    from pydantic import Field

    from aepipe.recipe import Options

    class Ivf(Options):
        """Cells, and how many of them are looked into.

        Attributes:
            cells: into how many the codes are parted; 0 for about 4 sqrt(M).
            probes: cells that a query looks into.
        """

        cells: int = Field(0, ge=0, le=MOST_CELLS)
        probes: int = Field(32, ge=1)

    return Ivf


def build(codes: Scan, offsets: NDArray[np.int64], *, cells: int = 0, probes: int = 32) -> Scan:
    """Part the codes into cells; see :func:`aepipe.index.hamming.build`."""
    if not len(codes):
        return codes
    chosen = {"cells": cells, "probes": probes}
    n_cells = min(cells or max(1, usual_cells(len(codes))), len(codes), MOST_CELLS)
    quantizer = swig.IndexBinaryFlat(codes.flat.d)
    parted = swig.IndexBinaryIVF(quantizer, codes.flat.d, n_cells)
    quantizer.this.disown()  # it lives as long as what it belongs to
    parted.own_fields = True
    parted.cp.min_points_per_centroid = 1
    sample = np.random.default_rng(0).choice(len(codes), min(len(codes), FIT_CODES_PER_CELL * n_cells), replace=False)
    parted.train(np.ascontiguousarray(codes.packed[np.sort(sample)]))
    parted.add(codes.packed)
    return Ivf(codes, parted, chosen)


def usual_cells(n_codes: int) -> int:
    """Return into how many cells codes are parted where nothing else is said."""
    return round(4 * math.sqrt(n_codes))


def cost(n_bits: int, n_codes: int, *, cells: int, share: float) -> float:
    """Return what a query costs, in nanoseconds.

    Args:
        n_bits: K.
        n_codes: M.
        cells: whose centres are compared.
        share: of all cells that are looked into.
    """
    return compare_cost(n_bits, cells) + PROBED * share * compare_cost(n_bits, n_codes)


def recalls(parted: Ivf, places: NDArray[np.int64], probes: Iterable[int]) -> Iterator[tuple[int, float]]:
    """Yield some numbers of probes, as long as they are not all cells, with the recall that each reaches.

    Recall is of distances: a hit counts where it is as near as the farthest of the true ones.

    Args:
        parted: codes in cells.
        places: int64[n], of the codes that ask. A query is seldom a code of the collection, so one bit is turned.
        probes: how many cells are looked into.
    """
    asked = parted.packed[places].copy()
    asked[:, 0] ^= 0x80
    k = min(NEAREST, len(parted))
    limit = Scan.nearest(parted, asked, k).distances.reshape(-1, k)[:, -1]
    for count in itertools.takewhile(lambda count: count < parted.cells.nlist, probes):
        found = Ivf(parted, parted.cells, {"probes": count}).nearest(asked, k)
        yield count, float((found.distances <= limit[found.query]).sum()) / (k * len(asked))


def open(folder: Path, codes: Scan, offsets: NDArray[np.int64], options: Mapping[str, Any]) -> Scan:
    """Open a saved one; see :func:`aepipe.index.hamming.open`."""
    # The older IO_FLAG_MMAP starts threads for every query, which takes a hundred times as long as the query.
    parted = swig.read_index_binary(str(folder / FILE), swig.IO_FLAG_MMAP_IFC)
    if (parted.ntotal, parted.d) != (len(codes), codes.flat.d):
        raise ValueError(f"{FILE} is not of these codes")
    return Ivf(codes, parted, options)
