"""Rows as small pictures, without data about place or camera.

They are decoded, made upright and encoded again.
"""

from __future__ import annotations

import io
import threading
from collections import OrderedDict

from aepipe.errors import ItemError, QueryError
from aepipe.release.originals import original
from aepipe.release.release import Release
from aepipe.serve.catalog import Served
from aepipe.serve.problems import GoneError, MissingError, RequestError
from aepipe.sources import drawing

SIZES = (112, 224, 448)
"""Pixels of the longer side of a small picture; no others are made."""
QUALITY = 80
MEMORY = 64 << 20
"""Bytes of small pictures that are kept."""


class NoPictureError(RequestError):
    """A row whose file is there, but cannot be drawn."""

    code = 422


class Thumbnails:
    """Small pictures of rows, as JPEG."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, int, int], bytes] = OrderedDict()
        self._size = 0

    def known(self, served: Served, row_id: int, size: int) -> bytes | None:
        """Return a picture that was made before."""
        with self._lock:
            place = (served.digest, row_id, size)
            if place in self._kept:
                self._kept.move_to_end(place)
            return self._kept.get(place)

    def make(self, served: Served, row_id: int, size: int) -> bytes:
        """Return the picture of a row.

        Args:
            served: the release.
            row_id: of the row.
            size: one of :data:`SIZES`.

        Raises:
            MissingError: there is no such row, or its collection has nothing to look at.
            GoneError: the file of the row is no longer there.
            NoPictureError: it cannot be drawn.
        """
        found = drawn(served.release, row_id, size)
        with self._lock:
            place = (served.digest, row_id, size)
            self._size += len(found) - len(self._kept.pop(place, b""))
            self._kept[place] = found
            while self._size > MEMORY:
                self._size -= len(self._kept.popitem(last=False)[1])
        return found


def drawn(release: Release, row_id: int, size: int) -> bytes:
    """Return the picture of a row as JPEG, its longer side within a number of pixels.

    Raises:
        As :meth:`Thumbnails.make`.
    """
    draw = drawing(release.recipe["source"]["kind"])
    if draw is None:
        raise MissingError(f"{release.name}: nothing to look at in a collection of {release.recipe['source']['kind']}")
    try:
        (row,) = release.describe([row_id])
    except QueryError as error:
        raise MissingError(str(error)) from None
    try:
        data = original(release, row.place)
    except ItemError:
        raise GoneError(f"{row.key}: its file is no longer there, or cannot be read") from None
    try:
        picture = draw(data, row.key, size, lambda: release.encoder.card.features)
    except ItemError as error:
        raise NoPictureError(str(error)) from None
    picture.thumbnail((size, size))
    stream = io.BytesIO()
    picture.convert("RGB").save(stream, "JPEG", quality=QUALITY)
    return stream.getvalue()
