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
from dataclasses import dataclass, field, replace
from pathlib import Path

from aepipe.errors import ItemError, SourceError
from aepipe.sources import remote
from aepipe.sources.exclude import excluding
from aepipe.sources.passed_over import PassedOver

ANCHOR = "/./"
"""Separates the root of a source from the rest of a path, as in rsync."""
MAX_BYTES = 1 << 28
"""Larger items are refused, so that a few of them cannot fill the memory."""
SAME = "the same file as another"
HIDDEN = "hidden"
EXCLUDED = "left out by exclude"
EMPTY = "empty file"
_LINKED = "a link to a folder, which is not followed"
_POINTERS = {
    b"version https://git-lfs.github.com/spec/": "a pointer of Git LFS: the content is not here; `git lfs pull` "
    "fetches it",
    b"/annex/objects/": "a pointer of git-annex: the content is not here; `git annex get` fetches it",
}
_SORTS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_UNREADABLE = (PermissionError, FileNotFoundError, NotADirectoryError)
"""Errors of one folder; others are those of the whole disk."""
_READ = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


@dataclass(frozen=True, slots=True)
class Found:
    r"""One file, or a folder that cannot be looked into.

    Attributes:
        place: its path relative to the root, with ``/``, and always text: a byte of a name that is no UTF-8 is written
            as ``\xff``. A folder has ``/`` at its end.
        path: for opening it.
        refusal: why it must not be opened; None where it may.
        inode: device and number of the file, the same for all its hard links; 0 where that is not known.
        target: the place in the source of the file that a link leads to; None where it is no link to one.
    """

    place: str
    path: str
    refusal: str | None = None
    inode: tuple[int, int] = (0, 0)
    target: str | None = None


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
    """

    given: str
    root: Path
    single: bool = False
    pattern: str = ""
    exclude: tuple[str, ...] = ()

    @classmethod
    def at(cls, text: str, base: Path, exclude: tuple[str, ...] = ()) -> Files:
        """Return the files at a path of a recipe.

        Args:
            text: a file, a folder or a glob, relative to ``base``, where ``~`` is the user's home; or the address of
                one, which is fetched first. If it has a ``/./``, places are relative to the part before that.
            base: a folder.
            exclude: patterns of files that are left out, after those that always are.

        Raises:
            SourceError: it does not exist, cannot be reached or is no file, or a glob matches nothing.
        """
        if remote.is_address(text):
            return replace(cls.at(str(remote.fetched(text)), base, exclude), given=text)
        head, anchored, tail = text.partition(ANCHOR)
        path = _normal(base, text)
        if anchored:
            return cls._below(_normal(base, head), tail, path, exclude)
        path = existing(path)
        if path.is_dir():
            return cls(str(path), path, exclude=exclude)
        if path.exists():
            _check_file(path)
            return cls(str(path), path.parent, single=True, pattern=path.name)
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
        name = os.path.normpath(name)
        if path.is_dir():
            return cls(str(path), root, pattern="" if path == root else glob.escape(name), exclude=exclude)
        if path.exists():
            _check_file(path)
        files = cls(str(path), root, single=path.exists(), pattern=name, exclude=exclude)
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
            reason = found.refusal or why_not(found) or _again(found, taken, self.root, why_not)
            if reason:
                passed_over.add(found.place, reason)
            else:
                passed_over.read += 1
                yield found

    def claimed(
        self, claims: Callable[[str], bool], passed_over: PassedOver | None = None, reason: str = "of another format"
    ) -> Iterator[Found]:
        """Yield the files with the name of one format; count and name the others.

        Args:
            claims: tells by its place whether a file has such a name.
            passed_over: is emptied first, and filled; None where nobody asks.
            reason: for the others.

        Raises:
            SourceError: one of them is the pointer of a file that is not here.
        """
        for found in self.picked(lambda found: None if claims(found.place) else reason, passed_over or PassedOver()):
            _check_pointer(found)
            yield found

    def first(self, claims: Callable[[str], bool]) -> Found | None:
        """Return the first file with the name of one format; None where there is none.

        Raises:
            SourceError: it is the pointer of a file that is not here.
        """
        found = next((found for found in self if claims(found.place)), None)
        if found:
            _check_pointer(found)
        return found

    def _listed(self, *, whole: bool) -> Iterator[Found]:
        """Yield all files; ``whole`` looks into hidden and excluded folders as well, to count what they hold."""
        walk = _Walk(str(self.root), self.exclude, whole=whole)
        if self.single:
            # The user names this link, so it may lead anywhere.
            yield Found(_place(self.pattern), os.path.join(walk.root, self.pattern))
        elif self.pattern:
            yield from walk.matches(self.pattern)
        else:
            yield from walk.below("")


@dataclass(slots=True)
class _Walk:
    """A walk below a folder, in the order of paths.

    The listing of a folder tells which entries are files, folders and links, so files are not looked at one by one: on
    a network disk each would cost a trip.
    """

    root: str
    exclude: tuple[str, ...]
    whole: bool
    home: str = ""
    names: frozenset[str] = frozenset()
    parents: dict[str, bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.home = os.path.realpath(self.root)

    def below(self, start: str, refusal: str | None = None) -> Iterator[Found]:
        """Yield what lies below a folder, which ends with ``/`` or is empty.

        Raises:
            SourceError: the root cannot be listed, or a folder has vanished or is damaged.
        """
        stack = [self._entries(start, refusal)]
        while stack:
            entry = next(stack[-1], None)
            if entry is None:
                stack.pop()
            elif isinstance(entry, Found):
                yield entry
            elif self.whole or entry[1] is None:
                stack.append(self._entries(*entry))

    def _entries(self, folder: str, refusal: str | None) -> Iterator[Found | tuple[str, str | None]]:
        """Yield files, and folders to go into, each as its name and the reason why nothing in it is an item."""
        at = os.path.join(self.root, folder)
        try:
            with os.scandir(at) as listed:
                entries = sorted(((_listed_as(one), one) for one in listed), key=_by_name)
            device = os.stat(at).st_dev
        except OSError as error:
            if not folder or not isinstance(error, _UNREADABLE):
                raise SourceError(f"{at}: cannot be read: {error.strerror}") from None
            yield Found(_place(folder), at, f"a folder that cannot be read: {error.strerror}")
            return
        left_out = excluding(self.exclude)
        for name, entry in entries:
            why = refusal or (EXCLUDED if left_out(folder + name) else HIDDEN if name[0] == "." else None)
            if name[-1] == "/":
                yield folder + name, why
            elif why:
                yield Found(_place(folder + name), at + name, why)
            elif entry.is_file(follow_symlinks=False):
                yield Found(_place(folder + name), at + name, inode=(device, entry.inode()))
            else:
                yield self._special(folder + name)

    def matches(self, pattern: str) -> Iterator[Found]:
        """Yield what matches a glob, and what lies below the folders that match."""
        names = sorted(glob.iglob(pattern, root_dir=self.root, recursive=True))
        self.names, deep = frozenset(names), "**" in pattern
        left_out = excluding(self.exclude)
        for name in names:
            status = _status(os.path.join(self.root, name))
            folder = bool(status and stat.S_ISDIR(status.st_mode))
            why = EXCLUDED if left_out.below(f"{name}/" if folder else name) else None
            if folder:
                yield from self.below(f"{name}/", why) if not deep and (self.whole or not why) else ()
            elif why:
                yield Found(_place(name), os.path.join(self.root, name), why)
            else:
                yield self._special(name, status)

    def _special(self, name: str, status: os.stat_result | None = None) -> Found:
        """Return a file that may be a link, or no file at all."""
        path = os.path.join(self.root, name)
        status = status or _status(path)
        if status is None:
            return Found(_place(name), path, "no longer there")
        if stat.S_ISLNK(status.st_mode) or self._in_link(os.path.dirname(name)):
            return self._link(name, path)
        sort = _SORTS.get(stat.S_IFMT(status.st_mode))
        return Found(_place(name), path, sort, (status.st_dev, status.st_ino))

    def _in_link(self, folder: str) -> bool:
        """Tell whether a folder of the source is reached by a link, which only a glob does."""
        if folder not in self.parents:
            self.parents[folder] = os.path.realpath(os.path.join(self.root, folder)) != os.path.normpath(
                os.path.join(self.home, folder)
            )
        return self.parents[folder]

    def _link(self, name: str, path: str) -> Found:
        """Return a link: to a file of the source, to one that is only reached by it, or to nothing of use."""
        real = os.path.realpath(path)
        try:
            status = os.stat(real)
        except OSError:
            return Found(_place(name), path, "a link to nothing")
        if stat.S_ISDIR(status.st_mode):
            return Found(f"{_place(name)}/", path, _LINKED)
        if os.path.commonpath([real, self.home]) != self.home:
            return Found(_place(name), path, "a link out of the source")
        target = os.path.relpath(real, self.home).replace(os.sep, "/")
        sort = _SORTS.get(stat.S_IFMT(status.st_mode))
        reached = _place(target) if self._reaches(target) else None
        return Found(_place(name), path, sort and f"a link to {sort}", (status.st_dev, status.st_ino), reached)

    def _reaches(self, name: str) -> bool:
        """Tell whether the walk finds a file by its own name."""
        if excluding(self.exclude).below(name):
            return False
        if not self.names:
            return "/." not in f"/{name}"
        cuts = (at for at, letter in enumerate(name) if letter == "/")
        return name in self.names or any(name[:at] in self.names and "/." not in name[at:] for at in cuts)


def _listed_as(entry: os.DirEntry[str]) -> str:
    return f"{entry.name}/" if entry.is_dir(follow_symlinks=False) else entry.name


def _by_name(listed: tuple[str, os.DirEntry[str]]) -> str:
    return listed[0]


def _status(path: str, *, follow: bool = False) -> os.stat_result | None:
    try:
        return os.stat(path, follow_symlinks=follow)
    except OSError:
        return None


def _again(found: Found, taken: dict[int, set[int]], root: Path, why_not: WhyNot) -> str | None:
    """Return the reason where a file was found by another name, and remember it where it was not."""
    if found.target is not None and not why_not(Found(found.target, os.path.join(root, found.target))):
        return SAME
    device, number = found.inode
    if number and number in taken.setdefault(device, set()):
        # Some network disks give several files one number; then none of them has a second link.
        status = _status(found.path, follow=True)
        if (status and status.st_nlink > 1) or os.path.realpath(found.path) != found.path:
            return SAME
    if number:
        taken[device].add(number)
    return None


def _place(name: str) -> str:
    return name if name.isascii() else os.fsencode(name).decode("utf-8", "backslashreplace")


def _normal(base: Path, text: str) -> Path:
    return Path(os.path.normpath(base / Path(text).expanduser())).absolute()


def _missing(path: Path) -> str:
    return "a link to nothing" if os.path.lexists(path) else "no such file or folder"


def _check_file(path: Path) -> None:
    """Raise SourceError for a pipe, a socket or a device, which would be waited for."""
    sort = _SORTS.get(stat.S_IFMT(path.stat().st_mode))
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
    handle = os.open(path, _READ)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "not a file")
        return os.read(handle, size)
    finally:
        os.close(handle)


def pointer_in(head: bytes) -> str | None:
    """Return the reason where the bytes of a file only point to those that it should have; else None."""
    return next((reason for start, reason in _POINTERS.items() if head.startswith(start)), None)


def pointer_at(path: str) -> str | None:
    """Return the reason where a file only points to its content; None where it does not, or cannot be read."""
    try:
        return pointer_in(first_bytes(path, 64))
    except OSError:
        return None


def _check_pointer(found: Found) -> None:
    """Raise SourceError for a file that only points to its content."""
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
