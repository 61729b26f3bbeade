"""Tables and queries of SQLite and DuckDB files, which are opened for reading only.

A query finds no way to other files. A table is read in the order of its rows, a query in its own. SQLite gives each
value a type of its own, so the types of its columns are told by all of their values.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from aepipe.errors import ExtraError, SourceError
from aepipe.sources.files import MAX_BYTES
from aepipe.sources.formats.contents import SQLITE, other
from aepipe.sources.formats.plausible import check_rows, most_rows
from aepipe.sources.formats.streams import stamp
from aepipe.sources.item import Select
from aepipe.store.column_names import quoted

ENDINGS = (".db", ".db3", ".sqlite", ".sqlite3", ".duckdb", ".ddb")
_SETTINGS: dict[str, Any] = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",
    "memory_limit": "2GB",
    "lock_configuration": "true",
}
_TYPES = {"integer": pa.int64(), "real": pa.float64(), "text": pa.string(), "blob": pa.binary()}
_FORBIDDEN = {sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH}
_ASKED = {"data_version", "page_size"}  # settings that a full-text index asks for
_STEPS, _STEPS_ASKED, _STEPS_A_BYTE, _STEPS_AT_ONCE = 300_000_000, 30_000_000_000, 100, 1_000_000
"""Steps of SQLite's machine: for a table or a view, for a query of the recipe, for each byte of the file."""
_LONG = "takes much longer than a file of its size should: a view without an end?"
SECONDS = 20.0
"""Time that DuckDB may take to count the rows of a view or a query."""
_PACE, _PATIENT = 10_000_000, 60  # bytes for which it may take another second, and times that for a query of the recipe
_BESIDE = ("-journal", "-wal", "-shm")
_KEEPS_LOG = 2  # the version of the format with a log next to the file, in byte 18 of it


class Mark(NamedTuple):
    """Bytes near the beginning of a file, which tell its format."""

    start: int
    text: bytes

    def matches(self, head: bytes) -> bool:
        """Tell whether a file begins so."""
        return head[self.start :].startswith(self.text)


DATABASES = {"sqlite": Mark(0, b"SQLite format 3\x00"), "duckdb": Mark(8, b"DUCK")}
"""The marks of the databases that are read, by name."""


def kind_of(path: Path) -> str | None:
    """Return which of :data:`DATABASES` a file is; None where it is none, or cannot be read."""
    try:
        with path.open("rb") as stream:
            head = stream.read(32)
    except OSError:
        return None
    return next((name for name, mark in DATABASES.items() if mark.matches(head)), None)


def database(path: Path, kind: str, select: Select) -> Sqlite | DuckDB:
    """Return a table or a query of a database.

    Args:
        path: of the file.
        kind: one of :data:`DATABASES`.
        select: what is read; a database with one table needs nothing here.

    Raises:
        SourceError: it cannot be opened; there is no such table, or several and none is named.
        ExtraError: DuckDB is not installed.
    """
    return Sqlite(path, select) if kind == "sqlite" else DuckDB(path, select)


