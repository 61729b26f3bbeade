"""Small files of a store on object storage that change: pointers, logs, lists, locks.

::

    <address>/service/<name>             moved by whoever knows which release it replaces
    <address>/log/<time>-<random>.json   an object for each line of the log
    <address>/locks/<name>               leases, see :mod:`aepipe.store.backends.leases`
    <address>/ids/<name>, names.json, reading-<name>.json, stamps-<name>.bin,
        quarantine-<name>.parquet, feedback/...

Who moves a pointer says which bytes it replaces: those that it had when the lock of its collection was taken,
else those that were read last. Of several who move it at once, one succeeds.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path

from aepipe.errors import BusyError
from aepipe.store import layout
from aepipe.store.backends.bucket import Bucket, ChangedError
from aepipe.store.backends.copies import AT_ONCE, Copies
from aepipe.store.backends.leases import Lease, is_alive, since
from aepipe.store.io import write_durably


class Notes:
    """The small files of a store.

    Args:
        bucket: of the store.
        copies: what this machine has of it.
    """

    pause = 5.0
    """Seconds between two looks whether another release went into service: each look is a request that costs."""

    def __init__(self, bucket: Bucket, copies: Copies) -> None:
        self.bucket, self.copies = bucket, copies
        self.address, self.root = bucket.address, copies.root
        self._seen: dict[str, bytes | None] = {}
        self._held: dict[str, bytes | None] = {}
        """The bytes of each pointer when this object took the lock of its collection."""
        self._lines: dict[str, str] = {}

    def read(self, name: str) -> bytes:
        """Read a small file; FileNotFoundError where there is none."""
        try:
            data = self.bucket.get(name)
        except FileNotFoundError:
            self._seen[name] = None
            raise
        self._seen[name] = data
        return data

    def write(self, name: str, data: bytes) -> None:
        """Replace a small file."""
        self.bucket.put(name, data)

    def swap(self, name: str, data: bytes) -> None:
        """Replace a small file that is still as it was when it was locked or read.

        Raises:
            BusyError: somebody else has written it meanwhile.
        """
        before = self._held[name] if name in self._held else self._seen.get(name)
        try:
            if before is None:
                self.bucket.create(name, data)
            else:
                self.bucket.swap(name, data, self.bucket.stamp_of(name, before))
        except ChangedError:
            raise BusyError(
                f"{self.address}/{name}: another process has changed it meanwhile; "
                "`aepipe history` shows what happened; try again"
            ) from None
        self._seen[name] = data
        if name in self._held:
            self._held[name] = data

    def append(self, name: str, line: str) -> str:
        """Add a line to a log, after all others whatever clocks say; return its key."""
        folder = _folder(name)
        last = max((int(one.partition("-")[0]) for one in self.bucket.listed(folder) if one[0].isdigit()), default=0)
        key = f"{folder}/{max(time.time_ns(), last + 1):020d}-{secrets.token_hex(4)}.json"
        self.bucket.create(key, line.encode())
        return key

    def retract(self, line: str) -> None:
        """Take back a line."""
        self.bucket.delete(line)

    def lines(self, name: str) -> list[str]:
        """Return the lines of a log, oldest first; each is read once."""
        folder = _folder(name)
        keys = [f"{folder}/{one}" for one in sorted(self.bucket.listed(folder))]
        new = [key for key in keys if key not in self._lines]
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="lines") as pool:
            self._lines.update(zip(new, pool.map(self._line, new), strict=True))
        return [line for key in keys if (line := self._lines[key])]

    def delete(self, name: str) -> None:
        """Remove a small file, or a folder of them, here and there."""
        for one in self.bucket.listed(name):
            self.bucket.delete(f"{name}/{one}")
        self.bucket.delete(name)
        self.copies.delete(name)

    def move(self, name: str, new: str) -> None:
        """Rename a small file, or a folder of them, if there is one."""
        below = [f"/{one}" for one in self.bucket.listed(name)]
        for one in below or [""]:
            with suppress(FileNotFoundError):
                self.bucket.copy(f"{name}{one}", f"{new}{one}")
        self.delete(name)

    def names(self, folder: str, pattern: str = "*") -> list[str]:
        """Return the names of the small files in a folder, sorted."""
        return sorted(name for name in self.bucket.children(folder) if name[0] != "." and fnmatch(name, pattern))

    def sizes(self, folder: str) -> dict[str, int]:
        """Return the bytes of the small files in a folder, by name."""
        return {name: one.size for name, one in self.bucket.listed(folder).items()}

    def file(self, name: str) -> Path:
        """Return a small file, or a folder of them, on this machine, as it is now in the store."""
        below = self.bucket.listed(name)
        for one, about in below.items():
            here = self.root / name / one
            if not here.exists() or here.stat().st_size != about.size:
                self._fetch_small(f"{name}/{one}")
        if not below:
            self._fetch_small(name)
        return self.root / name

    def keep(self, name: str) -> None:
        """Write the file of this machine to the store, or remove it there if it is gone here."""
        here = self.root / name
        if here.exists():
            self.bucket.upload(name, here, here.stat().st_size)
        else:
            self.bucket.delete(name)

    def lock(self, name: str) -> Lease:
        """Open the lease of a collection.

        Raises:
            StoreError: the server does not answer or refuses, or this user may not write copies.
        """
        self.create()
        pointer = f"{layout.Root.SERVICE}/{name}"

        def taken() -> None:
            try:
                self._held[pointer] = self.bucket.get(pointer)
            except FileNotFoundError:
                self._held[pointer] = None

        def ended() -> None:
            self._held.pop(pointer, None)

        return Lease(self.bucket, name, self.copies.lock(name), self._machine(), taken=taken, ended=ended)

    def locked(self) -> list[str]:
        """Return the names that have a lease."""
        return self.names(layout.Root.LOCKS)

    def writers(self) -> Iterator[float]:
        """Yield when each process that holds a lease began, in seconds since 1970, or 0."""
        for name, about in self.bucket.listed(layout.Root.LOCKS).items():
            if is_alive(about):
                with suppress(FileNotFoundError):
                    yield since(self.bucket.get(f"{layout.Root.LOCKS}/{name}"))

    def create(self) -> None:
        """Make what a store needs before it is written to."""
        raise NotImplementedError

    def _line(self, key: str) -> str:
        try:
            return self.bucket.get(key).decode("utf-8", "replace")
        except FileNotFoundError:  # taken back at this moment
            return ""

    def _fetch_small(self, name: str) -> None:
        here = self.root / name
        self.copies.create()
        here.parent.mkdir(parents=True, exist_ok=True)
        part = here.with_name(f".{here.name}.{secrets.token_hex(4)}")
        try:
            self.bucket.download(name, part)
            part.replace(here)
        except FileNotFoundError:
            here.unlink(missing_ok=True)
        finally:
            part.unlink(missing_ok=True)

    def _machine(self) -> str:
        """Return what tells the processes that share this folder of copies from others."""
        file = self.root / "machine"
        if not file.exists():
            write_durably(file, secrets.token_hex(16))
        return file.read_text(encoding="ascii")


def _folder(name: str) -> str:
    """Return the folder with the lines of a log."""
    return layout.Root.LINES if name == layout.Root.LOG else name
