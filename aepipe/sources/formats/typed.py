"""Tables whose columns have types, read in one way: Parquet, Arrow, SQLite and DuckDB."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from aepipe.errors import SourceError
from aepipe.sources.files import Found
from aepipe.sources.formats import arrow_messages
from aepipe.sources.formats.contents import ARROW, PARQUET, other
from aepipe.sources.formats.databases import DATABASES, ENDINGS, database, first_line, kind_of
from aepipe.sources.formats.plausible import BOMB, check_rows, plausible_size
from aepipe.sources.formats.streams import stamp
from aepipe.sources.item import ONLY_TABLE, Select

_PARQUET = (".parquet", ".pq")
_ARROW = (".arrow", ".feather", ".ipc")
_STREAM = b"\xff\xff\xff\xff"  # an Arrow stream begins with this mark


class Typed(Protocol):
    """A table in a file."""

    def schema(self) -> pa.Schema:
        """Return the columns.

        Raises:
            SourceError: the file is damaged.
        """

    def count(self) -> int:
        """Return the number of rows.

        Raises:
            SourceError: the file is damaged.
        """

    def batches(self, names: Sequence[str], size: int) -> Iterator[pa.RecordBatch]:
        """Yield some columns of all rows, in the table's order and at most ``size`` rows at a time.

        Raises:
            SourceError: the file is damaged.
        """

    def cell(self, row: int, name: str) -> object:
        """Return the value of one cell.

        Raises:
            SourceError: there is no such row, or the file is damaged.
        """


def claims(name: str) -> bool:
    """Whether a file has the name of a table with types."""
    return name.lower().endswith(_PARQUET + _ARROW) or _named_as_database(name)


def holds(found: Found) -> bool:
    """Whether a file is a table with types: by its name, else by its first bytes."""
    if not _named_as_database(found.place):
        return claims(found.place)
    # Many programs call their own files `.db`; a picture viewer's `Thumbs.db` is no table.
    return found.refusal is None and kind_of(Path(found.path)) is not None


def is_database(found: Found) -> bool:
    """Whether a file that :func:`holds` a table is a database."""
    return _named_as_database(found.place)


def suffix_of(head: bytes) -> str:
    """Return the ending for a file with these first bytes; empty where it is no such table."""
    if head.startswith(b"PAR1"):
        return ".parquet"
    if head.startswith((b"ARROW1", b"FEA1", _STREAM)):
        return ".arrow"
    return next((f".{name}" for name, mark in DATABASES.items() if mark.matches(head)), "")


def table_of(path: Path, select: Select = ONLY_TABLE) -> Typed:
    """Return the table in a file; its first bytes tell the format.

    Args:
        path: of the file.
        select: the table or the query, where the file is a database.

    Raises:
        SourceError: it cannot be read; or it is a database with several tables, and ``select`` names none.
        ExtraError: it is a DuckDB file, and DuckDB is not installed.
    """
    kind = suffix_of(_head(path))
    if kind[1:] in DATABASES:
        return database(path, kind[1:], select)
    if select:
        raise SourceError(f"{path}: is no database; table and query under [source] are for SQLite and DuckDB files")
    return ArrowTable(path) if kind == ".arrow" else ParquetTable(path)


def _named_as_database(name: str) -> bool:
    return name.lower().endswith(ENDINGS)


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(32)
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}") from None


@dataclass(frozen=True, slots=True)
class ParquetTable:
    """A Parquet file, read by row group; see :class:`Typed`."""

    path: Path

    def schema(self) -> pa.Schema:
        """Return the columns, by the footer."""
        with reading(self.path) as table:
            return table.schema_arrow

    def count(self) -> int:
        """Return the number of rows, by the footer."""
        with reading(self.path) as table:
            return int(table.metadata.num_rows)

    def batches(self, names: Sequence[str], size: int) -> Iterator[pa.RecordBatch]:
        """Yield some columns."""
        with reading(self.path) as table:
            yield from table.iter_batches(size, columns=list(names))

    def cell(self, row: int, name: str) -> object:
        """Return one value; only its row group is read."""
        with reading(self.path) as table:
            at = row
            for group in range(table.num_row_groups):
                rows = table.metadata.row_group(group).num_rows
                if at < rows:
                    return table.read_row_group(group, columns=[name]).column(name)[at].as_py()
                at -= rows
        raise SourceError(f"{self.path}: has no row {row}")


@contextmanager
def reading(path: Path) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file for the block.

    Raises:
        SourceError: it cannot be opened, or is damaged where the block reads it.
    """
    try:
        # Mapped, so that only the row groups that are read take memory.
        with pq.ParquetFile(path, memory_map=True) as table:
            _check_parquet(path, table.metadata)
            yield table
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{path}: not a readable Parquet file: {other(path, PARQUET) or first_line(error)}") from None


