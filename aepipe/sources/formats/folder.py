"""A folder of files, a glob of them, or one file: each file is an item."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from aepipe.sources.files import Files, Found, Refused, WholeFile
from aepipe.sources.item import Item
from aepipe.sources.passed_over import PassedOver
from aepipe.sources.pictures import SUFFIXES as SUFFIXES

if TYPE_CHECKING:
    import pyarrow as pa

    from aepipe.sources.item import Columns, Container


def claims(name: str) -> bool:
    """Whether a file has the name of an image."""
    return name.lower().endswith(SUFFIXES)


def open_container(files: Files, columns: Columns) -> Container:
    """Return the folder of images; it has no columns."""
    return Folder(files, SUFFIXES)


class Folder:
    """Files; the key is the path relative to the source.

    Args:
        files: where they are.
        endings: of the names of items, in lower case; other files are left out. Without endings every file is an item.
    """

    def __init__(self, files: Files, endings: tuple[str, ...] = ()) -> None:
        self._files = files
        self._endings = endings
        self.passed_over = PassedOver()
        self.gives: frozenset[str] = frozenset()

    def schema(self) -> pa.Schema:
        """Return no columns."""
        import pyarrow as pa  # here, because a cold query must not wait for it

        return pa.schema([])

    def total(self) -> int:
        """Count the files, by their names only."""
        return sum(map(self._is_item, self._files))

    def items(self) -> Iterator[Item]:
        """Yield the files in the order of their paths."""
        self.passed_over.clear()
        for found in self._files:
            if not self._is_item(found):
                self.passed_over.add(found.place, f"not {' '.join(self._endings)}")
                continue
            yield Item(found.place, found.place, Refused(found.refusal) if found.refusal else WholeFile(found.path))

    def _is_item(self, found: Found) -> bool:
        return not self._endings or found.place.lower().endswith(self._endings)
