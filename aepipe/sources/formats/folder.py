"""A folder of image files, a glob of them, or one."""

# (from documents.py) A folder of files, a glob of them, or one: each file is an item.

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pyarrow as pa

from aepipe.sources.files import Files, Found, Refused, WholeFile
from aepipe.sources.item import Item

if TYPE_CHECKING:
    from aepipe.sources.item import Columns, Container

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")


def claims(name: str) -> bool:
    """Whether a file bears the name of an image."""
    return name.lower().endswith(SUFFIXES)


def open_container(files: Files, columns: Columns) -> Container:
    """Return the folder; it has no columns."""
    return Folder(files)


class Folder:
    """Image files; the key is the path relative to the source."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self.skipped = 0
        self.gives: frozenset[str] = frozenset()

    def schema(self) -> pa.Schema:
        """Return no columns."""
        import pyarrow as pa

        return pa.schema([])

    def total(self) -> int:
        """Count the files; that asks for names only."""
        return sum(claims(found.place) for found in self._files)

    def items(self) -> Iterator[Item]:
        """Give the files in the order of their paths."""
        self.skipped = 0
        for found in self._files:
            if not claims(found.place):
                self.skipped += 1
                continue
            reader = Refused(found.refusal) if found.refusal else WholeFile(found.path)
            yield Item(found.place, found.place, reader)


class Documents:
    """Files; the key is the path relative to the source.

    Args:
        files: where they are.
        endings: those whose names do not end so are passed over; without any, none is.
    """

    def __init__(self, files: Files, endings: tuple[str, ...] = ()) -> None:
        self._files = files
        self._endings = endings
        self.skipped = 0
        self.gives: frozenset[str] = frozenset()

    def schema(self) -> pa.Schema:
        """Return no columns."""
        return pa.schema([])

    def total(self) -> int:
        """Count the files; that asks for names only."""
        return sum(map(self._is_one, self._files))

    def items(self) -> Iterator[Item]:
        """Give the files in the order of their paths."""
        self.skipped = 0
        for found in self._files:
            if not self._is_one(found):
                self.skipped += 1
                continue
            yield Item(found.place, found.place, Refused(found.refusal) if found.refusal else WholeFile(found.path))

    def _is_one(self, found: Found) -> bool:
        """Whether a file bears the name of an item."""
        return not self._endings or found.place.lower().endswith(self._endings)
