"""Containers of pieces of items: windows of recordings, frames, passages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from aepipe.sources.passed_over import PassedOver

if TYPE_CHECKING:
    import pyarrow as pa

    from aepipe.sources.item import Container


class Pieces:
    """What a container of pieces passes on from the container of the whole items.

    Args:
        whole: the items that are cut.
    """

    def __init__(self, whole: Container) -> None:
        self._whole = whole
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

    def keep_types(self, known: pa.Schema) -> None:
        """Let columns of tables have the types of other rows, where the values fit."""
        keep = getattr(self._whole, "keep_types", None)
        if keep is not None:
            keep(known)

    def schema(self) -> pa.Schema:
        """Return the columns of the whole items."""
        return self._whole.schema()
