"""Collect garbage: remove what no release needs any more from a store.

Needed is every part of a release that is in service, that a rollback would put back, or that is among the newest of its
collection, and its map; of releases in service also what their model was trained from, so that the next run finds it.
Young folders are left alone: a run under way, or a study, may just have written them.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from aepipe.errors import NotFoundError, StoreError
from aepipe.release import maps
from aepipe.release.manifest import ReleaseManifest
from aepipe.store import layout, registry
from aepipe.store.artifacts import KINDS, Ref, Store

KEEP = 7
HOURS = 24.0
_REF = re.compile(rf"(?:{'|'.join(KINDS)})/[0-9a-f]{{64}}")
_TRAINED_FROM = ("model", "layer", "views")
"""Kinds whose inputs are needed, too; not rows, whose inputs are rows with what was removed since."""


@dataclass(frozen=True, slots=True)
class Garbage:
    """What can be removed from a store.

    Attributes:
        refs: folders, releases first, so that no release is left that refers to a missing folder.
        work: folders with checkpoints of interrupted work.
        freed: bytes in all of these.
        kept: releases that stay.
    """

    refs: tuple[Ref, ...]
    work: tuple[Path, ...]
    freed: int
    kept: tuple[Ref, ...]


def clean(store: Store, *, keep: int = KEEP, hours: float = HOURS, dry_run: bool = False, wait: float = 0) -> Garbage:
    """Remove what no release needs, and return it.

    Args:
        store: to be cleaned.
        keep: releases of each collection that stay, the newest; those in service, and those before them, always do.
        hours: folders written in the last hours stay.
        dry_run: remove nothing.
        wait: seconds to wait for each run that is writing.

    Raises:
        BusyError: a run is writing.
        CorruptError: what is in service cannot be read, so its parts are not known.
        StoreError: the store cannot be written.
    """
    found = find(store, keep=keep, hours=hours)
    if dry_run or not (found.refs or found.work):  # nothing is written, so a store that can only be read will do
        return found
    with exclusive(store, wait=wait):
        found = find(store, keep=keep, hours=hours)  # once more, because it may have changed before the lock
        collect(store, found)
    return found


def find(store: Store, *, keep: int = KEEP, hours: float = HOURS) -> Garbage:
    """Find what no release needs; see :func:`clean`, which holds the lock that this takes.

    Raises:
        CorruptError: what is in service cannot be read, so its parts are not known.
    """
    in_service = [registry.resolve(store, name)[1] for name in registry.names(store)]
    kept = dict.fromkeys([*in_service, *_before(store), *_newest(store, keep)])
    needed = {part for ref in kept for part in (ref, *(one for _, one in ReleaseManifest.read(store, ref).parts))}
    needed |= {maps.ref_of(ref) for ref in kept}
    needed |= _reach(store, [part for ref in in_service for _, part in ReleaseManifest.read(store, ref).parts])
    until = time.time() - 3600 * hours
    # Releases first: if this is interrupted, no release is left without its parts.
    everything = [ref for kind in reversed(KINDS) for ref in store.refs(kind)]
    refs = tuple(ref for ref in everything if ref not in needed and _written(store, ref) < until)
    work = tuple(path for path in sorted((store.root / layout.Root.WORK).glob("*")) if _touched(path) < until)
    freed = sum(_bytes(store.root / ref.kind / ref.digest) for ref in refs) + sum(map(_bytes, work))
    return Garbage(refs, work, freed, tuple(kept))


@contextmanager
def exclusive(store: Store, *, wait: float = 0) -> Iterator[None]:
    """Hold the locks of all collections, so that no run writes.

    Those of some collections would not do: a run takes what an earlier one of another collection has made, where the
    inputs are the same, and nothing tells which folders these are before the run has ended.

    Raises:
        BusyError: a run is writing.
    """
    names = {path.name for path in (store.root / layout.Root.LOCKS).glob("*")} | set(registry.names(store))
    with ExitStack() as held:
        for name in sorted(names):
            held.enter_context(registry.lock(store, name, wait=wait))
        yield


def collect(store: Store, garbage: Garbage) -> None:
    """Remove garbage; whoever holds a release open can still read it.

    Raises:
        StoreError: the store cannot be written.
    """
    for ref in garbage.refs:
        if ref.kind == "release":
            _keep_ids(store, ref)
        store.remove(ref)
    for path in garbage.work:
        shutil.rmtree(path, ignore_errors=True)


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
    when = {Ref("release", event.after): event.when for event in registry.history(store)}
    by_name: dict[str, list[tuple[str, int, Ref]]] = {}
    for number, ref in enumerate(store.refs("release")):
        try:
            name, created = ReleaseManifest.read(store, ref).name, store.manifest(ref).created
        except StoreError:
            continue  # damaged and not in service, so nobody needs it
        by_name.setdefault(name, []).append((when.get(ref, created), number, ref))
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


def _written(store: Store, ref: Ref) -> float:
    """Return when a folder was written, in seconds since the epoch."""
    return (store.root / ref.kind / ref.digest / layout.MANIFEST).stat().st_mtime


def _touched(folder: Path) -> float:
    """Return when anything in a folder was last written, in seconds since the epoch."""
    return max(path.stat().st_mtime for path in (folder, *folder.rglob("*")))


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
