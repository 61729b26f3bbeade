"""What a run read of its source: the items, what was passed over or could not be read, and what was guessed.

Rows keep these facts in their manifest. A run that gets the rows of before writes none, so the facts of the last run of
a collection lie in a file of the store as well, and count as long as its rows are in use.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aepipe.errors import NotFoundError
from aepipe.store import layout
from aepipe.store.artifacts import Ref, Store
from aepipe.store.io import write_into_folder

NAMES = ("files", "skipped", "passed_over", "unreadable", "left_out", "notes")
"""Facts of rows that are about reading: files that were read, files passed over (how many, and by reason), unreadable
items by reason, columns that are not learned from, and guesses in words."""


def keep(store: Store, name: str, rows: Ref, facts: Mapping[str, Any]) -> None:
    """Keep what the last run of a collection read.

    Args:
        store: of the collection.
        name: of the collection.
        rows: that the run got.
        facts: those of :data:`NAMES`.
    """
    write_into_folder(store.root / layout.Root.reading(name), json.dumps({"rows": str(rows), **facts}, indent=1))


def facts_of(store: Store, name: str, rows: Ref) -> dict[str, Any]:
    """Return what was read for some rows: by the last run, where it got these rows, else when they were made.

    Returns:
        Those of :data:`NAMES` that are known; stores of earlier versions know few. ``list`` is the file with all names.
    """
    listed = store.root / layout.Root.quarantine(name)
    try:
        found: dict[str, Any] = json.loads((store.root / layout.Root.reading(name)).read_bytes())
    except (OSError, ValueError):
        found = {}
    if found.pop("rows", None) != str(rows):
        try:
            found = store.manifest(rows).facts
        except NotFoundError:
            return {}
        listed = store.path(rows) / layout.Rows.QUARANTINE
    return {key: found[key] for key in NAMES if key in found} | {"list": str(listed) if listed.exists() else None}
