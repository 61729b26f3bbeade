"""Tar archives; plain ones are read in place, compressed ones as one stream."""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from lzma import LZMAError
from pathlib import Path

from aepipe.errors import ItemError, SourceError
from aepipe.sources.files import MAX_BYTES, Found, InMemory, Piece, Refused
from aepipe.sources.formats.members import LINK, Member, leaves
from aepipe.sources.formats.plausible import BOMB, plausible_size
from aepipe.sources.item import Reader

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
_DAMAGE = (tarfile.TarError, OSError, EOFError, zlib.error, LZMAError)


def claims(name: str) -> bool:
    """Whether a file has the name of an archive."""
    return name.lower().endswith(SUFFIXES)


def read_at(path: Path, at: str, key: str) -> bytes:
    """Return ``offset+size`` of the archive, counted in its uncompressed bytes."""
    return reader_at(path, at)(key)


def reader_at(path: Path, at: str) -> Reader:
    """Return what reads the member at a place; see :func:`read_at`."""
    offset, _, size = at.partition("+")
    piece = Piece(str(path), int(offset), int(size))
    return piece if _plain(path) else _Streamed(piece)


@dataclass(frozen=True, slots=True)
class _Streamed:
    """Reads a piece of a compressed archive, from its beginning on."""

    piece: Piece

    def __call__(self, key: str) -> bytes:
        """Return the bytes."""
        with _open(Path(self.piece.path)) as archive:
            if archive.fileobj is None:
                raise ItemError(key, "not a tar archive")
            archive.fileobj.seek(self.piece.offset)
            return archive.fileobj.read(self.piece.size)


def members(found: Found) -> Iterator[Member]:
    """Yield the members of an archive that are no folders, in its order.

    Raises:
        SourceError: it is no whole tar archive, or grows without measure.
    """
    try:
        with _open(Path(found.path)) as archive:
            most = None if _plain(Path(found.path)) else plausible_size(Path(found.path))
            while (member := archive.next()) is not None:
                vars(archive)["members"].clear()  # tarfile keeps all members it has seen, however many there are
                if member.isdir():
                    continue
                if most is not None and member.offset_data + member.size > most:
                    raise SourceError(f"{found.path}: {BOMB}")
                name = member.name.removeprefix("./").encode("utf-8", "surrogateescape")
                at = f"{member.offset_data}+{member.size}"
                yield Member(name.decode("utf-8", "backslashreplace"), at, _reader(archive, member, found.path))
    except _DAMAGE as error:
        why = str(error).partition("\n")[0]
        raise SourceError(f"{found.path}: not a whole tar archive: {why}") from None


def _reader(archive: tarfile.TarFile, member: tarfile.TarInfo, path: str) -> Reader:
    """Return the reader of one member."""
    if leaves(member.name):
        return Refused("path leaves the archive")
    if member.issym() or member.islnk():
        return Refused(LINK)
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
