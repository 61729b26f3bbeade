"""Ingest a source: read, hash and decode its items into a table of rows.

Each item is read once and hashed; it is decoded unless the rows of the run before hold features of the same bytes. A
file with the size and times that it had then is not even read. As long as the source gives the items of those rows in
the same order, nothing is written; at the first difference, the rows that agreed are copied. So a run over an unchanged
source only looks at its files, and returns the rows of before.

Memory holds a bounded window of items, one row group, and key and digests of each item. A large collection is read in
parts (:mod:`aepipe.pipeline.parts`), which needs much less, and whose unchanged parts are not even read.
"""

from __future__ import annotations

import hashlib
import time
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aepipe import log
from aepipe.engines import Engine
from aepipe.pipeline.intake import (
    RowsTaken,
    check_bad,
    check_splits,
    check_vanished,
    entry_of,
    lying_in,
    quarantine_file,
    reading_facts,
)
from aepipe.pipeline.parts.collection import Life, ingest_parts
from aepipe.pipeline.parts.listing import in_parts
from aepipe.recipe import Recipe
from aepipe.release import lifecycle
from aepipe.sources.item import Item, Source
from aepipe.sources.listing import Stamps
from aepipe.sources.loader import Outcome, read_all
from aepipe.store import layout, reading, stamps
from aepipe.store.artifacts import Ref, Store, digest_of
from aepipe.store.rows import Finder, Rejected, Rows, write_quarantine

VERSION = 1
REPORT_EVERY = 1000
"""Items between two reports of progress."""


def ingest(
    store: Store,
    source: Source,
    *,
    previous: Ref | None = None,
    next_id: int = 0,
    given: Mapping[str, int] | None = None,
    recipe: Recipe | None = None,
    engine: Engine | None = None,
) -> Ref:
    """Read a source into rows.

    Args:
        store: where artifacts are read and written.
        source: read item by item.
        previous: rows of the same collection. Known keys keep their ids, known bytes are not decoded again, and these
            rows themselves are returned where nothing has changed.
        next_id: the first id for a new key; smaller ones were given before, perhaps to rows that are gone.
        given: ids by key that releases besides ``previous`` gave; these keys get them again.
        recipe: that the source was made by; an engine that reads parts in other processes opens the source by it.
        engine: that reads the parts of a large collection; that of the environment where it is None.

    Returns:
        The rows. Their facts are those of :class:`aepipe.store.rows.Rows`, ``location``, ``roots``, those of
        :data:`aepipe.store.reading.NAMES`, and the numbers of ``new``, ``changed`` and ``vanished`` keys compared with
        ``previous``.

    Raises:
        SourceError: too many items are unreadable, or too many items of ``previous`` are gone from the same location;
            or the source is empty, damaged, or has no train split. Unreadable items are then listed in the store's
            ``quarantine-<name>.parquet``.
        FullError: the disk is full.
    """
    source = source.fitted(store.manifest(previous).inputs.get("features") if previous else None)
    total = source.total()
    parted, items = in_parts(source, total, always=previous is not None and bool(store.parts(previous)))
    if parted:
        life = Life(previous, next_id, given or {})
        return ingest_parts(store, source, life, items=items, total=total, recipe=recipe, engine=engine)
    before = PreviousRows.at(store, previous, source.features())
    # A release that was rolled back has given ids too, and its rows are not in `previous`.
    before.next_id = max(before.next_id, next_id)
    before.given = given or {}
    before.recall(None if previous is None else stamps.of_rows(store, source.name, previous))
    return _ingest(store, source, before, previous, items, total)


def _ingest(
    store: Store,
    source: Source,
    before: PreviousRows,
    previous: Ref | None,
    items: Iterator[Item] | None,
    total: int | None,
) -> Ref:
    """Read a source into one table; ``items`` are those of the source where they were begun already."""
    with store.draft("rows") as draft, _Collection(draft.path, source, before) as collection:
        done = 0
        for done, outcome in enumerate(read_all(source, before.find, items=items, seen=before.seen), 1):
            collection.take(outcome)
            if done % REPORT_EVERY == 0:
                log.step("ingest", done, total, collection.note)
        log.step("ingest", done, done, collection.note)
        listed = quarantine_file(store, source.name, collection.rejected, source.passed_over)
        collection.judge(listed)
        digest, read = collection.digest(), reading_facts(source, collection.rejected)
        if previous is not None and before.stands(digest):
            reading.keep(store, source.name, previous, read)
            collection.keep_stamps(store, previous, known=True)
            return previous
        inputs = {
            "stage": "ingest",
            "version": VERSION,
            "source": digest,
            "features": source.features(),
            "ids": collection.lineage(),
        }
        facts = {**collection.finish(digest), **collection.changes()}
        made = draft.finish(inputs, {**facts, **lying_in(source.location, source.roots), **read})
    reading.keep(store, source.name, made, read)
    collection.keep_stamps(store, made, known=False)
    return made


