"""Containers: what images lie in. A folder of files, IDX pairs, Parquet, tar, CSV lists of paths.

What a path is, its files say: the first of :data:`_ROOMS` that claims any of them takes those it claims, and the rest
count as skipped. So a folder of pictures with a table beside them is a folder of pictures.

A module of this room has ``claims(name) -> bool``, ``open_container(files, options) -> Container`` and
``read_at(path, at, key) -> bytes`` for places of the form ``file#at``.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Protocol

from aepipe.errors import ItemError, SourceError
from aepipe.sources import RawItem
from aepipe.sources.containers.walk import Files
from aepipe.sources.readers import WholeFile

if TYPE_CHECKING:
    import pyarrow as pa

_ROOMS = ("folder", "idx", "parquet", "tar", "lists")


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a table of images that are not the table's own affair.

    Attributes:
        image: holds the pictures, or the paths of them.
        key: holds each item's own id; None takes the path of the picture.
    """

    image: str = "image"
    key: str | None = None


class Container(Protocol):
    """Items, as they lie on the disk."""

    @property
    def skipped(self) -> int:
        """Files that the last iteration passed over."""

    @property
    def gives(self) -> frozenset[str]:
        """Which of ``label`` and ``split`` the items bear of themselves."""

    def schema(self) -> pa.Schema:
        """Return the names and types of the items' columns."""

    def total(self) -> int | None:
        """Return how many items there are, where that is cheap to know."""

    def items(self) -> Iterator[RawItem]:
        """Give the items in order; those that cannot be read are given, too, and say so when read."""


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


def read_place(location: Path, place: str) -> bytes:
    """Return the bytes at a place; see :func:`aepipe.sources.preview`.

    Raises:
        ItemError: they are not there any more.
    """
    try:
        whole = _existing(location, place)
        if whole is not None:
            return WholeFile(whole)(place)
        name, _, at = place.rpartition("#")
        path = _existing(location, name) if name else None
        if path is not None and "@" in at:
            cell: bytes = _room("records").read_at(Path(path), at, place)
            return cell
        if path is not None and at.startswith("t"):
            from aepipe.sources.decoders.audio import slice_of

            start, _, seconds = at[1:].partition("+")
            return slice_of(WholeFile(path)(place), place, float(start), float(seconds))
        if path is not None and at.startswith("v"):
            from aepipe.sources.decoders.video import frame_at

            return frame_at(Path(path), place, float(at[1:]))
        room = next((room for room in map(_room, _ROOMS[1:]) if room.claims(name)), None)
        if path is None or room is None:
            raise ItemError(place, f"no longer in {location}")
        data: bytes = room.read_at(Path(path), at, place)
        return data
    except (OSError, EOFError, ValueError, LookupError, zlib.error, SourceError) as error:
        raise ItemError(place, f"cannot be read from {location}: {error}") from None


def _existing(location: Path, name: str) -> str | None:
    r"""Return the path of a file; bytes of its name that are no text stand in a place as ``\xff``."""
    raw = re.sub(rb"\\x([0-9a-f]{2})", lambda found: bytes.fromhex(found[1].decode()), name.encode())
    paths = (str(location / name), str(location / os.fsdecode(raw)))
    return next((path for path in paths if os.path.isfile(path)), None)


def _room(name: str) -> ModuleType:
    """Return one module of this room."""
    return import_module(f"{__name__}.{name}")
