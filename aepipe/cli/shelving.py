"""Releases by the first characters of their digest, into service and back, and checked byte by byte."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from aepipe import release as releases
from aepipe import service, verification
from aepipe.errors import CorruptError, NotFoundError, QueryError, StoreError
from aepipe.store import KINDS, Ref, Store


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
        return service.resolve(store, name)[1]
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
    if text is None and name is None and service.names(store):
        return [service.resolve(store, known)[1] for known in service.names(store)]
    return [find(store, text, name)]


def put_into_service(store: Store, text: str, *, why: str) -> service.Event:
    """Verify a release and put it into service under its own name.

    Raises:
        NotFoundError: there is no such release.
        CorruptError: it is damaged.
        BusyError: a run is writing under that name.
    """
    ref = find(store, text)
    verification.verify(store, ref)
    name = releases.Release.open(store, ref=ref).name
    with service.lock(store, name):
        return service.promote(store, name, ref, why=why)


def roll_back(store: Store, name: str | None, *, why: str) -> service.Event:
    """Verify the release before the present one and put it back into service.

    Raises:
        NotFoundError: there was none before.
        CorruptError: it is damaged.
        BusyError: a run is writing under that name.
    """
    chosen, _ = service.resolve(store, name)
    with service.lock(store, chosen):
        ref = service.previous(store, chosen)
        verification.verify(store, ref)
        return service.promote(store, chosen, ref, why=why, action="rollback")


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
