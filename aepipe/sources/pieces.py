"""Containers of pieces of items: windows of recordings, frames, passages."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice
from typing import TYPE_CHECKING

from aepipe.errors import ItemError
from aepipe.sources.formats.folder import Folder
from aepipe.sources.passed_over import PassedOver
from aepipe.sources.streams import opened

if TYPE_CHECKING:
    import pyarrow as pa

    from aepipe.sources.dates import Written
    from aepipe.sources.files import Files
    from aepipe.sources.item import Container, Item


class Pieces:
    """What a container of pieces passes on from the container of the whole items.

    Args:
        whole: the items that are cut.
        alone: there is one item, so its pieces may be in different splits; else those of one never are.
    """

    def __init__(self, whole: Container, *, alone: bool = False) -> None:
        self._whole = whole
        self._alone = alone
        self.gives = whole.gives

    @property
    def passed_over(self) -> PassedOver:
        """Files that hold no items."""
        return self._whole.passed_over

    @property
    def left_out(self) -> Mapping[str, str]:
        """Columns that are not kept, with the reason."""
        return getattr(self._whole, "left_out", {})

    @property
    def notes(self) -> Sequence[str]:
        """What was guessed of the files, in words."""
        return getattr(self._whole, "notes", ())

    @property
    def dates(self) -> Mapping[str, Written]:
        """Columns of tables that are dates as people write them, and what they tell."""
        return getattr(self._whole, "dates", {})

    def keep_types(self, known: pa.Schema) -> None:
        """Let columns of tables have the types of other rows, where the values fit."""
        keep = getattr(self._whole, "keep_types", None)
        if keep is not None:
            keep(known)

    def schema(self) -> pa.Schema:
        """Return the columns of the whole items."""
        return self._whole.schema()

    def _together(self, item: Item, pieces: Iterator[Item]) -> Iterator[Item]:
        """Yield the pieces of an item, which are in the same split where there are several."""
        first = list(islice(pieces, 2))
        if self._alone or len(first) < 2:
            yield from chain(first, pieces)
            return
        digest = hashlib.sha256()
        try:
            with opened(item.reader, item.key) as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
        except (ItemError, OSError):  # it has changed since; the pieces say so when they are read
            pass
        whole = digest.digest()
        for piece in chain(first, pieces):
            yield replace(piece, whole=whole)


def is_alone(files: Files, whole: Container) -> bool:
    """Tell whether a source is one file, which is no table and no archive."""
    return isinstance(whole, Folder) and len(list(islice(files, 2))) == 1
