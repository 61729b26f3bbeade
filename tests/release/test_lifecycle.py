"""Promotions, rollbacks and verification: what is read, locked and written, in which order; a store that notes it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from aepipe.errors import CorruptError, NotFoundError, QueryError
from aepipe.release import gc, lifecycle
from aepipe.release.lifecycle import VerifyReport, row_count
from aepipe.release.manifest import MENDED_BY, ReleaseManifest
from aepipe.release.release import Release
from aepipe.store import registry
from aepipe.store.artifacts import LISTS, Ref, Store


@pytest.mark.parametrize(("count", "said"), [(0, "0 rows"), (1, "1 row"), (2, "2 rows"), (1200, "1,200 rows")])
def test_rows_in_words(count: int, said: str) -> None:
    assert row_count(count) == said


def test_the_release_before_is_read_and_marked_while_its_name_is_locked(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, before = Ref("release", "1" * 64), Ref("release", "2" * 64)
    done: list[object] = []

    @contextmanager
    def lock(_: Store, name: str, *, wait: float = -1) -> Iterator[None]:
        done.append(("locked", name, wait))
        yield
        done.append("free")

    def promote(_: Store, name: str, ref: Ref, *, why: str, action: str) -> registry.Event:
        done.append(("promote", name, ref, why, action))
        return registry.Event("now", name, action, now.digest, ref.digest, why)

    monkeypatch.setattr(registry, "resolve", lambda _, name: (name or "only", now))
    monkeypatch.setattr(registry, "previous", lambda _, name: before if name == "only" else now)
    monkeypatch.setattr(registry, "lock", lock)
    monkeypatch.setattr(registry, "promote", promote)
    monkeypatch.setattr(lifecycle, "verify", lambda _, ref: done.append(("read", ref)))
    monkeypatch.setattr(lifecycle, "mark_used", lambda _, ref: done.append(("used", ref)))
    tried = lifecycle.rollback(store, why="a reason", dry_run=True)
    assert tried == registry.Event("", "only", "rollback", now.digest, before.digest, "a reason")
    assert done == [("read", before)]
    done.clear()
    assert lifecycle.rollback(store, why="a reason").when == "now"
    promoted = ("promote", "only", before, "a reason", "rollback")
    assert done == [("locked", "only", 0), ("read", before), ("used", before), promoted, "free"]
    done.clear()
    lifecycle.rollback(store, "other", why="a reason", wait=3)
    assert done[:2] == [("locked", "other", 3), ("read", now)]


@pytest.mark.parametrize("kind", [NotFoundError, CorruptError])
def test_a_release_before_that_cannot_be_put_back_is_named_with_its_remedy(
    store: Store, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    def fail(_: Store, ref: Ref) -> None:
        raise kind(f"{ref.short}: damaged; {MENDED_BY}")

    before = Ref("release", "2" * 64)
    monkeypatch.setattr(registry, "previous", lambda _, name: before)
    monkeypatch.setattr(lifecycle, "verify", fail)
    with pytest.raises(kind) as caught:
        lifecycle._whole_before(store, "pictures")
    assert str(caught.value) == (
        f"pictures: the release before cannot be put back: {before.short}: damaged; "
        "`aepipe history` lists the others, and `aepipe promote` takes one"
    )


@pytest.mark.parametrize(("before", "after"), [(True, True), (False, True), (False, False)])
def test_a_promotion_that_changes_nothing_writes_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch, *, before: bool, after: bool
) -> None:
    """Another process may have promoted the release while this one waited for the lock."""
    ref, done, stays = Ref("release", "1" * 64), list[object](), iter([before, after])

    @contextmanager
    def lock(_: Store, name: str, *, wait: float = -1) -> Iterator[None]:
        done.append(("locked", name, wait))
        yield

    def promote(_: Store, name: str, found: Ref, *, why: str) -> str:
        done.append(("promote", name, found, why))
        return "promoted"

    def is_there(_: Store, name: str, found: Ref) -> bool:
        assert (name, found) == ("pictures", ref)
        return next(stays)

    monkeypatch.setattr(lifecycle, "verify", lambda _, found: done.append(("read", found)))
    monkeypatch.setattr(lifecycle, "_stays", is_there)
    monkeypatch.setattr(lifecycle, "mark_used", lambda _, found: done.append(("used", found)))
    monkeypatch.setattr(Release, "open", lambda _, ref: SimpleNamespace(name="pictures"))
    monkeypatch.setattr(registry, "lock", lock)
    monkeypatch.setattr(registry, "promote", promote)
    monkeypatch.setattr(registry, "unchanged", lambda name, found, why: f"{name} {found.short} {why}")
    with pytest.raises(QueryError, match=f"^release {ref.short} is one of pictures, not of others$"):
        lifecycle.promote(store, ref, why="a reason", name="others")
    done.clear()
    found: object = lifecycle.promote(store, ref, why="a reason", name=None if before else "pictures", wait=4)
    assert found == (f"pictures {ref.short} a reason" if before or after else "promoted")
    expected: list[object] = [("read", ref)]
    expected += [] if before else [("locked", "pictures", 4)]
    expected += [] if before or after else [("used", ref), ("promote", "pictures", ref, "a reason")]
    assert done == expected


def test_each_folder_is_read_and_its_bytes_counted_once() -> None:
    refs = [Ref("segment", str(number) * 64) for number in range(4)]
    sizes = {refs[0]: [5, 7], refs[1]: [1], refs[2]: [100], refs[3]: [30]}
    done: list[tuple[str, Ref]] = []

    class Fresh:
        def verified(self, ref: Ref) -> None:
            done.append(("read", ref))
            if ref == refs[2]:
                raise CorruptError("c: one byte is wrong")

        def parts(self, ref: Ref) -> list[Ref]:
            return [refs[3]] if ref == refs[0] else []

        def manifest(self, ref: Ref) -> Any:
            return SimpleNamespace(outputs={str(place): {"bytes": size} for place, size in enumerate(sizes[ref])})

    given: list[bool] = []

    def fresh(*, reread: bool) -> Fresh:
        given.append(reread)
        return Fresh()

    store: Any = SimpleNamespace(fresh=fresh)
    damage = ("c: one byte is wrong",)
    assert lifecycle._check(store, iter(refs[:3])) == VerifyReport(3, 43, damage)
    assert done == [("read", ref) for ref in refs[:3]]
    assert lifecycle._check(store, iter(refs[:3]), with_parts=False) == VerifyReport(3, 13, damage)
    assert lifecycle._check(store, []) == VerifyReport(0, 0, ())
    assert given == [True] * 3


def test_late_ids_of_all_releases_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those from 10 on; of a damaged release none, and releases whose highest id is earlier are not read."""
    made = {number: Ref("release", str(number) * 64) for number in range(4)}
    parts = {number: Ref("rows", str(number) * 64) for number in range(5)}
    held: dict[Ref, Any] = {
        parts[0]: (12, [({"a": 3, "b": 10}), ({"c": 8})]),
        parts[1]: (10, [({"never": 99})]),
        parts[2]: (20, [({"b": 11, "d": 19})]),
    }
    manifests = {made[0]: [0, 1], made[2]: [2]}
    read: list[Ref] = []

    class Part:
        def __init__(self, ids: dict[str, int]) -> None:
            self._ids = ids

        def ids(self) -> Any:
            return np.array(list(self._ids.values()))

        def keys(self) -> list[str]:
            assert max(self._ids.values()) >= 10, "keys are read where an id is late"
            return list(self._ids)

    def rows(ref: Ref) -> Any:
        read.append(ref)
        return SimpleNamespace(next_id=held[ref][0], parts=[Part(ids) for ids in held[ref][1]])

    def manifest(_: object, ref: Ref) -> Any:
        if ref not in manifests:
            raise CorruptError(f"{ref}: corrupt")
        other = [("codes", parts[4])]
        return SimpleNamespace(parts=other + [("rows", parts[number]) for number in manifests[ref]])

    facts: list[dict[str, int]] = [{"next_id": 12}, {"next_id": 10}, {"next_id": 20}, {"next_id": 30}]
    releases = [(made[number], SimpleNamespace(facts=facts[number])) for number in range(4)]
    monkeypatch.setattr(registry, "releases", lambda _, name: [*releases, (made[1], SimpleNamespace(facts={}))])
    monkeypatch.setattr(registry, "next_id", lambda _, name: 25)
    monkeypatch.setattr(ReleaseManifest, "read", manifest)
    monkeypatch.setattr("aepipe.store.rows.Rows", rows)
    store: Any = SimpleNamespace(path=lambda ref: ref)
    assert lifecycle.ids_given(store, "pictures", 10) == {"b": 11, "d": 19}
    assert read == [parts[0], parts[1], parts[2]]
    assert lifecycle.next_id(store, "pictures") == 30
    assert lifecycle.ids_given(store, "pictures", 30) == {}


