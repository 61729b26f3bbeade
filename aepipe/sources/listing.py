"""Listings: the items of a large collection in parts, each with a digest and a small file.

A part ends where the hash of a key says so, so an item that is added or gone changes one part and leaves the others as
they are. The digest of a part is over everything that a source says of its items, and over a stamp of each: size and
times of its file, or the sha256 of bytes that are in memory already. As long as stamps stay, nothing has to be read.

A part on disk is one table: key, place, label, split and columns of each item, and what reads its bytes. Readers are
written as their class and its fields, so that another process can read the same items; where that cannot be, the bytes
are in the table.

Legend: n items of a part.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aepipe.errors import ItemError
from aepipe.sources.files import InMemory, Refused
from aepipe.sources.item import Item, Reader
from aepipe.store import layout
from aepipe.store.io import table_errors_named

if TYPE_CHECKING:
    import pyarrow as pa

USUAL = 10_000
"""Items of a part, on average."""
HELD = 1 << 26
"""Bytes of items in memory from which a part ends."""
FRESH = 2.0
"""Seconds after which a file that changes again has other times for certain; some file systems count in these."""
_LONGEST = 4
"""Times the usual length, at which a part ends in any case."""
_ROOM = "aepipe.sources."
_DATA = "[]"
_known_fields: dict[type, tuple[str, ...]] = {}
_as_json = json.JSONEncoder(sort_keys=True, default=str).encode


@dataclass(frozen=True, slots=True)
class Listing:
    """One part of a collection, as it is listed.

    Attributes:
        items: in the order of the source.
        hashes: uint64[n], of their keys.
        digest: of all that is said of them.
        readers: what reads each, as text; :data:`_DATA` for what is in memory.
        stamps: uint64[n], of what reads each and of its file; 0 where that says nothing.
    """

    items: list[Item]
    hashes: NDArray[np.uint64]
    digest: str
    readers: list[str] = field(repr=False)
    stamps: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.items)


def key_hash(key: str) -> int:
    """Return the hash of a key, 64 bits, the same for good: parts end by it."""
    return int.from_bytes(hashlib.blake2b(key.encode("utf-8", "surrogateescape"), digest_size=8).digest(), "little")


def cut(items: Iterator[Item], usual: int = USUAL) -> Iterator[tuple[list[Item], NDArray[np.uint64]]]:
    """Yield the items part by part, with the hashes of their keys; memory holds one part.

    Args:
        items: in the order of the source.
        usual: items of a part on average; none has more than four times as many.
    """
    least = max(1, usual // 2)
    part, hashes, held = list[Item](), list[int](), 0
    for item in items:
        part.append(item)
        hashes.append(key_hash(item.key))
        held += len(item.reader.data) if isinstance(item.reader, InMemory) else 0
        ends = len(part) >= least and hashes[-1] % least == 0
        if ends or len(part) == _LONGEST * usual or held > HELD:
            yield part, np.array(hashes, np.uint64)
            part, hashes, held = [], [], 0
    if part:
        yield part, np.array(hashes, np.uint64)


def listed(items: list[Item], hashes: NDArray[np.uint64]) -> Listing:
    """Return a part with its digest; items whose reader cannot be written are read now."""
    items = [item if _can_be_written(item.reader) else _read(item) for item in items]
    readers, files, fresh = [_written(item.reader) for item in items], _Files(), time.time() - FRESH
    said, stamps, newest = list[object](), list[int](), 0.0
    for item, reader in zip(items, readers, strict=True):
        stamp, changed = files.stamp(item.reader)
        newest = max(newest, changed)
        said.append([item.key, item.place, item.label, item.split, dict(item.columns), item.whole.hex(), reader, stamp])
        # What changes within one tick of the clock keeps its times, so such a file is read again the next time.
        stamps.append(0 if reader == _DATA or changed > fresh else key_hash(f"{reader} {stamp}"))
    digest = hashlib.sha256(_as_json(said).encode())
    if newest > fresh:
        digest.update(secrets.token_bytes(16))
    return Listing(items, hashes, digest.hexdigest(), readers, np.array(stamps, np.uint64))


def write(folder: Path, listing: Listing, schema: pa.Schema) -> None:
    """Write a part into an existing folder.

    Args:
        folder: of an artifact.
        listing: the part.
        schema: of the columns of its items.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = schema.names
    values = {name: [getattr(item, name) for item in listing.items] for name in ("key", "place", "label", "split")}
    columns = {name: pa.array(held, pa.string()) for name, held in values.items()}
    columns["whole"] = pa.array([item.whole for item in listing.items], pa.binary())
    columns["reader"] = pa.array(listing.readers, pa.string())
    columns["stamp"] = pa.array(listing.stamps)
    data = [item.reader.data if isinstance(item.reader, InMemory) else None for item in listing.items]
    columns["data"] = pa.array(data, pa.large_binary())
    for number, name in enumerate(names):
        own = [item.columns.get(name) for item in listing.items]
        columns[f"column.{number}"] = pa.array(own, schema.field(name).type)
    file = folder / layout.Listing.TABLE
    with table_errors_named(file):
        pq.write_table(pa.table(columns), file, compression="zstd", row_group_size=1024)


