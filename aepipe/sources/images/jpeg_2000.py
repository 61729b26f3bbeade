"""Decode JPEG 2000 at a half, a quarter and so on of its size.

The finest levels of its wavelets are left out.
Pillow can do so, but rounds the size to the nearest whole number where the format rounds it up, and then fails.
"""

from __future__ import annotations

import struct
from io import BytesIO
from typing import Any

_BEGIN, _STYLE = b"\xff\x4f\xff\x51", b"\xff\x52"  # markers of the picture's size and of the coding style
_HEAD = 1 << 20


def halve(image: Any, times: int) -> int:  # noqa: ANN401  attributes of one plugin
    """Let a picture be decoded at a fraction of its size.

    Args:
        image: not decoded yet.
        times: how often its sides may be halved.

    Returns:
        How often they will be: not more often than it has levels; never where it is a part of a larger one.
    """
    assert isinstance(image.fp, BytesIO)
    head = image.fp.getbuffer()[:_HEAD].tobytes()
    begin = head.find(_BEGIN)
    style = head.find(_STYLE, begin)
    if begin < 0 or style < 0 or len(head) < style + 10 or len(image.tile) != 1:
        return 0
    right, bottom, left, top = struct.unpack_from(">IIII", head, begin + 8)
    times = 0 if left or top else min(times, head[style + 9])
    size = -(-right >> times), -(-bottom >> times)
    if not times:
        return 0
    tile = image.tile[0]
    image._size = size
    image.tile = [tile._replace(extents=(0, 0, *size), args=(tile.args[0], times, *tile.args[2:]))]
    return times
