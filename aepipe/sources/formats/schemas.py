"""One schema for several tables: types grow until they hold the values of all.

Programs write the types of a file after its own values, so parts of one table differ: integers where a part has no
hole, no type at all where a part has no value. No value is ever changed: what has no common type is refused.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping
from functools import cache

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import types

from aepipe.errors import SourceError

Merge = Callable[[pa.DataType, pa.DataType], pa.DataType | None]
_UNITS = ("s", "ms", "us", "ns")  # the finest at the end


def plain(kind: pa.DataType) -> pa.DataType:
    """Return the type without dictionaries, runs, views and extensions, at every depth."""
    if isinstance(kind, pa.BaseExtensionType):
        return pa.string() if kind.extension_name == "arrow.uuid" else plain(kind.storage_type)
    if types.is_dictionary(kind) or types.is_run_end_encoded(kind):
        return plain(kind.value_type)
    return _without_views(kind)


def _without_views(kind: pa.DataType) -> pa.DataType:
    if kind in (pa.string_view(), pa.binary_view()):
        return pa.string() if kind == pa.string_view() else pa.binary()
    if is_list(kind):
        return _list_of(kind, plain(kind.value_type))
    if types.is_struct(kind):
        return pa.struct([field.with_type(plain(field.type)) for field in kind])
    if types.is_map(kind):
        return pa.map_(plain(kind.key_type), plain(kind.item_type))
    return kind


def is_list(kind: pa.DataType) -> bool:
    """Tell whether a type is one of the five types of lists."""
    tests = (types.is_list, types.is_large_list, types.is_fixed_size_list, types.is_list_view, types.is_large_list_view)
    return any(test(kind) for test in tests)


def is_text(kind: pa.DataType) -> bool:
    """Tell whether a plain type is one of texts."""
    return bool(types.is_string(kind) or types.is_large_string(kind))


def is_bytes(kind: pa.DataType) -> bool:
    """Tell whether a plain type is one of bytes."""
    return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind))


def is_compound(kind: pa.DataType) -> bool:
    """Tell whether the values of a type are more than a number or a text: lists, records, bytes."""
    return bool(types.is_nested(kind) or is_bytes(kind))


def merged(one: pa.DataType, two: pa.DataType) -> pa.DataType | None:
    """Return the plain type that holds the values of two plain types; None where there is none."""
    if one == two or types.is_null(two):
        return one
    if types.is_null(one):
        return two
    return next((found for rule in _RULES if (found := rule(one, two)) is not None), None)


def unified(parts: Iterable[tuple[str, pa.Schema]], said: Mapping[str, pa.DataType] | None = None) -> pa.Schema:
    """Return one schema for some tables: all their columns, with types that hold all values.

    Args:
        parts: the name of each file, and its schema.
        said: types of columns that the user has said.

    Raises:
        SourceError: a column has types without a common one; the text names both files and both types.
    """
    said = said or {}
    found: dict[str, tuple[str, pa.DataType]] = {}
    metadata = None
    for place, schema in parts:
        metadata = metadata or schema.metadata
        for field in schema:
            kind = said.get(field.name, plain(field.type))
            first, before = found.get(field.name, (place, kind))
            both = merged(before, kind)
            if both is None:
                raise SourceError(
                    f"{place}: column {field.name!r} is {kind}, but {before} in {first}: no type holds both; say "
                    f'types = {{ "{field.name}" = "text" }} under [source]{_number(kind, before)}, or read the files '
                    "apart"
                )
            found[field.name] = (first if both == before else place, both)
    return pa.schema([pa.field(name, kind) for name, (_, kind) in found.items()], metadata)


def _number(one: pa.DataType, two: pa.DataType) -> str:
    """Return what else can be said of a column of texts and numbers."""
    numbers = any(types.is_integer(kind) or types.is_floating(kind) for kind in (one, two))
    return ', or "number" to leave out what is none' if numbers and any(map(is_text, (one, two))) else ""


def converted(column: pa.Array, kind: pa.DataType) -> pa.Array:
    """Return a column with another type, its values unchanged.

    Raises:
        ArrowInvalid: a value does not fit.
    """
    if column.type == kind:
        return column
    if isinstance(column.type, pa.BaseExtensionType):
        known = column.type.extension_name == "arrow.uuid"
        column = (
            pa.array([None if one is None else str(one) for one in column.to_pylist()]) if known else column.storage
        )
    if types.is_run_end_encoded(column.type):
        column = pc.run_end_decode(column)
    if not _has_views(column.type):
        try:
            return column.cast(kind)
        except pa.ArrowNotImplementedError:
            pass
    return pa.array(column.to_pylist(), kind)


def _has_views(kind: pa.DataType) -> bool:
    """Tell whether a type has lists that are views: Arrow 26 loses values where it makes other lists of them."""
    view = types.is_list_view(kind) or types.is_large_list_view(kind)
    return bool(view or any(_has_views(kind.field(place).type) for place in range(kind.num_fields)))


def may_fail(kind: pa.DataType, target: pa.DataType) -> bool:
    """Tell whether the values decide if they fit another type.

    2^53 + 1 is no float, and the year 3000 has no nanoseconds.
    """
    kind = plain(kind)
    if kind == target or types.is_null(kind):
        return False
    if types.is_integer(kind) and kind.bit_width <= 32:
        return not (types.is_integer(target) or types.is_floating(target))
    return not any(same(kind) and same(target) for same in (is_text, is_bytes, types.is_floating))


@cache
def can_be_kept(kind: pa.DataType) -> bool:
    """Tell whether rows in Parquet can hold values of a plain type as they are."""
    if types.is_time64(kind) and kind.unit == "ns":
        return False  # Python has no such times
    if not types.is_nested(kind) and not types.is_interval(kind):
        return True
    try:
        pq.write_table(pa.table({"x": pa.array([None], kind)}), io.BytesIO())
    except (pa.ArrowException, TypeError):
        return False
    return True


def _list_of(kind: pa.DataType, values: pa.DataType) -> pa.DataType:
    if types.is_fixed_size_list(kind):
        return pa.list_(values, kind.list_size)
    large = types.is_large_list(kind) or types.is_large_list_view(kind)
    return pa.large_list(values) if large else pa.list_(values)


def _integers(one: pa.DataType, two: pa.DataType) -> pa.DataType | None:
    if not (types.is_integer(one) and types.is_integer(two)):
        return None
    signed = [types.is_signed_integer(kind) for kind in (one, two)]
    if signed[0] == signed[1]:
        return one if one.bit_width >= two.bit_width else two
    # An unsigned integer needs a bit more with a sign; above 64 bits its values decide.
    widths = [kind.bit_width * (1 if has_sign else 2) for kind, has_sign in zip((one, two), signed, strict=True)]
    return {8: pa.int8(), 16: pa.int16(), 32: pa.int32()}.get(max(widths), pa.int64())


def _floats(one: pa.DataType, two: pa.DataType) -> pa.DataType | None:
    if types.is_floating(one) and types.is_floating(two):
        return one if one.bit_width >= two.bit_width else two
    numbers = all(types.is_floating(kind) or types.is_integer(kind) for kind in (one, two))
    return pa.float64() if numbers else None


def _decimals(one: pa.DataType, two: pa.DataType) -> pa.DataType | None:
    if not all(types.is_decimal(kind) or types.is_integer(kind) for kind in (one, two)):
        return None
    whole, parts = zip(*map(_digits, (one, two)), strict=True)
    needed = max(whole) + max(parts)
    return (
        pa.decimal256(needed, max(parts))
        if 38 < needed <= 76
        else pa.decimal128(needed, max(parts))
        if needed < 39
        else None
    )


def _digits(kind: pa.DataType) -> tuple[int, int]:
    """Return the most digits before and after the point."""
    if types.is_decimal(kind):
        return kind.precision - kind.scale, kind.scale
    return {8: 3, 16: 5, 32: 10, 64: 20}[kind.bit_width], 0


def _strings(one: pa.DataType, two: pa.DataType) -> pa.DataType | None:
    if is_text(one) and is_text(two):
        return pa.string()
    return pa.binary() if is_bytes(one) and is_bytes(two) else None


def _times(one: pa.DataType, two: pa.DataType) -> pa.DataType | None:
    if types.is_date(one) and types.is_date(two):
        return pa.date32()
    if types.is_time(one) and types.is_time(two):
        unit = _finer(one, two)
        return pa.time64(unit) if unit in {"us", "ns"} else pa.time32(unit)
    if types.is_duration(one) and types.is_duration(two):
        return pa.duration(_finer(one, two))
    stamps = [kind for kind in (one, two) if types.is_timestamp(kind)]
    if len(stamps) == 2 and (one.tz is None) == (two.tz is None):
        # Another zone names the same moment, so the moments stay as they are.
        return pa.timestamp(_finer(one, two), one.tz if one.tz == two.tz else "UTC")
    days = any(types.is_date(kind) for kind in (one, two))
    return stamps[0] if len(stamps) == 1 and days and stamps[0].tz is None else None


def _finer(one: pa.DataType, two: pa.DataType) -> str:
    return str(max(one.unit, two.unit, key=_UNITS.index))


def _nested(one: pa.DataType, two: pa.DataType) -> pa.DataType | None:
    if is_list(one) and is_list(two):
        return _merged_lists(one, two)
    if types.is_map(one) and types.is_map(two):
        keys, items = merged(one.key_type, two.key_type), merged(one.item_type, two.item_type)
        return None if keys is None or items is None else pa.map_(keys, items)
    return _merged_structs(one, two) if types.is_struct(one) and types.is_struct(two) else None


def _merged_lists(one: pa.DataType, two: pa.DataType) -> pa.DataType | None:
    values = merged(one.value_type, two.value_type)
    if values is None:
        return None
    sizes = {kind.list_size if types.is_fixed_size_list(kind) else -1 for kind in (one, two)}
    return pa.list_(values, sizes.pop() if len(sizes) == 1 else -1)


def _merged_structs(one: pa.DataType, two: pa.DataType) -> pa.DataType | None:
    fields = {field.name: field.type for field in one}
    for field in two:
        kind = merged(fields.get(field.name, field.type), field.type)
        if kind is None:
            return None
        fields[field.name] = kind
    return pa.struct(list(fields.items()))


_RULES: tuple[Merge, ...] = (_integers, _floats, _decimals, _strings, _times, _nested)
