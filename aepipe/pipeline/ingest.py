"""Ingest a source: read, hash and decode its items into a table of rows.

Each item is read once and hashed; it is decoded unless the rows of the run before hold features of the same bytes. As
long as the source gives the items of those rows in the same order, nothing is written; at the first difference, the
rows that agreed are copied. So a run over an unchanged source only reads and hashes, and returns the rows of before.

Memory holds a bounded window of items, one row group, and key and digests of each item.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aepipe import log
from aepipe.errors import SourceError
from aepipe.release import lifecycle
from aepipe.sources.item import Item, Source
from aepipe.sources.loader import Outcome, read_all
from aepipe.sources.passed_over import PassedOver
from aepipe.store import layout, reading
from aepipe.store.artifacts import Ref, Store, digest_of
from aepipe.store.column_names import renamed
from aepipe.store.rows import Finder, Rejected, Row, Rows, RowsWriter, write_quarantine

VERSION = 1
REASONS = 3
"""Reasons for unreadable items that an error names."""
REPORT_EVERY = 1000
"""Items between two reports of progress."""
_as_json = json.JSONEncoder(sort_keys=True, default=str).encode


def ingest(
    store: Store,
    source: Source,
    *,
    previous: Ref | None = None,
    next_id: int = 0,
    given: Mapping[str, int] | None = None,
) -> Ref:
    """Read a source into rows.

    Args:
        store: where artifacts are read and written.
        source: read item by item.
        previous: rows of the same collection. Known keys keep their ids, known bytes are not decoded again, and these
            rows themselves are returned where nothing has changed.
        next_id: the first id for a new key; smaller ones were given before, perhaps to rows that are gone.
        given: ids by key that releases besides ``previous`` gave; these keys get them again.

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
    before = PreviousRows.at(store, previous, source.features())
    # A release that was rolled back has given ids too, and its rows are not in `previous`.
    before.next_id = max(before.next_id, next_id)
    before.given = given or {}
    with store.draft("rows") as draft, _Collection(draft.path, source, before) as collection:
        total, done = source.total(), 0
        for done, outcome in enumerate(read_all(source, before.find), 1):
            collection.take(outcome)
            if done % REPORT_EVERY == 0:
                log.step("ingest", done, total, collection.note)
        log.step("ingest", done, done, collection.note)
        listed = quarantine_file(store, source.name, collection.rejected, source.passed_over)
        collection.judge(listed)
        digest, read = collection.digest(), _reading(source, collection.rejected)
        if previous is not None and before.stands(digest):
            reading.keep(store, source.name, previous, read)
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
    return made


def lying_in(location: Path, roots: Iterable[Path]) -> dict[str, Any]:
    """Return the facts of rows that say where the items lie.

    Args:
        location: the folder that places are relative to.
        roots: other folders, which whole paths may lead into.
    """
    more = sorted({str(root) for root in roots} - {str(location)})
    return {"location": str(location), **({"roots": more} if more else {})}


def ingest_next(store: Store, source: Source, name: str, previous: Ref | None) -> Ref:
    """Read a source into rows; no id is given twice in the life of a collection.

    Args:
        store: where artifacts are read and written.
        source: read item by item.
        name: of the collection.
        previous: rows of the release that the run starts from; None for the first run.

    Raises:
        SourceError, FullError: as :func:`ingest`.
        CorruptError: the store's file of the highest id cannot be read.
    """
    known = Rows(store.path(previous)).next_id if previous else 0
    given = lifecycle.ids_given(store, name, since=known)
    return ingest(store, source, previous=previous, next_id=lifecycle.next_id(store, name), given=given)


