"""Features that were computed before, on disk: a network sees no item twice."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from threading import Lock
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray


class FeatureCache:
    """Features of items on disk, by the digest of the items' bytes.

    So a run that was killed computes no item again when it goes on.

    Two files in the folder are only ever appended to: ``sha256``, 32 bytes an item, and ``features``. What a killed
    process left half written is cut off when they are opened. One process writes at a time; others only read.

    Args:
        folder: made where it is missing.
        width: numbers of an item.
        dtype: of these numbers.

    Attributes:
        writable: this process is the one that writes.
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
        """Return the features of an item; None where the cache has none."""
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
            _write(self._features, features.astype(self._dtype).tobytes(), self._next * self._bytes)
            _write(self._digests, sha256, self._next * 32)
            self._places[sha256] = self._next
            self._next += 1

    def close(self) -> None:
        """Let others write."""
        self._digests.close()
        self._features.close()


def _opened(file: Path) -> IO[bytes]:
    # Python has no mode that makes a file and reads and writes anywhere in it, but leaves what is there.
    return os.fdopen(os.open(file, os.O_RDWR | os.O_CREAT, 0o600), "r+b", buffering=0)


def _locked(stream: IO[bytes]) -> bool:
    """Take the lock of the writing process; return False where another has it."""
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _write(stream: IO[bytes], data: bytes, place: int) -> None:
    """Write all bytes at a place; a disk that becomes full takes some of them first."""
    while data:
        done = os.pwrite(stream.fileno(), data, place)
        data, place = data[done:], place + done


def _size(stream: IO[bytes]) -> int:
    return os.fstat(stream.fileno()).st_size
