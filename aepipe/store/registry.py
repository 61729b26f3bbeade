"""Registry: the release in service of each name, and a log of every change.

::

    <root>/service/<name>   one line: the digest of the release that answers queries
    <root>/ids/<name>       one line: the smallest id that was never given; it only grows
    <root>/log.jsonl        every promote, rollback and refusal: when, name, action, from, to, why
    <root>/locks/<name>     locked while a run writes under that name

These are the only files of a store that ever change. A reader resolves the name once, and then holds an immutable
release.
"""

from __future__ import annotations

import json
import logging
import time
import unicodedata
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import takewhile
from math import inf

from aepipe.errors import BusyError, CorruptError, NotFoundError, StoreError, system_words
from aepipe.store import layout
from aepipe.store.artifacts import Manifest, Ref, Store
from aepipe.store.backends.locks import signature
from aepipe.store.names import TRIES
from aepipe.store.names import given as names_given

logger = logging.getLogger(__name__)

REFUSE, RENAME, DROP = "refuse", "rename", "drop"
IN_SERVICE = ("promote", "rollback")
"""Actions that put a release into service."""
WAIT = 600.0
"""Seconds that a night waits for another run of its collection."""
POLL = 0.1
UNNAMED = 1.0
"""Seconds in which a process that has just taken a lock writes who it is; one that lets it go erases that first."""
POLL_UNNAMED = 0.005


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the log.

    Attributes:
        when: time in UTC, ISO 8601.
        name: of the collection.
        action: ``promote``, ``rollback``, or ``refuse``: then ``after`` did not go into service; ``rename``, ``drop``.
        before: digest of the release in service before; empty for the first.
        after: digest of the release that was to go into service.
        why: the reason.
        was: the name before, where it was renamed.
    """

    when: str
    name: str
    action: str
    before: str
    after: str
    why: str
    was: str = ""

    def line(self) -> str:
        """Return the line of the log; older versions know no name before."""
        found = asdict(self)
        return json.dumps(found if self.was else {key: value for key, value in found.items() if key != "was"})


def names(store: Store) -> list[str]:
    """Return the names that have a release in service."""
    return store.backend.names(layout.Root.SERVICE)


def current(store: Store, name: str) -> Ref | None:
    """Return the release in service under a name; None where there is none.

    Raises:
        CorruptError: the service file does not hold a digest.
    """
    file = f"{layout.Root.SERVICE}/{name}"
    try:
        digest = store.backend.read(file).decode("ascii").strip()
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise StoreError(system_words(error)) from None
    except (UnicodeDecodeError, OSError, ValueError):
        digest = ""
    if len(digest) != 64 or set(digest) - set("0123456789abcdef"):
        remedy = "`aepipe promote RELEASE` writes it again"
        raise CorruptError(f"{store.place(file)}: corrupt, not one line with a digest; {remedy}")
    return Ref("release", digest)


def tidy_name(name: str) -> str:
    """Return a name with each accented letter as one, however it was typed (Unicode NFC)."""
    return unicodedata.normalize("NFC", name)


def resolve(store: Store, name: str | None = None) -> tuple[str, Ref]:
    """Return a name and its release in service; without a name, those of the only collection.

    Raises:
        NotFoundError: nothing is in service, or not under that name, or several names are and none was given.
    """
    known = names(store)
    if not known:
        there = [ref.short for ref in store.refs("release")]
        or_one = f"; these are in the store, for `aepipe promote RELEASE`: {', '.join(there[-3:])}" if there else ""
        made = f"`aepipe run RECIPE_OR_FOLDER` makes one{or_one}"
        raise NotFoundError(f"{store.address}: no release is in service; {made}")
    if name is None and len(known) > 1:
        raise NotFoundError(f"several collections are in service, choose one with --name: {', '.join(known)}")
    # Letters with accents may be typed in two ways; a name has one.
    chosen = tidy_name(name) if name else known[0]
    ref = current(store, chosen)
    if ref is None:
        now = renamed(store, chosen)
        why = f"; it was renamed to {now}: --name {now}" if now else f"; these are: {', '.join(known)}"
        raise NotFoundError(f"no release is in service under the name {chosen!r}{why}")
    return chosen, ref


def promote(store: Store, name: str, ref: Ref, *, why: str, action: str = "promote") -> Event:
    """Put a release into service.

    The log is written first, so that every release in service has a line there, even after a crash in between.

    Raises:
        BusyError: another process has put a release into service meanwhile, in spite of the lock.
    """
    try:
        before = current(store, name)
    except CorruptError:  # a damaged file must not prevent its own replacement
        before = None
    when = datetime.now(UTC).isoformat(timespec="seconds")
    event = Event(when, name, action, before.digest if before else "", ref.digest, why)
    line = store.backend.append(layout.Root.LOG, event.line())
    try:
        store.backend.swap(f"{layout.Root.SERVICE}/{name}", f"{ref.digest}\n".encode())
    except BusyError:
        store.backend.retract(line)
        raise
    keep_next_id(store, name, ref)
    return event


def is_current(store: Store, name: str, ref: Ref) -> bool:
    """Say whether a release is in service under a name; a damaged file names none."""
    try:
        return current(store, name) == ref
    except CorruptError:
        return False


def unchanged(name: str, ref: Ref, why: str) -> Event:
    """Return the event of a promotion that changes nothing; it is in no log."""
    return Event(datetime.now(UTC).isoformat(timespec="seconds"), name, "promote", ref.digest, ref.digest, why)


def next_id(store: Store, name: str) -> int:
    """Return the smallest id that a collection never gave; 0 without the file of it.

    Raises:
        CorruptError: the file does not hold a number.
    """
    file = f"{layout.Root.IDS}/{name}"
    try:
        return int(store.backend.read(file).decode("ascii"))
    except FileNotFoundError:
        return 0
    except PermissionError as error:
        raise StoreError(system_words(error)) from None
    except (ValueError, OSError):
        raise CorruptError(
            f"{store.place(file)}: corrupt, not one line with a number; write the highest id ever given plus one there"
        ) from None


def keep_next_id(store: Store, name: str, release: Ref) -> None:
    """Remember which ids a release has given, so that they are not given again when it is gone."""
    try:
        given = int(store.manifest(release).facts.get("next_id", 0))
    except StoreError:  # a release that cannot be read gives no ids
        return
    for left in reversed(range(TRIES)):
        try:
            if given > next_id(store, name):
                store.backend.swap(f"{layout.Root.IDS}/{name}", f"{given}\n".encode())
            return
        except BusyError:  # another process has kept one at this moment
            if not left:
                raise


def previous(store: Store, name: str) -> Ref:
    """Return the release to roll back to.

    Promotions build a stack and rollbacks take from it, so repeated rollbacks end at the first release. Where the
    log has lost its beginning, the releases in the store stand for it, in the order of their making.

    Raises:
        NotFoundError: nothing is in service, or there was no release before.
    """
    now = resolve(store, name)[1]
    events = history(store, name)
    stack: list[str] = []
    before = stack
    for event in events:
        # A crash may prevent a logged change; the next line then starts from the release before it.
        if event.before and stack[-1:] != [event.before]:
            stack = before if before[-1:] == [event.before] else [event.before]
        before, stack = stack, _stacked(stack, event)
    if stack[-1:] != [now.digest]:
        stack = before
    if len(stack) < 2 or stack[-1] != now.digest:
        if name in unlogged(store):
            oldest = now if stack[-1:] != [now.digest] else Ref("release", stack[0])
            older = list(takewhile(lambda ref: ref != oldest, made(store, name)))
            if older:
                return older[-1]
        raise NotFoundError(f"{name}: there is no release before {now.short}; `aepipe history` lists what there was")
    return Ref("release", stack[-2])


def made(store: Store, name: str) -> list[Ref]:
    """Return the releases of a collection that can be read, the oldest first."""
    found = [(one.created, number, ref) for number, (ref, one) in enumerate(releases(store, name))]
    return [ref for *_, ref in sorted(found)]


def releases(store: Store, name: str) -> Iterator[tuple[Ref, Manifest]]:
    """Yield the releases of a collection that can be read, with their manifests."""
    renamed = names_given(store)
    for ref in store.refs("release"):
        with suppress(StoreError):
            found = store.manifest(ref)
            if renamed.get(ref.digest, found.facts.get("name")) == name:
                yield ref, found


def unlogged(store: Store) -> list[str]:
    """Return the names whose lines the log has lost: that in service, or the first ones."""
    events = history(store)
    first: dict[str, Event] = {}
    for event in events:
        first.setdefault(event.name, event)
    logged = {(event.name, event.after) for event in events}
    found = []
    for name in names(store):
        with suppress(StoreError):
            ref = current(store, name)
            torn = ref is not None and (name, ref.digest) not in logged
            found += [name] if torn or (name in first and first[name].before) else []
    return found


def accepted(store: Store, name: str) -> bool:
    """Say whether a log that lost its beginning has the release in service again."""
    return any(event.before == event.after for event in history(store, name))


def refuse(store: Store, name: str, ref: Ref, *, why: str) -> None:
    """Log that the gate refused a release.

    The same refusal is logged once, even if it happens every night.
    """
    last = next((event for event in reversed(history(store, name, refused=True)) if event.after == ref.digest), None)
    if last is not None and (last.action, last.why) == (REFUSE, why):
        return
    before = current(store, name)
    when = datetime.now(UTC).isoformat(timespec="seconds")
    log(store, Event(when, name, REFUSE, before.digest if before else "", ref.digest, why))


def log(store: Store, event: Event) -> None:
    """Append an event to the log."""
    store.backend.append(layout.Root.LOG, event.line())


def history(store: Store, name: str | None = None, *, refused: bool = False, dropped: bool = False) -> list[Event]:
    """Return the changes of the releases in service, oldest first; a torn line is skipped.

    A collection that was renamed has the lines under its name before, too, with its present name.

    Args:
        store: the store.
        name: of one collection; None for all.
        refused: also return refusals and renamings, which changed nothing in service.
        dropped: also return the lines of collections that were dropped.
    """
    found: list[Event] = []
    for event in _events(store):
        if event.action == RENAME:
            found = [replace(one, name=event.name) if one.name == event.was else one for one in found]
        elif event.action == DROP and not dropped:
            found = [one for one in found if one.name != event.name]
            continue
        found.append(event)
    wanted = None if name is None else tidy_name(name)
    kept = (DROP, REFUSE, RENAME) if refused else (DROP,)
    return [one for one in found if wanted in {None, one.name} and (one.action in kept or one.action in IN_SERVICE)]


def renamed(store: Store, name: str) -> str:
    """Return the present name of the collection that had this one; empty if there is none."""
    found = ""
    for event in _events(store):
        if event.action == RENAME and event.was == (found or name):
            found = event.name
        elif event.name == name and event.action != REFUSE:
            found = ""
    return found if found in names(store) else ""


@contextmanager
def lock(store: Store, name: str, *, wait: float = 0) -> Iterator[None]:
    """Lock a name for writing; the kernel releases the lock when the process ends, in any way.

    Args:
        store: that is written to.
        name: of the collection.
        wait: seconds to wait for another process; one line of the log says for which.

    Raises:
        BusyError: another process holds the lock, and still does after that time.
        StoreError: this user may not write to the store.
    """
    with closing(store.backend.lock(name)) as one:
        begun = time.monotonic()
        until = begun + wait
        said = not wait
        while not one.taken():
            holder = one.holder()
            if not holder and time.monotonic() - begun < UNNAMED:
                time.sleep(POLL_UNNAMED)
                continue
            holder = holder or "another process"
            if not said:
                logger.warning("%s: waiting at most %.0f s for the run that is writing (%s)", name, wait, holder)
                said = True
            left = until - time.monotonic()
            if left <= 0:
                raise BusyError(f"{name}: another run is writing to {store.address} ({holder}); wait for its end")
            time.sleep(min(POLL, left))
        one.sign(signature())
        try:
            yield
        finally:
            one.release()


def writing_since(store: Store) -> float:
    """Return when the first process that writes to a store now began, in seconds since 1970.

    Returns:
        Infinity where none writes; 0 where somebody does, and it is not known since when.

    Raises:
        StoreError: a lock cannot be read.
    """
    return min(store.backend.writers(), default=inf)


def _stacked(stack: list[str], event: Event) -> list[str]:
    # A promotion adds to the top; a rollback removes all that is above its release.
    if event.action == "rollback" and event.after in stack:
        return stack[: len(stack) - stack[::-1].index(event.after)]
    return stack if stack[-1:] == [event.after] else [*stack, event.after]


def _events(store: Store) -> list[Event]:
    """Return the lines of the log as they were written."""
    try:
        lines = store.backend.lines(layout.Root.LOG)
    except OSError as error:
        file = store.place(layout.Root.LOG)
        raise StoreError(
            f"{file}: the log cannot be read ({error.strerror}); it is a file of text, which may also be missing"
        ) from None
    return [event for line in lines if (event := _event(line)) is not None]


def _event(line: str) -> Event | None:
    try:
        return Event(**json.loads(line))
    except (ValueError, TypeError):  # a crash cut the line off
        return None
