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
from aepipe.sources.files import Files, Found, InMemory, Refused
from aepipe.sources.formats import schemas
from aepipe.sources.formats.contents import ARRAYS, other
from aepipe.sources.formats.plausible import check_packed
from aepipe.sources.item import Item, Reader
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

    Attributes:
        width: numbers of a vector.
        notes: which arrays were taken for the vectors, where the recipe names others.

    Args:
        files: the arrays among them are read.
        name: of the array of vectors in archives; arrays [N] next to it are columns.
        key: the column with the id of each item.

    Raises:
        SourceError: a file is damaged, holds no vectors, or those of another length than the rest.
    """

    def __init__(self, files: Files, name: str, *, key: str | None = None) -> None:
        self._files = files
        self._name = name
        self._key = key
        self.passed_over = PassedOver()
        self.gives: frozenset[str] = frozenset()
        self.notes: list[str] = []
        self.width, self._total, parts = 0, 0, []
        first = ""
        for found in files.claimed(claims, sniff=is_array):
            vectors, columns = self._load(found)
            self._total += len(vectors)
            first, self.width = first or found.path, self.width or vectors.shape[1]
            check_width(found.path, vectors.shape[1], first, self.width)
            parts.append((found.path, pa.schema([(column, _type(values)) for column, values in columns.items()])))
        if not parts:
            raise SourceError(f"{files.given}: no .npy or .npz in it")
        self._schema = schemas.unified(parts)
        if key is not None and key not in self._schema.names:
            raise SourceError(f"{first}: no column {key!r}; it has: {', '.join(self._schema.names) or 'none'}")

    def schema(self) -> pa.Schema:
        """Return the columns of all files."""
        return self._schema

    def total(self) -> int:
        """Return the number of rows."""
        return self._total

    def items(self) -> Iterator[Item]:
        """Yield the vectors in order."""
        for found in self._files.claimed(claims, self.passed_over, "not an array", is_array):
            yield from self._rows(found)

    def _load(self, found: Found) -> tuple[NDArray[Any], Mapping[str, NDArray[Any]]]:
        """Return the vectors and the columns of a file; note where another array is taken than the named one."""
        vectors, columns, taken = load(Path(found.path), self._name)
        if taken != self._name and not self.notes:
            self.notes.append(f"{found.place}: array {taken!r}, the only one with rows of numbers, holds the vectors")
        return vectors, columns

    def _rows(self, found: Found) -> Iterator[Item]:
        """Yield the vectors of one file."""
        vectors, columns = self._load(found)
        kinds = {field.name: field.type for field in self._schema}
        for number, reader in enumerate(readers(vectors)):
            place = f"{found.place}#{number}"
            own = {name: _cell(columns.get(name), number, kind) for name, kind in kinds.items()}
            key = str(own[self._key]) if self._key else place
            yield Item(key, place, reader, columns=own)


def check_width(path: str, width: int, other: str, wanted: int) -> None:
    """Check that the vectors of a file are as long as those of another.

    Raises:
        SourceError: they are not.
    """
    if width != wanted:
        raise SourceError(f"{path}: vectors of {width:,} numbers, but {wanted:,} in {other}; read the files apart")


def readers(vectors: NDArray[Any]) -> Iterator[Reader]:
    """Yield what reads each of the vectors number[N, D], as D numbers of float32."""
    for start in range(0, len(vectors), _BLOCK):
        # A block at a time: the array is mapped, and may be larger than memory.
        block = np.asarray(vectors[start : start + _BLOCK])
        with np.errstate(over="ignore"):
            small = np.asarray(block, np.float32)
        lost = np.isinf(small) & np.isfinite(block)
        for vector, kept, gone in zip(block, small, lost.any(axis=1), strict=True):
            yield Refused(_beyond(vector, kept)) if gone else InMemory(kept.tobytes())


def narrowed(vector: NDArray[Any]) -> NDArray[np.float32]:
    """Return a vector as float32[D]; numbers that are not finite stay as they are.

    Raises:
        ValueError: a number is beyond float32; the text says which.
    """
    with np.errstate(over="ignore"):
        found = np.asarray(vector, np.float32)
    if (np.isinf(found) & np.isfinite(vector)).any():
        raise ValueError(_beyond(vector, found))
    return found


def _beyond(vector: NDArray[Any], kept: NDArray[np.float32]) -> str:
    place = int(np.flatnonzero(np.isinf(kept) & np.isfinite(vector))[0])
    return f"number {place} is {vector[place]:g}, beyond float32"


def held_in(path: Path, name: str = "") -> dict[str, NDArray[Any]]:
    """Return the arrays of a file by their names.

    Args:
        path: of the file.
        name: for the array of a file that has one, without a name.

    Raises:
        SourceError: it is no array.
    """
    try:
        # It refuses arrays of Python objects, which would be unpickled: a file must not run code.
        check_packed(path)
        found = load_numpy(path)
        return {name: found} if isinstance(found, np.ndarray) else {key: found[key] for key in found.files}
    except (OSError, ValueError, EOFError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        why = str(error).partition("\n")[0]
        if "Object arrays" in why or "Python objects" in why:
            why = "it holds Python objects, as numpy makes of rows of different lengths; save numbers, [N, D]"
        raise SourceError(f"{path}: not a readable array: {other(path, *ARRAYS) or why}") from None


def load(path: Path, name: str) -> tuple[NDArray[Any], Mapping[str, NDArray[Any]], str]:
    """Return vectors, number[N, D], mapped where possible; columns, [N]; and the vectors' name.

    Where no array has the name, the only one with rows of numbers is taken.

    Raises:
        SourceError: it is no array, or it holds no rows of numbers.
    """
    held = held_in(path, name)
    rows = [key for key, array in held.items() if _is_rows(array)]
    if name not in held and len(rows) == 1:
        name = rows[0]
    if name not in held:
        listed = ", ".join(f"{key} {list(array.shape)}" for key, array in held.items()) or "none"
        raise SourceError(f'{path}: has no array {name!r} but {listed}; say vectors = "..." under [source]')
    vectors = held.pop(name)
    if not _is_rows(vectors):
        raise SourceError(
            f"{path}: {vectors.dtype} {list(vectors.shape)} is not rows of numbers, [N, D]{_remedy(vectors)}"
        )
    columns = {
        key: array for key, array in held.items() if array.shape == (len(vectors),) and array.dtype.kind in "fiubUS"
    }
    texts = {key: np.char.decode(array) if array.dtype.kind == "S" else array for key, array in columns.items()}
    return vectors, texts, name


def _is_rows(array: NDArray[Any]) -> bool:
    return array.ndim == 2 and array.dtype.kind in "fiu" and array.shape[1] > 0


def _remedy(array: NDArray[Any]) -> str:
    """Return what makes rows of an array, in words; empty where nothing does."""
    if array.dtype.kind == "V" and array.dtype.itemsize == 2:
        return ": bfloat16 is unknown to numpy; save it as float32"
    if array.dtype.kind not in "fiu":
        return ""
    if array.ndim == 1:
        return ": for one vector save array.reshape(1, -1)"
    return ": save array.reshape(len(array), -1)" if array.ndim > 2 else ""


def _cell(values: NDArray[Any] | None, row: int, kind: pa.DataType) -> object:
    """Return the value of a column in a row, of the type that all files give it."""
    if values is None:
        return None
    value = values[row].item()
    return float(value) if pa.types.is_floating(kind) else value


def read_at(path: Path, at: str, key: str) -> bytes:
    """Refuse: there is nothing to show of a vector.

    Raises:
        ItemError: always.
    """
    raise ItemError(key, f"{path} holds numbers, and there is nothing to show of them")


def _type(values: NDArray[Any]) -> pa.DataType:
    return {"f": pa.float64(), "i": pa.int64(), "u": pa.int64(), "b": pa.bool_()}.get(values.dtype.kind, pa.string())
