"""Rows: every item of a collection with its features, as Parquet.

::

    rows-00000.parquet   id int64, key, sha256 [32], place, label, split, the source's own columns, features [bytes]
    quarantine.parquet   key, place, reason, what, count: items that could not be read, and files that were passed over;
                         always present, often empty
    rows.json            shape, dtype, counts, digest of the source, next_id

The rows of a large collection are a list of such tables, its parts, which other lists may have as well. The ids of a
part are its own, counted from 0, and the list says which ids its rows have in the collection
(:mod:`aepipe.store.row_parts`)::

    rows.json            as above; also the parts, and the rows in each
    quarantine.parquet   of all parts
    runs.npy             int64[R, 2]: first id and number of each run of rows

:class:`Rows` reads them: columns, all features, or batches. :class:`aepipe.store.rows_writer.RowsWriter` writes them as
they come, one row group at a time. :func:`gather` copies the features of chosen rows into array files, in one pass.

Where a list keeps the features of a sample only, ``kept`` in its ``rows.json`` and in those of its parts is the share
of rows that have them, and ``hashes.npy`` of the parts tells which (:mod:`aepipe.store.kept`). Whoever asks for the
features of another row gets an error.

The features of a row are its elements in C order, so the bytes of a row group are an array without conversion. They
have the shape of the source, (H, W, C) for images.

Legend: N rows, n chosen rows.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from aepipe.errors import CorruptError, QueryError
from aepipe.store import layout
from aepipe.store.io import array_in, mapped, sealed_json, table_errors_named
from aepipe.store.kept import key_hashes, within
from aepipe.store.row_files import columns_of, opened, row_files
from aepipe.store.row_parts import ids_of_runs, runs_of

VERSION = 1
FIXED = ("id", "key", "sha256", "place", "label", "split", "features")
"""Our columns; those of the source follow before ``features``."""

UNREADABLE, PASSED_OVER = "unreadable", "passed over"
"""What a row of the quarantine is about."""
Passed: TypeAlias = tuple[str, str, int]
"""A file that was passed over: its place, the reason, and 1; or no place, and how many more there are of a reason."""
BLOCK_BYTES = 1 << 26
"""Bytes of features that :func:`gather` reads at a time."""
_AT_ONCE = 4096
"""Rows without features that are read at a time."""
_HELD_GROUPS = 4
"""Row groups that :meth:`Rows.feature` keeps."""


@dataclass(frozen=True, slots=True)
class Row:
    """One item.

    Attributes:
        id: given once in a collection.
        key: unique.
        sha256: digest of the item's bytes, 32 bytes.
        place: location of these bytes.
        split: ``train``, ``test``, ...
        features: elements of the row.
        label: its class, or several (see :mod:`aepipe.store.labels`); None where it is not known.
        columns: the source's own columns.
    """

    id: int
    key: str
    sha256: bytes
    place: str
    split: str
    features: NDArray[np.generic]
    label: str | None = None
    columns: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rejected:
    """One item that could not be read, with the reason."""

    key: str
    place: str
    reason: str


class Rows:
    """Rows that :class:`aepipe.store.rows_writer.RowsWriter` wrote, or a list of such tables.

    Args:
        folder: their folder.
        ids: int64[N], in place of those that are written.

    Raises:
        CorruptError: it holds no rows, or their description is not what was written.
    """

    def __init__(self, folder: Path, *, ids: NDArray[np.int64] | None = None) -> None:
        self._folder = folder
        self.facts: dict[str, Any] = sealed_json(folder, layout.Rows.CARD)
        self.part_names: list[str] = self.facts.get("parts", [])
        """Digests of the tables that this one is a list of; empty where it is none."""
        self.folders: list[Path] = [folder.parent / name for name in self.part_names] or [folder]
        """Those that hold the rows: of the parts, or its own."""
        self._given = ids
        if not self.part_names:
            self._parts  # noqa: B018  a table without rows is refused now
        self._read_group = lru_cache(_HELD_GROUPS)(self._group)

    @cached_property
    def _parts(self) -> list[Path]:
        """The files of all rows; those of a part that nobody asks for need not be here."""
        return [file for one in self.folders for file in row_files(one)]

    def __len__(self) -> int:
        return int(self.facts["rows"])

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one row's features."""
        return tuple(self.facts["shape"])

    @property
    def dtype(self) -> np.dtype[Any]:
        """The element type of the features."""
        dtype: np.dtype[Any] = np.dtype(self.facts["dtype"]).newbyteorder("<")
        return dtype

    @property
    def kept(self) -> float:
        """The share of rows whose features are here; 1 for all."""
        return float(self.facts.get("kept", 1.0))

    @cached_property
    def with_features(self) -> NDArray[np.bool_]:
        """Which rows have their features here, bool[N]."""
        return self.sampled(self.kept)

    def sampled(self, share: float) -> NDArray[np.bool_]:
        """Return which rows are in a sample of all, bool[N]; see :mod:`aepipe.store.kept`."""
        return np.ones(len(self), bool) if share >= 1 else within(self.key_hashes(), share)

    def key_hashes(self) -> NDArray[np.uint64]:
        """Return the hashes of the keys, uint64[N]; tables that lists refer to have them in a file."""
        if self.part_names:
            return np.concatenate([one.key_hashes() for one in self.parts])
        file = self._folder / layout.Rows.HASHES
        return mapped(file) if file.exists() else key_hashes(self.each_key(), len(self))

    def check_features(self, rows: NDArray[np.generic] | slice) -> None:
        """Check that some rows have their features here.

        Args:
            rows: a mask, positions, or a slice.

        Raises:
            QueryError: one has not.
        """
        if self.kept < 1 and not (has := self.with_features[rows]).all():
            raise QueryError(
                f"{(~has).sum():,} of {has.size:,} rows have no features in the store, since source.keep = 'sample' "
                f"keeps those of {self.kept:.2%} of all; say keep = 'all' under [source], and run again"
            )

    @property
    def columns(self) -> list[str]:
        """The names of the source's own columns, as written."""
        return list(self.facts["columns"].values())

    @property
    def parts(self) -> list[Rows]:
        """The tables in this list, with the ids that their rows have here; itself where it is none."""
        if not self.part_names:
            return [self]
        return [self.part(number) for number in range(len(self.part_names))]

    def part(self, number: int) -> Rows:
        """Return one of the tables in this list, with the ids that its rows have here."""
        start, stop = self._bounds[number], self._bounds[number + 1]
        assert self._own_ids is not None
        return Rows(self.folders[number], ids=self._own_ids[start:stop])

    @property
    def is_listed(self) -> bool:
        """Whether its ids are those of a list, and not those that are written."""
        return self._given is not None

    @property
    def own_schema(self) -> pa.Schema:
        """The names and types of the source's own columns, as in the source."""
        with opened(self._parts[0]) as file:
            written = file.schema_arrow
        return pa.schema([(name, written.field(column).type) for name, column in self.facts["columns"].items()])

    @property
    def next_id(self) -> int:
        """The smallest id that was never given."""
        return int(self.facts["next_id"])

    def table(self, columns: Iterable[str]) -> pa.Table:
        """Return some columns of all rows."""
        names = list(columns)
        return self._with_ids(pa.concat_tables(columns_of(part, names) for part in self._parts), 0)

    def ids(self, split: str | None = None) -> NDArray[np.int64]:
        """Return the ids, int64[N], or only those of a split."""
        own = self._own_ids
        ids: NDArray[np.int64] = self._column("id").to_numpy() if own is None else own
        return ids if split is None else ids[self.of_split(split)]

    def runs(self) -> NDArray[np.int64]:
        """Return the ids as runs, int64[R, 2]; see :mod:`aepipe.store.row_parts`."""
        return mapped(self._folder / layout.Rows.RUNS) if self.part_names else runs_of(self.ids())

    def keys(self) -> list[str]:
        """Return the keys."""
        return self._strings("key")

    def each_key(self) -> Iterator[str]:
        """Yield the keys; those of one file are in memory."""
        for part in self._parts:
            yield from columns_of(part, ["key"]).column("key").to_pylist()

    def places(self) -> list[str]:
        """Return the locations of the items' bytes."""
        return self._strings("place")

    def labels(self) -> list[str | None] | None:
        """Return the labels, each None where it is missing; None where the source has no labels."""
        return self._column("label").to_pylist() if self.facts["labels"] else None

    @property
    def several_labels(self) -> bool:
        """Whether a row has several labels."""
        return bool(self.facts.get("several_labels"))

    def splits(self) -> list[str]:
        """Return the splits."""
        return self._strings("split")

    def of_split(self, split: str) -> NDArray[np.bool_]:
        """Return which rows are in a split, bool[N]."""
        found: NDArray[np.bool_] = pc.equal(self._column("split"), split).to_numpy(zero_copy_only=False)
        return found

    def sha256(self) -> NDArray[np.uint8]:
        """Return the digests of the items' bytes, uint8[N, 32]."""
        return np.concatenate([_view(chunk, 32) for chunk in self._column("sha256").chunks])

    def features(self, split: str | None = None, *, mask: NDArray[np.bool_] | None = None) -> NDArray[Any]:
        """Return features [n, *shape] in the order of rows; memory also holds one row group.

        Args:
            split: only the rows of this split.
            mask: only these rows, bool[N].

        Raises:
            QueryError: the features of a row were not kept.
        """
        chosen = self._chosen(split, mask)
        out = np.empty((len(self) if chosen is None else int(chosen.sum()), *self.shape), self.dtype)
        at = 0
        for _, features in self._selected(chosen):
            out[at : at + len(features)] = features
            at += len(features)
        return out

    def batches(
        self, size: int, split: str | None = None, *, mask: NDArray[np.bool_] | None = None
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[Any]]]:
        """Yield ids int64[n] and features [n, *shape] in batches of ``size`` rows.

        The last may be smaller. Memory holds two row groups.

        Args:
            size: of a batch.
            split: only the rows of this split.
            mask: only these rows, bool[N].

        Raises:
            QueryError: the features of a row were not kept.
        """
        held: list[tuple[NDArray[np.int64], NDArray[Any]]] = []
        count = 0
        for part in self._selected(self._chosen(split, mask)):
            held.append(part)
            count += len(part[0])
            if count < size:
                continue
            ids, features = _joined(held)
            for start in range(0, count - size + 1, size):
                yield ids[start : start + size], features[start : start + size]
            done = count - count % size
            held, count = [(ids[done:], features[done:])], count % size
        if count:
            yield _joined(held)

    def feature(self, row: int) -> NDArray[Any]:
        """Return the features of the row at a position; a few row groups stay cached.

        Raises:
            QueryError: they were not kept.
        """
        self.check_features(np.array([row]))
        group = bisect_right(self._starts, row) - 1
        features: NDArray[Any] = self._read_group(group)[row - self._starts[group]]
        return features

    def features_at(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Return the features of some rows, [n, *shape]; a few row groups stay cached.

        Raises:
            QueryError: those of a row were not kept.
        """
        self.check_features(rows)
        out, groups = np.empty((len(rows), *self.shape), self.dtype), np.searchsorted(self._starts, rows, "right") - 1
        for group in np.unique(groups).tolist():
            here = groups == group
            out[here] = self._read_group(group)[rows[here] - self._starts[group]]
        return out

    def records(self) -> Iterator[Row]:
        """Yield the rows without features, in constant memory.

        The source's columns have their original names.
        """
        names = [name for name in (*FIXED, *self.columns) if name != "features"]
        none, start = np.empty(0, self.dtype), 0
        for part in self._parts:
            with opened(part) as file:
                for batch in file.iter_batches(_AT_ONCE, columns=names):
                    table = self._with_ids(pa.Table.from_batches([batch]), start)
                    start += len(batch)
                    yield from (self._row(record, none) for record in table.to_pylist())

    def rows(self) -> Iterator[Row]:
        """Yield the rows; memory holds one row group."""
        features = (one for _, group in self._selected(None) for one in group)
        for row, one in zip(self.records(), features, strict=True):
            yield replace(row, features=one)

    def tables(self) -> Iterator[pa.Table]:
        """Yield all columns as they are written, one row group at a time."""
        start = 0
        for part in self._parts:
            with opened(part) as file:
                for group in range(file.num_row_groups):
                    table = file.read_row_group(group)
                    yield self._with_ids(table, start)
                    start += len(table)

    def digests_of(self, ids: NDArray[np.int64]) -> dict[int, bytes]:
        """Return the sha256 of some rows, by id; ids of no row are left out."""
        found, start, own = dict[int, bytes](), 0, self.ids()
        wanted = np.isin(own, ids)
        for part in self._parts:
            with opened(part) as file:
                here = slice(start, start := start + file.metadata.num_rows)
            if wanted[here].any():
                sha256 = columns_of(part, ["sha256"]).column("sha256").filter(pa.array(wanted[here]))
                found |= dict(zip(own[here][wanted[here]].tolist(), sha256.to_pylist(), strict=True))
        return found

    def quarantine(self) -> list[Rejected]:
        """Return the items that could not be read."""
        listed = read_quarantine(self._folder / layout.Rows.QUARANTINE)
        return [Rejected(one["key"], one["place"], one["reason"]) for one in listed if one["what"] == UNREADABLE]

    def _row(self, record: dict[str, Any], features: NDArray[Any]) -> Row:
        own = {name: record.pop(written) for name, written in self.facts["columns"].items()}
        return Row(**record, features=features, columns=own)

    def _column(self, name: str) -> pa.ChunkedArray:
        return self.table([name]).column(name)

    def _strings(self, name: str) -> list[str]:
        values: list[str] = self._column(name).to_pylist()
        return values

    def _chosen(self, split: str | None, mask: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
        if split is None:
            return mask
        return self.of_split(split) if mask is None else self.of_split(split) & mask

    def _selected(self, chosen: NDArray[np.bool_] | None) -> Iterator[tuple[NDArray[np.int64], NDArray[Any]]]:
        """Yield ids and features of the chosen rows, one row group at a time.

        Groups without a chosen row are not read.

        Raises:
            QueryError: the features of a row were not kept.
        """
        self.check_features(slice(None) if chosen is None else chosen)
        start = 0
        for file, group, count in self._groups():
            wanted = None if chosen is None else chosen[start : start + count]
            start += count
            if wanted is not None and not wanted.any():
                continue
            with opened(file) as part:
                table = part.read_row_group(group, columns=["id", "features"])
            table = self._with_ids(table, start - count)
            ids, features = table.column("id").to_numpy(), self._array(table)
            yield (ids, features) if wanted is None else (ids[wanted], features[wanted])

    @cached_property
    def _own_ids(self) -> NDArray[np.int64] | None:
        """Ids in place of those that are written; None where there are none."""
        if self._given is None and self.part_names:
            return ids_of_runs(mapped(self._folder / layout.Rows.RUNS))
        return self._given

    @cached_property
    def _bounds(self) -> list[int]:
        """The positions at which parts begin, and that after the last row."""
        return list(accumulate(self.facts["counts"], initial=0))

    def _with_ids(self, table: pa.Table, start: int) -> pa.Table:
        """Return some rows with their ids in this table; ``start`` is the position of the first one."""
        place = table.schema.get_field_index("id")
        if place < 0 or self._own_ids is None:
            return table
        return table.set_column(place, table.schema.field(place), pa.array(self._own_ids[start : start + len(table)]))

    def _groups(self) -> Iterator[tuple[Path, int, int]]:
        for part in self._parts:
            with opened(part) as file:
                metadata = file.metadata
            counts = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
            yield from ((part, group, count) for group, count in enumerate(counts) if count)

    @cached_property
    def _layout(self) -> list[tuple[Path, int, int]]:
        return list(self._groups())

    @cached_property
    def _starts(self) -> list[int]:
        return [0, *accumulate(count for *_, count in self._layout)][:-1]

    def _group(self, number: int) -> NDArray[Any]:
        file, group, _ = self._layout[number]
        with opened(file) as part:
            return self._array(part.read_row_group(group, columns=["features"]))

    def _array(self, table: pa.Table) -> NDArray[Any]:
        # Over the buffers of the table, without a copy.
        column = table.column("features").combine_chunks()
        chunk = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
        return _view(chunk, chunk.type.byte_width).view(self.dtype).reshape(-1, *self.shape)


class Finder:
    """Find rows by the digest of their bytes; takes 16 bytes a row in addition to the digests.

    Args:
        sha256: uint8[N, 32].
    """

    def __init__(self, sha256: NDArray[np.uint8]) -> None:
        self._sha256 = sha256
        # The first 8 bytes, sorted, find candidates; the whole digest decides.
        # Big-endian, so that numbers sort as bytes do.
        heads = np.ascontiguousarray(sha256[:, :8]).view(">u8")[:, 0].astype(np.uint64)
        self._order = np.argsort(heads, kind="stable")
        self._heads = heads[self._order]

    def __call__(self, sha256: bytes) -> int:
        """Return the position of the first row with a digest; -1 where there is none."""
        head = np.uint64(int.from_bytes(sha256[:8], "big"))
        first, last = (int(np.searchsorted(self._heads, head, side=side)) for side in ("left", "right"))
        rows = self._order[first:last]
        return next((int(row) for row in rows if self._sha256[row].tobytes() == sha256), -1)


def gather(
    rows: Rows, positions: Mapping[str, NDArray[np.int64]], folder: Path, report: Callable[[int], None]
) -> dict[str, NDArray[np.generic]]:
    """Write the features of several selections of rows, each into ``<name>.npy``.

    Args:
        rows: of the collection.
        positions: of each selection, int64[n], in the order wanted.
        folder: for the files.
        report: called with the number of rows read so far.

    Returns:
        The mapped array ``[n, *shape]`` of each selection.

    Raises:
        QueryError: the features of a row were not kept.
    """
    out = {
        name: array_in(folder / layout.array_file(name), rows.dtype, (len(chosen), *rows.shape))
        for name, chosen in positions.items()
    }
    kept = None if rows.kept == 1 else rows.with_features
    if kept is not None:
        for chosen in positions.values():
            rows.check_features(chosen)
        ranks = np.cumsum(kept) - 1
        positions = {name: ranks[chosen] for name, chosen in positions.items()}
    order = {name: np.argsort(chosen, kind="stable") for name, chosen in positions.items()}
    start = 0
    for _, items in rows.batches(max(1, BLOCK_BYTES // (int(np.prod(rows.shape)) * rows.dtype.itemsize)), mask=kept):
        for name, chosen in positions.items():
            first, last = np.searchsorted(chosen[order[name]], [start, start + len(items)])
            here = order[name][first:last]
            out[name][here] = items[chosen[here] - start]
        start += len(items)
        report(start)
    return out


def write_quarantine(path: Path, rejected: Iterable[Rejected], passed_over: Iterable[Passed] = ()) -> int:
    """Write the items that could not be read, and the files that were passed over, as Parquet.

    Returns:
        The number of items that could not be read.
    """
    rows: list[dict[str, object]] = [
        {"key": bad.key, "place": bad.place, "reason": bad.reason, "what": UNREADABLE, "count": 1} for bad in rejected
    ]
    bad = len(rows)
    rows += [
        {"key": "", "place": place, "reason": reason, "what": PASSED_OVER, "count": count}
        for place, reason, count in passed_over
    ]
    texts = [(name, pa.string()) for name in ("key", "place", "reason", "what")]
    schema = pa.schema([*texts, ("count", pa.int64())])
    with table_errors_named(path):
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), path, compression="zstd")
    return bad


def read_quarantine(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a quarantine: ``key``, ``place``, ``reason``, ``what`` and ``count``.

    A row without a place stands for ``count`` more files of that reason, which are not named.

    Raises:
        CorruptError: the file is damaged.
    """
    usual = {"what": UNREADABLE, "count": 1}  # earlier versions wrote neither
    try:
        return [usual | row for row in pq.read_table(path).to_pylist()]
    except (OSError, ValueError) as error:  # those of pyarrow are of these two
        raise CorruptError(f"{path}: corrupt, not readable ({str(error).partition(chr(10))[0]})") from None


def _view(array: pa.FixedSizeBinaryArray, width: int) -> NDArray[np.uint8]:
    # Over the buffer of the column, without a copy.
    values = array.buffers()[1]
    if values is None:
        return np.empty((0, width), np.uint8)
    return np.frombuffer(values, np.uint8, len(array) * width, array.offset * width).reshape(-1, width)


def _joined(parts: list[tuple[NDArray[np.int64], NDArray[Any]]]) -> tuple[NDArray[np.int64], NDArray[Any]]:
    return np.concatenate([ids for ids, _ in parts]), np.concatenate([features for _, features in parts])
