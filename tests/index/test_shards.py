"""An index in shards answers as one index does: ids and distances, of any kind, with ties, filters and changes."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from aepipe.codes.bitcodes import BitCodes
from aepipe.errors import CodeError, CorruptError, FingerprintError, QueryError
from aepipe.index import asymmetric, hamming, shards
from aepipe.index.cost_model import Reach, scan_cost
from aepipe.index.hamming import DeltaIndex, HammingIndex, RowIndex
from aepipe.index.hits import Hits, RaggedHits
from aepipe.index.shards import Shard, Shards
from tests.index.test_hamming import few_codes, scrambled_ids
from tests.index.test_kinds import near_codes

Ints = NDArray[np.int64]

KINDS: dict[str, dict[str, Any]] = {
    **{kind: {} for kind in hamming.kinds()},
    # With all cells, and a walk as wide as the graph, these miss no distance.
    "ivf": {"cells": 8, "probes": 8},
    "hnsw": {"breadth": 4000},
}
APPROXIMATE = {"ivf", "hnsw"}
ROWS, QUERIES = 600, 1000


def assert_equal(one: Hits | RaggedHits, other: Hits | RaggedHits) -> None:
    """Check that two answers are the same hits in the same order."""
    for query in range(len(one)):
        for mine, theirs in zip(one.of(query), other.of(query), strict=True):
            np.testing.assert_array_equal(mine, theirs)


def assert_as_near(one: Hits, other: Hits) -> None:
    """Check two answers of a kind that breaks the ties of its last distance by chance."""
    np.testing.assert_array_equal(one.distances, other.distances)
    for query in range(len(one)):
        ids, distances = one.of(query)
        sure = distances < distances[-1]
        np.testing.assert_array_equal(ids[sure], other.of(query)[0][sure])
        assert len(set(ids.tolist())) == len(ids)


def assert_answers_equal(one: Any, other: HammingIndex, codes: BitCodes, where: Ints, *, exact: bool) -> None:
    """Check nearest rows and those within a radius, of all rows and of some."""
    compare = assert_equal if exact else assert_as_near
    for k in (1, 10, 100):
        compare(one.search(codes, k), other.search(codes, k))
    compare(one.search(codes, 10, where), other.search(codes, 10, where))
    assert_equal(one.within(codes, 9), other.within(codes, 9))
    assert_equal(one.within(codes, 9, where), other.within(codes, 9, where))


@pytest.mark.parametrize(
    ("kind", "count"), [(kind, count) for kind in sorted(KINDS) for count in ([2] if kind == "auto" else [1, 2, 7])]
)
def test_a_thousand_questions_have_the_answers_of_one_index(kind: str, count: int) -> None:
    rng = np.random.default_rng(count)
    codes, ids = near_codes(rng, ROWS, 32), scrambled_ids(rng, ROWS)
    asked = BitCodes.from_bits(codes.unpack()[rng.integers(0, ROWS, QUERIES)] ^ (rng.random((QUERIES, 32)) < 0.05))
    asked = BitCodes(asked.packed, 32, codes.fingerprint)
    where = rng.permutation(ids)[: ROWS // 3]
    one = hamming.build(codes, ids, kind=kind, options=KINDS[kind])
    several = shards.build(codes, ids, count, kind=kind, options=KINDS[kind])
    assert (len(several), several.n_bits, several.fingerprint) == (ROWS, 32, codes.fingerprint)
    assert_answers_equal(several, one, asked, where, exact=kind not in APPROXIMATE)


@given(
    seed=st.integers(0, 2**32),
    before=st.integers(0, 40),
    more=st.integers(0, 20),
    count=st.sampled_from([2, 3, 7]),
    kinds=st.integers(1, 8),
    k=st.integers(1, 70),
)
@settings(max_examples=80, deadline=None)
def test_added_and_removed_rows_are_found_as_in_one_index(
    seed: int, before: int, more: int, count: int, kinds: int, k: int
) -> None:
    rng = np.random.default_rng(seed)
    codes, ids = few_codes(rng, before + more, 20, kinds), scrambled_ids(rng, before + more)
    queries, gone = BitCodes.from_bits(rng.random((4, 20)) < 0.5), rng.random(before + more) < 0.4
    where = rng.integers(0, 3 * (before + more) + 5, before + 2).astype(np.int64)
    start = hamming.build(codes[:before], ids[:before])
    several = shards.build(codes[:before], ids[:before], count)
    grown = start.add(codes[before:], ids[before:]), several.add(codes[before:], ids[before:])
    left = grown[0].remove(ids[gone]), grown[1].remove(ids[gone])
    pairs: list[tuple[RowIndex | DeltaIndex, Shards]] = [(start, several), grown, left]
    for one, other in [*pairs, (left[0].prefix(7), left[1].prefix(7))]:
        asked = queries.prefix(one.n_bits)
        assert len(one) == len(other)
        np.testing.assert_array_equal(one.holds(ids), other.holds(ids))
        assert_equal(one.search(asked, k), other.search(asked, k))
        assert_equal(one.search(asked, k, where), other.search(asked, k, where))
        assert_equal(one.within(asked, 3, where), other.within(asked, 3, where))


@pytest.mark.parametrize("radius", [0, 3, 7, 12])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_shards_that_are_asked_within_a_radius_first_have_the_answers_of_one_index(count: int, radius: int) -> None:
    rng = np.random.default_rng(radius)
    codes, ids = near_codes(rng, ROWS, 32), scrambled_ids(rng, ROWS)
    asked = BitCodes.from_bits(codes.unpack()[rng.integers(0, ROWS, 40)] ^ (rng.random((40, 32)) < 0.1))
    start = ROWS // 2
    one = hamming.build(codes[:start], ids[:start])
    with patch("aepipe.index.kinds.multihash.scan_cost", return_value=1e9):  # looking up is always cheaper
        several = shards.build(codes[:start], ids[:start], count, kind="multihash")
    grown = one.add(codes[start:], ids[start:]), several.add(codes[start:], ids[start:])
    gone = rng.permutation(ids)[: ROWS // 3]
    left = grown[0].remove(gone), grown[1].remove(gone)
    pairs: list[tuple[HammingIndex, Shards]] = [(one, several), grown, left]
    for flat, parted in pairs:
        with patch.object(parted, "_plan", lambda k: (1.0, radius)):
            for k in (1, 10, 60):
                assert_equal(parted.search(asked, k), flat.search(asked, k))
                for question in (asked[place : place + 1] for place in range(5)):
                    assert_equal(parted.search(question, k), flat.search(question, k))


@pytest.mark.parametrize("count", [2, 7])
def test_questions_with_floats_have_the_answers_of_one_index(count: int) -> None:
    rng = np.random.default_rng(1)
    codes, ids = few_codes(rng, 300, 20, 30), scrambled_ids(rng, 300)
    one = hamming.build(codes[:250], ids[:250]).add(codes[250:], ids[250:]).remove(ids[::3])
    several = shards.build(codes[:250], ids[:250], count).add(codes[250:], ids[250:]).remove(ids[::3])
    values = rng.normal(size=20).astype(np.float32)
    for where in (None, ids[:90]):
        for k in (1, 10, 400):
            found = asymmetric.search(several, values, k, where)
            np.testing.assert_array_equal(found, asymmetric.search(one, values, k, where))


def test_shards_are_searched_in_threads_where_that_is_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    codes, ids = near_codes(rng, 500, 32), scrambled_ids(rng, 500)
    several = shards.build(codes, ids, 4)
    in_turn = several.search(codes[:20], 10)
    monkeypatch.setattr(shards, "WORTH_THREADS", 1)
    assert_equal(several.search(codes[:20], 10), in_turn)
    with pytest.raises(QueryError, match="at least 1"):
        several.search(codes[:20], 0)


def test_a_shard_holds_the_rows_whose_ids_say_so(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    codes, ids = few_codes(rng, 50, 16, 9), scrambled_ids(rng, 50)
    several = shards.build(codes[:40], ids[:40], 3).add(codes[40:], ids[40:]).remove(ids[:9])
    for number, part in enumerate(several.parts):
        assert isinstance(part, DeltaIndex)
        held = np.sort(ids[9:][ids[9:] % 3 == number])
        np.testing.assert_array_equal(np.sort(ids[part.holds(ids)]), held)
    assert several.changes == {"added": 10, "removed": 9}
    folders = [tmp_path / str(number) for number in range(3)]
    for folder, part in zip(folders, several.parts, strict=True):
        folder.mkdir()
        assert isinstance(part, DeltaIndex)
        part.base.save(folder)
    (tmp_path / "changes").mkdir()
    several.save_changes(tmp_path / "changes")
    opened = shards.open(folders, tmp_path / "changes")
    assert isinstance(opened, Shards)
    assert_equal(opened.search(codes[:9], 20), several.search(codes[:9], 20))
    with pytest.raises(CorruptError):  # the changes of another shard
        shards.open([folders[1], folders[0], folders[2]], tmp_path / "changes")


def test_fewer_rows_than_shards(tmp_path: Path) -> None:
    codes = few_codes(np.random.default_rng(3), 2, 16, 2)
    several = shards.build(codes, np.array([3, 11]), 7, kind="auto")
    found = several.search(codes[:1], 5)
    assert sorted(found.of(0)[0].tolist()) == [3, 11]
    several.parts[0].save(tmp_path)
    assert len(hamming.open(tmp_path)) == 0


def test_one_folder_is_one_index(tmp_path: Path) -> None:
    hamming.build(few_codes(np.random.default_rng(3), 9, 16, 2), np.arange(9)).save(tmp_path)
    assert isinstance(shards.open([tmp_path]), RowIndex)


def test_wrong_codes_and_ids_are_refused() -> None:
    rng = np.random.default_rng(4)
    codes, ids = few_codes(rng, 20, 16, 5), np.arange(20)
    several = shards.build(codes, ids, 3)
    with pytest.raises(CodeError):
        several.search(few_codes(rng, 1, 17, 1), 1)
    with pytest.raises(FingerprintError):
        several.add(BitCodes(codes.packed, 16, "0" * 64), ids + 20)
    with pytest.raises(QueryError, match="id 4 is in the index already"):
        several.add(codes[:1], np.array([4]))
    with pytest.raises(QueryError, match="id 99 is not in the index"):
        several.remove(np.array([3, 99]))


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2", ""])
def test_what_is_no_shard(text: str) -> None:
    with pytest.raises(QueryError, match="2/4"):
        Shard.parse(text)


def test_shards_are_counted_from_one() -> None:
    assert Shard.parse("2/4") == Shard(1, 4)
    assert str(Shard(1, 4)) == "2/4"


def test_rows_are_split_by_their_ids() -> None:
    ids = np.array([7, 3, 12, 4, 9])
    assert [own.tolist() for own in shards.split(ids, 3) if own is not None] == [[3, 12, 9], [7, 4], []]
    assert shards.split(None, 2) == [None, None]
    assert Shard(1, 3).own(ids).tolist() == [7, 4]
    assert [str(Shard.parse(text)) for text in ("1/1", " 3/4 ", "999999/999999")] == ["1/1", "3/4", "999999/999999"]
    with pytest.raises(QueryError, match="'1000000/1000000': a shard is wanted as 2/4, the second of four"):
        Shard.parse("1000000/1000000")


def test_figures_of_all_shards_are_summed() -> None:
    codes, ids = few_codes(np.random.default_rng(6), 60, 16, 9), np.arange(60)
    several = shards.build(codes[:50], ids[:50], 3)
    assert several.changes == {"added": 0, "removed": 0}
    assert (len(several), several.n_codes) == (50, sum(part.n_codes for part in several.parts))
    grown = several.add(codes[50:52], np.array([50, 53])).remove(np.array([0]))
    assert grown.changes == {"added": 2, "removed": 1}
    assert [isinstance(part, DeltaIndex) for part in grown.parts] == [True, False, True], "the others stay as they were"
    assert grown.parts[1] is several.parts[1]
    assert grown.holds(np.array([0, 1, 50, 53, 51])).tolist() == [False, True, True, True, False]
    first = shards.build(BitCodes(codes.packed[:1], 16), ids[:1], 2).add(codes[1:2], np.array([1]))
    assert first.fingerprint == codes.fingerprint, "that of the first shard that has one"
    assert several.prefix(5).n_bits == 5


def test_changes_of_shards_are_saved_in_folders_of_their_own(tmp_path: Path) -> None:
    codes = few_codes(np.random.default_rng(7), 20, 16, 9)
    several = shards.build(codes, np.arange(20), 2).remove(np.array([3]))
    several.save_changes(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1"]
    for number, part in enumerate(several.parts):
        base = part.base if isinstance(part, DeltaIndex) else part
        assert shards.open_part(base, tmp_path, number).removed.tolist() == ([3] if number else [])


@pytest.mark.parametrize(("far", "radius"), [([1] * 8 + [9] * 2, 1), ([1] * 7 + [3] * 3, 3), ([9] * 10, None)])
@pytest.mark.parametrize("dear", [1.01, 0.99])
def test_the_radius_that_is_asked_for_first(far: list[int], radius: int | None, dear: float) -> None:
    """It is that of the stage which certifies most questions, where it costs less than asking each shard alone."""
    codes = near_codes(np.random.default_rng(8), 40, 32)
    with patch("aepipe.index.kinds.multihash.scan_cost", return_value=1e9):
        several = shards.build(codes, np.arange(40), 2, kind="multihash", options={"substrings": 2})
    reach = Reach(2, [far, [9] * 10, [9] * 10, [9] * 10], [1e-6, 1e-5])
    for part in several.parts:
        assert isinstance(part, RowIndex)
        part.engine.reach = reach  # type: ignore[attr-defined]
    stage = reach.stage(1 if radius == 3 else 0, 32, 20)
    with patch.object(Reach, "cost", lambda *_: stage * dear):
        found = several._plan(2)
    assert found[1] == (radius if dear > 1 else None)
    assert found[0] == pytest.approx(stage if found[1] else stage * dear, rel=1e-3)


def test_a_scan_of_the_largest_shard_is_what_a_question_costs() -> None:
    codes = BitCodes(np.arange(20, dtype=np.uint8)[:, None], 8)
    several = shards.build(codes, np.array([0, *range(1, 39, 2)]), 2)
    assert several._plan(3) == (scan_cost(8, 19), None)


@pytest.mark.parametrize(("worth", "threads"), [(0.99, True), (1.01, False)])
def test_shards_are_searched_together_from_an_expected_time_on(worth: float, threads: bool) -> None:
    """The time of all questions in the dearest shard."""
    codes = BitCodes(np.arange(20, dtype=np.uint8)[:, None], 8)
    several = shards.build(codes, np.array([0, *range(1, 39, 2)]), 2)
    names: list[str] = []
    plain = RowIndex.search, RowIndex.within

    def search(self: RowIndex, *given: Any, **more: Any) -> Hits:
        names.append(threading.current_thread().name)
        return plain[0](self, *given, **more)

    def within(self: RowIndex, *given: Any, **more: Any) -> RaggedHits:
        names.append(threading.current_thread().name)
        return plain[1](self, *given, **more)

    expected = 5 * scan_cost(8, 19)
    with (
        patch.object(shards, "WORTH_THREADS", worth * expected),
        patch.object(RowIndex, "search", search),
        patch.object(RowIndex, "within", within),
    ):
        several.search(codes[:5], 3)
        several.within(codes[:5], 3)
    assert len(names) == 4
    assert all(name.startswith("shards-") == threads for name in names)


@pytest.mark.parametrize("k", [4, 60])
def test_questions_whose_last_row_is_beyond_the_radius_are_asked_again(k: int) -> None:
    """By the distance of that row; those with fewer than k rows are asked for all rows. No other is asked twice."""
    rng = np.random.default_rng(9)
    codes = near_codes(rng, 50, 32)
    flat, several = hamming.build(codes, np.arange(50)), shards.build(codes, np.arange(50), 2)
    asked = BitCodes.from_bits(codes.unpack()[:12] ^ (rng.random((12, 32)) < 0.08))
    exact = flat.search(asked, k)
    calls: list[tuple[list[bytes], int, int, int]] = []

    def close(codes: BitCodes, k: int, radius: int, threads: int) -> Hits:
        """Return the nearest rows, where beyond the radius some that are two bits farther were seen in their place."""
        calls.append(([one.tobytes() for one in codes.packed], k, radius, threads))
        found = flat.search(codes, k)
        found.distances[(found.distances > radius) & (found.ids >= 0)] += 2
        return found

    radius = int(np.sort(exact.distances[:, 3])[6])
    with patch.object(several, "_plan", lambda k: (1.0, radius)), patch.object(several, "_close", close):
        found = several.search(asked, k, threads=3)
    assert_equal(found, exact)
    packed = [one.tobytes() for one in asked.packed]
    if k == 60:
        assert calls == [(packed, k, radius, 3), (packed, k, 32, 3)]
        return
    far = exact.distances[:, -1].astype(int)
    again = [(limit, [one for one, at in zip(packed, far, strict=True) if at == limit]) for limit in np.unique(far)]
    assert calls == [(packed, k, radius, 3), *((some, k, limit + 2, 3) for limit, some in again if limit > radius)]
    assert 1 < len(calls) < 1 + len(again)
