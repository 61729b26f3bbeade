"""What the batches of an Arrow file unpack to, told by their heads.

A head is a table of FlatBuffers: its first number leads to a list of where its fields are. Of a packed batch, each
buffer begins with the number of its bytes (Arrow columnar format, "Compressed buffers").
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pyarrow as pa

from aepipe.errors import SourceError
from aepipe.sources.formats.plausible import BOMB, check_rows, plausible_size

_DICTIONARY, _BATCH = 2, 3  # kinds of messages
_HEAD_TYPE, _HEAD = 1, 2  # fields of a message
_LENGTH, _BUFFERS, _COMPRESSION = 0, 2, 3  # fields of a batch
_PLAIN = -1  # says of a buffer that it is not packed


@lru_cache(4096)
def check(path: Path, start: int, _: tuple[int, int]) -> None:
    """Check that a file does not say that it holds more than is plausible.

    Args:
        path: of the file.
        start: where its messages begin.
        _: size and time of the file.

    Raises:
        SourceError: it does.
    """
    most, rows = plausible_size(path), 0
    for kind, count, size in _batches(path, start):
        rows += count if kind == _BATCH else 0
        if size > most:
            raise SourceError(f"{path}: a batch {BOMB}")
    try:
        check_rows(path, rows)
    except ValueError as error:
        raise SourceError(f"{path}: {error}") from None


def _batches(path: Path, start: int) -> Iterator[tuple[int, int, int]]:
    """Yield kind, rows and unpacked bytes of the batches, up to what cannot be read: the library will tell of that."""
    try:
        with pa.memory_map(str(path)) as mapped:
            mapped.seek(start)
            reader = pa.ipc.MessageReader.open_stream(mapped)
            while True:
                message = reader.read_next_message()
                found = _batch(memoryview(message.metadata), memoryview(message.body or b""))
                if found is not None:
                    yield found
    except (StopIteration, EOFError, pa.ArrowException, OSError, struct.error, ValueError):
        return


def _batch(head: memoryview, body: memoryview) -> tuple[int, int, int] | None:
    (root,) = struct.unpack_from("<I", head)
    kind = head[at] if (at := _field(head, root, _HEAD_TYPE)) else 0
    if kind not in (_DICTIONARY, _BATCH):
        return None
    batch = _table(head, root, _HEAD)
    batch = _table(head, batch, 1) if kind == _DICTIONARY else batch
    at = _field(head, batch, _LENGTH)
    rows = struct.unpack_from("<q", head, at)[0] if at else 0
    if not _field(head, batch, _COMPRESSION):
        return kind, rows, len(body)
    size, buffers = 0, _table(head, batch, _BUFFERS)
    (count,) = struct.unpack_from("<I", head, buffers)
    for number in range(count):
        offset, length = struct.unpack_from("<qq", head, buffers + 4 + 16 * number)
        whole = struct.unpack_from("<q", body, offset)[0] if length >= 8 else 0
        size += length if whole == _PLAIN else whole
    return kind, rows, size


def _field(head: memoryview, table: int, number: int) -> int:
    """Return where a field of a table is; 0 where it is not there."""
    fields = table - struct.unpack_from("<i", head, table)[0]
    (size,) = struct.unpack_from("<H", head, fields)
    at = 4 + 2 * number
    offset = struct.unpack_from("<H", head, fields + at)[0] if at < size else 0
    return table + offset if offset else 0


def _table(head: memoryview, table: int, number: int) -> int:
    """Return where a table or a list is that a field leads to."""
    at = _field(head, table, number)
    if not at:
        raise ValueError("no such field")
    return int(at + struct.unpack_from("<I", head, at)[0])
