"""Known codes -> those that still stand for the rows of now; writes nothing.

A row keeps its id when the bytes under its key change, and its old code would then be wrong.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aepipe.segments import IDS
from aepipe.store import Ref, Store
from aepipe.table import Rows


def keep(store: Store, codes: Sequence[Ref], *, before: Ref, after: Ref) -> list[Ref]:
    """Return the segments of codes in which no row has other bytes now; rows that have vanished do no harm.

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
    ids_of = {ref: np.load(store.verified(ref) / IDS, mmap_mode="r", allow_pickle=False) for ref in codes}
    return [ref for ref, ids in ids_of.items() if not np.isin(changed, ids).any()]
