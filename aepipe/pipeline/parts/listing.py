"""List: cut a source into listings; those that were read before are known by their digest."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aepipe.engines import check_stopped
from aepipe.log import step
from aepipe.sources import listing
from aepipe.sources.files import InMemory, Refused
from aepipe.sources.item import Item, Source
from aepipe.sources.loader import DUPLICATE
from aepipe.store.artifacts import Ref, Store, ref_of

VERSION = 2
FROM = 100_000
"""Items from which a collection is cut into parts where its recipe does not say; smaller ones gain little, and their
rows stay as they are."""
_PEEKED = 1 << 26
"""Bytes of items in memory that are read ahead to count them."""


@dataclass(slots=True)
class Listed:
    """All listings of a source, in its order; it holds 8 bytes for each item.

    Attributes:
        refs: one for each listing.
        read: for each listing the part that it gave; None where it has to be read.
        starts: the position of the first item of each, and the number of all items.
    """

    refs: list[Ref] = field(default_factory=list)
    read: list[Ref | None] = field(default_factory=list)
    starts: list[int] = field(default_factory=lambda: [0])

    def put(self, number: int, ref: Ref, read: Ref | None) -> None:
        """Say of a listing that it is another one."""
        self.refs[number], self.read[number] = ref, read


def in_parts(source: Source, total: int | None, *, always: bool) -> tuple[bool, Iterator[Item] | None]:
    """Tell whether a source is cut into parts.

    Args:
        source: of the rows.
        total: number of its items; None where that is not known.
        always: the rows of before are in parts, so these are, too: rows stay as they are where nothing changes.

    Returns:
        The answer, and the items where they had to be begun for it.
    """
    most = source.part or FROM
    if always or total is not None:
        return always or (total or 0) > most, None
    items, ahead, held = source.items(), list[Item](), 0
    for item in items:
        ahead.append(item)
        held += len(item.reader.data) if isinstance(item.reader, InMemory) else 0
        if len(ahead) > most or held > _PEEKED:
            break
    return len(ahead) > most, _chained(ahead, items)


def list_parts(store: Store, source: Source, items: Iterator[Item], total: int | None) -> Listed:
    """List a source; each new listing is written into the store.

    Args:
        store: where listings are written.
        source: of the items.
        items: all of them.
        total: their number, where it is known.

    Raises:
        SourceError: there are none, or the container is damaged.
        FullError: the disk is full.
    """
    found, hashes = Listed(), array("Q")
    usual = source.part or listing.USUAL
    for part, own in listing.cut(items, usual):
        check_stopped()
        ref, read = _kept(store, source, part, own)
        found.refs.append(ref)
        found.read.append(read)
        found.starts.append(found.starts[-1] + len(part))
        hashes.frombytes(own.tobytes())
        step("listing", found.starts[-1], total)
    step("listing", found.starts[-1], found.starts[-1])
    again = _repeated(np.frombuffer(hashes, np.uint64))
    if len(again):
        _refuse_duplicates(store, source, found, np.frombuffer(hashes, np.uint64), again)
    return found


def read_ref(listed: Ref, source: Source) -> Ref:
    """Return the artifact that says which part a listing gave, for a source of these features."""
    return ref_of("listing", read_inputs(listed, source))


def read_inputs(listed: Ref, source: Source) -> dict[str, Any]:
    """Return what decides which part a listing gives."""
    inputs = {"stage": "ingest.read", "version": VERSION, "listing": str(listed), "features": source.features()}
    return inputs | {"columns": columns_of(source), "test": source.test_share} | kept_of(source)


def kept_of(source: Source) -> dict[str, float]:
    """Return the input of a part that says which rows have features; none where all have."""
    return {"kept": source.kept} if source.kept < 1 else {}


def columns_of(source: Source) -> dict[str, str]:
    """Return the columns of a source with their types: parts of one table have the same."""
    return {one.name: str(one.type) for one in source.schema()}


def part_read(store: Store, listed: Ref, source: Source) -> Ref | None:
    """Return the part that a listing gave, where both are there, and mark them as used."""
    ref = read_ref(listed, source)
    if not store.reuse(ref):
        return None
    made = Ref.parse(store.manifest(ref).facts["part"])
    return made if store.reuse(made) else None


def _kept(store: Store, source: Source, items: list[Item], hashes: NDArray[np.uint64]) -> tuple[Ref, Ref | None]:
    """Return a listing, and the part that it gave; it is written unless that is there with all features."""
    part = listing.listed(items, hashes)
    inputs = {"stage": "list", "version": VERSION, "items": part.digest}
    ref = ref_of("listing", inputs)
    read = part_read(store, ref, source)
    if (read is None or source.kept < 1) and not store.reuse(ref):
        with store.draft("listing") as draft:
            listing.write(draft.path, part, source.schema())
            draft.finish(inputs, {"items": len(part)})
    return ref, read


def _repeated(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the hashes that several keys have, ascending."""
    ordered = np.sort(hashes)
    return np.unique(ordered[1:][ordered[1:] == ordered[:-1]])


def _refuse_duplicates(
    store: Store, source: Source, found: Listed, hashes: NDArray[np.uint64], again: NDArray[np.uint64]
) -> None:
    """List the parts again that have a key of an item before; only the first item with a key is read."""
    suspects = np.flatnonzero(np.isin(hashes, again))
    affected = set((np.searchsorted(found.starts, suspects, side="right") - 1).tolist())
    doubtful, seen = set(suspects.tolist()), set[str]()
    items = source.items()
    for number, (start, stop) in enumerate(pairwise(found.starts)):
        part, repeated = list(islice(items, stop - start)) if number in affected else _skipped(items, stop - start), 0
        for place, item in enumerate(part):
            if start + place in doubtful:
                if item.key in seen:
                    part[place] = replace(item, reader=Refused(DUPLICATE))
                    repeated += 1
                seen.add(item.key)
        if repeated:
            found.put(number, *_kept(store, source, part, hashes[start:stop]))
    for _ in items:  # to the end, so that what is passed over is counted
        pass


def _skipped(items: Iterator[Item], count: int) -> list[Item]:
    for _ in islice(items, count):
        pass
    return []


def _chained(ahead: list[Item], items: Iterator[Item]) -> Iterator[Item]:
    """Yield items that were read ahead, and the others; the first are let go one by one."""
    ahead.reverse()
    while ahead:
        yield ahead.pop()
    yield from items
