"""The rows of one part, written column by column as they are read.

Legend: n rows.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aepipe.pipeline.parts.known import Known
from aepipe.sources.item import Source
from aepipe.sources.listing import column_of
from aepipe.sources.loader import Outcome
from aepipe.sources.passed_over import PassedOver
from aepipe.store import layout
from aepipe.store.kept import within
from aepipe.store.rows import Rejected, Rows
from aepipe.store.rows_writer import RowsWriter

_as_json = json.JSONEncoder(sort_keys=True, default=str).encode
_FRESH, _LEFT_OUT = -1, -2
"""In place of the number of a known row: its features were decoded, or do not stay."""


class PartWriter:
    """The rows of one listing, in its order.

    Rows wait for the first one that was decoded, so that a part which the store has already is not written. A context
    manager that closes its files.

    Args:
        folder: of a draft.
        source: of the items.
        said: of all items of the listing, as :func:`aepipe.sources.listing.about` returns it.
        known: rows that were read before.
    """

    def __init__(self, folder: Path, source: Source, said: pa.Table, known: Known) -> None:
        self._folder = folder
        self._said = said
        self._known = known
        self._names = source.schema().names
        about = {"shape": source.shape, "columns": source.schema(), "dtype": source.dtype}
        self._writer = RowsWriter(folder, **about, kept=source.kept)
        self._stays = within(said.column("hash").to_numpy(), source.kept)
        self._shape, self._dtype = source.shape, np.dtype(source.dtype).newbyteorder("<")
        self._kept, self._numbers = list[int](), list[int]()
        self._splits, self._sha256 = list[str](), bytearray()
        self._fresh = list[NDArray[np.generic]]()
        self._written = 0
        self._refused = list[tuple[int, str, str, bool]]()
        self.rejected: list[Rejected] = []
        self.passed_over = PassedOver()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.__exit__(kind, error, trace)

    def refuse(self, place: int, outcome: Outcome, reason: str) -> None:
        """Add an item without a row.

        Args:
            place: of the item in the listing.
            outcome: of its reading.
            reason: why there is none.
        """
        item = outcome.item
        self._refused.append((place, item.key, reason, outcome.empty))
        if outcome.empty:
            self.passed_over.add(item.key, reason)
        else:
            self.rejected.append(Rejected(item.key, item.place, reason))

    def take(self, place: int, sha256: bytes, split: str, row: NDArray[np.generic] | int) -> None:
        """Add a row.

        Args:
            place: of its item in the listing.
            sha256: of its bytes.
            split: that it is in.
            row: its features, or its number among the known ones; they are left out where they are not to be kept.
        """
        self._kept.append(place)
        self._sha256 += sha256
        self._splits.append(split)
        if not self._stays[place]:
            self._numbers.append(_LEFT_OUT)
        elif isinstance(row, int):
            self._numbers.append(row)
        else:
            self._numbers.append(_FRESH)
            self._fresh.append(row)
            while len(self._kept) - self._written >= self._writer.group:
                self._write(self._writer.group)

    def digest(self) -> str:
        """Return the digest of all items: what was read of each, or why it was not."""
        found = hashlib.sha256(self._sha256)
        rows = self._rows(0, len(self._kept))
        columns = [rows.column(name).to_pylist() for name in ("key", "label", *self._own)]
        found.update(_as_json([self._splits, self._refused, self._names, *columns]).encode())
        return found.hexdigest()

    def finish(self, digest: str) -> dict[str, Any]:
        """Complete the files, and return the facts of the part."""
        while self._written < len(self._kept):
            self._write(self._writer.group)
        np.save(self._folder / layout.Rows.HASHES, self.of_rows("hash"))
        heads = np.frombuffer(bytes(self._sha256), np.uint8).reshape(-1, 32)[:, :8]
        np.save(self._folder / layout.Rows.HEADS, np.ascontiguousarray(heads).view("<u8")[:, 0])
        passed_over = self.passed_over.listed()
        self._writer.close(source=digest, next_id=len(self._kept), rejected=self.rejected, passed_over=passed_over)
        return Rows(self._folder).facts | {"passed_over": self.passed_over.total}

    def of_rows(self, name: str) -> NDArray[np.uint64]:
        """Return a column of numbers of the listing for the rows, uint64[n]."""
        found: NDArray[np.uint64] = self._rows(0, len(self._kept)).column(name).to_numpy()
        return found

    @property
    def _own(self) -> list[str]:
        return [column_of(number) for number in range(len(self._names))]

    def _rows(self, start: int, stop: int) -> pa.Table:
        """Return what the listing says of some of the rows."""
        kept = self._kept[start:stop]
        whole = kept and kept[-1] - kept[0] == len(kept) - 1
        return self._said.slice(kept[0], len(kept)) if whole else self._said.take(pa.array(kept, pa.int64()))

    def _write(self, count: int) -> None:
        """Write the next rows."""
        start, stop = self._written, min(self._written + count, len(self._kept))
        said = self._rows(start, stop)
        columns: dict[str, pa.Array] = {"id": pa.array(np.arange(start, stop)), "key": said.column("key")}
        columns["sha256"] = _fixed(bytes(self._sha256[32 * start : 32 * stop]), 32, stop - start)
        columns |= {name: said.column(name) for name in ("place", "label")}
        columns["split"] = pa.array(self._splits[start:stop], pa.string())
        columns |= {written: said.column(own) for written, own in zip(self._writer.names, self._own, strict=True)}
        columns["features"] = self._features(start, stop)
        self._writer.extend(pa.table(columns))
        self._written = stop

    def _features(self, start: int, stop: int) -> pa.Array:
        numbers = np.array(self._numbers[start:stop], np.int64)
        there = numbers != _LEFT_OUT
        out = np.zeros((stop - start, *self._shape), self._dtype)
        fresh = numbers == _FRESH
        if fresh.any():
            out[fresh] = self._fresh[: fresh.sum()]
            del self._fresh[: fresh.sum()]
        self._known.copy_features(numbers, out)
        return _fixed(out.tobytes(), out[:1].nbytes, stop - start, None if there.all() else there)


def _fixed(data: bytes, width: int, count: int, there: NDArray[np.bool_] | None = None) -> pa.Array:
    """Return values of ``width`` bytes each, over their bytes; only those that are ``there``, bool[count]."""
    bits = None if there is None else pa.py_buffer(np.packbits(there, bitorder="little").tobytes())
    return pa.Array.from_buffers(pa.binary(width), count, [bits, pa.py_buffer(data)])
