"""What a row is, and the columns and files it is written to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

VERSION = 1
DESCRIPTION = "rows.json"
QUARANTINE = "quarantine.parquet"
HELD_OUT_IDS = "held_out_ids.npy"
"""Beside the views of a recipe: the training rows that it was not trained on."""
FIXED = ("id", "key", "sha256", "place", "label", "split", "features")


@dataclass(frozen=True, slots=True)
class Row:
    """One item.

    Attributes:
        id: given once per collection.
        key: unique.
        sha256: of the item's bytes, 32 bytes.
        place: where the bytes are.
        split: ``train``, ``test``, ...
        features: one row's elements.
        label: its class, if known.
        columns: the source's own columns.
    """

    id: int
    key: str
    sha256: bytes
    place: str
    split: str
    features: NDArray[np.generic]
    label: str | None = None
    columns: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rejected:
    """One item that could not be read, and why."""

    key: str
    place: str
    reason: str


def own_names(names: Iterable[str]) -> dict[str, str]:
    """Return under which name each of the source's own columns is written: its own, unless that is one of ours."""
    taken = {*FIXED, *(names := list(names))}
    written = {}
    for name in names:
        new = name
        while new in FIXED or (new != name and new in taken):
            new = f"source_{new}"
        written[name] = new
        taken.add(new)
    return written


def schema_of(columns: pa.Schema, names: Mapping[str, str], width: int) -> pa.Schema:
    """Return the schema of the rows."""
    text = pa.string()
    own = [pa.field(written, columns.field(name).type) for name, written in names.items()]
    head = [pa.field("id", pa.int64(), nullable=False), pa.field("key", text, nullable=False)]
    head += [pa.field("sha256", pa.binary(32), nullable=False), pa.field("place", text, nullable=False)]
    head += [pa.field("label", text), pa.field("split", text, nullable=False)]
    return pa.schema([*head, *own, pa.field("features", pa.binary(width), nullable=False)])
