"""Ids of rows in parts: each is given once in the life of a collection; keys keep theirs.

A part that the rows of before have, too, has the ids that it had there. In other parts keys are looked up by their
hashes among those parts of before that are gone, and compared letter by letter. All that is held for it are the hashes
and positions of the keys in these: 16 bytes each.

Legend: n rows of a part, R runs, M rows of before in parts that are gone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aepipe.errors import CorruptError
from aepipe.pipeline.parts.opened import table_at
from aepipe.store import layout
from aepipe.store.artifacts import Ref, Store
from aepipe.store.io import mapped
from aepipe.store.row_parts import Slices, runs_of
from aepipe.store.rows import Rows

_HELD = 4
"""Parts whose keys are in memory."""


class Ids:
    """Gives ids to parts, in their order, and counts what has changed.

    Args:
        store: of all parts.
        previous: rows of the same collection; None for the first run.
        parts: those that are to have ids.
        next_id: the first id for a new key.
        given: ids by key that were given to others than the rows of before.
    """

    def __init__(
        self, store: Store, previous: Ref | None, parts: Sequence[Ref], next_id: int, given: Mapping[str, int]
    ) -> None:
        self._store = store
        self._before = Before(store, previous, frozenset(parts))
        self._given = given
        self.next_id = max(next_id, self._before.next_id)
        self.new = self.changed = 0

    def of(self, part: Ref) -> NDArray[np.int64]:
        """Return the runs of the ids of the next part, int64[R, 2]."""
        kept = self._before.kept(part)
        if kept is not None:
            return kept
        hashes = np.asarray(small_file(self._store, part, layout.Rows.HASHES))
        ids, known = np.full(len(hashes), -1, np.int64), np.zeros(len(hashes), bool)
        if self._before.may_know(hashes):
            rows = table_at(self._store.address, part)
            ids, places = self._before.find(rows, hashes)
            known = places >= 0
            self.changed += self._before.changed(rows, places)
        self.new += int((~known).sum())
        for row in np.flatnonzero(~known).tolist() if self._given else ():
            ids[row] = self._given.get(_keys(self._store, part)[row], -1)
        fresh = ids < 0
        ids[fresh] = np.arange(self.next_id, self.next_id + int(fresh.sum()))
        self.next_id += int(fresh.sum())
        return runs_of(ids)


class Before:
    """Rows of the run before: whole parts that stay, and the keys of the others.

    Args:
        store: of the rows.
        previous: the rows; None where there were none.
        staying: parts that there are now.
    """

    def __init__(self, store: Store, previous: Ref | None, staying: frozenset[Ref]) -> None:
        self._store = store
        self._previous = previous
        self.next_id = int(store.manifest(previous).facts["next_id"]) if previous else 0
        names = store.parts(previous) if previous else ()
        self._tables = names or ((previous,) if previous else ())
        self._number = {ref: number for number, ref in enumerate(names)}
        self._gone = [number for number, ref in enumerate(self._tables) if ref not in staying or not names]
        # By their manifests: the tables may lie on other machines, and most of them are not looked into.
        counts = [int(store.manifest(one).facts["rows"]) for one in self._tables]
        self._starts = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64)

    def __len__(self) -> int:
        """Rows in parts that are gone."""
        return int(sum(self._starts[number + 1] - self._starts[number] for number in self._gone))

    def kept(self, part: Ref) -> NDArray[np.int64] | None:
        """Return the runs of a part that was there before, int64[R, 2]; None for another."""
        number = self._number.get(part)
        if number is None:
            return None
        return self._slices.of(int(self._starts[number]), int(self._starts[number + 1]))

    def may_know(self, hashes: NDArray[np.uint64]) -> bool:
        """Say whether a row of before may have one of some keys, told by their hashes."""
        if not len(self):
            return False
        own, _ = self._hashes
        places = np.minimum(np.searchsorted(own, hashes), len(own) - 1)
        return bool((own[places] == hashes).any())

    def find(self, rows: Rows, hashes: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return ids and positions of the rows of before with some keys, int64[n]; -1 where new.

        Args:
            rows: with keys to be found.
            hashes: uint64[n], of these keys.
        """
        own, order = self._hashes
        first, last = (np.searchsorted(own, hashes, side=side) for side in ("left", "right"))
        found = np.full(len(hashes), -1, np.int64)
        keys = np.array(rows.keys(), object) if (last > first).any() else np.empty(0, object)
        # One round is enough but for keys with one hash.
        for again in range(int((last - first).max(initial=0))):
            maybe = np.flatnonzero((last > first + again) & (found < 0))
            places = self._places(order[first[maybe] + again].astype(np.int64))
            same = self._keys_at(places) == keys[maybe]
            found[maybe[same]] = places[same]
        ids = np.full(len(found), -1, np.int64)
        ids[found >= 0] = self._slices.at(found[found >= 0])
        return ids, found

    def changed(self, rows: Rows, places: NDArray[np.int64]) -> int:
        """Return how many rows have other bytes than those at their positions before, -1 for none."""
        known = places >= 0
        then = np.empty((int(known.sum()), 32), np.uint8)
        numbers = np.searchsorted(self._starts, places[known], side="right") - 1
        for number in np.unique(numbers).tolist():
            here = numbers == number
            table = table_at(self._store.address, self._tables[number])
            then[here] = table.sha256()[places[known][here] - self._starts[number]]
        return int((rows.sha256()[known] != then).any(axis=1).sum()) if len(then) else 0

    def _keys_at(self, places: NDArray[np.int64]) -> NDArray[np.object_]:
        """Return the keys of the rows at some positions, [n]."""
        keys, numbers = np.empty(len(places), object), np.searchsorted(self._starts, places, side="right") - 1
        for number in np.unique(numbers).tolist():
            here = numbers == number
            keys[here] = _keys(self._store, self._tables[number])[places[here] - self._starts[number]]
        return keys

    def _places(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the positions of some rows among those before; a number counts the rows of parts that are gone."""
        at = np.searchsorted(self._gone_starts, numbers, side="right") - 1
        places: NDArray[np.int64] = self._starts[np.array(self._gone)[at]] + numbers - self._gone_starts[at]
        return places

    @cached_property
    def _gone_starts(self) -> NDArray[np.int64]:
        return np.cumsum([0, *(self._starts[number + 1] - self._starts[number] for number in self._gone)])

    @cached_property
    def _slices(self) -> Slices:
        assert self._previous is not None
        file = self._store.output(self._previous, layout.Rows.RUNS)
        return Slices(mapped(file) if file else table_at(self._store.address, self._previous).runs())

    @cached_property
    def _hashes(self) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """Hashes of the keys in parts that are gone, uint64[M] ascending, and which row of these parts has each."""
        every = np.empty(len(self), np.uint64)
        for number, start in zip(self._gone, self._gone_starts.tolist(), strict=False):
            own = self._hashes_of(number)
            every[start : start + len(own)] = own
        order = np.argsort(every, kind="stable").view(np.uint64)
        return every[order], order

    def _hashes_of(self, number: int) -> NDArray[np.uint64]:
        ref = self._tables[number]
        file = self._store.output(ref, layout.Rows.HASHES)
        if file is not None:
            return mapped(file)
        return table_at(self._store.address, ref).key_hashes()


def small_file(store: Store, part: Ref, name: str) -> NDArray[Any]:
    """Return an array of a part that is not its rows; these are not fetched for it.

    Raises:
        CorruptError: the part has no such file.
    """
    file = store.output(part, name)
    if file is None:
        raise CorruptError(f"{part}: corrupt, it has no {name}; remove it and run again: it will be made again")
    return mapped(file)


def _keys(store: Store, ref: Ref) -> NDArray[np.object_]:
    return _read_keys(store.address, ref)


@lru_cache(_HELD)
def _read_keys(store: str, ref: Ref) -> NDArray[np.object_]:
    return np.array(table_at(store, ref).keys(), object)
