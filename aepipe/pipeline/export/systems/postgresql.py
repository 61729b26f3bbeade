"""PostgreSQL: codes as ``bit(n)``, and with pgvector a graph for approximate search.

All is one transaction: until its end everybody sees the old table, and a lost connection leaves that.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import numpy as np
import pyarrow as pa

from aepipe.errors import QueryError
from aepipe.log import step
from aepipe.pipeline.export.address import Address
from aepipe.pipeline.export.plain import JSON
from aepipe.pipeline.export.table import K, Table
from aepipe.store.column_names import quoted

if TYPE_CHECKING:
    from psycopg import Connection

SCHEMES = ("postgresql", "postgres")
PACKAGES = {"psycopg": "postgresql"}
LONGEST_NAME = 63
"""Bytes of a name; PostgreSQL cuts longer ones."""
WIDEST_VECTOR = 16_000
"""Numbers of pgvector's ``vector``."""
ANSWERS_IN = 15
"""Seconds that a server has to answer, if the address does not say."""
_ZERO, _ZERO_IN_JSON = re.compile("(?P<before>)\0"), re.compile(r"(?<!\\)(?P<before>(?:\\\\)*)\\u0000")
"""The character 0, as a text has it, and as JSON writes it: a backslash that is written twice begins no letter."""
_TYPES = {
    pa.bool_(): "boolean",
    **dict.fromkeys((pa.int8(), pa.int16(), pa.uint8()), "smallint"),
    **dict.fromkeys((pa.int32(), pa.uint16()), "integer"),
    **dict.fromkeys((pa.int64(), pa.uint32()), "bigint"),
    pa.uint64(): "numeric(20)",
    pa.float32(): "real",
    pa.float64(): "double precision",
    pa.string(): "text",
    pa.binary(): "bytea",
    pa.date32(): "date",
}


def open_system(address: Address) -> PostgreSQL:
    """Return the system of an address as libpq has it, ``postgresql://user@host/database``."""
    return PostgreSQL(address)


class PostgreSQL:
    """A server of PostgreSQL, 14 or later."""

    def __init__(self, address: Address) -> None:
        self._address = address

    def write(self, table: Table, groups: Iterable[pa.Table]) -> None:
        """Make the table; see :class:`aepipe.pipeline.export.table.System`."""
        import psycopg

        asked = parse_qs(self._address.rest.partition("?")[2])
        timeout = None if "connect_timeout" in asked else ANSWERS_IN
        named = self._address.refusals_named(psycopg.Error)
        with named, psycopg.connect(self._address.text, connect_timeout=timeout) as connection:
            try:
                self._make(connection, table, groups)
            except psycopg.errors.DuplicateTable:  # made by somebody else meanwhile
                connection.rollback()
                table.check_free(self._address.shown, True)
                raise

    def question(self, table: Table) -> str:
        """Return the question in SQL; it reads all codes, for the index is not exact."""
        return (
            "SELECT b.id, b.key, bit_count(a.code # b.code) AS distance\n"
            f"FROM {_path(_parts(table))} a, {_path(_parts(table))} b\n"
            f"WHERE a.id = {table.asking}\n"
            f"ORDER BY distance, b.id LIMIT {K};"
        )

    def _make(self, connection: Connection[Any], table: Table, groups: Iterable[pa.Table]) -> None:
        """Write the rows, make the indexes, and exchange the names."""
        found = connection.execute("SELECT to_regclass(%s)", [_path(_parts(table))]).fetchone()
        there = found is not None and found[0] is not None
        table.check_free(self._address.shown, there)
        *schema, last = _parts(table)
        draft = f"{_cut(last, 40)}_{secrets.token_hex(4)}"
        path = _path((*schema, draft))
        vectors = _has_vectors(connection)
        names = table.fitting(_cut)
        columns = {names[one.name]: _type(one, table, vectors) for one in table.packed}
        declared = ", ".join(f"{quoted(name)} {kind}" for name, kind in columns.items())
        connection.execute(f"CREATE TABLE {path} ({declared})")
        _copy(connection, f"COPY {path} ({', '.join(map(quoted, columns))}) FROM STDIN", table, groups, vectors)
        connection.execute(f"ALTER TABLE {path} ADD CONSTRAINT {quoted(draft + '_pkey')} PRIMARY KEY (id)")
        _index(connection, path, draft, table, vectors)
        connection.execute(f"COMMENT ON TABLE {path} IS {_literal(table.about)}")
        if there:
            connection.execute(f"DROP TABLE {_path((*schema, last))}")
        connection.execute(f"ALTER TABLE {path} RENAME TO {quoted(last)}")


