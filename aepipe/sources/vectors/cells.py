"""Vectors in the cells of a table: which columns hold them, and their numbers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aepipe.sources.formats import arrays, schemas
from aepipe.sources.vectors.numbers import NPY, numbers

FEWEST = 4
"""Numbers from which a list of integers, or bytes, are a vector."""
ALIKE = 0.9
"""Share of the lists of a column that have the same length where they are vectors."""
_TOKENS = frozenset({"input_ids", "attention_mask", "token_type_ids", "special_tokens_mask", "labels", "tokens"})


def vector_bytes(value: object, width: int | None = None) -> bytes:
    """Return the vector in a cell as numbers of float32.

    Args:
        value: a list of numbers, the same as JSON, or numbers of float32 as bytes.
        width: how many numbers there have to be; None where any number will do.

    Raises:
        ValueError: it is no vector; the text says why.
    """
    if isinstance(value, bytes):
        if value.startswith(NPY):
            return _of_width(numbers(value, "", None), width).tobytes()
        if len(value) % 4 or not value:
            raise ValueError("bytes that are not numbers of float32")
        return _of_width(np.frombuffer(value, "<f4"), width).tobytes()
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise ValueError("text that is no list of numbers") from None
    if not isinstance(value, list) or not value:
        raise ValueError("no vector" if value is None or value == [] else "not a list of numbers")
    if None in value:
        raise ValueError("a vector with holes")
    try:
        found = np.array(value, np.float64)
    except (ValueError, TypeError, OverflowError):
        raise ValueError("not a list of numbers") from None
    if found.ndim != 1:
        raise ValueError("not a list of numbers")
    return arrays.narrowed(_of_width(found, width)).tobytes()


def _of_width(vector: NDArray[Any], width: int | None) -> NDArray[Any]:
    if width is not None and len(vector) != width:
        raise ValueError(f"{len(vector):,} numbers, and the vectors of this collection have {width:,}")
    return vector


def is_column(column: pa.Field, cells: Sequence[object]) -> bool:
    """Recognise vectors: lists of numbers, or numbers as bytes, of one length."""
    kind = schemas.plain(column.type)
    if schemas.is_bytes(kind):
        return _are_numbers([cell for cell in cells if isinstance(cell, bytes)])
    if not schemas.is_list(kind):
        return False
    if pa.types.is_integer(kind.value_type):
        # Words by their numbers are no vectors, nor are lists of labels.
        return column.name not in _TOKENS and _one_length(cells, FEWEST)
    return bool(pa.types.is_floating(kind.value_type)) and (not cells or _one_length(cells, 2))


def _one_length(cells: Sequence[object], fewest: int) -> bool:
    """Tell whether nearly all lists have the same length, and at least ``fewest`` numbers."""
    lengths = Counter(len(cell) for cell in cells if isinstance(cell, list))
    length, count = lengths.most_common(1)[0] if lengths else (0, 0)
    return length >= fewest and count >= ALIKE * lengths.total()


def _are_numbers(cells: Sequence[bytes]) -> bool:
    """Tell whether bytes are vectors of float32: of one length, and of the size that numbers of vectors have."""
    if not cells or len({len(cell) for cell in cells}) > 1 or len(cells[0]) < 4 * FEWEST or len(cells[0]) % 4:
        return False
    found = np.abs(np.frombuffer(b"".join(cells), "<f4"))
    # Other bytes, read as numbers, lie anywhere between 1e-38 and 1e38.
    return bool(np.isfinite(found).all() and found.max() < 1e5 and (found[found > 0] > 1e-12).all() and found.any())


def column_of_lists(texts: Mapping[str, Sequence[str]], rows: int) -> str | None:
    """Return the first column whose texts are lists of numbers as JSON."""
    return next((name for name, values in texts.items() if values and _are_lists(values)), None)


def _are_lists(values: Sequence[str]) -> bool:
    if not all(value.lstrip().startswith("[") for value in values):
        return False
    try:
        lengths = {len(vector_bytes(value)) for value in values}
    except ValueError:
        return False
    return len(lengths) == 1 and lengths.pop() >= 4 * FEWEST
