"""The types that all sources share: items, readers, decoders, containers and sources."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, get_args
from urllib.parse import parse_qsl, quote, unquote, urlencode

import numpy as np
from numpy.typing import NDArray

from aepipe.errors import ItemError
from aepipe.sources.files import pointer_in
from aepipe.sources.passed_over import PassedOver

if TYPE_CHECKING:
    import pyarrow as pa
    from PIL.Image import Image

    from aepipe.sources.dates import Written

Reader = Callable[[str], bytes]
"""Returns the bytes of the item with that key; raises :class:`ItemError` or OSError."""
Decode = Callable[[bytes, str], NDArray[np.generic]]
"""Makes one row of bytes; the second argument is the key, for messages. Raises :class:`ItemError`."""
Sniff = Callable[[bytes], bool]
"""Tells by the first bytes of a file whether it is an item."""
Draw = Callable[[bytes, str, int, Callable[[], Mapping[str, Any]]], "Image"]
"""Makes a picture of bytes to look at; the other arguments are the key, the longest side in pixels, and the features.

The features are a function, because most kinds need none, and to read them a release has to open its encoder.
"""


def asking(decode: Decode) -> Decode:
    """Return what makes the row of a question of some words.

    That is the function ``asked`` of what makes the rows of items; where it has none, both are the same.
    """
    found: Decode = getattr(decode, "asked", decode)
    return found


@dataclass(frozen=True, slots=True)
class Item:
    """One thing of a collection, its bytes not read yet.

    Attributes:
        key: its path relative to the source, or its own id; unique in the source.
        place: where the bytes are, relative to the source's location: ``a/b.jpg``, ``part.parquet#12``,
            ``photos.tar#1536+20481``, ``train-images-idx3-ubyte.gz#17``. :func:`aepipe.sources.preview` reads it.
        reader: returns the bytes, in any thread.
        label: its class, or several (see :mod:`aepipe.store.labels`), where the source knows one.
        split: ``train``, ``test`` or another name; None where :meth:`Source.split` decides.
        columns: the other columns that the source has for it.
        whole: the sha256 of the document that it is a piece of; all pieces of one are in the same split. Empty for what
            is no such piece.
    """

    key: str
    place: str
    reader: Reader
    label: str | None = None
    split: str | None = None
    columns: Mapping[str, object] = field(default_factory=dict)
    whole: bytes = b""

    def read(self) -> bytes:
        """Return the bytes.

        Raises:
            ItemError: they cannot be read, or only point to those that they should be.
        """
        try:
            data = self.reader(self.key)
        except OSError as error:
            # The text of an OSError would name the whole path; the key says enough.
            raise ItemError(self.key, f"cannot be read: {error.strerror or type(error).__name__}") from None
        if reason := pointer_in(data):
            raise ItemError(self.key, reason)
        return data


class Source(Protocol):
    """A collection, and the way its rows are made.

    ``items`` may be iterated again and has the same order each time; ``row`` is called from many threads.
    """

    @property
    def kind(self) -> str:
        """Its name in a recipe."""

    @property
    def name(self) -> str:
        """The name of the recipe, for files about this source."""

    @property
    def location(self) -> Path:
        """The folder that places are relative to."""

    @property
    def roots(self) -> tuple[Path, ...]:
        """Other folders that items may lie in, whose places are whole paths."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one row, (H, W, C) for images."""

    @property
    def dtype(self) -> str:
        """Element type of one row, as numpy names it: ``uint8``."""

    @property
    def dates(self) -> Mapping[str, Written]:
        """Columns of tables in text that are dates as people write them, and what they tell."""

    @property
    def spans(self) -> list[dict[str, Any]] | None:
        """The cells of each column with their likelihood; None where all are of one sort."""

    @property
    def max_bad_share(self) -> float:
        """The share of items that may be unreadable; above it, ingestion fails."""

    @property
    def max_vanished_share(self) -> float:
        """The share of the items of the run before that may be gone; above it, ingestion fails."""

    @property
    def workers(self) -> int:
        """Threads to decode with; 0 for one per processor."""

    @property
    def part(self) -> int:
        """Items of a part of a large collection; 0 takes the usual number."""

    @property
    def kept(self) -> float:
        """The share of items, drawn by their keys, whose features stay in the store."""

    @property
    def test_share(self) -> float:
        """The share of items that are drawn for tests by their bytes; 0 for none."""

    @property
    def passed_over(self) -> PassedOver:
        """Files that the last iteration left out, with the reasons."""

    @property
    def left_out(self) -> Mapping[str, str]:
        """Columns that rows are not made of, each with the reason."""

    @property
    def notes(self) -> Sequence[str]:
        """What was guessed of the files, in words for users: the delimiter, the encoding."""

    def fitted(self, known: Mapping[str, Any] | None) -> Self:
        """Return a source that has learned from its items what it needs; only then it makes rows.

        Args:
            known: :meth:`features` of the build before, whose learned part is kept where the options are the same.

        Raises:
            SourceError: nothing can be learned from the items.
        """

    def under(self, known: Mapping[str, Any] | None) -> Self:
        """Return the source for an encoder that has learned already: its rows are what that reads.

        Args:
            known: :meth:`features` of the rows that it has learned from.

        Raises:
            SourceError: what it reads is not there any more.
        """

    def features(self) -> dict[str, Any]:
        """Return everything that decides how bytes become a row, as JSON.

        Equal features make equal rows.
        """

    def schema(self) -> pa.Schema:
        """Return the names and types of the items' columns."""

    def keep_types(self, known: pa.Schema) -> None:
        """Let columns of tables in text have the types of other rows, where the values fit."""

    def total(self) -> int | None:
        """Return the number of items, where it is known without reading them; else None."""

    def items(self) -> Iterator[Item]:
        """Yield the items, in the source's order.

        Raises:
            SourceError: there are none, or a file that holds them is damaged.
        """

    def split(self, item: Item, sha256: bytes) -> str:
        """Return the split of an item whose bytes have this digest."""

    def row(self, data: bytes, key: str) -> NDArray[np.generic]:
        """Make one row of bytes.

        Raises:
            ItemError: they cannot be decoded.
        """


