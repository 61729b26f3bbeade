"""What reading a source has come to: rows that are written, and what speaks against them."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aepipe.errors import SourceError
from aepipe.sources.item import Item, Source
from aepipe.sources.loader import Outcome
from aepipe.sources.passed_over import PassedOver
from aepipe.store import layout
from aepipe.store.artifacts import Store
from aepipe.store.column_names import renamed
from aepipe.store.rows import Rejected, Row, Rows, write_quarantine
from aepipe.store.rows_writer import RowsWriter

REASONS = 3
"""Reasons for unreadable items that an error names."""
_as_json = json.JSONEncoder(sort_keys=True, default=str).encode
_quoted = json.encoder.encode_basestring_ascii


class RowsTaken:
    """Rows of a source, written from the first one on that differs from the rows before.

    A context manager that closes its writer.

    Args:
        folder: an existing folder.
        source: that gives the items.
        before: rows that the same source may give again; None where there are none.
    """

    def __init__(self, folder: Path, source: Source, before: Rows | None) -> None:
        self._folder = folder
        self._source = source
        self._before = before
        self._records = before.records() if before else iter(())
        self._agreed = 0
        self._writer: RowsWriter | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.__exit__(kind, error, trace)

    @property
    def differs(self) -> bool:
        """Whether a row was not that of the rows before."""
        return self._writer is not None

    def take(self, outcome: Outcome, split: str, row_id: int) -> None:
        """Add the row of an item that could be read; it is not written as long as all rows agree."""
        item = outcome.item
        if self._writer is None and self._agrees(item, split, outcome.sha256):
            self._agreed += 1
            return
        features = outcome.features
        if features is None:
            assert self._before is not None
            features = self._before.feature(outcome.known)
        self._started().append(
            Row(
                id=row_id,
                key=item.key,
                sha256=outcome.sha256,
                place=item.place,
                split=split,
                features=features,
                label=item.label,
                columns=item.columns,
            )
        )

    def finish(self, digest: str, next_id: int, rejected: list[Rejected], passed_over: PassedOver) -> dict[str, Any]:
        """Complete the files, and return the facts of the table."""
        self._started().close(source=digest, next_id=next_id, rejected=rejected, passed_over=passed_over.listed())
        return Rows(self._folder).facts

    def _agrees(self, item: Item, split: str, sha256: bytes) -> bool:
        """Say whether the next row of those before is this item."""
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
            if self._before is not None:
                for row in islice(self._before.rows(), self._agreed):
                    self._writer.append(row)
        return self._writer


def entry_of(item: Item, split: str, sha256: bytes) -> bytes:
    """Return the digest of all that makes a row what it is, apart from its features: 32 bytes."""
    if item.columns:
        # Values that JSON does not know, such as dates, count as their text.
        said = _as_json([item.key, sha256.hex(), item.label, split, dict(item.columns)])
    else:  # the same text, in a fifth of the time
        label = "null" if item.label is None else _quoted(item.label)
        said = f'[{_quoted(item.key)}, "{sha256.hex()}", {label}, {_quoted(split)}, {{}}]'
    return hashlib.sha256(said.encode()).digest()


def lying_in(location: Path, roots: Iterable[Path]) -> dict[str, Any]:
    """Return the facts of rows that say where the items lie.

    Args:
        location: the folder that places are relative to.
        roots: other folders, which whole paths may lead into.
    """
    more = sorted({str(root) for root in roots} - {str(location)})
    return {"location": str(location), **({"roots": more} if more else {})}


def reading_facts(source: Source, rejected: Iterable[Rejected]) -> dict[str, Any]:
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


def check_vanished(source: Source, vanished: int, known: int, location: str | None) -> None:
    """Refuse a source that has lost too many items.

    Args:
        source: of the rows.
        vanished: keys of the run before that are gone.
        known: keys of the run before.
        location: of that run.

    Raises:
        SourceError: the source is refused.
    """
    allowed = source.max_vanished_share
    # Another location is another collection of files, where everything is expected to be gone.
    if location == str(source.location) and vanished > allowed * known:
        raise SourceError(
            f"{source.location}: {vanished:,} of the {known:,} items of the run before are not "
            f"there any more, and max_vanished_share allows {allowed:.1%}. Is the disk mounted? If they are meant "
            "to be gone, say max_vanished_share = 1 under [source]"
        )


def check_splits(source: Source, splits: Mapping[str, int]) -> None:
    """Refuse a source with nothing to train on.

    Raises:
        SourceError: the source is refused.
    """
    if not sum(splits.values()):
        first = next((one["reason"] for one in source.passed_over.facts()), "nothing in it")
        raise SourceError(f"{source.location}: no item to learn from; all are passed over: {first}")
    if not splits.get("train"):
        found = ", ".join(f"{name!r} ({count:,})" for name, count in Counter(splits).most_common(5))
        raise SourceError(f"{source.location}: no item is in the split 'train'; there are: {found}")


def quarantine_file(store: Store, name: str, rejected: list[Rejected], passed_over: PassedOver | None = None) -> Path:
    """Write the list of what was not read where a failed run leaves it; remove an empty one."""
    path = store.backend.file(layout.Root.quarantine(name))
    if rejected or (passed_over and passed_over.counts):
        write_quarantine(path, rejected, passed_over.listed() if passed_over else ())
    else:
        path.unlink(missing_ok=True)
    store.backend.keep(layout.Root.quarantine(name))
    return path


def _frequent(rejected: list[Rejected]) -> str:
    # The line of a row in a table tells which one it is, not why.
    reasons = [(re.sub(r" \(line [\d,]+\)$", "", bad.reason), bad.key) for bad in rejected]
    counts = Counter(reason for reason, _ in reasons)
    first = dict(reversed(reasons))
    return "; ".join(f"{count:,} x {reason} ({first[reason]})" for reason, count in counts.most_common(REASONS))