class Sqlite:
    """A table or a query of an SQLite file; see :class:`aepipe.sources.formats.typed.Typed`.

    Attributes:
        notes: what was made of columns with values of several types, in words.
    """

    def __init__(self, path: Path, select: Select) -> None:
        self._path = path
        self._query = select.query
        self._schema: pa.Schema | None = None
        self.notes: list[str] = []
        self._table = None if select.query else _chosen(path, select.table, self._tables())

    def schema(self) -> pa.Schema:
        """Return the columns, with types that all of their values have."""
        if self._schema is None:
            self._schema = self._look()
        return self._schema

    def count(self) -> int:
        """Return the number of rows."""
        with self._reading() as database:
            some = f"SELECT 1 FROM ({self._sql()}\n) LIMIT {most_rows(self._path) + 1}"
            found = int(database.execute(f"SELECT count(*) FROM ({some})").fetchone()[0])
            check_rows(self._path, found)
            return found

    def batches(self, names: Sequence[str], size: int) -> Iterator[pa.RecordBatch]:
        """Yield some columns."""
        schema = self.schema()
        chosen = pa.schema([schema.field(name) for name in names])
        places = [schema.names.index(name) for name in names]
        with self._reading() as database:
            cursor = database.execute(self._sql())
            while rows := cursor.fetchmany(size):
                columns = [[row[place] for row in rows] for place in places]
                arrays = [self._array(column, field) for column, field in zip(columns, chosen, strict=True)]
                yield pa.RecordBatch.from_arrays(arrays, schema=chosen)

    def cell(self, row: int, name: str) -> object:
        """Return one value."""
        place = self.schema().names.index(name)
        with self._reading() as database:
            found = next(islice(database.execute(self._sql()), row, None), None)
        if found is None:
            raise SourceError(f"{self._path}: has no row {row}")
        value = found[place]
        return str(value) if pa.types.is_string(self.schema().field(name).type) and value is not None else value

    def _array(self, values: list[Any], field: pa.Field) -> pa.Array:
        """Return the values of a column.

        Raises:
            SourceError: an integer among fractions is too large to be a fraction itself.
        """
        if pa.types.is_string(field.type):
            values = [str(value) if isinstance(value, int | float) else value for value in values]
        try:
            return pa.array(values, field.type)
        except pa.ArrowInvalid:
            large = next(value for value in values if isinstance(value, int) and abs(value) > 2**53)
            raise SourceError(
                f"{self._path}: column {field.name!r} holds {large:,} and fractions: no type holds both"
            ) from None

    def _sql(self) -> str:
        """Return the query; that of a table goes by the order of its rows."""
        if self._table is None:
            assert self._query is not None
            return self._query.strip().rstrip(";")
        table = quoted(self._table)
        return f"SELECT * FROM {table} ORDER BY rowid" if self._has_rowid() else f"SELECT * FROM {table}"

    def _has_rowid(self) -> bool:
        # Views have none, nor have tables that are kept in the order of their keys.
        try:
            with closing(_sqlite(self._path)) as database:
                database.execute(f"SELECT rowid FROM {quoted(self._table or '')} LIMIT 0")
        except sqlite3.Error:
            return False
        return True

    def _look(self) -> pa.Schema:
        """Read the types of all values; return the columns.

        Raises:
            SourceError: the values of a column have types without a common one.
        """
        with self._reading() as database:
            sql = self._sql()
            names = [column[0] for column in database.execute(f"SELECT * FROM ({sql}\n) LIMIT 0").description]
            listed = ", ".join(f"group_concat(DISTINCT typeof({quoted(name)}))" for name in names)
            found = database.execute(f"SELECT {listed} FROM ({sql}\n)").fetchone()
        return pa.schema([(name, self._type(name, kinds)) for name, kinds in zip(names, found, strict=True)])

    def _type(self, name: str, kinds: str | None) -> pa.DataType:
        """Return the type of a column whose values have some of SQLite's."""
        seen = sorted(set((kinds or "").split(",")) - {"null", ""})
        if seen == ["integer", "real"]:
            return pa.float64()
        if len(seen) < 2:
            return _TYPES[seen[0]] if seen else pa.null()
        if "blob" not in seen:
            self.notes.append(f"column {name!r} holds {' and '.join(seen)}: all of it is taken for text")
            return pa.string()
        column, where = quoted(name), f" FROM {quoted(self._table)}" if self._table else " FROM …"
        raise SourceError(
            f"{self._path}: column {name!r} holds {' and '.join(seen)}; write them with one type, or say under "
            f"[source]: query = 'SELECT …, CAST({column} AS TEXT) AS {column}{where}'"
        )

    def _tables(self) -> dict[str, bool]:
        """Return the tables and views, and whether each is a table."""
        with self._reading() as database:
            found = database.execute(
                "SELECT name, type FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' "
                "ESCAPE '\\' ORDER BY rowid"
            ).fetchall()
            # A full-text index keeps its parts in tables of its own.
            virtual = [
                name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE sql LIKE 'CREATE VIRTUAL%'")
            ]
        parts = {f"{name}_{part}" for name in virtual for part in _PARTS}
        return {name: kind == "table" for name, kind in found if name not in parts}

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """Open the file for the block."""
        try:
            with closing(_sqlite(self._path)) as database:
                if self._query:
                    database.set_authorizer(_only_this_file)
                _bound(database, self._path, asked=self._query is not None)
                yield database
        except (sqlite3.Error, sqlite3.Warning, UnicodeError, OSError, ValueError) as error:
            error = OSError(_LONG) if str(error) == "interrupted" else error
            what = f"query {self._query!r}" if self._query else "not a readable SQLite file"
            raise SourceError(f"{self._path}: {what}: {other(self._path, SQLITE) or error}") from None


