"""Formats of collections: folders, IDX, Parquet, tar, zip, lists of paths, tables, arrays.

For pictures the format is told by the files: that of :data:`_FORMATS` which claims the most of them takes those that it
claims, and the rest is passed over. So a folder of pictures with a table next to them is a folder of pictures, and a
folder of archives with a picture next to them is one of archives.

Each of those modules has ``claims(name) -> bool`` and ``open_container(files, columns) -> Container``; and, but for the
folder, ``read_at(path, at, key) -> bytes`` for places of the form ``file#at``.
"""

from __future__ import annotations

from collections import Counter
from functools import cache
from importlib import import_module
from types import ModuleType

from aepipe.errors import SourceError
from aepipe.sources.files import Files, Found, first_bytes, why_not_like
from aepipe.sources.item import Columns, Container
from aepipe.sources.passed_over import PassedOver

TRIED = 1000
"""Files with unknown names that are looked into to tell whether there are pictures."""
TABLES = frozenset({"metadata.csv", "metadata.jsonl", "metadata.parquet"})
"""Names of tables that are about the files next to them; see :mod:`aepipe.sources.formats.about`."""
_FORMATS = ("folder", "idx", "archives", "parquet", "path_lists")


def open_container(files: Files, columns: Columns) -> Container:
    """Return what holds the pictures among some files.

    Raises:
        SourceError: none of the files holds pictures.
    """
    counts, unknown, tables = Counter[str](), list[Found](), list[Found]()
    for found in files:
        if found.place.rpartition("/")[2] in TABLES:
            tables.append(found)
        name = next((name for name in _FORMATS if _claims(_format(name), found)), None)
        counts[name or ""] += 1
        if name is None and len(unknown) < TRIED:
            unknown.append(found)
    if columns.sniff is not None and counts["folder"] <= max(counts[name] for name in _FORMATS[1:]):
        # Names say little of pictures, so the first bytes have to.
        counts["folder"] += sum(columns.sniff(_head(found)) for found in unknown)
    # A list counts least: next to pictures it is about those.
    best = max(_FORMATS, key=lambda name: min(counts[name], 0.5) if name == "path_lists" else counts[name])
    if not counts[best]:
        passed_over = PassedOver()
        list(files.picked(lambda found: why_not_like(found, columns.sniff, "not a picture"), passed_over))
        why = f"; passed over: {passed_over.summary()}" if passed_over.counts else ""
        raise SourceError(
            f"{files.given}: no images there; looked for pictures, IDX files, .parquet, .tar, .zip and .csv{why}"
        )
    container: Container = _format(best).open_container(files, columns)
    if best != "folder" or not tables:
        return container
    described: Container = _format("about").joined(container, tables, columns.key, columns.given)
    return described


def format_of(name: str, at: str) -> ModuleType | None:
    """Return the module that reads a place ``name#at``; None where there is none."""
    if at.partition("@")[0].isdecimal() and "@" in at:  # a cell of a table: row@column
        return _format("records")
    return next((one for one in map(_format, _FORMATS[1:]) if one.claims(name)), None)


def _claims(one: ModuleType, found: Found) -> bool:
    """Whether a format takes a file: by its name, or where a name says too little, by a look into it."""
    return bool(one.holds(found) if hasattr(one, "holds") else one.claims(found.place))


def _head(found: Found) -> bytes:
    try:
        return first_bytes(found.path)
    except OSError:
        return b""


@cache
def _format(name: str) -> ModuleType:
    return import_module(f"{__name__}.{name}")
