"""Fill the holes of a table of Parquet: columns keep their types, and the file its metadata.

Holes are nulls, and floating-point numbers that are no numbers. A column of whole numbers gets whole numbers, one of
dates gets dates. Lists, structures and bytes stay as they are, and so does the index that pandas writes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from aepipe.errors import SourceError
from aepipe.learn.impute import Estimate, free_name
from aepipe.learn.impute_column import Part, Report, Texts, learned, read_texts
from aepipe.sources.formats.dialect import own_names
from aepipe.sources.tally import Tally

_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_DAY = 86_400


def read(file: Path) -> pa.Table:
    """Return the table of a file, with its metadata.

    Raises:
        SourceError: it cannot be read.
    """
    try:
        return pq.ParquetFile(file).read()
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{file}: cannot be read as a table: {' '.join(str(error).split())}") from None


def write(table: pa.Table, file: Path, *, like: Path | None = None) -> None:
    """Write a table, compressed as another file is.

    Raises:
        OSError: it cannot be written.
    """
    compression, rows = "snappy", None
    if like is not None:
        found = pq.ParquetFile(like).metadata
        if found.num_row_groups and found.num_columns:
            compression, rows = found.row_group(0).column(0).compression, max(1, found.row_group(0).num_rows)
    compression = "none" if compression == "UNCOMPRESSED" else compression
    pq.write_table(table, file, compression=compression, row_group_size=rows)


def fill_table(table: pa.Table, *, seed: int, device: str, steps: int) -> tuple[pa.Table, Report]:
    """Return a table with its holes filled, and the report.

    Args:
        table: its columns keep their types.
        seed: of everything random.
        device: as ``compute.device`` of a recipe.
        steps: of training, about.

    Raises:
        SourceError: there are too few rows, or nothing to learn from.
        TrainingError: a loss is not finite.
    """
    found = Report(table.num_rows)
    names = own_names(table.column_names)[0]
    columns = _columns(table, names, found)
    fields, arrays = list(table.schema), list(table.columns)
    taken = list(names)
    order = [name for name in names if name in columns]
    parts = [columns[name].part for name in order]
    filled = {one.name: one for one in learned(parts, seed=seed, device=device, steps=steps, found=found)}
    # From the last to the first, so that the places of the others stay.
    for place in range(len(names) - 1, -1, -1):
        one = filled.get(names[place])
        if one is None:
            continue
        column = columns[names[place]]
        arrays[place] = _put(arrays[place], column.part.gaps, column.fills(one))
        more = free_name(names[place], taken)
        taken.append(more)
        spread = np.where(column.part.gaps, one.uncertainty / column.unit, 0.0)
        found.spread[one.name] = float(spread[column.part.gaps].mean())
        arrays.insert(place + 1, pa.chunked_array([pa.array(spread)]))
        fields.insert(place + 1, pa.field(more, pa.float64()))
    return pa.table(arrays, schema=pa.schema(fields, metadata=table.schema.metadata)), found


@dataclass(frozen=True, slots=True)
class _Column:
    """A column that is learned from.

    Attributes:
        part: its values and holes.
        fills: makes the values for the holes of what is expected, as an array of the column's type.
        unit: the uncertainty is divided by it.
    """

    part: Part
    fills: Callable[[Estimate], pa.Array]
    unit: float = 1.0


def _columns(table: pa.Table, names: Iterable[str], found: Report) -> dict[str, _Column]:
    """Return the columns that are learned from; the others go into the report, each with its reason."""
    columns, texts, indexes = {}, {}, _indexes(table.schema)
    for name, kept, column in zip(names, table.schema, table.columns, strict=True):
        if kept.name in indexes:
            found.left_out[name] = "the index of its rows"
        elif _is_text(kept.type):
            texts[name] = column
        else:
            made = _typed(name, column, found)
            if made:
                columns[name] = made
    read = read_texts(
        {name: [text or "" for text in column.to_pylist()] for name, column in texts.items()},
        {name: _nulls(column) for name, column in texts.items()},
        [f"row {row}" for row in range(table.num_rows)],
        found,
    )
    columns |= {name: _text(name, one, texts[name]) for name, one in read.items()}
    return columns


def _typed(name: str, column: pa.ChunkedArray, found: Report) -> _Column | None:
    """Return a column of a type of its own; None, and a reason in the report, where it is not learned from."""
    kind = column.type
    if pa.types.is_null(kind) or column.null_count == len(column):
        found.left_out[name] = "no value"
        return None
    if pa.types.is_boolean(kind):
        part = Part(name, np.array(column.to_pylist(), object), _nulls(column))
        return _Column(part, lambda one: pa.array([bool(value) for value in one.values[part.gaps]], kind))
    if not _is_quantity(kind):
        found.left_out[name] = f"of the type {kind}"
        return None
    numbers = _numbers(column)
    tally = Tally(name)
    for row in np.flatnonzero(~np.isnan(numbers)).tolist():
        tally.add(float(numbers[row]), f"row {row}")
    why = tally.decided(single=True).reason
    if why:
        found.left_out[name] = why
        return None
    gaps = _nulls(column)
    infinite = np.isinf(numbers)
    if infinite.any():
        found.notes.append(f"column {name!r}: {infinite.sum():,} infinite values, left as they are")
    if pa.types.is_floating(kind):
        gaps = gaps | np.isnan(numbers)
    if pa.types.is_integer(kind) and gaps.any():
        found.notes.append(f"column {name!r}: of the type {kind}, so its filled values are rounded")
    part = Part(name, np.where(infinite, np.nan, numbers), gaps)
    unit = _unit(kind)
    return _Column(part, lambda one: _as_type(one.values[part.gaps], kind), unit)


def _text(name: str, texts: Texts, column: pa.ChunkedArray) -> _Column:
    """Return a column of texts."""

    def fills(one: Estimate) -> pa.Array:
        written = list(texts.written(one).values())
        if not pa.types.is_dictionary(column.type):
            return pa.array(written, column.type)
        return pa.array(written, column.type.value_type).dictionary_encode().cast(column.type)

    return _Column(texts.part(name), fills)


def _put(column: pa.ChunkedArray, gaps: NDArray[np.bool_], fills: pa.Array) -> pa.ChunkedArray:
    """Return a column with values in its gaps; all other values are taken as they are."""
    kind = column.type
    if pa.types.is_string_view(kind):  # of which pyarrow takes no rows
        return _put(column.cast(pa.large_string()), gaps, fills.cast(pa.large_string())).cast(kind)
    if pa.types.is_dictionary(kind):
        # Chunks of one column may have dictionaries of their own.
        both = pa.chunked_array([*column.chunks, fills]).unify_dictionaries()
        column, fills = pa.chunked_array(both.chunks[:-1], kind), both.chunks[-1]
    chunks, start, used = [], 0, 0
    for chunk in column.chunks:
        here = gaps[start : start + len(chunk)]
        places = np.arange(len(chunk))
        count = int(here.sum())
        places[here] = len(chunk) + np.arange(count)
        chunks.append(pa.concat_arrays([chunk, fills.slice(used, count)]).take(pa.array(places)))
        start, used = start + len(chunk), used + count
    return pa.chunked_array(chunks, kind)


def _as_type(values: NDArray[Any], kind: pa.DataType) -> pa.Array:
    """Return expected numbers as an array of a column's type."""
    if pa.types.is_floating(kind):
        return pa.array(values.astype(np.float64)).cast(kind)
    if pa.types.is_decimal(kind):
        step = Decimal(1).scaleb(-kind.scale)
        return pa.array([Decimal(repr(float(value))).quantize(step) for value in values], kind)
    if pa.types.is_integer(kind):
        bounds = np.iinfo(kind.to_pandas_dtype())
        return pa.array([min(max(round(float(value)), bounds.min), bounds.max) for value in values], kind)
    finest = _finest(kind)
    whole = [round(float(value) / finest) * finest for value in values]
    return pa.array(whole, pa.int32() if kind.bit_width == 32 else pa.int64()).cast(kind)


