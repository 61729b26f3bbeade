"""What of a shelf nobody needs any more.

Needed is whatever a release refers to that is in service, that a rollback would go back to, or that is among the newest
of its collection; of releases in service also what their model was trained from, so that the next run finds it. What
is young is left alone: a run under way, or a study, may just have written it.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from aepipe.errors import NotFoundError, StoreError
from aepipe.release.manifest import ReleaseManifest
from aepipe.store import layout, registry
from aepipe.store.artifacts import KINDS, Ref, Store

KEEP = 7
HOURS = 24.0
_REF = re.compile(rf"(?:{'|'.join(KINDS)})/[0-9a-f]{{64}}")
_TRAINED_FROM = ("model", "layer", "views")
"""Kinds from which one goes on to what they were made from; of rows, that would be those that were removed since."""


@dataclass(frozen=True, slots=True)
class Garbage:
    """What can go.

    Attributes:
        refs: directories of the shelf, releases first, so that none is left that refers to what is gone.
        work: folders with checkpoints of work that nobody went on with.
        freed: bytes in all of them.
        kept: releases that stay.
    """

    refs: tuple[Ref, ...]
    work: tuple[Path, ...]
    freed: int
    kept: tuple[Ref, ...]


def find(store: Store, *, keep: int = KEEP, hours: float = HOURS) -> Garbage:
    """Find what can go.

    Args:
        store: the shelf.
        keep: releases of each collection that stay, the newest; those in service, and those before them, always do.
        hours: what was written since stays.

    Raises:
        CorruptError: what is in service cannot be read, so what it refers to is not known.
    """
    in_service = [registry.resolve(store, name)[1] for name in registry.names(store)]
    kept = dict.fromkeys([*in_service, *_before(store), *_newest(store, keep)])
    needed = {part for ref in kept for part in (ref, *(one for _, one in ReleaseManifest.read(store, ref).parts))}
    needed |= _reach(store, [part for ref in in_service for _, part in ReleaseManifest.read(store, ref).parts])
    until = time.time() - 3600 * hours
    everything = [ref for kind in reversed(KINDS) for ref in store.refs(kind)]
    refs = tuple(ref for ref in everything if ref not in needed and _written(store, ref) < until)
    work = tuple(path for path in sorted((store.root / layout.Root.WORK).glob("*")) if _touched(path) < until)
    freed = sum(_bytes(store.root / ref.kind / ref.digest) for ref in refs) + sum(map(_bytes, work))
    return Garbage(refs, work, freed, tuple(kept))


@contextmanager
def exclusive(store: Store) -> Iterator[None]:
    """Keep every collection from being written to.

    Raises:
        BusyError: a run is writing.
    """
    names = {path.name for path in (store.root / layout.Root.LOCKS).glob("*")} | set(registry.names(store))
    with ExitStack() as held:
        for name in sorted(names):
            held.enter_context(registry.lock(store, name))
        yield


def collect(store: Store, garbage: Garbage) -> None:
    """Remove what can go; whoever holds an open release goes on reading it.

    Raises:
        StoreError: the shelf cannot be written.
    """
    for ref in garbage.refs:
        store.remove(ref)
    for path in garbage.work:
        shutil.rmtree(path, ignore_errors=True)


def _before(store: Store) -> Iterator[Ref]:
    """Give the releases that a rollback would put into service, where they are still there."""
    for name in registry.names(store):
        try:
            ref = registry.previous(store, name)
        except NotFoundError:
            continue
        if store.has(ref):
            yield ref


def _newest(store: Store, keep: int) -> Iterator[Ref]:
    """Give the newest releases of each collection: by when they last went into service, else by when they were made."""
    when = {Ref("release", event.after): event.when for event in registry.history(store)}
    by_name: dict[str, list[tuple[str, int, Ref]]] = {}
    for number, ref in enumerate(store.refs("release")):
        try:
            name, created = ReleaseManifest.read(store, ref).name, store.manifest(ref).created
        except StoreError:
            continue  # not in service, and of no use to anyone
        by_name.setdefault(name, []).append((when.get(ref, created), number, ref))
    for dated in by_name.values():
        yield from (ref for *_, ref in sorted(dated)[-keep:])


def _reach(store: Store, refs: Iterable[Ref]) -> set[Ref]:
    """Return some directories and those that they were trained from, as far as that leads."""
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
    """Return when a directory was written, seconds since the epoch."""
    return (store.root / ref.kind / ref.digest / layout.MANIFEST).stat().st_mtime


def _touched(folder: Path) -> float:
    """Return when anything in a folder was last written, seconds since the epoch."""
    return max(path.stat().st_mtime for path in (folder, *folder.rglob("*")))


def _bytes(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
