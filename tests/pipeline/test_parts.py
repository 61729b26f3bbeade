"""Ingestion in parts: the same rows as in one table, and no more work than what has changed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aepipe import log
from aepipe.engines import Done, Needs, Part, Work
from aepipe.engines.local import Local
from aepipe.errors import SourceError
from aepipe.pipeline.ingest import ingest
from aepipe.pipeline.parts import listing as lists
from aepipe.sources import listing
from aepipe.sources.item import Item
from aepipe.store import kept, layout
from aepipe.store.artifacts import Ref, Store
from aepipe.store.rows import Rows
from tests.support.fakes import Fake, things

NAMES = [f"k{number:04d}" for number in range(240)] + [f"t{number}" for number in range(20)]
FIRST = {name: f"bytes of {name}".encode() for name in NAMES}


@pytest.fixture
def other(tmp_path: Path) -> Store:
    """A second store, for rows in one table."""
    return Store(tmp_path / "other")


def fake(data: Mapping[str, bytes], part: int = 0, **more: Any) -> Fake:
    labels = {key: f"class {len(key) + int(key[-1:].isdigit() and key[-1:])}" for key in data if not key.endswith("7")}
    return Fake(dict(data), labels=labels, extra={key: len(value) for key, value in data.items()}, part=part, **more)


def said(store: Store, ref: Ref) -> dict[str, Any]:
    """Return all that readers see of rows."""
    rows = Rows(store.verified(ref))
    records = [(one.id, one.key, one.sha256, one.place, one.split, one.label, one.columns) for one in rows.records()]
    facts = {name: value for name, value in rows.facts.items() if name not in {"source", "parts", "counts"}}
    made = {name: store.manifest(ref).facts[name] for name in ("new", "changed", "vanished", "unreadable", "skipped")}
    return {"records": records, "facts": facts, "made": made, "features": rows.features().tolist()}


def parts_of(store: Store, ref: Ref) -> list[Ref]:
    return list(store.parts(ref))


@pytest.mark.parametrize(("part", "least", "most"), [(200, 1, 2), (90, 2, 4), (36, 5, 12)])
def test_rows_do_not_depend_on_the_parts(store: Store, other: Store, part: int, least: int, most: int) -> None:
    ref = ingest(store, fake(FIRST, part))
    assert least <= len(parts_of(store, ref)) <= most
    assert said(store, ref) == said(other, ingest(other, fake(FIRST)))


def changed(data: dict[str, bytes], seed: int) -> dict[str, bytes]:
    """Return items of which some are new, gone, changed, renamed, or at another place."""
    rng = random.Random(seed)
    items = [(key, value) for key, value in data.items() if rng.random() > 0.05]
    items = [(key, value + b"!" if rng.random() < 0.05 else value) for key, value in items]
    items = [(f"{key}r" if rng.random() < 0.02 else key, value) for key, value in items]
    for number in range(rng.randrange(12)):
        items.insert(rng.randrange(len(items)), (f"n{seed}-{number}", b"new %d" % number))
    if seed % 3 == 0:
        items.insert(0, items.pop())
    return dict(items)


def test_nights_give_the_ids_that_one_table_gives(store: Store, other: Store) -> None:
    data, ref, one = FIRST, ingest(store, fake(FIRST, 16)), ingest(other, fake(FIRST))
    for seed in range(4):
        data = changed(data, seed)
        source, whole = fake(data, 16), fake(data)
        ref, one = ingest(store, source, previous=ref), ingest(other, whole, previous=one)
        assert said(store, ref) == said(other, one), seed
        assert len(source.decoded) <= len(whole.decoded) + 8, "what moves far is decoded again, and little else"


def test_a_change_leaves_the_other_parts(store: Store) -> None:
    before = ingest(store, fake(FIRST, 16))
    data = dict(list(FIRST.items())[:100]) | {"new": b"new"} | dict(list(FIRST.items())[101:])
    source = fake(data, 16)
    after = ingest(store, source, previous=before)
    gone = set(parts_of(store, before)) - set(parts_of(store, after))
    assert source.decoded == ["new"]
    assert 1 <= len(gone) <= 2
    assert len(store.refs("rows")) <= len(parts_of(store, before)) + 4  # two lists, and the parts that are new


def test_an_unchanged_source_gives_the_rows_of_before(store: Store) -> None:
    before = ingest(store, fake(FIRST, 16))
    kept = {kind: store.refs(kind) for kind in ("rows", "listing")}
    source = fake(FIRST, 16)
    assert ingest(store, source, previous=before) == before
    assert not source.decoded
    assert {kind: sorted(store.refs(kind)) for kind in kept} == {kind: sorted(kept[kind]) for kind in kept}


def test_threads_do_not_change_a_byte(tmp_path: Path) -> None:
    found = []
    for threads in (1, 2, 8):
        store = Store(tmp_path / f"with-{threads}")
        ingest(store, fake(FIRST, 16, workers=threads))
        found.append({ref: store.manifest(ref).outputs for ref in store.refs("rows")})
    assert found[0] == found[1] == found[2]
    assert len(found[0]) > 8


def test_a_run_that_was_killed_goes_on_where_it_was(store: Store) -> None:
    class Dying:
        """An engine that ends after some parts, as a process that is killed does."""

        def map(self, work: Work, parts: list[Part], needs: Needs) -> Iterator[Done]:
            yield from Local(1).map(work, parts[:5], needs)
            raise KeyboardInterrupt

    source = fake(FIRST, 16)
    with pytest.raises(KeyboardInterrupt):
        ingest(store, source, engine=Dying())  # type: ignore[arg-type]
    done = len(source.decoded)
    assert 0 < done < len(FIRST)
    source.decoded.clear()
    ref = ingest(store, source)
    assert len(source.decoded) == len(FIRST) - done, "only what was missing"
    assert Rows(store.verified(ref)).keys() == NAMES


def test_work_that_is_done_twice_is_done_once(store: Store) -> None:
    class Repeating:
        """An engine that begins every part three times, in its own order."""

        def map(self, work: Work, parts: list[Part], needs: Needs) -> Iterator[Done]:
            for part in reversed(parts):
                yield [work(part) for _ in range(3)][-1]

    source = fake(FIRST, 16)
    ref = ingest(store, source, engine=Repeating())  # type: ignore[arg-type]
    assert sorted(source.decoded) == sorted(NAMES)
    assert Rows(store.verified(ref)).keys() == NAMES


def test_ids_of_releases_that_were_rolled_back_are_not_given_again(store: Store, other: Store) -> None:
    more = dict(list(FIRST.items())[:50]) | {"late": b"late", "other": b"other"} | dict(list(FIRST.items())[50:])
    found = []
    for place, part in ((store, 16), (other, 0)):
        before = ingest(place, fake(FIRST, part))
        found.append(said(place, ingest(place, fake(more, part), previous=before, next_id=900, given={"late": 777})))
    assert found[0] == found[1]
    ids = {record[1]: record[0] for record in found[0]["records"]}
    assert (ids["late"], ids["other"], found[0]["facts"]["next_id"]) == (777, 900, 901)


def test_bad_items_are_listed_as_in_one_table(store: Store, other: Store) -> None:
    data = FIRST | {name: b"bad %d" % (number % 2) for number, name in enumerate(NAMES[5:200:40])}
    ref, one = (ingest(place, fake(data, part, max_bad_share=0.1)) for place, part in ((store, 16), (other, 0)))
    assert said(store, ref) == said(other, one)
    assert Rows(store.path(ref)).quarantine() == Rows(other.path(one)).quarantine()
    texts = []
    for place, part in ((store, 16), (other, 0)):
        with pytest.raises(SourceError, match=r"are unreadable, and max_bad_share allows 0\.0%") as raised:
            ingest(place, fake(data, part))
        texts.append(str(raised.value).replace(str(place.root), ""))
    assert texts[0] == texts[1]


def test_a_part_of_which_nothing_can_be_read_is_empty(store: Store, other: Store) -> None:
    data = {name: b"bad" if number < 60 else value for number, (name, value) in enumerate(FIRST.items())}
    ref, one = (ingest(place, fake(data, part, max_bad_share=0.5)) for place, part in ((store, 16), (other, 0)))
    assert 0 in Rows(store.path(ref)).facts["counts"]
    assert said(store, ref) == said(other, one)


def test_too_few_items_are_refused_as_in_one_table(store: Store, other: Store) -> None:
    few = dict(list(FIRST.items())[:100])
    for place, part in ((store, 16), (other, 0)):
        before = ingest(place, fake(FIRST, part))
        with pytest.raises(SourceError, match="160 of the 260 items of the run before are not there any more"):
            ingest(place, fake(few, part, max_vanished_share=0.5), previous=before)
        with pytest.raises(SourceError, match=r"no item is in the split 'train'; there are: 'test' \(20\)"):
            ingest(place, fake({key: FIRST[key] for key in NAMES[-20:]}, part), previous=before)


@pytest.mark.parametrize("collide", [False, True])
def test_only_the_first_item_with_a_key_is_read(
    store: Store, other: Store, monkeypatch: pytest.MonkeyPatch, collide: bool
) -> None:
    """Also where different keys have one hash; the source drops the apostrophes."""
    if collide:
        usual = kept.key_hash
        for room in (listing, kept):
            monkeypatch.setattr(room, "key_hash", lambda key: usual(key) % 40)
    items = list(FIRST.items())
    data = dict([*items[:90], ("k0003'", b"again"), *items[90:200], ("k0100'", b"twice"), *items[200:]])
    ref, one = (ingest(place, fake(data, part, max_bad_share=0.1)) for place, part in ((store, 16), (other, 0)))
    assert said(store, ref) == said(other, one)
    assert [(bad.key, bad.reason) for bad in Rows(store.path(ref)).quarantine()] == [
        ("k0003", "duplicate key"),
        ("k0100", "duplicate key"),
    ]
    more = changed(data, 1)
    ref, one = (
        ingest(place, fake(more, part, max_bad_share=0.1), previous=before)
        for place, part, before in ((store, 16, ref), (other, 0, one))
    )
    assert said(store, ref) == said(other, one)


def test_other_features_are_made_of_all_items_and_ids_stay(store: Store) -> None:
    before = ingest(store, fake(FIRST, 16))
    source = fake(dict(reversed(FIRST.items())), 16, option=1)
    after = ingest(store, source, previous=before)
    assert sorted(source.decoded) == sorted(NAMES)
    then, now = (Rows(store.verified(ref)) for ref in (before, after))
    assert dict(zip(now.keys(), now.ids(), strict=True)) == dict(zip(then.keys(), then.ids(), strict=True))


def test_columns_of_other_types_are_in_all_parts(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow as pa

    before = ingest(store, fake(FIRST, 16))
    monkeypatch.setattr(Fake, "schema", lambda _: pa.schema({"price": pa.float64()}))
    source = fake(FIRST, 16)
    after = ingest(store, source, previous=before)
    assert not source.decoded
    assert {str(one.own_schema.field("price").type) for one in Rows(store.path(after)).parts} == {"double"}


def test_a_collection_grows_into_parts_and_stays_in_them(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "FROM", 250)
    few = dict(list(FIRST.items())[:100] + list(FIRST.items())[-5:])
    first = ingest(store, fake(few))
    source = fake(FIRST)
    second = ingest(store, source, previous=first)
    assert not store.parts(first)
    assert len(store.parts(second)) == 1  # the usual part has 10,000 items
    assert len(source.decoded) == len(FIRST) - len(few), "rows of the one table are not made again"
    ids = dict(zip(Rows(store.path(first)).keys(), Rows(store.path(first)).ids().tolist(), strict=True))
    assert (
        ids.items() <= dict(zip(Rows(store.path(second)).keys(), Rows(store.path(second)).ids(), strict=True)).items()
    )
    third = ingest(store, fake(few), previous=second)
    assert store.parts(third)


@pytest.mark.parametrize(("part", "cut"), [(0, False), (259, True), (260, False)])
def test_items_are_counted_as_far_as_needed(
    store: Store, monkeypatch: pytest.MonkeyPatch, part: int, cut: bool
) -> None:
    monkeypatch.setattr(Fake, "total", lambda _: None)
    source = fake(FIRST, part)
    ref = ingest(store, source)
    assert bool(store.parts(ref)) is cut
    assert source.given == len(FIRST), "no item is listed twice"
    assert Rows(store.verified(ref)).keys() == NAMES


def test_progress_is_reported_by_part(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = list[dict[str, Any]]()
    # Not by a handler: whatever configures logging in this process may have switched the logger off.
    monkeypatch.setattr(log.logger, "info", lambda *_, extra: steps.append(extra))
    ingest(store, fake(FIRST, 16))
    seen = [(one["stage"], one["done"], one["total"]) for one in steps]
    done = [one for stage, one, _ in seen if stage == "ingest"]
    assert done == sorted(done)
    assert (done[0], done[-1], len(done)) == (0, 260, 1 + len(store.parts(store.refs("rows")[-1])))
    assert ("listing", 260, 260) in seen


def test_an_item_that_fails_for_good_names_its_part(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    usual: Callable[[Fake, bytes, str], Any] = Fake.row

    def row(self: Fake, data: bytes, key: str) -> Any:
        if key == "k0123":
            raise OSError(5, "Input/output error")
        return usual(self, data, key)

    monkeypatch.setattr(Fake, "row", row)
    with pytest.raises(OSError, match="Input/output") as raised:
        ingest(store, fake(FIRST, 16))
    assert raised.value.__notes__[0].startswith("in part ")
    assert not list(store.root.glob("*/.tmp-*")), "nothing half done is left"


def test_a_split_by_share_is_a_part_of_the_part(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def split(self: Fake, _: Item, sha256: bytes) -> str:
        return "test" if sha256[0] < 256 * self.test_share else "train"

    monkeypatch.setattr(Fake, "split", split)
    for share in (0.2, 0.6):
        ref = ingest(store, fake(FIRST, 16, test_share=share), previous=None)
        of_test = Rows(store.path(ref)).of_split("test").mean()
        assert abs(of_test - share) < 0.1


def test_a_part_that_is_gone_is_made_again(store: Store) -> None:
    before = ingest(store, fake(FIRST, 16))
    lost = parts_of(store, before)[3]
    rows = Rows(store.path(lost))
    store.remove(lost)
    source = fake(FIRST, 16)
    fresh = Store(store.root)
    with pytest.raises(Exception, match=r"its part rows/.* is not in the store"):
        fresh.path(before)
    fresh.remove(before)
    assert ingest(fresh, source) == before
    assert source.decoded == rows.keys()


def test_hashes_of_a_part_are_those_of_its_keys(store: Store) -> None:
    for ref in parts_of(store, ingest(store, fake(FIRST, 16))):
        hashes = np.load(store.path(ref) / layout.Rows.HASHES)
        assert hashes.tolist() == list(map(kept.key_hash, Rows(store.path(ref)).keys()))


def test_places_in_a_listing_may_be_anything(store: Store) -> None:
    odd = {'a"b': b"1", "ü/ä\u2028": b"2", "x" * 300: b"3", **things(*"cdefghijkl")}
    ref = ingest(store, replace(fake(odd, 2), labels={}))
    assert Rows(store.verified(ref)).keys() == list(odd)
