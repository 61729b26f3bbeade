"""Publishing: a release holds what rows and codes say, in whatever order they come."""

from __future__ import annotations

import json
import shutil
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from aepipe.errors import CorruptError
from aepipe.pipeline import publish as publishing
from aepipe.pipeline.encode import encode
from aepipe.pipeline.ingest import ingest
from aepipe.release.lifecycle import verify
from aepipe.release.release import Release
from aepipe.store.artifacts import Ref, Store
from aepipe.store.rows import Row, Rows
from aepipe.store.rows_writer import RowsWriter
from tests.support.releases import (
    BarePlan,
    bare_plan,
    make_release,
    pictures_of,
    publish_rows,
    put_encoder,
    write_pictures,
)

N = 40


@pytest.fixture
def plan(store: Store) -> BarePlan:
    """The resolved recipe of some pictures."""
    write_pictures(pictures_of(store), N, (8, 8, 1))
    return bare_plan(store, shape=(8, 8, 1))


def codes_by_key(release: Release) -> dict[str, str]:
    """Return the stored code of each key."""
    ids = release.items.ids
    return dict(zip((row.key for row in release.describe(ids)), release.codes_of(ids).hex(), strict=True))


def test_a_release_holds_all_rows(store: Store, plan: BarePlan) -> None:
    rows = ingest(store, plan.source)
    release = Release.open(store, ref=publish_rows(store, plan, rows, put_encoder(store, plan)))
    table = Rows(store.path(rows))
    expected = {row.key: row for row in table.rows()}
    assert len(release) == len(release.index) == len(expected) == N
    for found in release.describe(release.items.ids):
        row = expected[found.key]
        assert (found.id, found.label, found.split, found.place) == (row.id, row.label, row.split, row.place)
        code = release.encode(row.features[None].astype(np.uint8))
        assert code.hex() == release.codes_of([found.id]).hex()
        assert found.id in release.within(code, 0).ids
    assert release.items.root == pictures_of(store)


def test_equal_inputs_write_nothing(store: Store, plan: BarePlan) -> None:
    rows, model = ingest(store, plan.source), put_encoder(store, plan)
    ref = publish_rows(store, plan, rows, model)
    before = {kind: store.refs(kind) for kind in ("segment", "release")}
    assert publish_rows(store, plan, rows, model) == ref
    assert {kind: store.refs(kind) for kind in ("segment", "release")} == before


def test_only_the_train_split_is_indexed_where_the_recipe_says_so(store: Store, plan: BarePlan) -> None:
    rows, model = ingest(store, plan.source), put_encoder(store, plan)
    some = bare_plan(store, shape=(8, 8, 1), indexed="train")
    release = Release.open(store, ref=publish_rows(store, some, rows, model))
    hits = release.query(release.codes_of([0]), N)
    assert hits.count[0] == len(release.index) == N - N // 5
    assert {row.split for row in release.describe(hits.of(0)[0])} == {"train"}
    assert len(release) == N, "rows that are not indexed are still described, and can be asked"
    everything = Release.open(store, ref=publish_rows(store, plan, rows, model))
    assert dict(everything.parts)["items"] == dict(release.parts)["items"], "the same rows share their items"


def test_vanished_and_new_rows(store: Store, plan: BarePlan) -> None:
    """A nightly run keeps old codes where they are, and encodes only new rows."""
    rows, model = ingest(store, plan.source), put_encoder(store, plan)
    old = Release.open(store, ref=publish_rows(store, plan, rows, model))
    known = tuple(part for what, part in old.parts if what == "codes")
    folder = pictures_of(store)
    gone = [row.key for row in old.describe([3, 11, N - 1])]
    for key in gone:
        (folder / key).unlink()
    for i in range(5):
        shutil.copy(folder / old.describe([20 + i])[0].key, folder / "train" / "class1" / f"new{i}.png")
    newer = ingest(store, bare_plan(store, shape=(8, 8, 1)).source, previous=rows)
    new = Release.open(store, ref=publish_rows(store, plan, newer, model, known))
    assert len([part for what, part in new.parts if what == "codes"]) == 2
    assert len(new) == len(new.index) == N - 3 + 5
    before, after = codes_by_key(old), codes_by_key(new)
    assert after.keys() == before.keys() - set(gone) | {f"train/class1/new{i}.png" for i in range(5)}
    assert all(after[key] == before[key] for key in before.keys() - set(gone))
    assert all(after[f"train/class1/new{i}.png"] == before[old.describe([20 + i])[0].key] for i in range(5))
    assert not {3, 11, N - 1} & set(new.query(new.codes_of([0]), 100).of(0)[0].tolist())
    assert set(new.items.ids) - set(old.items.ids) == set(range(N, N + 5)), "an id is never used again"
    assert verify(store, new.ref)
    assert verify(store, old.ref)


