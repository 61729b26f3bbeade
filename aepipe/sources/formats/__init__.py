"""Formats of collections: folders, IDX, Parquet, tar, lists of paths, tables, arrays.

For pictures the format is told by the files: the first of :data:`_FORMATS` that claims any of them takes those that it
claims, and the rest count as skipped. So a folder of pictures with a table next to them is a folder of pictures.

Each of those modules has ``claims(name) -> bool`` and ``open_container(files, columns) -> Container``; and, but for the
folder, ``read_at(path, at, key) -> bytes`` for places of the form ``file#at``.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from aepipe.errors import SourceError
from aepipe.sources.files import Files, Found
from aepipe.sources.item import Columns, Container

_FORMATS = ("folder", "idx", "parquet", "tar", "path_lists")


def open_container(files: Files, columns: Columns) -> Container:
    """Return what holds the pictures among some files.

    Raises:
        SourceError: none of the files holds pictures.
    """
    formats = [_format(name) for name in _FORMATS]
    best, others = len(formats), 0
    for found in files:
        best = min(best, next((rank for rank, one in enumerate(formats) if _claims(one, found)), best))
        others += 1
        if best == 0:  # nothing ranks before it, so the other files need not be listed
            break
    if best == len(formats):
        raise SourceError(
            f"{files.given}: no images there, {others:,} other files; looked for .jpg .jpeg .png .webp .gif .bmp .tif "
            ".tiff, IDX files, .parquet, .tar and .csv"
        )
    container: Container = formats[best].open_container(files, columns)
    return container


def format_of(name: str, at: str) -> ModuleType | None:
    """Return the module that reads a place ``name#at``; None where there is none."""
    if at.partition("@")[0].isdecimal() and "@" in at:  # a cell of a table: row@column
        return _format("records")
    return next((one for one in map(_format, _FORMATS[1:]) if one.claims(name)), None)


def _claims(one: ModuleType, found: Found) -> bool:
    """Whether a format takes a file: by its name, or where a name says too little, by a look into it."""
    return bool(one.holds(found) if hasattr(one, "holds") else one.claims(found.place))


def _format(name: str) -> ModuleType:
    return import_module(f"{__name__}.{name}")