def ingest_next(store: Store, source: Source, name: str, previous: Ref | None, *, recipe: Recipe | None = None) -> Ref:
    """Read a source into rows; no id is given twice in the life of a collection.

    Args:
        store: where artifacts are read and written.
        source: read item by item.
        name: of the collection.
        previous: rows of the release that the run starts from; None for the first run.
        recipe: that the source was made by.

    Raises:
        SourceError, FullError: as :func:`ingest`.
        CorruptError: the store's file of the highest id cannot be read.
    """
    known = int(store.manifest(previous).facts["next_id"]) if previous else 0
    given = lifecycle.ids_given(store, name, since=known)
    next_id = lifecycle.next_id(store, name)
    return ingest(store, source, previous=previous, next_id=next_id, given=given, recipe=recipe)


def same_rows(source: Source, before: PreviousRows, scratch: Path, *, until: float) -> dict[str, Any] | None:
    """Read a source up to the first row that is not one of the run before.

    Args:
        source: read item by item.
        before: rows of the run before.
        scratch: an empty folder.
        until: the end of the time for it, as ``time.monotonic`` counts.

    Returns:
        What was read and what was not, as in the facts of rows; None where a row differs, or the time is over. The
        names of what was not read are then in the folder, in a file as rows have it.
    """
    with _Collection(scratch, source, before) as collection:
        for outcome in read_all(source, before.find, seen=before.seen):
            collection.take(outcome)
            if collection.differs or time.monotonic() > until:
                return None
        if not before.stands(collection.digest()):
            return None
        write_quarantine(scratch / layout.Rows.QUARANTINE, collection.rejected, source.passed_over.listed())
        return reading_facts(source, collection.rejected)


class PreviousRows:
    """Rows of the run before: ids and digests by key, and features that are still valid."""

    def __init__(
        self, rows: Rows | None, inputs: Mapping[str, Any], *, same_features: bool, location: str | None = None
    ) -> None:
        self.rows = rows
        self.location = location
        self._source = inputs.get("source") if same_features else None
        self._position = {key: position for position, key in enumerate(rows.keys())} if rows else {}
        self._ids = rows.ids() if rows else np.empty(0, np.int64)
        # One buffer for all digests: a bytes object for each of a million rows takes twice the memory.
        self._digests = memoryview(rows.sha256().tobytes() if rows else b"")
        self.next_id = rows.next_id if rows else 0
        self.given: Mapping[str, int] = {}
        # Ids stay after a change of features or of this stage, but everything is decoded again.
        self.usable = rows if same_features else None
        self._find = Finder(self.usable.sha256() if self.usable else np.empty((0, 32), np.uint8))
        self._stamps, self._now = array("Q"), Stamps()

    @classmethod
    def at(cls, store: Store, previous: Ref | None, features: Mapping[str, Any]) -> PreviousRows:
        """Open the rows of the run before; an empty object where there was none."""
        if previous is None:
            return cls(None, {}, same_features=False)
        made = store.manifest(previous)
        inputs = made.inputs
        rows = Rows(store.verified(previous))
        same = inputs.get("features") == features and inputs.get("version") == VERSION and rows.kept == 1
        return cls(rows, inputs, same_features=same, location=made.facts.get("location"))

    def __len__(self) -> int:
        return len(self._position)

    def recall(self, stamps: NDArray[np.uint64] | None) -> None:
        """Let items with the stamps that rows had, uint64[N], not be read; None where nobody knows them."""
        if self.usable is not None and stamps is not None and len(stamps) == len(self):
            self._stamps = array("Q", stamps.tobytes())

    def has_stamps(self, stamps: array[int]) -> bool:
        """Say whether these are the stamps that rows had."""
        return self._stamps == stamps

    def seen(self, item: Item) -> tuple[int, int, bytes]:
        """Return the stamp of an item, and the row that it still is; -1 and no bytes where it has to be read."""
        stamp, position = self._now.of(item), self._position.get(item.key, -1)
        if not (stamp and 0 <= position < len(self._stamps) and self._stamps[position] == stamp):
            return stamp, -1, b""
        return stamp, position, self._digests[32 * position : 32 * position + 32].tobytes()

    def find(self, key: str, sha256: bytes) -> int:
        """Return the position of a row with the same bytes, under this key or another; -1 for none."""
        if self.usable is None:
            return -1
        return self._position[key] if self.digest_of(key) == sha256 else self._find(sha256)

    def id_of(self, key: str) -> int | None:
        """Return the id of a key, None where the key is new."""
        position = self._position.get(key)
        return self.given.get(key) if position is None else int(self._ids[position])

    def digest_of(self, key: str) -> bytes | None:
        """Return the sha256 that the bytes of a key had, None where the key is new."""
        position = self._position.get(key)
        return None if position is None else self._digests[32 * position : 32 * position + 32].tobytes()

    def stands(self, digest: str) -> bool:
        """Say whether a source with this digest gives the same rows."""
        return self._source == digest


