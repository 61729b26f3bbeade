"""Zip archives, read in place: a member is unpacked when it is wanted, and never on disk."""

from __future__ import annotations

import bz2
import lzma
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from aepipe.errors import ItemError, SourceError
from aepipe.sources.files import MAX_BYTES, Found, Piece, Refused, check_bytes
from aepipe.sources.formats.members import LINK, Member, leaves
from aepipe.sources.item import Reader

MOST = 2_000_000
"""Members of an archive; zip keeps their list in memory."""
RATIO = 1000
"""Times that a large member may grow when it is unpacked."""
_SMALL = 1 << 20  # bytes up to which no ratio is looked at
_METHODS = {zipfile.ZIP_STORED: "", zipfile.ZIP_DEFLATED: "d", zipfile.ZIP_BZIP2: "b", zipfile.ZIP_LZMA: "l"}
_LOCAL = struct.Struct("<4s22x2H")  # of a member's own header: mark, lengths of name and extra field
_UTF8, _ENCRYPTED, _UNICODE_PATH = 0x800, 0x1, 0x7075


def claims(name: str) -> bool:
    """Whether a file has the name of an archive."""
    return name.lower().endswith(".zip")


def read_at(path: Path, at: str, key: str) -> bytes:
    """Return the member at ``offset+size``, with a letter that tells how it is packed."""
    return reader_at(path, at)(key)


def reader_at(path: Path, at: str) -> Reader:
    """Return what reads the member at a place; see :func:`read_at`."""
    offset, _, size = at.partition("+")
    letter = size[-1:] if size[-1:].isalpha() else ""
    if not letter:
        return Piece(str(path), int(offset), int(size))
    return Packed(str(path), int(offset), int(size.removesuffix(letter)), letter)


@dataclass(frozen=True, slots=True)
class Packed:
    """Reads and unpacks a member.

    Attributes:
        path: of the archive.
        offset: of the packed bytes.
        size: of the packed bytes.
        letter: how they are packed: ``d`` deflate, ``b`` bzip2, ``l`` LZMA.
        whole: size of the member; None where nobody knows.
        crc: checksum of the member.
    """

    path: str
    offset: int
    size: int
    letter: str
    whole: int | None = None
    crc: int | None = None

    def __call__(self, key: str) -> bytes:
        """Return the member's bytes."""
        packed = Piece(self.path, self.offset, self.size)(key)
        # One byte more than a member may have, so that a larger one is found without unpacking all of it.
        most = MAX_BYTES if self.whole is None else self.whole
        try:
            data = _UNPACKERS[self.letter](packed, most + 1)
        except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError, struct.error) as error:
            raise ItemError(key, f"damaged in the archive: {error}") from None
        check_bytes(len(data), key)
        if self.whole is not None and (len(data) != self.whole or zlib.crc32(data) != self.crc):
            raise ItemError(key, "damaged in the archive: it has another length or checksum")
        return data


def members(found: Found) -> Iterator[Member]:
    """Yield the members of an archive that are no folders, by their names.

    Raises:
        SourceError: it is no whole zip archive, or has too many members.
    """
    path = found.path
    try:
        with zipfile.ZipFile(path) as archive, open(path, "rb") as stream:
            listed = archive.infolist()
            if len(listed) > MOST:
                raise SourceError(f"{path}: {len(listed):,} members, and {MOST:,} are allowed; unpack it first")
            named = sorted(((_name(info), info) for info in listed if not info.is_dir()), key=lambda pair: pair[0])
            again = _overlapping(listed)
            for name, info in named:
                reader = Refused("shares its bytes with another member") if info.header_offset in again else None
                yield _member(name, info, reader or _reader(stream, name, info, path))
    except (zipfile.BadZipFile, NotImplementedError, OSError, EOFError, struct.error, ValueError) as error:
        raise SourceError(f"{path}: not a whole zip archive: {str(error).partition(chr(10))[0]}") from None


def _member(name: str, info: zipfile.ZipInfo, reader: Reader) -> Member:
    if isinstance(reader, Packed):
        return Member(name, f"{reader.offset}+{reader.size}{reader.letter}", reader)
    if isinstance(reader, Piece):
        return Member(name, f"{reader.offset}+{reader.size}", reader)
    return Member(name, f"{info.header_offset}+{info.compress_size}", reader)


