"""LanceDB: codes as vectors of bytes, compared by Hamming distance.

A table is one version of a Lance dataset, so a new one takes the place of the old one in one commit.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from aepipe.pipeline.export.address import Address
from aepipe.pipeline.export.table import K, Table

SCHEMES = ("lancedb",)
PACKAGES = {"lancedb": "lancedb"}


def open_system(address: Address) -> LanceDB:
    """Return the system of an address, ``lancedb:FOLDER``, or ``lancedb:s3://bucket/folder``.

    Raises:
        QueryError: a file is there.
    """
    address.check_folder()
    return LanceDB(address)


class LanceDB:
    """A folder of LanceDB, on a disk or in object storage."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._folder = address.rest if "://" in address.rest else str(Path(address.rest).expanduser())

    def write(self, table: Table, groups: Iterable[pa.Table]) -> None:
        """Make the table; see :class:`aepipe.pipeline.export.table.System`."""
        import lancedb

        table.check_name("LanceDB", r"[A-Za-z0-9_.-]+", "letters of English, digits and ._- only")
        failed: list[Exception] = []
        with self._address.refusals_named(RuntimeError, ValueError, OSError):
            database = lancedb.connect(self._folder)
            there = table.name in database.list_tables(limit=1_000_000).tables
            table.check_free(self._address.shown, there)
            names = table.fitting(lambda name: name.replace(".", "_"))
            schema = pa.schema([_field(one, names) for one in table.packed], table.schema.metadata)
            reader = pa.RecordBatchReader.from_batches(schema, _batches(table, schema, groups, failed))
            try:
                database.create_table(table.name, data=reader, mode="overwrite" if there else "create")
            except Exception:
                # Lance tells of an error of ours by its text alone.
                if failed:
                    raise failed[0] from None
                raise

    def question(self, table: Table) -> str:
        """Return the question in Python; its second search gets all rows as far as the last hit."""
        return (
            "import lancedb\n\n"
            f"table = lancedb.connect({json.dumps(self._folder)}).open_table({json.dumps(table.name)})\n"
            f'code = table.search().where("id = {table.asking}").to_list()[0]["code"]\n'
            'near = table.search(code, vector_column_name="code").distance_type("hamming").bypass_vector_index()\n'
            f'last = near.limit({K}).to_list()[-1]["_distance"]\n'
            "hits = near.distance_range(upper_bound=last + 1).limit(table.count_rows()).to_list()\n"
            f'print(sorted((int(hit["_distance"]), hit["id"], hit["key"]) for hit in hits)[:{K}])'
        )


def _field(field: pa.Field, names: dict[str, str]) -> pa.Field:
    kind = pa.list_(pa.uint8(), field.type.byte_width) if field.name == "code" else field.type
    return pa.field(names[field.name], kind, nullable=field.nullable)


def _batches(
    table: Table, schema: pa.Schema, groups: Iterable[pa.Table], failed: list[Exception]
) -> Iterator[pa.RecordBatch]:
    """Give the rows; what fails is kept."""
    try:
        for group in groups:
            chosen = group.select(table.packed.names)
            place = chosen.schema.get_field_index("code")
            code = pc.cast(chosen["code"], pa.binary()).combine_chunks()
            octets = pa.Array.from_buffers(pa.uint8(), len(group) * table.n_bytes, [None, code.buffers()[2]])
            listed = pa.FixedSizeListArray.from_arrays(octets, table.n_bytes)
            chosen = chosen.set_column(place, schema.field(place), listed)
            yield from pa.Table.from_arrays(chosen.columns, schema=schema).to_batches()
    except Exception as error:
        failed.append(error)
        raise
