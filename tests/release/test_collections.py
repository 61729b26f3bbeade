"""Collections are listed, renamed and dropped, and nothing that belongs to another one changes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from aepipe.errors import CorruptError, NotFoundError, QueryError, RecipeError
from aepipe.pipeline import update
from aepipe.release import collections, feedback, lifecycle
from aepipe.release.origin import check_origin
from aepipe.release.release import Release
from aepipe.store import layout, names, reading, registry, stamps
from aepipe.store.artifacts import KINDS, Ref, Store
from tests.release.test_gc import SHAPE, everything, put
from tests.support.releases import bare_plan, make_release


def two_releases(store: Store, name: str = "pictures") -> list[Ref]:
    """Put two releases of one collection into service, one after the other."""
    first = make_release(store, name=name, n=20, shape=SHAPE)
    second = update.remove(store, Release.open(store, name), Release.open(store, name).items.ids[:1])
    registry.promote(store, name, second, why="a test")
    return [first, second]


def test_a_renamed_collection_keeps_releases_ids_log_and_notes(store: Store) -> None:
    first, second = two_releases(store)
    reading.keep(store, "pictures", Release.open(store).part("rows"), {"files": 20})
    stamps.keep(store, "pictures", Release.open(store).part("rows"), np.ones(20, np.uint64))
    feedback.add(store, "pictures", feedback.Mark("", "a", "good", "b"))
    ids, given = Release.open(store).items.ids.tolist(), lifecycle.next_id(store, "pictures")
    assert collections.rename(store, "pictures", "holidays") == second
    assert registry.names(store) == ["holidays"]
    opened = Release.open(store, "holidays")
    assert (opened.ref, opened.name, opened.items.ids.tolist()) == (second, "holidays", ids)
    assert lifecycle.next_id(store, "holidays") == given
    assert lifecycle.next_id(store, "pictures") == 0
    assert [one.event.action for one in lifecycle.history(store, "holidays")] == ["promote", "promote", "rename"]
    assert lifecycle.history(store, "pictures") == []
    assert reading.facts_of(store, "holidays", opened.part("rows"))["files"] == 20
    assert stamps.of_rows(store, "holidays", opened.part("rows")) is not None
    assert len(feedback.marks(store, "holidays")) == 1
    assert lifecycle.rollback(store, "holidays", why="a test").after == first.digest
    assert lifecycle.promote(store, second, why="a test").name == "holidays"
    again = lifecycle.promote(store, second, why="once more")
    assert (again.before, again.after, again.why) == (second.digest, second.digest, "once more")
    assert registry.unlogged(store) == []


def test_artifacts_are_followed_both_ways_and_in_circles() -> None:
    a, b, c, d, lost = (Ref("segment", str(number) * 64) for number in range(5))
    graph = {a: {b, lost}, b: {c}, c: {a}, d: {c}}
    assert collections._turned(graph) == {a: {c}, b: {a}, c: {b, d}, d: set(), lost: {a}}
    assert collections._reach(graph, [a]) == {a, b, c, lost}
    assert collections._reach(graph, [d, lost]) == {a, b, c, d, lost}
    assert collections._reach(graph, []) == set()


def test_a_promotion_of_what_is_in_service_mends_a_lost_log_once(store: Store) -> None:
    _, second = two_releases(store)
    lines = registry.history(store)
    (store.root / layout.Root.LOG).unlink()
    for _ in range(2):
        lifecycle.promote(store, second, why="the log was lost")
        assert [(one.before, one.after) for one in registry.history(store)] == [(second.digest, second.digest)]
    assert len(lines) == 2


def test_a_release_that_is_dropped_while_it_is_verified_is_not_there(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = two_releases(store)
    verified = lifecycle.verify

    def late(where: Store, ref: Ref) -> list[Ref]:
        collections.drop(store, "pictures")
        return verified(where, ref)

    monkeypatch.setattr(lifecycle, "verify", late)
    with pytest.raises(NotFoundError, match=f"^release {first.short} was removed while it was verified"):
        lifecycle.promote(store, first, why="a test")


def test_what_is_changed_after_it_was_renamed_has_the_new_name(store: Store) -> None:
    two_releases(store)
    collections.rename(store, "pictures", "holidays")
    release = Release.open(store, "holidays")
    made = update.remove(store, release, release.items.ids[:1])
    assert store.manifest(made).facts["name"] == "holidays"
    collections.rename(store, "holidays", "pictures")
    assert names.given(store) == {made.digest: "pictures"}, "others have the name again that they were made under"
    assert collections.listed(store)[0].releases == 3


@pytest.mark.parametrize("step", range(7))
def test_a_rename_that_is_killed_is_completed_by_the_same_call(
    store: Store, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, second = two_releases(store)
    reading.keep(store, "pictures", Release.open(store).part("rows"), {"files": 20})
    left = [step]

    class Killed(BaseException):
        pass

    def dying(function: object) -> object:
        def call(*given: object, **named: object) -> object:
            if not left[0]:
                raise Killed
            left[0] -= 1
            return function(*given, **named)  # type: ignore[operator]

        return call

    with monkeypatch.context() as patched:
        for module, name in ((names, "give"), (registry, "log")):
            patched.setattr(module, name, dying(getattr(module, name)))
        for name in ("write", "delete", "move"):
            patched.setattr(type(store.backend), name, dying(getattr(type(store.backend), name)))
        with pytest.raises(Killed):
            collections.rename(store, "pictures", "holidays")
    assert registry.current(store, "pictures") == second or registry.current(store, "holidays") == second
    if "pictures" in registry.names(store):
        collections.rename(store, "pictures", "holidays")
    assert registry.names(store) == ["holidays"]
    assert Release.open(store).name == "holidays"
    assert lifecycle.history(store, "pictures") == []
    assert [one.event.action for one in lifecycle.history(store, "holidays")][:2] == ["promote", "promote"]


def test_a_name_that_cannot_be_given(store: Store) -> None:
    make_release(store, n=20, shape=SHAPE)
    make_release(store, name="other", n=20, shape=SHAPE)
    make_release(store, name="made", n=20, shape=SHAPE, promote=False)
    for new, said in (
        ("other", "another collection"),
        ("made", "another"),
        ("Big", "lower-case"),
        ("pictures", "already"),
    ):
        with pytest.raises(QueryError, match=said):
            collections.rename(store, "pictures", new)
    with pytest.raises(NotFoundError, match="there are: other, pictures, made"):
        collections.rename(store, "nothing", "x")
    assert registry.names(store) == ["other", "pictures"]


def test_a_recipe_with_the_old_name_is_told_the_new_one(store: Store) -> None:
    make_release(store, n=20, shape=SHAPE)
    collections.rename(store, "pictures", "holidays")
    recipe = bare_plan(store, shape=SHAPE).recipe
    with pytest.raises(RecipeError, match='renamed to holidays; write name = "holidays" into'):
        check_origin(store, recipe, given=False)
    with pytest.raises(NotFoundError, match="renamed to holidays: --name holidays"):
        registry.resolve(store, "pictures")
    collections.rename(store, "holidays", "trips")
    assert registry.renamed(store, "pictures") == "trips"
    make_release(store, n=30, shape=SHAPE)
    assert registry.renamed(store, "pictures") == "", "another collection has the name now"
    check_origin(store, recipe, given=False)


def test_a_dropped_collection_takes_what_only_it_needs(store: Store) -> None:
    kept = make_release(store, name="other", n=20, shape=SHAPE, seed=1)
    before, alone = everything(store), put(store, "views", nobody="refers to it")
    two_releases(store)
    derived = put(store, "segment", of=str(Release.open(store, "pictures").part("scores")))
    (store.work(derived) / "checkpoint").write_bytes(b"half")
    (store.work(alone) / "checkpoint").write_bytes(b"half")
    for note in (layout.Root.metrics("pictures"), layout.Root.report("pictures")):
        store.backend.write(note, b"of a run")
    wanted = collections.drop(store, "pictures", dry_run=True)
    assert wanted.rows == 19
    assert (wanted.name, len(wanted.releases)) == ("pictures", 2)
    assert wanted.freed == sum(map(store.size, wanted.refs)) > 0
    kinds = [KINDS.index(ref.kind) for ref in wanted.refs]
    assert kinds == sorted(kinds, reverse=True), "a release goes before what it refers to"
    assert list(wanted.refs) == sorted(wanted.refs, key=lambda ref: (-KINDS.index(ref.kind), ref.digest))
    assert derived in wanted.refs
    assert collections.drop(store, "pictures") == wanted
    assert everything(store) == before | {alone}
    assert lifecycle.verify(store, kept)
    assert registry.names(store) == ["other"]
    assert [path.name for path in (store.root / layout.Root.WORK).iterdir()] == [alone.digest]
    assert not [path for path in store.root.rglob("*pictures*") if path.parent.name != layout.Root.LOCKS]
    with pytest.raises(NotFoundError):
        collections.drop(store, "pictures")


def test_a_dropped_collection_leaves_what_others_share(store: Store) -> None:
    ours = make_release(store, n=20, shape=SHAPE)
    card = Release.open(store, "pictures")
    # A collection of the same items: all parts are the same, only the release is its own.
    with store.draft("release") as draft:
        body = card.manifest.to_json() | {"name": "twin"}
        (draft.path / layout.Release.MANIFEST).write_text(json.dumps(body))
        twin = draft.finish({**body, "stage": "publish"}, {**card.manifest.facts, "name": "twin", "next_id": 20})
    registry.promote(store, "twin", twin, why="a test")
    assert collections.drop(store, "pictures").refs == (ours,)
    assert lifecycle.verify(store, twin)


@pytest.mark.parametrize("reader", ["pictures", "holidays"])
def test_rows_that_the_last_run_of_another_one_got_stay(store: Store, reader: str) -> None:
    """A run that has no release yet goes on from them."""
    make_release(store, name="pictures", n=20, shape=SHAPE)
    rows = Release.open(store).part("rows")
    reading.keep(store, reader, rows, {"files": 20})
    collections.drop(store, "pictures")
    assert store.has(rows) is (reader == "holidays")
    assert reading.facts_of(store, "holidays", rows).get("files") == (20 if reader == "holidays" else None)


def test_a_new_collection_under_a_dropped_name_begins_anew(store: Store) -> None:
    two_releases(store)
    collections.drop(store, "pictures")
    make_release(store, n=20, shape=SHAPE)
    with pytest.raises(NotFoundError, match="no release before"):
        registry.previous(store, "pictures")
    assert len(registry.history(store, "pictures")) == 1
    shown = [one.event.action for one in lifecycle.history(store, "pictures")]
    assert shown == ["promote", "promote", "drop", "promote"]


def test_collections_are_listed_by_name(store: Store) -> None:
    make_release(store, n=20, shape=SHAPE)
    make_release(store, name="made", n=20, shape=SHAPE, promote=False)
    found = {one.name: one for one in collections.listed(store)}
    assert list(found) == ["pictures", "made"]
    assert (found["pictures"].rows, found["pictures"].kind, found["pictures"].n_bits) == (20, "images", 64)
    assert (found["made"].rows, found["made"].in_service, found["made"].releases) == (None, False, 1)
    assert found["pictures"].since
    served, made = found["pictures"], found["made"]
    assert (served.in_service, served.releases, served.release) == (True, 1, Release.open(store).ref.digest)
    assert (served.source, served.store) == (Release.open(store).recipe["source"]["options"]["path"], store.address)
    assert served.since == registry.history(store, "pictures")[-1].when
    assert (made.since, made.kind, made.n_bits, made.store) == ("", "images", 64, store.address)
    assert made.source.endswith("made-source")
    assert made.release in {ref.digest for ref in store.refs("release")} - {served.release}


def test_a_collection_that_cannot_be_read_is_listed_with_what_is_known(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = (Ref("release", str(number) * 64) for number in range(3))
    events = [
        registry.Event(when, "a", "promote", "", ref.digest, "a test")
        for when, ref in (("t1", second), ("t2", third), ("t3", second), ("t4", first))
    ]
    current: dict[str, Ref | None] = {"a": second, "b": None}
    monkeypatch.setattr(registry, "current", lambda _, name: current[name])
    monkeypatch.setattr(registry, "history", lambda _, name: events)
    served = collections._listed(store, "a", [first, second, third])
    assert (served.release, served.since, served.in_service, served.releases) == (second.digest, "t3", True, 3)
    assert (served.rows, served.n_bits, served.kind, served.source) == (None, None, "", "")
    unserved = collections._listed(store, "b", [first, third])
    assert (unserved.release, unserved.since, unserved.in_service, unserved.releases) == (third.digest, "", False, 2)
    assert collections._listed(store, "b", []).release == ""


def test_both_names_are_locked_in_the_same_order_whichever_is_new(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[tuple[str, float]] = []

    @contextmanager
    def lock(_: Store, name: str, *, wait: float = -1) -> Iterator[None]:
        held.append((name, wait))
        yield

    monkeypatch.setattr(registry, "lock", lock)
    monkeypatch.setattr(collections, "_rename", lambda _, old, new: held.append((f"{old} to {new}", 0)))
    collections.rename(store, "b", "a", wait=7)
    collections.rename(store, "a", "b")
    assert held == [("a", 7), ("b", 7), ("b to a", 0), ("a", 0), ("b", 0), ("a to b", 0)]


def test_without_a_log_what_was_made_may_have_been_in_service(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, third = (Ref("release", str(number) * 64) for number in range(3))
    events: list[registry.Event] = []
    now: list[Ref | None] = [third]

    def current(_: Store, name: str) -> Ref | None:
        if not now:
            raise CorruptError("service: corrupt")
        return now[0]

    monkeypatch.setattr(registry, "current", current)
    monkeypatch.setattr(registry, "history", lambda _, name: events if name == "a" else [])
    monkeypatch.setattr(registry, "names", lambda _: ["a"])
    monkeypatch.setattr(registry, "made", lambda where, name: [first, second] if (where, name) == (store, "a") else [])
    assert list(lifecycle._once_in_service(store, "a")) == [third, second, first]
    assert list(lifecycle._once_in_service(store, "b")) == [third], "nothing of it is in service by name"
    events += [registry.Event("t", "a", "promote", "", ref.digest, "") for ref in (second, first)]
    assert list(lifecycle._once_in_service(store, "a")) == [third, first, second]
    now[0] = None
    assert list(lifecycle._once_in_service(store, "a")) == [first, second]
    now.clear()
    assert list(lifecycle._once_in_service(store, "a")) == [first, second]
