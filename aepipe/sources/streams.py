"""Items as open files: what a decoder needs that reads only a part of a large one."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

from aepipe.errors import ItemError
from aepipe.sources.files import InMemory, Piece, WholeFile, open_file
from aepipe.sources.item import Reader


class Region(io.RawIOBase):
    """A part of a stream as a file of its own, which cannot be written.

    Args:
        stream: that can seek.
        offset: of the part.
        size: of the part, in bytes.
        header: bytes that the file begins with, before the part.
    """

    def __init__(self, stream: BinaryIO, offset: int, size: int, header: bytes = b"") -> None:
        self._stream, self._offset, self._size, self._header = stream, offset, size, header
        self._at = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set the position, and return it."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self._header) + self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        """Return the position."""
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill a buffer, and return the number of bytes; less than asked for only at the end."""
        view, done = memoryview(buffer).cast("B"), 0
        head = self._header[self._at : self._at + len(view)]
        view[: len(head)] = head
        done, inside = len(head), self._at + len(head) - len(self._header)
        wanted = max(0, min(len(view) - done, self._size - inside))
        if wanted:
            self._stream.seek(self._offset + inside)
            found = self._stream.read(wanted)
            view[done : done + len(found)] = found
            done += len(found)
        self._at += done
        return done


@contextmanager
def opened(reader: Reader, key: str) -> Iterator[BinaryIO]:
    """Open an item: a file, or a piece of one, where it lies; any other in memory.

    Raises:
        ItemError: it cannot be read, or is a pipe or a device.
    """
    if not isinstance(reader, WholeFile | Piece):
        yield io.BytesIO(reader(key))
        return
    try:
        file = open_file(reader.path)
    except OSError as error:
        raise ItemError(key, f"cannot be read: {error.strerror or type(error).__name__}") from None
    with file:
        if isinstance(reader, Piece):
            yield cast(BinaryIO, io.BufferedReader(Region(file, reader.offset, reader.size), 1 << 16))
        else:
            yield file


def kept(reader: Reader, stream: BinaryIO) -> Reader:
    """Return what reads an open item again, without unpacking it again.

    Args:
        reader: of the item.
        stream: that :func:`opened` has given.
    """
    return InMemory(stream.getvalue()) if isinstance(stream, io.BytesIO) else reader