_PARTS = ("data", "idx", "content", "docsize", "config", "segments", "segdir", "stat", "node", "parent", "rowid")
"""What the names of the parts of a full-text or spatial index end in."""


class DuckDB:
    """A table or a query of a DuckDB file; see :class:`aepipe.sources.formats.typed.Typed`."""

    def __init__(self, path: Path, select: Select) -> None:
        try:
            import duckdb
        except ModuleNotFoundError:
            raise ExtraError("duckdb", "sql") from None
        self._path = path
        self._duckdb = duckdb
        self._query = select.query
        if select.query:
            self._sql = self._checked(select.query)
        else:
            self._sql = f"SELECT * FROM {quoted(_chosen(path, select.table, self._tables()))}"

    def schema(self) -> pa.Schema:
        """Return the columns."""
        with self._reading(f"SELECT * FROM ({self._sql}\n) LIMIT 0") as reader:
            return reader.schema

    def count(self) -> int:
        """Return the number of rows."""
        try:
            return _rows_of(self._path, self._sql, 1 if self._query is None else _PATIENT, stamp(self._path))
        except (self._duckdb.Error, OSError, ValueError) as error:
            why = _LONG if isinstance(error, self._duckdb.InterruptException) else first_line(error)
            raise SourceError(f"{self._path}: {self._what}: {why}") from None

    def batches(self, names: Sequence[str], size: int) -> Iterator[pa.RecordBatch]:
        """Yield some columns."""
        self.count()  # a view may have rows without end
        with self._reading(self._sql) as reader:
            for batch in reader:
                chosen = batch.select(list(names))
                yield from (chosen.slice(start, size) for start in range(0, len(chosen), size))

    def cell(self, row: int, name: str) -> object:
        """Return one value."""
        at = row
        for batch in self.batches([name], 1 << 12):
            if at < len(batch):
                return batch.column(0)[at].as_py()
            at -= len(batch)
        raise SourceError(f"{self._path}: has no row {row}")

    def _checked(self, query: str) -> str:
        """Return a query that is one SELECT.

        Raises:
            SourceError: it is something else.
        """
        try:
            statements = self._duckdb.extract_statements(query)
        except self._duckdb.Error as error:
            raise SourceError(f"{self._path}: query {query!r}: {first_line(error)}") from None
        if len(statements) != 1 or statements[0].type != self._duckdb.StatementType.SELECT:
            raise SourceError(f"{self._path}: query {query!r}: is not one SELECT")
        return query.strip().rstrip(";")

    def _tables(self) -> dict[str, bool]:
        """Return the tables and views, and whether each is a table."""
        asked = "SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = 'main' ORDER BY 1"
        with self._reading(asked) as reader:
            found = reader.read_all().to_pydict()
        names, kinds = found["table_name"], found["table_type"]
        return {name: kind == "BASE TABLE" for name, kind in zip(names, kinds, strict=True)}

    @contextmanager
    def _reading(self, sql: str) -> Iterator[Any]:
        """Run a query; give the reader of its result to the block."""
        try:
            with self._duckdb.connect(str(self._path), read_only=True, config=_SETTINGS) as database:
                found = database.sql(sql)
                # DuckDB 1.4 gave the method its name of today.
                yield (getattr(found, "to_arrow_reader", None) or found.fetch_arrow_reader)(1 << 12)
        except (self._duckdb.Error, pa.ArrowException, OSError) as error:
            raise SourceError(f"{self._path}: {self._what}: {other(self._path, SQLITE) or first_line(error)}") from None

    @property
    def _what(self) -> str:
        return f"query {self._query!r}" if self._query else "not a readable DuckDB file"


