"""Rows and hits for programs, in one shape for all verbs; and their columns for tables.

A row is an object with these keys, which are always there:

=============  ===========================================================================
key            value
=============  ===========================================================================
``id``         given once in a collection, and never again
``key``        the path relative to the source, or the id that the source gives
``path``       the file of the original; null where it is inside another one, or gone
``label``      the class, several with commas between; null without one
``labels``     each class
``split``      ``train`` or ``test``
``snippet``    the beginning of a document, or the sentence that answers; null for others
``columns``    the source's own columns, as text, by name
=============  ===========================================================================

A hit has these, and ``rank``, ``distance`` (bits), ``similarity``, ``confidence`` and ``cosine``; the last two are null
where they were not measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aepipe.errors import QueryError
from aepipe.release.release import Release
from aepipe.release.search import Hit
from aepipe.sources import file_at
from aepipe.store.segments import Row

SNIPPET = "snippet"
"""The column with the beginning of a document."""
MEASURES = ("rank", "distance", "similarity", "confidence", "cosine")
FIXED = (*MEASURES, "id", "key", "path", "label", "split", SNIPPET)
"""Columns that a table of hits can have beside those of the source."""
_DIGITS = {"similarity": 3, "confidence": 2, "cosine": 3}


def row_json(release: Release, row: Row) -> dict[str, Any]:
    """Return a row as every verb prints it for programs."""
    return {
        "id": row.id,
        "key": row.key,
        "path": file_at(release.items.root, row.place),
        "label": row.label,
        "labels": list(row.labels),
        "split": row.split,
        SNIPPET: row.columns.get(SNIPPET),
        "columns": {name: value for name, value in row.columns.items() if name != SNIPPET},
    }


def hit_json(release: Release, hit: Hit) -> dict[str, Any]:
    """Return a hit as every verb prints it for programs."""
    return {name: getattr(hit, name) for name in MEASURES} | row_json(release, hit.row)


def names(release: Release) -> tuple[str, ...]:
    """Return the columns that a table of hits can have, those of the source last."""
    return (*FIXED, *(name for name in release.items.columns if name not in FIXED))


def chosen(release: Release, text: str | None) -> tuple[str, ...] | None:
    """Return the columns that are named between commas; None where none are.

    Raises:
        QueryError: there is no such column.
    """
    if text is None:
        return None
    known, found = names(release), tuple(name.strip() for name in text.split(",") if name.strip())
    unknown = next((name for name in found if name not in known), None)
    if unknown is not None or not found:
        raise QueryError(f"--columns {text}: no column {unknown or ''!r}; there are: {', '.join(known)}")
    return found


def value(release: Release, hit: Hit, name: str) -> Any:  # noqa: ANN401  a number, a text or None
    """Return what a hit has in a column."""
    if name in MEASURES:
        return getattr(hit, name)
    if name == "path":
        return file_at(release.items.root, hit.row.place)
    return getattr(hit.row, name) if name in FIXED and name != SNIPPET else hit.row.columns.get(name)


def cells(release: Release, hit: Hit, columns: Sequence[str]) -> tuple[str, ...]:
    """Return a hit as the cells of a table for people."""
    return tuple(_text(name, value(release, hit, name)) for name in columns)


def _text(name: str, found: object) -> str:
    if found is None:
        return ""
    return f"{found:.{_DIGITS[name]}f}" if name in _DIGITS and isinstance(found, float) else str(found)
