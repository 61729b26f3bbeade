"""Say quickly whether a source is as the release in service has it."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

from aepipe import recipe as recipes
from aepipe import sources
from aepipe.errors import AepipeError
from aepipe.pipeline.ingest import PreviousRows, same_rows
from aepipe.release.release import Release
from aepipe.store import reading
from aepipe.store.artifacts import Store

SECONDS = 1.5
"""A source that takes longer is read by the refresh itself, so that nothing large is read twice."""


def unchanged(store: Store, release: Release, *, seconds: float = SECONDS) -> bool:
    """Say whether a refresh of a release would find nothing to do.

    Args:
        store: of the collection.
        release: in service.
        seconds: for reading the source.

    Returns:
        False also where that is not known: it would take longer, or the source cannot be read, which the refresh tells.
    """
    if release.changed or release.recipe.get("features", {}).get("backbone"):
        return False
    rows = release.part("rows")
    try:
        read = recipes.parse(release.recipe, Path(f"the recipe of release {release.ref.short}"))
        source = sources.resolve(read).fitted(store.manifest(rows).inputs.get("features"))
        before = PreviousRows.at(store, rows, source.features())
        with tempfile.TemporaryDirectory() as scratch:
            found = same_rows(source, before, Path(scratch), until=time.monotonic() + seconds)
    except (AepipeError, OSError):
        return False
    kept = {key: value for key, value in reading.facts_of(store, release.name, rows).items() if key != "list"}
    return found is not None and json.dumps(found, sort_keys=True) == json.dumps(kept, sort_keys=True)
