"""Records: rows of tables, each of which is an item or has one in a column."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from aepipe.errors import ItemError, SourceError
from aepipe.sources import RawItem, Reader
from aepipe.sources.containers import lines
from aepipe.sources.containers.walk import Files, Found
from aepipe.sources.readers import Held, Refused

Content = Callable[[lines.Record], bytes]
"""Gives the bytes of the item in a record; raises ValueError with the reason where there is none."""


class Records:
    """Records of some files; the key is a column, or the place ``file#row``.

    Args:
        files: those of records among them are read.
        content: gives an item's bytes.
        used: columns that ``content`` reads: they have to be there, and are no columns of the items.
        key: the column with each item's own id.

    Raises:
        SourceError: the first file is damaged, or lacks a column.
    """

    def __init__(self, files: Files, content: Content, *, used: Sequence[str] = (), key: str | None = None) -> None:
        self._files = files
        self._content = content
        self._used = tuple(used)
        self._key = key
        self.skipped = 0
        self.gives: frozenset[str] = frozenset()
        first = next((found for found in files if lines.claims(found.place)), None)
        if first is None:
            raise SourceError(f"{files.asked}: no .csv, .jsonl or .parquet in it")
        self._schema = lines.columns(Path(first.path), first.place)
        for name in (*used, *((key,) if key else ())):
            if name not in self._schema.names:
                raise SourceError(
                    f"{first.path}: no column {name!r}; it has: {', '.join(self._schema.names) or 'none'}"
                )

        self._own = [name for name in self._schema.names if name not in used]
        self._column = f"@{self._schema.names.index(used[0])}" if len(used) == 1 else ""

    def schema(self) -> pa.Schema:
        """Return the columns but those that hold the items."""
        return pa.schema([field for field in self._schema if field.name not in self._used])

    def total(self) -> int | None:
        """Return the number of rows, where all files are Parquet."""
        counts = [lines.count(Path(found.path), found.place) for found in self._files if lines.claims(found.place)]
        return None if None in counts else sum(one or 0 for one in counts)

    def items(self) -> Iterator[RawItem]:
        """Give the records in order."""
        self.skipped = 0
        for found in self._files:
            if not lines.claims(found.place) or found.refusal:
                self.skipped += 1
                continue
            yield from (self._item(line, found) for line in lines.read(Path(found.path), found.place))

    def _item(self, line: lines.Line, found: Found) -> RawItem:
        """Return one record as an item."""
        at = f"{found.place}#{line.number}"
        own = {name: line.record.get(name) for name in self._own}
        key = line.record.get(self._key) if self._key else None
        return RawItem(at if key in (None, "") else str(key), f"{at}{self._column}", self._reader(line), columns=own)

    def _reader(self, line: lines.Line) -> Reader:
        """Return the way to an item's bytes."""
        return Refused(line.trouble) if line.trouble else _Made(self._content, line.record)


@dataclass(frozen=True, slots=True)
class _Made:
    """Bytes that are made of a record."""

    content: Content
    record: lines.Record

    def __call__(self, key: str) -> bytes:
        """Make them."""
        try:
            return Held(self.content(self.record))(key)
        except ValueError as error:
            raise ItemError(key, str(error)) from None


def read_at(path: Path, at: str, key: str) -> bytes:
    """Read ``row@column``, the number of both, as text.

    Raises:
        ItemError: there is no such row, or it is damaged.
    """
    number, _, column = at.partition("@")
    name = lines.columns(path, path.name).names[int(column)]
    line = next((line for line in lines.read(path, path.name) if line.number == int(number)), None)
    if line is None or line.trouble:
        raise ItemError(key, line.trouble if line and line.trouble else f"{path} has no row {number}")
    return str(line.record.get(name) or "").encode("utf-8", "replace")
