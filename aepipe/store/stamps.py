"""Stamps of files: as long as a file has the stamp that it had, its bytes need not be read.

A file of the store has those of the rows that the last run of a collection got. It may be lost: then all is read again.

Legend: N rows.
"""

from __future__ import annotations

import hashlib
import json

import numpy as np
from numpy.typing import NDArray

from aepipe.store import layout
from aepipe.store.artifacts import Ref, Store


def keep(store: Store, name: str, rows: Ref, stamps: NDArray[np.uint64]) -> None:
    """Keep the stamps of rows.

    Args:
        store: of the collection.
        name: of the collection.
        rows: that the run got.
        stamps: uint64[N], of :meth:`aepipe.sources.listing.Stamps.of`.
    """
    data = np.ascontiguousarray(stamps, "<u8").tobytes()
    head = json.dumps({"rows": str(rows), "sha256": hashlib.sha256(data).hexdigest()})
    store.backend.write(layout.Root.stamps(name), head.encode() + b"\n" + data)


def of_rows(store: Store, name: str, rows: Ref) -> NDArray[np.uint64] | None:
    """Return the stamps of rows, uint64[N]; None where they are not known, or not what was written."""
    try:
        head, _, data = store.backend.read(layout.Root.stamps(name)).partition(b"\n")
        said = json.loads(head)
    except (OSError, ValueError):
        return None
    if said != {"rows": str(rows), "sha256": hashlib.sha256(data).hexdigest()} or len(data) % 8:
        return None
    return np.frombuffer(data, "<u8")
