"""Decode rows of a table: numbers and categories become cells, missing values NaN.

A number takes one cell: its distance from the mean of its column in standard deviations, at most 5 either way. A
category takes one cell for each level, and only that of its own level is 1; with two levels it takes one cell, 0 or 1.
A level that the collection does not have counts as missing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aepipe.errors import ItemError, QueryError
from aepipe.sources.files import Found, InMemory, Refused
from aepipe.sources.item import Decode, Item

VERSION = 1
MISSING = frozenset({"", "?", "na", "n/a", "nan", "null", "none", "-"})
FARTHEST = 5.0
LARGEST = 1e150
"""Larger numbers are refused: the squares of smaller ones can still be summed up."""


def decoder(features: Mapping[str, Any], folder: Path | None = None) -> Decode:
    """Return what makes float32[D] of a row, a JSON object of names and values.

    The function raises :class:`ItemError` for bytes that are no object, for a text in a column of numbers, and for a
    row without any value.
    """
    columns: list[dict[str, Any]] = features["columns"]
    width = sum(cells_of(column) for column in columns)

    def row(data: bytes, key: str) -> NDArray[np.float32]:
        try:
            record = json.loads(data)
        except (ValueError, RecursionError):
            raise ItemError(key, "not a JSON object of columns and values") from None
        if not isinstance(record, dict):
            raise ItemError(key, "not a JSON object of columns and values")
        found = np.full(width, np.nan, np.float32)
        start = 0
        for column in columns:
            end = start + cells_of(column)
            value = present(record.get(column["name"]))
            if value is not None:
                found[start:end] = _cells(column, value, key)
            start = end
        # A row without any value cannot be compared with others.
        if np.isnan(found).all():
            known = ", ".join(column["name"] for column in columns[:8])
            raise ItemError(key, f"no value in any column that the collection is known by: {known}, ...")
        return found

    return row


def cells_of(column: Mapping[str, Any]) -> int:
    """Return the number of cells that a column takes."""
    levels = len(column.get("levels", ()))
    return levels if levels > 2 else 1


def present(value: object) -> object:
    """Return a value; None for every way to write that there is none."""
    # Parquet writes a missing number as NaN or as null.
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, str):
        value = value.strip()
        return None if value.lower() in MISSING else value
    return value


def number(value: object) -> float:
    """Return a value as a number.

    Raises:
        TypeError, ValueError: it is no number, not finite, or larger than :data:`LARGEST`.
    """
    try:
        found = float(value)  # type: ignore[arg-type]
    except OverflowError:  # JSON has integers of any length
        found = math.inf
    if not abs(found) <= LARGEST:
        raise ValueError
    return found


def query_items(text: str) -> Iterator[Item]:
    """Yield the row of a JSON object, or the rows of a file: JSON, JSON lines, CSV or Parquet.

    Raises:
        QueryError: there is no such file, or it is no table.
    """
    if text.lstrip().startswith("{"):
        yield Item(text if len(text) < 60 else f"{text[:56]}...", text, InMemory(text.encode("utf-8", "replace")))
        return
    if not Path(text).is_file():
        raise QueryError(f"{text}: no such file; ask with a file, or with a row like '{{\"column\": value, ...}}'")
    if text.lower().endswith(".json") and not (data := Path(text).read_bytes()).lstrip().startswith(b"["):
        yield Item(text, text, InMemory(data))
        return
    from aepipe.sources.formats import records

    if not records.holds(Found(text, text)):
        raise QueryError(f"{text}: not a table; allowed: .json, .jsonl, .csv, .tsv, .xlsx, .ods, .parquet")
    for line in records.read(Path(text), text):
        body = json.dumps(line.record, default=str).encode()
        yield Item(f"{text}#{line.number}", text, Refused(line.trouble) if line.trouble else InMemory(body))


def _cells(column: Mapping[str, Any], value: object, key: str) -> NDArray[np.float32] | float:
    """Return the cells of one value: one number, or float32[levels]."""
    if column["kind"] == "number":
        try:
            far: float = (number(value) - column["mean"]) * column["scale"]
        except (TypeError, ValueError):
            unit = f" ({column['unit']})" if column.get("unit") else ""
            raise ItemError(key, f"column {column['name']!r}{unit}: {value!r} is not a number, or too large") from None
        return max(-FARTHEST, min(FARTHEST, far))
    levels: list[str] = column["levels"]
    place = levels.index(str(value)) if str(value) in levels else None
    if len(levels) == 2:
        return math.nan if place is None else float(place)
    if place is None:
        return math.nan
    cells = np.zeros(len(levels), np.float32)
    cells[place] = 1.0
    return cells
