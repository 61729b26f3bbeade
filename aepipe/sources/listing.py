"""Listings: the items of a large collection, cut into parts, each with a digest and a small file.

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
_as_json = json.JSONEncoder(sort_keys=True, default=str).encode


@dataclass(frozen=True, slots=True)
class Listing:
    """One part of a collection, as it is listed.

    Attributes:
        items: in the order of the source.
        hashes: uint64[n], of their keys.
        digest: of all that is said of them.
        readers: what reads each, as text; :data:`_DATA` for what is in memory.
    """

    items: list[Item]
    hashes: NDArray[np.uint64]
    digest: str
    readers: list[str] = field(repr=False)

    def __len__(self) -> int:
        return len(self.items)


def key_hash(key: str) -> int:
    """Return the hash of a key, 64 bits, the same for good: parts end by it."""
    return int.from_bytes(hashlib.blake2b(key.encode("utf-8", "surrogateescape"), digest_size=8).digest(), "little")


def cut(items: Iterator[Item], usual: int = USUAL) -> Iterator[tuple[list[Item], NDArray[np.uint64]]]:
    """Yield the items part by part, with the hashes of their keys; one part at a time is in memory.

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
    readers, stamps = [_written(item.reader) for item in items], _Stamps()
    digest = hashlib.sha256()
    for item, reader in zip(items, readers, strict=True):
        said = [item.key, item.place, item.label, item.split, dict(item.columns), item.whole.hex(), reader]
        digest.update(_as_json([*said, stamps(item.reader)]).encode())
    if stamps.newest > time.time() - FRESH:
        # What changes within one tick of the clock keeps its times, so such a part is read again the next time.
        digest.update(secrets.token_bytes(16))
    return Listing(items, hashes, digest.hexdigest(), readers)


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


class _Stamps:
    """Stamps of items by their readers; a file of many items is looked at once.

    Attributes:
        newest: the latest change of a file, in seconds since 1970.
    """

    def __init__(self) -> None:
        self.newest = 0.0
        self._last = ("", [0])

    def __call__(self, reader: object) -> object:
        if isinstance(reader, InMemory):
            return hashlib.sha256(reader.data).hexdigest()
        found: list[object] = []
        for one in dataclasses.fields(reader) if dataclasses.is_dataclass(reader) else ():
            value = getattr(reader, one.name)
            if one.name == "path":
                found.append(self._of_file(value))
            elif dataclasses.is_dataclass(value):
                found.append(self(value))
        return found

    def _of_file(self, path: str) -> list[int]:
        if path != self._last[0]:
            try:
                about = os.stat(path)
                stamp = [about.st_size, about.st_mtime_ns, about.st_ctime_ns]
                self.newest = max(self.newest, about.st_mtime, about.st_ctime)
            except (OSError, ValueError):  # whoever reads it says so
                stamp = [-1]
            self._last = (path, stamp)
        return self._last[1]


def _can_be_written(reader: object) -> bool:
    if isinstance(reader, InMemory):
        return True
    if not dataclasses.is_dataclass(reader) or not type(reader).__module__.startswith(_ROOM):
        return False
    return all(_is_plain(getattr(reader, one.name)) for one in dataclasses.fields(reader))


def _is_plain(value: object) -> bool:
    if isinstance(value, InMemory):
        return False
    return value is None or isinstance(value, str | int | float) or _can_be_written(value)


def _written(reader: object) -> str:
    return _DATA if isinstance(reader, InMemory) else json.dumps(_as_list(reader))


def _as_list(reader: Any) -> list[Any]:  # noqa: ANN401  a dataclass
    values = [getattr(reader, one.name) for one in dataclasses.fields(reader)]
    plain = [_as_list(value) if dataclasses.is_dataclass(value) else value for value in values]
    return [type(reader).__module__.removeprefix(_ROOM), type(reader).__qualname__, *plain]


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
