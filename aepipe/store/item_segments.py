"""Keys and columns of all rows of a release, from several segments.

A release has a segment of items for each part of its rows, one where they are one table, and one for each addition.
Most questions are about a few rows, and open the segments that these are in.

Legend: N rows of a release, n wanted ones, P segments, M distinct values.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import compress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aepipe.errors import QueryError
from aepipe.store.labels import parted, shown
from aepipe.store.segments import Items, Places, Row, ids_of

ROW = ("key", "label", "split", "place")
"""What a row has besides its id and the source's own columns."""
BLOCK = 8192
"""Rows of a column that are read at a time where segments have ids of each other's range."""


class ItemSegments:
    """Keys and columns of all rows of a release, minus removed rows.

    Args:
        parts: the segments, with the same columns; a row is in one of them. Those of parts of a collection may have
            any ids, and those of additions have larger ones than all before.
        removed: int64[n], ascending, the ids of the removed rows.
    """

    def __init__(self, parts: Sequence[Items], removed: NDArray[np.int64]) -> None:
        self.columns = parts[0].columns
        self.root = parts[0].root
        self._parts = parts
        self._removed = removed

    def __len__(self) -> int:
        return sum(map(len, self._parts)) - len(self._removed)

    @cached_property
    def roots(self) -> tuple[Path, ...]:
        """Other folders that originals may lie in."""
        return tuple(dict.fromkeys(root for part in self._parts for root in part.roots))

    @cached_property
    def ids(self) -> NDArray[np.int64]:
        """All ids, int64[N], ascending."""
        if len(self._parts) == 1 and not len(self._removed):
            return self._parts[0].ids
        ids = np.concatenate([part.ids[left] for part, left in zip(self._parts, self._left, strict=True)])
        return ids if self._in_order else np.sort(ids)

    def rows(self, ids: NDArray[np.int64] | Sequence[int]) -> list[Row]:
        """Return some rows, in the order of ``ids``.

        Raises:
            QueryError: an id is not present.
        """
        wanted = ids_of(ids)
        key, label, split, place, *own = self.table(ROW + self.own_columns, wanted)
        columns = [dict(zip(self.columns, values, strict=True)) for values in zip(*own, strict=True)]
        return [
            Row(number, name or "", shown(text), of, at or "", about, parted(text))
            for number, name, text, of, at, about in zip(
                wanted.tolist(), key, label, split, place, columns or ({} for _ in key), strict=True
            )
        ]

    @cached_property
    def own_columns(self) -> tuple[str, ...]:
        """The names by which :meth:`table` has the source's own columns, in their order."""
        return tuple(f"column.{number}" for number in range(len(self.columns)))

    def check(self, ids: NDArray[np.int64]) -> None:
        """Check that all ids are present.

        Raises:
            QueryError: an id is not present.
        """
        self._places(ids)

    def texts(self, name: str, ids: NDArray[np.int64] | Sequence[int]) -> list[str | None]:
        """Return ``key``, ``place``, ``label`` or ``split`` of some rows, in the order of ``ids``.

        Raises:
            QueryError: an id is not present.
        """
        return self.table((name,), ids_of(ids))[0]

    def table(self, names: Sequence[str], ids: NDArray[np.int64]) -> list[list[str | None]]:
        """Return some columns of some rows, each in the order of ``ids``.

        Args:
            names: ``key``, ``place``, ``label``, ``split`` or those of :attr:`own_columns`.
            ids: int64[n].

        Raises:
            QueryError: an id is not present.
        """
        parts, places = self._places(ids)
        if len(self._parts) == 1:
            return [self._parts[0].some(name, places) for name in names]
        found = np.empty((len(names), len(ids)), object)
        order = np.argsort(parts, kind="stable")
        numbers, starts = np.unique(parts[order], return_index=True)
        for number, here in zip(numbers.tolist(), np.split(order, starts[1:]), strict=True) if len(ids) else ():
            for row, name in enumerate(names):
                found[row, here] = self._parts[number].some(name, places[here])
        texts: list[list[str | None]] = found.tolist()
        return texts

    def column(self, name: str) -> Iterator[str | None]:
        """Yield ``key``, ``place``, ``label`` or ``split`` of all rows, in ascending order of id."""
        if self._in_order:
            for part, left in zip(self._parts, self._left, strict=True):
                yield from compress(part.strings(name), left)
            return
        for start in range(0, len(self), BLOCK):
            yield from self.table((name,), self.ids[start : start + BLOCK])[0]

    def values(self, name: str) -> tuple[list[str | None], NDArray[np.int32]]:
        """Return the distinct values of a column, and the number of each row's value.

        A column of few values is read by their numbers from then on.

        Args:
            name: ``key``, ``place``, ``label`` or ``split``.

        Returns:
            M texts; int32[N], in ascending order of id.
        """
        if len(self._parts) == 1 and not len(self._removed):
            return self._parts[0].values(name)
        known: dict[str | None, int] = {}
        every = [np.zeros(0, np.int32), *(own for part in self._parts for _, own in part.strings(name).numbered(known))]
        values, numbers, ids = list(known), np.concatenate(every), np.concatenate([part.ids for part in self._parts])
        if not self._in_order:
            order = np.argsort(ids, kind="stable")
            numbers, ids = numbers[order], ids[order]
        return values, numbers[~self._gone(ids)]

    def find(self, key: str) -> int | None:
        """Return the id of a key; None where it is not present."""
        for part in self._parts:
            # Mostly each part has a range of keys of its own.
            found = part.find(key) if len(self._parts) == 1 or part.spans(key) else None
            if found is not None and not self._gone(np.array([found])).any():
                return found
        return None

    def keys_from(self, text: str) -> Iterator[str]:
        """Yield the keys that begin with a text, those of each segment in their order."""
        for part in self._parts:
            yield from (key for row, key in part.keys_from(text) if not self._gone(part.ids[row : row + 1]).any())

    def id_of(self, key: str) -> int:
        """Return the id of a key.

        Raises:
            QueryError: the key is not present.
        """
        found = self.find(key)
        if found is None and not key.isascii():
            # A Mac writes é as two letters, and most other systems as one; both look the same.
            forms = (self.find(unicodedata.normalize(form, key)) for form in ("NFC", "NFD"))
            found = next((one for one in forms if one is not None), None)
        if found is None:
            like = next((text for text in self.column("key")), "")
            raise QueryError(f"no row has the key {key!r}: {self._range()}, and keys are like {like!r}")
        return found

    @property
    def _left(self) -> list[NDArray[np.bool_]]:
        return [~self._gone(part.ids) for part in self._parts]

    def _gone(self, ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which ids were removed, bool[n]."""
        if not len(self._removed):
            return np.zeros(len(ids), bool)
        places = np.minimum(np.searchsorted(self._removed, ids), len(self._removed) - 1)
        gone: NDArray[np.bool_] = self._removed[places] == ids
        return gone

    def _places(self, wanted: NDArray[np.int64]) -> tuple[Places, Places]:
        """Return the part of each id, int64[n], and the position in it, int64[n].

        Raises:
            QueryError: an id is not present.
        """
        if len(self._parts) == 1 and not len(self._removed):
            places, known = self._parts[0].places(wanted)
            if known.all():
                return np.zeros(len(wanted), np.int64), places
        order = None if (wanted[1:] >= wanted[:-1]).all() else np.argsort(wanted, kind="stable")
        ascending = wanted if order is None else wanted[order]
        parts, places = np.full(len(wanted), -1), np.zeros(len(wanted), np.int64)
        first = np.searchsorted(ascending, self._bounds[:, 0])
        stop = np.searchsorted(ascending, self._bounds[:, 1], side="right")
        for number in np.flatnonzero(stop > first).tolist():
            span = np.arange(first[number], stop[number])
            found, here = self._parts[number].places(ascending[span])
            parts[span[here]], places[span[here]] = number, found[here]
        if len(self._removed):
            parts[self._gone(ascending)] = -1
        if order is not None:
            back = np.empty_like(order)
            back[order] = np.arange(len(order))
            parts, places = parts[back], places[back]
        if (parts < 0).any():
            raise QueryError(f"no row has the id {wanted[parts < 0][0]}: {self._range()}")
        return parts, places

    @cached_property
    def _bounds(self) -> NDArray[np.int64]:
        """The first and the last id of each segment, int64[P, 2]; 0 and -1 of an empty one."""
        return np.array([part.bounds for part in self._parts], np.int64).reshape(-1, 2)

    @cached_property
    def _in_order(self) -> bool:
        """Whether each segment has larger ids than those before it."""
        bounds = self._bounds[self._bounds[:, 0] <= self._bounds[:, 1]]
        return bool((bounds[1:, 0] > bounds[:-1, 1]).all())

    def _range(self) -> str:
        if not len(self):
            return "the release has no rows"
        gaps = ", not all of them" if int(self.ids[-1]) - int(self.ids[0]) >= len(self) else ""
        return f"the release has {len(self):,} rows with ids from {self.ids[0]} to {self.ids[-1]}{gaps}"
