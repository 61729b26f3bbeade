"""Write rows, as :mod:`aepipe.store.rows` reads them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from aepipe.store import layout
from aepipe.store.io import table_errors_named
from aepipe.store.labels import SEPARATOR
from aepipe.store.row_files import part_writer
from aepipe.store.rows import FIXED, VERSION, Passed, Rejected, Row, write_quarantine

_GROUP_ROWS, _GROUP_BYTES = 4096, 1 << 24
_PART_ROWS, _PART_BYTES = 50_000, 1 << 28
"""Most rows and bytes of a row group and of a file."""


class RowsWriter:
    """Write rows as they come; memory holds one row group.

    Use it as a context manager, and call :meth:`close` to complete the rows.

    Args:
        folder: an existing folder.
        shape: of one row's features.
        columns: the source's own columns; one with a name of ours is written with ``source_`` before it.
        dtype: of the features.
        kept: the share of rows that have their features; whoever writes leaves those of the others out, and writes the
            hashes of the keys.
    """

    def __init__(
        self, folder: Path, *, shape: tuple[int, ...], columns: pa.Schema, dtype: str = "uint8", kept: float = 1.0
    ) -> None:
        self._folder = folder
        self._shape = shape
        self._dtype = np.dtype(dtype).newbyteorder("<")
        self._width = int(np.prod(shape)) * self._dtype.itemsize
        self._names = own_names(columns.names)
        self._kept = kept
        self._schema = schema_of(columns, self._names, self._width, some=kept < 1)
        self._group = max(1, min(_GROUP_ROWS, _GROUP_BYTES // self._width))
        self._per_part = max(1, min(_PART_ROWS, _PART_BYTES // self._width) // self._group) * self._group
        self._pending: list[Row] = []
        self._part: pq.ParquetWriter | None = None
        self._file = folder
        self._written = self._parts = self._in_part = 0
        self._splits: Counter[str] = Counter()
        self._labelled = self._several = 0
        self._digests = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end_part()

    @property
    def group(self) -> int:
        """Rows of a row group."""
        return self._group

    @property
    def names(self) -> list[str]:
        """The names under which the source's own columns are written."""
        return list(self._names.values())

    def append(self, row: Row) -> None:
        """Add one row."""
        self._pending.append(row)
        self._splits[row.split] += 1
        self._labelled += row.label is not None
        self._several += SEPARATOR in (row.label or "")
        self._digests += row.sha256
        if len(self._pending) >= self._group:
            self._flush()

    def extend(self, table: pa.Table) -> None:
        """Add rows that were written before, as :meth:`Rows.tables` yields them."""
        self._flush()
        counted = table.column("split").value_counts().to_pylist()
        self._splits.update({one["values"]: one["counts"] for one in counted})
        labels = table.column("label")
        self._labelled += len(table) - labels.null_count
        self._several += pc.sum(pc.match_substring(labels, SEPARATOR)).as_py() or 0
        self._digests += b"".join(table.column("sha256").to_pylist())
        for start in range(0, len(table), self._group):
            self._write(table.slice(start, self._group).cast(self._schema))

    def close(
        self, *, source: str, next_id: int, rejected: Iterable[Rejected] = (), passed_over: Iterable[Passed] = ()
    ) -> None:
        """Write the pending rows, the quarantine, and the description.

        Args:
            source: digest of the source.
            next_id: the smallest id that was never given.
            rejected: the items that could not be read.
            passed_over: files that hold no items.
        """
        self._flush()
        if self._part is None:
            self._write(self._table([]))
        self._end_part()
        bad = write_quarantine(self._folder / layout.Rows.QUARANTINE, rejected, passed_over)
        body = {
            "schema": VERSION,
            "shape": list(self._shape),
            "dtype": self._dtype.name,
            "rows": self._written,
            "splits": dict(sorted(self._splits.items())),
            "distinct": len(np.unique(np.frombuffer(bytes(self._digests), "S32"))),
            "labels": self._labelled > 0,
            "labelled": self._labelled,
            "quarantined": bad,
            "columns": self._names,
            "source": source,
            "next_id": next_id,
        }
        if self._several:
            body["several_labels"] = self._several
        if self._kept < 1:
            body["kept"] = self._kept
        (self._folder / layout.Rows.CARD).write_text(json.dumps(body, indent=1), encoding="utf-8")

    def _flush(self) -> None:
        if self._pending:
            self._write(self._table(self._pending))
            self._pending = []

    def _write(self, table: pa.Table) -> None:
        """Write one row group, into a new part if the last one is full."""
        if self._part is None or self._in_part + len(table) > self._per_part:
            self._end_part()
            self._file = self._folder / layout.Rows.part(self._parts)
            with table_errors_named(self._file):
                self._part = part_writer(self._file, self._schema)
            self._parts, self._in_part = self._parts + 1, 0
        with table_errors_named(self._file):
            self._part.write_table(table, row_group_size=max(1, len(table)))
        self._written += len(table)
        self._in_part += len(table)

    def _end_part(self) -> None:
        part, self._part = self._part, None
        if part is not None:
            with table_errors_named(self._file):
                part.close()

    def _table(self, rows: list[Row]) -> pa.Table:
        """Return rows as a table."""
        features = np.array([row.features for row in rows], self._dtype).tobytes()
        values: dict[str, pa.Array] = {
            name: pa.array([getattr(row, name) for row in rows], self._schema.field(name).type)
            for name in ("id", "key", "sha256", "place", "label", "split")
        }
        for name, written in self._names.items():
            values[written] = pa.array([row.columns.get(name) for row in rows], self._schema.field(written).type)
        kind = self._schema.field("features").type
        values["features"] = pa.Array.from_buffers(kind, len(rows), [None, pa.py_buffer(features)])
        return pa.table(values, schema=self._schema)


def own_names(names: Iterable[str]) -> dict[str, str]:
    """Map the source's columns to the names under which they are written.

    It is the same name, unless one of our own columns has it.
    """
    taken = {*FIXED, *(names := list(names))}
    written = {}
    for name in names:
        new = name
        while new in FIXED or (new != name and new in taken):
            new = f"source_{new}"
        written[name] = new
        taken.add(new)
    return written


def schema_of(columns: pa.Schema, names: Mapping[str, str], width: int, *, some: bool = False) -> pa.Schema:
    """Return the Parquet schema of rows with features of ``width`` bytes; of ``some`` rows only."""
    text = pa.string()
    own = [pa.field(written, columns.field(name).type) for name, written in names.items()]
    head = [pa.field("id", pa.int64(), nullable=False), pa.field("key", text, nullable=False)]
    head += [pa.field("sha256", pa.binary(32), nullable=False), pa.field("place", text, nullable=False)]
    head += [pa.field("label", text), pa.field("split", text, nullable=False)]
    return pa.schema([*head, *own, pa.field("features", pa.binary(width), nullable=some)])
