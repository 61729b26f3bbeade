"""Adding and removing rows: after any sequence, an index answers as one built of the remaining rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aepipe.codes.bitcodes import BitCodes
from aepipe.errors import CorruptError, QueryError
from aepipe.index import hamming
from aepipe.index.hamming import DeltaIndex, HammingIndex
from tests.index.test_hamming import brute, few_codes, found

EXACT = ["flat", "multihash"]
STEPS = st.lists(st.tuples(st.sampled_from(["add", "remove", "compact"]), st.integers(1, 12)), max_size=8)


@given(seed=st.integers(0, 2**32), start=st.integers(0, 30), steps=STEPS, kinds=st.integers(1, 20))
@settings(max_examples=150, deadline=None)
@pytest.mark.parametrize("kind", EXACT)
def test_any_sequence_of_changes_equals_brute_force(
    kind: str, seed: int, start: int, steps: list[tuple[str, int]], kinds: int
) -> None:
    rng = np.random.default_rng(seed)
    all_codes = few_codes(rng, start + 12 * len(steps), 20, kinds)
    all_ids = rng.permutation(3 * len(all_codes) + 1)[: len(all_codes)].astype(np.int64)
    one: HammingIndex = hamming.build(all_codes[:start], all_ids[:start], kind=kind)
    there, used = np.arange(start), start
    queries = few_codes(rng, 3, 20, 3)
    for step, count in steps:
        if step == "add":
            one = one.add(all_codes[used : used + count], all_ids[used : used + count])
            there, used = np.concatenate([there, np.arange(used, used + count)]), used + count
        elif step == "remove":
            gone = rng.permutation(there)[:count]
            one, there = one.remove(all_ids[gone]), np.setdiff1d(there, gone)
        elif isinstance(one, DeltaIndex):
            one = one.compact()
        assert_answers(one, all_codes[there], all_ids[there], queries, rng)


def assert_answers(
    one: HammingIndex, codes: BitCodes, ids: np.ndarray, queries: BitCodes, rng: np.random.Generator
) -> None:
    """Check an index against brute force: all rows, some of them, and a radius."""
    assert len(one) == len(ids)
    k = int(rng.integers(1, 15))
    where = rng.integers(0, 80, 20).astype(np.int64)
    near, some, ball = one.search(queries, k), one.search(queries, k, where), one.within(queries, 3, where)
    for q in range(len(queries)):
        ranked = brute(codes, ids, queries[q : q + 1])
        allowed = [(far, row) for far, row in ranked if row in set(where.tolist())]
        assert found(near, q) == ranked[:k]
        assert found(some, q) == allowed[:k]
        assert found(ball, q) == [(far, row) for far, row in allowed if far <= 3]


@pytest.fixture
def changed() -> DeltaIndex:
    """500 rows, one of them removed, and one added."""
    codes = few_codes(np.random.default_rng(1), 501, 32, 90)
    return hamming.build(codes[:500], np.arange(500)).add(codes[500:], np.array([700])).remove(np.array([7]))


def test_changes_are_saved_apart_from_the_base(tmp_path: Path, changed: DeltaIndex) -> None:
    for name in ("base", "changes"):
        (tmp_path / name).mkdir()
    changed.base.save(tmp_path / "base")
    changed.save_changes(tmp_path / "changes")
    base = hamming.open(tmp_path / "base")
    opened = DeltaIndex.open(base, tmp_path / "changes")
    queries = few_codes(np.random.default_rng(2), 20, 32, 9)
    np.testing.assert_array_equal(opened.search(queries, 600).ids, changed.search(queries, 600).ids)
    assert (len(opened), opened.n_codes) == (500, changed.n_codes)
    only_removed = base.remove(np.array([3, 1]))
    (tmp_path / "less").mkdir()
    only_removed.save_changes(tmp_path / "less")
    assert len(DeltaIndex.open(base, tmp_path / "less")) == 498


def test_saving_writes_one_index_of_all_rows(tmp_path: Path, changed: DeltaIndex) -> None:
    changed.save(tmp_path)
    opened = hamming.open(tmp_path)
    queries = few_codes(np.random.default_rng(2), 20, 32, 9)
    np.testing.assert_array_equal(opened.search(queries, 600).ids, changed.search(queries, 600).ids)


def test_a_change_leaves_the_old_index_as_it_was() -> None:
    codes = few_codes(np.random.default_rng(3), 60, 20, 9)
    one = hamming.build(codes[:50], np.arange(50))
    before = one.search(codes, 50).ids.copy()
    once = one.add(codes[50:55], np.arange(50, 55))
    twice = once.add(codes[55:], np.arange(55, 60)).remove(np.arange(0, 58, 2))
    assert (len(one), len(once), len(twice)) == (50, 55, 31)
    np.testing.assert_array_equal(one.search(codes, 50).ids, before)


def test_invalid_changes(changed: DeltaIndex) -> None:
    code = changed.base.codes[:1]
    with pytest.raises(QueryError, match="id 7 is not in the index"):
        changed.remove(np.array([7]))
    with pytest.raises(QueryError, match="id 8 is in the index already"):
        changed.add(code, np.array([8]))
    with pytest.raises(QueryError, match="id 700 is in the index already"):
        changed.add(code, np.array([700]))
    assert len(changed.add(code, np.array([7]))) == 501  # a removed id can be added again
    assert len(changed.remove(np.array([700]))) == 499


def test_changes_of_another_base_are_refused(tmp_path: Path, changed: DeltaIndex) -> None:
    changed.save_changes(tmp_path)
    other = hamming.build(changed.base.codes, np.arange(changed.base.n_codes))
    with pytest.raises(CorruptError, match="not the changes of this index"):
        DeltaIndex.open(other, tmp_path)
    (tmp_path / "removed.npy").write_bytes(b"")
    with pytest.raises(CorruptError, match=str(tmp_path)):
        DeltaIndex.open(changed.base, tmp_path)


def test_a_prefix_of_a_changed_index(changed: DeltaIndex) -> None:
    queries = few_codes(np.random.default_rng(4), 10, 32, 9).prefix(9)
    shorter = changed.compact().prefix(9)
    np.testing.assert_array_equal(changed.prefix(9).search(queries, 40).ids, shorter.search(queries, 40).ids)
