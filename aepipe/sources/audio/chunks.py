"""Find the sound of WAV files by their chunks, and tell which files are cut off.

Recorders write texts before the sound, forget to fill chunks up to an even length, and leave lengths open that they
could not know. So libsndfile gets a short header of our own, and after it the sound as it lies in the file.

Source: Microsoft and IBM, "Multimedia Programming Interface and Data Specifications 1.0", 1991; EBU Tech 3306 for RF64,
whose lengths have 64 bits.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

OPEN = 0x7FFF0000
"""Lengths from here on stand for "to the end of the file" where the file is shorter; so does 0.

Programs that write to a pipe do not know the length: sox writes 0x7FFFF000, FFmpeg 0xFFFFFFFF.
"""
_FORMS = {b"RIFF": "<", b"RF64": "<", b"BW64": "<", b"RIFX": ">"}
_W64_DATA = b"data" + bytes.fromhex("f3acd3118cd100c04f8edb8a")
_EXTENDED = 0xFFFE
_NUMBERS = {(1, 16): "<i2", (3, 32): "<f4"}
_PLAIN = (1, 3)  # PCM and float: their number of samples follows from the length


@dataclass(frozen=True, slots=True)
class Sound:
    """The sound of a WAV file.

    Attributes:
        offset: of its first byte.
        size: in bytes, as far as they are there.
        cut_off: the file is shorter than the header says.
        header: of a file that holds nothing else.
        form: the numbers of the chunk ``fmt``: code, channels, samples in a second, bytes in a second, bytes of a
            sample of all channels, bits.
    """

    offset: int
    size: int
    cut_off: bool
    header: bytes
    form: tuple[int, ...]

    @property
    def plain(self) -> str | None:
        """The type of samples that need no decoder; None for others."""
        code, channels, _, _, block, bits = self.form
        kind = _NUMBERS.get((code, bits))
        return kind if kind and channels and block == channels * bits // 8 else None


def find_wave(stream: BinaryIO) -> Sound | None:
    """Return the sound of a WAV file; None where there is none to be found."""
    stream.seek(0)
    head = stream.read(12)
    order = _FORMS.get(head[:4])
    if order is None or head[8:12] != b"WAVE":
        return None
    end = stream.seek(0, io.SEEK_END)
    seen = _Seen()
    for name, offset, size in _chunks(stream, order, end):
        seen.take(stream, name, offset, size)
        if seen.data and seen.kept.get(b"fmt "):
            break
    if seen.data is None or b"fmt " not in seen.kept:
        return None
    offset, size = seen.data
    if size == 0xFFFFFFFF and b"ds64" in seen.kept:
        size = struct.unpack_from(f"{order}Q", seen.kept[b"ds64"].ljust(16, b"\0"), 8)[0]
    there = end - offset
    if size == 0 and _all_chunks(stream, order, offset, end):
        there = 0
    is_open = size == 0 or size >= OPEN
    found = min(size or there, there)
    return Sound(offset, found, size > there and not is_open, _header(order, seen.kept, found), _form(order, seen.kept))


def is_cut_off(stream: BinaryIO) -> bool:
    """Tell whether an AIFF, AU, CAF or W64 file is shorter than its header says."""
    end = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    head = stream.read(16)
    if head.startswith(b"FORM"):
        return any(name == b"SSND" and offset + size > end for name, offset, size in _chunks(stream, ">", end))
    if head.startswith(b".snd"):
        offset, size = struct.unpack(">II", head[4:12])
        return bool(size != 0xFFFFFFFF and offset + size > end)
    if head.startswith(b"caff"):
        return _long_chunk(stream, end, at=8, form=">4sq", name=b"data", header=0)
    return head.startswith(b"riff") and _long_chunk(stream, end, at=40, form="<16sq", name=_W64_DATA, header=24)


def _long_chunk(stream: BinaryIO, end: int, *, at: int, form: str, name: bytes, header: int) -> bool:
    """Tell whether a chunk whose length has 64 bits goes on beyond the end.

    Args:
        stream: to read.
        end: of the file.
        at: where the first chunk begins.
        form: of a chunk's name and length.
        name: of the chunk.
        header: bytes that the length counts in addition to the content.
    """
    while at + struct.calcsize(form) <= end:
        stream.seek(at)
        found, size = struct.unpack(form, stream.read(struct.calcsize(form)))
        if found == name:
            return bool(size > 0 and at + struct.calcsize(form) - header + size > end)
        if size < header:
            return False
        # Chunks of W64 begin at multiples of 8.
        at += size + (-size % 8 if header else struct.calcsize(form))
    return False


@dataclass(slots=True)
class _Seen:
    """Chunks seen so far: those that tell the format, and where the sound lies."""

    kept: dict[bytes, bytes] = field(default_factory=dict)
    data: tuple[int, int] | None = None

    def take(self, stream: BinaryIO, name: bytes, offset: int, size: int) -> None:
        if name == b"data":
            self.data = self.data or (offset, size)
        elif name in {b"fmt ", b"fact", b"ds64"} and name not in self.kept:
            stream.seek(offset)
            self.kept[name] = stream.read(min(size, 1 << 12))


def _chunks(stream: BinaryIO, order: str, end: int, at: int = 12) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, offset and length of each chunk."""
    while at + 8 <= end:
        stream.seek(at)
        name, size = struct.unpack(f"{order}4sI", stream.read(8))
        yield name, at + 8, size
        at += 8 + size + size % 2
        if size % 2:
            stream.seek(at - 1)
            near = stream.read(5)
            # Some programs forget the byte that makes the length even.
            at -= _is_name(near[:4]) and not _is_name(near[1:])


def _all_chunks(stream: BinaryIO, order: str, at: int, end: int) -> bool:
    """Tell whether what follows an empty chunk are other chunks, and so no sound."""
    last = at
    for name, offset, size in _chunks(stream, order, end, at):
        if not _is_name(name):
            return False
        last = offset + size + size % 2
    return end <= last <= end + 1


def _form(order: str, kept: dict[bytes, bytes]) -> tuple[int, ...]:
    """Return the numbers of the chunk ``fmt``, with the code that an extended one stands for."""
    data = kept[b"fmt "].ljust(26, b"\0")
    code, *others = struct.unpack_from(f"{order}HHIIHH", data)
    code = struct.unpack_from(f"{order}H", data, 24)[0] if code == _EXTENDED else code
    return (code if order == "<" else 0, *others)


def _is_name(name: bytes) -> bool:
    return len(name) == 4 and all(0x20 <= letter < 0x7F for letter in name)


def _header(order: str, kept: dict[bytes, bytes], size: int) -> bytes:
    """Return the header of a file with that much sound, and nothing else."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return name + struct.pack(f"{order}I", len(data)) + data + b"\0" * (len(data) % 2)

    form = chunk(b"fmt ", kept[b"fmt "])
    code = struct.unpack_from(f"{order}H", kept[b"fmt "].ljust(2, b"\0"))[0]
    if b"fact" in kept and code not in _PLAIN:
        form += chunk(b"fact", kept[b"fact"])
    whole = 4 + len(form) + 8 + size
    if whole < OPEN:
        kind = b"RIFX" if order == ">" else b"RIFF"
        return kind + struct.pack(f"{order}I", whole) + b"WAVE" + form + b"data" + struct.pack(f"{order}I", size)
    sizes = chunk(b"ds64", struct.pack("<QQQI", whole + 36, size, 0, 0))
    return b"RF64" + b"\xff" * 4 + b"WAVE" + sizes + form + b"data" + b"\xff" * 4
