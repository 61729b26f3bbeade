"""Map: read, hash and decode the items of one listing into a part of the rows.

Beside the table (:mod:`aepipe.store.rows`) a part has two small files for whoever joins parts: ``hashes.npy``,
uint64[n], of the keys of its rows, and ``heads.npy``, uint64[n], the first 8 bytes of their digests. What a part is
called depends on its items and on nothing else: two listings of the same items give one part.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aepipe.engines import Done, Part, check_stopped
from aepipe.errors import StoreError
from aepipe.pipeline.intake import RowsTaken, entry_of
from aepipe.pipeline.parts.listing import columns_of, part_read, read_inputs
from aepipe.pipeline.parts.opened import SourceAt, source_at, store_at, table_at
from aepipe.sources import listing
from aepipe.sources.item import Item, Source
from aepipe.sources.loader import Outcome, read_all
from aepipe.sources.passed_over import PassedOver
from aepipe.store import layout
from aepipe.store.artifacts import Ref, Store, ref_of
from aepipe.store.io import mapped
from aepipe.store.rows import Finder, Rejected, Rows

VERSION = 1
STAGE = "ingest.part"


def read_part(part: Part, *, store: str, source: Mapping[str, str], threads: int) -> Done:
    """Read the items of a listing into a part of the rows, unless that was done before.

    Args:
        part: its reference is that of the listing; after spaces follow those of tables that may hold some of the rows,
            and of what such a table was read from.
        store: the folder of the store.
        source: of the items, the fields of a :class:`aepipe.pipeline.parts.opened.SourceAt`.
        threads: to decode with.

    Raises:
        SourceError: the source cannot be opened here.
        FullError: the disk is full.
    """
    began = time.monotonic()
    place = store_at(store)
    listed, *before = map(Ref.parse, part.ref.split())
    opened = source_at(SourceAt(**source), place)
    made, seconds = part_read(place, listed, opened), 0.0
    if made is None:
        stamps = listing.stamps_in(place.verified(listed))
        made = _read(place, listed, opened, Known(store, before, opened, stamps), threads)
        note(place, listed, opened, made, stamps)
        seconds = time.monotonic() - began
    facts = place.manifest(made).facts
    return Done(part.number, str(made), facts["rows"], facts["quarantined"], seconds)


def note(store: Store, listed: Ref, source: Source, made: Ref, stamps: Mapping[str, int]) -> Ref:
    """Note which part a listing gave, and the stamps of its rows, uint64[n], 0 for none."""
    rows = Rows(store.path(made))
    with store.draft("listing") as draft:
        own = np.fromiter((stamps.get(key, 0) for key in rows.each_key()), np.uint64, len(rows))
        np.save(draft.path / layout.Listing.STAMPS, own)
        return draft.finish(read_inputs(listed, source), {"part": str(made)})


def _read(store: Store, listed: Ref, source: Source, known: Known, threads: int) -> Ref:
    """Read a listing, and return its part; nothing is written where the store has that already."""
    items = listing.read(store.verified(listed), source.schema().names)
    with store.draft("rows") as draft, RowsTaken(draft.path, source, known.first, known.feature) as rows:
        taken = _Taken(source, rows)
        for outcome in read_all(source, known.find, items=items, threads=threads, seen=known.digest_of):
            check_stopped()
            taken.take(outcome)
        digest = taken.digest()
        inputs = {"stage": STAGE, "version": VERSION, "source": digest, "features": source.features()}
        inputs |= {"columns": columns_of(source)}
        ref = ref_of("rows", inputs)
        if store.reuse(ref):
            return ref
        facts = rows.finish(digest, len(taken.hashes), taken.rejected, taken.passed_over)
        np.save(draft.path / layout.Rows.HASHES, np.array(taken.hashes, np.uint64))
        np.save(draft.path / layout.Rows.HEADS, np.frombuffer(taken.heads, "<u8"))
        return draft.finish(inputs, facts | {"passed_over": taken.passed_over.total})


class _Taken:
    """The outcomes of one listing."""

    def __init__(self, source: Source, rows: RowsTaken) -> None:
        self._source = source
        self._rows = rows
        self._entries = hashlib.sha256()
        self.hashes: list[int] = []
        self.heads = bytearray()
        self.rejected: list[Rejected] = []
        self.passed_over = PassedOver()

    def take(self, outcome: Outcome) -> None:
        """Add one item."""
        item = outcome.item
        if outcome.reason is not None:
            self._entries.update(repr((item.key, outcome.reason, outcome.empty)).encode("utf-8", "backslashreplace"))
            if outcome.empty:
                self.passed_over.add(item.key, outcome.reason)
            else:
                self.rejected.append(Rejected(item.key, item.place, outcome.reason))
            return
        split = self._source.split(item, outcome.sha256)
        self._entries.update(entry_of(item, split, outcome.sha256))
        self._rows.take(outcome, split, len(self.hashes))
        self.hashes.append(listing.key_hash(item.key))
        self.heads += outcome.sha256[:8]

    def digest(self) -> str:
        """Return the digest of all items: what was read of each, or why it was not."""
        return self._entries.hexdigest()


class Known:
    """Rows that were read before: files with their stamps need not be read, nor bytes decoded.

    Args:
        store: the folder of the store.
        refs: tables that may hold the rows, each followed by what it was read from, where that is known; those of other
            features are left aside.
        source: that gives the features.
        stamps: of the items that are read now, by key.
    """

    def __init__(self, store: str, refs: Sequence[Ref], source: Source, stamps: Mapping[str, int]) -> None:
        self._stamps = stamps
        self._tables: list[Findable] = []
        for place, ref in enumerate(refs):
            noted = refs[place + 1] if place + 1 < len(refs) and refs[place + 1].kind == "listing" else None
            try:
                if ref.kind == "rows" and store_at(store).manifest(ref).inputs.get("features") == source.features():
                    self._tables.append(_findable(store, ref, noted))
            except StoreError:  # gone or damaged: then everything is made again
                continue
        self._starts = np.cumsum([0, *(len(one.rows) for one in self._tables)]).tolist()

    @property
    def first(self) -> Rows | None:
        """The table that may be the same; None where there is none."""
        return self._tables[0].rows if self._tables else None

    def find(self, _: str, sha256: bytes) -> int:
        """Return the number of a row with these bytes; -1 for none."""
        for one, start in zip(self._tables, self._starts, strict=False):
            found = one.finder(sha256)
            if found >= 0:
                return int(start) + found
        return -1

    def feature(self, number: int) -> NDArray[Any]:
        """Return the features of a row that was found."""
        table = int(np.searchsorted(self._starts, number, side="right")) - 1
        return self._tables[table].rows.feature(number - self._starts[table])

    def digest_of(self, item: Item) -> bytes | None:
        """Return the sha256 of an item with the stamp that it had; None where it has to be read."""
        stamp = self._stamps.get(item.key)
        found = (one.stamped.get(item.key) for one in self._tables) if stamp else ()
        return next((sha256 for had, sha256 in filter(None, found) if had == stamp), None)


@dataclass(frozen=True, slots=True)
class Findable:
    """A table of rows, and what finds a row in it.

    Attributes:
        rows: the table.
        finder: finds rows by the digest of their bytes.
        stamped: stamp and digest of rows, by key; without rows whose stamp says nothing.
    """

    rows: Rows
    finder: Finder
    stamped: Mapping[str, tuple[int, bytes]]


@lru_cache(16)
def _findable(store: str, ref: Ref, noted: Ref | None) -> Findable:
    rows, place = table_at(store, ref), store_at(store)
    sha256 = rows.sha256()
    file = place.output(noted, layout.Listing.STAMPS) if noted and place.has(noted) else None
    if file is None:
        return Findable(rows, Finder(sha256), {})
    stamps = mapped(file).tolist()
    each = zip(rows.each_key(), stamps, sha256, strict=True)
    return Findable(rows, Finder(sha256), {key: (stamp, one.tobytes()) for key, stamp, one in each if stamp})
