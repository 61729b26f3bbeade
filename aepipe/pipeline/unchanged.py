"""Say quickly whether a source is as the release in service has it."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aepipe import recipe as recipes
from aepipe import sources
from aepipe.errors import AepipeError
from aepipe.pipeline.ingest import PreviousRows, same_rows
from aepipe.release.release import Release
from aepipe.sources.backbone import BackboneSource
from aepipe.sources.item import Source
from aepipe.store import layout, reading, stamps
from aepipe.store.artifacts import Store, ref_of
from aepipe.store.rows import read_quarantine

SECONDS = 8.0
"""A source that takes longer is read by the refresh itself: a Prefect server takes as long to start and to stop."""


def unchanged(store: Store, release: Release, *, seconds: float = SECONDS) -> bool:
    """Say whether a refresh of a release would find nothing to do.

    Args:
        store: of the collection.
        release: in service.
        seconds: for reading the source.

    Returns:
        False also where that is not known: it would take longer, or the source cannot be read, which the refresh tells.
    """
    if release.changed:
        return False
    rows = release.part("rows")
    if store.parts(rows):  # to list them takes longer
        return False
    try:
        read = recipes.parse(release.recipe, Path(f"the recipe of release {release.ref.short}"))
        known = store.manifest(rows).inputs.get("features")
        source = sources.resolve(read)
        if not _equipped(store, source, known or {}):
            return False
        source = source.fitted(known)
        before = PreviousRows.at(store, rows, source.features())
        before.recall(stamps.of_rows(store, release.name, rows))
        with tempfile.TemporaryDirectory() as scratch:
            found = same_rows(source, before, Path(scratch), until=time.monotonic() + seconds)
            kept = reading.facts_of(store, release.name, rows)
            return found is not None and _read_alike(found, kept, Path(scratch, layout.Rows.QUARANTINE))
    except (AepipeError, OSError):
        return False


def _read_alike(found: Mapping[str, Any], kept: Mapping[str, Any], listed: Path) -> bool:
    """Say whether the same was read as in the last run, and the same was not: each by its name."""
    facts = {key: value for key, value in kept.items() if key != "list"}
    if json.dumps(found, sort_keys=True) != json.dumps(facts, sort_keys=True):
        return False
    return read_quarantine(listed) == (read_quarantine(Path(kept["list"])) if kept.get("list") else [])


def _equipped(store: Store, source: Source, known: Mapping[str, Any]) -> bool:
    """Let a source have the frozen network of earlier rows, without opening it; false where that is another one."""
    if not isinstance(source, BackboneSource) or source.backbone is None:
        return True
    before, ref = known.get("backbone", {}), ref_of("backbone", source.backbone.inputs())
    if before.get("ref") != str(ref) or not store.has(ref):
        return False
    source.attach_later(str(ref), before["sha256"], lambda: store.verified(ref))
    return True
