"""Parquet files of images, or of paths to images, read by row group.

Pictures are in a binary column, or in a struct ``{bytes, path}`` as Hugging Face writes it; paths are in a string
column. A number in a column that Hugging Face's metadata calls a ``ClassLabel`` becomes the name of its class.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from aepipe.errors import SourceError
from aepipe.sources.files import Files, Found, InMemory, Refused
from aepipe.sources.formats.path_lists import check_columns, listed
from aepipe.sources.item import Columns, Container, Item, Reader
from aepipe.sources.passed_over import PassedOver

_ROWS = 64  # read at a time: pictures are large


def claims(name: str) -> bool:
    """Whether a file has the name of a Parquet file."""
    return name.lower().endswith((".parquet", ".pq"))


def open_container(files: Files, columns: Columns) -> Container:
    """Return the tables.

    Raises:
        SourceError: the first is damaged, or lacks a column.
    """
    return Tables(files, columns)


def read_at(path: Path, at: str, key: str) -> bytes:
    """Return the picture in a row of the first column of pictures, or in ``row:column``."""
    number, _, column = at.partition(":")
    with reading(path) as table:
        column = column or _pictures(table.schema_arrow)[0]
        row = int(number)
        for group in range(table.num_row_groups):
            rows = table.metadata.row_group(group).num_rows
            if row < rows:
                cell = table.read_row_group(group, columns=[column]).column(column)[row].as_py()
                # A null cell is shown as an empty file, which no decoder takes.
                return _split_cell(cell)[0] or b""
            row -= rows
    raise SourceError(f"{path}: has no row {at}")


class Tables:
    """Parquet files of one schema.

    The key of an item is its path where it has one, and no item before has the same; else its place, ``file#row``.
    """

    def __init__(self, files: Files, columns: Columns) -> None:
        self._files = files
        self._columns = columns
        self.passed_over = PassedOver()
        self.gives: frozenset[str] = frozenset()
        found = files.first(claims)
        if found is None:
            raise SourceError(f"{files.given}: no .parquet in it")
        first = Path(found.path)
        with reading(first) as table:
            self._schema = table.schema_arrow
        check_columns(first, self._schema.names, columns)
        self._classes = _classes(self._schema)
        self._which = f":{columns.image}" if columns.image in _pictures(self._schema)[1:] else ""
        _check_images(first, self._schema.field(columns.image))

    def schema(self) -> pa.Schema:
        """Return all columns but those of pictures; classes and dictionaries as their values."""
        return pa.schema([(field.name, self._type(field)) for field in self._schema if self._kept(field)])

    def total(self) -> int:
        """Return the sum of the row counts."""
        return sum(rows_of(Path(found.path)) for found in self._files.claimed(claims))

    def items(self) -> Iterator[Item]:
        """Yield the rows in order."""
        # A key is unique in a source, but paths in a data set need not be.
        taken: set[str] = set()
        for found in self._tables(self.passed_over):
            for item in self._rows(found):
                first = self._columns.key is not None or item.key not in taken
                taken.add(item.key)
                yield item if first else Item(item.place, item.place, item.reader, columns=item.columns)

    def _tables(self, passed_over: PassedOver) -> Iterator[Found]:
        return self._files.claimed(claims, passed_over, "not a Parquet file")

    def _rows(self, found: Found) -> Iterator[Item]:
        """Yield the rows of one file."""
        names = [self._columns.image, *self.schema().names]
        with reading(Path(found.path)) as table:
            check_columns(Path(found.path), table.schema_arrow.names, self._columns)
            number = 0
            for batch in table.iter_batches(_ROWS, columns=names):
                for row in batch.to_pylist():
                    yield self._item(row, found, number)
                    number += 1

    def _item(self, row: dict[str, Any], found: Found, number: int) -> Item:
        """Return one row as an item."""
        at = f"{found.place}#{number}{self._which}"
        place, own, reader = self._picture(row.pop(self._columns.image), found, at)
        columns = {name: self._value(name, value) for name, value in row.items()}
        key = own if self._columns.key is None else columns[self._columns.key]
        return Item(at if key in (None, "") else str(key), place, reader, columns=columns)

    def _picture(self, cell: object, found: Found, at: str) -> tuple[str, str | None, Reader]:
        """Return the place of a picture, its path if it has one, and the reader of its bytes."""
        data, path = _split_cell(cell)
        if data is not None:
            return at, path, InMemory(data)
        if path is None:
            return at, None, Refused("no image")
        place, reader = listed(self._files.root, str(PurePosixPath(found.place).parent), path)
        return place or at, place, reader

    def _kept(self, field: pa.Field) -> bool:
        return field.name != self._columns.image and not _is_picture(field.type)

    def _type(self, field: pa.Field) -> pa.DataType:
        if field.name in self._classes:
            return pa.string()
        return field.type.value_type if pa.types.is_dictionary(field.type) else field.type

    def _value(self, name: str, value: object) -> object:
        """Return a value; the name of a class for its number."""
        names = self._classes.get(name)
        if names is None or not isinstance(value, int):
            return value
        # Hugging Face writes -1 where there is no class.
        return names[value] if 0 <= value < len(names) else None


def _split_cell(cell: object) -> tuple[bytes | None, str | None]:
    """Return the bytes and the path in a cell of a column of pictures."""
    if isinstance(cell, dict):
        return cell.get("bytes"), cell.get("path")
    return (cell, None) if isinstance(cell, bytes) else (None, cell if isinstance(cell, str) else None)


def _is_picture(kind: pa.DataType) -> bool:
    """Whether a column of this type can hold pictures."""
    if pa.types.is_struct(kind):
        return any(field.name == "bytes" and _is_picture(field.type) for field in kind)
    return bool(
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_binary_view(kind)
        or pa.types.is_fixed_size_binary(kind)
    )


def _pictures(schema: pa.Schema) -> list[str]:
    return [field.name for field in schema if _is_picture(field.type)]


def _check_images(path: Path, field: pa.Field) -> None:
    """Raise SourceError where a column holds neither pictures nor paths."""
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    if not _is_picture(kind) and not pa.types.is_string(kind) and not pa.types.is_large_string(kind):
        raise SourceError(
            f"{path}: column {field.name!r} is {field.type}; images are binary, struct<bytes, path>, or paths as string"
        )


def _classes(schema: pa.Schema) -> dict[str, list[str]]:
    """Return the names of the classes by column, from Hugging Face's metadata."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {name: [str(n) for n in feature["names"]] for name, feature in features.items() if "names" in feature}
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}


def rows_of(path: Path) -> int:
    """Return the number of rows of a file.

    Raises:
        SourceError: it cannot be opened.
    """
    with reading(path) as table:
        return int(table.metadata.num_rows)


@contextmanager
def reading(path: Path) -> Iterator[pq.ParquetFile]:
    """Open a file for the block.

    Raises:
        SourceError: it cannot be opened, or is damaged where the block reads it.
    """
    try:
        # Mapped, so that only the row groups that are read take memory.
        with pq.ParquetFile(path, memory_map=True) as table:
            yield table
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{path}: not a readable Parquet file: {str(error).partition(chr(10))[0]}") from None
