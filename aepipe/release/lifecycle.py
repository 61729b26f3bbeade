"""What is still as it was written: a release read to its last byte, and the newest one that is whole."""

# (from shelving.py) Releases by the first characters of their digest, into service and back, and checked byte by byte.

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from aepipe.errors import CorruptError, NotFoundError, QueryError, StoreError
from aepipe.log import step
from aepipe.release import release as releases
from aepipe.release.manifest import ReleaseManifest, part_folder
from aepipe.release.release import Release
from aepipe.store import registry
from aepipe.store.artifacts import KINDS, Ref, Store


def verify(store: Store, ref: Ref) -> list[Ref]:
    """Read every byte of a release and of all that it refers to, the rows included, and return what was read.

    Raises:
        NotFoundError: there is no such release.
        CorruptError: a file is missing or is not what was written; the text names it.
        FingerprintError: a part was made by another encoder.
    """
    fresh = Store(store.root)  # the given one may remember what it has read before
    checked = [ref]
    parts = ReleaseManifest.read(fresh, ref).parts
    for what, part in parts:
        part_folder(fresh, ref, part)
        fresh.verified(part)
        checked.append(part)
        step("verify", len(checked), len(parts) + 1, what)
    release = Release.open(fresh, ref=ref)
    release.encoder, release.index, release.items  # noqa: B018  each checks itself when it is opened
    return checked


def next_id(store: Store, name: str) -> int:
    """Return the first id that no row of a collection ever had, so far as the shelf remembers.

    A release that was rolled back has given ids, too.
    """
    given = [0]
    for event in registry.history(store, name):
        try:
            given.append(int(store.manifest(Ref("release", event.after)).facts.get("next_id", 0)))
        except StoreError:
            continue
    return max(given)


def last_sound(store: Store, name: str) -> Release | None:
    """Return the newest release ever in service under a name that is still whole, its rows too; None without any.

    A new run goes on from it: its ids stay, and the gate compares with it. It is the release in service, unless that is
    damaged.
    """
    for event in reversed(registry.history(store, name)):
        try:
            release = Release.open(store, ref=Ref("release", event.after))
            store.path(release.part("rows"))
        except StoreError:
            continue
        return release
    return None


@dataclass(frozen=True, slots=True)
class Checked:
    """What was read, and what of it is not what was written.

    Attributes:
        folders: looked at.
        read: bytes in those that are sound.
        damage: a line for each folder that is not.
    """

    folders: int
    read: int
    damage: tuple[str, ...]


def find(store: Store, text: str | None, name: str | None = None) -> Ref:
    """Return the release whose digest starts with a text; without a text, the one in service.

    Raises:
        NotFoundError: there is none.
        QueryError: there are several.
    """
    if text is None:
        return registry.resolve(store, name)[1]
    found = [ref for ref in store.refs("release") if ref.digest.startswith(text.removeprefix("release/").lower())]
    if not found:
        known = ", ".join(ref.short for ref in store.refs("release")) or "none"
        raise NotFoundError(f"no release starts with {text!r}; on the shelf {store.root}: {known}")
    if len(found) > 1:
        raise QueryError(f"several releases start with {text!r}: {', '.join(ref.digest[:16] for ref in found)}")
    return found[0]


def wanted(store: Store, text: str | None, name: str | None) -> list[Ref]:
    """Return one release where one is named, else all in service.

    Raises:
        NotFoundError: there is none.
        QueryError: several start with that text.
    """
    if text is None and name is None and registry.names(store):
        return [registry.resolve(store, known)[1] for known in registry.names(store)]
    return [find(store, text, name)]


def put_into_service(store: Store, text: str, *, why: str) -> registry.Event:
    """Verify a release and put it into service under its own name.

    Raises:
        NotFoundError: there is no such release.
        CorruptError: it is damaged.
        BusyError: a run is writing under that name.
    """
    ref = find(store, text)
    verify(store, ref)
    name = releases.Release.open(store, ref=ref).name
    with registry.lock(store, name):
        return registry.promote(store, name, ref, why=why)


def roll_back(store: Store, name: str | None, *, why: str) -> registry.Event:
    """Verify the release before the present one and put it back into service.

    Raises:
        NotFoundError: there was none before.
        CorruptError: it is damaged.
        BusyError: a run is writing under that name.
    """
    chosen, _ = registry.resolve(store, name)
    with registry.lock(store, chosen):
        ref = registry.previous(store, chosen)
        verify(store, ref)
        return registry.promote(store, chosen, ref, why=why, action="rollback")


def check_release(store: Store, ref: Ref) -> Checked:
    """Read every byte of a release and of all that it refers to, past the first damage.

    Raises:
        NotFoundError: there is no such release.
        CorruptError: its own folder is damaged, so that its parts are not known.
        FingerprintError: a part was made by another encoder.
    """
    opened = releases.Release.open(store, ref=ref)
    found = check(store, [ref, *(part for _, part in opened.parts)])
    return found if found.damage else Checked(found.folders, found.read, tuple(_opens(store, ref)))


def check_all(store: Store) -> Checked:
    """Read every byte that lies on a shelf."""
    return check(store, [ref for kind in KINDS for ref in store.refs(kind)])


def check(store: Store, refs: Iterable[Ref]) -> Checked:
    """Read every byte of some folders."""
    fresh = Store(store.root)  # the given one may remember what it has read before
    folders, read, damage = 0, 0, []
    for ref in refs:
        folders += 1
        try:
            fresh.verified(ref)
            read += sum(int(sealed["bytes"]) for sealed in fresh.manifest(ref).outputs.values())
        except StoreError as error:
            damage.append(str(error))
    return Checked(folders, read, tuple(damage))


def _opens(store: Store, ref: Ref) -> list[str]:
    """Open what bytes alone do not tell of, and return what is wrong."""
    try:
        opened = releases.Release.open(store, ref=ref)
        opened.encoder, opened.index  # noqa: B018  both check themselves when opened
    except CorruptError as error:
        return [str(error)]
    return []
