"""Find the files of a source, always in the same order, and read the bytes of one item.

A source is one file, all files of a folder, or the files that match a glob. A reader (:class:`WholeFile`,
:class:`Piece`, :class:`InMemory`, :class:`Refused`) is called with the key of its item, in any thread.
"""

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
"""Separates the root of a source from the rest of a path, as in rsync."""
MAX_BYTES = 1 << 28
"""Larger items are refused, so that a few of them cannot fill the memory."""

_READ = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


@dataclass(frozen=True, slots=True)
class Found:
    r"""One file.

    Attributes:
        place: its path relative to the root, with ``/``, and always text: a byte of a name that is no UTF-8 is written
            as ``\xff``.
        path: for opening it.
        refusal: why it must not be opened; None where it may.
    """

    place: str
    path: str
    refusal: str | None = None


@dataclass(frozen=True, slots=True)
class Files:
    """The files of a source, listed again at each iteration.

    Attributes:
        given: the path as the user wrote it, for messages.
        root: the folder that places are relative to: the folder itself, the file's folder, the glob's fixed part.
        single: the path is one file.
        pattern: the file, the folder or the glob below the root; empty where it is the root itself.
    """

    given: str
    root: Path
    single: bool = False
    pattern: str = ""

    @classmethod
    def at(cls, text: str, base: Path) -> Files:
        """Return the files at a path of a recipe.

        Args:
            text: a file, a folder or a glob, relative to ``base``, where ``~`` is the user's home; or the address of
                one, which is fetched first. If it has a ``/./``, places are relative to the part before that.
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
        """Return the files at a path whose places are relative to a folder above it."""
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
            yield _found(root, self.pattern, link=False)  # the user names this link, so it may lead anywhere
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
    """Yield the files below a folder in order, without hidden ones and folders behind links.

    The listing of a folder tells which entries are links, so files are not looked at one by one: on a network disk each
    would cost a trip.
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
    """Return one file; a link that leads out of the root is refused."""
    path = os.path.join(root, name)
    if link:
        real, home = os.path.realpath(path), os.path.realpath(root)
        if os.path.commonpath([real, home]) != home:
            return Found(_place(name), path, "link out of the source")
    return Found(_place(name), path)


def _place(name: str) -> str:
    return name if name.isascii() else os.fsencode(name).decode("utf-8", "backslashreplace")


@dataclass(frozen=True, slots=True)
class WholeFile:
    """Reads all of a file."""

    path: str

    def __call__(self, key: str) -> bytes:
        """Return the bytes."""
        # Python's own file objects take twice as long for small files. A pipe or a device with the name of an item
        # must not block.
        handle = os.open(self.path, _READ)
        try:
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode):
                raise ItemError(key, "not a file")
            check_bytes(found.st_size, key)
            data = os.read(handle, found.st_size + 1)
            # The file has grown in the meantime, or the system returns less at a time.
            while len(data) != found.st_size and (more := os.read(handle, 1 << 20)):
                data += more
                check_bytes(len(data), key)
            return data
        finally:
            os.close(handle)


@dataclass(frozen=True, slots=True)
class Piece:
    """Reads a piece of a file, in bytes."""

    path: str
    offset: int
    size: int

    def __call__(self, key: str) -> bytes:
        """Return the bytes."""
        check_bytes(self.size, key)
        with open(self.path, "rb") as stream:
            stream.seek(self.offset)
            data = stream.read(self.size)
        if len(data) < self.size:
            raise ItemError(key, "truncated")
        return data


@dataclass(frozen=True, slots=True)
class InMemory:
    """Returns bytes that the container had to read anyway."""

    data: bytes

    def __call__(self, key: str) -> bytes:
        """Return the bytes."""
        check_bytes(len(self.data), key)
        return self.data


@dataclass(frozen=True, slots=True)
class Refused:
    """Raises the reason why an item cannot be read, where the container knows it already."""

    reason: str

    def __call__(self, key: str) -> bytes:
        """Raise ItemError with the reason."""
        raise ItemError(key, self.reason)


def check_bytes(size: int, key: str) -> None:
    """Check that an item is not too large.

    Raises:
        ItemError: it is.
    """
    if size > MAX_BYTES:
        raise ItemError(key, f"more than {MAX_BYTES >> 20} MB")
