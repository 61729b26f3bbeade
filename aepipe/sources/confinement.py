"""Confinement: what lists, tables and links name lies inside the source, or is not read.

One function decides, :meth:`Bounds.holds`: when a source is read, and when the original of a row is shown. A path is
followed through all of its links first, so it counts where the bytes lie, not how they are named. Folders other than
the source's own are allowed by ``root`` under ``[source]``. A path that a person gives is not confined: it says where
the source is.

A hard link is the file itself, so it is inside; and whoever may change the folders while they are read decides what is
in them.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

NO_PATH = "no path"
NUL = "a path with a NUL character"
ADDRESS = "an address; items of lists and tables are files"
_DEEP = 2
"""Parts of a path that a remedy names at least, so that it never is a whole disk."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The folders that the files of a source lie in.

    Attributes:
        location: of the source.
        roots: other folders, or files, that the source may read.
    """

    location: Path
    roots: tuple[Path, ...] = ()
    _real: list[str] = field(default_factory=list, init=False, compare=False, repr=False)
    _folders: dict[str, str] = field(default_factory=dict, init=False, compare=False, repr=False)

    def holds(self, path: str) -> bool:
        """Tell whether a path leads to a place inside, whether or not there is a file."""
        return self._within(self._followed(path))

    def leads_out(self, path: str) -> bool:
        """Tell whether a path is inside by its name, and a link on its way leads out."""
        return self._within(os.path.normpath(path)) and not self.holds(path)

    def remedy(self, path: str, base: Path) -> str:
        """Return what a recipe has to say so that a path may be read.

        Args:
            path: that is outside.
            base: the folder of the recipe, which its paths are relative to.
        """
        real, home = self._followed(path), os.path.realpath(self.location)
        folder = os.path.commonpath([real, home])
        if len(Path(folder).parts) <= _DEEP or folder == os.path.expanduser("~"):
            # The folder that holds both is nearly everything; the path's own part of it is enough.
            parts = max(_DEEP, len(Path(folder).parts)) + 1
            folder = str(Path(*Path(os.path.dirname(real)).parts[:parts]))
        near = min(os.path.relpath(folder, os.path.realpath(base)), folder, key=len)
        return f'root = "{near}" under [source] (--set source.root={shlex.quote(near)}) allows it'

    def _within(self, real: str) -> bool:
        if not self._real:
            self._real.extend(os.path.realpath(one) for one in (self.location, *self.roots))
        return any(real == root or real.startswith(root.rstrip(os.sep) + os.sep) for root in self._real)

    def _followed(self, path: str) -> str:
        """Return a path without links."""
        folder, name = os.path.split(os.path.abspath(path))
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(folder)
        found = os.path.join(self._folders[folder], name)
        return os.path.realpath(found) if os.path.islink(found) else found


def path_in(text: object) -> tuple[str | None, str]:
    """Return the path in a cell of a list or a table, and why there is none.

    Args:
        text: the cell: a path, or a ``file://`` address of this machine.

    Returns:
        The path, normalised: ``x/../../c.png`` climbs, too; None where there is none, with the reason.
    """
    if not isinstance(text, str) or not text.strip():
        return None, NO_PATH
    path = text.strip()
    if "\0" in path:
        return None, NUL
    if path[:7].lower() == "file://":
        host, slash, rest = path[7:].partition("/")
        path = unquote(f"/{rest}")
        if host not in ("", "localhost") or not slash or "\0" in path:
            return None, ADDRESS
    elif "://" in path and path.partition("://")[0].isidentifier():
        return None, ADDRESS
    return os.path.normpath(path), ""


def inside(bounds: Bounds, paths: Iterable[str]) -> str | None:
    """Return the first of some paths that is a file inside; None where none is."""
    return next((path for path in paths if "\0" not in path and os.path.isfile(path) and bounds.holds(path)), None)
