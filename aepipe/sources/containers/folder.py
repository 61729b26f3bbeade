"""A folder of image files, a glob of them, or one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from aepipe.sources import RawItem
from aepipe.sources.containers.walk import Files
from aepipe.sources.readers import Refused, WholeFile

if TYPE_CHECKING:
    import pyarrow as pa

    from aepipe.sources.containers import Columns, Container

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

    def items(self) -> Iterator[RawItem]:
        """Give the files in the order of their paths."""
        self.skipped = 0
        for found in self._files:
            if not claims(found.place):
                self.skipped += 1
                continue
            reader = Refused(found.refusal) if found.refusal else WholeFile(found.path)
            yield RawItem(found.place, found.place, reader)
