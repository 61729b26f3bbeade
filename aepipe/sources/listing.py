"""Listings: the items of a large collection in parts, each with a digest and a small file.

A part ends where the hash of a key says so, so an item that is added or gone changes one part and leaves the others as
they are. The digest of a part is over everything that a source says of its items, and over a stamp of each: size and
times of its file, or the sha256 of bytes that are in memory already. As long as stamps stay, nothing has to be read.

A part on disk is one table: key, place, label, split and columns of each item, the hash of its key, its stamp, and what
reads its bytes. Readers are written as their class and its fields, so that another process can read the same items;
where that cannot be, the bytes are in the table.

Legend: n items of a part.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aepipe.errors import ItemError
from aepipe.sources.files import InMemory, Refused, WholeFile
from aepipe.sources.item import Item, Reader
from aepipe.store import layout
from aepipe.store.io import table_errors_named
from aepipe.store.kept import key_hash

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
_AT_ONCE = 1024
"""Items whose readers, and bytes in memory, are read at a time."""
_ROOM = "aepipe.sources."
_DATA = "[]"
_READ = ("reader", "data")
"""Columns of a part on disk that say how an item is read."""
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
        stamps: uint64[n], of the key of each, what reads it, and its file; 0 where that says nothing.
    """

    items: list[Item]
    hashes: NDArray[np.uint64]
    digest: str
    readers: list[str] = field(repr=False)
    stamps: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.items)


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
    files, fresh, newest = _Files(), time.time() - FRESH, 0.0
    readers, marks, stamps = list[str](), list[str](), list[int]()
    for item in items:
        reader = _written(item.reader)
        stamp, changed = files.stamp(item.reader)
        mark = f"{item.key}\0{reader}\0{stamp}"
        newest = max(newest, changed)
        readers.append(reader)
        marks.append(mark)
        # What changes within one tick of the clock keeps its times, so such a file is read again the next time.
        stamps.append(0 if reader == _DATA or changed > fresh else key_hash(mark))
    # Column by column: JSON of many short lists takes three times as long.
    said = [marks, *([getattr(item, name) for item in items] for name in ("place", "label", "split"))]
    own, wholes = ([dict(item.columns) for item in items], [item.whole.hex() for item in items])
    digest = hashlib.sha256(_as_json([*said, own if any(own) else [], wholes if any(wholes) else []]).encode())
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
    columns["hash"] = pa.array(listing.hashes)
    columns["stamp"] = pa.array(listing.stamps)
    for number, name in enumerate(names):
        own = [item.columns.get(name) for item in listing.items]
        columns[column_of(number)] = pa.array(own, schema.field(name).type)
    columns["reader"] = pa.array(listing.readers, pa.string())
    data = [item.reader.data if isinstance(item.reader, InMemory) else None for item in listing.items]
    columns["data"] = pa.array(data, pa.large_binary())
    file, repeated = folder / layout.Listing.TABLE, ["label", "split", *map(column_of, range(len(names)))]
    with table_errors_named(file):
        pq.write_table(pa.table(columns), file, compression="zstd", use_dictionary=repeated, write_statistics=False)


def about(folder: Path) -> pa.Table:
    """Return what a part that was written says of its items, n rows, without what reads them.

    The columns are ``key``, ``place``, ``label``, ``split``, ``whole``; ``hash`` of the key and ``stamp``, uint64; and
    ``column.0``, ... of the source.

    Raises:
        CorruptError: the table is damaged.
    """
    import pyarrow.parquet as pq

    file = folder / layout.Listing.TABLE
    with table_errors_named(file), pq.ParquetFile(file, memory_map=True) as table:
        return table.read([name for name in table.schema_arrow.names if name not in _READ])


