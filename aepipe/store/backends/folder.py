"""A store in a folder: artifacts are directories, and one rename gives each its name.

Locks are those of the file system, which may be shared by several machines.
"""

from __future__ import annotations

import errno
import fcntl
import math
import os
import shutil
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from aepipe.errors import StoreError, system_words
from aepipe.store import layout
from aepipe.store.backends import drafts, locks
from aepipe.store.io import append_line, bytes_in, disk_errors_named, entries, sync_folder, write_durably

_TAG = "Signature: 8a477f597d28d172789f06886806bc55\n# Made by aepipe; see https://bford.info/cachedir/\n"


State = Literal["ok", "note", "bad"]
"""Of a place: it can be used; there is something to know; or something has to be fixed."""


class Folder:
    """The folder of a store; creating the object touches nothing, the first write makes it."""

    pause = 0.0
    """A look at a folder costs nothing."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.address = str(self.root)

    def create(self) -> None:
        """Make the folder: private to its owner, marked as a cache, and ignored by git."""
        # The tag comes last, so an interrupted first write is completed by the next one.
        if not (self.root / layout.Root.CACHE_TAG).exists():
            try:
                self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            except (FileExistsError, NotADirectoryError):
                raise StoreError(f"{self.root}: no folder, so it cannot be a store; name another with --home") from None
            (self.root / layout.Root.GIT_IGNORE).write_text("*\n")
            (self.root / layout.Root.CACHE_TAG).write_text(_TAG)

    def state(self) -> tuple[State, str]:
        """Return whether the folder can be used, and by whom."""
        if not self.root.is_dir():
            return "note", f"{self.root}: is not there yet; `aepipe run RECIPE_OR_FOLDER` makes it"
        if not os.access(self.root, os.W_OK):
            return "note", f"{self.root}: cannot be written by this user; queries work, runs do not"
        if stat.S_IMODE(self.root.stat().st_mode) & 0o077:
            return "note", f"{self.root}: others on this machine can read it; chmod 700 {self.root}"
        return "ok", f"{self.root}: private, and can be written"

    # Artifacts

    def has(self, name: str) -> bool:
        """Say whether there is an artifact; one that has no manifest yet does not count."""
        return self._manifest(name).is_file()

    def mark(self, *names: str) -> bool:
        """Mark artifacts as used now; say whether all are there."""
        with self._removal(fcntl.LOCK_SH):
            found = [name for name in names if self.has(name)]
            for name in found:
                mark(self._manifest(name))
        return len(found) == len(names)

    def used(self, name: str) -> float:
        """Return when an artifact was made or last used, in seconds since 1970; infinity if gone."""
        try:
            return self._manifest(name).stat().st_mtime
        except FileNotFoundError:
            return math.inf

    def listed(self, kind: str) -> list[str]:
        """Return the digests of all artifacts of a kind, oldest first.

        Raises:
            StoreError: the folder cannot be read.
        """
        found: list[tuple[int, str]] = []
        for path in entries(self.root / kind):
            with suppress(FileNotFoundError, NotADirectoryError):  # no artifact, or another process has removed it
                if path.name[0] != "." and (path / layout.MANIFEST).is_file():
                    found.append((path.stat().st_mtime_ns, path.name))
        return [name for _, name in sorted(found)]

    def manifest(self, name: str) -> bytes:
        """Read the manifest of an artifact."""
        # A cold query reads one for each segment of a release: no path is made, and nothing is buffered.
        with open(f"{self.root}{os.sep}{name}{os.sep}{layout.MANIFEST}", "rb", buffering=0) as file:
            return file.read()

    def damaged(self, name: str, what: str) -> str:
        """Return what to say of a damaged manifest, with the remedy."""
        remedy = f"Delete the folder {self.root / name} and run again: it will be made again"
        return f"{self._manifest(name)}: corrupt, {what}. {remedy}"

    def fetched(self, name: str, outputs: Mapping[str, Mapping[str, Any]]) -> Path:
        """Return the folder of an artifact; whether its files are in it is not looked at."""
        del outputs
        return self.root / name

    def output(self, name: str, file: str, sealed: Mapping[str, Any]) -> Path:
        """Return one file of an artifact."""
        del sealed
        return self.root / name / file

    def checked_lengths(self, name: str, outputs: Mapping[str, Mapping[str, Any]]) -> bool:
        """The folder on this machine is where the bytes are."""
        del name, outputs
        return False

    def forget(self, name: str) -> bool:
        """There is no other copy."""
        del name
        return False

    @contextmanager
    def draft(self, kind: str) -> Iterator[Path]:
        """Give a folder to write an artifact in; it is removed at the end, unless it was committed.

        Raises:
            FullError: the disk is full.
            StoreError: the store cannot be written.
        """
        parent = self.root / kind
        with disk_errors_named(self.root):
            self.create()
            parent.mkdir(exist_ok=True)
            # Looked at before the draft is removed, which makes room on a full disk.
            with drafts.draft(parent) as path, disk_errors_named(self.root):
                yield path

    def commit(self, draft: Path, name: str) -> None:
        """Rename a draft; drop it where the store has that artifact already."""
        target = self.root / name
        mark(draft / layout.MANIFEST)
        try:
            draft.rename(target)
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}:
                raise
            if self.mark(name) or not self.remove(name, unused_since=0.0):
                shutil.rmtree(draft)
            else:
                draft.rename(target)
        sync_folder(target.parent)

    def remove(self, name: str, unused_since: float) -> bool:
        """Remove an artifact unless it was used since; it loses its name before its files go.

        Raises:
            StoreError: the store cannot be written.
        """
        with disk_errors_named(self.root), self._removal(fcntl.LOCK_EX):
            if self.has(name) and self.used(name) >= unused_since:
                return False
            self._clear(name)
        return True

    def sweep(self) -> None:
        """Nothing is left when an artifact is removed."""

    def size(self, name: str) -> int:
        """Return the bytes of an artifact, with its manifest."""
        return bytes_in(self.root / name)

    def _manifest(self, name: str) -> Path:
        return self.root / name / layout.MANIFEST

    def _clear(self, name: str) -> None:
        """Take away what stands under the name of an artifact, whatever it is."""
        path = self.root / name
        temporary = path.with_name(drafts.name())
        with suppress(FileNotFoundError):
            path.rename(temporary)
        if temporary.is_dir() and not temporary.is_symlink():
            shutil.rmtree(temporary, ignore_errors=True)
        else:  # a file or a link in the place of a folder
            temporary.unlink(missing_ok=True)

    @contextmanager
    def _removal(self, how: int) -> Iterator[None]:
        """Hold the lock between those who use artifacts, together, and those who remove one, alone."""
        folder = self.root / layout.Root.LOCKS
        try:
            folder.mkdir(exist_ok=True)
            stream = (folder / layout.Root.REMOVAL).open("a", encoding="utf-8")
        except OSError as error:
            if how == fcntl.LOCK_EX or error.errno not in {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT}:
                raise
            yield  # nothing is removed from a store that can only be read, or that is not there
            return
        with stream:
            fcntl.flock(stream, how)
            yield

    # Checkpoints

    def work(self, digest: str) -> Path:
        """Return the folder for checkpoints of an unfinished artifact; it outlives a kill."""
        path = self.root / layout.Root.WORK / digest
        with disk_errors_named(self.root):
            self.create()
            path.mkdir(parents=True, exist_ok=True)
            mark(path)
        return path

    def works(self) -> dict[str, tuple[float, int]]:
        """Return when checkpoints were last written, and their bytes, by digest."""
        return {path.name: (_touched(path), bytes_in(path)) for path in entries(self.root / layout.Root.WORK)}

    def drop_work(self, digest: str) -> None:
        """Remove checkpoints."""
        shutil.rmtree(self.root / layout.Root.WORK / digest, ignore_errors=True)

    # Small files

    def read(self, name: str) -> bytes:
        """Read a small file."""
        return (self.root / name).read_bytes()

    def write(self, name: str, data: bytes) -> None:
        """Replace a small file, and make its folder if needed."""
        file = self.root / name
        with disk_errors_named(self.root):
            file.parent.mkdir(parents=True, exist_ok=True)
            write_durably(file, data)

    def swap(self, name: str, data: bytes) -> None:
        """Replace a small file; the lock of its collection keeps others off."""
        self.write(name, data)

    def append(self, name: str, line: str) -> str:
        """Add a line to a log; it is on the disk when this returns."""
        file = self.root / name
        with disk_errors_named(self.root):
            file.parent.mkdir(parents=True, exist_ok=True)
            append_line(file, line)
        return ""

    def retract(self, line: str) -> None:
        """Lines stay: a swap does not fail here."""

    def lines(self, name: str) -> list[str]:
        """Return the lines of a log, oldest first; none where there is no log."""
        try:
            return (self.root / name).read_bytes().decode("utf-8", "replace").splitlines()
        except FileNotFoundError:
            return []

    def delete(self, name: str) -> None:
        """Remove a small file, or a folder of them, if there is one."""
        path = self.root / name
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)

    def move(self, name: str, new: str) -> None:
        """Rename a small file, or a folder of them, if there is one."""
        with suppress(FileNotFoundError):
            (self.root / name).replace(self.root / new)

    def names(self, folder: str, pattern: str = "*") -> list[str]:
        """Return the names of what lies in a folder, sorted; hidden ones are left out.

        Raises:
            StoreError: the folder cannot be read.
        """
        path = self.root / folder
        try:
            found = entries(path, pattern) if path.is_dir() else []
        except OSError as error:
            raise StoreError(system_words(error)) from None
        return [one.name for one in found if one.name[0] != "."]

    def sizes(self, folder: str) -> dict[str, int]:
        """Return the bytes of the files in a folder, by name."""
        path = self.root / folder
        return {one.name: one.stat().st_size for one in path.iterdir()} if path.is_dir() else {}

    def file(self, name: str) -> Path:
        """Return where a small file lies."""
        return self.root / name

    def keep(self, name: str) -> None:
        """It is in its place already."""

    def lock(self, name: str) -> locks.FileLock:
        """Open the lock of a collection.

        Raises:
            StoreError: this user may not write to the store.
        """
        with disk_errors_named(self.root):
            self.create()
            folder = self.root / layout.Root.LOCKS
            folder.mkdir(exist_ok=True)
            return locks.FileLock(folder / name)

    def locked(self) -> list[str]:
        """Return the names that have a lock, taken or not."""
        return [path.name for path in entries(self.root / layout.Root.LOCKS) if path.name[0] != "."]

    def writers(self) -> Iterator[float]:
        """Yield when each process that holds a lock began, in seconds since 1970, or 0."""
        return locks.writers(self.root / layout.Root.LOCKS)


def mark(path: Path) -> None:
    """Note that a file is used now, by the clock of Python; that of file systems is late."""
    now = time.time_ns()
    try:
        os.utime(path, ns=(now, now))
    except PermissionError:  # the file of another user
        with suppress(OSError):
            os.utime(path)


def _touched(folder: Path) -> float:
    """Return when anything in a folder was last written, in seconds since the epoch; infinity if it is going away."""
    try:
        return max(path.stat().st_mtime for path in (folder, *folder.rglob("*")))
    except FileNotFoundError:
        return math.inf
