"""A release that rows were added to and removed from -> one that is built of what is left; nothing is learned.

What was removed is in none of its files. The scores stay those of the release that was measured.
"""

# (from folding.py) What a release was built of and what was added since, as one; what was removed is in none of it.

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aepipe import recipe
from aepipe.codes import encoder as encoders
from aepipe.log import step
from aepipe.pipeline.publish import publish
from aepipe.release.release import Release
from aepipe.store import layout
from aepipe.store.artifacts import Ref, Store, digest_of, ref_of
from aepipe.store.rows import Rows, RowsWriter
from aepipe.store.segments import CodeSegments

VERSION = 1
ROWS, JOINED_CODES = "fold.rows", "fold.codes"


def merge_rows(store: Store, release: Release) -> Ref:
    """Return all rows of a release as one table: those added since it was built are in it, those removed are not."""
    tables = release.all_parts("rows")
    return merge_codes(store, tables, release.removed) if release.changed else tables[0]


def merge_codes(store: Store, tables: Sequence[Ref], removed: NDArray[np.int64]) -> Ref:
    """Write rows of several tables into one.

    A run that goes on from it finds what it needs of its inputs: how the rows were decoded. Of a source it says
    nothing, for no source gave just these rows.

    Args:
        store: the shelf.
        tables: with the same columns, the ids of each above those before it.
        removed: ids that are left out.
    """
    first = store.manifest(tables[0])
    inputs = {"stage": ROWS, "version": first.inputs.get("version"), "features": first.inputs.get("features")}
    inputs |= {"rows": [str(one) for one in tables], "removed": digest_of(removed.tolist()), "source": ""}
    ref = ref_of("rows", inputs)
    if store.has(ref):
        return ref
    parts = [Rows(store.verified(one)) for one in tables]
    total, done = sum(map(len, parts)), 0
    with store.draft("rows") as draft:
        shape, columns, dtype = parts[0].shape, parts[0].own_schema, parts[0].dtype.name
        with RowsWriter(draft.path, shape=shape, columns=columns, dtype=dtype) as writer:
            for table in (group for part in parts for group in part.tables()):
                gone = pc.is_in(table.column("id"), value_set=pa.array(removed))
                writer.extend(table.filter(pc.invert(gone)))
                done += len(table)
                step("rows", done, total)
            next_id = max(part.next_id for part in parts)
            writer.close(source="", next_id=next_id, rejected=parts[0].quarantine())
        facts = {**Rows(draft.path).facts, "location": first.facts.get("location"), "skipped": 0}
        return draft.finish(inputs, facts | {"new": 0, "changed": 0, "vanished": 0})


def join_codes(store: Store, segments: Sequence[Ref], ids: NDArray[np.int64]) -> Ref:
    """Write the codes of some rows into one segment.

    Args:
        store: the shelf.
        segments: of one encoder, that have them.
        ids: int64[N], ascending.
    """
    inputs = {"stage": JOINED_CODES, "version": VERSION, "codes": [str(one) for one in segments]}
    inputs |= {"ids": digest_of(np.asarray(ids).tolist())}
    ref = ref_of("segment", inputs)
    if store.has(ref):
        return ref
    held = CodeSegments.open(store, segments)
    with store.draft("segment") as draft:
        _write_codes(held, np.asarray(ids), draft.path)
        facts = {"kind": "codes", "fingerprint": held.fingerprint, "n_bits": held.n_bits, "rows": len(ids)}
        return draft.finish(inputs, facts)


def _write_codes(held: CodeSegments, ids: NDArray[np.int64], folder: Path) -> None:
    """Write ids, codes, and embeddings where all rows have one."""
    np.save(folder / layout.Codes.IDS, ids)
    np.save(folder / layout.Codes.CODES, held.of(ids).packed)
    if held.width is not None:
        held.embeddings_in(folder / encoders.FILE, ids)


def compact(store: Store, release: Release) -> Ref:
    """Build a release anew of the rows that it has; the release itself where nothing has changed.

    Raises:
        CorruptError: something on the shelf is not what was written.
        FullError: the disk is full.
    """
    if not release.changed:
        return release.ref
    rows = merge_rows(store, release)
    codes = join_codes(store, release.all_parts("codes"), release.items.ids)
    read = recipe.parse(release.recipe, store.path(release.ref) / layout.Release.MANIFEST)
    model, scores = release.part("encoder"), release.part("scores")
    return publish(store, read, release.items.root, rows=rows, model=model, codes=[codes], scores=scores)
