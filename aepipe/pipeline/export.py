"""Export a release for SQL and data frames: Parquet in a folder, or one file.

Files: ``part-00000.parquet`` and so on, of at most a million rows each. Columns: ``id``, ``key``, the source's own
columns, ``label``, ``split``, ``embedding`` (the encoder's float vector), ``code`` (its bytes) and ``code_u64_0``, ...
(its 64-bit words), so that ``bit_count(xor(code_u64_0, ?))::INT`` is a Hamming distance. The files' metadata describes
the codes under the key ``aepipe``.

Legend: N rows, H width of the embedding, K bits, W bytes of a code.
"""

from __future__ import annotations

import csv
import ctypes
import errno
import glob
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from aepipe.codes.bitcodes import BIT_ORDER, BitCodes, n_bytes
from aepipe.errors import CorruptError, QueryError
from aepipe.log import step
from aepipe.pipeline.compact import merge_rows
from aepipe.release.prefix import Prefix
from aepipe.release.release import Release
from aepipe.store.artifacts import Ref, Store
from aepipe.store.column_names import OURS, sql_names
from aepipe.store.io import check_target, disk_errors_named
from aepipe.store.labels import parted
from aepipe.store.rows import Row, Rows

SCHEMA = 1
KEY = b"aepipe"
PART_ROWS = 1_000_000
GROUP_ROWS, GROUP_BYTES = 1 << 16, 1 << 26
"""Limits of one row group, and so of memory."""
_EXCHANGE = 2  # RENAME_EXCHANGE of renameat2(2)
_HERE = -100  # AT_FDCWD


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


def export(store: Store, release: Ref, folder: Path, *, n_bits: int | None = None) -> Exported:
    """Write a release as Parquet; an earlier export in the folder is replaced as a whole.

    The encoder computes embeddings and codes once more, and the codes must equal the stored ones. Memory holds one row
    group.

    Args:
        store: where artifacts are read and written.
        release: any release, in service or not.
        folder: missing, empty, or an earlier export.
        n_bits: write only the first bits of the codes; None writes all.

    Raises:
        QueryError: the folder holds anything else, or the codes have fewer bits.
        CorruptError: an artifact is damaged, or the encoder gives other codes than the stored ones.
        FullError: the disk is full.
    """
    folder = folder.expanduser().absolute()
    _check_target(folder)
    opened = Release.open(store, ref=release)
    rows = Rows(store.verified(merge_rows(store, opened)))
    opened = opened if n_bits is None else Prefix(opened, n_bits)
    layout = _Layout.of(opened, rows, store.manifest(opened.part("encoder")).facts.get("aligned"))
    folder.parent.mkdir(parents=True, exist_ok=True)
    with disk_errors_named(folder.parent), _temporary(folder) as temporary:
        files = _write(opened, rows, layout, temporary)
        _check_target(folder)  # somebody may have put files there meanwhile
        _put(temporary, folder)
    return Exported(folder, tuple(files), len(rows))


def export_file(store: Store, release: Ref, file: Path, *, n_bits: int | None = None) -> Exported:
    """Write a release as one file, in the format of its ending, one of :data:`ENDINGS`.

    In text, embeddings are lists of numbers, and the bytes of codes are in hex.

    Args:
        store: where artifacts are read and written.
        release: any release, in service or not.
        file: to be written.
        n_bits: write only the first bits of the codes; None writes all.

    Raises:
        QueryError: rows are not written under such an ending, or the codes have fewer bits.
        CorruptError: an artifact is damaged, or the encoder gives other codes than the stored ones.
        FullError: the disk is full.
    """
    file = file.expanduser().absolute()
    if file.suffix.lower() not in ENDINGS:
        raise QueryError(f"{file}: rows are not written under that ending; allowed: {', '.join(ENDINGS)}")
    check_target(file)
    opened = Release.open(store, ref=release)
    rows = Rows(store.verified(merge_rows(store, opened)))
    opened = opened if n_bits is None else Prefix(opened, n_bits)
    layout = _Layout.of(opened, rows, store.manifest(opened.part("encoder")).facts.get("aligned"))
    with disk_errors_named(file.parent), _temporary(file) as temporary:
        made, done = temporary / file.name, 0
        with ENDINGS[file.suffix.lower()](made, layout.schema) as put:
            for group in _groups(opened, rows, layout):
                put(group)
                done += len(group)
                step("export", done, len(rows))
        with made.open("rb") as stream:
            os.fsync(stream.fileno())
        made.replace(file)
    return Exported(file.parent, (file.name,), len(rows))


Put = Callable[[pa.Table], None]


@contextmanager
def _parquet(file: Path, schema: pa.Schema) -> Iterator[Put]:
    with _writer(file, schema) as writer:
        yield lambda group: writer.write_table(group, row_group_size=max(1, len(group)))