def readers(folder: Path, wanted: NDArray[np.bool_] | None = None) -> Iterator[Reader]:
    """Yield what reads the items of a part that was written; a few at a time are in memory.

    Args:
        folder: of the artifact.
        wanted: only those of these items, bool[n].

    Raises:
        CorruptError: the table is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    file, start = folder / layout.Listing.TABLE, 0
    with table_errors_named(file), pq.ParquetFile(file, memory_map=True) as table:
        for batch in table.iter_batches(_AT_ONCE, columns=list(_READ)):
            if wanted is not None:
                here, start = wanted[start : start + len(batch)], start + len(batch)
                batch = batch.filter(pa.array(here))
            for written, data in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                yield InMemory(data) if written == _DATA else _reader(written)


def items_of(said: pa.Table, names: Sequence[str], readers: Iterable[Reader]) -> Iterator[Item]:
    """Yield items.

    Args:
        said: what :func:`about` returns, or some of its rows.
        names: of the columns of the source.
        readers: one for each row.
    """
    fixed = (said.column(name).to_pylist() for name in ("key", "place", "label", "split", "whole"))
    own = [said.column(column_of(number)).to_pylist() for number in range(len(names))]
    each = zip(*own, strict=True) if own else repeat((), len(said))
    for key, place, label, split, whole, values, reader in zip(*fixed, each, readers, strict=True):
        yield Item(key, place, reader, label, split, dict(zip(names, values, strict=True)), whole)


def read(folder: Path, names: Sequence[str]) -> Iterator[Item]:
    """Yield the items of a part that was written, in their order.

    Args:
        folder: of the artifact.
        names: of the columns of its items.

    Raises:
        CorruptError: the table is damaged.
    """
    return items_of(about(folder), names, readers(folder))


class Stamps:
    """Stamps of items, one after the other; files that have changed since it was made have none.

    Bytes stay the same as long as a stamp does: it is of the key, what reads the item, and size and times of its file.
    """

    def __init__(self) -> None:
        self._files, self._fresh = _Files(), time.time() - FRESH

    def of(self, item: Item) -> int:
        """Return the stamp of an item, 64 bits, in any thread; 0 where nothing tells that its bytes stay the same."""
        if isinstance(item.reader, InMemory) or not _can_be_written(item.reader):
            return 0
        stamp, changed = self._files.stamp(item.reader)
        if not 0 < changed <= self._fresh:
            return 0
        return key_hash(f"{item.key}\0{_written(item.reader)}\0{stamp}")


class _Files:
    """The files behind readers; one that many items are in is looked at once."""

    def __init__(self) -> None:
        self._last: tuple[str, str, float] = ("", "", 0.0)

    def stamp(self, reader: object) -> tuple[str, float]:
        """Return what tells that bytes are the same, and when their file changed, in seconds since 1970."""
        if type(reader) is WholeFile:  # the commonest, and what most others read from
            return self._of_file(reader.path)
        if isinstance(reader, InMemory):
            return hashlib.sha256(reader.data).hexdigest(), 0.0
        found, newest = list[str](), 0.0
        for name in _fields(type(reader)):
            value = getattr(reader, name)
            if name != "path" and not _fields(type(value)):
                continue
            stamp, changed = self._of_file(value) if name == "path" else self.stamp(value)
            found.append(stamp)
            newest = max(newest, changed)
        return f"[{', '.join(found)}]", newest

    def _of_file(self, path: str) -> tuple[str, float]:
        last = self._last  # another thread may replace it
        if path != last[0]:
            try:
                about = os.stat(path)
                times = f"{about.st_size} {about.st_mtime_ns} {about.st_ctime_ns}"
                last = (path, times, max(about.st_mtime, about.st_ctime))
            except (OSError, ValueError):  # whoever reads it says so
                last = (path, "gone", 0.0)
            self._last = last
        return last[1:]


def _fields(kind: type) -> tuple[str, ...]:
    """Return the names of the fields of a reader's class; none where it cannot be written."""
    if kind not in _known_fields:
        writable = dataclasses.is_dataclass(kind) and kind.__module__.startswith(_ROOM)
        _known_fields[kind] = tuple(one.name for one in dataclasses.fields(kind)) if writable else ()
    return _known_fields[kind]


def _can_be_written(reader: object) -> bool:
    if type(reader) in (WholeFile, InMemory):
        return True
    names = _fields(type(reader))
    return bool(names) and all(_is_plain(getattr(reader, name)) for name in names)


def _is_plain(value: object) -> bool:
    if value is None or isinstance(value, str | int | float):
        return True
    return not isinstance(value, InMemory) and _can_be_written(value)


def _written(reader: object) -> str:
    """Return a reader as text: a file as its path, where that is plain, others as JSON, in ASCII."""
    if type(reader) is WholeFile and reader.path[:1] == "/" and reader.path.isascii():
        return reader.path
    return _DATA if isinstance(reader, InMemory) else json.dumps(_as_list(reader))


def _as_list(reader: object) -> list[Any]:
    kind = type(reader)
    values = [getattr(reader, name) for name in _fields(kind)]
    plain = [_as_list(value) if _fields(type(value)) else value for value in values]
    return [kind.__module__.removeprefix(_ROOM), kind.__qualname__, *plain]


def _reader(written: str) -> Reader:
    return WholeFile(written) if written[0] == "/" else _made(json.loads(written))


def _made(written: list[Any]) -> Reader:
    module, name, *values = written
    fields = (_made(value) if isinstance(value, list) else value for value in values)
    made: Reader = getattr(import_module(_ROOM + module), name)(*fields)
    return made


def _read(item: Item) -> Item:
    """Return an item that holds its bytes, or refuses them as it does now."""
    try:
        return dataclasses.replace(item, reader=InMemory(item.read()))
    except ItemError as error:
        return dataclasses.replace(item, reader=Refused(error.reason))


def column_of(number: int) -> str:
    """Return the name, in a part on disk, of a column of the source: its own may be one of ours."""
    return f"column.{number}"
