"""Decode vectors that another model made. Legend: D numbers of a vector.

A row is float32[D]. With ``normalize = "unit"`` it has unit length, so that distances of rows are those of the cosine;
with ``"standard"`` each column has mean 0 and variance 1 over the train split.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aepipe.errors import ItemError, QueryError, shortened
from aepipe.sources.asked import path_named
from aepipe.sources.files import InMemory, first_bytes
from aepipe.sources.formats.contents import other
from aepipe.sources.item import Decode, Item
from aepipe.store.io import load_numpy

VERSION = 1
NPY = b"\x93NUMPY"
"""The first bytes of a ``.npy`` file."""
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


def numbers(data: bytes, key: str, width: int | None) -> NDArray[np.float32]:
    """Return the numbers of a vector as they are, float32[D].

    Args:
        data: D numbers of float32 in the machine's order, a ``.npy`` file, or a JSON list.
        key: of the item, for messages.
        width: D; None where any will do.

    Raises:
        ItemError: there are not D of them, or one is not finite, or beyond float32.
    """
    width = -1 if width is None else width
    try:
        if data.startswith(NPY):
            found = load_numpy(io.BytesIO(data))
        elif len(data) == 4 * width:
            # The form in which ingestion hands vectors on.
            found = np.frombuffer(data, np.float32)
        else:
            found = np.array(json.loads(data), np.float64)
        given = np.asarray(found).reshape(-1)
        with np.errstate(over="ignore"):
            vector = np.asarray(given, np.float32)
    except (ValueError, TypeError, RecursionError, OverflowError):
        raise ItemError(key, f"not a vector of {width:,} numbers") from None
    if width >= 0 and len(vector) != width:
        raise ItemError(key, f"{len(vector):,} numbers, and the vectors of this collection have {width:,}")
    if not np.isfinite(vector).all():
        place = int(np.flatnonzero(~np.isfinite(vector))[0])
        beyond = ", beyond float32" if np.isfinite(given[place]) else ""
        raise ItemError(key, f"number {place} is {given[place]:g}{beyond}")
    return vector


def query_items(text: str) -> Iterator[Item]:
    """Yield the vectors of a ``.npy`` file, of one or two axes; or the one of a JSON list.

    Raises:
        QueryError: there is no such file, or it holds no vectors.
    """
    if text.lstrip().startswith("["):
        yield Item(text if len(text) < 40 else f"{text[:36]}...", text, InMemory(text.encode()))
        return
    path = path_named(text)
    if path is None:
        raise QueryError(f"{shortened(text)}: no such file; ask with a .npy file or a JSON list")
    try:
        found = load_numpy(path)
    except (OSError, ValueError) as error:
        raise QueryError(f"{text}: not a .npy file of vectors{_why_not(path, error)}") from None
    if not isinstance(found, np.ndarray) or found.ndim not in (1, 2) or found.dtype.kind not in "fiu":
        raise QueryError(f"{text}: not a .npy file of one vector, or of rows of them")
    for number, vector in enumerate(np.atleast_2d(found)):
        key = text if found.ndim == 1 else f"{text}#{number}"
        yield Item(key, key, InMemory(np.ascontiguousarray(vector, np.float32).tobytes()))


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
