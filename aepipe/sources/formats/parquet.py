"""Pictures, recordings and videos, or paths to them, in rows of tables with types.

Pictures are in a column of bytes, or in a struct ``{bytes, path}`` as Hugging Face writes it; paths are in a column of
texts. Of a list of pictures the first is taken.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from aepipe.errors import ItemError, SourceError
from aepipe.sources.files import Files, Found, InMemory, Refused
from aepipe.sources.formats import schemas, typed
from aepipe.sources.formats.path_lists import check_columns, listed
from aepipe.sources.formats.shards import Shards
from aepipe.sources.item import Columns, Container, Item, Reader
from aepipe.sources.passed_over import PassedOver

_ROWS = 64  # read at a time: pictures are large

claims, holds = typed.claims, typed.holds


def open_container(files: Files, columns: Columns) -> Container:
    """Return the tables.

    Raises:
        SourceError: one is damaged, lacks a column, or has other types than the rest.
    """
    return Tables(files, columns)


def read_at(path: Path, at: str, key: str) -> bytes:
    """Return the picture in a row of the first column of pictures, or in ``row:column``."""
    number, _, column = at.partition(":")
    table = typed.table_of(path)
    pictures = [column] if column else _pictures(table.schema())
    if not pictures:
        raise ItemError(key, f"{path.name} holds no pictures")
    cell = table.cell(int(number), pictures[0])
    # A null cell is shown as an empty file, which no decoder takes.
    return split_cell(cell)[0] or b""


class Tables:
    """Files of pictures in tables; the schema is that of all files.

    The key of an item is its path where it has one, and no item before has the same; else its place, ``file#row``.
    """

    def __init__(self, files: Files, columns: Columns) -> None:
        self._files = files
        self._columns = columns
        self._bounds = files.bounds
        self._shards = Shards(files, columns.given)
        self._others = 0  # pictures of lists that are not taken
        self.passed_over = PassedOver()
        self.gives = frozenset({"split"}) if self._shards.gives_split else frozenset[str]()
        schema = self._shards.schema
        first = Path(self._shards.first or files.given)
        check_columns(first, schema.names, columns)
        _check_images(first, schema.field(columns.image))
        self._names = [columns.image, *self.schema().names]

    @property
    def left_out(self) -> dict[str, str]:
        """Columns next to the pictures that are not kept, with the reason."""
        image = self._columns.image
        found = {one.name: f"{one.type}: bytes are not kept" for one in self._shards.schema if _is_picture(one.type)}
        return {name: why for name, why in (found | self._shards.left_out).items() if name != image}

    @property
    def notes(self) -> list[str]:
        """What was made of lists of pictures and of values, in words."""
        name, option = self._columns.image, self._columns.option
        lists = schemas.is_list(self._shards.schema.field(name).type)
        taken = f"column {name!r} holds lists: the first {option} of each is taken, {self._others:,} are not"
        return [*([taken] if lists else []), *self._shards.notes()]

    def keep_types(self, known: pa.Schema) -> None:
        """Let columns have the types that they have in other rows, where those hold their values."""
        self._shards.keep_types(known)

    def schema(self) -> pa.Schema:
        """Return all columns but those of pictures; classes and dictionaries as their values."""
        return pa.schema([(field.name, field.type) for field in self._shards.schema if self._kept(field)])

    def total(self) -> int:
        """Return the sum of the row counts."""
        return self._shards.total()

    def items(self) -> Iterator[Item]:
        """Yield the rows in order."""
        self._others = 0
        self._shards.begin()
        # A key is unique in a source, but paths in a data set need not be.
        taken: set[str] = set()
        for found in self._shards.tables(self.passed_over):
            for item in self._rows(found):
                first = self._columns.key is not None or item.key not in taken
                taken.add(item.key)
                yield item if first else replace(item, key=item.place)

    def _rows(self, found: Found) -> Iterator[Item]:
        """Yield the rows of one file."""
        split, which = self._shards.split(found), self._which(found)
        for number, row in enumerate(self._shards.rows(found, self._names, _ROWS)):
            yield self._item(row, found, f"{found.place}#{number}{which}", split)

    def _which(self, found: Found) -> str:
        """Return the part of a place that names the column, where it is needed."""
        own = self._shards.own(found)
        if self._columns.image not in own.names:
            return ""
        if typed.is_database(found):
            return f"@{own.names.index(self._columns.image)}@{self._columns.given.select.mark()}"
        return f":{self._columns.image}" if self._columns.image in _pictures(own)[1:] else ""

    def _item(self, row: dict[str, Any], found: Found, at: str, split: str | None) -> Item:
        """Return one row as an item."""
        place, own, reader = self._picture(row.pop(self._columns.image), found, at)
        columns = {name: None if _is_nan(value) else value for name, value in row.items()}
        key = own if self._columns.key is None else columns[self._columns.key]
        # The place in a database names column and table, too; a key needs the row only.
        at = at.rsplit("@", 2)[0] if typed.is_database(found) else at
        return Item(at if key in (None, "") else str(key), place, reader, split=split, columns=columns)

    def _picture(self, cell: object, found: Found, at: str) -> tuple[str, str | None, Reader]:
        """Return the place of a picture, its path if it has one, and the reader of its bytes."""
        if isinstance(cell, list):
            self._others += max(0, sum(one is not None for one in cell) - 1)
        data, path = split_cell(cell)
        if data is not None:
            return at, path, InMemory(data)
        if path is None:
            return at, None, Refused(f"no {self._columns.option}")
        named = listed(self._bounds, self._files, found, path)
        return named.place or at, named.key, named.reader

    def _kept(self, field: pa.Field) -> bool:
        return field.name != self._columns.image and not _is_picture(field.type)


def split_cell(cell: object) -> tuple[bytes | None, str | None]:
    """Return the bytes and the path in a cell; of a list, those of its first picture."""
    if isinstance(cell, list):
        cell = next((one for one in cell if one is not None), None)
    if isinstance(cell, dict):
        return cell.get("bytes"), cell.get("path")
    return (cell, None) if isinstance(cell, bytes) else (None, cell if isinstance(cell, str) else None)


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def may_be_picture(kind: pa.DataType) -> bool:
    """Tell whether a column of this type can hold pictures, or lists of them."""
    kind = schemas.plain(kind)
    return _is_picture(kind.value_type if schemas.is_list(kind) else kind)


def _is_picture(kind: pa.DataType) -> bool:
    """Whether a cell of this type can hold a picture."""
    kind = schemas.plain(kind)
    if pa.types.is_struct(kind):
        return any(field.name == "bytes" and schemas.is_bytes(field.type) for field in kind)
    return schemas.is_bytes(kind)


def _pictures(schema: pa.Schema) -> list[str]:
    """Return the columns that can hold pictures, those with lists at the end."""
    single = [field.name for field in schema if _is_picture(field.type)]
    return single + [field.name for field in schema if field.name not in single and may_be_picture(field.type)]


def _check_images(path: Path, field: pa.Field) -> None:
    """Raise SourceError where a column holds neither pictures nor paths."""
    kind = field.type.value_type if schemas.is_list(field.type) else field.type
    if not _is_picture(kind) and not schemas.is_text(kind):
        raise SourceError(
            f"{path}: column {field.name!r} is {field.type}; items are binary, struct<bytes, path>, or paths as string"
        )
