"""Export a release as one file, in the format of its ending.

In text, embeddings are lists of numbers, and the bytes of codes are in hex.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from aepipe.errors import QueryError
from aepipe.log import step
from aepipe.pipeline.export import swap
from aepipe.pipeline.export.parquet import parquet_writer
from aepipe.pipeline.export.rows import Exported, Exporting
from aepipe.release.originals import check_output
from aepipe.release.release import Release
from aepipe.store.artifacts import Ref, Store
from aepipe.store.io import check_target, disk_errors_named

Put = Callable[[pa.Table], object]


def export_file(
    store: Store, release: Ref, file: Path, *, n_bits: int | None = None, embeddings: bool = True
) -> Exported:
    """Write a release as one file, in the format of its ending, one of :data:`ENDINGS`.

    Args:
        store: where artifacts are read and written.
        release: any release, in service or not.
        file: to be written.
        n_bits: write only the first bits of the codes; None writes all.
        embeddings: false leaves the embeddings out; then nothing is encoded.

    Raises:
        TargetError: the file is one of the collection.
        QueryError: rows are not written under such an ending, or the codes have fewer bits.
        CorruptError: an artifact is damaged, or the encoder gives other codes than the stored ones.
        FullError: the disk is full.
    """
    file = file.expanduser().absolute()
    if file.suffix.lower() not in ENDINGS:
        raise QueryError(f"{file}: rows are not written under that ending; allowed: {', '.join(ENDINGS)}")
    check_target(file)
    check_output(file, release=Release.open(store, ref=release))
    exporting = Exporting.of(store, release, n_bits=n_bits, embeddings=embeddings)
    with disk_errors_named(file.parent), swap.temporary_folder(file) as temporary:
        made, done = temporary / file.name, 0
        with ENDINGS[file.suffix.lower()](made, exporting.layout.schema) as put:
            for group in exporting.groups():
                put(group)
                done += len(group)
                step("export", done, len(exporting.rows))
        swap.synced(made)
        made.replace(file)
    return Exported(file.parent, (file.name,), len(exporting.rows))


@contextmanager
def _parquet(file: Path, schema: pa.Schema) -> Iterator[Put]:
    with parquet_writer(file, schema) as writer:
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
    if "embedding" in row:
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