def _check_parquet(path: Path, footer: pq.FileMetaData) -> None:
    """Raise SourceError where a footer says more than a file of its size plausibly holds."""
    most = plausible_size(path)
    try:
        check_rows(path, footer.num_rows)
    except ValueError as error:
        raise SourceError(f"{path}: {error}") from None
    if any(footer.row_group(number).total_byte_size > most for number in range(footer.num_row_groups)):
        raise SourceError(f"{path}: a row group {BOMB}")


@dataclass(frozen=True, slots=True)
class ArrowTable:
    """An Arrow file or stream, as Feather and Hugging Face write them; see :class:`Typed`."""

    path: Path

    def schema(self) -> pa.Schema:
        """Return the columns."""
        with self._reading() as reader:
            return reader.schema

    def count(self) -> int:
        """Return the number of rows, by the heads of the batches."""
        with self._reading() as reader:
            return sum(batch.num_rows for batch in _all(reader))

    def batches(self, names: Sequence[str], size: int) -> Iterator[pa.RecordBatch]:
        """Yield some columns."""
        with self._reading() as reader:
            for batch in _checked(reader):
                chosen = batch.select(list(names))
                yield from (chosen.slice(start, size) for start in range(0, len(chosen), size))

    def cell(self, row: int, name: str) -> object:
        """Return one value."""
        with self._reading() as reader:
            at = row
            for batch in _checked(reader):
                if at < len(batch):
                    return batch.column(name)[at].as_py()
                at -= len(batch)
        raise SourceError(f"{self.path}: has no row {row}")

    @contextmanager
    def _reading(self) -> Iterator[pa.ipc.RecordBatchStreamReader | pa.ipc.RecordBatchFileReader]:
        """Open the file for the block."""
        head = _head(self.path)
        if head.startswith(b"FEA1"):
            raise SourceError(f"{self.path}: Feather version 1; write it again with pyarrow.feather.write_feather")
        try:
            with pa.memory_map(str(self.path)) as mapped:
                start = 8 if head.startswith(b"ARROW1") else 0  # a file is a stream between two marks
                arrow_messages.check(self.path, start, stamp(self.path))
                yield pa.ipc.open_file(mapped) if head.startswith(b"ARROW1") else pa.ipc.open_stream(mapped)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise SourceError(
                f"{self.path}: not a readable Arrow file: {other(self.path, ARROW) or first_line(error)}"
            ) from None


def _all(reader: pa.ipc.RecordBatchStreamReader | pa.ipc.RecordBatchFileReader) -> Iterator[pa.RecordBatch]:
    """Yield the batches of a file or of a stream."""
    if isinstance(reader, pa.ipc.RecordBatchFileReader):
        return map(reader.get_batch, range(reader.num_record_batches))
    return iter(reader)


def _checked(reader: pa.ipc.RecordBatchStreamReader | pa.ipc.RecordBatchFileReader) -> Iterator[pa.RecordBatch]:
    """Yield the batches; of damaged offsets Arrow would make values of whatever lies in memory there."""
    for batch in _all(reader):
        batch.validate(full=True)
        yield batch
