"""Features of items by their bytes, kept on the disk: a run that was killed goes on, and no item is looked at twice.

Files in the folder, both only ever appended to: ``sha256``, 32 bytes an item, and ``features``. What a killed process
left half written is cut off when they are opened. One process writes at a time; others do without.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from threading import Lock
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray


class FeatureCache:
    """The features of many items.

    Args:
        folder: is made where it is missing.
        width: numbers of an item.
        dtype: of them.
    """

    def __init__(self, folder: Path, *, width: int, dtype: str) -> None:
        self._dtype = np.dtype(dtype).newbyteorder("<")
        self._bytes = width * self._dtype.itemsize
        self._lock = Lock()
        folder.mkdir(parents=True, exist_ok=True)
        self._digests, self._features = (_opened(folder / name) for name in ("sha256", "features"))
        self.writable = _locked(self._digests)
        count = min(_size(self._digests) // 32, _size(self._features) // self._bytes)
        if self.writable:
            self._digests.truncate(32 * count)
            self._features.truncate(self._bytes * count)
        self._digests.seek(0)
        held = self._digests.read(32 * count)
        self._places = {held[32 * i : 32 * i + 32]: i for i in range(count)}
        self._next = count

    def __len__(self) -> int:
        return len(self._places)

    def get(self, sha256: bytes) -> NDArray[Any] | None:
        """Return the features of an item, None where it was never looked at."""
        place = self._places.get(sha256)
        if place is None:
            return None
        data = os.pread(self._features.fileno(), self._bytes, place * self._bytes)
        return np.frombuffer(data, self._dtype) if len(data) == self._bytes else None

    def put(self, sha256: bytes, features: NDArray[Any]) -> None:
        """Keep the features of an item."""
        if not self.writable:
            return
        with self._lock:
            if sha256 in self._places:
                return
            # The digest comes last: a digest without features would be a lie.
            os.pwrite(self._features.fileno(), features.astype(self._dtype).tobytes(), self._next * self._bytes)
            os.pwrite(self._digests.fileno(), sha256, self._next * 32)
            self._places[sha256] = self._next
            self._next += 1

    def close(self) -> None:
        """Let others write."""
        self._digests.close()
        self._features.close()


def _opened(file: Path) -> IO[bytes]:
    """Open a file for reading and writing, without emptying it."""
    return os.fdopen(os.open(file, os.O_RDWR | os.O_CREAT, 0o600), "r+b", buffering=0)


def _locked(stream: IO[bytes]) -> bool:
    """Say whether this process may write."""
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _size(stream: IO[bytes]) -> int:
    """Return the bytes of a file."""
    return os.fstat(stream.fileno()).st_size
