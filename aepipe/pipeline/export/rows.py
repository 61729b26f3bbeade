"""The rows of a release as tables of Arrow, one group at a time: what every export writes.

Legend: N rows, H width of the embedding, K bits, W bytes of a code.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aepipe.codes.bitcodes import BIT_ORDER, BitCodes, n_bytes
from aepipe.errors import CorruptError, QueryError
from aepipe.pipeline.compact import merge_rows
from aepipe.release.prefix import Prefix
from aepipe.release.release import Release
from aepipe.store.artifacts import Ref, Store
from aepipe.store.column_names import OURS, sql_names
from aepipe.store.labels import parted
from aepipe.store.rows import Row, Rows

SCHEMA = 1
KEY = b"aepipe"
GROUP_ROWS, GROUP_BYTES = 1 << 16, 1 << 26
"""Limits of one group, and so of memory."""


@dataclass(frozen=True, slots=True)
class Exported:
    """Files that an export wrote.

    Attributes:
        folder: holds them.
        files: names of the parts, in order.
        rows: number of rows in all parts together.
    """

    folder: Path
    files: tuple[str, ...]
    rows: int


@dataclass(frozen=True, slots=True)
class Exporting:
    """A release whose rows are exported.

    Attributes:
        release: the release, or the first bits of its codes.
        rows: its rows.
        layout: the columns.
    """

    release: Release
    rows: Rows
    layout: Layout

    @classmethod
    def of(cls, store: Store, ref: Ref, *, n_bits: int | None = None, embeddings: bool = True) -> Exporting:
        """Open a release for an export.

        Args:
            store: where artifacts are read.
            ref: any release, in service or not.
            n_bits: only the first bits of the codes; None for all.
            embeddings: false leaves the embeddings out; then codes are those of the store, and nothing is encoded.

        Raises:
            QueryError: the codes have fewer bits; or embeddings are wanted, and the features of rows were not kept.
            CorruptError: an artifact is damaged.
        """
        opened = Release.open(store, ref=ref)
        rows = Rows(store.verified(merge_rows(store, opened)))
        if embeddings and rows.kept < 1:
            raise QueryError(
                f"{opened.name}: embeddings are made of all features, and source.keep = 'sample' keeps those of "
                f"{rows.kept:.2%}; --no-embeddings leaves embeddings out, and keep = 'all' keeps all features"
            )
        opened = opened if n_bits is None else Prefix(opened, n_bits)
        aligned = store.manifest(opened.part("encoder")).facts.get("aligned")
        return cls(opened, rows, Layout.of(opened, rows, aligned, embeddings=embeddings))

    def groups(self) -> Iterator[pa.Table]:
        """Give the rows as tables of one group each; without rows, one empty table.

        Raises:
            CorruptError: the encoder gives other codes than the stored ones.
        """
        at_once = max(1, min(GROUP_ROWS, GROUP_BYTES // int(np.prod(self.rows.shape))))
        records = self.rows.records()
        if not len(self.rows):
            yield self.layout.schema.empty_table()
        elif self.layout.embeddings:
            for ids, items in self.rows.batches(at_once):
                encoding = self.release.encoder.encode(items, threads=os.cpu_count() or 1)
                codes = encoding.codes.prefix(self.release.n_bits)
                _check_codes(self.release, ids, codes)
                yield self.layout.table(list(islice(records, len(ids))), codes, encoding.embedding)
        else:
            while group := list(islice(records, GROUP_ROWS)):
                yield self.layout.table(group, self.release.codes_of([row.id for row in group]))


def _check_codes(release: Release, ids: NDArray[np.int64], codes: BitCodes) -> None:
    """Check that the encoder still gives the stored codes."""
    differ = (release.codes_of(ids).packed != codes.packed).any(axis=1)
    if differ.any():
        raise CorruptError(
            f"release {release.name} ({release.ref.short}): row {ids[differ][0]} (of {differ.sum():,} such) has "
            "another code than its encoder gives here; `aepipe verify` finds damage, `aepipe run` makes it again"
        )


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of an export.

    Attributes:
        schema: of the groups.
        own: the source's own columns: name in the export to name in the source.
        embeddings: whether there are embeddings.
    """

    schema: pa.Schema
    own: dict[str, str]
    embeddings: bool

    @classmethod
    def of(cls, release: Release, rows: Rows, aligned: dict[str, Any] | None, *, embeddings: bool) -> Layout:
        """Return the columns of a release's rows; ``aligned`` goes into the metadata.

        The source's columns have the names of :func:`aepipe.store.column_names.sql_names`, as in conditions.
        """
        words = {f"code_u64_{i}": pa.uint64() for i in range(-(-release.n_bits // 64))}
        given = rows.own_schema
        own = {new: name for name, new in sql_names(given.names).items()}
        types = {name: given.field(source).type for name, source in own.items()}
        width = release.encoder.encode(np.zeros((0, *rows.shape), np.uint8)).embedding.shape[1] if embeddings else 0
        floats = {"embedding": pa.list_(pa.field("element", pa.float32(), nullable=False), width)}
        ours = {
            "id": pa.int64(),
            "key": pa.string(),
            **types,
            "label": pa.list_(pa.string()) if rows.several_labels else pa.string(),
            "split": pa.string(),
            **(floats if embeddings else {}),
            "code": pa.binary(n_bytes(release.n_bits)),
            **words,
        }
        optional = {*own, "label"}
        fields = [pa.field(name, kind, nullable=name in optional) for name, kind in ours.items()]
        return cls(pa.schema(fields, {KEY: json.dumps(_described(release, aligned)).encode()}), own, embeddings)

    @property
    def described(self) -> dict[str, Any]:
        """What the codes are, as in the metadata of the files."""
        found: dict[str, Any] = json.loads(self.schema.metadata[KEY])
        return found

    def table(self, records: list[Row], codes: BitCodes, embedding: NDArray[np.float32] | None = None) -> pa.Table:
        """Return one group."""
        packed = pa.py_buffer(np.ascontiguousarray(codes.packed))
        kinds = {field.name: field.type for field in self.schema}
        columns: dict[str, Any] = {name: [getattr(one, name) for one in records] for name in OURS}
        if pa.types.is_list(kinds["label"]):
            columns["label"] = [parted(one.label) or None for one in records]
        columns |= {name: [one.columns.get(source) for one in records] for name, source in self.own.items()}
        if embedding is not None:
            flat = pa.array(np.ascontiguousarray(embedding, np.float32).reshape(-1))
            columns["embedding"] = pa.FixedSizeListArray.from_arrays(flat, type=kinds["embedding"])
        columns["code"] = pa.Array.from_buffers(kinds["code"], len(records), [None, packed])
        columns |= {f"code_u64_{i}": np.ascontiguousarray(word) for i, word in enumerate(codes.words().T)}
        ready = [
            columns[name] if isinstance(columns[name], pa.Array) else pa.array(columns[name], kind)
            for name, kind in kinds.items()
        ]
        return pa.Table.from_arrays(ready, schema=self.schema)


def _described(release: Release, aligned: dict[str, Any] | None) -> dict[str, Any]:
    """Return what the metadata say. Types are in the schema, so loaders need no other key.

    Codes with the fingerprint that ``aligned`` names may be kept and compared with these, at the cost of the share of
    bits that differ; codes with any other fingerprint may not.
    """
    return {
        "schema": SCHEMA,
        "name": release.name,
        "release": release.ref.digest,
        "fingerprint": release.fingerprint,
        "n_bits": release.n_bits,
        "bit_order": BIT_ORDER,
        "words": "big-endian, zero-padded at the end",
        "aligned": aligned,
    }
