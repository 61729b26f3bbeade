"""Find the files of a source, always in the same order, and read the bytes of one item.

A source is one file, all files of a folder, or the files that match a glob. Everything in it is found: what cannot be
an item has the reason in :attr:`Found.refusal`, and is never opened. A reader (:class:`WholeFile`, :class:`Piece`,
:class:`InMemory`, :class:`Refused`) is called with the key of its item, in any thread.
"""

from __future__ import annotations

import errno
import glob
import os
import stat
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from aepipe.errors import ItemError, SourceError
from aepipe.sources import remote
from aepipe.sources.confinement import Bounds
from aepipe.sources.passed_over import PassedOver
from aepipe.sources.walk import HIDDEN as HIDDEN  # noqa: PLC0414  formats have all of files from here
from aepipe.sources.walk import SORTS, Walk, place_of, status_of
from aepipe.sources.walk import Found as Found  # noqa: PLC0414

ANCHOR = "/./"
"""Separates the root of a source from the rest of a path, as in rsync."""
MAX_BYTES = 1 << 28
"""Larger items are refused, so that a few of them cannot fill the memory; files and pieces of files are read one at a
time from here on, up to :data:`MAX_FILE`."""
MAX_FILE = 1 << 30
SAME = "the same file as another"
EMPTY = "empty file"
_POINTERS = {
    b"version https://git-lfs.github.com/spec/": "a pointer of Git LFS: the content is not here; `git lfs pull` "
    "fetches it",
    b"/annex/objects/": "a pointer of git-annex: the content is not here; `git annex get` fetches it",
}
_READ = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)

WhyNot = Callable[[Found], "str | None"]
"""Returns why a file holds no items of a source; None where it holds some."""


