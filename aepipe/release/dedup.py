"""Find rows of a release that are nearly the same, in groups around the first of each.

Legend: N rows in all, n rows in groups, G groups.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aepipe.errors import QueryError
from aepipe.index import near_duplicates
from aepipe.index.hits import RaggedHits
from aepipe.index.postings import group
from aepipe.release.keep import BEST, Order, marked, order_named
from aepipe.release.release import Release
from aepipe.store.labels import shown

SCHEMA = 1
KEY = b"aepipe"


@dataclass(frozen=True, slots=True, eq=False)
class Groups(RaggedHits):
    """Groups of near rows, the largest first; equally large ones in the order of their ids.

    A group holds the hits of its first row, itself among them: ids and distances, one group after another.

    Attributes:
        radius: bits by which a row may differ from the first of its group.
        rows: N.
    """

    radius: int
    rows: int

    def __iter__(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint16]]]:
        return (self.of(place) for place in range(len(self)))

    def summary(self) -> str:
        """Return the counts in a sentence."""
        if not len(self):
            return f"no two of {self.rows:,} rows are at most {self.radius} bits apart"
        gone = len(self.ids) - len(self)
        return (
            f"{len(self.ids):,} of {self.rows:,} rows are in {len(self):,} groups; "
            f"to keep one of each would remove {gone:,}"
        )


def find(release: Release, radius: int, *, smallest: int = 2) -> Groups:
    """Find the groups of a release's rows.

    Rows are taken in the order of their ids. One within the radius of the first row of a group joins it, else it starts
    a group; so no row is farther than the radius from the first of its group, and no two firsts are within it.

    Args:
        release: whose rows are grouped.
        radius: in bits; 0 finds rows with equal codes.
        smallest: rows that a group has at least.

    Raises:
        QueryError: the radius is not in 0..K, or groups of fewer than 2 rows are asked for.
    """
    if not 0 <= radius <= release.n_bits:
        raise QueryError(f"a radius of {radius} bits: codes of {release.name} have {release.n_bits}, so 0 to that")
    if smallest < 2:
        raise QueryError(f"groups of at least {smallest} rows: a group has 2 or more")
    all_ids = np.asarray(release.items.ids)
    codes, postings = group(release.segments.of(all_ids), all_ids)
    first, far = near_duplicates.groups(codes, radius)
    sizes = np.diff(postings.offsets)
    founder, distances = np.repeat(first, sizes), np.repeat(far, sizes)
    ids = np.asarray(postings.ids)
    count = np.bincount(founder, minlength=len(codes))
    kept = count[founder] >= smallest
    founder, distances, ids = founder[kept], distances[kept], ids[kept]
    # Distinct codes are in the order of their smallest ids, so the numbers of founders are in the order of ids, too.
    order = np.lexsort((ids, distances, founder, -count[founder]))
    changes = np.nonzero(np.diff(founder[order]))[0] + 1
    offsets = np.concatenate([np.zeros(min(len(order), 1), np.int64), changes, np.array([len(order)])])
    return Groups(ids[order], distances[order], offsets, radius, len(all_ids))


def write(release: Release, found: Groups, file: Path, order: Order | None = None) -> None:
    """Write groups as Parquet, a line for each row.

    Columns: ``group``, ``id``, ``key``, ``label``, ``distance``, ``size``, ``mark``.

    Args:
        release: whose rows are grouped.
        found: its groups.
        file: that is written.
        order: by which rows are marked; see :func:`aepipe.release.keep.order_named`.

    Raises:
        QueryError: the file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    sizes, chosen = np.diff(found.offsets), order or order_named(BEST)
    columns = {
        "group": pa.array(np.repeat(np.arange(len(found)), sizes), pa.int64()),
        "id": pa.array(found.ids, pa.int64()),
        "key": pa.array(release.items.texts("key", found.ids), pa.string()),
        "label": pa.array([shown(label) for label in release.items.texts("label", found.ids)], pa.string()),
        "distance": pa.array(found.distances, pa.uint16()),
        "size": pa.array(np.repeat(sizes, sizes), pa.int64()),
        "mark": pa.array([mark for ids, _ in found for _, mark in marked(release, ids.tolist(), chosen)], pa.string()),
    }
    metadata = {"schema": SCHEMA, "name": release.name, "fingerprint": release.fingerprint, "radius": found.radius}
    table = pa.table(columns).replace_schema_metadata({KEY: json.dumps(metadata).encode()})
    try:
        pq.write_table(table, file, compression="zstd")
    except OSError as error:
        raise QueryError(f"{file}: cannot be written: {error.strerror or error}") from None
