"""Find a release by its digest prefix; promote it, roll back, list history, verify bytes.

Promotion and rollback read the whole release first: a query would take a flipped bit for an answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial

from aepipe.errors import AepipeError, CorruptError, NotFoundError, QueryError, StoreError
from aepipe.log import step
from aepipe.release.manifest import MENDED_BY, ReleaseManifest, opened_part
from aepipe.release.release import Release
from aepipe.store import names, registry
from aepipe.store.artifacts import KINDS, Ref, Store
from aepipe.store.registry import Event


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """The result of reading folders of a store to their last byte.

    Attributes:
        folders: how many were read.
        n_bytes: in those that are sound.
        damage: a line for each folder that differs from its manifest.
    """

    folders: int
    n_bytes: int
    damage: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """A promotion, a rollback or a refusal, with the scores of its release.

    Attributes:
        event: when, which release, and why.
        scores: value by metric; empty where the release is no longer in the store.
    """

    event: Event
    scores: Mapping[str, float]


def find(store: Store, text: str | None, name: str | None = None) -> Ref:
    """Return the release whose digest starts with a text; without a text, the one in service.

    Args:
        store: where to look.
        text: the first characters of a digest, also as ``release/<digest>``.
        name: of the collection; needed where no text is given and several are in service.

    Raises:
        NotFoundError: there is no such release.
        QueryError: several releases start with the text, or it is one of another collection.
    """
    if text is None:
        return registry.resolve(store, name)[1]
    found = [ref for ref in store.refs("release") if ref.digest.startswith(text.removeprefix("release/").lower())]
    if not found:
        known = ", ".join(ref.short for ref in store.refs("release")) or "none"
        own = registry.current(store, text) if text in registry.names(store) else None
        meant = f"; {text} is a collection, and its release in service is {own.short}" if own else ""
        raise NotFoundError(f"no release starts with {text!r}; in the store {store.address}: {known}{meant}")
    if len(found) > 1:
        raise QueryError(f"several releases start with {text!r}: {', '.join(ref.digest[:16] for ref in found)}")
    of = names.present(store, found[0], store.manifest(found[0]).facts.get("name") or name or "")
    if name is not None and of != registry.tidy_name(name):
        raise QueryError(f"release {found[0].short} is one of {of}, not of {name}")
    return found[0]


def find_all(store: Store, text: str | None, name: str | None) -> list[Ref]:
    """Return the one release that a text or a name stands for; without either, all in service.

    Raises:
        NotFoundError: there is no such release.
        QueryError: several releases start with the text.
    """
    if text is None and name is None and registry.names(store):
        return [registry.resolve(store, known)[1] for known in registry.names(store)]
    return [find(store, text, name)]


def history(store: Store, name: str | None = None) -> list[HistoryEntry]:
    """Return every promotion, rollback, refusal and renaming, oldest first.

    Args:
        store: where to look.
        name: of one collection; all where it is None.
    """
    return [
        HistoryEntry(event, _scores(store, event))
        for event in registry.history(store, name, refused=True, dropped=True)
    ]


def promote(store: Store, ref: Ref, *, why: str, name: str | None = None, wait: float = 0) -> Event:
    """Verify a release and put it into service under its own name; the gate is not asked.

    Where it is in service already, nothing is written, and both digests of the event are its own.

    Args:
        store: where it is.
        ref: of the release.
        why: the reason, for the log.
        name: of the collection that is meant; None takes any.
        wait: seconds to wait for a run that is writing.

    Raises:
        NotFoundError: there is no such release.
        QueryError: it is one of another collection.
        CorruptError: it is damaged.
        BusyError: a run is writing under that name.
    """
    # Before the lock: it may take minutes, and a release does not change.
    with _still_there(store, ref):
        verify(store, ref)
        own = Release.open(store, ref=ref).name
    if name is not None and own != name:
        raise QueryError(f"release {ref.short} is one of {own}, not of {name}")
    stays = partial(_stays, store, own, ref)
    if stays():  # nothing is written, so a store that can only be read will do
        return registry.unchanged(own, ref, why)
    with registry.lock(store, own, wait=wait):
        if stays():
            return registry.unchanged(own, ref, why)
        mark_used(store, ref)
        return registry.promote(store, own, ref, why=why)


@contextmanager
def _still_there(store: Store, ref: Ref) -> Iterator[None]:
    """Say that a release is not there, in place of what it lacks, where it was removed while it was read."""
    try:
        yield
    except StoreError as error:
        if store.fresh().has(ref):
            raise
        raise NotFoundError(f"release {ref.short} was removed while it was verified: `aepipe list`") from error


def rollback(store: Store, name: str | None = None, *, why: str, wait: float = 0, dry_run: bool = False) -> Event:
    """Verify the release before the present one and put it back into service.

    It works where the present release is damaged, which is when it is needed most.

    Args:
        store: where both are.
        name: of the collection; None for the only one.
        why: the reason, for the log.
        wait: seconds to wait for a run that is writing.
        dry_run: write nothing; the event says what would be done, and has no time.

    Raises:
        NotFoundError: there was none before.
        CorruptError: it is damaged.
        BusyError: a run is writing under that name.
    """
    chosen, now = registry.resolve(store, name)
    if dry_run:
        return Event("", chosen, "rollback", now.digest, _whole_before(store, chosen).digest, why)
    with registry.lock(store, chosen, wait=wait):
        ref = _whole_before(store, chosen)
        mark_used(store, ref)
        return registry.promote(store, chosen, ref, why=why, action="rollback")


def _whole_before(store: Store, name: str) -> Ref:
    """Return the release before the one in service, after reading every byte of it.

    Raises:
        NotFoundError: there was none before, or it is gone.
        CorruptError: it is damaged.
    """
    ref = registry.previous(store, name)
    try:
        verify(store, ref)
    except (NotFoundError, CorruptError) as error:
        why = str(error).replace(MENDED_BY, "`aepipe history` lists the others, and `aepipe promote` takes one")
        raise type(error)(f"{name}: the release before cannot be put back: {why}") from None
    return ref


def mark_used(store: Store, ref: Ref) -> None:
    """Mark a release and its parts as used, so that whoever collects garbage leaves them.

    Raises:
        NotFoundError: one was just removed.
    """
    # The release first: as long as it is not removed, its parts are not.
    for one in (ref, *(part for _, part in ReleaseManifest.read(store, ref).parts)):
        if not store.reuse(one):
            raise NotFoundError(f"{one.kind}/{one.short} of release {ref.short} was just removed from {store.address}")


@contextmanager
def writing(store: Store, name: str, *, wait: float = 0) -> Iterator[Release]:
    """Lock a collection for writing, and open the release in service, which now cannot change.

    Raises:
        NotFoundError: nothing is in service under that name.
        BusyError: another process is writing under it.
    """
    name, _ = registry.resolve(store, name)
    with registry.lock(store, name, wait=wait):
        yield Release.open(store, name)


def check_free(store: Store, name: str, *, wait: float = 0) -> None:
    """Check, before anything is started, that no other process is writing under a name.

    Args:
        store: that is going to be written to.
        name: of the collection.
        wait: seconds to wait for another process.

    Raises:
        BusyError: another one is.
        StoreError: this user may not write to the store.
    """
    with registry.lock(store, name, wait=wait):
        pass


def verify(store: Store, ref: Ref) -> list[Ref]:
    """Read every byte of a release and its parts, up to the first damage; return their refs.

    Raises:
        NotFoundError: there is no such release.
        CorruptError: a file is missing or differs from what was written; the text names it.
        FingerprintError: a part was made by another encoder.
    """
    fresh = store.fresh(reread=True)  # the given one may remember folders that it has read before
    checked = [ref]
    parts = ReleaseManifest.read(fresh, ref).parts
    for what, part in parts:
        opened_part(fresh, ref, part)
        fresh.verified(part)
        checked.append(part)
        step("verify", len(checked), len(parts) + 1, what)
    release = Release.open(fresh, ref=ref)
    release.encoder, release.index, release.items  # noqa: B018  each checks itself when it is opened
    return checked


def check_release(store: Store, ref: Ref) -> VerifyReport:
    """Read every byte of a release and of all its parts, and report all damage.

    Raises:
        NotFoundError: there is no such release.
        CorruptError: its own folder is damaged, so its parts are not known.
        FingerprintError: a part was made by another encoder.
    """
    opened = Release.open(store, ref=ref)
    found = _check(store, [ref, *(part for _, part in opened.parts)])
    if found.damage:
        return found
    try:
        opened.encoder, opened.index  # noqa: B018  both check more than bytes when they are opened
    except CorruptError as error:
        return VerifyReport(found.folders, found.n_bytes, (str(error),))
    return found


def check_all(store: Store) -> VerifyReport:
    """Read every byte of a store, whether a release refers to it or not, and report all damage."""
    return _check(store, [ref for kind in KINDS for ref in store.refs(kind)], with_parts=False)


def next_id(store: Store, name: str) -> int:
    """Return the first id that no row of a collection ever had.

    Releases that were rolled back or refused count, since their ids may have been seen; of those that are gone, the
    store remembers the highest.

    Raises:
        CorruptError: the store's own file cannot be read.
    """
    given = (int(made.facts.get("next_id", 0)) for _, made in registry.releases(store, name))
    return max([registry.next_id(store, name), *given])


def ids_given(store: Store, name: str, since: int) -> dict[str, int]:
    """Return the ids from ``since`` on that releases of a collection gave, by key.

    They are not in the release in service where one after it was rolled back or refused.
    """
    from aepipe.store.rows import Rows

    found: dict[str, int] = {}
    # Most releases gave no such id, and their rows need not be read.
    late = [ref for ref, made in registry.releases(store, name) if made.facts.get("next_id", 0) > since]
    for ref in late:
        with suppress(StoreError):  # of a damaged one, the highest id is known all the same
            for part in (one for what, one in ReleaseManifest.read(store, ref).parts if what == "rows"):
                rows = Rows(store.path(part))
                for one in rows.parts if rows.next_id > since else ():
                    ids = one.ids()
                    pairs = zip(one.keys(), ids.tolist(), strict=True) if (ids >= since).any() else ()
                    found |= {key: given for key, given in pairs if given >= since}
    return found


def last_sound(store: Store, name: str) -> Release | None:
    """Return the newest undamaged release that was in service under a name; None without any.

    A new run continues from it: it keeps its ids, and the gate compares with it. It is the release in service, unless
    that one is damaged. Where the log was lost, the releases of the collection that are in the store stand for it.

    Raises:
        StoreError: the system refused to read one, which may be sound.
    """
    for ref in _once_in_service(store, name):
        try:
            release = Release.open(store, ref=ref)
            store.path(release.part("rows"))  # opening a release does not look at its rows
        except (CorruptError, NotFoundError):
            continue
        return release
    return None


def _stays(store: Store, name: str, ref: Ref) -> bool:
    """Say whether a promotion would change nothing; a log that has lost lines gets a new one."""
    torn = name in registry.unlogged(store) and not registry.accepted(store, name)
    return registry.is_current(store, name, ref) and not torn


def _once_in_service(store: Store, name: str) -> Iterator[Ref]:
    """Yield the releases that were in service, the last first; without a log, those that may have been."""
    with suppress(CorruptError):  # a damaged file names none
        now = registry.current(store, name)
        if now is not None:
            yield now
    events = registry.history(store, name)
    if events:
        yield from (Ref("release", event.after) for event in reversed(events))
    elif name in registry.names(store):  # else nothing was ever in service, and releases were only made
        yield from reversed(registry.made(store, name))


def row_count(count: int) -> str:
    """Return a number of rows in words, for the log of promotions: ``1 row``, ``1,200 rows``."""
    return f"{count:,} row{'' if count == 1 else 's'}"


def _check(store: Store, refs: Iterable[Ref], *, with_parts: bool = True) -> VerifyReport:
    """Read every byte of some folders; the bytes of what one is a list of count with it, or by themselves."""
    fresh = store.fresh(reread=True)  # the given one may remember folders that it has read before
    folders, n_bytes, damage = 0, 0, []
    for ref in refs:
        folders += 1
        try:
            fresh.verified(ref)
            made = [fresh.manifest(one) for one in (ref, *(fresh.parts(ref) if with_parts else ()))]
            n_bytes += sum(int(sealed["bytes"]) for one in made for sealed in one.outputs.values())
        except StoreError as error:
            damage.append(str(error))
    return VerifyReport(folders, n_bytes, tuple(damage))


def _scores(store: Store, event: Event) -> dict[str, float]:
    """Return the scores of the release of an event; none where it cannot be read any more."""
    try:
        scores = Release.open(store, ref=Ref("release", event.after)).scores
    except AepipeError:
        return {}
    ours = (row["metrics"] for row in scores.get("rows", ()) if row["system"] == "ours")
    return {metric: estimate["value"] for metric, estimate in next(ours, {}).items()}
