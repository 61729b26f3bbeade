"""Ways to the bytes of one item; each is called with the item's key and may be called in any thread."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass

from aepipe.errors import ItemError

MAX_BYTES = 1 << 28
"""Larger items are refused, so that a few of them cannot fill the memory."""

_READ = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


@dataclass(frozen=True, slots=True)
class WholeFile:
    """All of a file."""

    path: str

    def __call__(self, key: str) -> bytes:
        """Read it; a pipe or a device that bears an image's name is not waited for."""
        # Python's own files take twice as long for small ones.
        handle = os.open(self.path, _READ)
        try:
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode):
                raise ItemError(key, "not a file")
            check_bytes(found.st_size, key)
            data = os.read(handle, found.st_size + 1)
            # It has grown in the meantime, or the system gives less at a time.
            while len(data) != found.st_size and (more := os.read(handle, 1 << 20)):
                data += more
                check_bytes(len(data), key)
            return data
        finally:
            os.close(handle)


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a file, in bytes."""

    path: str
    offset: int
    size: int

    def __call__(self, key: str) -> bytes:
        """Read it."""
        check_bytes(self.size, key)
        with open(self.path, "rb") as stream:
            stream.seek(self.offset)
            data = stream.read(self.size)
        if len(data) < self.size:
            raise ItemError(key, "truncated")
        return data


@dataclass(frozen=True, slots=True)
class Held:
    """Bytes that the container had to read anyway."""

    data: bytes

    def __call__(self, key: str) -> bytes:
        """Return them."""
        check_bytes(len(self.data), key)
        return self.data


@dataclass(frozen=True, slots=True)
class Refused:
    """An item of which it is known already that it cannot be read, and why."""

    reason: str

    def __call__(self, key: str) -> bytes:
        """Raise the reason."""
        raise ItemError(key, self.reason)


def check_bytes(size: int, key: str) -> None:
    """Check that an item is not too large.

    Raises:
        ItemError: it is.
    """
    if size > MAX_BYTES:
        raise ItemError(key, f"more than {MAX_BYTES >> 20} MB")
