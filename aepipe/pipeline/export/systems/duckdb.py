"""DuckDB: a table in a file, written in one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from aepipe.errors import QueryError
from aepipe.pipeline.export.address import Address
from aepipe.pipeline.export.table import K, Table, is_word
from aepipe.store.column_names import quoted
from aepipe.store.io import check_target

SCHEMES = ("duckdb",)
PACKAGES = {"duckdb": "sql"}
MEMORY = "1GiB"
"""That DuckDB may hold while rows come in."""


def open_system(address: Address) -> DuckDB:
    """Return the system of an address, ``duckdb:FILE``."""
    return DuckDB(address)


class DuckDB:
    """A file of DuckDB; other tables in it stay as they are."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._file = Path(address.rest).expanduser()

    def write(self, table: Table, groups: Iterable[pa.Table]) -> None:
        """Make the table; see :class:`aepipe.pipeline.export.table.System`."""
        check_target(self._file)
        with self._connected() as connection:
            if _has(connection, "view", table.name):
                raise QueryError(f"{self._address.shown}: {table.name} is a view; name another table by --table")
            table.check_free(self._address.shown, _has(connection, "table", table.name))
            connection.execute(f"SET memory_limit = '{MEMORY}'")
            connection.execute("BEGIN")
            incoming = table.draft()  # a view of that name hides tables
            connection.register(incoming, table.schema.empty_table())
            connection.execute(f"CREATE OR REPLACE TABLE {quoted(table.name)} AS FROM {quoted(incoming)}")
            for group in groups:
                connection.register(incoming, group)
                connection.execute(f"INSERT INTO {quoted(table.name)} FROM {quoted(incoming)}")
            about = table.about.replace("'", "''")
            connection.execute(f"COMMENT ON TABLE {quoted(table.name)} IS '{about}'")
            connection.execute("COMMIT")

    def question(self, table: Table) -> str:
        """Return the question in SQL."""
        words = [name for name in table.schema.names if is_word(name)]
        distance = " + ".join(f"bit_count(xor(a.{word}, b.{word}))::INT" for word in words)
        return (
            f"SELECT b.id, b.key, {distance} AS distance\n"
            f"FROM {quoted(table.name)} a, {quoted(table.name)} b\n"
            f"WHERE a.id = {table.asking}\n"
            f"ORDER BY distance, b.id LIMIT {K};"
        )

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        """Open the file; one that was made for nothing is removed."""
        import duckdb

        new = not self._file.exists()
        whole = False
        try:
            with self._address.refusals_named(duckdb.Error), duckdb.connect(self._file) as connection:
                yield connection
            whole = True
        finally:
            if new and not whole:
                self._file.unlink(missing_ok=True)
                self._file.with_name(self._file.name + ".wal").unlink(missing_ok=True)


def _has(connection: Any, kind: str, name: str) -> bool:  # noqa: ANN401  duckdb has no types
    """Tell whether a table or a view has a name where tables are made; capitals make no difference to DuckDB."""
    here = "database_name = current_database() AND schema_name = current_schema()"
    asked = f"SELECT 1 FROM duckdb_{kind}s() WHERE {here} AND lower({kind}_name) = lower(?)"
    return connection.execute(asked, [name]).fetchone() is not None
