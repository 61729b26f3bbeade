"""ClickHouse: a server over HTTP, or chDB, which is ClickHouse within this process.

The table is written under another name, and then the names are exchanged. Tables that a killed export left are removed
after a day.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pyarrow as pa

from aepipe.errors import ExtraError, ServiceError
from aepipe.pipeline.export.address import Address
from aepipe.pipeline.export.table import K, Table

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

SCHEMES = ("clickhouse", "clickhouse+https", "chdb")
PACKAGES = {"clickhouse_connect": "clickhouse"}
_TYPES = {
    pa.bool_(): "Bool",
    **{getattr(pa, name.lower())(): name for name in ("Int8", "Int16", "Int32", "Int64")},
    **{getattr(pa, name.lower())(): name for name in ("UInt8", "UInt16", "UInt32", "UInt64")},
    pa.float32(): "Float32",
    pa.float64(): "Float64",
    pa.date32(): "Date32",
}


def open_system(address: Address) -> ClickHouse:
    """Return the system of an address.

    It is ``clickhouse://user@host:8123/database``, ``clickhouse+https://...`` or ``chdb:FOLDER``.

    Raises:
        ExtraError: chDB is not installed.
        QueryError: a file is where its folder should be.
    """
    if address.scheme == "chdb" and find_spec("chdb") is None:
        raise ExtraError("chdb", "clickhouse", "--to chdb")
    address.check_folder()
    return ClickHouse(address)


class ClickHouse:
    """A server of ClickHouse, or a folder of chDB."""

    def __init__(self, address: Address) -> None:
        self._address = address

    def write(self, table: Table, groups: Iterable[pa.Table]) -> None:
        """Make the table; see :class:`aepipe.pipeline.export.table.System`."""
        from clickhouse_connect.driver.exceptions import ClickHouseError

        named = self._address.refusals_named(ClickHouseError, OSError)
        with named, self._losses_named(), closing(self._client()) as client:
            there = str(client.command(f"EXISTS TABLE {_quoted(table.name)}")) == "1"
            table.check_free(self._address.shown, there)
            for name in table.abandoned(str(client.command("SHOW TABLES")).split("\n")):
                client.command(f"DROP TABLE {_quoted(name)}")
            draft = table.draft()
            try:
                self._fill(client, draft, table, groups)
                self._name(client, draft, table.name, there)
            finally:
                with suppress(ClickHouseError):
                    client.command(f"DROP TABLE IF EXISTS {_quoted(draft)}")

    def question(self, table: Table) -> str:
        """Return the question in SQL."""
        name = _quoted(table.name)
        return (
            f"WITH (SELECT code FROM {name} WHERE id = {table.asking}) AS asked\n"
            "SELECT id, key, bitHammingDistance(code, asked) AS distance\n"
            f"FROM {name}\n"
            f"ORDER BY distance, id LIMIT {K};"
        )

    @contextmanager
    def _losses_named(self) -> Iterator[None]:
        """Say in a line that the server was not reached; its driver tells of its own pools and requests.

        Raises:
            ServiceError: it was not.
        """
        from clickhouse_connect.driver.exceptions import OperationalError

        try:
            yield
        except OperationalError as error:
            cause: BaseException | None = error
            while cause is not None and not isinstance(cause, OSError):
                cause = cause.__cause__ or cause.__context__
            if cause is None:
                raise
            why = self._address.hidden(cause.strerror or cause)
            raise ServiceError(f"{self._address.shown}: no connection to the server: {why}") from None

    def _client(self) -> Client:
        import clickhouse_connect

        logging.getLogger("clickhouse_connect").addHandler(logging.NullHandler())  # what fails is raised, too
        if self._address.scheme == "chdb":
            return clickhouse_connect.get_client(interface="chdb", path=self._address.rest, database="default")
        secure = self._address.scheme.endswith("https")
        host, port = self._address.host_and_port(8443 if secure else 8123)
        self._address.check_answers(f"http{'s' if secure else ''}://{host}:{port}/ping")
        return clickhouse_connect.get_client(
            host=host,
            port=port,
            username=self._address.user or os.environ.get("CLICKHOUSE_USER", "default"),
            password=self._address.password or os.environ.get("CLICKHOUSE_PASSWORD", ""),
            database=self._address.path or "default",
            interface="https" if secure else "http",
        )

    def _fill(self, client: Client, draft: str, table: Table, groups: Iterable[pa.Table]) -> None:
        """Write the rows."""
        columns = ", ".join(f"{_quoted(one.name)} {_type(one)}" for one in table.packed)
        about = table.about.replace("\\", "\\\\").replace("'", "\\'")
        client.command(f"CREATE TABLE {_quoted(draft)} ({columns}) ENGINE MergeTree ORDER BY id COMMENT '{about}'")
        for group in groups:
            if len(group):
                client.insert_arrow(_quoted(draft), group.select(table.packed.names))

    def _name(self, client: Client, draft: str, name: str, there: bool) -> None:
        """Give the table its name."""
        from clickhouse_connect.driver.exceptions import ClickHouseError

        if not there:
            client.command(f"RENAME TABLE {_quoted(draft)} TO {_quoted(name)}")
            return
        try:
            client.command(f"EXCHANGE TABLES {_quoted(draft)} AND {_quoted(name)}")
        except ClickHouseError:  # a database whose engine cannot
            old = f"{draft}_old"
            both = f"{_quoted(name)} TO {_quoted(old)}, {_quoted(draft)} TO {_quoted(name)}"
            client.command(f"RENAME TABLE {both}")
            client.command(f"DROP TABLE {_quoted(old)}")


def _type(column: pa.Field) -> str:
    """Return the type of a column; a missing list is an empty one, for ClickHouse has no other."""
    kind = column.type
    if pa.types.is_list(kind):
        return f"Array(Nullable({_scalar(kind.value_type)}))"
    if pa.types.is_fixed_size_list(kind):
        return "Array(Float32)"
    return f"Nullable({_scalar(kind)})" if column.nullable else _scalar(kind)


def _scalar(kind: pa.DataType) -> str:
    if pa.types.is_timestamp(kind):
        return "DateTime64(6, 'UTC')" if kind.tz else "DateTime64(6)"
    if pa.types.is_decimal(kind):
        return f"Decimal({kind.precision}, {kind.scale})"
    if pa.types.is_fixed_size_binary(kind):
        return f"FixedString({kind.byte_width})"
    return _TYPES.get(kind, "String")


def _quoted(name: str) -> str:
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"