@dataclass(frozen=True, slots=True)
class Select:
    """The part of a database that is read.

    Attributes:
        table: a table or a view of it; None takes the only one.
        query: a ``SELECT`` whose result is read in place of a table.
    """

    table: str | None = None
    query: str | None = None

    def __bool__(self) -> bool:
        """Whether it names anything."""
        return bool(self.table or self.query)

    def mark(self) -> str:
        """Return it as a part of a place: without ``#`` and ``@``."""
        return f"={quote(self.query, safe='')}" if self.query else quote(self.table or "", safe="")

    @classmethod
    def of(cls, mark: str) -> Self:
        """Return what :meth:`mark` wrote."""
        return cls(query=unquote(mark[1:])) if mark.startswith("=") else cls(table=unquote(mark) or None)


ONLY_TABLE = Select()
"""The only table of a database; and nothing special of other files."""


Ordered = Literal["date-dmy", "date-mdy", "timestamp-dmy", "timestamp-mdy"]
"""Dates and times whose day, or month, is first."""
Said = Literal["text", "category", "number", "integer", "bool", "date", "timestamp", Ordered]
"""What a recipe can say of a column."""
SAID: tuple[str, ...] = get_args(Said)


@dataclass(frozen=True, slots=True)
class Given:
    """What a recipe says of tables; None where their content tells.

    Attributes:
        encoding: of text.
        delimiter: between cells.
        header: the first line has the names of the columns.
        sheet: of a workbook; None takes the first.
        types: of columns, by name.
        texts: columns that stay text, because they are labels or splits.
        select: what is read of a database.
    """

    encoding: str | None = None
    delimiter: str | None = None
    header: bool | None = None
    sheet: str | None = None
    types: tuple[tuple[str, str], ...] = ()
    texts: frozenset[str] = frozenset()

    def mark(self) -> str:
        """Return what a place needs of it to find a cell again: without ``#`` and ``@``."""
        said = {name: getattr(self, name) for name in ("encoding", "delimiter", "header", "sheet")}
        return urlencode({name: value for name, value in said.items() if value is not None})

    @classmethod
    def of(cls, mark: str) -> Self:
        """Return what :meth:`mark` wrote."""
        said = dict(parse_qsl(mark))
        header = {"True": True, "False": False}.get(said.get("header", ""))
        return cls(said.get("encoding"), said.get("delimiter"), header, said.get("sheet"))

    select: Select = ONLY_TABLE


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a table that an option of the recipe names.

    Attributes:
        image: holds the items, or their paths.
        key: holds the id of each item; None takes the path of the item.
        sniff: recognises items among files whose names say nothing; None leaves those files out.
        instead: says what other bytes are, where it knows, for messages.
        given: what the recipe says of tables.
        option: under ``[source]``, which names the column of the items.
    """

    image: str = "image"
    key: str | None = None
    sniff: Sniff | None = None
    instead: Callable[[bytes], str | None] | None = None
    given: Given = field(default_factory=Given)
    option: str = "image"


class Container(Protocol):
    """Items, as they lie on disk: in a folder, an archive, tables."""

    @property
    def passed_over(self) -> PassedOver:
        """Files that the last iteration left out, with the reasons."""

    @property
    def gives(self) -> frozenset[str]:
        """Which of ``label`` and ``split`` the items have by themselves."""

    def schema(self) -> pa.Schema:
        """Return the names and types of the items' columns."""

    def total(self) -> int | None:
        """Return the number of items, where that is cheap to know; else None."""

    def items(self) -> Iterator[Item]:
        """Yield the items in order; also those that cannot be read, which say so when they are read."""