@lru_cache(256)
def _rows_of(path: Path, sql: str, patience: int, _: tuple[int, int]) -> int:
    """Return the number of rows of a query of DuckDB, within bounds on it and on the time that it takes."""
    import duckdb

    some = f"SELECT count(*) FROM (SELECT 1 FROM ({sql}\n) LIMIT {most_rows(path) + 1})"
    seconds = patience * (SECONDS + path.stat().st_size / _PACE)
    with duckdb.connect(str(path), read_only=True, config=_SETTINGS) as database, _in_time(seconds, database.interrupt):
        found = int(database.execute(some).fetchall()[0][0])
    check_rows(path, found)
    return found


@contextmanager
def _in_time(seconds: float, interrupt: Callable[[], None]) -> Iterator[None]:
    """Interrupt the work of the block when it has taken some seconds."""
    timer = threading.Timer(seconds, interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _chosen(path: Path, wanted: str | None, tables: dict[str, bool]) -> str:
    """Return the table to read: the one that is wanted, or the only one."""
    proper = [name for name, is_table in tables.items() if is_table] or list(tables)
    if wanted in tables:
        return wanted
    if wanted is None and len(proper) == 1:
        return proper[0]
    listed = ", ".join(tables) or "none"
    if wanted is None:
        several = f"has {_counted(tables)}: {listed}"
        raise SourceError(
            f'{path}: {several}; say which with --set source.table=NAME, or in a recipe table = "…" or '
            f'query = "SELECT …" under [source]'
        )
    raise SourceError(f"{path}: no table {wanted!r}; it has: {listed}")


def _counted(tables: dict[str, bool]) -> str:
    views = sum(not one for one in tables.values())
    more = f" and {views:,} view{'s' * (views != 1)}" if views else ""
    return f"{len(tables) - views:,} table{'s' * (len(tables) - views != 1)}{more}"


def _sqlite(path: Path) -> sqlite3.Connection:
    """Open a file for reading only."""
    with path.open("rb") as stream:
        head = stream.read(20)
    for ending in _BESIDE:
        beside = path.with_name(path.name + ending)
        if beside.exists() and not beside.is_file():
            raise OSError(f"{beside.name} next to it is no file")  # SQLite would wait for a pipe
    log = path.with_name(f"{path.name}-wal")
    # To read a file with a log, SQLite writes next to it; without a log in use that can be spared.
    spared = len(head) == 20 and head[18] == _KEEPS_LOG and not (log.exists() and log.stat().st_size)
    options = "mode=ro&immutable=1" if spared else "mode=ro"
    return sqlite3.connect(f"{path.absolute().as_uri()}?{options}", uri=True)


def _bound(database: sqlite3.Connection, path: Path, *, asked: bool) -> None:
    """Bound what a view or a query may take: the steps of SQLite's machine, and the bytes of a value."""
    database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_BYTES)
    most = (_STEPS_ASKED if asked else _STEPS) + _STEPS_A_BYTE * path.stat().st_size
    left = iter(range(most // _STEPS_AT_ONCE))
    database.set_progress_handler(lambda: int(next(left, None) is None), _STEPS_AT_ONCE)


def _only_this_file(action: int, one: str | None, *_: object) -> int:
    """Forbid what leads to other files or changes settings; the file itself cannot be written to."""
    forbidden = action in _FORBIDDEN or (action == sqlite3.SQLITE_PRAGMA and one not in _ASKED)
    return sqlite3.SQLITE_DENY if forbidden else sqlite3.SQLITE_OK


def first_line(error: Exception) -> str:
    """Return what an error of a library says in its first line."""
    return str(error).partition("\n")[0]
