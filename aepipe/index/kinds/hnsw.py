"""HNSW index: walk a graph of near codes towards the query; approximate.

It is the fastest kind for many millions of codes without small distances, and slow to build: by one thread, so that the
same codes give the same graph. The graph holds only distinct codes; equal ones would break it into pieces, and cost
half of the recall. A radius search is a scan, and exact.

Malkov, Yashunin: Efficient and robust approximate nearest neighbor search using Hierarchical Navigable Small World
graphs, 2018.

Legend: M distinct codes, Q queries, k neighbours, W bytes of a code.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import faiss
import numpy as np
from numpy.typing import NDArray

from aepipe.index.hits import CodeHits
from aepipe.index.scan import Scan, faiss_errors_named, swig, threads_of_faiss
from aepipe.log import step

if TYPE_CHECKING:
    from aepipe.recipe import Options

FILE = "hnsw.faiss"
BLOCK = 50_000


class Hnsw(Scan):
    """A search along the graph."""

    kind: ClassVar[str] = "hnsw"

    def __init__(self, codes: Scan, graph: faiss.IndexBinaryHNSW, options: Mapping[str, Any]) -> None:
        super().__init__(codes.n_bits, codes.flat, options, codes.folder)
        self.graph: Any = graph
        self.breadth = int(options["breadth"])

    def save(self, folder: Path) -> None:
        """Write codes and graph into an existing folder."""
        super().save(folder)
        with faiss_errors_named(folder / FILE):
            swig.write_index_binary(self.graph, str(folder / FILE))

    def nearest(self, packed: NDArray[np.uint8], k: int, threads: int = 1) -> CodeHits:
        """Return near codes, or scan where fewer than k are found; see :meth:`Scan.nearest`."""
        if not len(packed):
            return CodeHits.none()
        k = min(k, len(self))
        with threads_of_faiss(threads if len(packed) > 1 else 1):
            params = swig.SearchParametersHNSW(efSearch=max(self.breadth, k))
            distances, positions = self.graph.search(packed, k, params=params)
        return self.completed(packed, k, distances, positions, threads)


def options() -> type[Options]:
    """Return the model of this kind's options; a query must not load pydantic."""
    from pydantic import Field

    from aepipe.recipe import Options

    class Hnsw(Options):
        """Options of the graph and of its search.

        Attributes:
            links: links of each code; twice that number on the lowest level.
            effort: candidates kept while the graph is built (efConstruction).
            breadth: candidates kept while it is searched (efSearch).
        """

        links: int = Field(16, ge=2, le=128)
        effort: int = Field(100, ge=4)
        breadth: int = Field(128, ge=1)

    return Hnsw


def build(codes: Scan, offsets: NDArray[np.int64], *, links: int = 16, effort: int = 100, breadth: int = 128) -> Scan:
    """Build the graph; see :func:`aepipe.index.hamming.build`."""
    if not len(codes):
        return codes
    graph = swig.IndexBinaryHNSW(codes.flat.d, links)
    graph.hnsw.efConstruction = effort
    with threads_of_faiss(1):
        for start in range(0, len(codes), BLOCK):
            graph.add(codes.packed[start : start + BLOCK])
            step("index", min(start + BLOCK, len(codes)), len(codes))
    return Hnsw(codes, graph, {"links": links, "effort": effort, "breadth": breadth})


def open(folder: Path, codes: Scan, offsets: NDArray[np.int64], options: Mapping[str, Any]) -> Scan:
    """Open a saved graph; see :func:`aepipe.index.hamming.open`. The graph is read, not mapped."""
    with faiss_errors_named(folder / FILE):
        graph = swig.read_index_binary(str(folder / FILE))
    if (graph.ntotal, graph.d) != (len(codes), codes.flat.d):
        raise ValueError(f"{FILE} does not belong to these codes")
    return Hnsw(codes, graph, options)
