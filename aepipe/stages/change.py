"""A release, and rows that have come or gone -> a release of the same parts, and of what has changed.

Nothing is learned and nothing is built: added rows have segments of their own (rows, codes, items), and one of
``changes`` holds ``index/``, what :class:`aepipe.index.updated.Updated` keeps beside an index, and ``removed.npy``, the
ids of all rows that were removed. So it takes as long as the changes are large, and not the collection. Where there
are :data:`MOST` additions, they become one; :mod:`aepipe.stages.compact` folds everything into a new build.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aepipe.errors import QueryError
from aepipe.folding import join, join_codes
from aepipe.index.updated import Updated
from aepipe.keys import Items
from aepipe.parts import CHANGED_INDEX, CHANGED_SCHEMA, RELEASE, REMOVED, read_body
from aepipe.release import Release
from aepipe.stages.publish import items
from aepipe.store import Ref, Store, digest_of
from aepipe.table import Rows

VERSION = 1
STAGE = "change"
MOST = 16
"""Additions that lie side by side: a query looks an id up in each."""


def remove(store: Store, release: Release, ids: NDArray[np.int64]) -> Ref:
    """Remove rows from a release, and return the release without them.

    Their bytes leave the shelf when the changes are folded in and the releases before that are gone.

    Args:
        store: the shelf.
        release: in service.
        ids: int64[n] of rows.

    Raises:
        QueryError: there is no such row, none is named, or none would be left.
    """
    ids = np.unique(np.asarray(ids, np.int64))
    if not len(ids):
        raise QueryError("nothing is removed: no row is named")
    release.items.check(ids)
    if len(ids) == len(release):
        raise QueryError(f"{release.name}: these are all of its {len(ids):,} rows, and a collection needs some")
    return publish_changes(store, release, without(release, ids), np.union1d(release.removed, ids), [])


def without(release: Release, ids: NDArray[np.int64]) -> Updated:
    """Return the release's index without some rows; those that the recipe left out of it are not in it anyway."""
    index = release.index
    updated = index if isinstance(index, Updated) else Updated(index)
    return updated.remove(ids[updated.holds(ids)])


def publish_changes(
    store: Store,
    release: Release,
    index: Updated,
    removed: NDArray[np.int64],
    added: Sequence[tuple[Ref, Ref]],
) -> Ref:
    """Write a release that has changed.

    Args:
        store: the shelf.
        release: what it was before.
        index: of now.
        removed: ids of all rows that are gone since it was built.
        added: rows and codes of what has come.
    """
    body = read_body(store, release.ref)
    base = body["codes"][: len(body["codes"]) - len(body.get("more_rows", ()))]
    rows = [*release.all_parts("rows")[1:], *(one for one, _ in added)]
    codes = [*release.all_parts("codes")[len(base) :], *(one for _, one in added)]
    if len(rows) > MOST:
        rows, codes = _joined(store, rows, codes, removed)
        removed = removed[Items(release.folder("items")).places(removed)[1]]
    held = [items(store, one, release.items.root) for one in rows]
    inputs = {"stage": STAGE, "version": VERSION, "release": str(release.ref), "removed": digest_of(removed.tolist())}
    inputs |= {"rows": [str(one) for one in rows]}
    facts = {"fingerprint": release.fingerprint, "n_bits": release.n_bits, "rows": len(index)}
    with store.draft("segment") as draft:
        (draft.path / CHANGED_INDEX).mkdir()
        index.save_changes(draft.path / CHANGED_INDEX)
        np.save(draft.path / REMOVED, removed)
        counts = {"added": len(index.delta or ()), "removed": len(index.removed)}
        changes = draft.finish(inputs, {"kind": "changes", **facts, **counts})
    body |= {"schema": CHANGED_SCHEMA, "rows": len(index), "codes": [*base, *map(str, codes)]}
    body |= {"more_items": list(map(str, held)), "more_rows": list(map(str, rows)), "changes": str(changes)}
    given = [Rows(store.path(one)).next_id for one in [release.part("rows"), *rows]]
    given.append(store.manifest(release.ref).facts.get("next_id", 0))
    with store.draft("release") as draft:
        (draft.path / RELEASE).write_text(json.dumps(body, indent=1), encoding="utf-8")
        return draft.finish({"stage": STAGE, **body}, {"name": release.name, **facts, "next_id": max(given)})


def _joined(
    store: Store, rows: Sequence[Ref], codes: Sequence[Ref], removed: NDArray[np.int64]
) -> tuple[list[Ref], list[Ref]]:
    """Return all that was added and is left as one addition, or as none."""
    joined = join(store, rows, removed)
    ids = Rows(store.path(joined)).ids()
    return ([joined], [join_codes(store, codes, ids)]) if len(ids) else ([], [])
