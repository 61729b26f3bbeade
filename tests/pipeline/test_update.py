"""A release with added and removed rows answers as a release built from the same rows."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from aepipe.errors import EmptyItemError, QueryError, SourceError
from aepipe.pipeline import update
from aepipe.pipeline.compact import compact, merge_rows
from aepipe.pipeline.export.parquet import export
from aepipe.pipeline.ingest import ingest
from aepipe.pipeline.update import Added
from aepipe.release import dedup as duplicates
from aepipe.release import originals
from aepipe.release import query as queries
from aepipe.release.filter import ids_where
from aepipe.release.lifecycle import next_id, verify
from aepipe.release.release import Release
from aepipe.store import registry
from aepipe.store.artifacts import Store
from aepipe.store.rows import Rows
from tests.support.releases import bare_plan, make_release, pictures_of, publish_rows

N = 40
SHAPE = (8, 8, 1)
CAR, BUS = "train/class0/car.png", "train/class1/bus.png"


@pytest.fixture
def release(store: Store) -> Release:
    """A release of 40 pictures, in service."""
    return Release.open(store, ref=make_release(store, n=N, shape=SHAPE))


def put_picture(store: Store, key: str, like: int, release: Release) -> Path:
    """Put a rotated copy of a row's picture, which has new bytes, into the collection."""
    from PIL import Image, ImageOps

    file = pictures_of(store) / key
    with Image.open(pictures_of(store) / release.describe([like])[0].key) as image:
        ImageOps.mirror(image).save(file)
    return file


def add(store: Store, release: Release, *paths: Path | str, replace: bool = False) -> tuple[Added, Release]:
    """Add items, put the release into service and open it."""
    done = update.add(store, release, update.sources_of(release, [str(path) for path in paths]), replace=replace)
    return done, serve(store, done.release)


def serve(store: Store, ref: object) -> Release:
    """Put a release into service and open it."""
    assert ref is not None
    registry.promote(store, "pictures", ref, why="a test")  # type: ignore[arg-type]
    return Release.open(store)


def answers(release: Release, k: int = 100) -> list[list[tuple[str, int]]]:
    """Return the hits of each row of a release, by keys."""
    hits = release.query(release.codes_of(release.items.ids), k)
    keys = [[row.key for row in release.describe(hits.of(i)[0])] for i in range(len(release))]
    return [list(zip(keys[i], hits.of(i)[1].tolist(), strict=True)) for i in range(len(release))]


def test_an_added_picture_is_found_at_once_under_the_key_of_its_source(store: Store, release: Release) -> None:
    file = put_picture(store, CAR, 3, release)
    done, new = add(store, release, file)
    assert (done.new, done.replaced, done.unchanged, done.bad) == (1, 0, 0, ())
    row = new.describe([new.id_of(CAR)])[0]
    assert (row.id, row.key, row.place, row.label, row.split) == (N, CAR, CAR, "class0", "train")
    assert new.items.root / row.place == file
    assert row.id in new.within(new.codes_of([row.id]), 0).ids
    assert (len(new), len(new.index), len(release)) == (N + 1, N + 1, N)
    assert release.ref in store.refs("release"), "a program that has the release before open can go on with it"
    assert len(answers(release)) == N
    assert verify(store, new.ref)


def test_known_items_are_skipped(store: Store, release: Release) -> None:
    done, new = add(store, release, pictures_of(store))
    assert (done.new, done.unchanged, new.ref) == (0, N, release.ref)
    put_picture(store, CAR, 3, release)
    done, new = add(store, release, pictures_of(store))
    assert (done.new, done.unchanged, len(new)) == (1, N, N + 1)
    assert add(store, new, pictures_of(store))[0].unchanged == N + 1


def test_a_folder_elsewhere_keeps_its_own_keys(store: Store, release: Release, tmp_path: Path) -> None:
    put_picture(store, CAR, 3, release).rename(tmp_path / "car.png")
    _, new = add(store, release, tmp_path / "car.png")
    row = new.describe([new.id_of("car.png")])[0]
    assert new.items.root / row.place == tmp_path / "car.png"
    # It is outside of the collection's folder, and shown all the same: whoever added it said where it is.
    assert originals.file_of(new, row.place) == tmp_path / "car.png"
    merged = Release.open(store, ref=compact(store, new))
    assert originals.original(merged, row.place) == (tmp_path / "car.png").read_bytes()
    assert originals.file_of(release, row.place) is None


def test_a_key_with_other_bytes_is_replaced_only_on_request(store: Store, release: Release) -> None:
    old = release.describe([3])[0]
    put_picture(store, old.key, 20, release)
    with pytest.raises(QueryError, match=f"{old.key}: pictures has that key with other bytes; --replace"):
        add(store, release, pictures_of(store) / old.key)
    done, new = add(store, release, pictures_of(store) / old.key, replace=True)
    assert (done.new, done.replaced, len(new)) == (0, 1, N)
    assert new.id_of(old.key) == N, "other bytes are another row"
    with pytest.raises(QueryError, match="no row has the id 3"):
        new.describe([3])


def test_unreadable_items_are_listed(store: Store, release: Release, tmp_path: Path) -> None:
    put_picture(store, CAR, 3, release)
    (pictures_of(store) / BUS).write_bytes(b"no picture")
    with pytest.raises(SourceError, match=r"1 of 2 items \(50.0%\) are unreadable"):
        add(store, release, pictures_of(store) / CAR, pictures_of(store) / BUS)
    listed = pq.read_table(store.root / "quarantine-pictures-added.parquet").to_pylist()
    assert [one["key"] for one in listed] == [BUS]


