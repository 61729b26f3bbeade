"""Find rows of a release that are nearly the same, in groups around the first of each.

Rows are alike in one of three ways, from the narrowest to the widest:

- ``identical``: the same bytes; of pictures, or the same pixels;
- ``copies``: the same picture, edited: resized, saved again, cropped, turned, mirrored, captioned, brighter;
- ``content``: near codes, whatever the code of the release stands for.

Legend: N rows in all, n rows in groups, G groups.
"""

from __future__ import annotations

import json
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import get_args

import numpy as np

from aepipe.errors import QueryError
from aepipe.index import near_duplicates
from aepipe.index.postings import group
from aepipe.release.groups import CONTENT, FIRST, Alike, Groups, arranged
from aepipe.release.keep import BEST, Order, marked, order_named
from aepipe.release.originals import check_output
from aepipe.release.release import Release
from aepipe.release.twins import twins
from aepipe.sources import has_pictures
from aepipe.store.labels import shown

SCHEMA = 2
KEY = b"aepipe"
RADIUS = 3


def search(
    release: Release,
    alike: Alike | None = None,
    radius: int | None = None,
    *,
    smallest: int = 2,
    out: str | PathLike[str] | None = None,
    keep: str = BEST,
) -> Groups:
    """Find the groups of rows that are alike in one way.

    Args:
        release: whose rows are grouped.
        alike: the way; else ``content`` where there is a radius or rows are no pictures, and ``copies`` of pictures.
        radius: in bits, for ``content``; 3 where there is none.
        smallest: rows that a group has at least.
        out: a file of Parquet to write, see :func:`write`.
        keep: the order that marks rows in it, see :func:`aepipe.release.keep.order_named`.

    Raises:
        QueryError: there is no such way or order, the way has no radius, rows are no pictures, or as :func:`find` and
            :func:`write` do.
        TargetError: the file is one of the collection.
    """
    order = order_named(keep)
    check_output(Path(out) if out is not None else None, release=release)
    if out is not None:
        import_module("pyarrow.parquet")  # where it is missing, that is said before the search, not after
    found = _search(release, alike, radius, smallest)
    if out is not None:
        write(release, found, Path(out), order)
    return found


def usual_way(release: Release, radius: int | None) -> Alike:
    """Return how rows are compared where nobody says it.

    Pictures are compared as copies, rows of tables by their values: those with near codes are alike, and not the same.
    With a radius, and all else, by their codes.
    """
    kind = release.recipe["source"]["kind"]
    if radius is not None:
        return "content"
    return "copies" if has_pictures(kind) else "identical" if kind == "table" else "content"


def _search(release: Release, alike: Alike | None, radius: int | None, smallest: int) -> Groups:
    chosen = alike or usual_way(release, radius)
    if chosen not in get_args(Alike):
        raise QueryError(f"rows cannot be alike as {chosen!r}: allowed: {', '.join(get_args(Alike))}")
    if chosen == "content":
        return find(release, RADIUS if radius is None else radius, smallest=smallest)
    if radius is not None:
        raise QueryError(f"a radius is of codes: allowed with --alike content, not with {chosen}")
    if chosen == "copies" and not has_pictures(release.recipe["source"]["kind"]):
        raise QueryError("edited copies are found among pictures; allowed here: --alike identical or content")
    _check_smallest(smallest)
    return twins(release, chosen, smallest)


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
    _check_smallest(smallest)
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
    order, offsets = arranged(founder, distances, ids)
    relations = np.full(len(order), CONTENT, object)
    relations[offsets[:-1]] = FIRST
    return Groups(ids[order], distances[order], offsets, radius, len(all_ids), "content", tuple(relations.tolist()))


def _check_smallest(smallest: int) -> None:
    if smallest < 2:
        raise QueryError(f"groups of at least {smallest} rows: a group has 2 or more")


def write(release: Release, found: Groups, file: Path, order: Order | None = None) -> None:
    """Write groups as Parquet, a line for each row.

    Columns: ``group``, ``id``, ``key``, ``label``, ``distance``, ``size``, ``mark``, ``alike``.

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
        "alike": pa.array(found.relations, pa.string()),
    }
    metadata = {"schema": SCHEMA, "name": release.name, "fingerprint": release.fingerprint, "radius": found.radius}
    metadata |= {"alike": found.alike}
    table = pa.table(columns).replace_schema_metadata({KEY: json.dumps(metadata).encode()})
    try:
        pq.write_table(table, file, compression="zstd")
    except OSError as error:
        raise QueryError(f"{file}: cannot be written: {error.strerror or error}") from None
