"""Releases of rows in parts: they answer as those of one table, and every verb works on them."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from aepipe import engines
from aepipe.codes.encoder import Encoder, Encoding
from aepipe.engines import Needs, Part, Work
from aepipe.errors import CorruptError
from aepipe.pipeline import update
from aepipe.pipeline.compact import compact
from aepipe.pipeline.encode import encode_all
from aepipe.pipeline.export.rows import Exporting
from aepipe.pipeline.ingest import ingest
from aepipe.pipeline.parts import opened
from aepipe.pipeline.parts.opened import shared
from aepipe.pipeline.parts.reading import read_part
from aepipe.pipeline.publish import write_all_items, write_items
from aepipe.pipeline.update import add, remove, sources_of
from aepipe.release import collections, gc, lifecycle
from aepipe.release.filter import ids_where
from aepipe.release.release import Release
from aepipe.sources import listing, loader
from aepipe.sources.item import Decode, Item
from aepipe.store import registry
from aepipe.store.artifacts import Ref, Store
from aepipe.store.item_segments import ItemSegments
from aepipe.store.rows import Rows
from aepipe.store.segments import Items
from tests.support.releases import bare_plan, make_release, pictures_of, publish_rows, put_encoder, write_pictures

N = 120


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Store]:
    """Stores with the same collection, in parts and in one table."""
    stores = (Store(tmp_path_factory.mktemp(name) / "store") for name in ("parts", "one"))
    parted, one = stores
    make_release(parted, n=N, part=16)
    make_release(one, n=N)
    return parted, one


def both(pair: tuple[Store, Store]) -> tuple[Release, Release]:
    return Release.open(pair[0], "pictures"), Release.open(pair[1], "pictures")


def test_a_release_of_parts_answers_as_one_of_a_table(pair: tuple[Store, Store]) -> None:
    parted, one = both(pair)
    assert len(parted.all_parts("codes")) == len(pair[0].parts(parted.part("rows"))) > 4
    ids = one.items.ids
    assert (parted.items.ids == ids).all()
    assert list(parted.items.column("key")) == list(one.items.column("key"))
    assert parted.codes_of(ids).hex() == one.codes_of(ids).hex()
    assert (parted.segments.embeddings_of(ids) == one.segments.embeddings_of(ids)).all()
    for k in (1, 10, 100):
        hits, wanted = (release.query(release.codes_of(ids), k=k) for release in (parted, one))
        assert (hits.ids == wanted.ids).all()
        assert (hits.distances == wanted.distances).all()
    assert parted.scores["rows"] == one.scores["rows"]


@pytest.mark.parametrize("where", ["label = 'class1'", "id between 30 and 50 or split = 'test'", "key like '%7.png'"])
def test_conditions_find_the_ids_of_the_list(pair: tuple[Store, Store], where: str) -> None:
    parted, one = both(pair)
    assert ids_where(parted, where).tolist() == ids_where(one, where).tolist()


def test_changes_of_a_release(pair: tuple[Store, Store], tmp_path: Path) -> None:
    """Rows are added, replaced and removed, then all is merged: each time both releases answer the same."""
    write_pictures(tmp_path / "more", 10, (28, 28, 1), seed=9)
    answers = []
    for store, release in zip(pair, both(pair), strict=True):
        known = sorted(pictures_of(store).rglob("*.png"))[4]
        known.write_bytes(sorted((tmp_path / "more").rglob("*.png"))[0].read_bytes())
        paths = [str(tmp_path / "more"), str(known)]
        added = Release.open(store, ref=add(store, release, sources_of(release, paths), replace=True).release)
        gone = Release.open(store, ref=remove(store, added, np.array([5, 60, 122])))
        whole = Release.open(store, ref=compact(store, gone))
        found = []
        for one in (release, added, gone, whole):
            hits = one.query(one.codes_of(one.items.ids), k=5)
            exported = pa.concat_tables(Exporting.of(store, one.ref).groups())
            found.append((one.items.ids.tolist(), hits.ids.tolist(), exported.column("id").to_pylist()))
            found.append((ids_where(one, "label = 'class1' or id > 118").tolist(), [], []))
        answers.append(found)
    assert answers[0] == answers[1]


def noted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that the keys of all items that are read come into."""
    read, usual = list[str](), loader._read

    def noting(item: Item, row: Decode, find: loader.Find, seen: loader.Seen | None) -> loader.Outcome:
        read.append(item.key)
        return usual(item, row, find, seen)

    monkeypatch.setattr(loader, "_read", noting)
    return read


