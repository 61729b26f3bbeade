"""The collections of a store: list them, give one another name, remove one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from aepipe.errors import NotFoundError, QueryError, StoreError
from aepipe.recipe import name_refusal
from aepipe.release import gc
from aepipe.release.manifest import ReleaseManifest
from aepipe.release.origin import recipe_file_of
from aepipe.store import layout, names, registry
from aepipe.store.artifacts import KINDS, Ref, Store
from aepipe.store.io import disk_errors_named

_REF = re.compile(rf"(?:{'|'.join(KINDS)})/[0-9a-f]{{64}}")


@dataclass(frozen=True, slots=True)
class Listed:
    """A collection of a store.

    Attributes:
        name: of the collection.
        kind: of its items; empty where it cannot be read.
        rows: in service; None where none is.
        n_bits: of a code.
        releases: that the store has of it.
        since: when the one in service went there, in ISO 8601; empty where that is not known.
        source: where its items are.
        release: in service, or the newest.
        in_service: whether one is.
        store: the folder or address of the store that it is in.
    """

    name: str
    kind: str
    rows: int | None
    n_bits: int | None
    releases: int
    since: str
    source: str
    release: str
    in_service: bool
    store: str


@dataclass(frozen=True, slots=True)
class Dropped:
    """What goes with a collection.

    Attributes:
        name: of the collection.
        rows: in service; None where none is, or it cannot be read.
        releases: all of it.
        refs: folders that only it needs, releases first.
        freed: bytes in these.
    """

    name: str
    rows: int | None
    releases: tuple[Ref, ...]
    refs: tuple[Ref, ...]
    freed: int


def listed(store: Store) -> list[Listed]:
    """Return the collections of a store by name; those that nothing is in service of come last."""
    own = _releases(store)
    served = registry.names(store)
    return [_listed(store, name, own.get(name, [])) for name in [*served, *sorted(own.keys() - set(served))]]


def rename(store: Store, name: str, new: str, *, wait: float = 0) -> Ref | None:
    """Give a collection another name; ids, log, releases and the one in service stay.

    A renaming that was interrupted is completed by the same call.

    Args:
        store: where it is.
        name: that it has.
        new: that it gets.
        wait: seconds to wait for a run that is writing.

    Returns:
        The release in service; None where none is.

    Raises:
        NotFoundError: there is no such collection.
        QueryError: the new name is none, or another collection has it.
        BusyError: a run is writing under one of the names.
    """
    old, new = registry.tidy_name(name), registry.tidy_name(new)
    if refusal := name_refusal(new):
        raise QueryError(f"{new!r} is no name: {refusal}")
    if old == new:
        raise QueryError(f"{old}: that is its name already")
    first, second = sorted((old, new))
    with registry.lock(store, first, wait=wait), registry.lock(store, second, wait=wait):
        return _rename(store, old, new)


def drop(store: Store, name: str, *, dry_run: bool = False, wait: float = 0) -> Dropped:
    """Remove a collection, its releases, and every artifact that no other collection needs.

    Args:
        store: where it is.
        name: of the collection.
        dry_run: remove nothing.
        wait: seconds to wait for each run that is writing.

    Raises:
        NotFoundError: there is no such collection.
        BusyError: a run is writing; what it is going to need is not known.
        CorruptError: what another collection has in service cannot be read, so its parts are not known.
    """
    name = registry.tidy_name(name)
    if dry_run:
        return _dropped(store, name)
    _dropped(store, name)  # before anything is made for a name that there is not
    with gc.exclusive(store, wait=wait):
        found = _dropped(store, name)
        _drop(store, found)
    return found


def mentions(store: Store, release: Ref | None, old: str, new: str) -> str:
    """Return where the old name stands, and what to write there; empty if that is not known."""
    file = recipe_file_of(store, release) if release else ""
    return f'{file}: write name = "{new}" in place of "{old}"' if file else ""


def _releases(store: Store) -> dict[str, list[Ref]]:
    """Return the releases of each collection, the oldest first."""
    renamed, found = names.given(store), dict[str, list[Ref]]()
    for ref in store.refs("release"):
        with suppress(StoreError):
            name = renamed.get(ref.digest) or store.manifest(ref).facts.get("name")
            if name:
                found.setdefault(str(name), []).append(ref)
    return found


def _listed(store: Store, name: str, own: list[Ref]) -> Listed:
    now: Ref | None = None
    with suppress(StoreError):
        now = registry.current(store, name)
    shown = now or (own[-1] if own else None)
    made: ReleaseManifest | None = None
    with suppress(StoreError):
        made = ReleaseManifest.read(store, shown) if shown else None
    source = made.recipe.get("source", {}) if made else {}
    when = [event.when for event in registry.history(store, name) if now and event.after == now.digest]
    return Listed(
        name=name,
        kind=str(source.get("kind", "")),
        rows=made.n_rows if made and now else None,
        n_bits=made.n_bits if made else None,
        releases=len(own),
        since=when[-1] if when else "",
        source=str(source.get("options", {}).get("path", "")),
        release=shown.digest if shown else "",
        in_service=now is not None,
        store=store.address,
    )


def _rename(store: Store, old: str, new: str) -> Ref | None:
    """Rename, both names locked: the releases first, the old name last, so that every step can be taken again."""
    own = _releases(store)
    now, there = (registry.current(store, one) for one in (old, new))
    begun = there is not None and there == now
    moved = [ref for ref in own.get(new, []) if begun or ref == now]
    if now is None and old not in own:
        raise NotFoundError(_none(store, old, own))
    if (there and not begun) or (own.get(new) and not moved):
        raise QueryError(f"{new}: another collection of the store has that name; `aepipe list` shows all")
    recorded = {ref: store.manifest(ref).facts.get("name") for ref in own.get(old, [])}
    names.give(store, {ref.digest: None if name == new else new for ref, name in recorded.items()})
    with disk_errors_named(store.root):
        _move_id(store, old, new)
        if now is not None:
            store.backend.write(f"{layout.Root.SERVICE}/{new}", f"{now.digest}\n".encode())
        digest = now.digest if now else ""
        registry.log(store, registry.Event(_now(), new, registry.RENAME, digest, digest, f"it was {old}", was=old))
        store.backend.delete(f"{layout.Root.SERVICE}/{old}")
        store.backend.delete(f"{layout.Root.IDS}/{old}")
        for before, after in zip(_notes(old), _notes(new), strict=True):
            store.backend.move(before, after)
        for shown in _shown(old):
            store.backend.delete(shown)
    return now


def _move_id(store: Store, old: str, new: str) -> None:
    """Let a name know which ids the other has given."""
    given = max(registry.next_id(store, old), registry.next_id(store, new))
    if given:
        store.backend.write(f"{layout.Root.IDS}/{new}", f"{given}\n".encode())


def _notes(name: str) -> list[str]:
    """Return what tells of the last run and addition of a collection, and the marks of its hits."""
    return [
        layout.Root.reading(name),
        layout.Root.stamps(name),
        layout.Root.feedback(name),
        layout.Root.uploads(name),
        *(layout.Root.quarantine(one) for one in (name, f"{name}-added")),
    ]


def _shown(name: str) -> list[str]:
    """Return the files that have the name of a collection in them; a run writes them."""
    return [layout.Root.metrics(name), layout.Root.report(name), layout.Root.chart(name)]


def _dropped(store: Store, name: str) -> Dropped:
    """Find what only one collection needs.

    Raises:
        NotFoundError: there is no such collection.
    """
    own = _releases(store)
    now: Ref | None = None
    with suppress(StoreError):
        now = registry.current(store, name)
    mine = dict.fromkeys([*own.get(name, []), *([now] if now and store.has(now) else [])])
    if not mine and name not in registry.names(store):
        raise NotFoundError(_none(store, name, own))
    others = [ref for other, refs in own.items() if other != name for ref in refs if ref not in mine]
    others += [ref for other in registry.names(store) if other != name for ref in [registry.resolve(store, other)[1]]]
    graph = _graph(store)
    needed = _reach(graph, others)
    # Rows that the last run of another collection got are its own, also before it has a release.
    read = [ref for other in _readers(store) if other != name for ref in _reading(store, other)]
    needed |= _reach(graph, read) | _reach(_turned(graph), [ref for ref in read if ref not in _reach(graph, mine)])
    gone = (_reach(graph, mine) | set(mine)) - needed
    gone |= {ref for ref in _reach(_turned(graph), gone) if ref not in needed and ref.kind != "release"}
    order = {kind: place for place, kind in enumerate(reversed(KINDS))}
    refs = tuple(sorted((ref for ref in gone if store.has(ref)), key=lambda ref: (order[ref.kind], ref.digest)))
    rows = next((_rows(store, ref) for ref in (now, *mine) if ref), None)
    freed = sum(map(store.size, refs))
    return Dropped(name, rows, tuple(mine), refs, freed)


def _drop(store: Store, found: Dropped) -> None:
    """Remove a collection: first its name, so that nobody asks it meanwhile, then what it needed."""
    with disk_errors_named(store.root):
        now: Ref | None = None
        with suppress(StoreError):
            now = registry.current(store, found.name)
        event = registry.Event(_now(), found.name, registry.DROP, now.digest if now else "", "", "dropped")
        store.backend.delete(f"{layout.Root.SERVICE}/{found.name}")
        registry.log(store, event)
        for ref in found.refs:
            store.remove(ref)
            store.work_done(ref)
        names.give(store, dict.fromkeys(ref.digest for ref in found.releases))
        for file in (*_notes(found.name), *_shown(found.name), f"{layout.Root.IDS}/{found.name}"):
            store.backend.delete(file)
        store.backend.sweep()


Graph = dict[Ref, set[Ref]]
"""For each artifact those that it refers to."""


def _graph(store: Store) -> Graph:
    """Return what each artifact was made of; one that cannot be read is made of nothing that is known."""
    found: Graph = {}
    for kind in KINDS:
        for ref in store.refs(kind):
            found[ref] = set()
            with suppress(StoreError):
                made = store.manifest(ref)
                said = f"{made.inputs} {made.facts.get('readings', '')}"
                found[ref] = {Ref.parse(text) for text in _REF.findall(said)}
    return found


def _turned(graph: Graph) -> Graph:
    """Return for each artifact those that refer to it."""
    found: Graph = {ref: set() for ref in graph}
    for ref, parts in graph.items():
        for part in parts:
            found.setdefault(part, set()).add(ref)
    return found


def _reach(graph: Graph, refs: Iterable[Ref]) -> set[Ref]:
    """Return artifacts, those that they refer to, and so on."""
    found, ahead = set[Ref](), list(refs)
    while ahead:
        ref = ahead.pop()
        if ref not in found:
            found.add(ref)
            ahead += graph.get(ref, ())
    return found


def _readers(store: Store) -> Iterator[str]:
    """Yield the collections whose last run left a note of what it read."""
    before, after = layout.Root.reading("*").split("*")
    for file in store.backend.names("", layout.Root.reading("*")):
        yield file.removeprefix(before).removesuffix(after)


def _reading(store: Store, name: str) -> list[Ref]:
    """Return the rows that the last run of a collection got."""
    try:
        text = store.backend.read(layout.Root.reading(name)).decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return []
    return [Ref.parse(found) for found in _REF.findall(text)]


def _rows(store: Store, release: Ref) -> int | None:
    try:
        return ReleaseManifest.read(store, release).n_rows
    except StoreError:
        return None


def _none(store: Store, name: str, own: Iterable[str]) -> str:
    known = ", ".join(dict.fromkeys([*registry.names(store), *sorted(own)])) or "none"
    other = registry.renamed(store, name)
    why = f"it was renamed to {other}" if other else f"there are: {known}"
    return f"{name}: no such collection in {store.address}; {why}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
