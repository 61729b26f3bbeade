"""Types of the room: items, sources, containers and decoders."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from aepipe.errors import ItemError

if TYPE_CHECKING:
    import pyarrow as pa

Reader = Callable[[str], bytes]
"""Gives the bytes of the item of that key; raises :class:`ItemError`, or OSError."""


@dataclass(frozen=True, slots=True)
class Item:
    """One thing of a collection, its bytes not read yet.

    Attributes:
        key: its path relative to the source, or its own id; unique in the source.
        place: where the bytes are, relative to the source's location: ``a/b.jpg``, ``part.parquet#12``,
            ``photos.tar#1536+20481``, ``train-images-idx3-ubyte.gz#17``. :func:`preview` reads it.
        reader: gives the bytes, in any thread.
        label: its class, where the source knows one.
        split: ``train``, ``test``, or whatever the source says; None where :meth:`Source.split` is to decide.
        columns: the source's own other columns.
    """

    key: str
    place: str
    reader: Reader
    label: str | None = None
    split: str | None = None
    columns: Mapping[str, object] = field(default_factory=dict)

    def read(self) -> bytes:
        """Return the bytes.

        Raises:
            ItemError: they cannot be read.
        """
        try:
            return self.reader(self.key)
        except OSError as error:
            raise ItemError(self.key, f"cannot be read: {error.strerror or type(error).__name__}") from None


class Source(Protocol):
    """A collection and the features wanted of it.

    ``items`` may be iterated again and gives the same order each time; ``row`` is called from many threads.
    """

    @property
    def kind(self) -> str:
        """Its name in a recipe."""

    @property
    def name(self) -> str:
        """The recipe's name, for files about this source."""

    @property
    def location(self) -> Path:
        """The folder that places are relative to."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one row, (H, W, C) for images."""

    @property
    def dtype(self) -> str:
        """Element type of one row, as numpy names it: ``uint8``."""

    @property
    def spans(self) -> list[dict[str, Any]] | None:
        """The cells of each column with their likelihood, where those of a row are of several sorts."""

    @property
    def max_bad_share(self) -> float:
        """The share of unreadable items above which ingestion fails."""

    @property
    def max_vanished_share(self) -> float:
        """The share of the items of the run before above which it fails because they are not there any more."""

    @property
    def workers(self) -> int:
        """Threads to decode with; 0 for one per processor."""

    @property
    def skipped(self) -> int:
        """Files that the last iteration passed over because they are not of this kind."""

    def fitted(self, known: Mapping[str, Any] | None) -> Self:
        """Return the source once all that it has to learn from the items is learned; only then it makes rows.

        Args:
            known: :meth:`features` of an earlier time, whose learned part is kept where the options are the same.

        Raises:
            SourceError: nothing can be learned from the items.
        """

    def features(self) -> dict[str, Any]:
        """Return all that decides how bytes become a row, as JSON; equal features give equal rows."""

    def schema(self) -> pa.Schema:
        """Return the names and types of the items' own columns."""

    def total(self) -> int | None:
        """Return how many items there are, where that is known without reading them."""

    def items(self) -> Iterator[Item]:
        """Give the items, in the source's order.

        Raises:
            SourceError: there is none, or what holds them is damaged.
        """

    def split(self, item: Item, sha256: bytes) -> str:
        """Return the split of an item whose bytes have this digest."""

    def row(self, data: bytes, key: str) -> NDArray[np.generic]:
        """Turn bytes into one row.

        Raises:
            ItemError: they cannot be decoded.
        """


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a table of images that are not the table's own affair.

    Attributes:
        image: holds the pictures, or the paths of them.
        key: holds each item's own id; None takes the path of the picture.
    """

    image: str = "image"
    key: str | None = None


class Container(Protocol):
    """Items, as they lie on the disk."""

    @property
    def skipped(self) -> int:
        """Files that the last iteration passed over."""

    @property
    def gives(self) -> frozenset[str]:
        """Which of ``label`` and ``split`` the items bear of themselves."""

    def schema(self) -> pa.Schema:
        """Return the names and types of the items' columns."""

    def total(self) -> int | None:
        """Return how many items there are, where that is cheap to know."""

    def items(self) -> Iterator[Item]:
        """Give the items in order; those that cannot be read are given, too, and say so when read."""


Decode = Callable[[bytes, str], NDArray[np.generic]]
"""Turns bytes into one row; the second argument is the key, for messages. Raises :class:`aepipe.errors.ItemError`."""