@contextmanager
def _arrow(file: Path, schema: pa.Schema) -> Iterator[Put]:
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        yield writer.write_table


@contextmanager
def _csv(file: Path, schema: pa.Schema) -> Iterator[Put]:
    with file.open("w", encoding="utf-8", newline="") as stream:
        lines = csv.writer(stream, delimiter="\t" if file.suffix.lower() == ".tsv" else ",", lineterminator="\n")
        lines.writerow(schema.names)
        yield lambda group: lines.writerows(
            [json.dumps(one) if isinstance(one, list | dict) else one for one in _texts(row).values()]
            for row in group.to_pylist()
        )


@contextmanager
def _lines(file: Path, schema: pa.Schema) -> Iterator[Put]:
    with file.open("w", encoding="utf-8") as stream:
        yield lambda group: stream.writelines(
            json.dumps(_texts(row), ensure_ascii=False, default=str) + "\n" for row in group.to_pylist()
        )


def _texts(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with bytes in hex, and floats with the digits that they have."""
    found = {name: value.hex() if isinstance(value, bytes) else value for name, value in row.items()}
    found["embedding"] = [float(f"{value:.7g}") for value in row["embedding"]]
    return found


ENDINGS = {
    ".parquet": _parquet,
    ".arrow": _arrow,
    ".feather": _arrow,
    ".csv": _csv,
    ".tsv": _csv,
    ".jsonl": _lines,
}
"""Endings of files that rows are written under, each with what opens such a file."""


def _write(release: Release, rows: Rows, layout: _Layout, folder: Path) -> list[str]:
    """Write all parts, sync them to the disk, and return their names."""
    files: list[str] = []
    writer, in_part, done = None, 0, 0
    try:
        for group in _groups(release, rows, layout):
            if writer is None or in_part + len(group) > PART_ROWS:
                if writer is not None:
                    writer.close()
                files.append(f"part-{len(files):05d}.parquet")
                writer, in_part = _writer(folder / files[-1], group.schema), 0
            writer.write_table(group, row_group_size=max(1, len(group)))
            in_part, done = in_part + len(group), done + len(group)
            step("export", done, len(rows))
    finally:
        if writer is not None:
            writer.close()
    # Before the rename, so that a power cut cannot leave a complete-looking folder with empty files.
    for file in files:
        with (folder / file).open("rb") as stream:
            os.fsync(stream.fileno())
    return files


def _groups(release: Release, rows: Rows, layout: _Layout) -> Iterator[pa.Table]:
    """Give the rows as tables of one row group each; without rows, one empty table."""
    at_once = max(1, min(GROUP_ROWS, GROUP_BYTES // int(np.prod(rows.shape))))
    records = rows.records()
    for ids, items in rows.batches(at_once):
        encoding = release.encoder.encode(items, threads=os.cpu_count() or 1)
        codes = encoding.codes.prefix(release.n_bits)
        _check_codes(release, ids, codes)
        yield layout.table(list(islice(records, len(ids))), encoding.embedding, codes)
    if not len(rows):
        yield layout.schema.empty_table()


def _check_codes(release: Release, ids: NDArray[np.int64], codes: BitCodes) -> None:
    """Check that the encoder still gives the stored codes."""
    differ = (release.codes_of(ids).packed != codes.packed).any(axis=1)
    if differ.any():
        raise CorruptError(
            f"release {release.name} ({release.ref.short}): row {ids[differ][0]} (of {differ.sum():,} such) has "
            "another code than its encoder gives here; `aepipe verify` finds damage, `aepipe run` makes it again"
        )


@dataclass(frozen=True, slots=True)
class _Layout:
    """The columns of an export.

    Attributes:
        schema: of the files.
        own: the source's own columns: name in the export to name in the source.
    """

    schema: pa.Schema
    own: dict[str, str]

    @classmethod
    def of(cls, release: Release, rows: Rows, aligned: dict[str, Any] | None) -> _Layout:
        """Return the columns of a release's rows; ``aligned`` goes into the metadata.

        The source's columns have the names of :func:`aepipe.store.column_names.sql_names`, as in conditions.
        """
        words = {f"code_u64_{i}": pa.uint64() for i in range(-(-release.n_bits // 64))}
        given = rows.own_schema
        own = {new: name for name, new in sql_names(given.names).items()}
        types = {name: given.field(source).type for name, source in own.items()}
        width = release.encoder.encode(np.zeros((0, *rows.shape), np.uint8)).embedding.shape[1]
        ours = {
            "id": pa.int64(),
            "key": pa.string(),
            **types,
            "label": pa.list_(pa.string()) if rows.several_labels else pa.string(),
            "split": pa.string(),
            "embedding": pa.list_(pa.field("element", pa.float32(), nullable=False), width),
            "code": pa.binary(n_bytes(release.n_bits)),
            **words,
        }
        optional = {*own, "label"}
        fields = [pa.field(name, kind, nullable=name in optional) for name, kind in ours.items()]
        return cls(pa.schema(fields, _metadata(release, aligned)), own)

    def table(self, records: list[Row], embedding: NDArray[np.float32], codes: BitCodes) -> pa.Table:
        """Return one row group."""
        flat = pa.array(np.ascontiguousarray(embedding, np.float32).reshape(-1))
        packed = pa.py_buffer(np.ascontiguousarray(codes.packed))
        kinds = {field.name: field.type for field in self.schema}
        columns: dict[str, Any] = {name: [getattr(one, name) for one in records] for name in OURS}
        if pa.types.is_list(kinds["label"]):
            columns["label"] = [parted(one.label) or None for one in records]
        columns |= {name: [one.columns.get(source) for one in records] for name, source in self.own.items()}
        columns["embedding"] = pa.FixedSizeListArray.from_arrays(flat, type=kinds["embedding"])
        columns["code"] = pa.Array.from_buffers(kinds["code"], len(records), [None, packed])
        columns |= {f"code_u64_{i}": np.ascontiguousarray(word) for i, word in enumerate(codes.words().T)}
        ready = [
            columns[name] if isinstance(columns[name], pa.Array) else pa.array(columns[name], kind)
            for name, kind in kinds.items()
        ]
        return pa.Table.from_arrays(ready, schema=self.schema)


def _metadata(release: Release, aligned: dict[str, Any] | None) -> dict[bytes, bytes]:
    """Return the metadata of the files. Types are in the schema, so loaders need no other key.

    Codes with the fingerprint that ``aligned`` names may be kept and compared with these, at the cost of the share of
    bits that differ; codes with any other fingerprint may not.
    """
    described = {
        "schema": SCHEMA,
        "name": release.name,
        "release": release.ref.digest,
        "fingerprint": release.fingerprint,
        "n_bits": release.n_bits,
        "bit_order": BIT_ORDER,
        "words": "big-endian, zero-padded at the end",
        "aligned": aligned,
    }
    return {KEY: json.dumps(described).encode()}


def _writer(file: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """Open one part; floats are split into byte streams, because zstd compresses these better."""
    dense = {"id", "key", "embedding", "code"} | {name for name in schema.names if name.startswith("code_u64_")}
    return pq.ParquetWriter(
        file,
        schema,
        compression="zstd",
        use_dictionary=[name for name in schema.names if name not in dense],
        column_encoding={"embedding.list.element": "BYTE_STREAM_SPLIT"},
    )


def _check_target(folder: Path) -> None:
    """Check that the folder may be replaced."""
    if folder.is_dir():
        strangers = sorted(path.name for path in folder.iterdir() if not _is_part(path))
        if not strangers:
            return
        what = f"it holds {strangers[0]}, which is not a part of an earlier export"
    elif folder.exists() or folder.is_symlink():
        what = "it is not a folder"
    else:
        return
    raise QueryError(f"{folder}: nothing is exported there, because {what}; choose a new or an empty folder")


def _is_part(file: Path) -> bool:
    """Say whether a file is a part of an earlier export."""
    if not re.fullmatch(r"part-\d{5,}\.parquet", file.name):
        return False
    try:
        return KEY in (pq.read_metadata(file).metadata or {})
    except (OSError, pa.ArrowException):
        return False


@contextmanager
def _temporary(folder: Path) -> Iterator[Path]:
    """Make a temporary folder next to the target, and remove those of dead processes."""
    for old in folder.parent.glob(f".{glob.escape(folder.name)}.export-*-*"):
        if _ended(old.name.rpartition("-")[2]):
            shutil.rmtree(old, ignore_errors=True)
    temporary = folder.with_name(f".{folder.name}.export-{secrets.token_hex(4)}-{os.getpid()}")
    temporary.mkdir()
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _ended(process: str) -> bool:
    """Say whether a process of this host has ended."""
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except (ValueError, PermissionError):
        return False
    return False


def _put(temporary: Path, folder: Path) -> None:
    """Give the new folder its name in one step; an earlier export gets the temporary one."""
    try:
        temporary.rename(folder)
    except OSError as error:
        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
            raise
        _exchange(temporary, folder)


def _exchange(one: Path, other: Path) -> None:
    """Exchange the names of two folders, in one step where the system can do that."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "renameat2"):
        names = os.fsencode(one), os.fsencode(other)
        if libc.renameat2(_HERE, names[0], _HERE, names[1], _EXCHANGE) == 0:
            return
    aside = one.with_name(one.name + ".old")
    other.rename(aside)
    one.rename(other)
    aside.rename(one)
