"""The size that the pages of a PDF unpack to: a small file may have a page of a gigabyte.

Pictures are left out: a scanned page is large and nearly white, and is not unpacked for its text.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator

_BEGIN = re.compile(rb"(?<!end)stream\r?\n")
_PACKED = re.compile(rb"/(?:FlateDecode|Fl)\b")
_ABOUT = 4096
"""Bytes before a stream in which its dictionary begins."""
_STEP = 1 << 20


def unpacked_size(data: bytes, most: int) -> int:
    """Return the bytes that the streams of a PDF unpack to, without pictures.

    Counting ends where there are more than allowed.

    Args:
        data: all bytes of the file.
        most: bytes at which counting ends.
    """
    size = 0
    for found in _BEGIN.finditer(data):
        about = data[max(0, found.start() - _ABOUT) : found.start()].rpartition(b" obj")[2]
        times = len(_PACKED.findall(about))
        if times and b"/Image" not in about:
            for part in _unpacked(data, found.end(), times):
                size += len(part)
                if size > most:
                    return size
    return size


def _unpacked(data: bytes, start: int, times: int) -> Iterator[bytes]:
    """Yield parts of a stream, which may be packed more than once; none of what is encrypted or damaged."""
    parts = _inflated(data[at : at + _STEP] for at in range(start, len(data), _STEP))
    for _ in range(times - 1):
        parts = _inflated(parts)
    return parts


def _inflated(packed: Iterator[bytes]) -> Iterator[bytes]:
    pack = zlib.decompressobj()
    for part in packed:
        rest = part
        while rest and not pack.eof:
            try:
                yield pack.decompress(rest, _STEP)
            except zlib.error:
                return
            rest = pack.unconsumed_tail
        if pack.eof:
            return