def test_a_row_without_a_code_is_an_error(store: Store, plan: BarePlan) -> None:
    rows, model = ingest(store, plan.source), put_encoder(store, plan)
    scores = dict(Release.open(store, ref=publish_rows(store, plan, rows, model)).parts)["scores"]
    with store.draft("segment") as draft:
        np.save(draft.path / "ids.npy", np.arange(N - 1))
        np.save(draft.path / "codes.npy", np.zeros((N - 1, 8), np.uint8))
        part = draft.finish({"part": True}, {"fingerprint": "f" * 64, "n_bits": 64})
    with pytest.raises(CorruptError, match=rf"no segment has the code of row {N - 1}"):
        publishing.publish(store, plan.recipe, Path(), rows=rows, model=model, codes=[part], scores=scores)


def test_columns_come_as_text_in_the_order_of_ids(store: Store, plan: BarePlan) -> None:
    values: list[Any] = [
        "text",
        None,
        1.5,
        True,
        [1, None, "ä"],
        {"a": date(2020, 1, 2)},
        b"\x00\xff",
        7,
        date(2020, 1, 2),
    ]
    expected = ["text", None, "1.5", "true", '[1, null, "ä"]', '{"a": "2020-01-02"}', "00ff", "7", "2020-01-02"]
    assert [publishing._text(value) for value in values] == expected
    rows, model = disordered_rows(store), put_encoder(store, plan)
    release = Release.open(store, ref=publish_rows(store, plan, rows, model))
    assert release.items.ids.tolist() == [4 * i for i in range(30)]
    assert release.items.columns == ["id", "a/../b"]
    for row in release.describe(release.items.ids):
        assert row.columns == {"id": f"own {row.key}", "a/../b": None if row.id % 8 else str(row.id)}
    assert release.id_of("k07") == 28


def disordered_rows(store: Store) -> Ref:
    """Write rows whose ids do not ascend, with columns of awkward names."""
    rng = np.random.default_rng(0)
    columns = pa.schema([("id", pa.string()), ("a/../b", pa.int64())])
    with store.draft("rows") as draft, RowsWriter(draft.path, shape=(8, 8, 1), columns=columns) as writer:
        for i in rng.permutation(30).tolist():
            own = {"id": f"own k{i:02d}", "a/../b": None if 4 * i % 8 else 4 * i}
            pixels = rng.integers(0, 256, (8, 8, 1), dtype=np.uint8)
            split = "test" if i % 4 == 0 else "train"
            writer.append(Row(4 * i, f"k{i:02d}", bytes(32), f"p{i}", split, pixels, columns=own))
        writer.close(source="s", next_id=120)
        return draft.finish({"disordered": True})


def test_the_release_file_names_all_parts(store: Store) -> None:
    ref = make_release(store, n=20)
    body = json.loads((store.path(ref) / "release.json").read_text())
    release = Release.open(store)
    assert body["rows"] == 20
    assert Path(body["source_path"]) == pictures_of(store)
    assert body["recipe"]["code"]["bits"] == 64
    assert {str(part) for _, part in release.parts} == {
        *body["codes"],
        *(body[name] for name in ("encoder", "items", "index", "scores", "source_rows")),
    }


def test_codes_do_not_depend_on_the_rest_of_the_batch(store: Store, plan: BarePlan) -> None:
    rows, model = ingest(store, plan.source), put_encoder(store, plan)
    folder = store.path(encode(store, model, rows))
    ids, packed = np.load(folder / "ids.npy"), np.load(folder / "codes.npy")
    release = Release.open(store, ref=publish_rows(store, plan, rows, model))
    for _, items in Rows(store.path(rows)).batches(1):
        assert release.encode(items).packed.tolist()[0] in packed.tolist()
    assert ids.tolist() == sorted(ids.tolist())
