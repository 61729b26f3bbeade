"""Putting in order what is too much to hold: records are dealt to piles by a key, and each pile is handled by itself.

Where a folder is given, piles and what becomes of them lie in files, so that memory holds one pile at a time.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import DTypeLike, NDArray

PART = 1 << 19
"""About so many records are handled at a time."""
SAMPLED = 1 << 8
"""One key in so many is looked at to find where piles end."""

_numbers = itertools.count()

Columns = tuple[NDArray[Any], ...]


class Piles:
    """Records in piles, each of which has the keys of a range, and about PART records where keys differ.

    Args:
        sample: one of SAMPLED keys of all that will come.
        folder: in which they lie; None for memory.
    """

    def __init__(self, sample: NDArray[Any], folder: Path | None) -> None:
        self._cuts = np.unique(np.sort(sample)[:: max(1, PART // SAMPLED)][1:])
        self._folder = None if folder is None else _new(folder)
        self._held: dict[int, list[Columns]] = {}

    def put(self, keys: NDArray[Any], *columns: NDArray[Any]) -> None:
        """Deal n records.

        Args:
            keys: [n].
            columns: [n, ...] each.
        """
        if not len(self._cuts):
            self._add(0, columns)
            return
        numbers = np.searchsorted(self._cuts, keys, side="right").astype(np.min_scalar_type(len(self._cuts)))
        order = np.argsort(numbers, kind="stable")  # of small numbers, this is fast
        ends = np.cumsum(np.bincount(numbers, minlength=len(self._cuts) + 1))
        dealt = [np.take(column, order, axis=0) for column in columns]
        for number in np.unique(numbers).tolist():
            own = slice(ends[number - 1] if number else 0, ends[number])
            self._add(number, tuple(column[own] for column in dealt))

    def __iter__(self) -> Iterator[Columns]:
        """Give the columns of each pile, in ascending order of keys, and be rid of it."""
        for number in sorted(self._held):
            parts = self._held.pop(number)
            if self._folder is None:
                yield tuple(np.concatenate(column) for column in zip(*parts, strict=True))
                continue
            files = [self._folder / f"{number}.{column}" for column in range(len(parts[0]))]
            mapped = zip(files, parts[0], strict=True)
            yield tuple(np.memmap(file, like.dtype, "r").reshape(-1, *like.shape[1:]) for file, like in mapped)
            for file in files:
                file.unlink()

    def _add(self, number: int, columns: Columns) -> None:
        """Add records to a pile."""
        if not len(columns[0]):
            return
        parts = self._held.setdefault(number, [])
        if self._folder is None:
            parts.append(columns)
            return
        if not parts:
            # What it is like; a view of no elements would hold all that it is a view of.
            parts.append(tuple(np.empty((0, *column.shape[1:]), column.dtype) for column in columns))
        for place, column in enumerate(columns):
            with (self._folder / f"{number}.{place}").open("ab") as stream:
                _write(stream, column)


class Output:
    """An array that is written from its beginning to its end.

    Args:
        shape: of all of it.
        dtype: of its elements.
        folder: an existing one, for a file; None for memory.
        name: of the file.
        header: that the file begins with; None for that of a ``.npy`` file.

    Attributes:
        array: all of it, where it is in memory.
        done: elements that are written.
    """

    def __init__(
        self, shape: tuple[int, ...], dtype: DTypeLike, folder: Path | None, name: str, *, header: bytes | None = None
    ) -> None:
        self.array = np.empty(shape if folder is None else 0, dtype)
        self._flat = self.array.reshape(-1)
        self._stream: BinaryIO | None = None
        self.done = 0
        if folder is not None:
            self._stream = (folder / name).open("wb")
            if header is not None:
                self._stream.write(header)
            else:
                described = {"descr": self.array.dtype.str, "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(self._stream, described)

    def extend(self, part: NDArray[Any]) -> None:
        """Write the next elements, [...]."""
        begin, self.done = self.done, self.done + part.size
        if self._stream is None:
            self._flat[begin : self.done] = part.reshape(-1)
        else:
            _write(self._stream, part.astype(self.array.dtype, copy=False))

    def __enter__(self) -> Output:
        return self

    def __exit__(self, *_: object) -> None:
        if self._stream is not None:
            self._stream.close()


@contextmanager
def scratch(folder: Path | None) -> Iterator[Path | None]:
    """Give a folder in ``folder`` for the block; None where none is given."""
    if folder is None:
        yield None
        return
    path = _new(folder)
    try:
        yield path
    finally:
        shutil.rmtree(path)


def _new(folder: Path) -> Path:
    """Make a folder in another."""
    path = folder / f".piles-{next(_numbers)}"
    path.mkdir()
    return path


def _write(stream: BinaryIO, array: NDArray[Any]) -> None:
    """Write an array's bytes; unlike numpy's own way, this says when the disk is full."""
    stream.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
