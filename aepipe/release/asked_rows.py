"""Rows of a table that are asked with: which columns they may have."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Any

from aepipe.errors import QueryError
from aepipe.release.release import Release

NAMED = 12
"""Columns that a message names at most."""


def check_rows(release: Release) -> None:
    """Check that a collection can be asked with a row of a table.

    Raises:
        QueryError: it was learned from something else.
    """
    kind = release.recipe["source"]["kind"]
    if kind != "table":
        raise QueryError(f"{release.name} was learned from {kind}, so a row of a table is no question for it")


def why_not_asked(release: Release, text: str) -> str | None:
    """Return which column the collection has not, or a row has twice; None where all is well.

    Args:
        release: that is asked.
        text: a JSON object. What is none is judged where it is decoded.
    """
    try:
        pairs = json.loads(text, object_pairs_hook=list)
    except (ValueError, RecursionError):
        return None
    if not text.lstrip().startswith("{"):
        return None
    names = [name for name, _ in pairs]
    twice = next((name for name in names if names.count(name) > 1), None)
    return unknown_column(release, names) if twice is None else f"column {twice!r} is given twice"


def unknown_column(release: Release, names: Iterable[str]) -> str | None:
    """Return why a row cannot have such columns; None where the collection has all of them."""
    learned = [column["name"] for column in release.encoder.card.features.get("columns", ())]
    known = dict.fromkeys([*learned, *release.columns, *_texts(release.recipe["source"])])
    strange = next((name for name in names if name not in known), None)
    if strange is None:
        return None
    near = get_close_matches(strange, known, 1)
    listed = ", ".join(learned[:NAMED]) + (", ..." if len(learned) > NAMED else "")
    return f"no column {strange!r}" + (f": is {near[0]!r} meant?" if near else f"; there are: {listed}")


def _texts(value: Any) -> Iterator[str]:  # noqa: ANN401  a table of a recipe
    """Yield all texts of a table, among them the columns that labels, keys and splits are in."""
    if isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _texts(one)
    elif isinstance(value, str):
        yield value
