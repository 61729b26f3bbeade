"""OpenSearch: files for its bulk interface, 2.16 or later.

``index.json`` makes the index, ``bulk-00000.ndjson`` and so on are bodies of ``_bulk``, ``query.json`` is a question.
Codes are signed bytes, as OpenSearch has binary vectors.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from aepipe.pipeline.export import swap
from aepipe.pipeline.export.address import Address
from aepipe.pipeline.export.plain import JSON, json_row
from aepipe.pipeline.export.table import K, Table
from aepipe.store.io import disk_errors_named

SCHEMES = ("opensearch",)
PACKAGES: dict[str, str] = {}
PART_BYTES = 16 << 20
"""Of one request; a server takes 100 MB."""
_PART = re.compile(r"index\.json|query\.json|bulk-\d{5,}\.ndjson")


def open_system(address: Address) -> OpenSearch:
    """Return the files of an address, ``opensearch:FOLDER``."""
    return OpenSearch(address)


class OpenSearch:
    """A folder of files that OpenSearch takes."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._folder = Path(address.rest).expanduser().absolute()

    def write(self, table: Table, groups: Iterable[pa.Table]) -> None:
        """Write the files; see :class:`aepipe.pipeline.export.table.System`."""
        pattern = r'(?![_+-])[^A-Z\\/*?"<>| ,#:]{1,255}'
        table.check_name("OpenSearch", pattern, "no capitals, spaces or signs of paths")
        there = swap.check_folder(self._folder, _is_part)
        table.check_folder_of(self._address.shown, _held(self._folder) if there else None)
        table.check_free(self._address.shown, there)
        names = table.fitting(lambda name: name.replace(".", "_").lstrip("_") or "column")
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        with disk_errors_named(self._folder.parent), swap.temporary_folder(self._folder) as temporary:
            (temporary / "index.json").write_text(json.dumps(_index(table, names), indent=2), encoding="utf-8")
            (temporary / "query.json").write_text("{}", encoding="utf-8")
            query = _write(temporary, table, names, groups)
            (temporary / "query.json").write_text(json.dumps(query, indent=2), encoding="utf-8")
            for file in temporary.iterdir():
                swap.synced(file)
            swap.put(temporary, self._folder)

    def question(self, table: Table) -> str:
        """Return the commands that load the files and ask."""
        name, folder = shlex.quote(table.name), shlex.quote(str(self._folder))
        json_type, lines_type = (f"-H 'Content-Type: application/{kind}'" for kind in ("json", "x-ndjson"))
        return (
            f"cd {folder}\n"
            f"curl -X PUT $URL/{name} {json_type} --data-binary @index.json\n"
            f"for part in bulk-*.ndjson; do curl $URL/{name}/_bulk {lines_type} --data-binary @$part; done\n"
            f"curl -X POST $URL/{name}/_refresh\n"
            f"curl $URL/{name}/_search {json_type} --data-binary @query.json"
        )


def _write(folder: Path, table: Table, names: dict[str, str], groups: Iterable[pa.Table]) -> dict[str, Any]:
    """Write the bodies, and return the question of the row that asks."""
    query: dict[str, Any] = {}
    number, stream = 0, (folder / "bulk-00000.ndjson").open("wb")
    try:
        for group in groups:
            for row in _documents(group, table, names):
                if stream.tell() > PART_BYTES:
                    stream.close()
                    number += 1
                    stream = (folder / f"bulk-{number:05d}.ndjson").open("wb")
                action = {"index": {"_id": str(row["id"])}}
                stream.write(f"{json.dumps(action)}\n{json.dumps(row, ensure_ascii=False)}\n".encode())
                if row["id"] == table.asking:
                    query = _query(row["code"])
    finally:
        stream.close()
    return query


def _documents(group: pa.Table, table: Table, names: dict[str, str]) -> Iterable[dict[str, Any]]:
    nested = {one.name for one in table.schema if one.metadata == JSON}
    packed = np.frombuffer(b"".join(group["code"].to_pylist()), np.int8).reshape(len(group), table.n_bytes)
    for row, code in zip(group.select(table.packed.names).to_pylist(), packed.tolist(), strict=True):
        found = json_row(row | {"code": code})
        if table.width:
            # A vector of zeros has no cosine, and would be refused with its row.
            numbers = [float(f"{value:.7g}") for value in row["embedding"]]
            found["embedding"] = numbers if any(numbers) else None
        yield {
            names[name]: json.loads(value) if name in nested and value is not None else value
            for name, value in found.items()
        }


def _query(code: list[int]) -> dict[str, Any]:
    """Return a question: every code is compared, and hits with equal scores are ordered by their ids."""
    params = {"field": "code", "query_value": code, "space_type": "hamming"}
    script = {"source": "knn_score", "lang": "knn", "params": params}
    return {
        "size": K,
        "_source": ["id", "key", "label"],
        "query": {"script_score": {"query": {"match_all": {}}, "script": script}},
        "sort": [{"_score": "desc"}, {"id": "asc"}],
        "track_scores": True,
    }


def _index(table: Table, names: dict[str, str]) -> dict[str, Any]:
    """Return settings and mappings of the index."""
    hamming = {"name": "hnsw", "engine": "faiss", "space_type": "hamming"}
    code = {"type": "knn_vector", "dimension": 8 * table.n_bytes, "data_type": "binary", "method": hamming}
    cosine = {"name": "hnsw", "engine": "faiss", "space_type": "cosinesimil"}
    fields = {names[one.name]: _field(one, table) for one in table.packed}
    fields["code"] = code
    if table.width:
        fields["embedding"] = {"type": "knn_vector", "dimension": table.width, "method": cosine}
    mappings = {"_meta": {"aepipe": table.described, "table": table.name}, "dynamic": False, "properties": fields}
    return {"settings": {"index": {"knn": True}}, "mappings": mappings}


def _field(column: pa.Field, table: Table) -> dict[str, Any]:
    kind = column.type.value_type if pa.types.is_list(column.type) else column.type
    if column.metadata == JSON:
        return {"type": "object", "enabled": False}
    if pa.types.is_string(kind) and column.name in table.own:
        return {"type": "text", "fields": {"keyword": {"type": "keyword", "ignore_above": 256}}}
    if pa.types.is_integer(kind):
        return {"type": "unsigned_long" if kind == pa.uint64() else "long"}
    if pa.types.is_floating(kind):
        return {"type": "double"}
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return {"type": "date"}
    return {"type": "boolean" if pa.types.is_boolean(kind) else "keyword"}


def _is_part(file: Path) -> bool:
    """Say whether a file is of an earlier export."""
    if not _PART.fullmatch(file.name):
        return False
    try:
        return "aepipe" in json.loads((file.parent / "index.json").read_text(encoding="utf-8"))["mappings"]["_meta"]
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _held(folder: Path) -> str | None:
    """Return the name of the table in an earlier export."""
    name: str | None = json.loads((folder / "index.json").read_text(encoding="utf-8"))["mappings"]["_meta"].get("table")
    return name
