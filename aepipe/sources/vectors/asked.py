"""Vectors that are asked with: those of an archive of arrays, or of a column of a table."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aepipe.errors import QueryError, SourceError
from aepipe.sources import base
from aepipe.sources.files import Files, Found, InMemory, Refused, WholeFile, first_bytes
from aepipe.sources.formats import arrays, records
from aepipe.sources.item import Item, Reader
from aepipe.sources.vectors.cells import column_of_lists, is_column, vector_bytes
from aepipe.sources.vectors.numbers import array_items
from aepipe.store.io import load_numpy

FILES = ".npy, .npz, .parquet, .jsonl or .csv"
"""Endings of files with vectors."""


def items_of(text: str, path: Path) -> Iterator[Item]:
    """Yield the vectors of a folder, an archive ``.npz``, or a table.

    Args:
        text: the argument.
        path: of what it names.

    Raises:
        QueryError: it holds no vectors, or several arrays.
    """
    if path.is_dir():
        files = [found for found in Files.at(str(path), Path.cwd()) if _claims(found)]
        if not files:
            raise QueryError(f"{text}: no files of vectors in this folder: {FILES}")
        for found in files:
            yield from items_of(os.path.join(text, found.place), Path(found.path))
    elif path.name.lower().endswith(".npz"):
        yield from array_items(text, _array(text, path, None))
    elif path.name.lower().endswith(".npy"):
        yield from array_items(text, load_numpy(path))
    elif first_bytes(str(path), 1) == b"[" and path.suffix.lower() == ".json":
        yield Item(text, text, WholeFile(str(path)))
    else:
        yield from _rows(text, path)


def array_named(text: str, path: Path, name: str) -> Iterator[Item]:
    """Yield the vectors of one array of an archive.

    Raises:
        QueryError: there is no such array, or it holds no vectors.
    """
    yield from array_items(text, _array(text, path, name))


def _claims(found: Found) -> bool:
    return arrays.claims(found.place) or records.holds(found)


def _array(text: str, path: Path, name: str | None) -> NDArray[Any]:
    """Return the array with a name, or the only one of numbers: rows of them, else one vector."""
    try:
        held = arrays.held_in(path)
    except SourceError as error:
        raise QueryError(str(error)) from None
    fits = {one: array for one, array in held.items() if array.ndim in (1, 2) and array.dtype.kind in "fiu"}
    if name is not None and name in fits:
        return fits[name]
    for dimensions in (2, 1):
        found = [array for array in fits.values() if array.ndim == dimensions]
        if name is None and len(found) == 1:
            return found[0]
    listed = ", ".join(f"{one} {list(array.shape)}" for one, array in held.items()) or "none"
    say = f"; ask with one of them: {text}@{next(iter(fits))}" if fits and name is None else ""
    lacks = f"no array {name!r} of numbers" if name is not None else "not one array of vectors"
    raise QueryError(f"{text}: {lacks}; it has: {listed}{say}")


def _rows(text: str, path: Path) -> Iterator[Item]:
    """Yield the vectors of a table, by the row that they are in."""
    if not records.holds(Found(text, str(path))):
        raise QueryError(f"{text}: not a file of vectors; allowed: {FILES}")
    try:
        column = _column(path)
        if column is None:
            raise QueryError(f"{text}: no column of vectors in this table")
        for line in records.read(path, path.name):
            place = f"{text}#{line.number}"
            yield Item(place, place, Refused(line.trouble) if line.trouble else _reader(line.record.get(column)))
    except SourceError as error:
        raise QueryError(str(error)) from None


def _column(path: Path) -> str | None:
    """Return the first column of a table that holds vectors; None where none does."""
    if records.is_typed(path.name):
        fields = records.columns(path, path.name)
        return next((one.name for one in fields if is_column(one, records.first_cells(path, one))), None)
    first = [line.record for line, _ in zip(records.read(path, path.name), range(base.LOOKED_AT), strict=False)]
    texts = {name: [str(row[name]) for row in first if row.get(name) is not None] for name in first[0]} if first else {}
    return column_of_lists(texts, len(first))


def _reader(cell: object) -> Reader:
    try:
        return InMemory(np.frombuffer(vector_bytes(cell), np.float32).tobytes())
    except ValueError as error:
        return Refused(str(error))