def read(folder: Path, names: list[str]) -> Iterator[Item]:
    """Yield the items of a part that was written, in their order; a few at a time are in memory.

    Args:
        folder: of the artifact.
        names: of the columns of its items.

    Raises:
        CorruptError: the table is damaged.
    """
    import pyarrow.parquet as pq

    file = folder / layout.Listing.TABLE
    with table_errors_named(file), pq.ParquetFile(file, memory_map=True) as table:
        for batch in table.iter_batches(1024):
            for row in batch.to_pylist():
                reader = InMemory(row["data"]) if row["reader"] == _DATA else _reader(json.loads(row["reader"]))
                columns = {name: row[f"column.{number}"] for number, name in enumerate(names)}
                yield Item(row["key"], row["place"], reader, row["label"], row["split"], columns, row["whole"])


def stamps_in(folder: Path) -> dict[str, int]:
    """Return the stamps of the items of a part, by key, without those that say nothing.

    Raises:
        CorruptError: the table is damaged.
    """
    import pyarrow.parquet as pq

    file = folder / layout.Listing.TABLE
    with table_errors_named(file):
        table = pq.read_table(file, columns=["key", "stamp"])
    pairs = zip(table.column("key").to_pylist(), table.column("stamp").to_pylist(), strict=True)
    return {key: stamp for key, stamp in pairs if stamp}


class _Files:
    """The files behind readers; one that many items are in is looked at once."""

    def __init__(self) -> None:
        self._last: tuple[str, list[int], float] = ("", [], 0.0)

    def stamp(self, reader: object) -> tuple[object, float]:
        """Return what tells that bytes are the same, and when their file changed, in seconds since 1970."""
        if isinstance(reader, InMemory):
            return hashlib.sha256(reader.data).hexdigest(), 0.0
        found, newest = list[object](), 0.0
        for name in _fields(type(reader)):
            value = getattr(reader, name)
            if name != "path" and not _fields(type(value)):
                continue
            stamp, changed = self._of_file(value) if name == "path" else self.stamp(value)
            found.append(stamp)
            newest = max(newest, changed)
        return found, newest

    def _of_file(self, path: str) -> tuple[list[int], float]:
        if path != self._last[0]:
            try:
                about = os.stat(path)
                times = [about.st_size, about.st_mtime_ns, about.st_ctime_ns]
                self._last = (path, times, max(about.st_mtime, about.st_ctime))
            except (OSError, ValueError):  # whoever reads it says so
                self._last = (path, [-1], 0.0)
        return self._last[1:]


def _fields(kind: type) -> tuple[str, ...]:
    """Return the names of the fields of a reader's class; none where it cannot be written."""
    if kind not in _known_fields:
        writable = dataclasses.is_dataclass(kind) and kind.__module__.startswith(_ROOM)
        _known_fields[kind] = tuple(one.name for one in dataclasses.fields(kind)) if writable else ()
    return _known_fields[kind]


def _can_be_written(reader: object) -> bool:
    if isinstance(reader, InMemory):
        return True
    names = _fields(type(reader))
    return bool(names) and all(_is_plain(getattr(reader, name)) for name in names)


def _is_plain(value: object) -> bool:
    if value is None or isinstance(value, str | int | float):
        return True
    return not isinstance(value, InMemory) and _can_be_written(value)


def _written(reader: object) -> str:
    return _DATA if isinstance(reader, InMemory) else json.dumps(_as_list(reader))


def _as_list(reader: object) -> list[Any]:
    kind = type(reader)
    values = [getattr(reader, name) for name in _fields(kind)]
    plain = [_as_list(value) if _fields(type(value)) else value for value in values]
    return [kind.__module__.removeprefix(_ROOM), kind.__qualname__, *plain]


def _reader(written: list[Any]) -> Reader:
    module, name, *values = written
    made: Reader = getattr(import_module(_ROOM + module), name)(
        *(_reader(value) if isinstance(value, list) else value for value in values)
    )
    return made


def _read(item: Item) -> Item:
    """Return an item that holds its bytes, or refuses them as it does now."""
    try:
        return dataclasses.replace(item, reader=InMemory(item.read()))
    except ItemError as error:
        return dataclasses.replace(item, reader=Refused(error.reason))
