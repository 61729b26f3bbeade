"""Rows and a model -> a segment of codes.

Files: ``ids.npy``, int64[N] ascending; ``codes.npy``, uint8[N, W] packed as :mod:`aepipe.bits` says; where they are
kept, ``embedding.npy``, int8[N, H], as :mod:`aepipe.embeddings` has it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aepipe import embeddings
from aepipe.bits import n_bytes
from aepipe.disk import array_in
from aepipe.encoder import Encoder
from aepipe.progress import step
from aepipe.segments import CODES, IDS
from aepipe.store import Ref, Store, ref_of
from aepipe.table import Rows

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
    done = [np.load(store.verified(one) / IDS, allow_pickle=False) for one in known]
    ids = np.setdiff1d(table.ids(), np.concatenate([np.empty(0, np.int64), *done]))
    with store.draft("segment") as draft:
        _encode(encoder, table, ids, draft.path, embedding=embedding)
        facts = {"kind": "codes", "fingerprint": encoder.fingerprint, "n_bits": encoder.n_bits, "rows": len(ids)}
        return draft.finish(inputs, facts)


def _encode(encoder: Encoder, table: Rows, ids: NDArray[np.int64], folder: Path, *, embedding: bool) -> None:
    """Write the codes of some rows, in the order of their ids, block by block."""
    np.save(folder / IDS, ids)
    codes = array_in(folder / CODES, np.uint8, (len(ids), n_bytes(encoder.n_bits)))
    finer = array_in(folder / embeddings.FILE, np.int8, (len(ids), encoder.width)) if embedding else None
    seen = 0
    for block, items in table.batches(BLOCK):
        new = np.isin(block, ids, assume_unique=True)
        if new.any():
            found = encoder.encode(items[new], threads=os.cpu_count() or 1)
            places = np.searchsorted(ids, block[new])
            codes[places] = found.codes.packed
            if finer is not None:
                finer[places] = embeddings.quantize(found.embedding)
        seen += len(block)
        step("encoding", seen, len(table))