def nightly(store: Store, n: int = 12) -> tuple[Release, Release]:
    """Add a few pictures between the others, and return the releases before and after."""
    before = Release.open(store, "pictures")
    write_pictures(pictures_of(store) / "train" / "class1a", n, (28, 28, 1), seed=5)
    plan = bare_plan(store, part=16)
    rows = ingest(store, plan.source, previous=before.part("rows"))
    ref = publish_rows(store, plan, rows, put_encoder(store, plan))
    registry.promote(store, "pictures", ref, why="a night")
    return before, Release.open(store, "pictures")


def test_a_night_encodes_the_parts_that_are_new_and_the_rest_is_kept(store: Store) -> None:
    make_release(store, n=N, part=16)
    before, after = nightly(store)
    same = set(store.parts(before.part("rows"))) & set(store.parts(after.part("rows")))
    assert len(same) >= len(store.parts(before.part("rows"))) - 3
    for what in ("codes", "items"):
        assert len(set(before.all_parts(what)) & set(after.all_parts(what))) == len(same)
    assert sorted(set(after.items.ids.tolist()) - set(before.items.ids.tolist())) == list(range(N, N + 12))
    # Runs of ids are cut within parts now.
    assert ids_where(after, f"id >= {N}").tolist() == list(range(N, N + 12))
    assert ids_where(after, "id < 3").tolist() == [0, 1, 2]
    parts = [part for part in after.parts if part[0] == "rows"]
    assert lifecycle.verify(store, after.ref)[-len(parts) :] == [one for _, one in parts]
    found = gc.find(store, keep=1, hours=0)
    needed = {*store.parts(before.part("rows")), *store.parts(after.part("rows"))}
    assert not needed & set(found.refs), "the release before may come back"
    registry.promote(store, "pictures", after.ref, why="again")
    gc.clean(store, keep=1, hours=0)
    assert lifecycle.check_release(store, after.ref).damage == ()
    assert lifecycle.check_all(store).damage == ()
    plan = bare_plan(store, part=16)
    assert ingest(store, plan.source, previous=after.part("rows")) == after.part("rows")


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> tuple[Release, Release]:
    """A release as earlier versions published it, with one segment of items, and that of the next night."""
    store = Store(tmp_path_factory.mktemp("night") / "store")
    make_release(store, n=N, part=16)
    made = Release.open(store, "pictures")
    earlier = replace(made.manifest, items=(write_items(store, made.part("rows"), made.items.root),))
    with store.draft("release") as draft:
        earlier.write(draft.path)
        ref = draft.finish(earlier.to_json(), earlier.facts | {"next_id": N})
    registry.promote(store, "pictures", ref, why="an earlier version")
    return nightly(store)


def test_a_release_of_parts_with_one_segment_of_items_goes_on(night: tuple[Release, Release]) -> None:
    before, after = night
    file = before.store.path(before.ref) / "release.json"
    assert json.loads(file.read_bytes())["items"] == str(before.part("items"))
    assert len(before.all_parts("codes")) > len(before.all_parts("items")) == 1
    assert len(after.all_parts("items")) == len(after.all_parts("codes")) > 4
    assert after.describe(before.items.ids) == before.describe(before.items.ids)
    for one in night:
        assert lifecycle.check_release(one.store, one.ref).damage == ()


def test_items_of_parts_answer_as_those_of_one_segment(night: tuple[Release, Release]) -> None:
    release = night[1]
    made = write_items(release.store, release.part("rows"), release.items.root)
    items, one = release.items, ItemSegments([Items(release.store.verified(made))], np.empty(0, np.int64))
    ids = one.ids[np.random.default_rng(0).permutation(len(one))]
    assert (items.ids == one.ids).all()
    assert [part.ids[-1] for part in items._parts] != sorted(part.ids[-1] for part in items._parts), "new ones between"
    assert items.rows(ids) == one.rows(ids)
    for name in ("key", "label", "split"):
        assert list(items.column(name)) == list(one.column(name))
        texts, numbers = items.values(name)
        assert [texts[number] for number in numbers] == list(one.column(name))
    assert [items.find(key or "") for key in one.column("key")] == one.ids.tolist()


def test_items_of_parts_are_written_by_any_engine(
    night: tuple[Release, Release], monkeypatch: pytest.MonkeyPatch
) -> None:
    release = night[1]
    store, rows, root = release.store, release.part("rows"), release.items.root

    class Backwards:
        def map(self, work: Work, parts: list[Part], needs: Needs) -> list[object]:
            return [pickle.loads(pickle.dumps(work))(part) for part in reversed(parts)]

    made = {ref: store.manifest(ref).outputs for ref in release.all_parts("items")}
    for ref in made:
        store.remove(ref)
    monkeypatch.setattr(engines, "resolve", Backwards)
    assert write_all_items(store, rows, root) == tuple(made)
    assert {ref: store.manifest(ref).outputs for ref in made} == made


