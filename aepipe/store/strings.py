"""Strings in a file: one blob of UTF-8 and the offsets into it, memory-mapped.

Legend: N strings.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aepipe.errors import CorruptError
from aepipe.store import layout
from aepipe.store.distinct import alike
from aepipe.store.io import damaged, mapped

NUMBERED = 1 << 18
"""Strings whose values are told apart at a time."""


class Strings:
    """N strings on disk, each text or None; opening reads nothing.

    An absent string has a negative start, stored as ``-1 - offset``; so it differs from an empty one.

    Raises:
        CorruptError: the arrays hold something else.
    """

    def __init__(self, offsets: NDArray[np.int64], blob: NDArray[np.uint8]) -> None:
        self._offsets = offsets
        self._blob = blob
        if offsets.dtype != np.int64 or blob.dtype != np.uint8:
            raise damaged(offsets, "not the strings of a column")
        # A number or some bytes of a view take a fifth of the time that one of an array takes.
        self._places, self._bytes = offsets.data, blob.data

    @classmethod
    def open(cls, folder: Path, name: str) -> Strings:
        """Map the files ``<name>.offsets.npy`` (int64[N+1]) and ``<name>.blob.npy`` (uint8)."""
        return cls(mapped(folder / layout.Items.offsets(name)), mapped(folder / layout.Items.blob(name)))

    @staticmethod
    def write(folder: Path, name: str, values: Iterable[str | None]) -> None:
        """Write strings as :meth:`open` reads them."""
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
        np.save(folder / layout.Items.offsets(name), starts)
        np.save(folder / layout.Items.blob(name), np.frombuffer(bytes(blob), np.uint8))

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, position: int) -> str | None:
        return None if self._places[position] < 0 else self.raw(position).decode("utf-8", "surrogateescape")

    def some(self, positions: NDArray[np.int64]) -> list[str | None]:
        """Return some strings, in the order of their positions, int64[n]."""
        # All places at once, and no call for each string: either would take longer than reading the string.
        starts, ends = self._offsets[positions].tolist(), self._offsets[positions + 1].tolist()
        stored, size = self._bytes, len(self._bytes)
        found: list[str | None] = []
        for start, end in zip(starts, ends, strict=True):
            if start < 0:
                found.append(None)
                continue
            stop = end if end >= 0 else -1 - end
            if not start <= stop <= size:
                raise self._damaged()
            found.append(str(stored[start:stop], "utf-8", "surrogateescape"))
        return found

    def raw(self, position: int) -> bytes:
        """Return the stored bytes of a string; empty where it is absent."""
        start, end = (one if one >= 0 else -1 - one for one in self._places[position : position + 2])
        if not start <= end <= len(self._bytes):
            raise self._damaged()
        return bytes(self._bytes[start:end])

    def numbered(self, numbers: dict[str | None, int]) -> Iterator[tuple[int, NDArray[np.int32]]]:
        """Yield the number of each string's value, int32[n], and the first position of each block.

        Args:
            numbers: of values; those that it lacks are added.
        """
        for first in range(0, len(self), NUMBERED):
            raw = self._offsets[first : first + NUMBERED + 1]
            places = np.where(raw < 0, -1 - raw, raw)
            starts, sizes, begin, end = places[:-1], np.diff(places), int(places[0]), int(places[-1])
            if (sizes < 0).any() or end > len(self._blob):
                raise self._damaged()
            own = np.empty(len(starts), np.int32)
            there = np.flatnonzero(raw[:-1] >= 0)
            if len(there):
                firsts, which = alike(np.asarray(self._blob[begin:end]), starts[there] - begin, sizes[there])
                texts = self.some(first + there[firsts])
                own[there] = np.array([numbers.setdefault(text, len(numbers)) for text in texts], np.int32)[which]
            if len(there) < len(own):
                own[raw[:-1] < 0] = numbers.setdefault(None, len(numbers))
            yield first, own

    def _damaged(self) -> CorruptError:
        return damaged(self._offsets, "a string ends before it begins, or after the file")

    def all_bytes(self) -> list[bytes]:
        """Return the stored bytes of all strings, absent ones empty; this reads the whole file."""
        starts = np.where(self._offsets < 0, -1 - self._offsets, self._offsets)
        if len(starts) and (starts[-1] > len(self._blob) or (np.diff(starts) < 0).any()):
            raise self._damaged()
        blob = self._blob.tobytes()
        return [blob[start:end] for start, end in itertools.pairwise(starts.tolist())]

    def text(self, position: int) -> str:
        """Return a string; empty where it is absent."""
        return self[position] or ""

    def __iter__(self) -> Iterator[str | None]:
        """Yield all strings; this reads the whole file."""
        absent = (self._offsets < 0).tolist()
        for stored, missing in zip(self.all_bytes(), absent[:-1], strict=True):
            yield None if missing else stored.decode("utf-8", "surrogateescape")
