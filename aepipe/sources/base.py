"""What all kinds of collections have in common: where the items are, their keys, labels, splits and columns."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import Field

from aepipe import recipe
from aepipe.errors import SourceError
from aepipe.sources.files import Files
from aepipe.sources.item import Container, Item

if TYPE_CHECKING:
    import pyarrow as pa


class SplitShare(recipe.Options):
    """A split that the bytes decide.

    Attributes:
        test: the share of items in the test split; equal bytes are in the same one, so no test item is trained on.
    """

    test: Annotated[float, Field(gt=0, lt=1)]


class Options(recipe.Options):
    """Options under ``[source]`` that every kind has.

    Attributes:
        path: a file, a folder or a glob, relative to the recipe; ``~`` is the user's home.
        label: a column; or ``parent``, the name of the folder that the item is in.
        split: a column with ``train`` and ``test``; ``top``, the name of the topmost folder; ``file``, the name of the
            file that holds the item, up to its first dot; or ``{ test = 0.1 }``. Without it everything is ``train``.
        key: a column with each item's own id; without it the path, or the place in a file, is the key.
        max_bad_share: the share of unreadable items above which ingestion fails.
        max_vanished_share: the share of the items of the run before above which it fails because they are not there any
            more: an empty folder where a disk should be mounted is no reason to forget a collection.
        workers: threads to decode with; 0 takes one per processor.
    """

    path: str
    label: str | None = None
    split: str | SplitShare | None = None
    key: str | None = None
    max_bad_share: Annotated[float, Field(ge=0, le=1)] = 0.05
    max_vanished_share: Annotated[float, Field(ge=0, le=1)] = 0.5
    workers: Annotated[int, Field(ge=0)] = 0


class ItemSource:
    """A source but for its kind, and for what makes rows of bytes; see :class:`aepipe.sources.item.Source`.

    Args:
        options: where the items are.
        name: the recipe's.
        files: what :attr:`Options.path` names.
        container: that holds them.

    Raises:
        SourceError: a column for label or split is missing.
    """

    kind: ClassVar[str]
    called: ClassVar[str]
    """What messages call many of its items."""

    def __init__(self, options: Options, name: str, files: Files, container: Container) -> None:
        self.name = name
        self._options = options
        self._files = files
        self._container = container
        self._check_columns()

    @property
    def location(self) -> Path:
        """The folder that places are relative to."""
        return self._files.root

    @property
    def max_bad_share(self) -> float:
        """The share of unreadable items above which ingestion fails."""
        return self._options.max_bad_share

    @property
    def max_vanished_share(self) -> float:
        """The share of vanished items above which ingestion fails."""
        return self._options.max_vanished_share

    @property
    def workers(self) -> int:
        """Threads to decode with; 0 for one per processor."""
        return self._options.workers

    @property
    def skipped(self) -> int:
        """Files that the last iteration passed over."""
        return self._container.skipped

    @property
    def spans(self) -> list[dict[str, Any]] | None:
        """None: all cells of a row are of one sort."""
        return None

    def fitted(self, known: Mapping[str, Any] | None) -> Self:
        """Return the source itself: nothing about its rows has to be learned from the items first."""
        return self

    def schema(self) -> pa.Schema:
        """Return the columns that are neither label nor split."""
        import pyarrow as pa

        return pa.schema([field for field in self._container.schema() if field.name not in self._used])

    def total(self) -> int | None:
        """Return how many items there are, where that is cheap to know."""
        return self._container.total()

    def items(self) -> Iterator[Item]:
        """Give the items in the container's order.

        Raises:
            SourceError: there are none, or the container is damaged.
        """
        empty = True
        for item in self._container.items():
            empty = False
            yield self._finished(item)
        if empty:
            raise SourceError(f"{self._files.asked}: no {self.called} in it")

    def split(self, item: Item, sha256: bytes) -> str:
        """Return the source's own split, or what the bytes decide."""
        share = self._options.split
        if isinstance(share, SplitShare):
            return "test" if int.from_bytes(sha256[:8], "big") < share.test * 2.0**64 else "train"
        return item.split or "train"

    @property
    def _by_bytes(self) -> bool:
        """Whether the bytes of an item decide its split."""
        return isinstance(self._options.split, SplitShare)

    def _finished(self, item: Item) -> Item:
        """Fill in label and split, and take their columns out."""
        label, split = self._options.label, self._options.split
        if label is None and not isinstance(split, str):
            return item
        path = item.place if self._options.key else item.key
        label = _parent(path) if label == "parent" else _chosen(label, item.columns, item.label)
        if split == "top":
            split = _top(path)
        elif split == "file":
            split = item.place.partition("#")[0].rpartition("/")[2].partition(".")[0]
        else:
            split = _chosen(split if isinstance(split, str) else None, item.columns, item.split)
        columns = {name: value for name, value in item.columns.items() if name not in self._used}
        return Item(item.key, item.place, item.reader, label, split, columns)

    @cached_property
    def _used(self) -> set[str]:
        """Return the columns that label and split are made of."""
        wanted = {self._options.label} - {"parent"} | {self._options.split} - {"top", "file"}
        return {name for name in wanted if isinstance(name, str)}

    def _check_columns(self) -> None:
        """Check that the columns of label and split are there."""
        names = [*self._container.schema().names, *sorted(self._container.gives)]
        for option, special in (("label", ("parent",)), ("split", ("top", "file"))):
            name = getattr(self._options, option)
            if isinstance(name, str) and name not in special and name not in names:
                raise SourceError(
                    f"{self._files.asked}: no column {name!r} for {option}; it has: {', '.join(names) or 'none'}. "
                    f"{option} = {special[0]!r} takes a folder's name"
                )


def _chosen(option: str | None, columns: Mapping[str, object], natural: str | None) -> str | None:
    """Return a label or a split: the container's own, or that of a column."""
    return natural if option is None else _text(columns.get(option, natural))


def _parent(path: str) -> str | None:
    """Return the name of the folder that a file is in, None where it is in none.

    Text, not a Path: making one takes as long as reading a small file.
    """
    return path.rpartition("/")[0].rstrip("/").rpartition("/")[2] or None


def _top(path: str) -> str | None:
    """Return the name of the topmost folder that a file is in, None where it is in none."""
    top, inside, _ = path.lstrip("/").partition("/")
    return top if inside else None


def _text(value: object) -> str | None:
    """Return a label or a split as text; None for what is missing."""
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return None
    return str(value).strip()


SNIPPET = "snippet"
"""The column with the beginning of each document, to show it."""
SNIPPET_LENGTH = 120
