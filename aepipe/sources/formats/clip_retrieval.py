"""Folders of clip-retrieval: vectors of pictures and of texts, with tables of metadata.

::

    img_emb/img_emb_0.npy         float[N, D]
    text_emb/text_emb_0.npy       float[N, D]
    metadata/metadata_0.parquet   N rows: image_path, caption, ...

Files belong together by their number, rows by their position.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

import pyarrow as pa

from aepipe.errors import SourceError
from aepipe.sources.files import Files, Found
from aepipe.sources.formats import arrays, typed
from aepipe.sources.formats.shards import Shards
from aepipe.sources.item import Item
from aepipe.sources.passed_over import PassedOver

FOLDERS = ("img_emb", "text_emb")
_ROWS = 1024


def holds(files: Iterable[Found]) -> bool:
    """Whether some files are a folder of clip-retrieval."""
    return any(map(is_vectors, files))


def is_vectors(found: Found) -> bool:
    """Whether a file of such a folder holds vectors."""
    return _folder(found) in FOLDERS and found.place.lower().endswith(".npy")


class ClipRetrieval:
    """Vectors with their metadata; the key is a column, or the place ``file#row``.

    Attributes:
        width: numbers of a vector.
        notes: which of the vectors were taken, where the recipe names none.

    Args:
        files: those of the folder.
        name: of the vectors: ``img_emb`` or ``text_emb``.
        key: the column with the id of each item.

    Raises:
        SourceError: a file is damaged, vectors differ in length, or metadata has another number of rows.
    """

    def __init__(self, files: Files, name: str, *, key: str | None = None) -> None:
        self._files = files
        self._key = key
        self.passed_over = PassedOver()
        self.gives: frozenset[str] = frozenset()
        self.notes: list[str] = []
        self._name = self._chosen(name)
        self._shards = Shards(files)
        self._schema, self.left_out = self._shards.schema, self._shards.left_out
        self.width, self._total = self._sizes()
        if key is not None and key not in self._schema.names:
            raise SourceError(f"{files.given}: no column {key!r}; it has: {', '.join(self._schema.names) or 'none'}")

    def schema(self) -> pa.Schema:
        """Return the columns of the metadata."""
        return self._schema

    def total(self) -> int:
        """Return the number of vectors."""
        return self._total

    def items(self) -> Iterator[Item]:
        """Yield the vectors, by the number of their file and their position in it."""
        tables, vectors = self._tables(), self._vectors(self.passed_over)
        for number, found in vectors.items():
            yield from self._rows(found, tables.get(number))

    def _rows(self, found: Found, table: Found | None) -> Iterator[Item]:
        """Yield the vectors of one file."""
        names = self._schema.names
        vectors = arrays.load(Path(found.path), self._name)[0]
        rows = self._shards.rows(table, names, _ROWS) if table else (dict.fromkeys(names) for _ in vectors)
        for number, (reader, own) in enumerate(zip(arrays.readers(vectors), rows, strict=True)):
            place = f"{found.place}#{number}"
            key = own[self._key] if self._key else None
            yield Item(place if key in (None, "") else str(key), place, reader, columns=own)

    def _reason(self, found: Found) -> str | None:
        """Return why a file is passed over; None where it is used."""
        if is_vectors(found):
            return None if _folder(found) == self._name else "other vectors of the same items"
        return None if typed.claims(found.place) else "neither vectors nor metadata"

    def _chosen(self, name: str) -> str:
        """Return the folder of vectors to read: the named one, else the first that is there."""
        there = [folder for folder in FOLDERS if any(_folder(one) == folder and is_vectors(one) for one in self._files)]
        if name in there:
            return name
        if name in FOLDERS:
            raise SourceError(f"{self._files.given}: no vectors in {name}; it has: {', '.join(there)}")
        if len(there) > 1:
            self.notes.append(f'the vectors of pictures are read; say vectors = "{there[1]}" for those of texts')
        return there[0]

    def _vectors(self, passed_over: PassedOver | None = None) -> dict[int, Found]:
        used = self._files.picked(self._reason, passed_over or PassedOver())
        return _numbered(one for one in used if is_vectors(one))

    def _tables(self) -> dict[int, Found]:
        return _numbered(self._shards.tables())

    def _sizes(self) -> tuple[int, int]:
        """Return the numbers of a vector, and the number of vectors; check that all files agree."""
        tables, first, width, total = self._tables(), "", 0, 0
        for number, found in self._vectors().items():
            rows, numbers = arrays.load(Path(found.path), self._name)[0].shape
            first, width, total = first or found.path, width or numbers, total + rows
            arrays.check_width(found.path, numbers, first, width)
            table = tables.get(number)
            if table is None and tables:
                raise SourceError(f"{found.path}: has no metadata with the number {number}")
            count = self._shards.table(table).count() if table else rows
            if table and count != rows:
                raise SourceError(f"{found.path}: {rows:,} vectors, but {count:,} rows in {table.path}")
        return width, total


def _folder(found: Found) -> str:
    return PurePosixPath(found.place).parent.name


def _numbered(files: Iterable[Found]) -> dict[int, Found]:
    """Return files by the number at the end of their names, in its order."""
    numbers = {}
    for found in files:
        digits = re.findall(r"\d+", PurePosixPath(found.place).stem)
        numbers[int(digits[-1]) if digits else 0] = found
    return dict(sorted(numbers.items()))
