"""Known codes -> those that still stand for the rows of now.

A row keeps its id when the bytes under its key change, and its old code would then be wrong.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aepipe.folding import join_codes
from aepipe.segments import IDS
from aepipe.store import Ref, Store
from aepipe.table import Rows

MOST = 16
"""Segments that lie side by side; each night brings one."""


def keep(store: Store, codes: Sequence[Ref], *, before: Ref, after: Ref) -> list[Ref]:
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
    ids_of = {ref: np.load(store.verified(ref) / IDS, allow_pickle=False) for ref in codes}
    if len(codes) >= MOST:
        known = np.unique(np.concatenate(list(ids_of.values())))
        return [join_codes(store, codes, np.intersect1d(np.setdiff1d(both, changed), known))]
    kept = []
    for ref, ids in ids_of.items():
        stale = np.isin(ids, changed)
        kept.append(join_codes(store, [ref], ids[~stale]) if stale.any() else ref)
    return kept