def _reader(stream: BinaryIO, name: str, info: zipfile.ZipInfo, path: str) -> Reader:
    """Return the reader of one member."""
    mode = info.external_attr >> 16
    checks = {
        "path leaves the archive": leaves(name),
        "encrypted": bool(info.flag_bits & _ENCRYPTED),
        LINK: info.create_system == 3 and stat.S_ISLNK(mode),
        f"packed by a method that is not known here: {info.compress_type}": info.compress_type not in _METHODS,
        f"more than {MAX_BYTES >> 20} MB": info.file_size > MAX_BYTES,
        f"grows more than {RATIO:,} times when it is unpacked": info.file_size > _SMALL
        and info.file_size > RATIO * info.compress_size,
    }
    reason = next((reason for reason, wrong in checks.items() if wrong), None)
    if reason:
        return Refused(reason)
    stream.seek(info.header_offset)
    header = stream.read(_LOCAL.size)
    if len(header) < _LOCAL.size or not header.startswith(b"PK\3\4"):
        return Refused("damaged in the archive: no header")
    offset = info.header_offset + _LOCAL.size + sum(_LOCAL.unpack(header)[1:])
    letter = _METHODS[info.compress_type]
    if not letter:
        return Piece(path, offset, info.file_size)
    return Packed(path, offset, info.compress_size, letter, info.file_size, info.CRC)


def _overlapping(listed: list[zipfile.ZipInfo]) -> set[int]:
    """Return the offsets of members that begin within another: a small archive could hold any number of those."""
    found, end, before = set[int](), -1, -1
    for info in sorted(listed, key=lambda info: info.header_offset):
        if info.header_offset < end or info.header_offset == before:
            found.add(info.header_offset)
        before = info.header_offset
        end = max(end, info.header_offset + _LOCAL.size + info.compress_size)
    return found


def _name(info: zipfile.ZipInfo) -> str:
    """Return the name of a member: by its Unicode field, as UTF-8, else as the old code page of DOS."""
    name = info.orig_filename
    if not info.flag_bits & _UTF8:
        raw = name.encode("cp437", "replace")
        try:
            name = _unicode_path(info.extra, raw) or raw.decode("utf-8")
        except UnicodeDecodeError:
            name = raw.decode("cp437")
    name = name.partition("\0")[0]
    # Some programs of Windows write the separator of paths there.
    return name.replace("\\", "/") if info.create_system == 0 else name


def _unicode_path(extra: bytes, raw: bytes) -> str | None:
    """Return the name in the field that Info-ZIP writes, where it belongs to the member's name."""
    at = 0
    while at + 4 <= len(extra):
        kind, size = struct.unpack_from("<HH", extra, at)
        field = extra[at + 4 : at + 4 + size]
        if kind == _UNICODE_PATH and len(field) > 5 and struct.unpack_from("<I", field, 1)[0] == zlib.crc32(raw):
            return field[5:].decode("utf-8")
        at += 4 + size
    return None


def _inflate(packed: bytes, most: int) -> bytes:
    stream = zlib.decompressobj(-15)
    return _whole(stream.decompress(packed, most), most, ended=stream.eof)


def _bunzip(packed: bytes, most: int) -> bytes:
    stream = bz2.BZ2Decompressor()
    return _whole(stream.decompress(packed, most), most, ended=stream.eof)


def _whole(data: bytes, most: int, *, ended: bool) -> bytes:
    if not ended and len(data) < most:
        raise EOFError("it ends too early")
    return data


def _unlzma(packed: bytes, most: int) -> bytes:
    size = struct.unpack_from("<H", packed, 2)[0]
    options = lzma._decode_filter_properties(lzma.FILTER_LZMA1, packed[4 : 4 + size])  # type: ignore[attr-defined]
    return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[options]).decompress(packed[4 + size :], most)


_UNPACKERS: dict[str, Callable[[bytes, int], bytes]] = {"d": _inflate, "b": _bunzip, "l": _unlzma}
