"""What is still as it was written: a release read to its last byte, and the newest one that is whole."""

from __future__ import annotations

from aepipe import service
from aepipe.errors import StoreError
from aepipe.parts import parts_of, read_body, whole
from aepipe.progress import step
from aepipe.release import Release
from aepipe.store import Ref, Store


def verify(store: Store, ref: Ref) -> list[Ref]:
    """Read every byte of a release and of all that it refers to, the rows included, and return what was read.

    Raises:
        NotFoundError: there is no such release.
        CorruptError: a file is missing or is not what was written; the text names it.
        FingerprintError: a part was made by another encoder.
    """
    fresh = Store(store.root)  # the given one may remember what it has read before
    checked = [ref]
    parts = parts_of(read_body(fresh, ref))
    for what, part in parts:
        whole(fresh, ref, part)
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
    for event in service.history(store, name):
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
    for event in reversed(service.history(store, name)):
        try:
            release = Release.open(store, ref=Ref("release", event.after))
            store.path(release.part("rows"))
        except StoreError:
            continue
        return release
    return None