class _Collection:
    """Rows being collected, and their counts; a context manager that closes its writer."""

    def __init__(self, folder: Path, source: Source, before: PreviousRows) -> None:
        self._source = source
        self._before = before
        self._rows = RowsTaken(folder, source, before.usable)
        self._next_id = before.next_id
        self._keys: list[str] = []
        self._ids: list[int] = []
        self._entries = bytearray()  # digests of 32 bytes, sorted by key only at the end
        self._stamps = array("Q")
        self._splits: Counter[str] = Counter()
        self._new = self._changed = 0
        self.rejected: list[Rejected] = []

    def __enter__(self) -> _Collection:
        return self

    def __exit__(self, *_: object) -> None:
        self._rows.__exit__(None, None, None)

    @property
    def differs(self) -> bool:
        """Whether a row was not that of the run before."""
        return self._rows.differs

    @property
    def note(self) -> str:
        """Text about unreadable items for the report of progress."""
        return f"{len(self.rejected):,} unreadable" if self.rejected else ""

    def take(self, outcome: Outcome) -> None:
        """Add one item."""
        item = outcome.item
        if outcome.reason is not None and outcome.empty:
            self._source.passed_over.add(item.key, outcome.reason)
            return
        if outcome.reason is not None:
            self.rejected.append(Rejected(item.key, item.place, outcome.reason))
            return
        split = self._source.split(item, outcome.sha256)
        self._count(item.key, outcome.sha256)
        self._keys.append(item.key)
        self._entries += entry_of(item, split, outcome.sha256)
        self._splits[split] += 1
        self._ids.append(self._id(item.key))
        self._stamps.append(outcome.stamp)
        self._rows.take(outcome, split, self._ids[-1])

    def judge(self, listed: Path) -> None:
        """Refuse a source with too many bad or vanished items, or with nothing to train on.

        Raises:
            SourceError: the source is refused.
        """
        check_bad(self._source, self.rejected, len(self._keys), listed)
        check_vanished(self._source, self.changes()["vanished"], len(self._before), self._before.location)
        check_splits(self._source, self._splits)

    def digest(self) -> str:
        """Return the digest of the source: (key, sha256, label, split, columns) by key."""
        entries = np.frombuffer(bytes(self._entries), np.uint8).reshape(-1, 32)
        order = sorted(range(len(self._keys)), key=self._keys.__getitem__)
        return hashlib.sha256(entries[order].tobytes()).hexdigest()

    def lineage(self) -> str:
        """Return a digest of all pairs of key and id."""
        return digest_of([sorted(zip(self._keys, self._ids, strict=True)), self._next_id])

    def finish(self, digest: str) -> dict[str, Any]:
        """Complete the files, and return the facts of the table."""
        return self._rows.finish(digest, self._next_id, self.rejected, self._source.passed_over)

    def keep_stamps(self, store: Store, rows: Ref, *, known: bool) -> None:
        """Keep the stamps of all rows for the next run; where the rows are known, their stamps may be, too."""
        if any(self._stamps) and not (known and self._before.has_stamps(self._stamps)):
            stamps.keep(store, self._source.name, rows, np.frombuffer(self._stamps, np.uint64))

    def changes(self) -> dict[str, int]:
        """Return the numbers of ``new``, ``changed`` and ``vanished`` keys since the run before."""
        vanished = len(self._before) + self._new - len(self._keys)
        return {"new": self._new, "changed": self._changed, "vanished": vanished}

    def _count(self, key: str, sha256: bytes) -> None:
        digest = self._before.digest_of(key)
        self._new += digest is None
        self._changed += digest is not None and digest != sha256

    def _id(self, key: str) -> int:
        """Return the id of a known key, or the next id that was never given."""
        known = self._before.id_of(key)
        if known is None:
            known, self._next_id = self._next_id, self._next_id + 1
        return known
