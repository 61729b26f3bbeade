"""The numbers of one vector, and the vectors of an array that is asked with."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from aepipe.errors import ItemError, QueryError
from aepipe.sources.files import InMemory
from aepipe.sources.item import Item
from aepipe.store.io import load_numpy

NPY = b"\x93NUMPY"
"""The first bytes of a ``.npy`` file."""


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
        if b"\0" in data and not len(data) % 4:  # a vector of an array that is asked with
            raise ItemError(key, _misfit(len(data) // 4, width)) from None
        raise ItemError(key, f"not a vector of {width:,} numbers") from None
    if width >= 0 and len(vector) != width:
        raise ItemError(key, _misfit(len(vector), width))
    if not np.isfinite(vector).all():
        place = int(np.flatnonzero(~np.isfinite(vector))[0])
        beyond = ", beyond float32" if np.isfinite(given[place]) else ""
        raise ItemError(key, f"number {place} is {given[place]:g}{beyond}")
    return vector


def array_items(text: str, found: object) -> Iterator[Item]:
    """Yield an array as a question for each of its vectors.

    Args:
        text: the argument.
        found: number[D] or number[N, D].

    Raises:
        QueryError: it is neither.
    """
    if not isinstance(found, np.ndarray) or found.ndim not in (1, 2) or found.dtype.kind not in "fiu":
        raise QueryError(f"{text}: not a file of one vector, or of rows of them")
    for number, vector in enumerate(np.atleast_2d(found)):
        key = text if found.ndim == 1 else f"{text}#{number}"
        yield Item(key, key, InMemory(np.ascontiguousarray(vector, np.float32).tobytes()))


def _misfit(count: int, width: int) -> str:
    return f"{count:,} numbers, and the vectors of this collection have {width:,}"
