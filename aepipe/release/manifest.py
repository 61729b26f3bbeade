"""What a release refers to: its own file, ``release.json``, read and checked; :mod:`aepipe.release.release` has the layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from aepipe.errors import CorruptError, NotFoundError
from aepipe.store.artifacts import Ref, Store

RELEASE = "release.json"
SCORES = "scores.json"
SCHEMA = 1
CHANGED_SCHEMA = 2
"""Of a release that rows were added to or removed from: versions that know nothing of that must not open it."""
REMOVED = "removed.npy"
CHANGED_INDEX = "index"
MENDED_BY = "go back with `aepipe rollback`, or make it anew with `aepipe run`"


def parts_of(body: dict[str, Any]) -> list[tuple[str, Ref]]:
    """Return all refs of a ``release.json`` with what they are: encoder, codes, items, index, changes, scores, rows."""
    single = {what: [body[what]] for what in ("encoder", "index", "scores")}
    changes = [body["changes"]] if body.get("changes") else []
    several = {"codes": body["codes"], "items": [body["items"], *body.get("more_items", ())], "changes": changes}
    several["rows"] = [body["source_rows"], *body.get("more_rows", ())]
    found = single | several
    order = ("encoder", "codes", "items", "index", "changes", "scores", "rows")
    return [(what, Ref.parse(text)) for what in order for text in found[what]]


def read_body(store: Store, ref: Ref) -> dict[str, Any]:
    """Read a release's own file, all of it."""
    try:
        file = store.verified(ref) / RELEASE
    except NotFoundError as error:
        raise NotFoundError(f"{error}; {MENDED_BY}") from None
    try:
        body: dict[str, Any] = json.loads(file.read_bytes())
        schema = body["schema"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorruptError(f"{file}: corrupt, not a release ({error}); promote another one") from None
    if schema not in (SCHEMA, CHANGED_SCHEMA):
        raise CorruptError(f"{file}: schema {schema}; this version of aepipe reads {SCHEMA} and {CHANGED_SCHEMA}")
    return body


def whole(store: Store, ref: Ref, part: Ref) -> Path:
    """Return the folder of a release's part, at its full length."""
    try:
        return store.path(part)
    except NotFoundError as error:
        raise CorruptError(f"release {ref.short} refers to what is missing: {error}; {MENDED_BY}") from None
