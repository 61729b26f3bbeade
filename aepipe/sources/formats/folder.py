"""A folder of files, a glob of them, or one file: each file is an item."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from aepipe.sources.files import Files, Found, WholeFile, why_not_like
from aepipe.sources.item import Item
from aepipe.sources.passed_over import PassedOver
from aepipe.sources.pictures import SUFFIXES

if TYPE_CHECKING:
    import pyarrow as pa

    from aepipe.sources.item import Columns, Container, Sniff

_OTHERS = """
.wav .wave .flac .mp3 .ogg .oga .opus .m4a .aac .aif .aiff .wma .mp4 .m4v .mov .mkv .webm .avi .mpg .mpeg .wmv .flv
.csv .tsv .jsonl .ndjson .parquet .pq .npy .npz .arrow .feather .ipc .db .db3 .sqlite .sqlite3 .duckdb .ddb
.svg .svgz .eps .ai .wmf .emf .xcf .psb .exr .hdr .dcm
.h5 .hdf5 .pkl .pt .onnx
.zip .tar .tgz .gz .bz2 .xz .zst .7z .rar .iso .exe .dll .so .o .class .pyc .jar .ttf .otf .woff .woff2
"""
OTHERS = frozenset(_OTHERS.split())
"""Endings of files that are neither pictures nor documents."""
ABOUT = "a table about the other files, whose columns it gives"
"""Why such a table is no item; see :mod:`aepipe.sources.formats.about`."""
UNCOUNTED = 1000
"""Files that have to be looked into, from which a folder is not counted in advance."""


def claims(name: str) -> bool:
    """Whether a file has the name of an image."""
    return name.lower().endswith(SUFFIXES)


def open_container(files: Files, columns: Columns) -> Container:
    """Return the folder of images; it has no columns."""
    return Folder(files, SUFFIXES, columns.sniff, called="a picture", instead=columns.instead)


class Folder:
    """Files; the key is the path relative to the source.

    Args:
        files: where they are.
        endings: of the names of items, in lower case; without endings every file is an item.
        sniff: tells by the first bytes whether a file with another ending is an item; None leaves those out.
        called: what one item is called, with its article.
        instead: says what the first bytes of other files are, where it knows.
        without: tells by its name whether a file is none; None where names say nothing against a file.
    """

    def __init__(
        self,
        files: Files,
        endings: tuple[str, ...] = (),
        sniff: Sniff | None = None,
        *,
        called: str = "an item",
        instead: Callable[[bytes], str | None] | None = None,
        without: Callable[[str], bool] | None = None,
    ) -> None:
        self._files = files
        self._endings = endings
        self._sniff = sniff
        self._without = without
        self._instead = instead
        self._reason = f"not {called}"
        self.about: frozenset[str] = frozenset()
        """Places of tables about the files; see :mod:`aepipe.sources.formats.about`."""
        self.passed_over = PassedOver()
        self.gives: frozenset[str] = frozenset()

    def schema(self) -> pa.Schema:
        """Return no columns."""
        import pyarrow as pa  # here, because a cold query must not wait for it

        return pa.schema([])

    def total(self) -> int | None:
        """Count the files; None where many have to be looked into for that."""
        count, looked = 0, 0
        for found in self._files.picked(self._why_not, PassedOver()):
            count += 1
            looked += not self._is_named(found)
            if looked > UNCOUNTED:
                return None
        return count

    def items(self) -> Iterator[Item]:
        """Yield the files in the order of their paths."""
        for found in self._files.picked(self._why_not, self.passed_over):
            yield Item(found.place, found.place, WholeFile(found.path))

    def is_item(self, found: Found) -> bool:
        """Tell whether a file is an item, by its name or its first bytes."""
        return self._why_not(found) is None

    def _is_named(self, found: Found) -> bool:
        return not self._endings or found.place.lower().endswith(self._endings)

    def _why_not(self, found: Found) -> str | None:
        """Return why a file is no item; None where it is one."""
        if found.place in self.about:
            return ABOUT
        if self._without is not None and self._without(found.place) and not self._files.single:
            return self._reason
        if self._is_named(found):
            return None
        return why_not_like(found, self._sniff, self._reason, self._instead)


def is_other(name: str) -> bool:
    """Whether a file has the name of a picture, a recording, a table, ..., so of no document."""
    lower = name.lower()
    return lower.endswith(SUFFIXES) or lower[lower.rfind(".") :] in OTHERS