def test_merged_additions_of_a_release_in_parts(
    night: tuple[Release, Release], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Removed rows of its parts stay removed, those of additions are gone."""
    monkeypatch.setattr(update, "MOST", 1)
    release = night[1]
    store, first = release.store, len(release)
    for number in range(2):
        write_pictures(tmp_path / "more" / str(number), 10, (28, 28, 1), seed=20 + number)
        added = add(store, release, sources_of(release, [str(tmp_path / "more")])).release
        release = Release.open(store, ref=added)
        gone = np.array([5 + number, 60 + number, int(release.items.ids[-1])])
        release = Release.open(store, ref=remove(store, release, gone))
    assert release.removed.tolist() == [5, 6, 60, 61, int(release.removed[-1])]
    assert len(release) == len(release.items.ids) == first + 20 - 6 + 1, "the one that was gone comes back"
    assert not set(release.items.ids.tolist()) & {5, 6, 60, 61}
    assert release.id_of(release.describe([7])[0].key) == 7
    whole = Release.open(store, ref=compact(store, release))
    assert whole.describe(whole.items.ids) == release.describe(release.items.ids)
    assert len(whole.all_parts("items")) == 1


def test_dropping_one_collection_leaves_parts_that_another_has(store: Store) -> None:
    make_release(store, n=N, part=16)
    make_release(store, n=N, name="other", part=16)
    collections.drop(store, "other")
    assert lifecycle.check_release(store, Release.open(store, "pictures").ref).damage == ()
    collections.drop(store, "pictures")
    assert not store.refs("rows")


def test_a_damaged_part_is_found(store: Store) -> None:
    make_release(store, n=N, part=16)
    release = Release.open(store, "pictures")
    file = next((store.root / "rows" / store.parts(release.part("rows"))[1].digest).glob("rows-*.parquet"))
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(CorruptError, match="bytes instead of"):
        lifecycle.verify(store, release.ref)
    assert lifecycle.check_release(store, release.ref).damage


def test_files_are_read_where_their_stamp_is_new(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "FRESH", -1e9)
    read = noted(monkeypatch)
    write_pictures(pictures_of(store), 60, (8, 8, 1))
    plan = bare_plan(store, shape=(8, 8, 1), part=16)
    first = ingest(store, plan.source)
    assert len(read) == 60
    read.clear()
    assert ingest(store, plan.source, previous=first) == first
    assert read == []
    touched = sorted(pictures_of(store).rglob("*.png"))[7]
    os.utime(touched, (1, 1))
    kept = len(store.refs("rows"))
    assert ingest(store, plan.source, previous=first) == first
    assert [Path(key).name for key in read] == [touched.name], "not even its neighbours"
    assert len(store.refs("rows")) == kept, "the same items are the same part"
    read.clear()
    assert ingest(store, plan.source, previous=first) == first
    assert read == [], "and the new times are known now"
    touched.write_bytes(sorted(pictures_of(store).rglob("*.png"))[9].read_bytes())
    second = ingest(store, plan.source, previous=first)
    assert [Path(key).name for key in read] == [touched.name]
    assert store.manifest(second).facts["changed"] == 1


def test_another_process_can_do_the_work(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """It opens the source by its recipe."""
    write_pictures(pictures_of(store), 60, (8, 8, 1))
    plan = bare_plan(store, shape=(8, 8, 1), part=16)

    class Elsewhere:
        def map(self, work: Work, parts: list[Part], needs: Needs) -> list[object]:
            monkeypatch.setattr(opened, "_here", {})
            found = [pickle.loads(pickle.dumps(work))(part) for part in parts]
            monkeypatch.undo()
            return found

    there = ingest(store, plan.source, recipe=plan.recipe, engine=Elsewhere())  # type: ignore[arg-type]
    here = Store(store.root.parent / "here")
    assert ingest(here, plan.source) == there
    assert {ref: here.manifest(ref).outputs for ref in here.refs("rows")} == {
        ref: store.manifest(ref).outputs for ref in store.refs("rows")
    }
    with shared(plan.source, None) as at:
        work = Work("ingest", read_part, {"store": store.address, "source": asdict(at), "threads": 1})
        monkeypatch.setattr(opened, "_here", {at.token: plan.source})
        assert work(Part(0, str(store.refs("listing")[0]))).rows


KILLED = """
import os, signal, sys
from aepipe.pipeline.parts import reading
from aepipe.pipeline.ingest import ingest
from aepipe.sources import listing
from aepipe.store.artifacts import Ref, Store
from pathlib import Path
from tests.support.releases import bare_plan
listing.FRESH = -1e9
usual, count = reading._read, []
def read(*args):
    if len(count) == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    count.append(0)
    return usual(*args)
reading._read = read
store = Store(Path(sys.argv[1]))
ingest(store, bare_plan(store, shape=(8, 8, 1), part=16).source)
"""


def test_after_a_kill_only_what_is_missing_is_made(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "FRESH", -1e9)
    write_pictures(pictures_of(store), 60, (8, 8, 1))
    command = [sys.executable, "-c", KILLED, str(store.root), "2"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], check=False, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    facts = [store.manifest(one).facts for one in store.refs("listing")]
    made = [Ref.parse(one["part"]) for one in facts if "part" in one]
    read = noted(monkeypatch)
    ref = ingest(store, bare_plan(store, shape=(8, 8, 1), part=16).source)
    there = sum(len(Rows(store.path(one))) for one in made)
    assert there > 0
    assert len(read) == 60 - there
    assert len(made) in {1, 2}
    assert set(made) < set(store.parts(ref))
    assert not list(store.root.glob("*/.tmp-*")), "drafts of the dead are swept"


def test_codes_of_parts_are_made_by_any_engine(store: Store) -> None:
    make_release(store, n=N, part=16)
    release = Release.open(store, "pictures")

    class Backwards:
        def map(self, work: Work, parts: list[Part], needs: Needs) -> list[object]:
            return [pickle.loads(pickle.dumps(work))(part) for part in reversed(parts)]

    model, rows = release.part("encoder"), release.part("rows")
    for ref in release.all_parts("codes"):
        store.remove(ref)
    made = encode_all(store, model, rows, engine=Backwards())  # type: ignore[arg-type]
    assert made == release.all_parts("codes")
    assert encode_all(store, model, rows, engine=None) == made


@pytest.mark.parametrize("lost", [False, True])
def test_codes_of_rows_that_stay_are_copied(store: Store, monkeypatch: pytest.MonkeyPatch, lost: bool) -> None:
    make_release(store, n=N, part=16)
    before = Release.open(store, "pictures")
    files = sorted(pictures_of(store).rglob("*.png"))
    for number in (3, 40, 77):
        files[number].write_bytes(files[number + 1].read_bytes())
    files[100].unlink()
    model, then, codes = before.part("encoder"), before.part("rows"), before.all_parts("codes")
    rows = ingest(store, bare_plan(store, part=16).source, previous=then)
    if lost:
        store.remove(codes[0])
    encoded, usual = list[int](), Encoder.encode

    def encode(self: Encoder, items: NDArray[np.generic], threads: int = 0) -> Encoding:
        encoded.append(len(items))
        return usual(self, items, threads=threads)

    monkeypatch.setattr(Encoder, "encode", encode)
    copied = encode_all(store, model, rows, known=codes, before=then)
    assert 3 < sum(encoded) < 50 if lost else sum(encoded) == 3
    made = {ref: store.manifest(ref).outputs for ref in copied}
    for ref in copied:
        store.remove(ref)
    assert {ref: store.manifest(ref).outputs for ref in encode_all(store, model, rows)} == made


def test_parts_on_object_storage_are_those_of_a_folder(store: Store, bucket: str, tmp_path: Path) -> None:
    """A machine that has no copies joins them, reads little of what has not changed, and gives the same rows."""
    write_pictures(pictures_of(store), 60, (8, 8, 1))
    plan = bare_plan(store, shape=(8, 8, 1), part=16)
    there = Store(bucket)
    first = ingest(there, plan.source)
    assert first == ingest(store, plan.source)
    write_pictures(pictures_of(store) / "train" / "class0b", 3, (8, 8, 1), seed=3)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("AEPIPE_CACHE", str(tmp_path / "other"))
        other = Store(there.address)
        second = ingest(other, plan.source, previous=first)
        assert second == ingest(store, plan.source, previous=first)
        rows, same = Rows(other.verified(second)), Rows(store.verified(second))
        assert rows.ids().tolist() == same.ids().tolist()
        assert (rows.features() == same.features()).all()
        root = plan.source.location
        items = write_all_items(other, second, root)
        assert items == write_all_items(store, second, root)
        assert {ref: other.manifest(ref).outputs for ref in items} == {
            ref: store.manifest(ref).outputs for ref in items
        }
