"""The facts of reading a source: files passed over, unreadable items, and guesses.

Rows keep these facts in their manifest. A run that gets the rows of before writes none, so the facts of the last run of
a collection lie in a file of the store as well, and count as long as its rows are in use.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aepipe.errors import StoreError
from aepipe.store import layout
from aepipe.store.artifacts import Ref, Store

NAMES = ("files", "skipped", "passed_over", "unreadable", "left_out", "notes", "backbone")
"""Facts of rows that are about reading: files that were read, files passed over (how many, and by reason), unreadable
items by reason, columns that are not learned from, guesses in words, and what the folder of a frozen network says."""


def keep(store: Store, name: str, rows: Ref, facts: Mapping[str, Any]) -> None:
    """Keep what the last run of a collection read.

    Args:
        store: of the collection.
        name: of the collection.
        rows: that the run got.
        facts: those of :data:`NAMES`.
    """
    store.backend.write(layout.Root.reading(name), json.dumps({"rows": str(rows), **facts}, indent=1).encode())


def _last(store: Store, name: str) -> dict[str, Any]:
    try:
        found = json.loads(store.backend.read(layout.Root.reading(name)))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def facts_of(store: Store, name: str, rows: Ref) -> dict[str, Any]:
    """Return the facts of the last run where it got these rows, else of the run that made them.

    Returns:
        Those of :data:`NAMES` that are known; stores of earlier versions know few. ``list`` is the file with all names.
    """
    found, listed = _last(store, name), None
    if found.pop("rows", None) != str(rows):
        try:
            found = store.manifest(rows).facts
        except StoreError:  # the rows are gone or damaged, of which others tell
            return {}
        listed = store.output(rows, layout.Rows.QUARANTINE)
    else:
        listed = store.backend.file(layout.Root.quarantine(name))
    known = {key: found[key] for key in NAMES if key in found}
    return known | {"list": str(listed) if listed is not None and listed.exists() else None}
