"""Files of cameras: the picture that the camera put into each.

The formats are CR2, CR3, NEF, ARW, DNG, RAF, ORF, RW2 and others.

A camera develops each picture for its own screen, and most put it into the file at full size. It is a JPEG, and the
largest one in the file is taken; the readings of the sensor are not developed here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

MOSAICS = (32803, 34892)
"""What TIFF's tag of colours says of readings of a sensor: a mosaic, or one value for each colour."""
_COLOURS, _ORIENTATION, _BELOW, _DNG = 0x0106, 0x0112, 0x014A, 0xC612
_FOLDERS = 24
_NUMBERS = {1: "B", 3: "H", 4: "I", 13: "I"}


def is_raw(data: bytes) -> bool:
    """Tell whether a TIFF is the file of a camera: it is a DNG, or has the readings of a sensor."""
    return any(_DNG in tags or tags.get(_COLOURS, [0])[0] in MOSAICS for tags in _folders(data, 0))


def preview(data: bytes) -> tuple[bytes, int]:
    """Return the largest JPEG in a camera's file, and the orientation by its tags, 1 to 8.

    Raises:
        LookupError: there is none.
    """
    found = sorted(_jpegs(data), key=lambda one: -one[0])
    if not found:
        raise LookupError("no JPEG")
    _, begin, end = found[0]
    return data[begin:end], _orientation(data)


def _jpegs(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield pixels, begin and end of each JPEG that a screen can show; readings may be JPEGs of another sort."""
    begin = data.find(b"\xff\xd8\xff")
    while begin >= 0:
        pixels, scan = _frame(data, begin)
        end = data.find(b"\xff\xd9", scan) + 2 if pixels else 0
        if end > 2:
            yield pixels, begin, end
        begin = data.find(b"\xff\xd8\xff", begin + 2)


def _frame(data: bytes, begin: int) -> tuple[int, int]:
    """Return the pixels of a JPEG and the place of its first scan; no pixels where it is none of 8 bits."""
    at, pixels = begin + 2, 0
    while data[at : at + 1] == b"\xff" and len(data) >= at + 10:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xDA:
            return pixels, at
        if marker in (0xC0, 0xC1, 0xC2):
            precision, height, width = struct.unpack_from(">BHH", data, at + 4)
            pixels = width * height if precision == 8 else 0
        elif length < 2 or (0xC3 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            break
        at += 2 + length
    return 0, at


def _orientation(data: bytes) -> int:
    """Return the orientation in the tags of the file; Canon's CR3 has them in a box."""
    start = data.find(b"CMT1", 0, 1 << 16) + 4 if data[4:8] == b"ftyp" else 0
    first = next(_folders(data, start), {})
    turn = first.get(_ORIENTATION, [1])[0]
    return turn if 1 <= turn <= 8 else 1


def _folders(data: bytes, start: int) -> Iterator[dict[int, list[int]]]:
    """Yield the whole numbers of each folder of tags, those below others too.

    Args:
        data: the bytes of the file.
        start: where the TIFF begins in it.
    """
    order = {b"II": "<", b"MM": ">"}.get(data[start : start + 2])
    if order is None or data[start + 2 : start + 4] in (b"+\0", b"\0+") or len(data) < start + 8:
        return
    waiting, seen = list(struct.unpack_from(f"{order}I", data, start + 4)), set[int]()
    while waiting and len(seen) < _FOLDERS:
        at = waiting.pop(0)
        if at in seen or not 0 < at < len(data) - start - 2:
            continue
        seen.add(at)
        tags, after = _tags(data, start, at, order)
        waiting += [*tags.get(_BELOW, ())[:_FOLDERS], after]
        yield tags


def _tags(data: bytes, start: int, at: int, order: str) -> tuple[dict[int, list[int]], int]:
    """Return the whole numbers of one folder of tags, and where the next one is."""
    (count,) = struct.unpack_from(f"{order}H", data, start + at)
    tags: dict[int, list[int]] = {}
    place = start + at + 2
    for place in range(start + at + 2, min(start + at + 2 + 12 * count, len(data) - 12), 12):
        tag, kind, number = struct.unpack_from(f"{order}HHI", data, place)
        if tag in (_COLOURS, _ORIENTATION, _BELOW, _DNG) and kind in _NUMBERS and 0 < number <= _FOLDERS:
            form = f"{order}{number}{_NUMBERS[kind]}"
            inside = struct.calcsize(form) <= 4
            where = place + 8 if inside else start + struct.unpack_from(f"{order}I", data, place + 8)[0]
            if where + struct.calcsize(form) <= len(data):
                tags[tag] = list(struct.unpack_from(form, data, where))
    end = start + at + 2 + 12 * count
    return tags, struct.unpack_from(f"{order}I", data, end)[0] if end + 4 <= len(data) else 0
