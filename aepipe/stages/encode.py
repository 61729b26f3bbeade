"""Rows and a model -> a segment of codes.

Files: ``ids.npy``, int64[N] ascending; ``codes.npy``, uint8[N, W] packed as :mod:`aepipe.bits` says.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aepipe.encoder import Encoder
from aepipe.progress import step
from aepipe.store import Ref, Store, ref_of
from aepipe.table import Rows

VERSION = 1
BLOCK = 8192


def encode(store: Store, model: Ref, rows: Ref, *, known: Sequence[Ref] = ()) -> Ref:
    """Encode the rows that no known segment has.

    Args:
        store: the shelf.
        model: the encoder.
        rows: the collection.
        known: segments of codes that this encoder made earlier.
    """
    inputs = {"stage": "encode", "version": VERSION, "model": str(model), "rows": str(rows)}
    inputs |= {"known": ",".join(map(str, known))}
    ref = ref_of("segment", inputs)
    if store.has(ref):
        return ref
    encoder = Encoder.open(store.verified(model))
    table = Rows(store.verified(rows))
    done = [np.load(store.verified(one) / "ids.npy", allow_pickle=False) for one in known]
    ids, codes = _encode(encoder, table, np.concatenate([np.empty(0, np.int64), *done]))
    order = np.argsort(ids)
    with store.draft("segment") as draft:
        np.save(draft.path / "ids.npy", ids[order])
        np.save(draft.path / "codes.npy", codes[order])
        facts = {"kind": "codes", "fingerprint": encoder.fingerprint, "n_bits": encoder.n_bits, "rows": len(ids)}
        return draft.finish(inputs, facts)


def _encode(encoder: Encoder, table: Rows, known: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Return ids and packed codes of the rows that are not known, in the table's order."""
    all_ids: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
    all_codes: list[NDArray[np.uint8]] = [np.empty((0, -(-encoder.n_bits // 8)), np.uint8)]
    seen = 0
    for ids, items in table.batches(BLOCK):
        new = ~np.isin(ids, known)
        if new.any():
            all_ids.append(ids[new])
            all_codes.append(encoder.encode(items[new], threads=os.cpu_count() or 1).codes.packed)
        seen += len(ids)
        step("encoding", seen, len(table))
    return np.concatenate(all_ids), np.concatenate(all_codes)