def test_a_release_in_service_that_is_not_there_is_named(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    there, gone = Ref("release", "1" * 64), Ref("release", "2" * 64)
    current: dict[str, Ref | None] = {"a": there, "b": None}
    monkeypatch.setattr(registry, "names", lambda _: list(current))
    monkeypatch.setattr(registry, "current", lambda _, name: current[name])
    monkeypatch.setattr(Store, "has", lambda _, ref: ref == there)
    gc._check_service(store)
    current["c"] = gone
    said = f"service/c: corrupt, no release {gone.short} is in the store; `aepipe promote RELEASE` writes it again"
    with pytest.raises(CorruptError) as caught:
        gc._check_service(store)
    assert str(caught.value).endswith(said)


@pytest.mark.parametrize(("kept", "listings"), [(None, []), (1, []), (0, [3, 4]), (0.5, [3, 4])])
def test_a_list_needs_its_parts_its_readings_and_where_nothing_is_kept_their_listings(
    kept: float | None, listings: list[int]
) -> None:
    first = Ref(sorted(LISTS)[0], "f" * 64)
    refs = [Ref("segment", str(number) * 64) for number in range(6)]
    manifests: dict[Ref, Any] = {
        first: SimpleNamespace(
            facts={"readings": [str(refs[1]), str(refs[2])], **({} if kept is None else {"kept": kept})}
        ),
        refs[1]: SimpleNamespace(inputs={"listing": str(refs[3])}),
        refs[2]: SimpleNamespace(inputs={"listing": str(refs[4])}),
    }

    def manifest(ref: Ref) -> Any:
        if ref not in manifests:
            raise CorruptError("corrupt")
        return manifests[ref]

    given: Any = SimpleNamespace(manifest=manifest, parts=lambda ref: (refs[0], refs[5]) if ref == first else ())
    expected = [refs[0], refs[5], refs[1], refs[2], *(refs[number] for number in listings)]
    assert gc._listed(given, first) == expected
    assert gc._listed(given, refs[0]) == []
    assert gc._listed(given, Ref(first.kind, "e" * 64)) == [], "damaged"
    manifests[first] = SimpleNamespace(facts={})
    assert gc._listed(given, first) == [refs[0], refs[5]]
