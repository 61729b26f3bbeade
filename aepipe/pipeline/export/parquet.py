"""Export a release for SQL and data frames: Parquet in a folder.

Files: ``part-00000.parquet`` and so on, of at most a million rows each. Columns: ``id``, ``key``, the source's own
columns, ``label``, ``split``, ``embedding`` (the encoder's float vector), ``code`` (its bytes) and ``code_u64_0``, ...
(its 64-bit words), so that ``bit_count(xor(code_u64_0, ?))::INT`` is a Hamming distance. The files' metadata describes
the codes under the key ``aepipe``.
"""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from aepipe.log import step
from aepipe.pipeline.export import swap
from aepipe.pipeline.export.rows import KEY, Exported, Exporting
from aepipe.release.originals import check_output
from aepipe.release.release import Release
from aepipe.store.artifacts import Ref, Store
from aepipe.store.io import disk_errors_named

PART_ROWS = 1_000_000


def export(store: Store, release: Ref, folder: Path, *, n_bits: int | None = None, embeddings: bool = True) -> Exported:
    """Write a release as Parquet; an earlier export in the folder is replaced as a whole.

    The encoder computes embeddings and codes once more, and the codes must equal the stored ones. Memory holds one row
    group.

    Args:
        store: where artifacts are read and written.
        release: any release, in service or not.
        folder: missing, empty, or an earlier export.
        n_bits: write only the first bits of the codes; None writes all.
        embeddings: false leaves the embeddings out; then nothing is encoded.

    Raises:
        TargetError: the earlier export is what the collection was made from.
        QueryError: the folder holds anything else, or the codes have fewer bits.
        CorruptError: an artifact is damaged, or the encoder gives other codes than the stored ones.
        FullError: the disk is full.
    """
    folder = folder.expanduser().absolute()
    swap.check_folder(folder, _is_part)
    held = folder.iterdir() if folder.is_dir() else ()
    check_output(*held, release=Release.open(store, ref=release))
    exporting = Exporting.of(store, release, n_bits=n_bits, embeddings=embeddings)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with disk_errors_named(folder.parent), swap.temporary_folder(folder) as temporary:
        files = _write(exporting, temporary)
        swap.check_folder(folder, _is_part)  # somebody may have put files there meanwhile
        swap.put(temporary, folder)
    return Exported(folder, tuple(files), len(exporting.rows))


def parquet_writer(file: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """Open one part; floats are split into byte streams, because zstd compresses these better."""
    dense = {"id", "key", "embedding", "code"} | {name for name in schema.names if name.startswith("code_u64_")}
    floats = ["embedding.list.element"] if "embedding" in schema.names else []
    return pq.ParquetWriter(
        file,
        schema,
        compression="zstd",
        use_dictionary=[name for name in schema.names if name not in dense],
        column_encoding=dict.fromkeys(floats, "BYTE_STREAM_SPLIT"),
    )


def _write(exporting: Exporting, folder: Path) -> list[str]:
    """Write all parts, sync them to the disk, and return their names."""
    files: list[str] = []
    writer, in_part, done = None, 0, 0
    try:
        for group in exporting.groups():
            if writer is None or in_part + len(group) > PART_ROWS:
                if writer is not None:
                    writer.close()
                files.append(f"part-{len(files):05d}.parquet")
                writer, in_part = parquet_writer(folder / files[-1], group.schema), 0
            writer.write_table(group, row_group_size=max(1, len(group)))
            in_part, done = in_part + len(group), done + len(group)
            step("export", done, len(exporting.rows))
    finally:
        if writer is not None:
            writer.close()
    for file in files:
        swap.synced(folder / file)
    return files


def _is_part(file: Path) -> bool:
    """Say whether a file is a part of an earlier export."""
    if not re.fullmatch(r"part-\d{5,}\.parquet", file.name):
        return False
    try:
        return KEY in (pq.read_metadata(file).metadata or {})
    except (OSError, pa.ArrowException):
        return False
