"""Pages of documents and frames of animations as items of their own; ``pages = "all"``.

The key of a page has its number, counted from 1: ``scan.tif@2``. A page of a TIFF is the file itself with another page
put first, so it is decoded like any picture. Frames of other formats are drawn one after the other, made smaller where
their longest side is above 1,024 pixels, as those of films are.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from io import BytesIO
from itertools import islice

from PIL import Image

from aepipe.errors import ItemError
from aepipe.sources.files import InMemory, Refused, WholeFile
from aepipe.sources.images import camera, reading
from aepipe.sources.item import Item, Reader
from aepipe.sources.pictures import format_of
from aepipe.sources.pieces import Pieces

MARK = "i"
"""What a place ``scan.tif#i2`` begins with after the file: the number of a page."""
LONGEST = 1024
MOST = 10_000
"""Pages of a file that are read."""
MOST_PIXELS = 1 << 35
"""Pixels of all frames of an animation together: those of 10,000 frames of a film in its usual size are fewer."""
_MANY = frozenset({"GIF", "PNG", "WebP", "AVIF", "HEIC", "FLI", "DCX"})
_TOO_LARGE = (reading.UnreadableError, Image.DecompressionBombError)
_KIND_OF_PAGE = 254  # the tag of TIFF; its first bit says that a page is a small copy of another


@dataclass(frozen=True, slots=True)
class _TiffPage:
    """Reads a TIFF with one of its pages put first."""

    whole: Reader
    at: int

    def __call__(self, key: str) -> bytes:
        """Return the bytes."""
        return _first(self.whole(key), self.at)


class Pages(Pieces):
    """A container of pictures, each page of them an item; files of one page are as they are."""

    def total(self) -> None:
        """Return None: the number of pages is known only after all files have been opened."""
        return

    def items(self) -> Iterator[Item]:
        """Yield the pages of each file; a file that is damaged ends with an item that says so."""
        for item in self._whole.items():
            number = 0
            try:
                for number, (reader, whole) in enumerate(_readers(item), 1):
                    key, place = f"{item.key}@{number}", f"{item.place}#{MARK}{number}"
                    yield replace(item, key=key, place=place, reader=reader, whole=whole)
            except ItemError as error:
                yield replace(item, reader=Refused(error.reason))
            except _TOO_LARGE as error:
                reason = str(error) if isinstance(error, reading.UnreadableError) else "a frame with too many pixels"
                yield replace(item, reader=Refused(reason))
            except reading.TROUBLE:
                yield replace(item, reader=Refused(f"damaged after page {number}")) if number else item
            else:
                if not number:
                    yield item


def page(data: bytes, number: int, key: str) -> bytes:
    """Return a picture file of one page, counted from 1.

    Raises:
        ItemError: there is no such page, or the file cannot be read.
    """
    try:
        if format_of(data) == "TIFF":
            return _first(data, _tiff_pages(data, key)[number - 1])
        return next(islice(_frames(data, key), number - 1, None))
    except (StopIteration, *_TOO_LARGE, *reading.TROUBLE):
        raise ItemError(key, f"no page {number} in it that can be read") from None


def _readers(item: Item) -> Iterator[tuple[Reader, bytes]]:
    """Yield what reads each page of a file, and the sha256 of all of it; nothing where it has one page only.

    Raises:
        ItemError: it cannot be read, or has too many pages.
    """
    kind = format_of(_head(item))
    if kind != "TIFF" and kind not in _MANY:
        return
    data = item.read()
    whole = hashlib.sha256(data).digest()
    if kind in _MANY:
        yield from ((InMemory(frame), whole) for frame in _frames(data, item.key))
    elif not camera.is_raw(data):
        pages = _tiff_pages(data, item.key)
        yield from ((_TiffPage(item.reader, at), whole) for at in pages if len(pages) > 1)


def _head(item: Item) -> bytes:
    if not isinstance(item.reader, WholeFile) or not os.path.isfile(item.reader.path):
        return item.read()
    with open(item.reader.path, "rb") as file:
        return file.read(1 << 13)


def _tiff_pages(data: bytes, key: str) -> list[int]:
    """Return where the tags of each page begin, without those of small copies."""
    order, big = _order(data)
    form, many, entry, at = ("Q", "Q", 20, 8) if big else ("I", "H", 12, 4)
    (place,) = struct.unpack_from(f"{order}{form}", data, at)
    found, seen = list[int](), set[int]()
    while place and place not in seen:
        seen.add(place)
        (count,) = struct.unpack_from(f"{order}{many}", data, place)
        begin = place + struct.calcsize(f"<{many}")
        end = begin + count * entry
        if not any(_is_small_copy(data, tag, order, 12 if big else 8) for tag in range(begin, end, entry)):
            found.append(place)
        _check_count(len(found), key)
        (place,) = struct.unpack_from(f"{order}{form}", data, end)
    return found


def _check_count(pages: int, key: str) -> None:
    if pages > MOST:
        raise ItemError(key, f"more than {MOST:,} pages")


def _order(data: bytes) -> tuple[str, bool]:
    """Return the order of bytes of a TIFF, and whether its offsets have 64 bits."""
    return "<" if data[:2] == b"II" else ">", data[2:4] in (b"+\0", b"\0+")


def _is_small_copy(data: bytes, tag: int, order: str, value: int) -> bool:
    name, kind = struct.unpack_from(f"{order}HH", data, tag)
    return (name, kind) == (_KIND_OF_PAGE, 4) and bool(struct.unpack_from(f"{order}I", data, tag + value)[0] & 1)


def _first(data: bytes, place: int) -> bytes:
    """Return a TIFF whose first page is the one whose tags are at a place."""
    order, big = _order(data)
    form, at = ("Q", 8) if big else ("I", 4)
    return data[:at] + struct.pack(f"{order}{form}", place) + data[at + struct.calcsize(f"<{form}") :]


def _frames(data: bytes, key: str) -> Iterator[bytes]:
    """Yield each frame of an animation as a picture file; none where there is one only."""
    kind = format_of(data)
    assert kind is not None
    image = reading.opened(data, kind)
    with reading.quiet():
        count = int(getattr(image, "n_frames", 1))
    _check_count(count, key)
    if count * image.width * image.height > MOST_PIXELS:
        raise ItemError(key, f"more than {MOST_PIXELS / 1e6:,.0f} megapixels in all its frames")
    if count < 2 or image.width * image.height > reading.MAX_PIXELS:
        return
    for number in range(count):
        with reading.quiet():
            image.seek(number)
            image.load()
            frame = image.copy()
        yield _file_of(reading.turned(frame, reading.orientation(frame)))


def _file_of(frame: Image.Image) -> bytes:
    """Return a frame as a TIFF without compression: quick to write, and the same bytes on every machine."""
    mode = "RGBA" if frame.has_transparency_data else frame.mode if frame.mode in ("L", "I;16") else "RGB"
    plain = frame.convert(mode) if frame.mode != mode else frame
    plain.info = {}
    plain.thumbnail((LONGEST, LONGEST), Image.Resampling.BILINEAR)
    stream = BytesIO()
    plain.save(stream, "TIFF")
    return stream.getvalue()
