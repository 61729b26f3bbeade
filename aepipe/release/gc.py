"""Collect garbage: remove what no release needs any more from a store.

Needed is every part of a release that is in service, that a rollback would put back, or that is among the newest of its
collection, and its map; of releases in service also what their model was trained from, so that the next run finds it.
Young folders are left alone: a run under way, or a study, may just have written them.

Runs need not end for it. A run notes in its lock when it began, and marks each artifact that it uses, also one that
another collection has made (:meth:`aepipe.store.artifacts.Store.reuse`). What was made or marked since the first of the
runs under way began stays, whatever the hours say. Marks and removals exclude each other, and a removal looks at the
mark once more.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from math import inf

from aepipe.errors import BusyError, CorruptError, NotFoundError, StoreError
from aepipe.release import fulltext, maps
from aepipe.release.manifest import ReleaseManifest
from aepipe.store import layout, registry
from aepipe.store.artifacts import KINDS, LISTS, Ref, Store

KEEP = 7
HOURS = 24.0
TRIES = 20
"""Looks at a store that changes meanwhile."""
_REF = re.compile(rf"(?:{'|'.join(KINDS)})/[0-9a-f]{{64}}")
_TRAINED_FROM = ("model", "layer", "views")
"""Kinds whose inputs are needed, too; not rows, whose inputs are rows with what was removed since."""


@dataclass(frozen=True, slots=True)
class Garbage:
    """What can be removed from a store.

    Attributes:
        refs: folders, releases first, so that no release is left that refers to a missing folder.
        work: digests of what has checkpoints of interrupted work.
        freed: bytes in all of these.
        kept: releases that stay.
        until: whatever was used at that time, in seconds since the epoch, or later, stays.
    """

    refs: tuple[Ref, ...]
    work: tuple[str, ...]
    freed: int
    kept: tuple[Ref, ...]
    until: float = inf


def clean(store: Store, *, keep: int = KEEP, hours: float = HOURS, dry_run: bool = False) -> Garbage:
    """Remove what no release needs, and return it.

    Args:
        store: to be cleaned.
        keep: releases of each collection that stay, the newest; those in service, and those before them, always do.
        hours: folders written in the last hours stay.
        dry_run: remove nothing.

    Raises:
        CorruptError: what is in service cannot be read, so its parts are not known.
        StoreError: the store cannot be written.
    """
    found = find(store, keep=keep, hours=hours)
    while not (dry_run or collect(store, found)):
        found = find(store, keep=keep, hours=hours)
    return found


def find(store: Store, *, keep: int = KEEP, hours: float = HOURS) -> Garbage:
    """Find what no release needs; see :func:`clean`.

    Raises:
        CorruptError: what is in service cannot be read, so its parts are not known.
        StoreError: the store cannot be read.
    """
    # The clock is read before the locks: who takes one later uses things later, too.
    until = min(time.time() - 3600 * hours, registry.writing_since(store))
    for _ in range(TRIES):
        names = registry.names(store)
        with suppress(NotFoundError):  # another process has removed something meanwhile
            found = _found(store, names, keep, until)
            # A folder that others write to may be listed without a name that is in it all the time.
            if registry.names(store) == names:
                return found
    _check_service(store)
    raise BusyError(f"{store.address}: other processes change what is in service again and again; try it later")


def _check_service(store: Store) -> None:
    """Check that the releases in service are there.

    Raises:
        CorruptError: one is not, and never will be.
    """
    for name in registry.names(store):
        ref = registry.current(store, name)
        if ref is not None and not store.has(ref):
            why = f"corrupt, no release {ref.short} is in the store; `aepipe promote RELEASE` writes it again"
            raise CorruptError(f"{store.place(f'{layout.Root.SERVICE}/{name}')}: {why}")


def _found(store: Store, names: list[str], keep: int, until: float) -> Garbage:
    in_service = [registry.resolve(store, name)[1] for name in names]
    kept = dict.fromkeys([*in_service, *_before(store), *_newest(store, keep)])
    needed = {part for ref in kept for part in (ref, *(one for _, one in ReleaseManifest.read(store, ref).parts))}
    needed |= {made.ref_of(ref) for ref in kept for made in (maps, fulltext)}
    needed |= _reach(store, [part for ref in in_service for _, part in ReleaseManifest.read(store, ref).parts])
    needed |= {part for ref in store.refs("release") if store.used(ref) >= until for part in _parts(store, ref)}
    needed |= {part for ref in needed for part in _listed(store, ref)}
    # Releases first: if this is interrupted, no release is left without its parts.
    everything = [ref for kind in reversed(KINDS) for ref in store.refs(kind)]
    refs = tuple(ref for ref in everything if ref not in needed and store.used(ref) < until)
    work = {digest: size for digest, (touched, size) in store.backend.works().items() if touched < until}
    freed = sum(map(store.size, refs)) + sum(work.values())
    return Garbage(refs, tuple(work), freed, tuple(kept), until)


@contextmanager
def exclusive(store: Store, *, wait: float = 0) -> Iterator[None]:
    """Hold the locks of all collections, so that no run writes.

    Raises:
        BusyError: a run is writing.
    """
    names = {*store.backend.locked(), *registry.names(store)}
    with ExitStack() as held:
        for name in sorted(names):
            held.enter_context(registry.lock(store, name, wait=wait))
        yield


def collect(store: Store, garbage: Garbage) -> bool:
    """Remove garbage; whoever holds a release open can still read it.

    Returns:
        False where a release has come into use since the garbage was found: then more is needed than was known.

    Raises:
        StoreError: the store cannot be written.
    """
    for ref in garbage.refs:
        if ref.kind == "release":
            _keep_ids(store, ref)
        if not store.remove(ref, unused_since=garbage.until) and ref.kind == "release":
            return False
    works = store.backend.works() if garbage.work else {}
    for digest in garbage.work:
        if digest in works and works[digest][0] < garbage.until:
            store.backend.drop_work(digest)
    store.backend.sweep()
    return True


def _parts(store: Store, release: Ref) -> list[Ref]:
    """Return the parts of a release; none of one that is damaged."""
    try:
        return [part for _, part in ReleaseManifest.read(store, release).parts]
    except StoreError:
        return []


def _listed(store: Store, ref: Ref) -> list[Ref]:
    """Return what an artifact is a list of, and what says from which listings that was read; nothing of most.

    Also the listings themselves, where features are decoded again.
    """
    if ref.kind not in LISTS:
        return []
    try:
        facts = store.manifest(ref).facts
        readings = [Ref.parse(one) for one in facts.get("readings", ())]
        again = readings if facts.get("kept", 1) < 1 else []
        listings = [Ref.parse(store.manifest(one).inputs["listing"]) for one in again]
        return [*store.parts(ref), *readings, *listings]
    except StoreError:
        return []


def _keep_ids(store: Store, release: Ref) -> None:
    """Remember the ids that a release gave; one that is damaged cannot tell."""
    with suppress(StoreError):
        registry.keep_next_id(store, ReleaseManifest.read(store, release).name, release)


def _before(store: Store) -> Iterator[Ref]:
    """Yield the releases that a rollback would put into service, where they still exist."""
    for name in registry.names(store):
        try:
            ref = registry.previous(store, name)
        except NotFoundError:
            continue
        if store.has(ref):
            yield ref


def _newest(store: Store, keep: int) -> Iterator[Ref]:
    """Yield the newest releases of each collection, by last promotion or else by creation."""
    # Times are in seconds; of one second, the log says the order.
    when = {Ref("release", event.after): (event.when, line) for line, event in enumerate(registry.history(store))}
    by_name: dict[str, list[tuple[tuple[str, int], int, Ref]]] = {}
    for number, ref in enumerate(store.refs("release")):
        try:
            name, created = ReleaseManifest.read(store, ref).name, store.manifest(ref).created
        except StoreError:
            continue  # damaged and not in service, so nobody needs it
        by_name.setdefault(name, []).append((when.get(ref, (created, -1)), number, ref))
    for dated in by_name.values():
        yield from (ref for *_, ref in sorted(dated)[-keep:])


def _reach(store: Store, refs: Iterable[Ref]) -> set[Ref]:
    """Return folders, those that they were trained from, and so on."""
    found: set[Ref] = set()
    ahead = list(refs)
    while ahead:
        ref = ahead.pop()
        if ref in found or not store.has(ref):
            continue
        found.add(ref)
        inputs = [Ref.parse(text) for text in _REF.findall(str(store.manifest(ref).inputs))]
        wanted = _TRAINED_FROM if ref.kind in {"model", "layer"} else ("backbone",)
        ahead += [one for one in inputs if one.kind in wanted]
    return found
