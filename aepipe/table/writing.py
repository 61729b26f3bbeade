"""Writing rows: as they come, a row group at a time."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from aepipe.table.schema import DESCRIPTION, QUARANTINE, VERSION, Rejected, Row, own_names, schema_of

_GROUP_ROWS, _GROUP_BYTES = 4096, 1 << 24
_PART_ROWS, _PART_BYTES = 50_000, 1 << 28


class RowsWriter:
    """Writes rows as they come; memory holds one row group.

    Use it as a context, and call :meth:`close` for the rows to be complete.

    Args:
        folder: an existing folder.
        shape: of one row.
        columns: the source's own columns; one whose name is ours is written with ``source_`` before it.
        dtype: of one row.
    """

    def __init__(self, folder: Path, *, shape: tuple[int, ...], columns: pa.Schema, dtype: str = "uint8") -> None:
        self._folder = folder
        self._shape = shape
        self._dtype = np.dtype(dtype).newbyteorder("<")
        self._width = int(np.prod(shape)) * self._dtype.itemsize
        self._names = own_names(columns.names)
        self._schema = schema_of(columns, self._names, self._width)
        self._group = max(1, min(_GROUP_ROWS, _GROUP_BYTES // self._width))
        self._per_part = max(1, min(_PART_ROWS, _PART_BYTES // self._width) // self._group) * self._group
        self._pending: list[Row] = []
        self._part: pq.ParquetWriter | None = None
        self._written = self._parts = self._in_part = 0
        self._splits: Counter[str] = Counter()
        self._labelled = 0
        self._digests = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._part is not None:
            self._part.close()

    def append(self, row: Row) -> None:
        """Add one row."""
        self._pending.append(row)
        self._splits[row.split] += 1
        self._labelled += row.label is not None
        self._digests += row.sha256
        if len(self._pending) >= self._group:
            self._flush()

    def extend(self, table: pa.Table) -> None:
        """Add rows that were written before, as :meth:`aepipe.table.Rows.tables` gives them."""
        self._flush()
        counted = table.column("split").value_counts().to_pylist()
        self._splits.update({one["values"]: one["counts"] for one in counted})
        self._labelled += len(table) - table.column("label").null_count
        self._digests += b"".join(table.column("sha256").to_pylist())
        for start in range(0, len(table), self._group):
            self._write(table.slice(start, self._group).cast(self._schema))

    def close(self, *, source: str, next_id: int, rejected: Iterable[Rejected] = ()) -> None:
        """Write what is pending, the quarantine, and the description.

        Args:
            source: digest of the source.
            next_id: the first id that was never given.
            rejected: the items that could not be read.
        """
        self._flush()
        if self._part is None:
            self._write(self._table([]))
        if self._part is not None:
            self._part.close()
            self._part = None
        bad = write_quarantine(self._folder / QUARANTINE, rejected)
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
        (self._folder / DESCRIPTION).write_text(json.dumps(body, indent=1), encoding="utf-8")

    def _flush(self) -> None:
        """Write the pending rows."""
        if self._pending:
            self._write(self._table(self._pending))
            self._pending = []

    def _write(self, table: pa.Table) -> None:
        """Write one row group, into a new part where the last is full."""
        if self._part is None or self._in_part + len(table) > self._per_part:
            if self._part is not None:
                self._part.close()
            self._part = _part(self._folder / f"rows-{self._parts:05d}.parquet", self._schema)
            self._parts, self._in_part = self._parts + 1, 0
        self._part.write_table(table, row_group_size=max(1, len(table)))
        self._written += len(table)
        self._in_part += len(table)

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


def write_quarantine(path: Path, rejected: Iterable[Rejected]) -> int:
    """Write a list of unreadable items as Parquet; return how many there are."""
    rows = [{"key": bad.key, "place": bad.place, "reason": bad.reason} for bad in rejected]
    schema = pa.schema([(name, pa.string()) for name in ("key", "place", "reason")])
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path, compression="zstd")
    return len(rows)


def _part(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """Open one part; what never repeats gets neither a dictionary nor statistics."""
    unique = {"id", "key", "sha256", "place", "features"}
    return pq.ParquetWriter(
        path,
        schema,
        compression="zstd",
        use_dictionary=[name for name in schema.names if name not in unique],
        write_statistics=[name for name in schema.names if name not in {"features", "sha256"}],
    )
