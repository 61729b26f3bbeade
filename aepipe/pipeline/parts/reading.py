"""Map: read, hash and decode the items of one listing into a part of the rows.

Beside the table (:mod:`aepipe.store.rows`) a part has ``hashes.npy``, uint64[n], of the keys of its rows. What a part
is called depends on its items and on nothing else: two listings of the same items give one part.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
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
from aepipe.sources.item import Source
from aepipe.sources.loader import Outcome, read_all
from aepipe.sources.passed_over import PassedOver
from aepipe.store import layout
from aepipe.store.artifacts import Ref, Store, ref_of
from aepipe.store.rows import Finder, Rejected, Rows

VERSION = 1
STAGE = "ingest.part"


def read_part(part: Part, *, store: str, source: Mapping[str, str], threads: int) -> Done:
    """Read the items of a listing into a part of the rows, unless that was done before.

    Args:
        part: its reference is that of the listing, and after spaces those of tables that may hold some of the rows.
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
        made = _read(place, listed, opened, _Known(store, before, opened), threads)
        inputs = read_inputs(listed, opened)
        with place.draft("listing") as draft:
            draft.finish(inputs, {"part": str(made)})
        seconds = time.monotonic() - began
    facts = place.manifest(made).facts
    return Done(part.number, str(made), facts["rows"], facts["quarantined"], seconds)


def _read(store: Store, listed: Ref, source: Source, known: _Known, threads: int) -> Ref:
    """Read a listing, and return its part; nothing is written where the store has that already."""
    names = source.schema().names
    items = listing.read(store.verified(listed), names)
    with store.draft("rows") as draft, RowsTaken(draft.path, source, known.first, known.feature) as rows:
        taken = _Taken(source, rows)
        for outcome in read_all(source, known.find, items=items, threads=threads):
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
        return draft.finish(inputs, facts)


class _Taken:
    """The outcomes of one listing."""

    def __init__(self, source: Source, rows: RowsTaken) -> None:
        self._source = source
        self._rows = rows
        self._entries = hashlib.sha256()
        self.hashes: list[int] = []
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

    def digest(self) -> str:
        """Return the digest of all items: what was read of each, or why it was not."""
        return self._entries.hexdigest()


class _Known:
    """Rows that were read before, whose features need not be made again.

    Args:
        store: the folder of the store.
        tables: that may hold them; those of other features are left aside.
        source: that gives the features.
    """

    def __init__(self, store: str, tables: Sequence[Ref], source: Source) -> None:
        self._tables: list[tuple[Rows, Finder]] = []
        for ref in tables:
            try:
                if store_at(store).manifest(ref).inputs.get("features") == source.features():
                    self._tables.append(_findable(store, ref))
            except StoreError:  # gone or damaged: then everything is made again
                continue
        self._starts = np.cumsum([0, *(len(rows) for rows, _ in self._tables)]).tolist()

    @property
    def first(self) -> Rows | None:
        """The table that may be the same; None where there is none."""
        return self._tables[0][0] if self._tables else None

    def find(self, _: str, sha256: bytes) -> int:
        """Return the number of a row with these bytes; -1 for none."""
        for (_rows, finder), start in zip(self._tables, self._starts, strict=False):
            found = finder(sha256)
            if found >= 0:
                return int(start) + found
        return -1

    def feature(self, number: int) -> NDArray[Any]:
        """Return the features of a row that was found."""
        table = int(np.searchsorted(self._starts, number, side="right")) - 1
        return self._tables[table][0].feature(number - self._starts[table])


@lru_cache(16)
def _findable(store: str, ref: Ref) -> tuple[Rows, Finder]:
    rows = table_at(store, ref)
    return rows, Finder(rows.sha256())