def test_what_is_passed_over_is_counted(
    store: Store, release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "more"
    folder.mkdir()
    for name, like in (("new.png", 3), ("silent.png", 4)):
        shutil.copy(pictures_of(store) / release.describe([like])[0].key, folder / name)
    (folder / "notes.txt").write_text("not a picture")
    decode = queries.decoder(release)

    def hears(data: bytes, key: str) -> NDArray[np.generic]:
        if key == "silent.png":
            raise EmptyItemError(key, "silence")
        return decode(data, key)

    monkeypatch.setattr(queries, "decoder", lambda release: hears)
    done, _ = add(store, release, folder)
    assert (done.new, done.bad) == (1, ())
    assert {fact["reason"]: fact["first"] for fact in done.passed_over} == {
        "not a picture": ["notes.txt"],
        "silence": ["silent.png"],
    }


def test_removed_rows_are_in_no_answer(store: Store, release: Release, tmp_path: Path) -> None:
    gone = np.array([3, 11, N - 1])
    new = serve(store, update.remove(store, release, gone))
    left = [one for one in range(N) if one not in gone]
    assert (new.items.ids.tolist(), len(new.index), new.removed.tolist()) == (left, N - 3, gone.tolist())
    assert {key for hits in answers(new) for key, _ in hits} == {row.key for row in new.describe(left)}
    assert ids_where(new, "id < 12").tolist() == [one for one in left if one < 12]
    assert not set(gone.tolist()) & set(duplicates.find(new, 8).ids.tolist())
    assert export(store, new.ref, tmp_path / "out").rows == N - 3
    exported = pq.read_table(tmp_path / "out").column("id").to_pylist()
    assert sorted(exported) == left
    assert verify(store, new.ref)


def test_rows_that_are_not_in_the_index_can_be_removed(store: Store) -> None:
    make_release(store, n=N, shape=SHAPE, promote=False)
    plan = bare_plan(store, shape=SHAPE, indexed="train")
    ref = publish_rows(store, plan, ingest(store, plan.source), store.refs("model")[0])
    release = Release.open(store, ref=ref)
    asked = next(row.id for row in release.describe(release.items.ids) if row.split == "test")
    new = serve(store, update.remove(store, release, np.array([asked])))
    assert (len(new), len(new.index)) == (N - 1, len(release.index))


@pytest.mark.parametrize(
    ("ids", "said"),
    [([], "no row is named"), ([N], f"no row has the id {N}"), (list(range(N)), "these are all of its")],
)
def test_impossible_removals_are_refused(store: Store, release: Release, ids: list[int], said: str) -> None:
    with pytest.raises(QueryError, match=said):
        update.remove(store, release, np.array(ids, np.int64))


def test_ids_are_never_given_again(store: Store, release: Release) -> None:
    file = put_picture(store, CAR, 3, release)
    _, new = add(store, release, file)
    serve(store, update.remove(store, new, np.array([N])))
    serve(store, release.ref)
    assert next_id(store, "pictures") == N + 1
    _, new = add(store, release, put_picture(store, BUS, 4, release))
    assert new.id_of(BUS) == N + 1


def test_many_changes_answer_as_a_release_built_of_the_same_rows(
    store: Store, release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(update, "MOST", 3)
    new = release
    for i in range(8):
        _, new = add(store, new, put_picture(store, f"train/class2/{i}.png", i, release))
        new = serve(store, update.remove(store, new, np.array([2 * i + 1, N + i][: 1 + i % 2])))
        assert len(new.all_parts("items")) <= 1 + 3
    assert len(new) == N + 8 - 8 - 4
    built = serve(store, compact(store, new))
    assert not built.changed
    assert answers(built) == answers(new)
    assert built.items.ids.tolist() == new.items.ids.tolist()
    assert compact(store, built) == built.ref
    rows = Rows(store.path(built.part("rows")))
    assert (rows.ids().tolist(), rows.next_id) == (built.items.ids.tolist(), N + 8)
    _, more = add(store, built, put_picture(store, CAR, 5, release))
    assert more.id_of(CAR) == N + 8


def test_the_next_ingestion_keeps_ids_and_brings_back_what_the_source_still_has(store: Store, release: Release) -> None:
    _, new = add(store, release, put_picture(store, CAR, 3, release))
    new = serve(store, update.remove(store, new, np.array([7])))
    rows = Rows(store.path(ingest(store, bare_plan(store, shape=SHAPE).source, previous=merge_rows(store, new))))
    ids = dict(zip(rows.keys(), rows.ids().tolist(), strict=True))
    assert ids[CAR] == N
    assert ids[release.describe([7])[0].key] == N + 1, "it is a new row"
    assert len(rows) == N + 1


def test_a_copy_is_a_row_of_its_own_and_a_missing_file_is_an_error(store: Store, release: Release) -> None:
    shutil.copy(pictures_of(store) / release.describe([5])[0].key, pictures_of(store) / CAR)
    _, new = add(store, release, pictures_of(store) / CAR)
    assert {5, N} <= set(new.within(new.codes_of([5]), 0).ids.tolist())
    with pytest.raises(SourceError, match=r"nowhere.png: no such file or folder"):
        add(store, release, pictures_of(store) / "nowhere.png")


class Priced:
    """A source whose items have one more column."""

    location = Path("/priced")

    def keep_types(self, known: pa.Schema) -> None:
        pass

    def schema(self) -> pa.Schema:
        """One column."""
        return pa.schema({"price": pa.int64()})


def test_columns_that_the_release_lacks_are_refused(store: Store, release: Release) -> None:
    with pytest.raises(SourceError, match=r"/priced: pictures has no column 'price'; it has: none"):
        update.add(store, release, [Priced()])  # type: ignore[list-item]
