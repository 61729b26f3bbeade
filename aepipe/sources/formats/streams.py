"""Streams of tables in text: gzipped or not, in any encoding, with lines of bounded length."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import IO, cast

from aepipe.errors import SourceError
from aepipe.sources import encoding
from aepipe.sources.formats.plausible import BOMB, plausible_size

DAMAGE = (OSError, EOFError, zlib.error)
"""What a stream raises where it cannot be read to its end."""


def open_stream(path: Path) -> IO[bytes]:
    """Open a file; its first bytes tell whether it is gzipped.

    Raises:
        SourceError: it cannot be opened.
    """
    try:
        with path.open("rb") as stream:
            zipped = stream.read(2) == b"\x1f\x8b"
        return cast(IO[bytes], _Unpacked(path)) if zipped else path.open("rb")
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}") from None


class _Unpacked(gzip.GzipFile):
    """A gzipped file that grows within bounds."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "rb")
        self._most = plausible_size(path)

    def read(self, size: int | None = -1) -> bytes:
        """Return some bytes.

        Raises:
            OSError: there are more of them than is plausible.
        """
        return self._checked(super().read(self._most + 1 if size is None or size < 0 else size))

    def read1(self, size: int = -1) -> bytes:
        """Return some bytes; see :meth:`read`."""
        return self._checked(super().read1(size))

    def _checked(self, data: bytes) -> bytes:
        if self.tell() > self._most:
            raise OSError(f"it {BOMB}")
        return data


def encoding_of(path: Path, given: str | None) -> str:
    """Return the encoding of a file; see :func:`aepipe.sources.encoding.of_stream`.

    Raises:
        SourceError: the file cannot be read to its end, or has too few words to tell its encoding.
        ExtraError: the package that guesses is not installed.
    """
    return _encoding_of(path, given, stamp(path))


def stamp(path: Path) -> tuple[int, int]:
    """Return size and time of a file, which tell whether it has changed.

    Raises:
        SourceError: it is not there.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}") from None
    return found.st_size, found.st_mtime_ns


@lru_cache(4096)
def _encoding_of(path: Path, given: str | None, _: tuple[int, int]) -> str:
    with open_stream(path) as stream:
        try:
            return encoding.of_stream(stream, given)
        except DAMAGE as error:
            raise SourceError(f"{path}: cannot be read to its end: {error}") from None
        except ValueError as error:
            raise SourceError(f"{path}: {error}") from None


def lines_of(path: Path, name: str, longest: int) -> Iterator[str | None]:
    """Yield the lines of a file as text, with their ends; None for one that is too long.

    Bytes that are not of the encoding become lone surrogates; see :func:`aepipe.sources.encoding.bad_byte`.

    Args:
        path: of the file.
        name: of its encoding.
        longest: line in letters.

    Raises:
        SourceError: it cannot be read to its end.
    """
    name = "utf-8-sig" if name == encoding.UTF8 else name
    with io.TextIOWrapper(open_stream(path), name, encoding.reader_errors(), newline="") as stream:
        try:
            while line := stream.readline(longest + 1):
                whole = len(line) <= longest
                # The rest of the line is read in pieces, so that memory holds no more than the limit.
                while not whole and line and not line.endswith(("\n", "\r")):
                    line = stream.readline(longest)
                yield line if whole else None
        except DAMAGE as error:
            raise SourceError(f"{path}: cannot be read to its end: {error}") from None