def _index(connection: Connection[Any], path: str, draft: str, table: Table, vectors: bool) -> None:
    """Make the graph over codes, if it is wanted and can be had."""
    if table.index and not vectors:
        table.notes.append(
            "the server has no pgvector, so there is no index for approximate search; exact search needs none"
        )
    elif table.index:
        step("index", 0, 1)
        connection.execute(f"CREATE INDEX {quoted(draft + '_code')} ON {path} USING hnsw (code bit_hamming_ops)")
        step("index", 1, 1)


def _copy(connection: Connection[Any], statement: str, table: Table, groups: Iterable[pa.Table], vectors: bool) -> None:
    """Write rows in PostgreSQL's text format."""
    lost, zeros = 0, [_ZERO_IN_JSON if one.metadata == JSON else _ZERO for one in table.packed]
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for group in groups:
            for row in _rows(group, table, vectors):
                clean = [_without(zero, value) for zero, value in zip(zeros, row, strict=True)]
                lost += sum(one is not value for one, value in zip(clean, row, strict=True))
                copy.write_row(clean)
    if lost:
        table.notes.append(f"{lost:,} values hold the character 0, which PostgreSQL does not take: it was left out")


def _rows(group: pa.Table, table: Table, vectors: bool) -> Iterator[tuple[Any, ...]]:
    """Give the rows of a group: codes as text of 0 and 1, embeddings as pgvector writes them."""
    schema = table.packed
    columns = {name: group[name].to_pylist() for name in schema.names if name not in {"code", "embedding"}}
    packed = np.frombuffer(b"".join(group["code"].to_pylist()), np.uint8).reshape(len(group), table.n_bytes)
    bits = np.unpackbits(packed, axis=1, count=table.n_bits) + ord("0")
    columns["code"] = [row.tobytes().decode() for row in bits]
    if table.width:
        form = ",".join(["%.9g"] * table.width)  # one format for a row is far quicker than one for a number
        form = f"[{form}]" if vectors and table.width <= WIDEST_VECTOR else f"{{{form}}}"
        floats = group["embedding"].combine_chunks().flatten().to_numpy().reshape(len(group), table.width)
        columns["embedding"] = [form % tuple(row) for row in floats.tolist()]
    return zip(*(columns[name] for name in schema.names), strict=True)


def _without(zero: re.Pattern[str], value: object) -> object:
    """Return a value without the character 0; the value itself where it has none."""
    if isinstance(value, str):
        return zero.sub(r"\g<before>", value) if zero.search(value) else value
    if isinstance(value, list):
        clean = [_without(zero, one) for one in value]
        return clean if any(one is not old for one, old in zip(clean, value, strict=True)) else value
    return value


def _has_vectors(connection: Connection[Any]) -> bool:
    """Say whether pgvector is there, after trying to switch it on."""
    import psycopg

    try:
        with connection.transaction():
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
    except psycopg.Error:
        return False
    return True


def _type(column: pa.Field, table: Table, vectors: bool) -> str:
    """Return the type of a column."""
    kind = column.type
    if column.name == "code":
        return f"bit({table.n_bits}) NOT NULL"
    if column.name == "embedding":
        return f"vector({table.width})" if vectors and table.width <= WIDEST_VECTOR else "real[]"
    if column.metadata == JSON:
        return "jsonb"
    if pa.types.is_list(kind):
        return f"{_scalar(kind.value_type)}[]"
    return _scalar(kind)


def _scalar(kind: pa.DataType) -> str:
    if pa.types.is_timestamp(kind):
        return "timestamptz" if kind.tz else "timestamp"
    if pa.types.is_decimal(kind):
        return f"numeric({kind.precision}, {kind.scale})"
    return "bytea" if pa.types.is_fixed_size_binary(kind) else _TYPES[kind]


def _parts(table: Table) -> tuple[str, ...]:
    """Return schema and name, or the name alone.

    Raises:
        QueryError: one is too long.
    """
    parts = table.parts or (table.name,)
    if any(len(part.encode()) > LONGEST_NAME for part in parts):
        raise QueryError(
            f"{table.name}: names in PostgreSQL have at most {LONGEST_NAME} bytes; name another one by --table"
        )
    return parts


def _path(parts: Iterable[str]) -> str:
    return ".".join(quoted(part) for part in parts)


def _cut(name: str, most: int = LONGEST_NAME) -> str:
    return name.encode()[:most].decode(errors="ignore")


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
