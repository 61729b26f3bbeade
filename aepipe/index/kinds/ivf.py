"""IVF index: compare the query with the nearest cells of codes only; approximate.

Fast, and approximate: a hit in another cell is missed. Learned codes cluster, so few cells hold most hits; on codes
without structure, recall is poor. A radius search is a scan, and exact.

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
from aepipe.index.scan import Scan, faiss_errors_named, swig, threads_of_faiss

if TYPE_CHECKING:
    from aepipe.recipe import Options

FILE = "ivf.faiss"
FIT_CODES_PER_CELL = 64
MOST_CELLS = 1 << 16
NEAREST = 10
"""Recall is measured on this number of nearest rows."""
PROBED = 1.5
"""Cost of a code in a cell, in scanned codes."""


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
        with faiss_errors_named(folder / FILE):
            swig.write_index_binary(self.cells, str(folder / FILE))

    def nearest(self, packed: NDArray[np.uint8], k: int, threads: int = 1) -> CodeHits:
        """Return near codes, or scan where fewer than k are found; see :meth:`Scan.nearest`."""
        if not len(packed):
            return CodeHits.none()
        with threads_of_faiss(threads if len(packed) > 1 else 1):
            params = swig.SearchParametersIVF(nprobe=self.probes)
            distances, positions = self.cells.search(packed, min(k, len(self)), params=params)
        return self.completed(packed, k, distances, positions, threads)


def options() -> type[Options]:
    """Return the model of this kind's options; a query must not load pydantic."""
    from pydantic import Field

    from aepipe.recipe import Options

    class Ivf(Options):
        """Options of the cells and of their search.

        Attributes:
            cells: number of cells; 0 for about 4 sqrt(M).
            probes: number of cells that a query is compared with.
        """

        cells: int = Field(0, ge=0, le=MOST_CELLS)
        probes: int = Field(32, ge=1)

    return Ivf


def build(codes: Scan, offsets: NDArray[np.int64], *, cells: int = 0, probes: int = 32) -> Scan:
    """Split the codes into cells; see :func:`aepipe.index.hamming.build`."""
    if not len(codes):
        return codes
    chosen = {"cells": cells, "probes": probes}
    n_cells = min(cells or max(1, usual_cells(len(codes))), len(codes), MOST_CELLS)
    quantizer = swig.IndexBinaryFlat(codes.flat.d)
    in_cells = swig.IndexBinaryIVF(quantizer, codes.flat.d, n_cells)
    quantizer.this.disown()  # FAISS deletes it with the index that owns it
    in_cells.own_fields = True
    in_cells.cp.min_points_per_centroid = 1
    sample = np.random.default_rng(0).choice(len(codes), min(len(codes), FIT_CODES_PER_CELL * n_cells), replace=False)
    in_cells.train(np.ascontiguousarray(codes.packed[np.sort(sample)]))
    in_cells.add(codes.packed)
    return Ivf(codes, in_cells, chosen)


def usual_cells(n_codes: int) -> int:
    """Return the default number of cells."""
    return round(4 * math.sqrt(n_codes))


def cost(n_bits: int, n_codes: int, *, cells: int, share: float) -> float:
    """Return the cost of a query, in nanoseconds.

    Args:
        n_bits: K.
        n_codes: M.
        cells: number of cells, whose centres are all compared.
        share: share of the cells that the query is compared with.
    """
    return compare_cost(n_bits, cells) + PROBED * share * compare_cost(n_bits, n_codes)


def recalls(in_cells: Ivf, places: NDArray[np.int64], probes: Iterable[int]) -> Iterator[tuple[int, float]]:
    """Yield numbers of probes below the number of cells, with the recall they reach.

    Recall is by distance: a hit counts if it is no farther than the farthest of the true nearest.

    Args:
        in_cells: the codes in cells.
        places: int64[n], of the codes used as queries, with one bit flipped: a query is seldom a code of the
            collection.
        probes: numbers of cells, ascending.
    """
    asked = in_cells.packed[places].copy()
    asked[:, 0] ^= 0x80
    k = min(NEAREST, len(in_cells))
    limit = Scan.nearest(in_cells, asked, k).distances.reshape(-1, k)[:, -1]
    for count in itertools.takewhile(lambda count: count < in_cells.cells.nlist, probes):
        found = Ivf(in_cells, in_cells.cells, {"probes": count}).nearest(asked, k)
        yield count, float((found.distances <= limit[found.query]).sum()) / (k * len(asked))


def open(folder: Path, codes: Scan, offsets: NDArray[np.int64], options: Mapping[str, Any]) -> Scan:
    """Open saved cells; see :func:`aepipe.index.hamming.open`."""
    # With the older IO_FLAG_MMAP, every query starts threads, which takes a hundred times as long as the query.
    with faiss_errors_named(folder / FILE):
        in_cells = swig.read_index_binary(str(folder / FILE), swig.IO_FLAG_MMAP_IFC)
    if (in_cells.ntotal, in_cells.d) != (len(codes), codes.flat.d):
        raise ValueError(f"{FILE} does not belong to these codes")
    return Ivf(codes, in_cells, options)
