"""Codes of rows that a part before had, too: they are copied, and only the other rows are encoded.

A part with one new item in it holds 10,000 rows, of which all others have codes already.

Legend: n rows of a part, m of them with a copied code, R runs, P parts of before.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from aepipe.codes import encoder as encoders
from aepipe.errors import StoreError
from aepipe.pipeline.parts.opened import store_at
from aepipe.store import layout
from aepipe.store.artifacts import Ref, Store
from aepipe.store.io import mapped
from aepipe.store.row_parts import Slices
from aepipe.store.rows import Rows


class CodesBefore:
    """Segments of the parts of a list, and which of them hold some rows.

    Args:
        store: of all of them.
        rows: the list; None where there was none, or one table.
        segments: one for each part, in their order; others are left aside.
        like: what decides a segment besides its rows.
    """

    def __init__(self, store: Store, rows: Ref | None, segments: Sequence[Ref], like: dict[str, object]) -> None:
        self._rows = rows
        self._segments: dict[int, Ref] = {}
        self._firsts, self._lasts, self._parts = (np.empty(0, np.int64) for _ in range(3))
        parts = store.parts(rows) if rows is not None else ()
        if rows is None or not parts or len(parts) != len(segments):
            return
        for number, (part, segment) in enumerate(zip(parts, segments, strict=True)):
            with suppress(StoreError):  # gone or damaged
                made = store.manifest(segment).inputs
                if made.get("rows") == str(part) and all(made.get(name) == value for name, value in like.items()):
                    self._segments[number] = segment
        table = Rows(store.path(rows, with_parts=False))
        slices, starts = Slices(table.runs()), np.cumsum([0, *table.facts["counts"]]).tolist()
        runs = [slices.of(starts[number], starts[number + 1]) for number in self._segments]
        if runs:
            every = np.concatenate(runs)
            self._firsts, self._lasts = every[:, 0], every[:, 0] + every[:, 1] - 1
            self._parts = np.repeat(np.array(list(self._segments), np.int64), [len(one) for one in runs])

    def holding(self, runs: NDArray[np.int64]) -> str:
        """Return, as text, where the codes of rows with some ids, int64[R, 2], may be; empty where nowhere.

        The text names the list, and its parts by number, each with its segment: :func:`copies_of` reads it.
        """
        found = set[int]()
        for first, count in runs.tolist():
            found.update(self._parts[(self._firsts < first + count) & (self._lasts >= first)].tolist())
        return " ".join([str(self._rows), *(f"{one}:{self._segments[one]}" for one in sorted(found))]) if found else ""


@dataclass(frozen=True, slots=True)
class Copied:
    """A part of before, and its segment.

    Attributes:
        rows: of the part.
        ids: int64[n], ascending.
        codes: uint8[n, W].
        finer: int8[n, H]; None where no embeddings are kept.
    """

    rows: Rows
    ids: NDArray[np.int64]
    codes: NDArray[np.uint8]
    finer: NDArray[np.int8] | None


@dataclass(frozen=True, slots=True)
class Copies:
    """Parts of before that may hold a code of the rows of a part."""

    parts: tuple[Copied, ...] = ()

    def copy(
        self, rows: Rows, ids: NDArray[np.int64], codes: NDArray[np.uint8], finer: NDArray[np.int8] | None
    ) -> NDArray[np.int64]:
        """Copy the codes of rows with the same bytes, and return the ids of the others, int64[n - m].

        Args:
            rows: of the part.
            ids: of all its rows, int64[n], ascending.
            codes: uint8[n, W], written in the order of ids.
            finer: int8[n, H], likewise; None where no embeddings are kept.
        """
        left = np.ones(len(ids), bool)
        sha256 = rows.sha256()[np.argsort(rows.ids(), kind="stable")] if self.parts else np.empty((0, 32), np.uint8)
        for then in self.parts:
            both, now, before = np.intersect1d(ids, then.rows.ids(), assume_unique=True, return_indices=True)
            same = (sha256[now] == then.rows.sha256()[before]).all(axis=1)
            places, at = now[same], np.searchsorted(then.ids, both[same])
            codes[places] = then.codes[at]
            if finer is not None and then.finer is not None:
                finer[places] = then.finer[at]
            left[places] = False
        return ids[left]


def copies_of(store: str, said: Sequence[str], *, embedding: bool) -> Copies:
    """Return the codes that a text of :meth:`CodesBefore.holding` names, cut at its spaces; damaged ones are left out.

    Args:
        store: the address of the store.
        said: empty where there are none.
        embedding: with their embeddings.
    """
    found = list[Copied]()
    for one in said[1:]:
        number, _, segment = one.partition(":")
        with suppress(StoreError):  # gone or damaged: then these are encoded
            table = _list_at(store, Ref.parse(said[0]))
            found.append(_copied(store_at(store), table, int(number), Ref.parse(segment), embedding=embedding))
    return Copies(tuple(found))


def _copied(store: Store, table: Rows, number: int, segment: Ref, *, embedding: bool) -> Copied:
    store.verified(Ref("rows", table.part_names[number]))
    folder = store.verified(segment)
    codes = mapped(folder / layout.Codes.IDS), mapped(folder / layout.Codes.CODES)
    return Copied(table.part(number), *codes, mapped(folder / encoders.FILE) if embedding else None)


@lru_cache(2)
def _list_at(store: str, rows: Ref) -> Rows:
    return Rows(store_at(store).path(rows, with_parts=False))
