"""The files of a table of rows: found, opened and begun; what fails names the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from aepipe.errors import CorruptError
from aepipe.store import layout
from aepipe.store.io import REMEDY, entries, table_errors_named


def row_files(folder: Path) -> list[Path]:
    """Return the files of a table of rows, in their order.

    Raises:
        CorruptError: there is none.
        StoreError: the folder cannot be read.
    """
    found = entries(folder, layout.Rows.PARTS)
    if not found:
        raise CorruptError(f"{folder}: corrupt, no {layout.Rows.PARTS} is in it; {REMEDY}")
    return found


@contextmanager
def opened(part: Path) -> Iterator[pq.ParquetFile]:
    """Open a table of the store, mapped.

    Raises:
        CorruptError: it is no table.
        OSError: the system refused to read it.
    """
    with table_errors_named(part), pq.ParquetFile(part, memory_map=True) as file:
        yield file


def columns_of(part: Path, names: list[str]) -> pa.Table:
    """Return some columns of one file."""
    with opened(part) as file:
        return file.read(names)


def part_writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """Open one part; the choice of dictionaries and statistics saves space."""
    unique = {"id", "key", "sha256", "place", "features"}
    return pq.ParquetWriter(
        path,
        schema,
        compression="zstd",
        use_dictionary=[name for name in schema.names if name not in unique],
        write_statistics=[name for name in schema.names if name not in {"features", "sha256"}],
    )