@dataclass(frozen=True, slots=True)
class Files:
    """The files of a source, listed again at each iteration.

    Attributes:
        given: the path as the user wrote it, for messages.
        root: the folder that places are relative to: the folder itself, the file's folder, the glob's fixed part.
        single: the path is one file.
        pattern: the file, the folder or the glob below the root; empty where it is the root itself.
        exclude: patterns of files that are left out; see :class:`aepipe.sources.exclude.Exclude`.
        base: the folder of the recipe.
        roots: folders outside of the root that lists and links may lead into; the file itself, where it is a link.
    """

    given: str
    root: Path
    single: bool = False
    pattern: str = ""
    exclude: tuple[str, ...] = ()
    base: Path = Path()
    roots: tuple[Path, ...] = ()

    @classmethod
    def at(cls, text: str, base: Path, exclude: tuple[str, ...] = (), roots: tuple[str, ...] = ()) -> Files:
        """Return the files at a path of a recipe.

        Args:
            text: a file, a folder or a glob, relative to ``base``, where ``~`` is the user's home; or the address of
                one, which is fetched first. If it has a ``/./``, places are relative to the part before that.
            base: a folder.
            exclude: patterns of files that are left out, after those that always are.
            roots: folders that paths in lists and tables, and links, may lead into; relative to ``base``.

        Raises:
            SourceError: it does not exist, cannot be reached or read, or is no file; a glob matches nothing; or a
                root is no folder.
        """
        if remote.is_address(text):
            return replace(cls.at(str(remote.fetched(text)), base, exclude, roots), given=text)
        try:
            found = cls._at(text, base, exclude)
            return replace(found, base=base, roots=(*(_root(one, base) for one in roots), *found.roots))
        except OSError as error:  # no permission, a name that is too long, a circle of links
            raise SourceError(f"{error.filename}: cannot be read: {error.strerror}") from None
        except ValueError:  # of a path with a NUL character
            raise SourceError(f"{text!r}: not a path") from None

    @property
    def bounds(self) -> Bounds:
        """The folders that files of the source lie in."""
        return Bounds(self.root, self.roots)

    @classmethod
    def _at(cls, text: str, base: Path, exclude: tuple[str, ...]) -> Files:
        """Return the files at a path of this machine; see :meth:`at`."""
        head, anchored, tail = text.partition(ANCHOR)
        path = _normal(base, text)
        if anchored:
            return cls._below(_normal(base, head), tail, path, exclude)
        path = existing(path)
        if path.is_dir():
            return cls(str(path), path, exclude=exclude)
        if path.exists():
            check_file(path)
            return cls(str(path), path.parent, single=True, pattern=path.name, roots=_target(path))
        if not glob.has_magic(str(path)):
            raise SourceError(f"{path}: {_missing(path)}")
        fixed = next(index for index, part in enumerate(path.parts) if glob.has_magic(part))
        root = existing(Path(*path.parts[:fixed]))
        files = cls(str(path), root, pattern=str(Path(*path.parts[fixed:])), exclude=exclude)
        return files._matching("nothing matches")

    @classmethod
    def _below(cls, root: Path, name: str, path: Path, exclude: tuple[str, ...]) -> Files:
        """Return the files at a path whose places are relative to a folder above it."""
        if not path.is_relative_to(root):
            raise SourceError(f"{path}: does not lie in {root}")
        name = os.path.normpath(name.lstrip("/"))  # a pattern that begins with one would be of the whole disk
        if path.is_dir():
            return cls(str(path), root, pattern="" if path == root else glob.escape(name), exclude=exclude)
        if path.exists():
            check_file(path)
        roots = _target(path) if path.exists() else ()
        files = cls(str(path), root, single=path.exists(), pattern=name, exclude=exclude, roots=roots)
        return files._matching("nothing matches" if glob.has_magic(name) else _missing(path))

    def _matching(self, why: str) -> Files:
        """Return the files; those that match in the other normal form of Unicode, where none match in this one.

        Raises:
            SourceError: none match in any form.
        """
        forms = dict.fromkeys((self.pattern, *(unicodedata.normalize(form, self.pattern) for form in ("NFC", "NFD"))))
        for pattern in forms:
            files = replace(self, pattern=pattern)
            if next(files.everything(), None) is not None:
                return files
        raise SourceError(f"{self.given}: {why}")

    def __iter__(self) -> Iterator[Found]:
        """Yield the files that may be opened."""
        return (found for found in self._listed(whole=False) if not found.refusal)

    def everything(self) -> Iterator[Found]:
        """Yield all files, also those that cannot be items, and folders that cannot be looked into.

        Raises:
            SourceError: the whole source cannot be read.
        """
        return self._listed(whole=True)

    def picked(self, why_not: WhyNot, passed_over: PassedOver) -> Iterator[Found]:
        """Yield the files that hold items; count and name the others.

        One file is found once, whatever its number of names: a link gives way to the file, where that is found, too,
        and of several hard links the first counts.

        Args:
            why_not: tells of a file that may be opened whether it holds items.
            passed_over: is emptied first, and filled.
        """
        passed_over.clear()
        taken: dict[int, set[int]] = {}
        for found in self.everything():
            reason = found.refusal or why_not(found)
            if reason is None:
                device, number = found.inode
                numbers = taken.setdefault(device, set())
                if found.target is not None or number in numbers:
                    reason = _again(found, self.root, why_not, known=number in numbers)
                numbers.add(number)
            if reason:
                passed_over.add(found.place, reason)
            else:
                passed_over.read += 1
                yield found

    def claimed(
        self,
        claims: Callable[[str], bool],
        passed_over: PassedOver | None = None,
        reason: str = "of another format",
        sniff: Callable[[bytes], bool] | None = None,
    ) -> Iterator[Found]:
        """Yield the files of one format; count and name the others.

        Args:
            claims: tells by its place whether a file has the name of the format.
            passed_over: is emptied first, and filled; None where nobody asks.
            reason: for the others.
            sniff: tells by its first bytes whether a file is of the format, where no file has such a name.

        Raises:
            SourceError: one of them is the pointer of a file that is not here.
        """
        named = sniff is None or any(claims(found.place) for found in self)

        def why_not(found: Found) -> str | None:
            return None if claims(found.place) else reason if named else why_not_like(found, sniff, reason)

        for found in self.picked(why_not, passed_over or PassedOver()):
            check_pointer(found)
            yield found

    def first(self, claims: Callable[[str], bool], sniff: Callable[[bytes], bool] | None = None) -> Found | None:
        """Return the first file that :meth:`claimed` would; None where there is none.

        Raises:
            SourceError: it is the pointer of a file that is not here.
        """
        found = next((found for found in self if claims(found.place)), None)
        if found is None and sniff is not None:
            found = next((found for found in self if not why_not_like(found, sniff, "of another format")), None)
        if found:
            check_pointer(found)
        return found

    def _listed(self, *, whole: bool) -> Iterator[Found]:
        """Yield all files; ``whole`` looks into hidden and excluded folders as well, to count what they hold."""
        walk = Walk(str(self.root), self.exclude, whole=whole, base=self.base, roots=self.roots)
        if self.single:
            # The user names this link, so it may lead anywhere.
            yield Found(place_of(self.pattern), os.path.join(walk.root, self.pattern))
        elif self.pattern:
            yield from walk.matches(self.pattern)
        else:
            yield from walk.below("")


def _again(found: Found, root: Path, why_not: WhyNot, *, known: bool) -> str | None:
    """Return the reason where a file is found by another name as well, or was found before.

    Args:
        found: a link, or a file whose inode was seen before.
        root: of the source.
        why_not: tells whether a file holds items.
        known: its inode was seen before.
    """
    if found.target and not why_not(Found(found.target, os.path.join(root, found.target))):
        return SAME
    if not known or not found.inode[1]:
        return None
    # Some network disks give several files one number; then none of them has a second name.
    status = status_of(found.path, follow=True)
    return SAME if found.target is not None or (status and status.st_nlink > 1) else None


def _normal(base: Path, text: str) -> Path:
    return Path(os.path.normpath(base / Path(text).expanduser())).absolute()


