"""External sort: partition records by key to disk, then handle one partition at a time.

Records that do not fit into memory are split into partitions with ascending ranges of keys; whoever reads them sorts
each partition by itself, and appends the result to an :class:`Output`. Where a folder is given, partitions and outputs
are files, so memory holds one partition at a time; without one, both stay in memory.
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
"""Approximate number of records that are handled at a time."""
SAMPLED = 1 << 8
"""One key out of this number is sampled to choose the borders of the partitions."""

_numbers = itertools.count()

Columns = tuple[NDArray[Any], ...]


class Partitions:
    """Records split by ranges of keys, about PART records in each unless many keys are equal.

    Args:
        sample: one out of SAMPLED keys of all records that will be added.
        folder: the folder for their files; None for memory.
    """

    def __init__(self, sample: NDArray[Any], folder: Path | None) -> None:
        self._cuts = np.unique(np.sort(sample)[:: max(1, PART // SAMPLED)][1:])
        self._folder = None if folder is None else _new(folder)
        self._held: dict[int, list[Columns]] = {}

    def put(self, keys: NDArray[Any], *columns: NDArray[Any]) -> None:
        """Add n records.

        Args:
            keys: [n].
            columns: [n, ...] each.
        """
        if not len(self._cuts):
            self._add(0, columns)
            return
        # numpy sorts integers of 8 and 16 bits by radix, in linear time.
        numbers = np.searchsorted(self._cuts, keys, side="right").astype(np.min_scalar_type(len(self._cuts)))
        order = np.argsort(numbers, kind="stable")
        ends = np.cumsum(np.bincount(numbers))
        ordered = [np.take(column, order, axis=0) for column in columns]
        for number in np.unique(numbers).tolist():
            own = slice(ends[number - 1] if number else 0, ends[number])
            self._add(number, tuple(column[own] for column in ordered))

    def __iter__(self) -> Iterator[Columns]:
        """Yield the columns of each partition, in ascending order of keys, and delete it afterwards."""
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
        if not len(columns[0]):
            return
        parts = self._held.setdefault(number, [])
        if self._folder is None:
            parts.append(columns)
            return
        if not parts:
            # Remember dtype and shape by empty copies; an empty view would keep the whole array alive.
            parts.append(tuple(np.empty((0, *column.shape[1:]), column.dtype) for column in columns))
        for place, column in enumerate(columns):
            with (self._folder / f"{number}.{place}").open("ab") as stream:
                _write(stream, column)


class Output:
    """An array that is written from beginning to end, to a file or to memory.

    Args:
        shape: of the whole array.
        dtype: of its elements.
        folder: an existing folder, for a file; None for memory.
        name: of the file.
        header: the first bytes of the file; None for the header of a ``.npy`` file.

    Attributes:
        array: the whole array, where it is in memory.
        done: number of elements written so far.
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
        """Append the next elements, of any shape."""
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
    """Make a temporary folder inside ``folder`` for the block; without a folder, yield None."""
    if folder is None:
        yield None
        return
    path = _new(folder)
    try:
        yield path
    finally:
        shutil.rmtree(path)


def _new(folder: Path) -> Path:
    path = folder / f".parts-{next(_numbers)}"
    path.mkdir()
    return path


def _write(stream: BinaryIO, array: NDArray[Any]) -> None:
    # ndarray.tofile does not report a full disk; a stream does.
    stream.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
