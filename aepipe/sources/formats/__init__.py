"""Containers: what images lie in. A folder of files, IDX pairs, Parquet, tar, CSV lists of paths.

What a path is, its files say: the first of :data:`_ROOMS` that claims any of them takes those it claims, and the rest
count as skipped. So a folder of pictures with a table beside them is a folder of pictures.

A module of this room has ``claims(name) -> bool``, ``open_container(files, options) -> Container`` and
``read_at(path, at, key) -> bytes`` for places of the form ``file#at``.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from aepipe.errors import SourceError
from aepipe.sources.files import Files
from aepipe.sources.item import Columns, Container

_ROOMS = ("folder", "idx", "parquet", "tar", "path_lists")


def open_container(files: Files, columns: Columns) -> Container:
    """Return what holds the images among some files.

    Raises:
        SourceError: none of the files holds images.
    """
    rooms = [_room(name) for name in _ROOMS]
    best, others = len(rooms), 0
    for found in files:
        best = min(best, next((rank for rank, room in enumerate(rooms) if room.claims(found.place)), best))
        others += 1
        if best == 0:
            break
    if best == len(rooms):
        raise SourceError(
            f"{files.asked}: no images there, {others:,} other files; looked for .jpg .jpeg .png .webp .gif .bmp .tif "
            ".tiff, IDX files, .parquet, .tar and .csv"
        )
    container: Container = rooms[best].open_container(files, columns)
    return container


def _room(name: str) -> ModuleType:
    """Return one module of this room."""
    return import_module(f"{__name__}.{name}")
