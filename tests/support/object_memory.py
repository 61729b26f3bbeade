"""Objects of a store in memory, with times that a test sets."""

from __future__ import annotations

import time
from pathlib import Path

from aepipe.store.backends.bucket import ChangedError, Object

NOW = 1_000_000.0


class Memory:
    """Objects in memory.

    Attributes:
        held: bytes and time of each object, by key.
        asked: the calls, as words.
        modified: the time that objects are written at.
    """

    def __init__(self) -> None:
        self.address = "s3://bucket/store"
        self.held: dict[str, tuple[bytes, float]] = {}
        self.asked: list[str] = []
        self.modified = NOW

    def get(self, key: str) -> bytes:
        self.asked.append(f"get {key}")
        if key not in self.held:
            raise FileNotFoundError(key)
        return self.held[key][0]

    def info(self, key: str) -> Object | None:
        self.asked.append(f"info {key}")
        if key not in self.held:
            return None
        data, when = self.held[key]
        return Object(len(data), f"{data!r} {when}", when)

    def listed(self, folder: str) -> dict[str, Object]:
        start = f"{folder}/" if folder else ""
        return {key[len(start) :]: self._info(key) for key in sorted(self.held) if key.startswith(start)}

    def children(self, folder: str) -> list[str]:
        return sorted({name.partition("/")[0] for name in self.listed(folder)})

    def put(self, key: str, data: bytes) -> None:
        self.asked.append(f"put {key}")
        self.held[key] = data, self.modified

    def create(self, key: str, data: bytes) -> None:
        if self.held.get(key, (data,))[0] != data:
            raise ChangedError(key)
        self.put(key, data)

    def swap(self, key: str, data: bytes, stamp: str) -> None:
        if self._stamp(key) != stamp:
            raise ChangedError(key)
        self.put(key, data)

    def stamp_of(self, key: str, data: bytes) -> str:
        if self.held.get(key, (None,))[0] != data:
            raise ChangedError(key)
        return self._stamp(key)

    def upload(self, key: str, file: Path, size: int) -> None:
        assert file.stat().st_size == size
        self.put(key, file.read_bytes())

    def download(self, key: str, file: Path) -> None:
        file.write_bytes(self.get(key))

    def copy(self, key: str, new: str) -> None:
        self.put(new, self.get(key))

    def delete(self, key: str) -> None:
        self.asked.append(f"delete {key}")
        self.held.pop(key, None)

    def _stamp(self, key: str) -> str:
        return self._info(key).stamp if key in self.held else ""

    def _info(self, key: str) -> Object:
        data, when = self.held[key]
        return Object(len(data), f"{data!r} {when}", when)


class Clock:
    """A clock that stands still."""

    now = NOW

    def time(self) -> float:
        """Return the seconds since 1970."""
        return self.now

    def monotonic(self) -> float:
        """Return some seconds."""
        return time.monotonic()
