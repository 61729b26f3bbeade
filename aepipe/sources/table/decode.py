"""Decode rows of a table: numbers and categories become cells, missing values NaN.

A number takes one cell: its distance from the mean of its column in standard deviations, at most 5 either way. So does
a date, as days since 1970. A category takes one cell for each level, and only that of its own level is 1; with two
levels it takes one cell, 0 or 1. A level that the collection does not have counts as missing.

A number is read as its column writes numbers: where that has ``1.234,5``, a 1.234 is a thousand and more. In a column
some of whose values are no numbers, other such values are missing, too; in any other column they are refused.
"""

from __future__ import annotations

import bisect
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aepipe.errors import ItemError, QueryError, shortened
from aepipe.sources.asked import path_named
from aepipe.sources.files import Found, InMemory, Refused
from aepipe.sources.item import Decode, Item
from aepipe.sources.notation import number, present, read_number

VERSION = 1
FARTHEST = 5.0
NAMED = 8  # columns or categories in a message


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
            raise ItemError(key, _why_empty(columns, record))
        return found

    return row


def _why_empty(columns: Sequence[Mapping[str, Any]], record: Mapping[str, Any]) -> str:
    """Return why a row has no cell: its values are none of the categories, or stand in other columns."""
    for column in columns:
        value = present(record.get(column["name"]))
        if value is not None and column["kind"] not in {"number", "date"}:
            levels = [str(level) for level in column["levels"]]
            some = ", ".join(levels[:NAMED]) + (", ..." if len(levels) > NAMED else "")
            return f"column {column['name']!r}: {value!r} is none of its {len(levels)} categories: {some}"
    known = ", ".join(column["name"] for column in columns[:NAMED]) + (", ..." if len(columns) > NAMED else "")
    return f"no value in any column that the collection is known by: {known}"


def cells_of(column: Mapping[str, Any]) -> int:
    """Return the number of cells that a column takes."""
    levels = len(column.get("levels", ()))
    return levels if levels > 2 else 1


def query_items(text: str) -> Iterator[Item]:
    """Yield the row of a JSON object, or the rows of a file: JSON, JSON lines, CSV or Parquet.

    Raises:
        QueryError: there is no such file, or it is no table.
    """
    if text.lstrip().startswith("{"):
        yield Item(text if len(text) < 60 else f"{text[:56]}...", text, InMemory(text.encode("utf-8", "replace")))
        return
    path = path_named(text)
    if path is None or not path.is_file():
        why = "no such file" if path is None else "not a file"
        raise QueryError(f"{shortened(text)}: {why}; ask with a file, or with a row like '{{\"column\": value, ...}}'")
    if text.lower().endswith(".json") and not (data := path.read_bytes()).lstrip().startswith(b"["):
        yield Item(text, text, InMemory(data))
        return
    from aepipe.sources.formats import records

    if not records.holds(Found(text, str(path))):
        raise QueryError(f"{text}: not a table; allowed: .json, .jsonl, .csv, .tsv, .xlsx, .ods, .parquet")
    for line in records.read(path, text):
        body = json.dumps(line.record, default=str).encode()
        yield Item(f"{text}#{line.number}", text, Refused(line.trouble) if line.trouble else InMemory(body))


def _cells(column: Mapping[str, Any], value: object, key: str) -> NDArray[np.float32] | float:
    """Return the cells of one value: one number, or float32[levels]."""
    if column["kind"] in {"number", "date"}:
        try:
            far = _far(column, _quantity(column, value))
        except (TypeError, ValueError):
            if column.get("strays"):
                return math.nan
            unit = f" ({column['unit']})" if column.get("unit") else ""
            wanted = "a date" if column["kind"] == "date" else "a number, or too large"
            raise ItemError(key, f"column {column['name']!r}{unit}: {value!r} is not {wanted}") from None
        return max(-FARTHEST, min(FARTHEST, far))
    levels: list[str] = column["levels"]
    place = levels.index(str(value)) if str(value) in levels else None
    if place is None:
        return math.nan
    apart = column.get("apart")
    if len(levels) == 2:
        # Around zero, so that a missing value, which counts as zero, is between the two.
        return float(place) if apart is None else (place - 0.5) * apart
    cells = np.zeros(len(levels), np.float32)
    # Two such rows differ in two cells.
    cells[place] = 1.0 if apart is None else apart / math.sqrt(2)
    return cells


def _far(column: Mapping[str, Any], quantity: float) -> float:
    """Return a number as its distance from the mean in deviations, or as its rank."""
    knots: list[list[float]] = column.get("knots", [])
    if not knots:
        far: float = (quantity - column["mean"]) * column["scale"]
        return far
    above = bisect.bisect_left(knots, [quantity])
    if above in {0, len(knots)}:
        return knots[min(above, len(knots) - 1)][1]
    (low, first), (high, last) = knots[above - 1 : above + 1]
    return first + (last - first) * (quantity - low) / (high - low)


def _quantity(column: Mapping[str, Any], value: object) -> float:
    """Return a value of a column of numbers or dates as a number.

    Raises:
        TypeError, ValueError: it is not of its kind.
    """
    if column["kind"] == "date":
        from aepipe.sources.dates import read_date

        return read_date(value, column["order"], short=column.get("short", False))
    if isinstance(value, str) and column.get("decimal"):
        return read_number(value, column["decimal"])
    return number(value)
