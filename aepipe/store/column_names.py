"""One name for each column, wherever rows become SQL: conditions, exports, completion.

SQL engines do not tell ``ID`` from ``id``, and cannot name a column without a name. So a column of a source that would
be taken for another one has a name of its own here.
"""

from __future__ import annotations

from collections.abc import Iterable

OURS = ("id", "key", "label", "split")
"""Columns that every row has."""
EXPORTED = ("embedding", "code", *(f"code_u64_{word}" for word in range(64)))
"""Columns that an export adds."""


def sql_names(names: Iterable[str]) -> dict[str, str]:
    """Map the columns of a source to the names that they have in SQL, in their order.

    It is the same name, unless an engine would take it for another: then one of our columns gets ``source_`` before it
    (``ID`` is ``source_ID``), an empty one is called by its place (``column_1``), and the second of two that differ in
    case only has a number (``Year``, ``year_2``).
    """
    listed = list(names)
    ours = {name.casefold() for name in (*OURS, *EXPORTED)}
    taken = ours | {name.casefold() for name in listed}
    found: dict[str, str] = {}
    given: set[str] = set()
    for place, name in enumerate(listed, 1):
        plain = name.casefold()
        if name.strip() and plain not in ours and plain not in given:
            found[name] = name
        else:
            found[name] = _free(name, place, plain in ours, taken | given)
        given.add(found[name].casefold())
    return found


def renamed(names: Iterable[str]) -> list[str]:
    """Return a sentence for each column that has another name in SQL than in its source."""
    return [
        f"the column {name!r} is called {new} in conditions and exports, because SQL would take it for another one"
        for name, new in sql_names(names).items()
        if name != new
    ]


def quoted(name: str) -> str:
    """Return a name as SQL quotes it."""
    return '"' + name.replace('"', '""') + '"'


def _free(name: str, place: int, ours: bool, taken: set[str]) -> str:
    """Return a name that no other column has."""
    base = f"source_{name}" if ours else name if name.strip() else f"column_{place}"
    while ours and base.casefold() in taken:
        base = f"source_{base}"
    new, number = base, 2
    while new.casefold() in taken:
        new, number = f"{base}_{number}", number + 1
    return new
