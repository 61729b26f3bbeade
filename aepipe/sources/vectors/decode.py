"""Decode vectors that another model made. Legend: D numbers of a vector.

A row is float32[D]. With ``normalize = "unit"`` it has unit length, so that distances of rows are those of the cosine;
with ``"standard"`` each column has mean 0 and variance 1 over the train split.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aepipe.errors import ItemError, QueryError, shortened
from aepipe.sources.asked import file_named, path_named
from aepipe.sources.files import InMemory, first_bytes
from aepipe.sources.formats.contents import other
from aepipe.sources.item import Decode, Item
from aepipe.sources.vectors.numbers import NPY, array_items, numbers
from aepipe.store.io import load_numpy

VERSION = 1
_HEAD = 1 << 12
LARGEST = 65_504.0
"""The largest number of a row: training sees rows as float16, too."""


def decoder(features: Mapping[str, Any], folder: Path | None = None) -> Decode:
    """Return what makes float32[D] of the bytes of a vector.

    The bytes are D numbers of float32 in the machine's order, a ``.npy`` file of one vector, or a JSON list. The
    function raises :class:`ItemError` for a vector of another length, for a number that is not finite, and, where only
    the direction counts, for a vector of zeros; else for a number beyond :data:`LARGEST`.
    """
    width, normalize = features["width"], features["normalize"]
    mean = np.array(features["mean"], np.float32)
    scale = np.array(features["scale"], np.float32)

    def row(data: bytes, key: str) -> NDArray[np.float32]:
        vector = numbers(data, key, width)
        if normalize == "standard":
            return _small((vector - mean) * scale, key, ", after scaling")
        if normalize == "none":
            return _small(vector, key, ': say normalize = "unit" or "standard" under [features]')
        # In float64, because the squares of large float32 numbers overflow.
        length = float(np.sqrt(np.square(vector, dtype=np.float64).sum()))
        if length == 0.0:
            raise ItemError(key, "all zeros: it has no direction")
        if length > float(np.finfo(np.float32).max):
            vector = vector / np.abs(vector).max()
            length = float(np.sqrt(np.square(vector, dtype=np.float64).sum()))
        return (vector / length).astype(np.float32)

    return row


def _small(row: NDArray[np.float32], key: str, remedy: str) -> NDArray[np.float32]:
    """Return a row; refuse one with a number beyond float16."""
    if np.abs(row).max(initial=0.0) > LARGEST:
        raise ItemError(key, f"a number beyond {LARGEST:,.0f}, the largest of float16{remedy}")
    return row


def query_items(text: str) -> Iterator[Item]:
    """Yield the vectors of a file, each row of an array being one; or the one of a JSON list.

    A file is ``.npy``, ``.npz`` (``.npz@name`` where it has several arrays), or a table with a column of vectors; a
    folder has such files.

    Raises:
        QueryError: there is no such file, or it holds no vectors.
    """
    if text.lstrip().startswith("["):
        yield Item(text if len(text) < 40 else f"{text[:36]}...", text, InMemory(text.encode()))
        return
    path, (whole, _, name) = path_named(text), text.rpartition("@")
    if path is None and whole.lower().endswith(".npz") and (archive := file_named(whole)):
        from aepipe.sources.vectors import asked

        yield from asked.array_named(text, archive, name)
        return
    if path is None:
        raise QueryError(
            f"{shortened(text)}: no such file; ask with vectors: a .npy or .npz file, a table with a column of them, "
            "or a JSON list; or with its own rows, by --key or --id"
        )
    if path.is_dir() or path.suffix.lower() not in {"", ".npy"}:
        # Tables need packages that a query with an array does without.
        from aepipe.sources.vectors import asked

        yield from asked.items_of(text, path)
        return
    try:
        found = load_numpy(path)
    except (OSError, ValueError) as error:
        raise QueryError(f"{text}: not a .npy file of vectors{_why_not(path, error)}") from None
    yield from array_items(text, found)


def _why_not(path: Path, error: Exception) -> str:
    """Return what is wrong with a file that should hold vectors, behind a colon; empty where that is not known."""
    if isinstance(error, OSError) and error.errno:
        return f": {error.strerror}"
    head = first_bytes(str(path), _HEAD)
    if head.startswith(NPY):
        return ": it holds objects of Python" if "Python objects" in str(error) else f": {error}"
    if what := other(path, NPY).partition("; ")[0]:
        return f": {what}"
    return "" if b"\0" in head else ": it is text"
