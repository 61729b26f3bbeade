"""The files of a source: one file, all files of a folder, or what a glob matches; in order, the same each time."""

# (from readers.py) Ways to the bytes of one item; each is called with the item's key and may be called in any thread.

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from aepipe.errors import ItemError, SourceError
from aepipe.sources import remote

ANCHOR = "/./"
"""Where it stands in a path, what is before it is the root, as rsync has it."""


@dataclass(frozen=True, slots=True)
class Found:
    r"""One file.

    Attributes:
        place: its path relative to the root, with ``/``, and always text: a byte of a name that is no UTF-8 stands as
            ``\xff``.
        path: to open it.
        refusal: why it is not to be opened; None if it is.
    """

    place: str
    path: str
    refusal: str | None = None


@dataclass(frozen=True, slots=True)
class Files:
    """The files of a source, found anew at each iteration.

    Attributes:
        given: the path as the user wrote it, for messages.
        root: the folder that places are relative to: the folder itself, the file's folder, the glob's fixed part.
        single: the path is one file.
        pattern: of a glob, relative to the root; else the empty string.
    """

    given: str
    root: Path
    single: bool = False
    pattern: str = ""

    @classmethod
    def at(cls, text: str, base: Path) -> Files:
        """Read a path of a recipe.

        Args:
            text: a file, a folder or a glob, relative to ``base``; ``~`` is the user's home; or the address of such,
                which is brought here first. Places are relative to what stands before a ``/./`` in it, if any.
            base: a folder.

        Raises:
            SourceError: it does not exist or cannot be reached, or a glob matches nothing.
        """
        if remote.is_address(text):
            return replace(cls.at(str(remote.fetched(text)), base), given=text)
        head, anchored, tail = text.partition(ANCHOR)
        path = Path(os.path.normpath(base / Path(text).expanduser())).absolute()
        if anchored:
            return cls._below(Path(os.path.normpath(base / Path(head).expanduser())).absolute(), tail, path)
        if path.is_dir():
            return cls(str(path), path)
        if path.exists():
            return cls(str(path), path.parent, single=True, pattern=path.name)
        if not glob.has_magic(str(path)):
            raise SourceError(f"{path}: no such file or folder")
        fixed = next(index for index, part in enumerate(path.parts) if glob.has_magic(part))
        files = cls(str(path), Path(*path.parts[:fixed]), pattern=str(Path(*path.parts[fixed:])))
        if next(iter(files), None) is None:
            raise SourceError(f"{path}: nothing matches")
        return files

    @classmethod
    def _below(cls, root: Path, name: str, path: Path) -> Files:
        """Read a path whose places are relative to a folder above it."""
        if not path.is_relative_to(root):
            raise SourceError(f"{path}: does not lie in {root}")
        name = os.path.normpath(name)
        if path.is_dir():
            return cls(str(path), root, pattern="" if path == root else glob.escape(name))
        files = cls(str(path), root, single=path.exists(), pattern=name)
        if next(iter(files), None) is None:
            raise SourceError(f"{path}: {'nothing matches' if glob.has_magic(name) else 'no such file or folder'}")
        return files

    def __iter__(self) -> Iterator[Found]:
        root = str(self.root)
        if self.single:
            yield _found(root, self.pattern, link=False)  # a link that the user names is meant
            return
        if not self.pattern:
            yield from _walk(root, "")
            return
        for name in sorted(glob.iglob(self.pattern, root_dir=root, recursive=True)):
            path = os.path.join(root, name)
            if not os.path.isdir(path):
                yield _found(root, name, link=os.path.islink(path))
            elif "**" not in self.pattern:
                yield from _walk(root, f"{name}/")


def _walk(root: str, folder: str) -> Iterator[Found]:
    """Give the files below a folder in the order of their paths; hidden ones and folders behind links are left out.

    What the listing of a folder tells is not asked again: each file would cost one more trip to a distant disk.
    """
    at = os.path.join(root, folder)
    try:
        with os.scandir(at) as entries:
            seen = [entry for entry in entries if entry.name[0] != "."]
            names = sorted((f"{e.name}/" if e.is_dir(follow_symlinks=False) else e.name, e.is_symlink()) for e in seen)
    except OSError as error:
        raise SourceError(f"{at}: cannot be read: {error.strerror}") from None
    for name, link in names:
        if name.endswith("/"):
            yield from _walk(root, folder + name)
        elif not link:
            yield Found(_place(folder + name), at + name)
        elif not os.path.isdir(at + name):
            yield _found(root, folder + name, link=True)


def _found(root: str, name: str, *, link: bool) -> Found:
    """Look at one file; a link that leads out of the root is found, but refused."""
    path = os.path.join(root, name)
    if link:
        real, home = os.path.realpath(path), os.path.realpath(root)
        if os.path.commonpath([real, home]) != home:
            return Found(_place(name), path, "link out of the source")
    return Found(_place(name), path)


def _place(name: str) -> str:
    """Return a path as text."""
    return name if name.isascii() else os.fsencode(name).decode("utf-8", "backslashreplace")


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
class InMemory:
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
