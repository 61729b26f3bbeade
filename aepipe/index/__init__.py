"""Indexes over codes: build one, save it, open it mapped, and ask for neighbours by Hamming distance.

One file per kind, discovered by its name. A kind is a way of searching the distinct codes: its file has the functions
``build(codes, offsets, **options)`` and ``open(folder, codes, offsets, options)``, which return a
:class:`~aepipe.index.scan.Scan` or a subclass, and ``options()``, its model of options in a recipe. The rows of a code,
filters, updates and files are the same for all of them: :mod:`~aepipe.index.rows`.

Legend: N rows, M distinct codes, Q queries, k neighbours.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from aepipe.bits import BitCodes
from aepipe.index.card import CARD
from aepipe.index.hits import Hits, RaggedHits
from aepipe.index.rows import RowIndex
from aepipe.index.saved import open_rows

if TYPE_CHECKING:
    from aepipe.index.grouping import SomeCodes
    from aepipe.recipe import Choice, Options

__all__ = ["CARD", "HammingIndex", "Hits", "RaggedHits", "build", "kinds", "open", "resolve"]

_NOT_KINDS = {
    *("card", "filling", "filters", "found", "grouping", "hits", "near", "neighbours", "piles", "postings"),
    *("reach", "rows", "saved", "scan", "sizing", "tables", "updated"),
}


class HammingIndex(Protocol):
    """What every kind can do. An index never changes: ``add`` and ``remove`` return another one."""

    @property
    def n_bits(self) -> int:
        """Bits of a code."""

    @property
    def fingerprint(self) -> str:
        """Digest of the encoder whose codes are indexed; empty where no encoder made them."""

    @property
    def n_codes(self) -> int:
        """M, the distinct codes."""

    def __len__(self) -> int:
        """N, the rows."""

    def save(self, folder: Path) -> None:
        """Write the index into an existing folder."""

    def add(self, codes: BitCodes, ids: NDArray[np.int64]) -> HammingIndex:
        """Return an index that has further rows.

        Raises:
            CodeError: codes of another length, not one id per code, a negative id.
            FingerprintError: another encoder made the codes.
            QueryError: an id is there already, or is given twice.
        """

    def remove(self, ids: NDArray[np.int64]) -> HammingIndex:
        """Return an index without some rows.

        Raises:
            QueryError: an id is not there.
        """

    def prefix(self, n_bits: int) -> HammingIndex:
        """Return an index of the same rows by the first bits of their codes.

        Raises:
            CodeError: there are not so many bits.
        """

    def search(self, codes: BitCodes, k: int, where: NDArray[np.int64] | None = None, *, threads: int = 1) -> Hits:
        """Return the k nearest rows of each code, ordered by (distance, id).

        Args:
            codes: Q queries.
            k: at least 1; more than there are rows is allowed.
            where: ids that may be found, in any order; ids that the index does not have are passed over.
            threads: over how many the queries are spread; a single query always runs on one.

        Raises:
            CodeError: codes of another length.
            FingerprintError: another encoder made the codes.
            QueryError: k is less than 1.
        """

    def within(
        self, codes: BitCodes, radius: int, where: NDArray[np.int64] | None = None, *, threads: int = 1
    ) -> RaggedHits:
        """Return every row at most ``radius`` bits away from each code, ordered by (distance, id).

        Raises:
            CodeError: codes of another length.
            FingerprintError: another encoder made the codes.
            QueryError: the radius is negative.
        """


def kinds() -> list[str]:
    """Return the kinds there are."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name not in _NOT_KINDS)


def resolve(choice: Choice, at: str = "index.kind") -> Options:
    """Return the options of the index that a recipe chooses.

    Raises:
        RecipeError: no such kind, or its options are wrong.
    """
    from aepipe import recipe

    known = {kind: cast("type[Options]", module_of(kind).options()) for kind in kinds()}
    return recipe.resolve(known, choice, at)


def build(
    codes: SomeCodes,
    ids: NDArray[np.int64],
    *,
    kind: str = "flat",
    options: Mapping[str, Any] | None = None,
    folder: Path | None = None,
) -> RowIndex:
    """Build an index.

    Args:
        codes: N codes, which are read a part at a time; the index bears their fingerprint.
        ids: int64[N], not negative, each once, in any order.
        kind: one of :func:`kinds`.
        options: of that kind, resolved.
        folder: an existing one, in which codes, rows and tables are written while they are made, and from which they
            are mapped, so that memory holds a part of them at a time; saving the index there writes what is left.

    Raises:
        CodeError: not one id per code, or a negative id.
        QueryError: an id is given twice.
    """
    from aepipe.index.grouping import group

    distinct, postings = group(codes, ids, folder)
    engine = module_of(kind).build(distinct, postings.offsets, **(options or {}))
    return RowIndex(engine, postings, codes.fingerprint)


def open(folder: Path) -> RowIndex:
    """Open a saved index; it is mapped into memory, not read.

    Raises:
        CorruptError: a file is missing or is not what was saved.
    """
    return open_rows(folder)


def module_of(kind: str) -> ModuleType:
    """Return the file of a kind."""
    return importlib.import_module(f"{__name__}.{kind}")