def _root(text: str, base: Path) -> Path:
    """Return the folder that ``root`` under ``[source]`` names.

    Raises:
        SourceError: it is an address, or no folder.
    """
    path = existing(_normal(base, text))
    if remote.is_address(text) or not path.is_dir():
        raise SourceError(f"{text if remote.is_address(text) else path}: no folder; root under [source] names one here")
    return path


def _target(path: Path) -> tuple[Path, ...]:
    """Return the file that a link leads to: whoever names a link says where it may lead."""
    real = Path(os.path.realpath(path))
    return () if real == Path(os.path.realpath(path.parent), path.name) else (real,)


def _missing(path: Path) -> str:
    return "a link to nothing" if os.path.lexists(path) else "no such file or folder"


def check_file(path: Path) -> None:
    """Raise SourceError for a pipe, a socket or a device, which would be waited for."""
    sort = SORTS.get(stat.S_IFMT(path.stat().st_mode))
    if sort:
        raise SourceError(f"{path}: {sort}, not a file; write what it gives into a file first")


def existing(path: Path) -> Path:
    """Return a path with its names in the normal form of Unicode that they have on disk.

    A Mac writes é as two letters, and most other systems as one; both look the same. A path of which no form is there
    is returned as it is.
    """
    if str(path).isascii() or os.path.lexists(path):
        return path
    found = Path(path.anchor)
    for part in path.parts[1:] if path.anchor else path.parts:
        name = part if os.path.lexists(found / part) else _other_form(found, part)
        if name is None:
            return path
        found /= name
    return found


def _other_form(folder: Path, name: str) -> str | None:
    wanted = unicodedata.normalize("NFC", name)
    try:
        return next((one for one in sorted(os.listdir(folder)) if unicodedata.normalize("NFC", one) == wanted), None)
    except OSError:
        return None


def first_bytes(path: str, size: int = 1 << 13) -> bytes:
    """Return the first bytes of a file; a pipe or a device is not waited for.

    Raises:
        OSError: it cannot be read, or is no file.
    """
    with open_file(path) as stream:
        return stream.read(size)


def why_not_like(
    found: Found,
    sniff: Callable[[bytes], bool] | None,
    reason: str,
    instead: Callable[[bytes], str | None] | None = None,
) -> str | None:
    """Return why the first bytes of a file are not those of an item; None where they are.

    Args:
        found: the file.
        sniff: tells whether bytes are those of an item.
        reason: for bytes of something else.
        instead: says what those are, where it knows.
    """
    try:
        head = first_bytes(found.path)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if sniff is not None and sniff(head):
        return None
    if not head:
        return EMPTY
    return pointer_in(head) or (instead and instead(head)) or reason


def open_file(path: str) -> BinaryIO:
    """Open a file for reading; a pipe or a device is not waited for.

    Raises:
        OSError: it cannot be read, or is no file.
    """
    stream = os.fdopen(os.open(path, _READ), "rb")
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        stream.close()
        raise OSError(errno.EINVAL, "not a file")
    return stream


def pointer_in(head: bytes) -> str | None:
    """Return the reason where bytes only point to those of the file; else None."""
    return next((reason for start, reason in _POINTERS.items() if head.startswith(start)), None)


def pointer_at(path: str) -> str | None:
    """Return the reason where a file only points to its content; else None."""
    try:
        return pointer_in(first_bytes(path, 64))
    except OSError:
        return None


def check_pointer(found: Found) -> None:
    """Check that a file holds its content.

    Raises:
        SourceError: it only points to it.
    """
    reason = pointer_at(found.path)
    if reason:
        raise SourceError(f"{found.path}: {reason}")


@dataclass(frozen=True, slots=True)
class WholeFile:
    """Reads all of a file."""

    path: str

    def __call__(self, key: str) -> bytes:
        """Return the bytes."""
        # Python's own file objects take twice as long for small files. A pipe or a device with the name of an item
        # must not block.
        try:
            handle = os.open(self.path, _READ)
        except FileNotFoundError:
            handle = os.open(existing(Path(self.path)), _READ)
        try:
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode):
                raise ItemError(key, "not a file")
            check_bytes(found.st_size, key, MAX_FILE)
            data = os.read(handle, found.st_size + 1)
            # The file has grown in the meantime, or the system returns less at a time.
            while len(data) != found.st_size and (more := os.read(handle, 1 << 20)):
                data += more
                check_bytes(len(data), key, MAX_FILE)
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
        check_bytes(self.size, key, MAX_FILE)
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


def is_large(reader: object) -> bool:
    """Tell whether a reader reads more than :data:`MAX_BYTES` of a file."""
    if isinstance(reader, Piece):
        return reader.size > MAX_BYTES
    try:
        return isinstance(reader, WholeFile) and os.stat(reader.path).st_size > MAX_BYTES
    except OSError:  # whoever reads it says so
        return False


def check_bytes(size: int, key: str, most: int = MAX_BYTES) -> None:
    """Check that an item is not too large.

    Raises:
        ItemError: it is.
    """
    if size > most:
        raise ItemError(key, f"more than {most >> 20} MB")
