"""Rows with their labels, as files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

from aepipe.errors import QueryError
from aepipe.store.io import check_target, replacing

ENDINGS = (".csv", ".parquet")
NAMES = ("id", "key", "label", "confidence")
Line: TypeAlias = tuple[int, str, str, float]
"""What is told of a row, in the order of :data:`NAMES`."""


def write(rows: Iterable[Line], file: Path) -> None:
    """Write labels as CSV or Parquet, a line for each row; the release stays as it is.

    Args:
        rows: with a label each.
        file: that is written.

    Raises:
        QueryError: rows are not written under that ending.
        TargetError: the file cannot be written.
        FullError: the disk is full.
    """
    if file.suffix.lower() not in ENDINGS:
        raise QueryError(f"{file}: labels are written under {' or '.join(ENDINGS)}")
    check_target(file)
    with replacing(file) as beside:
        (_write_csv if file.suffix.lower() == ".csv" else _write_parquet)(rows, beside)


def _write_csv(rows: Iterable[Line], file: Path) -> None:
    import csv

    with file.open("w", encoding="utf-8", newline="") as stream:
        plain = csv.writer(stream, lineterminator="\n")
        plain.writerow(NAMES)
        plain.writerows(rows)


def _write_parquet(rows: Iterable[Line], file: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    kinds = (pa.int64(), pa.string(), pa.dictionary(pa.int32(), pa.string()), pa.float32())
    columns = list(zip(*rows, strict=True)) or [()] * len(NAMES)
    table = pa.table([pa.array(one, kind) for one, kind in zip(columns, kinds, strict=True)], names=list(NAMES))
    parquet.write_table(table, file)
