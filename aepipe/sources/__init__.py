"""Sources: raw things become rows here, one file per kind of collection; the file's name is the kind in a recipe.

A module of this room is a kind when it has ``Options`` and ``Features`` (both :class:`aepipe.recipe.Options`) and
``open_source(options, features, *, base, name) -> Source``. Nothing else names it.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from aepipe.errors import ItemError

if TYPE_CHECKING:
    import pyarrow as pa

    from aepipe.recipe import Recipe

Reader = Callable[[str], bytes]
"""Gives the bytes of the item of that key; raises :class:`ItemError`, or OSError."""


@dataclass(frozen=True, slots=True)
class RawItem:
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

    def items(self) -> Iterator[RawItem]:
        """Give the items, in the source's order.

        Raises:
            SourceError: there is none, or what holds them is damaged.
        """

    def split(self, item: RawItem, sha256: bytes) -> str:
        """Return the split of an item whose bytes have this digest."""

    def row(self, data: bytes, key: str) -> NDArray[np.generic]:
        """Turn bytes into one row.

        Raises:
            ItemError: they cannot be decoded.
        """


def kinds() -> dict[str, ModuleType]:
    """Return the kinds of sources there are, by name."""
    names = [module.name for module in pkgutil.iter_modules(__path__) if not module.ispkg]
    modules = {name: import_module(f"{__name__}.{name}") for name in names}
    return {name: module for name, module in modules.items() if hasattr(module, "open_source")}


def resolve(recipe: Recipe) -> Source:
    """Return the source that a recipe names; nothing is opened before its items are asked for.

    Raises:
        RecipeError: there is no such kind, or an option under ``[source]`` or ``[features]`` is wrong.
        SourceError: the path does not exist, or holds nothing of the kind.
    """
    from aepipe import recipe as recipes

    modules = kinds()
    options = recipes.resolve({name: module.Options for name, module in modules.items()}, recipe.source, "source")
    module = modules[recipe.source.kind]
    features = recipes.options(module.Features, recipe.features, "features")
    source: Source = module.open_source(options, features, base=recipe.file.parent, name=recipe.name)
    return source


def preview(location: Path, place: str) -> bytes:
    """Return the bytes of one item, to show it.

    Args:
        location: :attr:`Source.location`.
        place: :attr:`RawItem.place`.

    Raises:
        ItemError: they are not there any more.
    """
    from aepipe.sources.containers import read_place

    return read_place(location, place)
