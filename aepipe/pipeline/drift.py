"""Measure drift of new rows from the rows that the encoder was trained on; write nothing.

The reference is the training rows that were held out: they come from the same time as the rows that the encoder was
trained on, but it never saw them. New rows are training rows that came later, or whose bytes have changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from aepipe.codes.encoder import Decoder
from aepipe.evaluate.drift import Drift, drift
from aepipe.index import hamming
from aepipe.store import layout
from aepipe.store.artifacts import Ref, Store
from aepipe.store.rows import Rows
from aepipe.store.segments import CodeSegments

MOST = 2000
"""Rows sampled from each side."""


def measure_drift(store: Store, model: Ref, before: Ref, rows: Ref, codes: Sequence[Ref]) -> Drift:
    """Compare new rows with the held-out ones.

    Args:
        store: where artifacts are read and written.
        model: of the release in service.
        before: rows of that release.
        rows: the present rows.
        codes: segments by that model that together hold the codes of the present rows.

    Raises:
        CorruptError: an artifact is damaged, or a row has no code.
    """
    then, now = Rows(store.verified(before)), Rows(store.verified(rows))
    held_out, trained, share = _training(store, model, then)
    ids, same, there = now.ids(), _unchanged(then, now), now.sampled(share) & now.with_features
    new = ids[now.of_split("train") & there & ((ids >= trained) | ~np.isin(ids, same))]
    held_out = np.intersect1d(held_out, same[np.isin(same, ids[there])])
    # Neither sample is searched itself: a row would find itself, or the rows that came with it.
    known = np.setdiff1d(same, np.concatenate([held_out, new]))
    if not (len(held_out) and len(new) and len(known)):
        return Drift((), len(held_out), len(new))
    # A fixed seed: the same rows give the same verdict, however often a night is run.
    segments, rng = CodeSegments.open(store, codes), np.random.default_rng(0)
    near, decoder = hamming.build(segments.of(known), known), Decoder.open(store.verified(model))
    sides = []
    for some in (held_out, new):
        drawn = rng.choice(some, min(MOST, len(some)), replace=False)
        sides.append(_figures(now, drawn, segments, near, decoder))
    return drift(*sides)


def _unchanged(then: Rows, now: Rows) -> NDArray[np.int64]:
    both, at_then, at_now = np.intersect1d(then.ids(), now.ids(), assume_unique=True, return_indices=True)
    same: NDArray[np.int64] = both[(then.sha256()[at_then] == now.sha256()[at_now]).all(axis=1)]
    return same


def _training(store: Store, model: Ref, rows: Rows) -> tuple[NDArray[np.int64], int, float]:
    """Return the ids of the held-out rows, the first id given after training, and the share of the rows in it.

    Where the views are gone, the held-out rows are not known, and no row counts as later.
    """
    text = store.manifest(model).inputs.get("views", "")
    if not text or not store.reuse(Ref.parse(text)):
        return np.zeros(0, np.int64), rows.next_id, 1.0
    views = Ref.parse(text)
    held_out: NDArray[np.int64] = np.load(store.verified(views) / layout.Views.HELD_OUT_IDS, allow_pickle=False)
    made = store.manifest(views)
    share = float(made.inputs.get("views", {}).get("sample", 1.0))
    return np.intersect1d(held_out, rows.ids()), int(made.facts.get("next_id", rows.next_id)), share


def _figures(
    table: Rows, ids: NDArray[np.int64], codes: CodeSegments, known: hamming.HammingIndex, decoder: Decoder | None
) -> Mapping[str, NDArray[np.generic]]:
    """Return the figures of some rows, one value for each row.

    ``bits`` of the code; ``distance`` in bits to the nearest known row; ``error`` of the row rebuilt from its bits;
    ``level`` and ``spread``, mean and standard deviation of the row's own numbers.
    """
    chosen = np.isin(table.ids(), ids)
    features, packed = table.features(mask=chosen), codes.of(table.ids()[chosen])
    flat = np.nan_to_num(features.reshape(len(features), -1).astype(np.float32))
    found: dict[str, NDArray[np.generic]] = {"bits": packed.unpack()}
    found["distance"] = known.search(packed, 1).distances[:, 0]
    if decoder is not None:
        found["error"] = decoder.errors(features, packed)
    return found | {"level": flat.mean(axis=1), "spread": flat.std(axis=1)}
