"""Tar archives of pictures; plain ones are read in place, compressed ones as one stream."""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from aepipe.errors import ItemError, SourceError
from aepipe.sources.files import EMPTY, HIDDEN, MAX_BYTES, Files, Found, InMemory, Piece, Refused, pointer_in
from aepipe.sources.formats import folder
from aepipe.sources.item import Item, Reader
from aepipe.sources.passed_over import PassedOver

if TYPE_CHECKING:
    import pyarrow as pa

    from aepipe.sources.item import Columns, Container, Sniff

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


def claims(name: str) -> bool:
    """Whether a file has the name of an archive."""
    return name.lower().endswith(SUFFIXES)


def open_container(files: Files, columns: Columns) -> Container:
    """Return the archives; they have no columns."""
    return Tar(files, columns.sniff)


def read_at(path: Path, at: str, key: str) -> bytes:
    """Return ``offset+size`` of the archive, counted in its uncompressed bytes."""
    offset, _, size = at.partition("+")
    if _plain(path):
        return Piece(str(path), int(offset), int(size))(key)
    with _open(path) as archive:
        if archive.fileobj is None:
            raise ItemError(key, "not a tar archive")
        archive.fileobj.seek(int(offset))
        return archive.fileobj.read(int(size))


class Tar:
    """Tar archives; the key is the path of the member, after that of its archive.

    The path of the archive is left out where the source is a single one.
    """

    def __init__(self, files: Files, sniff: Sniff | None = None) -> None:
        self._files = files
        self._sniff = sniff
        self.passed_over = PassedOver()
        self.gives: frozenset[str] = frozenset()

    def schema(self) -> pa.Schema:
        """Return no columns."""
        import pyarrow as pa

        return pa.schema([])

    def total(self) -> None:
        """Return None: an archive has no table of contents."""
        return

    def items(self) -> Iterator[Item]:
        """Yield the pictures in the order of the archive."""
        for found in self._files.claimed(claims, self.passed_over, "not an archive"):
            try:
                with _open(Path(found.path)) as archive:
                    yield from self._members(archive, found)
            except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
                why = str(error).partition("\n")[0]
                raise SourceError(f"{found.path}: not a whole tar archive: {why}") from None

    def _members(self, archive: tarfile.TarFile, found: Found) -> Iterator[Item]:
        """Yield the pictures of one archive."""
        prefix = "" if self._files.single else f"{found.place}/"
        while (member := archive.next()) is not None:
            vars(archive)["members"].clear()  # tarfile keeps all members it has seen, however many there are
            name = member.name.removeprefix("./").encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
            if member.isdir():
                continue
            reader = _reader(archive, member, found.path)
            reason = self._why_not(name, reader)
            if reason:
                self.passed_over.add(prefix + name, reason)
                continue
            yield Item(prefix + name, f"{found.place}#{member.offset_data}+{member.size}", reader)

    def _why_not(self, name: str, reader: Reader) -> str | None:
        """Return why a member is no item; None where it is one."""
        if any(part.startswith(".") and part != ".." for part in PurePosixPath(name).parts):
            return HIDDEN
        if folder.claims(name):
            return None
        if isinstance(reader, Refused):
            return reader.reason
        try:
            # Of a plain archive, only the first bytes are read.
            head = (replace(reader, size=min(reader.size, 64)) if isinstance(reader, Piece) else reader)(name)
        except ItemError as error:
            return error.reason
        if self._sniff is not None and self._sniff(head):
            return None
        return EMPTY if not head else pointer_in(head) or "not a picture"


def _reader(archive: tarfile.TarFile, member: tarfile.TarInfo, path: str) -> Reader:
    """Return the reader of one member."""
    parts = PurePosixPath(member.name).parts
    if ".." in parts or member.name.startswith("/"):
        return Refused("path leaves the archive")
    if not member.isreg() or member.issparse():
        return Refused("not a file")
    if _plain(Path(path)):
        return Piece(path, member.offset_data, member.size)
    if member.size > MAX_BYTES:
        return Refused(f"more than {MAX_BYTES >> 20} MB")
    # A compressed archive can only be read forwards, so the bytes are taken now.
    stream = archive.extractfile(member)
    data = stream.read() if stream else b""
    return InMemory(data) if len(data) == member.size else Refused("truncated")


def _plain(path: Path) -> bool:
    return path.name.lower().endswith(".tar")


def _open(path: Path) -> tarfile.TarFile:
    """Open an archive."""
    # "r:" refuses a compressed archive with the name of a plain one, whose offsets would point to other bytes.
    try:
        return tarfile.open(path, "r:" if _plain(path) else "r:*")
    except tarfile.TarError as error:
        why = str(error).partition("\n")[0]
        raise SourceError(f"{path}: not a tar archive: {why}") from None
