"""Groups of near rows: against brute force, and as the verb shows and writes them."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aepipe.codes.bitcodes import BitCodes
from aepipe.errors import QueryError
from aepipe.index import cost_model, near_duplicates
from aepipe.index.scan import Scan
from aepipe.release import dedup as duplicates
from aepipe.release.groups import Alike, Groups
from aepipe.release.keep import marked, order_named
from aepipe.release.release import Release
from aepipe.release.twins import twins
from aepipe.store.artifacts import Store
from aepipe.store.segments import Row
from tests.support.releases import make_release


def test_rows_of_a_table_are_identical_where_all_values_are() -> None:
    values = [("a", "1"), ("a", "2"), ("a", "1"), ("b", "1"), ("b", None), ("b", None)]
    rows = [Row(7 + at, f"t.csv#{at}", label, None, "", {"n": n}) for at, (label, n) in enumerate(values)]
    items = SimpleNamespace(ids=np.arange(7, 13), root=Path())
    table = SimpleNamespace(
        recipe={"source": {"kind": "table"}}, items=items, describe=lambda ids: [rows[one - 7] for one in ids]
    )
    found = twins(table, "identical", 2)  # type: ignore[arg-type]
    assert [found.of(place)[0].tolist() for place in range(len(found))] == [[7, 9], [11, 12]]
    assert "could not be read" not in found.summary()


def brute(codes: BitCodes, radius: int) -> tuple[list[int], list[int]]:
    """Go through the codes one by one, and compare each with all that stand for a group."""
    founders: list[int] = []
    first, far = [], []
    distances = codes.distances(codes).astype(int)
    for place in range(len(codes)):
        own = next((founder for founder in founders if distances[founder, place] <= radius), place)
        if own == place:
            founders.append(place)
        first.append(own)
        far.append(int(distances[own, place]))
    return first, far


@given(
    seed=st.integers(0, 2**32),
    count=st.integers(0, 150),
    n_bits=st.sampled_from([1, 8, 13, 64, 100, 256]),
    radius=st.integers(0, 12),
    cheap=st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_groups_are_those_of_brute_force(seed: int, count: int, n_bits: int, radius: int, cheap: bool) -> None:
    """Whether look-ups cost nothing, so that they are made, or too much for so few codes."""
    with pytest.MonkeyPatch.context() as patch:
        for cost in ("BEGUN", "LOOKED_UP", "READ", "FETCHED") if cheap else ():
            patch.setattr(cost_model, cost, 0.0)
        rng = np.random.default_rng(seed)
        centres = rng.random((6, n_bits)) < 0.5
        bits = centres[rng.integers(0, 6, count)] ^ (rng.random((count, n_bits)) < 0.05)
        codes = BitCodes.from_bits(np.unique(bits, axis=0)[rng.permutation(len(np.unique(bits, axis=0)))])
        first, far = near_duplicates.groups(Scan.of(codes), radius)
        assert (first.tolist(), far.tolist()) == brute(codes, radius)


@pytest.fixture(scope="module")
def full_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("doubles") / "store")
    make_release(store, n=120, n_bits=32)
    return store


@pytest.mark.parametrize(
    ("alike", "said"),
    [("identical", "identical"), ("copies", "copies of one picture"), ("content", "at most 3 bits apart")],
)
def test_no_group_is_said_in_the_words_of_what_was_asked(alike: Alike, said: str) -> None:
    none = np.empty(0, np.int64)
    found = Groups(none, none.astype(np.uint16), np.zeros(1, np.int64), radius=3, rows=1000, alike=alike, remark="so")
    assert found.summary() == f"no two of 1,000 rows are {said}; so"


@pytest.mark.parametrize("radius", [0, 2, 6, 32])
def test_rows_are_near_the_first_of_their_group_and_firsts_are_not(full_store: Store, radius: int) -> None:
    release = Release.open(full_store)
    found = duplicates.find(release, radius)
    assert found.rows == 120
    sizes = np.diff(found.offsets)
    assert (np.diff(sizes) <= 0).all()
    firsts = []
    for ids, distances in found:
        firsts.append(int(ids[0]))
        assert ids[0] == ids.min()
        codes = release.codes_of(ids)
        assert codes[:1].distances(codes)[0].tolist() == distances.tolist()
        assert (distances <= radius).all()
        assert sorted(zip(distances.tolist(), ids.tolist(), strict=True)) == list(
            zip(distances.tolist(), ids.tolist(), strict=True)
        )
    alone = np.setdiff1d(release.items.ids, found.ids)
    standing = release.codes_of(np.concatenate([firsts, alone]).astype(np.int64))
    apart = standing.distances(standing).astype(int) + 1000 * np.eye(len(standing), dtype=int)
    assert (apart > radius).all()
    assert (
        duplicates.find(release, radius, smallest=4).offsets.tolist()
        == found.offsets[: (sizes >= 4).sum() + 1].tolist()
    )


def test_the_first_and_last_picture_are_the_same(full_store: Store) -> None:
    """``make_release`` copies one."""
    release = Release.open(full_store)
    same = {tuple(ids.tolist()) for ids, _ in duplicates.find(release, 0)}
    hashes: dict[bytes, list[int]] = {}
    for row in release.describe(release.items.ids):
        hashes.setdefault((release.items.root / row.place).read_bytes(), []).append(row.id)
    (copies,) = [ids for ids in hashes.values() if len(ids) > 1]
    assert any(set(copies) <= set(ids) for ids in same)


def test_a_wrong_radius_or_size_is_refused(full_store: Store) -> None:
    release = Release.open(full_store)
    with pytest.raises(QueryError, match="a radius of 33 bits: codes of pictures have 32"):
        duplicates.find(release, 33)
    with pytest.raises(QueryError, match="at least 1 rows"):
        duplicates.find(release, 3, smallest=1)
    with pytest.raises(QueryError, match="cannot be written"):
        duplicates.write(release, duplicates.find(release, 3), Path("/nowhere/x.parquet"))


def test_groups_as_parquet(full_store: Store, tmp_path: Path) -> None:
    release = Release.open(full_store)
    found = duplicates.find(release, 6)
    duplicates.write(release, found, tmp_path / "groups.parquet")
    table = pq.read_table(tmp_path / "groups.parquet")
    assert table.column_names == ["group", "id", "key", "label", "distance", "size", "mark", "alike"]
    assert table.column("id").to_pylist() == found.ids.tolist()
    assert table.column("group").to_pylist()[-1] == len(found) - 1
    rows = release.describe(found.ids)
    assert table.column("key").to_pylist() == [row.key for row in rows]
    assert table.column("label").to_pylist() == [row.label for row in rows]
    said = json.loads(table.schema.metadata[duplicates.KEY])
    release_is = {"name": "pictures", "fingerprint": release.fingerprint}
    assert said == {"schema": 2, **release_is, "radius": 6, "alike": "content"}
    sizes = np.diff(found.offsets).tolist()
    assert table.column("group").to_pylist() == [place for place, size in enumerate(sizes) for _ in range(size)]
    assert table.column("size").to_pylist() == [size for size in sizes for _ in range(size)]
    assert table.column("distance").to_pylist() == found.distances.tolist()
    assert table.column("alike").to_pylist() == list(found.relations)
    marks = [mark for ids, _ in found for _, mark in marked(release, ids.tolist(), order_named("best"))]
    assert table.column("mark").to_pylist() == marks
    types = ["int64", "int64", "string", "string", "uint16", "int64", "string", "string"]
    assert [str(kind) for kind in table.schema.types] == types
    duplicates.write(release, found, tmp_path / "first.parquet", order_named("first"))
    firsts = [mark for ids, _ in found for _, mark in marked(release, ids.tolist(), order_named("first"))]
    assert pq.read_table(tmp_path / "first.parquet").column("mark").to_pylist() == firsts


def test_the_way_in_which_rows_are_alike_fits_their_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[object, ...]] = []
    monkeypatch.setattr(duplicates, "twins", lambda *given: asked.append(given))
    monkeypatch.setattr(duplicates, "find", lambda *given, smallest: asked.append((*given, smallest)))
    pictures, texts = (SimpleNamespace(recipe={"source": {"kind": kind}}) for kind in ("images", "text"))
    search: Any = duplicates._search
    with pytest.raises(QueryError, match="edited copies are found among pictures; allowed here: --alike identical"):
        search(texts, "copies", None, 2)
    for radius in (0, 3):
        with pytest.raises(QueryError, match="a radius is of codes: allowed with --alike content, not with identical"):
            search(texts, "identical", radius, 2)
    with pytest.raises(QueryError, match="groups of at least 1 rows: a group has 2 or more"):
        search(texts, "identical", None, 1)
    search(texts, "identical", None, 2)
    search(pictures, "identical", None, 3)
    search(pictures, "copies", None, 2)
    search(pictures, None, None, 2)
    assert asked == [
        (texts, "identical", 2), (pictures, "identical", 3), (pictures, "copies", 2), (pictures, "copies", 2)
    ]  # fmt: skip
    asked.clear()
    search(texts, None, None, 2)
    search(pictures, None, 0, 4)
    search(pictures, "content", None, 2)
    assert asked == [(texts, 3, 2), (pictures, 0, 4), (pictures, 3, 2)]
