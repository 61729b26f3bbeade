"""Compact a release: merge its additions, drop removed rows, and build one index.

Nothing is learned, and the scores stay those of the release that was measured. No file of the new release holds a
removed row. Two parts of this serve other stages: :func:`merge_rows` gives a run all rows that it goes on from, and
:func:`merge_codes` joins segments of codes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aepipe import recipe
from aepipe.codes import encoder as encoders
from aepipe.log import step
from aepipe.pipeline.publish import Parts, publish
from aepipe.release.origin import recipe_file_of
from aepipe.release.release import Release
from aepipe.store import layout, reading
from aepipe.store.artifacts import Ref, Store, digest_of, ref_of
from aepipe.store.kept import key_hashes, within
from aepipe.store.rows import Rows
from aepipe.store.rows_writer import RowsWriter
from aepipe.store.segments import CodeSegments

VERSION = 1
ROWS_STAGE, CODES_STAGE = "fold.rows", "fold.codes"


def compact(store: Store, release: Release) -> Ref:
    """Build a release again from its present rows; return it unchanged where nothing changed.

    Raises:
        CorruptError: an artifact is damaged.
        FullError: the disk is full.
    """
    if not release.changed:
        return release.ref
    rows = merge_rows(store, release)
    codes = merge_codes(store, release.all_parts("codes"), release.items.ids)
    read = recipe.parse(release.recipe, store.path(release.ref) / layout.Release.MANIFEST)
    model, scores = release.part("encoder"), release.part("scores")
    made: Parts = {"rows": rows, "model": model, "codes": [codes], "scores": scores, "words": release.manifest.words}
    return publish(store, read, release.items.root, recipe_file=recipe_file_of(store, release.ref), **made)


def merge_rows(store: Store, release: Release) -> Ref:
    """Return all rows that a release has now as one table."""
    tables = release.all_parts("rows")
    return merge_tables(store, tables, release.removed) if release.changed else tables[0]


def merge_tables(store: Store, tables: Sequence[Ref], removed: NDArray[np.int64]) -> Ref:
    """Merge several tables of rows into one.

    Args:
        store: where artifacts are read and written.
        tables: with the same columns; each has only ids above those of the tables before it.
        removed: ids that are left out.
    """
    first = store.manifest(tables[0])
    # The next run reads here how the rows were decoded. The source stays empty, because no source gave just these rows.
    inputs = {"stage": ROWS_STAGE, "version": first.inputs.get("version"), "features": first.inputs.get("features")}
    inputs |= {"rows": [str(one) for one in tables], "removed": digest_of(removed.tolist()), "source": ""}
    ref = ref_of("rows", inputs)
    if store.reuse(ref):
        return ref
    parts = [Rows(store.verified(one)) for one in tables]
    with store.draft("rows") as draft:
        shape, columns, dtype = parts[0].shape, parts[0].own_schema, parts[0].dtype.name
        kept = min(part.kept for part in parts)
        with RowsWriter(draft.path, shape=shape, columns=columns, dtype=dtype, kept=kept) as writer:
            hashes = _copy_rows(parts, removed, writer, kept)
            # Ids of removed rows must not be given again, so the highest count of all tables goes on.
            next_id = max(part.next_id for part in parts)
            writer.close(source="", next_id=next_id, rejected=parts[0].quarantine())
        if kept < 1:
            np.save(draft.path / layout.Rows.HASHES, hashes)
        facts = Rows(draft.path).facts
        facts |= {name: first.facts[name] for name in ("location", *reading.NAMES) if name in first.facts}
        roots = sorted({root for one in tables for root in store.manifest(one).facts.get("roots", [])})
        facts |= {"roots": roots} if roots else {}
        return draft.finish(inputs, facts | {"new": 0, "changed": 0, "vanished": 0})


def _copy_rows(
    parts: Sequence[Rows], removed: NDArray[np.int64], writer: RowsWriter, kept: float
) -> NDArray[np.uint64]:
    """Copy all rows that were not removed, one row group at a time, with their features where they are to be kept.

    Returns:
        The hashes of their keys, uint64[N]; of none where all features are kept.
    """
    total, done, every = sum(map(len, parts)), 0, [np.empty(0, np.uint64)]
    for table in (group for part in parts for group in part.tables()):
        gone = pc.is_in(table.column("id"), value_set=pa.array(removed))
        left = table.filter(pc.invert(gone))
        if kept < 1:
            every.append(key_hashes(left.column("key").to_pylist(), len(left)))
            left = _without_features(left, ~within(every[-1], kept))
        writer.extend(left)
        done += len(table)
        step("rows", done, total)
    return np.concatenate(every)


def _without_features(table: pa.Table, which: NDArray[np.bool_]) -> pa.Table:
    """Return a table in which some rows, bool[n], have no features."""
    place = table.schema.get_field_index("features")
    none = pa.scalar(None, table.schema.field(place).type)
    return table.set_column(place, "features", pc.if_else(pa.array(which), none, table.column(place)))


def merge_codes(store: Store, segments: Sequence[Ref], ids: NDArray[np.int64]) -> Ref:
    """Merge codes of some rows into one segment; embeddings too, where all rows have one.

    Args:
        store: where artifacts are read and written.
        segments: of one encoder; together they hold the codes of these rows.
        ids: int64[N], ascending.
    """
    ids = np.asarray(ids)
    inputs = {"stage": CODES_STAGE, "version": VERSION, "codes": [str(one) for one in segments]}
    inputs |= {"ids": digest_of(ids.tolist())}
    ref = ref_of("segment", inputs)
    if store.reuse(ref):
        return ref
    held = CodeSegments.open(store, segments)
    with store.draft("segment") as draft:
        np.save(draft.path / layout.Codes.IDS, ids)
        np.save(draft.path / layout.Codes.CODES, held.of(ids).packed)
        if held.width is not None:
            held.embeddings_in(draft.path / encoders.FILE, ids)
        facts = {"kind": "codes", "fingerprint": held.fingerprint, "n_bits": held.n_bits, "rows": len(ids)}
        return draft.finish(inputs, facts)
