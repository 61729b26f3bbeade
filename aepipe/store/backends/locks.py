"""Locks of collections: files that the kernel unlocks when their process ends.

Each file has a line that says who holds it, and since when.
"""

from __future__ import annotations

import fcntl
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from math import inf
from pathlib import Path

from aepipe.errors import StoreError, system_words
from aepipe.store.backends.drafts import is_alive
from aepipe.store.io import entries

_HOLDER = re.compile(r"process (?P<process>\d+), since (?P<since>\S+?)(?:, on (?P<host>.+))?")


def signature() -> str:
    """Return the line of this process, which begins to write now."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return f"process {os.getpid()}, since {now}, on {socket.gethostname()}"


class FileLock:
    """A lock that is opened, and not taken yet.

    Args:
        file: is made if needed; its folder is there.
    """

    def __init__(self, file: Path) -> None:
        self._stream = file.open("a+", encoding="utf-8", errors="replace")

    def taken(self) -> bool:
        """Take the lock if nobody has it; say whether this succeeded."""
        try:
            fcntl.flock(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def holder(self) -> str:
        """Return who holds it; empty where nothing is written yet."""
        self._stream.seek(0)
        return self._stream.read().strip()

    def sign(self, line: str) -> None:
        """Write who holds it."""
        self._stream.truncate(0)
        self._stream.write(line)
        self._stream.flush()

    def release(self) -> None:
        """Let it go."""
        with suppress(OSError):  # whoever is gone is known by its process, too
            self._stream.truncate(0)

    def close(self) -> None:
        """Close the file, which unlocks it."""
        self._stream.close()


def writers(folder: Path) -> Iterator[float]:
    """Yield when each process that holds a lock began, in seconds since 1970, or 0.

    Raises:
        StoreError: a lock cannot be read.
    """
    for file in entries(folder):
        if file.name[0] != ".":
            try:
                text = file.read_text(encoding="utf-8", errors="replace")
            except OSError as error:
                raise StoreError(system_words(error)) from None
            yield since(text)


def since(text: str) -> float:
    """Return when the holder of a lock began; infinity where it is dead, 0 if not known."""
    if not text:
        return inf
    found = _HOLDER.fullmatch(text)
    if found is None:  # half of it is written
        return 0.0
    here = found["host"] in {None, socket.gethostname()}
    if here and not is_alive(int(found["process"])):
        return inf
    return began(text)


def began(text: str) -> float:
    """Return when the holder of a lock began, whether it lives or not; 0 where nobody can tell."""
    found = _HOLDER.fullmatch(text)
    try:
        seconds = datetime.fromisoformat(found["since"]).timestamp() if found else 0.0
    except (ValueError, OverflowError):  # half of it is written
        return 0.0
    return seconds if seconds <= time.time() else 0.0
