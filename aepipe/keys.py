"""Keys, labels and columns for results: one flat blob of UTF-8 and the offsets into it, memory-mapped.

A query reads the ten strings it shows, not a table of a million. Legend: N strings or rows.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aepipe.disk import mapped
from aepipe.errors import CorruptError

ITEMS = "items.json"
IDS = "ids.npy"
KEY_ORDER = "key.order.npy"


class Strings:
    """N strings on disk, each None or text; opening reads nothing.

    An absent string is told from an empty one by a negative start: its offset is stored as ``-1 - offset``.
    """

    def __init__(self, offsets: NDArray[np.int64], blob: NDArray[np.uint8]) -> None:
        self._offsets = offsets
        self._blob = blob

    @classmethod
    def open(cls, folder: Path, name: str) -> Strings:
        """Map the files ``<name>.offsets.npy`` (int64[N+1]) and ``<name>.blob.npy`` (uint8)."""
        return cls(mapped(folder / f"{name}.offsets.npy"), mapped(folder / f"{name}.blob.npy"))

    @staticmethod
    def write(folder: Path, name: str, values: Iterable[str | None]) -> None:
        """Write strings so that :meth:`open` finds them."""
        offsets = [0]
        absent: list[int] = []
        blob = bytearray()
        for position, value in enumerate(values):
            if value is None:
                absent.append(position)
            else:
                blob += value.encode("utf-8", "surrogateescape")
            offsets.append(len(blob))
        starts = np.array(offsets, np.int64)
        starts[absent] = -1 - starts[absent]
        np.save(folder / f"{name}.offsets.npy", starts)
        np.save(folder / f"{name}.blob.npy", np.frombuffer(bytes(blob), np.uint8))

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, position: int) -> str | None:
        if self._offsets[position] < 0:
            return None
        return self.raw(position).decode("utf-8", "surrogateescape")

    def raw(self, position: int) -> bytes:
        """Return a string as it is stored, empty where it is absent."""
        start, end = int(self._offsets[position]), int(self._offsets[position + 1])
        return self._blob[start if start >= 0 else -1 - start : end if end >= 0 else -1 - end].tobytes()

    def all_bytes(self) -> list[bytes]:
        """Return all strings as they are stored, absent ones empty; reads the whole file."""
        starts = np.where(self._offsets < 0, -1 - self._offsets, self._offsets).tolist()
        blob = self._blob.tobytes()
        return [blob[start:end] for start, end in itertools.pairwise(starts)]

    def text(self, position: int) -> str:
        """Return a string, empty where it is absent."""
        return self[position] or ""

    def __iter__(self) -> Iterator[str | None]:
        """Give all strings; reads the whole file."""
        absent = (self._offsets < 0).tolist()
        for stored, missing in zip(self.all_bytes(), absent[:-1], strict=True):
            yield None if missing else stored.decode("utf-8", "surrogateescape")


@dataclass(frozen=True, slots=True)
class Row:
    """One item of a release, for people and programs.

    Attributes:
        id: given once per collection and never used again.
        key: its path relative to the source, or its own id.
        label: its class, None where it has none.
        split: ``train`` or ``test``.
        place: where its bytes are, relative to the source; :func:`aepipe.sources.preview` reads it.
        columns: the source's own columns, as text.
    """

    id: int
    key: str
    label: str | None
    split: str | None
    place: str
    columns: dict[str, str | None]


class Items:
    """Keys and columns of N rows, in ascending order of id; see :mod:`aepipe.stages.publish`.

    Attributes:
        ids: int64[N], ascending.
        columns: names of the source's own columns.
        root: folder that places are relative to.

    Raises:
        CorruptError: the folder does not hold items.
    """

    def __init__(self, folder: Path) -> None:
        try:
            card = json.loads((folder / ITEMS).read_bytes())
            self.ids = mapped(folder / IDS)
            self.columns: list[str] = card["columns"]
            self.root = Path(card["root"])
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptError(
                f"{folder}: corrupt, not the items of a release: {error}; delete it and run again"
            ) from None
        self._folder = folder
        self._strings: dict[str, Strings] = {}

    @staticmethod
    def write(
        folder: Path,
        ids: NDArray[np.int64],
        strings: Mapping[str, Iterable[str | None]],
        *,
        columns: Sequence[str],
        root: Path,
    ) -> None:
        """Write items so that a folder can be opened.

        Args:
            folder: an existing one.
            ids: int64[N], ascending.
            strings: ``key``, ``place``, ``label``, ``split`` and ``column.0``, ``column.1``, ...: N each.
            columns: names of the source's own columns, in that order; files are not named after them, for a column
                may be called anything.
            root: folder that places are relative to.
        """
        np.save(folder / IDS, ids)
        for name, values in strings.items():
            Strings.write(folder, name, values)
        np.save(folder / KEY_ORDER, _order_of(Strings.open(folder, "key")))
        card = {"schema": 1, "columns": list(columns), "root": str(root)}
        (folder / ITEMS).write_text(json.dumps(card), encoding="utf-8")

    def __len__(self) -> int:
        return len(self.ids)

    def places(self, ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return where some ids stand, int64[n], and which are there at all, bool[n]."""
        places = np.searchsorted(self.ids, ids)
        known = np.zeros(len(ids), bool)
        inside = places < len(self)
        known[inside] = self.ids[places[inside]] == ids[inside]
        return places, known

    def find(self, key: str) -> int | None:
        """Return the id of a key, None where it is not there."""
        order, keys, wanted = self._key_order, self.strings("key"), _bytes(key)
        low, high = 0, len(order)
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if keys.raw(int(order[middle])) < wanted else (low, middle)
        if low == len(order) or keys.raw(int(order[low])) != wanted:
            return None
        return int(self.ids[order[low]])

    def row(self, position: int) -> Row:
        """Return one row."""
        return Row(
            id=int(self.ids[position]),
            key=self.strings("key").text(position),
            label=self.strings("label")[position],
            split=self.strings("split")[position],
            place=self.strings("place").text(position),
            columns={name: self.strings(f"column.{i}")[position] for i, name in enumerate(self.columns)},
        )

    def strings(self, name: str) -> Strings:
        """Return ``key``, ``place``, ``label``, ``split`` or ``column.<number>`` of all rows."""
        if name not in self._strings:
            self._strings[name] = Strings.open(self._folder, name)
        return self._strings[name]

    @cached_property
    def _key_order(self) -> NDArray[np.int64]:
        """The positions of the keys in the order of their bytes, int64[N]."""
        return mapped(self._folder / KEY_ORDER)


def _bytes(text: str) -> bytes:
    """Return a string as it is stored."""
    return text.encode("utf-8", "surrogateescape")


def _order_of(keys: Strings) -> NDArray[np.int64]:
    """Return the positions of keys in the order of their bytes, for :meth:`Items.id_of`."""
    stored = keys.all_bytes()
    return np.array(sorted(range(len(stored)), key=stored.__getitem__), np.int64)
