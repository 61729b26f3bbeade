"""Rows and a model -> a segment of codes.

Files: ``ids.npy``, int64[N] ascending; ``codes.npy``, uint8[N, W] packed as :mod:`aepipe.codes.bitcodes` says; where they are
kept, ``embedding.npy``, int8[N, H], as :mod:`aepipe.codes.encoder` has it.
"""

# (from keep.py) Known codes -> those that still stand for the rows of now.
# (from keep.py)
# (from keep.py) A row keeps its id when the bytes under its key change, and its old code would then be wrong.

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aepipe.codes import encoder as encoders
from aepipe.codes.bitcodes import n_bytes
from aepipe.codes.encoder import Encoder
from aepipe.log import step
from aepipe.pipeline.compact import join_codes
from aepipe.store import layout
from aepipe.store.artifacts import Ref, Store, ref_of
from aepipe.store.io import array_in
from aepipe.store.rows import Rows

VERSION = 2
BLOCK = 8192


def encode(store: Store, model: Ref, rows: Ref, *, known: Sequence[Ref] = (), embedding: bool = True) -> Ref:
    """Encode the rows that no known segment has.

    Args:
        store: the shelf.
        model: the encoder.
        rows: the collection.
        known: segments of codes that this encoder made earlier.
        embedding: keep the float embeddings, too, as bytes.
    """
    inputs = {"stage": "encode", "version": VERSION, "model": str(model), "rows": str(rows)}
    inputs |= {"known": ",".join(map(str, known)), "embedding": embedding}
    ref = ref_of("segment", inputs)
    if store.has(ref):
        return ref
    encoder = Encoder.open(store.verified(model))
    table = Rows(store.verified(rows))
    done = [np.load(store.verified(one) / layout.Codes.IDS, allow_pickle=False) for one in known]
    ids = np.setdiff1d(table.ids(), np.concatenate([np.empty(0, np.int64), *done]))
    with store.draft("segment") as draft:
        _encode(encoder, table, ids, draft.path, embedding=embedding)
        facts = {"kind": "codes", "fingerprint": encoder.fingerprint, "n_bits": encoder.n_bits, "rows": len(ids)}
        return draft.finish(inputs, facts)


def _encode(encoder: Encoder, table: Rows, ids: NDArray[np.int64], folder: Path, *, embedding: bool) -> None:
    """Write the codes of some rows, in the order of their ids, block by block."""
    np.save(folder / layout.Codes.IDS, ids)
    codes = array_in(folder / layout.Codes.CODES, np.uint8, (len(ids), n_bytes(encoder.n_bits)))
    finer = array_in(folder / encoders.FILE, np.int8, (len(ids), encoder.width)) if embedding else None
    seen = 0
    for block, items in table.batches(BLOCK):
        new = np.isin(block, ids, assume_unique=True)
        if new.any():
            found = encoder.encode(items[new], threads=os.cpu_count() or 1)
            places = np.searchsorted(ids, block[new])
            codes[places] = found.codes.packed
            if finer is not None:
                finer[places] = encoders.quantize(found.embedding)
        seen += len(block)
        step("encoding", seen, len(table))


MOST = 16
"""Segments that lie side by side; each night brings one."""


def reuse_codes(store: Store, codes: Sequence[Ref], *, before: Ref, after: Ref) -> list[Ref]:
    """Return segments of codes without those rows that have other bytes now; rows that have vanished do no harm.

    Where there are :data:`MOST` of them, they become one.

    Args:
        store: the shelf.
        codes: segments of a release.
        before: the rows of that release.
        after: the rows of now.
    """
    old, new = (Rows(store.verified(ref)) for ref in (before, after))
    old_ids, new_ids = old.ids(), new.ids()
    both, at_old, at_new = np.intersect1d(old_ids, new_ids, assume_unique=True, return_indices=True)
    changed = both[(old.sha256()[at_old] != new.sha256()[at_new]).any(axis=1)]
    ids_of = {ref: np.load(store.verified(ref) / layout.Codes.IDS, allow_pickle=False) for ref in codes}
    if len(codes) >= MOST:
        known = np.unique(np.concatenate(list(ids_of.values())))
        return [join_codes(store, codes, np.intersect1d(np.setdiff1d(both, changed), known))]
    kept = []
    for ref, ids in ids_of.items():
        stale = np.isin(ids, changed)
        kept.append(join_codes(store, [ref], ids[~stale]) if stale.any() else ref)
    return kept
