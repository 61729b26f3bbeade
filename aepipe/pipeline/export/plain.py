"""Columns in the few types that every system has.

A source may bring any type of Arrow. These become: bool, integers, float32, float64, decimal, text, bytes, dates,
timestamps in microseconds, lists of one of these, and JSON as text for all that is nested deeper.
"""

from __future__ import annotations

import json
import math
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

JSON = {b"aepipe": b"json"}
"""Metadata of a column whose texts are JSON."""
_SAME = (
    pa.types.is_boolean,
    pa.types.is_integer,
    pa.types.is_float32,
    pa.types.is_float64,
    pa.types.is_string,
    pa.types.is_date32,
    pa.types.is_fixed_size_binary,
    pa.types.is_decimal128,
)
_CHANGED = (
    (pa.types.is_float16, pa.float32()),
    (pa.types.is_date64, pa.date32()),
    (pa.types.is_binary, pa.binary()),
    (pa.types.is_large_binary, pa.binary()),
    (pa.types.is_duration, None),
)
_LISTS = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
_NO_ELEMENT = (pa.types.is_fixed_size_binary, pa.types.is_nested, pa.types.is_null)


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """Return a schema in plain types."""
    return pa.schema([_field(field) for field in schema], schema.metadata)


def plain(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return a table with the columns of a plain schema, which may be fewer."""
    return pa.Table.from_arrays([_column(table[field.name], field) for field in schema], schema=schema)


def jsonable(value: object) -> object:
    """Return a value as JSON has it.

    Bytes are in hex, times as ISO 8601 writes them, and numbers that are not finite null.
    """
    match value:
        case float():
            found: object = value if math.isfinite(value) else None
        case bytes():
            found = value.hex()
        case date() | time():
            found = value.isoformat()
        case timedelta():
            found = value.total_seconds()
        case Decimal():
            found = str(value)
        case dict():
            found = {str(name): jsonable(one) for name, one in value.items()}
        case list() | tuple():
            found = [jsonable(one) for one in value]
        case _:
            found = value
    return found


def json_row(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with values as JSON has them."""
    return {name: jsonable(value) for name, value in row.items()}


def _field(field: pa.Field) -> pa.Field:
    kind = _kind(field.type)
    if kind is not None:
        return pa.field(field.name, kind, nullable=field.nullable)
    return pa.field(field.name, pa.string(), metadata=JSON)


def _kind(kind: pa.DataType) -> pa.DataType | None:
    """Return the plain type of a type; None where it becomes JSON."""
    if any(same(kind) for same in _SAME):
        return kind
    if pa.types.is_dictionary(kind):
        return _kind(kind.value_type)
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", kind.tz)
    if pa.types.is_nested(kind):
        return _list(kind) if any(one(kind) for one in _LISTS) else None
    return next((new for one, new in _CHANGED if one(kind)), pa.string())


def _list(kind: pa.DataType) -> pa.DataType | None:
    """Return the plain type of a list; None where its elements are no plain ones."""
    if pa.types.is_fixed_size_list(kind) and pa.types.is_float32(kind.value_type):
        return kind
    element = None if any(no(kind.value_type) for no in _NO_ELEMENT) else _kind(kind.value_type)
    return None if element is None else pa.list_(element)


def _column(column: pa.ChunkedArray, field: pa.Field) -> pa.ChunkedArray:
    if column.type == field.type:
        return column
    if field.metadata != JSON:
        try:
            return pc.cast(column, field.type, safe=False)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            return pa.chunked_array([[None if one is None else str(one) for one in column.to_pylist()]], field.type)
    texts = [None if one is None else json.dumps(jsonable(one), ensure_ascii=False) for one in column.to_pylist()]
    return pa.chunked_array([texts], pa.string())
