"""Map: read, hash and decode the items of one listing into a part of the rows.

Beside the table (:mod:`aepipe.store.rows`) a part has two small files for whoever joins parts: ``hashes.npy``,
uint64[n], of the keys of its rows, and ``heads.npy``, uint64[n], the first 8 bytes of their digests. What a part is
called depends on its items and on nothing else: two listings of the same items give one part.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from itertools import repeat
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aepipe.engines import Done, Part, check_stopped
from aepipe.pipeline.parts.known import Known
from aepipe.pipeline.parts.listing import columns_of, kept_of, part_read, read_inputs
from aepipe.pipeline.parts.opened import SourceAt, source_at, store_at
from aepipe.pipeline.parts.writing import PartWriter
from aepipe.sources import listing
from aepipe.sources.files import Refused
from aepipe.sources.item import Item, Source
from aepipe.sources.loader import Outcome, read_all
from aepipe.store import layout
from aepipe.store.artifacts import Ref, Store, ref_of

VERSION = 2
STAGE = "ingest.part"
_UNREAD = Refused("not read")


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
        made, stamps = _read(place, listed, opened, Known(store, before, opened), threads)
        note(place, listed, opened, made, stamps)
        seconds = time.monotonic() - began
    facts = place.manifest(made).facts
    return Done(part.number, str(made), facts["rows"], facts["quarantined"], seconds)


def note(store: Store, listed: Ref, source: Source, made: Ref, stamps: NDArray[np.uint64]) -> Ref:
    """Note which part a listing gave, and the stamps of its rows, uint64[n], 0 for none."""
    with store.draft("listing") as draft:
        np.save(draft.path / layout.Listing.STAMPS, stamps)
        return draft.finish(read_inputs(listed, source), {"part": str(made)})


def _read(store: Store, listed: Ref, source: Source, known: Known, threads: int) -> tuple[Ref, NDArray[np.uint64]]:
    """Read a listing, and return its part, and the stamps of the rows; nothing is written that the store has."""
    folder = store.verified(listed)
    said = listing.about(folder)
    with store.draft("rows") as draft, PartWriter(draft.path, source, said, known) as rows:
        _take(rows, _Items(folder, source, said, known), source, known, threads)
        digest = rows.digest()
        inputs = {"stage": STAGE, "version": VERSION, "source": digest, "features": source.features()}
        inputs |= {"columns": columns_of(source), **kept_of(source)}
        ref = ref_of("rows", inputs)
        if not store.reuse(ref):
            draft.finish(inputs, rows.finish(digest))
        return ref, rows.of_rows("stamp")


class _Items:
    """The items of one listing, of which some need not be read.

    Args:
        folder: of the listing.
        source: of the items.
        said: of all of them.
        known: rows that were read before.
    """

    def __init__(self, folder: Path, source: Source, said: pa.Table, known: Known) -> None:
        hashes, stamps = (said.column(name).to_numpy() for name in ("hash", "stamp"))
        self.numbers = known.with_stamps(hashes, stamps)
        """Of the known rows, int64[n]; -1 for an item that has to be read."""
        self._folder = folder
        self._names = source.schema().names
        self._said = said

    def to_read(self) -> Iterator[Item]:
        """Yield the items that have to be read."""
        wanted = self.numbers < 0
        said = self._said if wanted.all() else self._said.filter(pa.array(wanted))
        yield from listing.items_of(said, self._names, listing.readers(self._folder, wanted))

    def all(self) -> Iterator[Item]:
        """Yield all items, without what reads them."""
        return listing.items_of(self._said, self._names, repeat(_UNREAD, len(self._said)))


def _take(rows: PartWriter, items: _Items, source: Source, known: Known, threads: int) -> None:
    """Take the rows of all items, in their order."""
    outcomes = read_all(source, known.with_bytes, items=items.to_read(), threads=threads)
    if (items.numbers < 0).all():
        for place, outcome in enumerate(outcomes):
            _take_one(rows, place, outcome, source)
        return
    digests = known.sha256(items.numbers)
    for place, (item, number) in enumerate(zip(items.all(), items.numbers.tolist(), strict=True)):
        if number < 0:
            _take_one(rows, place, next(outcomes), source)
        else:
            sha256 = digests[place].tobytes()
            rows.take(place, sha256, source.split(item, sha256), number)


def _take_one(rows: PartWriter, place: int, outcome: Outcome, source: Source) -> None:
    """Take the row of an item that was read, or note why there is none."""
    check_stopped()
    if outcome.reason is not None:
        rows.refuse(place, outcome, outcome.reason)
        return
    split, row = source.split(outcome.item, outcome.sha256), outcome.features
    rows.take(place, outcome.sha256, split, outcome.known if row is None else row)
