"""Walk through the files below a folder, also those that are no items, in order of paths."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from aepipe.errors import SourceError
from aepipe.sources.confinement import Bounds
from aepipe.sources.exclude import excluding

HIDDEN = "hidden"
EXCLUDED = "left out by exclude"
OUT = "a link out of the source"
_LINKED = "a link to a folder, which is not followed"
SORTS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_UNREADABLE = (PermissionError, FileNotFoundError, NotADirectoryError)
"""Errors of one folder; others are those of the whole disk."""


class Found(NamedTuple):
    r"""One file, or a folder that cannot be looked into.

    Attributes:
        place: its path relative to the root, with ``/``, and always text: a byte of a name that is no UTF-8 is written
            as ``\xff``. A folder has ``/`` at its end.
        path: for opening it.
        refusal: why it must not be opened; None where it may.
        inode: device and number of the file, the same for all its hard links; 0 where that is not known.
        target: the place in the source of the file that a link leads to, empty where the source does not find it by
            its own name; None where it is no link.
    """

    place: str
    path: str
    refusal: str | None = None
    inode: tuple[int, int] = (0, 0)
    target: str | None = None


@dataclass(slots=True)
class Walk:
    """A walk below a folder, in the order of paths.

    The listing of a folder tells which entries are files, folders and links, so files are not looked at one by one: on
    a network disk each would cost a trip.
    """

    root: str
    exclude: tuple[str, ...]
    whole: bool
    base: Path = Path()
    roots: tuple[Path, ...] = ()
    home: str = ""
    names: frozenset[str] = frozenset()
    parents: dict[str, bool] = field(default_factory=dict)
    bounds: Bounds = field(init=False)

    def __post_init__(self) -> None:
        self.home = os.path.realpath(self.root)
        self.bounds = Bounds(Path(self.root), self.roots)

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
            yield Found(place_of(folder), at, f"a folder that cannot be read: {error.strerror}")
            return
        left_out = excluding(self.exclude)
        for name, entry in entries:
            whole = folder + name
            why = refusal or (EXCLUDED if left_out(whole) else HIDDEN if name[0] == "." else None)
            if name[-1] == "/":
                yield whole, why
            elif why:
                yield Found(place_of(whole), at + name, why)
            elif entry.is_file(follow_symlinks=False):
                yield Found(place_of(whole), at + name, None, (device, entry.inode()))
            else:
                yield self._special(whole)

    def matches(self, pattern: str) -> Iterator[Found]:
        """Yield what matches a glob, and what lies below the folders that match."""
        names = sorted(glob.iglob(pattern, root_dir=self.root, recursive=True))
        self.names, deep = frozenset(names), "**" in pattern
        left_out = excluding(self.exclude)
        for name in names:
            status = status_of(os.path.join(self.root, name))
            folder = bool(status and stat.S_ISDIR(status.st_mode))
            why = EXCLUDED if left_out.below(f"{name}/" if folder else name) else None
            if folder:
                yield from self.below(f"{name}/", why) if not deep and (self.whole or not why) else ()
            elif why:
                yield Found(place_of(name), os.path.join(self.root, name), why)
            else:
                yield self._special(name, status)

    def _special(self, name: str, status: os.stat_result | None = None) -> Found:
        """Return a file that may be a link, or no file at all."""
        path = os.path.join(self.root, name)
        status = status or status_of(path)
        if status is None:
            return Found(place_of(name), path, "no longer there")
        if stat.S_ISLNK(status.st_mode) or self._in_link(os.path.dirname(name)):
            return self._link(name, path)
        sort = SORTS.get(stat.S_IFMT(status.st_mode))
        return Found(place_of(name), path, sort, (status.st_dev, status.st_ino))

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
            return Found(place_of(name), path, "a link to nothing")
        if stat.S_ISDIR(status.st_mode):
            return Found(f"{place_of(name)}/", path, _LINKED)
        if not self.bounds.holds(real):
            return Found(place_of(name), path, f"{OUT}; {self.bounds.remedy(real, self.base)}")
        target = os.path.relpath(real, self.home).replace(os.sep, "/")
        target = "" if target.startswith("../") else target
        sort = SORTS.get(stat.S_IFMT(status.st_mode))
        reached = place_of(target) if target and self._reaches(target) else ""
        return Found(place_of(name), path, sort and f"a link to {sort}", (status.st_dev, status.st_ino), reached)

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


def status_of(path: str, *, follow: bool = False) -> os.stat_result | None:
    """Return the status of a file, or of the one that a link leads to; None where it is gone."""
    try:
        return os.stat(path, follow_symlinks=follow)
    except OSError:
        return None


def place_of(name: str) -> str:
    """Return a path as text: see :attr:`Found.place`."""
    return name if name.isascii() else os.fsencode(name).decode("utf-8", "backslashreplace")