def _finest(kind: pa.DataType) -> int:
    """Return the steps that filled dates and times are rounded to: days and seconds."""
    if pa.types.is_date32(kind):
        return 1
    return _DAY * 1000 if pa.types.is_date64(kind) else _SECOND[kind.unit]


def _unit(kind: pa.DataType) -> float:
    """Return how many units of a type are one of its uncertainty: days of dates and moments, seconds of times."""
    if pa.types.is_timestamp(kind):
        return float(_DAY * _SECOND[kind.unit])
    if pa.types.is_temporal(kind):
        return float(_finest(kind))
    return 1.0


def _numbers(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """Return the values of a column as numbers, float64[N]; NaN for nulls."""
    kind = column.type
    if pa.types.is_temporal(kind):
        column = column.cast(pa.int32() if kind.bit_width == 32 else pa.int64()).cast(pa.int64())
    numbers = pc.cast(column, pa.float64(), safe=False)
    return np.asarray(numbers.to_numpy(), np.float64)


def _nulls(column: pa.ChunkedArray) -> NDArray[np.bool_]:
    return np.asarray(column.is_null().to_numpy(), bool)


def _is_text(kind: pa.DataType) -> bool:
    inner = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(inner) or pa.types.is_large_string(inner) or pa.types.is_string_view(inner))


def _is_quantity(kind: pa.DataType) -> bool:
    plain = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    return bool(plain or (pa.types.is_temporal(kind) and not pa.types.is_interval(kind)))


def _indexes(schema: pa.Schema) -> set[str]:
    """Return the columns that pandas made of an index."""
    try:
        found = json.loads((schema.metadata or {})[b"pandas"])["index_columns"]
        return {name for name in found if isinstance(name, str)}
    except (KeyError, ValueError, TypeError):
        return set()
