"""Near-duplicates, releases, the difference of two, and items that could not be read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np

from aepipe.errors import ExtraError, NotFoundError
from aepipe.release import dedup, lifecycle
from aepipe.release.diff import Difference, Neighbours, compare
from aepipe.release.groups import Alike, Groups
from aepipe.release.keep import BEST, Order, marked, order_named
from aepipe.release.release import Release
from aepipe.serve.answers import Item, item_of
from aepipe.serve.catalog import Served
from aepipe.store import layout, registry
from aepipe.store.artifacts import Store

MOST_CHANGED = 10


class Member(Item, kw_only=True):
    """A row of a group of near-duplicates.

    Attributes:
        distance: from the first row of its group: bits, or for copies per cent of details that differ.
        relation: what it is to that row: ``first``, ``identical``, ``edited copy`` or ``alike in content``.
        mark: ``keep`` or ``remove``.
    """

    distance: int
    relation: str
    mark: str


class Duplicates(msgspec.Struct):
    """Groups of rows that are nearly the same, the largest first.

    Attributes:
        release: the digest of the release.
        alike: how rows of a group are alike: ``identical``, ``copies`` or ``content``.
        radius: by which a row may differ from the first of its group: bits, or for copies per cent of details.
        summary: the counts in a sentence.
        total: groups in all.
        removable: rows that would go if one of each group stayed.
        next: for ``after``; null at the end.
        groups: some of them.
    """

    release: str
    alike: str
    radius: int
    summary: str
    total: int
    removable: int
    next: int | None
    groups: list[list[Member]]


class ReleaseEvent(msgspec.Struct):
    """A promotion, a rollback or a refusal.

    Attributes:
        when: UTC, ISO 8601.
        action: ``promote``, ``rollback`` or ``refuse``.
        before, after: digests.
        why: the reason.
        scores: by metric; empty where the release is no longer in the store.
        here: whether the release is still in the store.
    """

    when: str
    action: str
    before: str
    after: str
    why: str
    scores: dict[str, float]
    here: bool


class History(msgspec.Struct):
    """What happened to a collection.

    Attributes:
        release: digest of the release in service.
        events: the newest first.
    """

    release: str
    events: list[ReleaseEvent]


class Changed(msgspec.Struct):
    """A row whose neighbours are others in another release.

    Attributes:
        key: of the row.
        common: share of the neighbours that both have.
        before, after: its neighbours in each.
    """

    key: str
    common: float
    before: list[Item]
    after: list[Item]


class ReleaseDifference(msgspec.Struct):
    """How two releases differ.

    Attributes:
        before, after: digests.
        same_encoder: whether codes of both can be compared.
        lost, gained: share of rows that only one has.
        overlap: mean share of the neighbours that both have.
        interval: half the 95 % interval of that.
        unchanged: share of rows with the same neighbours.
        flips: share of bits that differ; null where codes have different lengths.
        rows: that were compared.
        k: neighbours of each.
        most_changed: rows whose neighbours changed most.
    """

    before: str
    after: str
    same_encoder: bool
    lost: float
    gained: float
    overlap: float
    interval: float
    unchanged: float
    flips: float | None
    rows: int
    k: int
    most_changed: list[Changed]


class Unreadable(msgspec.Struct):
    """Items that could not be read, or files that were passed over, for one reason.

    Attributes:
        what: ``unreadable`` or ``passed over``.
        reason: why.
        count: how many.
        keys: the first of them.
    """

    what: str
    reason: str
    count: int
    keys: list[str]


class Quarantine(msgspec.Struct):
    """What the last run did not read.

    Attributes:
        release: digest of the release in service.
        reasons: the most frequent first.
    """

    release: str
    reasons: list[Unreadable]


def duplicates(served: Served, found: Groups, keep: str, after: int, limit: int) -> Duplicates:
    """Return some groups.

    Args:
        served: the release.
        found: all groups.
        keep: which row of each is kept; as ``--keep`` of ``aepipe dedup``.
        after: groups that are skipped.
        limit: most groups.

    Raises:
        QueryError: ``keep`` is none of the rules.
    """
    order = order_named(keep or BEST)
    release = served.release
    shown = range(after, min(len(found), after + limit))
    groups = [list(_members(release, *found.of(place), found.relations_of(place), order)) for place in shown]
    end = after + len(groups)
    gone = len(found.ids) - len(found)
    following = end if groups and end < len(found) else None
    return Duplicates(served.digest, found.alike, found.radius, found.summary(), len(found), gone, following, groups)


def groups_of(served: Served, alike: Alike | None, radius: int | None, smallest: int) -> Groups:
    """Find the groups of near-duplicates of a release; as ``aepipe dedup`` does.

    Raises:
        QueryError: rows of this kind cannot be alike in that way, the radius is larger than a code, or a group smaller
            than two.
    """
    return dedup.search(served.release, alike, radius, smallest=smallest)


def _members(
    release: Release,
    ids: Any,  # noqa: ANN401
    distances: Any,  # noqa: ANN401
    relations: Sequence[str],
    order: Order,
) -> Iterator[Member]:
    marks = {original.row.id: mark for original, mark in marked(release, ids.tolist(), order)}
    told = zip(release.describe(ids), np.asarray(distances).tolist(), relations, strict=True)
    for row, distance, relation in told:
        item = item_of(row, release.items.columns)
        fields = (item.id, item.key, item.label, item.labels, item.split, item.snippet, item.columns)
        yield Member(*fields, distance=distance, relation=relation, mark=marks[row.id])


def releases(store: Store, name: str) -> list[ReleaseEvent]:
    """Return what happened under a name, the newest first."""
    here = {ref.digest for ref in store.refs("release")}
    found = [
        ReleaseEvent(
            one.event.when,
            one.event.action,
            one.event.before,
            one.event.after,
            one.event.why,
            dict(one.scores),
            one.event.after in here,
        )
        for one in lifecycle.history(store, name)
    ]
    return found[::-1]


def difference(before: Served, after: Served) -> ReleaseDifference:
    """Compare two releases by the neighbours of rows that both have."""
    found = compare(before.release, after.release)
    return ReleaseDifference(
        before.digest,
        after.digest,
        found.same_encoder,
        round(found.lost, 4),
        round(found.gained, 4),
        round(found.overlap, 4),
        round(found.interval, 4),
        round(found.unchanged, 4),
        None if found.flips is None else round(found.flips, 4),
        len(found.asked),
        found.k,
        [_changed(found, one) for one in found.most_changed(MOST_CHANGED) if one.common < 1],
    )


def _changed(found: Difference, one: Neighbours) -> Changed:
    sides = [
        [item_of(row, release.items.columns) for row in release.describe(ids)]
        for release, (ids, _) in ((found.before, one.before), (found.after, one.after))
    ]
    return Changed(one.key, round(one.common, 4), *sides)


def quarantine(store: Store, name: str, most: int = 100) -> list[Unreadable]:
    """Return what the last run of a collection did not read, by reason, the most frequent first.

    Raises:
        ExtraError: the package that reads the list is not installed.
        NotFoundError: there is no list.
    """
    file = store.backend.file(layout.Root.quarantine(name))
    if not file.exists():
        raise NotFoundError(f"{name}: the last run left nothing out, or its list is gone")
    try:
        from aepipe.store.rows import read_quarantine
    except ModuleNotFoundError:
        raise ExtraError("pyarrow", "train") from None
    groups: dict[tuple[str, str], Unreadable] = {}
    for line in read_quarantine(file):
        what, reason = line["what"], line["reason"]
        group = groups.setdefault((what, reason), Unreadable(what, reason, 0, []))
        group.count += line["count"]
        named = line["key"] or line["place"]
        if named and len(group.keys) < most:
            group.keys.append(named)
    return sorted(groups.values(), key=lambda group: -group.count)


def promoted(store: Store, name: str, digest: str) -> str | None:
    """Return when a release went into service the last time; None where the log does not say."""
    events = (one for one in reversed(registry.history(store, name)) if one.after == digest)
    return next((event.when for event in events), None)
