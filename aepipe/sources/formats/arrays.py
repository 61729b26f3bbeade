"""NumPy arrays: a ``.npy`` file of vectors, or a ``.npz`` archive of vectors and columns.

Legend: N rows, D numbers of a vector.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aepipe.errors import ItemError, SourceError
from aepipe.sources.files import Files, Found, InMemory
from aepipe.sources.item import Item
from aepipe.sources.passed_over import PassedOver
from aepipe.store.io import load_numpy

ENDINGS = (".npy", ".npz")
_BLOCK = 1024


def claims(name: str) -> bool:
    """Whether a file has the name of an array."""
    return name.lower().endswith(ENDINGS)


def is_array(head: bytes) -> bool:
    """Whether the first bytes are those of an array; archives of arrays begin as any zip."""
    return head.startswith(b"\x93NUMPY")


class Arrays:
    """Vectors of some files; the key is a column, or the place ``file#row``.

    Args:
        files: the arrays among them are read.
        name: of the array of vectors in archives; arrays [N] next to it are columns.
        key: the column with the id of each item.

    Raises:
        SourceError: the first file is damaged, or holds no vectors.
    """

    def __init__(self, files: Files, name: str, *, key: str | None = None) -> None:
        self._files = files
        self._name = name
        self._key = key
        self.passed_over = PassedOver()
        self.gives: frozenset[str] = frozenset()
        first = files.first(claims, is_array)
        if first is None:
            raise SourceError(f"{files.given}: no .npy or .npz in it")
        vectors, columns = load(Path(first.path), name)
        self.width = vectors.shape[1]
        self._schema = pa.schema([(column, _type(values)) for column, values in columns.items()])
        if key is not None and key not in columns:
            raise SourceError(f"{first.path}: no column {key!r}; it has: {', '.join(columns) or 'none'}")

    def schema(self) -> pa.Schema:
        """Return the columns of the first file."""
        return self._schema

    def total(self) -> int:
        """Return the number of rows."""
        files = self._files.claimed(claims, sniff=is_array)
        return sum(len(load(Path(found.path), self._name)[0]) for found in files)

    def items(self) -> Iterator[Item]:
        """Yield the vectors in order."""
        for found in self._files.claimed(claims, self.passed_over, "not an array", is_array):
            yield from self._rows(found)

    def _rows(self, found: Found) -> Iterator[Item]:
        """Yield the vectors of one file, read block by block."""
        vectors, columns = load(Path(found.path), self._name)
        for start in range(0, len(vectors), _BLOCK):
            # A block at a time: the array is mapped, and may be larger than memory.
            block = np.asarray(vectors[start : start + _BLOCK], np.float32)
            for number, vector in enumerate(block, start):
                place = f"{found.place}#{number}"
                own = {name: columns[name][number].item() if name in columns else None for name in self._schema.names}
                key = str(own[self._key]) if self._key else place
                yield Item(key, place, InMemory(vector.tobytes()), columns=own)


def load(path: Path, name: str) -> tuple[NDArray[Any], Mapping[str, NDArray[Any]]]:
    """Return the vectors of a file, number[N, D], mapped where possible; and columns, [N] each.

    Raises:
        SourceError: it is no array, or it holds no rows of numbers.
    """
    try:
        # It refuses arrays of Python objects, which would be unpickled: a file must not run code.
        found = load_numpy(path)
        held = {name: found} if isinstance(found, np.ndarray) else {key: found[key] for key in found.files}
    except (OSError, ValueError, EOFError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise SourceError(f"{path}: not a readable array: {str(error).partition(chr(10))[0]}") from None
    if name not in held:
        listed = ", ".join(f"{key} {list(array.shape)}" for key, array in held.items())
        raise SourceError(f'{path}: has no array {name!r} but {listed}; say vectors = "..." under [source]')
    vectors = held.pop(name)
    if vectors.ndim != 2 or vectors.dtype.kind not in "fiu" or not vectors.shape[1]:
        raise SourceError(f"{path}: {vectors.dtype} {list(vectors.shape)} is not rows of numbers, [N, D]")
    columns = {
        key: array for key, array in held.items() if array.shape == (len(vectors),) and array.dtype.kind in "fiubUS"
    }
    return vectors, {key: np.char.decode(array) if array.dtype.kind == "S" else array for key, array in columns.items()}


def read_at(path: Path, at: str, key: str) -> bytes:
    """Refuse: there is nothing to show of a vector.

    Raises:
        ItemError: always.
    """
    raise ItemError(key, f"{path} holds numbers, and there is nothing to show of them")


def _type(values: NDArray[Any]) -> pa.DataType:
    return {"f": pa.float64(), "i": pa.int64(), "u": pa.int64(), "b": pa.bool_()}.get(values.dtype.kind, pa.string())
