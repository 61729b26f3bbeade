"""Indexes over codes: build one, save it, open it mapped, and ask for neighbours by Hamming distance.

One file per kind, discovered by its name. A kind's file has a class that fulfils :class:`HammingIndex` and the
functions ``build(codes, ids, **options)``, ``open(folder)`` and ``options()`` (its model of options in a recipe).

Legend: N rows, M distinct codes, Q queries, k neighbours.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from aepipe.bits import BitCodes
from aepipe.errors import CorruptError
from aepipe.index.hits import Hits, RaggedHits

if TYPE_CHECKING:
    from aepipe.recipe import Choice, Options

__all__ = ["HammingIndex", "Hits", "RaggedHits", "build", "kinds", "open", "resolve"]

CARD = "index.json"
REMEDY = "delete the folder and run again: it will be made anew"
_NOT_KINDS = {"hits", "neighbours"}


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

    known = {kind: cast("type[Options]", _module(kind).options()) for kind in kinds()}
    return recipe.resolve(known, choice, at)


def build(
    codes: BitCodes, ids: NDArray[np.int64], *, kind: str = "flat", options: Mapping[str, Any] | None = None
) -> HammingIndex:
    """Build an index.

    Args:
        codes: N codes; the index bears their fingerprint.
        ids: int64[N], not negative, each once, in any order.
        kind: one of :func:`kinds`.
        options: of that kind, resolved.

    Raises:
        CodeError: not one id per code, or a negative id.
        QueryError: an id is given twice.
    """
    return cast(HammingIndex, _module(kind).build(codes, ids, **(options or {})))


def open(folder: Path) -> HammingIndex:
    """Open a saved index; it is mapped into memory, not read.

    Raises:
        CorruptError: a file is missing or is not what was saved.
    """
    file = folder / CARD
    try:
        kind = json.loads(file.read_bytes())["kind"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorruptError(f"{file}: corrupt, not the card of an index ({error}); {REMEDY}") from None
    if kind not in kinds():
        raise CorruptError(f"{file}: an index of the unknown kind {kind!r}; this version has {', '.join(kinds())}")
    return cast(HammingIndex, _module(kind).open(folder))


def _module(kind: str) -> ModuleType:
    """Return the file of a kind."""
    return importlib.import_module(f"{__name__}.{kind}")
