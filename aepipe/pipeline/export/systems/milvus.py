"""Milvus: Parquet for its bulk import, 2.5 or later.

``collection.json`` makes the collection, ``part-00000.parquet`` and so on are imported. Codes are binary vectors of
whole bytes; the source's own columns are the dynamic field of a row.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from aepipe.pipeline.export import swap
from aepipe.pipeline.export.address import Address
from aepipe.pipeline.export.plain import JSON, json_row
from aepipe.pipeline.export.table import K, Table
from aepipe.store.io import disk_errors_named

SCHEMES = ("milvus",)
PACKAGES: dict[str, str] = {}
PART_ROWS = 1_000_000
LONGEST_TEXT, MOST_LABELS = 65_535, 4096
"""Milvus's bounds on bytes of a text and on elements of an array."""
DYNAMIC = "$meta"
_PART = re.compile(r"collection\.json|part-\d{5,}\.parquet")


def open_system(address: Address) -> Milvus:
    """Return the files of an address, ``milvus:FOLDER``."""
    return Milvus(address)


class Milvus:
    """A folder of files that Milvus takes."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._folder = Path(address.rest).expanduser().absolute()

    def write(self, table: Table, groups: Iterable[pa.Table]) -> None:
        """Write the files; see :class:`aepipe.pipeline.export.table.System`."""
        table.check_name("Milvus", r"[A-Za-z_][A-Za-z0-9_]{,254}", "letters of English, digits and _ only")
        there = swap.check_folder(self._folder, _is_part)
        table.check_folder_of(self._address.shown, _held(self._folder) if there else None)
        table.check_free(self._address.shown, there)
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        with disk_errors_named(self._folder.parent), swap.temporary_folder(self._folder) as temporary:
            (temporary / "collection.json").write_text(json.dumps(_collection(table), indent=2), encoding="utf-8")
            _write(temporary, table, groups)
            for file in temporary.iterdir():
                swap.synced(file)
            swap.put(temporary, self._folder)

    def question(self, table: Table) -> str:
        """Return the question in Python; its second search gets all rows as far as the last hit."""
        name = json.dumps(table.name)
        return (
            "from pymilvus import MilvusClient\n\n"
            'client = MilvusClient(uri="http://localhost:19530")\n'
            f'code = client.get({name}, [{table.asking}], output_fields=["code"])[0]["code"][0]\n'
            f'asked = dict(collection_name={name}, data=[code], anns_field="code", output_fields=["key"])\n'
            f'near = client.search(**asked, limit={K}, search_params={{"metric_type": "HAMMING"}})[0]\n'
            'within = {"radius": near[-1]["distance"] + 1, "range_filter": 0}\n'
            'within = {"metric_type": "HAMMING", "params": within}\n'
            "hits = client.search(**asked, limit=16384, search_params=within)[0]\n"
            f'print(sorted((int(hit["distance"]), hit["id"], hit["entity"]["key"]) for hit in hits)[:{K}])'
        )


def _write(folder: Path, table: Table, groups: Iterable[pa.Table]) -> None:
    """Write all parts."""
    writer, number, in_part = None, 0, 0
    try:
        for group in groups:
            ready = _ready(group, table)
            if writer is None or in_part + len(group) > PART_ROWS:
                if writer is not None:
                    writer.close()
                writer = pq.ParquetWriter(folder / f"part-{number:05d}.parquet", ready.schema, compression="zstd")
                number, in_part = number + 1, 0
            writer.write_table(ready)
            in_part += len(group)
    finally:
        if writer is not None:
            writer.close()


def _ready(group: pa.Table, table: Table) -> pa.Table:
    """Return rows with the columns that the import knows."""
    octets = pa.list_(pa.uint8())
    columns = {name: group[name] for name in ("id", "key", "label", "split")}
    columns["code"] = pa.chunked_array([[list(one) for one in group["code"].to_pylist()]], octets)
    if table.width:
        columns["embedding"] = group["embedding"].cast(pa.list_(pa.float32()))
    nested = {one.name for one in table.schema if one.metadata == JSON}
    rows = [json_row(row) for row in group.select(table.own).to_pylist()] if table.own else [{}] * len(group)
    for row in rows:
        row.update({name: json.loads(row[name]) for name in nested if row.get(name) is not None})
    texts = [json.dumps(row, ensure_ascii=False) for row in rows]
    columns[DYNAMIC] = pa.chunked_array([texts], pa.string())
    return pa.table(columns).replace_schema_metadata({b"aepipe": json.dumps(table.described).encode()})


def _collection(table: Table) -> dict[str, Any]:
    """Return the body of ``/v2/vectordb/collections/create``."""
    text: dict[str, Any] = {"dataType": "VarChar", "elementTypeParams": {"max_length": LONGEST_TEXT}}
    several = pa.types.is_list(table.schema.field("label").type)
    labels = {"max_capacity": MOST_LABELS, "max_length": LONGEST_TEXT}
    label = {"dataType": "Array", "elementDataType": "VarChar", "elementTypeParams": labels} if several else text
    fields: list[dict[str, Any]] = [
        {"fieldName": "id", "dataType": "Int64", "isPrimary": True},
        {"fieldName": "key", **text},
        {"fieldName": "label", "nullable": True, **label},
        {"fieldName": "split", **text},
        {"fieldName": "code", "dataType": "BinaryVector", "elementTypeParams": {"dim": 8 * table.n_bytes}},
    ]
    indexes = [{"fieldName": "code", "indexName": "code", "metricType": "HAMMING", "indexType": "BIN_FLAT"}]
    if table.width:
        dim = {"dim": table.width}
        fields.append({"fieldName": "embedding", "dataType": "FloatVector", "elementTypeParams": dim})
        indexes.append({"fieldName": "embedding", "indexName": "embedding", "metricType": "COSINE"})
        indexes[-1]["indexType"] = "AUTOINDEX"
    schema = {"autoId": False, "enableDynamicField": True, "fields": fields}
    return {
        "collectionName": table.name,
        "description": table.about,
        "schema": schema,
        "indexParams": indexes,
    }


def _is_part(file: Path) -> bool:
    """Say whether a file is of an earlier export."""
    if not _PART.fullmatch(file.name):
        return False
    try:
        return "aepipe" in json.loads((file.parent / "collection.json").read_text(encoding="utf-8"))["description"]
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _held(folder: Path) -> str | None:
    """Return the name of the table in an earlier export."""
    name: str | None = json.loads((folder / "collection.json").read_text(encoding="utf-8")).get("collectionName")
    return name
