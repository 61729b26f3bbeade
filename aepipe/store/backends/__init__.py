"""Where the bytes of a store are: one file for each kind of place.

::

    folder     a folder of this machine, or of a file system that several machines have
    objects    object storage, behind an address such as ``s3://BUCKET/FOLDER``

Both give and take artifacts by name, ``<kind>/<digest>``, and small files that change, by their names in the store.
Nobody above this folder knows which one it is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from aepipe.store.addresses import of_objects
from aepipe.store.backends.folder import Folder, State

__all__ = ["Backend", "Lock", "State", "at"]


class Lock(Protocol):
    """The lock of a collection, opened and not taken yet."""

    def taken(self) -> bool:
        """Take the lock if nobody has it; say whether this succeeded."""

    def holder(self) -> str:
        """Return who holds it; empty where that is not known yet."""

    def sign(self, line: str) -> None:
        """Write who holds it."""

    def release(self) -> None:
        """Let it go."""

    def close(self) -> None:
        """Close what belongs to it."""


class Backend(Protocol):
    """A place for a store.

    Attributes:
        address: of the store, as people write it.
        root: the folder of this machine in which artifacts are read and drafts are written.
        pause: seconds between two looks whether another release went into service, at least.
    """

    address: str
    root: Path
    pause: float

    def create(self) -> None:
        """Make the place, if needed."""

    def state(self) -> tuple[State, str]:
        """Return whether the place can be used, and a text about it."""

    def has(self, name: str) -> bool:
        """Say whether there is an artifact."""

    def mark(self, *names: str) -> bool:
        """Mark artifacts as used now; say whether all are there."""

    def used(self, name: str) -> float:
        """Return when an artifact was made or last used, in seconds since 1970; infinity if gone."""

    def listed(self, kind: str) -> list[str]:
        """Return the digests of all artifacts of a kind, oldest first."""

    def manifest(self, name: str) -> bytes:
        """Read the manifest of an artifact; FileNotFoundError where there is none."""

    def damaged(self, name: str, what: str) -> str:
        """Return what to say of a damaged manifest, with the remedy."""

    def fetched(self, name: str, outputs: Mapping[str, Mapping[str, Any]]) -> Path:
        """Return the folder of an artifact on this machine, fetching files that are not here."""

    def output(self, name: str, file: str, sealed: Mapping[str, Any]) -> Path:
        """Return one file of an artifact on this machine."""

    def checked_lengths(self, name: str, outputs: Mapping[str, Mapping[str, Any]]) -> bool:
        """Check lengths where the bytes are; False where that is the folder itself."""

    def forget(self, name: str) -> bool:
        """Drop a damaged copy; say whether it can be fetched again."""

    def draft(self, kind: str) -> AbstractContextManager[Path]:
        """Give a folder to write an artifact in; it is removed at the end, unless it was committed."""

    def commit(self, draft: Path, name: str) -> None:
        """Give a whole draft its name; drop it where another one has that name already."""

    def remove(self, name: str, unused_since: float) -> bool:
        """Remove an artifact unless it was used at that time or later; say whether it is gone."""

    def sweep(self) -> None:
        """Remove what no artifact needs, where removing an artifact does not."""

    def size(self, name: str) -> int:
        """Return the bytes of an artifact."""

    def work(self, digest: str) -> Path:
        """Return a folder of this machine for checkpoints, with those that outlived a kill."""

    def works(self) -> dict[str, tuple[float, int]]:
        """Return by digest when checkpoints were last written, and their bytes."""

    def drop_work(self, digest: str) -> None:
        """Remove checkpoints."""

    def read(self, name: str) -> bytes:
        """Read a small file; FileNotFoundError where there is none."""

    def write(self, name: str, data: bytes) -> None:
        """Replace a small file; after a crash it is the old one or the new one."""

    def swap(self, name: str, data: bytes) -> None:
        """Replace a small file that was read before; BusyError where others have since."""

    def append(self, name: str, line: str) -> str:
        """Add a line to a log durably; return what :meth:`retract` takes."""

    def retract(self, line: str) -> None:
        """Take back a line, where that can be done."""

    def lines(self, name: str) -> list[str]:
        """Return the lines of a log, oldest first; none where there is no log."""

    def delete(self, name: str) -> None:
        """Remove a small file, or a folder of them, if there is one."""

    def move(self, name: str, new: str) -> None:
        """Rename a small file, or a folder of them, if there is one."""

    def names(self, folder: str, pattern: str = "*") -> list[str]:
        """Return the names of the small files in a folder, sorted; hidden ones are left out."""

    def sizes(self, folder: str) -> dict[str, int]:
        """Return the bytes of the small files in a folder, by name."""

    def file(self, name: str) -> Path:
        """Bring a small file to this machine; return where it lies, if there is one."""

    def keep(self, name: str) -> None:
        """Take over what was written to :meth:`file`, or that it is gone."""

    def lock(self, name: str) -> Lock:
        """Open the lock of a collection."""

    def locked(self) -> list[str]:
        """Return the names that have a lock, taken or not."""

    def writers(self) -> Iterator[float]:
        """Yield when each process that holds a lock began, in seconds since 1970, or 0."""


def at(where: str | os.PathLike[str], *, reread: bool = False) -> Backend:
    """Return the place behind a path or an address; nothing is read or made.

    Args:
        where: a path or an address.
        reread: copies that this machine has are fetched again.

    Raises:
        StoreError: the address is none of a store.
    """
    address = of_objects(where)
    if address is None:
        return Folder(Path(where))
    from aepipe.store.backends.objects import Objects

    return Objects(address, reread=reread)