def same_rows(source: Source, before: PreviousRows, scratch: Path, *, until: float) -> dict[str, Any] | None:
    """Read a source up to the first row that is not one of the run before.

    Args:
        source: read item by item.
        before: rows of the run before.
        scratch: an empty folder.
        until: the end of the time for it, as ``time.monotonic`` counts.

    Returns:
        What was read and what was not, as in the facts of rows; None where a row differs, or the time is over.
    """
    with _Collection(scratch, source, before) as collection:
        for outcome in read_all(source, before.find):
            collection.take(outcome)
            if collection.differs or time.monotonic() > until:
                return None
        if not before.stands(collection.digest()):
            return None
        return _reading(source, collection.rejected)


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

    @classmethod
    def at(cls, store: Store, previous: Ref | None, features: Mapping[str, Any]) -> PreviousRows:
        """Open the rows of the run before; an empty object where there was none."""
        if previous is None:
            return cls(None, {}, same_features=False)
        made = store.manifest(previous)
        inputs = made.inputs
        same = inputs.get("features") == features and inputs.get("version") == VERSION
        return cls(Rows(store.verified(previous)), inputs, same_features=same, location=made.facts.get("location"))

    def __len__(self) -> int:
        return len(self._position)

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
        self._folder = folder
        self._source = source
        self._before = before
        self._records = before.usable.records() if before.usable else iter(())
        self._agreed = 0
        self._writer: RowsWriter | None = None
        self._next_id = before.next_id
        self._keys: list[str] = []
        self._ids: list[int] = []
        self._entries = bytearray()  # digests of 32 bytes, sorted by key only at the end
        self._splits: Counter[str] = Counter()
        self._new = self._changed = 0
        self.rejected: list[Rejected] = []

    def __enter__(self) -> _Collection:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.__exit__(None, None, None)

    @property
    def differs(self) -> bool:
        """Whether a row was not that of the run before, or an item was unreadable."""
        return self._writer is not None or bool(self.rejected)

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
        self._entries += _entry(item, split, outcome.sha256)
        self._splits[split] += 1
        self._ids.append(self._id(item.key))
        if self._writer is None and self._agrees(item, split, outcome.sha256):
            self._agreed += 1  # nothing is written as long as all rows agree
            return
        features = outcome.features if outcome.features is not None else self._feature(outcome.known)
        self._started().append(
            Row(
                id=self._ids[-1],
                key=item.key,
                sha256=outcome.sha256,
                place=item.place,
                split=split,
                features=features,
                label=item.label,
                columns=item.columns,
            )
        )

    def judge(self, listed: Path) -> None:
        """Refuse a source with too many bad or vanished items, or with nothing to train on.

        Raises:
            SourceError: the source is refused.
        """
        check_bad(self._source, self.rejected, len(self._keys), listed)
        vanished, allowed = self.changes()["vanished"], self._source.max_vanished_share
        # Another location is another collection of files, where everything is expected to be gone.
        if self._before.location == str(self._source.location) and vanished > allowed * len(self._before):
            raise SourceError(
                f"{self._source.location}: {vanished:,} of the {len(self._before):,} items of the run before are not "
                f"there any more, and max_vanished_share allows {allowed:.1%}. Is the disk mounted? If they are meant "
                "to be gone, say max_vanished_share = 1 under [source]"
            )
        if not self._keys:
            first = next((one["reason"] for one in self._source.passed_over.facts()), "nothing in it")
            raise SourceError(f"{self._source.location}: no item to learn from; all are passed over: {first}")
        if not self._splits["train"]:
            found = ", ".join(f"{name!r} ({count:,})" for name, count in self._splits.most_common(5))
            raise SourceError(f"{self._source.location}: no item is in the split 'train'; there are: {found}")

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
        passed_over = self._source.passed_over.listed()
        self._started().close(source=digest, next_id=self._next_id, rejected=self.rejected, passed_over=passed_over)
        return Rows(self._folder).facts

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

    def _agrees(self, item: Item, split: str, sha256: bytes) -> bool:
        """Say whether the next row of the run before is this item."""
        record = next(self._records, None)
        if record is None:
            return False
        found = (record.key, record.sha256, record.label, record.split, record.columns)
        return found == (item.key, sha256, item.label, split, dict(item.columns))

    def _started(self) -> RowsWriter:
        """Return the writer; opening it copies the rows that agreed so far."""
        if self._writer is None:
            source = self._source
            self._writer = RowsWriter(self._folder, shape=source.shape, columns=source.schema(), dtype=source.dtype)
            if self._before.usable is not None:
                for row in islice(self._before.usable.rows(), self._agreed):
                    self._writer.append(row)
        return self._writer

    def _feature(self, row: int) -> NDArray[np.generic]:
        assert self._before.usable is not None
        return self._before.usable.feature(row)


def _reading(source: Source, rejected: list[Rejected]) -> dict[str, Any]:
    """Return what the source did not use, and what it guessed, as facts."""
    passed_over, unreadable = source.passed_over, PassedOver()
    for bad in rejected:
        unreadable.add(bad.key, bad.reason)
    return {
        "files": passed_over.read,
        "skipped": passed_over.total,
        "passed_over": passed_over.facts(),
        "unreadable": unreadable.facts(),
        "left_out": dict(source.left_out),
        "notes": [*source.notes, *renamed(source.schema().names)],
        **({"backbone": said} if (said := list(getattr(source, "network_said", ()))) else {}),
    }


def check_bad(source: Source, rejected: list[Rejected], good: int, listed: Path) -> None:
    """Refuse a source with too many unreadable items.

    Raises:
        SourceError: the source is refused.
    """
    bad, total, allowed = len(rejected), len(rejected) + good, source.max_bad_share
    if bad and (bad == total or bad / total > allowed):
        enough = math.ceil(100 * bad / total) / 100
        remedy = f". Leave them out by exclude under [source], or say max_bad_share = {enough:g}" if good else ""
        raise SourceError(
            f"{source.location}: {bad:,} of {total:,} items ({bad / total:.1%}) are unreadable, and max_bad_share "
            f"allows {allowed:.1%}: {_frequent(rejected)}. All are listed in {listed}, "
            f"which `aepipe show --quarantine` prints{remedy}"
        )


def quarantine_file(store: Store, name: str, rejected: list[Rejected], passed_over: PassedOver | None = None) -> Path:
    """Write the list of what was not read where a failed run leaves it; remove an empty one."""
    path = store.backend.file(layout.Root.quarantine(name))
    if rejected or (passed_over and passed_over.counts):
        write_quarantine(path, rejected, passed_over.listed() if passed_over else ())
    else:
        path.unlink(missing_ok=True)
    store.backend.keep(layout.Root.quarantine(name))
    return path


def _entry(item: Item, split: str, sha256: bytes) -> bytes:
    # Values that JSON does not know, such as dates, count as their text.
    entry = [item.key, sha256.hex(), item.label, split, dict(item.columns)]
    return hashlib.sha256(_as_json(entry).encode()).digest()


def _frequent(rejected: list[Rejected]) -> str:
    # The line of a row in a table tells which one it is, not why.
    reasons = [(re.sub(r" \(line [\d,]+\)$", "", bad.reason), bad.key) for bad in rejected]
    counts = Counter(reason for reason, _ in reasons)
    first = dict(reversed(reasons))
    return "; ".join(f"{count:,} x {reason} ({first[reason]})" for reason, count in counts.most_common(REASONS))
