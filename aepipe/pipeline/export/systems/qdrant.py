"""Qdrant: codes as vectors of -1 and +1.

Their dot product is the number of bits minus twice the Hamming distance.

The collection is written under another name, and an alias, which moves in one step, is the name that is asked.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from aepipe.pipeline.export.address import Address
from aepipe.pipeline.export.plain import json_row
from aepipe.pipeline.export.table import K, Table

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

SCHEMES = ("qdrant", "qdrant+https")
PACKAGES = {"qdrant_client": "qdrant"}
SEPARATOR = "-draft-"
REQUEST_BYTES, REQUEST_POINTS = 8 << 20, 1000
"""Limits of one request; a server takes 32 MiB."""
ANSWERS_IN = 60
"""Seconds that a server has to answer."""


def open_system(address: Address) -> Qdrant:
    """Return the system of an address.

    It is ``qdrant://host:6333``, ``qdrant+https://...``, or ``qdrant:FOLDER`` for trials.

    Raises:
        QueryError: a file is there.
    """
    address.check_folder()
    return Qdrant(address)


class Qdrant:
    """A server of Qdrant, or a folder of its client's own local mode."""

    def __init__(self, address: Address) -> None:
        self._address = address

    def write(self, table: Table, groups: Iterable[pa.Table]) -> None:
        """Make the collection; see :class:`aepipe.pipeline.export.table.System`."""
        from qdrant_client.http.exceptions import ApiException

        with self._address.refusals_named(ApiException, RuntimeError, ValueError), closing(self.client()) as client:
            aliases = {one.alias_name: one.collection_name for one in client.get_aliases().aliases}
            listed = [one.name for one in client.get_collections().collections]
            old = aliases.get(table.name) or (table.name if table.name in listed else None)
            table.check_free(self._address.shown, old is not None)
            for name in table.abandoned([one for one in listed if one not in aliases.values()], SEPARATOR):
                client.delete_collection(name)
            draft = table.draft(SEPARATOR)
            try:
                self._fill(client, draft, table, groups)
            except BaseException:
                with suppress(ApiException):
                    client.delete_collection(draft)
                raise
            self._name(client, draft, table.name, old, old in aliases.values())

    def question(self, table: Table) -> str:
        """Return the question in Python; its second search gets all rows as far as the last hit."""
        where = f"path={json.dumps(self._address.rest)}" if self._url is None else f"url={json.dumps(self._url)}"
        name = json.dumps(table.name)
        # A folder has no index and no quantisation, and its client warns of settings for them.
        imported, exact, given = "QdrantClient", "", ""
        if self._url is not None:
            imported, given = "QdrantClient, models", ", search_params=exact"
            ignored = "models.QuantizationSearchParams(ignore=True)"
            exact = f"exact = models.SearchParams(exact=True, quantization={ignored})\n"
        return (
            f"from qdrant_client import {imported}\n\n"
            f"client = QdrantClient({where})\n"
            f'code = client.retrieve({name}, [{table.asking}], with_vectors=["code"])[0].vector["code"]\n'
            f"{exact}"
            f'asked = dict(collection_name={name}, query=code, using="code"{given})\n'
            f"last = client.query_points(**asked, limit={K}).points[-1].score\n"
            f"hits = client.query_points(**asked, score_threshold=last - 1, limit={max(table.rows, K)}).points\n"
            f'print(sorted((int({table.n_bits} - hit.score) // 2, hit.id, hit.payload["key"]) for hit in hits)[:{K}])'
        )

    def client(self) -> QdrantClient:
        """Return a client of the server, or of the folder."""
        from qdrant_client import QdrantClient

        if self._url is None:
            return QdrantClient(path=str(Path(self._address.rest).expanduser()))
        self._address.check_answers(f"{self._url}/healthz")
        key = self._address.password or self._address.user or os.environ.get("QDRANT_API_KEY")
        return QdrantClient(url=self._url, api_key=key or None, timeout=ANSWERS_IN, check_compatibility=False)

    @property
    def _url(self) -> str | None:
        if not self._address.is_url:
            return None
        secure = "s" if self._address.scheme.endswith("https") else ""
        host, port = self._address.host_and_port(6333)
        return f"http{secure}://{host}:{port}/{self._address.path}".rstrip("/")

    def _fill(self, client: QdrantClient, draft: str, table: Table, groups: Iterable[pa.Table]) -> None:
        """Write the rows."""
        from qdrant_client import models

        binary = models.BinaryQuantization(binary=models.BinaryQuantizationConfig(always_ram=True))
        code = models.VectorParams(
            size=table.n_bits,
            distance=models.Distance.DOT,
            datatype=models.Datatype.FLOAT16,
            quantization_config=binary,
            on_disk=True,
        )
        vectors = {"code": code}
        if table.width:
            vectors["embedding"] = models.VectorParams(size=table.width, distance=models.Distance.COSINE, on_disk=True)
        client.create_collection(draft, vectors_config=vectors, metadata={"aepipe": table.described})
        for group in groups:
            for batch in _requests(group, table):
                client.upsert(draft, models.Batch(**batch), wait=True)

    def _name(self, client: QdrantClient, draft: str, name: str, old: str | None, aliased: bool) -> None:
        """Point the alias at the collection, and delete the old one."""
        from qdrant_client import models

        if old is not None and not aliased:
            client.delete_collection(old)  # a collection has its name for itself
        new = models.CreateAlias(collection_name=draft, alias_name=name)
        moved: list[Any] = [models.CreateAliasOperation(create_alias=new)]
        if aliased:
            moved.insert(0, models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=name)))
        client.update_collection_aliases(change_aliases_operations=moved)
        if old is not None and aliased:
            client.delete_collection(old)


def _requests(group: pa.Table, table: Table) -> Iterator[dict[str, Any]]:
    """Give the points of a group, as many at a time as a request holds."""
    size = max(1, min(REQUEST_POINTS, REQUEST_BYTES // (12 * (table.n_bits + table.width) + 1024)))
    columns = [name for name in table.packed.names if name not in {"id", "code", "embedding"}]
    for start in range(0, len(group), size):
        part = group.slice(start, size)
        packed = np.frombuffer(b"".join(part["code"].to_pylist()), np.uint8).reshape(len(part), table.n_bytes)
        signs = 2.0 * np.unpackbits(packed, axis=1, count=table.n_bits) - 1
        vectors: dict[str, Any] = {"code": signs.tolist()}
        if table.width:
            vectors["embedding"] = part["embedding"].to_pylist()
        payloads = [json_row(row) for row in part.select(columns).to_pylist()]
        yield {"ids": part["id"].to_pylist(), "vectors": vectors, "payloads": payloads}
