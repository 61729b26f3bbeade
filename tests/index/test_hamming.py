"""Hamming indexes against brute force, with many equal codes; flat unless a test names another kind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from aepipe.codes.bitcodes import BitCodes
from aepipe.errors import CodeError, CorruptError, FingerprintError, QueryError, RecipeError
from aepipe.index import hamming, postings, scan
from aepipe.index.hamming import DeltaIndex, HammingIndex
from aepipe.recipe import Choice

Ints = NDArray[np.int64]


def few_codes(rng: np.random.Generator, rows: int, n_bits: int, kinds: int) -> BitCodes:
    """Codes with at most ``kinds`` distinct values, so that nearly all distances tie."""
    kinds_of_code = rng.random((kinds, n_bits)) < 0.5
    return BitCodes.from_bits(kinds_of_code[rng.integers(0, kinds, rows)], "f" * 64)


def brute(codes: BitCodes, ids: Ints, query: BitCodes) -> list[tuple[int, int]]:
    """All rows as (distance, id), sorted."""
    distances = np.bitwise_count(codes.packed ^ query.packed).sum(axis=1, dtype=np.int64)
    return sorted(zip(distances.tolist(), ids.tolist(), strict=True))


def found(answer: Any, query: int) -> list[tuple[int, int]]:
    """The hits of one query, as (distance, id)."""
    ids, distances = answer.of(query)
    return list(zip(distances.tolist(), ids.tolist(), strict=True))


def scrambled_ids(rng: np.random.Generator, rows: int) -> Ints:
    """Ids with gaps, unsorted."""
    return rng.permutation(3 * rows)[:rows].astype(np.int64)


@given(
    seed=st.integers(0, 2**32),
    rows=st.integers(0, 60),
    n_bits=st.sampled_from([1, 3, 8, 13, 64, 100, 128]),
    kinds=st.integers(1, 12),
    k=st.integers(1, 70),
    radius=st.integers(0, 130),
)
@settings(max_examples=150, deadline=None)
def test_answers_equal_brute_force(seed: int, rows: int, n_bits: int, kinds: int, k: int, radius: int) -> None:
    rng = np.random.default_rng(seed)
    codes, ids = few_codes(rng, rows, n_bits, kinds), scrambled_ids(rng, rows)
    queries = BitCodes.from_bits(rng.random((4, n_bits)) < 0.5)
    one = hamming.build(codes, ids)
    where = rng.integers(0, 3 * rows + 5, rng.integers(0, 2 * rows + 2)).astype(np.int64)
    near, ball = one.search(queries, k, threads=2), one.within(queries, radius)
    near_where, ball_where = one.search(queries, k, where), one.within(queries, radius, where)
    assert (len(one), one.n_codes) == (rows, len(codes.distinct()[0]))
    assert near.ids.shape == near.distances.shape == (4, k)
    for q in range(4):
        ranked = brute(codes, ids, queries[q : q + 1])
        allowed = [(far, row) for far, row in ranked if row in set(where.tolist())]
        assert found(near, q) == ranked[:k]
        assert found(near_where, q) == allowed[:k]
        assert found(ball, q) == [(far, row) for far, row in ranked if far <= radius]
        assert found(ball_where, q) == [(far, row) for far, row in allowed if far <= radius]
        assert near.ids[q, near.count[q] :].tolist() == [-1] * (k - min(k, rows))


@given(
    seed=st.integers(0, 2**32),
    rows=st.integers(0, 60),
    n_bits=st.sampled_from([(13, 5), (64, 32), (64, 64), (100, 17), (128, 8)]),
    kinds=st.integers(1, 12),
    k=st.integers(1, 70),
)
@settings(max_examples=80, deadline=None)
def test_a_prefix_answers_by_the_first_bits(seed: int, rows: int, n_bits: tuple[int, int], kinds: int, k: int) -> None:
    """Also where codes become equal: their rows are still in the order of ids."""
    rng = np.random.default_rng(seed)
    codes, ids = few_codes(rng, rows, n_bits[0], kinds), scrambled_ids(rng, rows)
    queries = BitCodes.from_bits(rng.random((4, n_bits[0])) < 0.5).prefix(n_bits[1])
    shorter = codes.prefix(n_bits[1])
    one = hamming.build(codes, ids).prefix(n_bits[1])
    near, ball = one.search(queries, k), one.within(queries, 2)
    assert (one.n_bits, one.fingerprint, len(one)) == (n_bits[1], shorter.fingerprint, rows)
    for q in range(4):
        ranked = brute(shorter, ids, queries[q : q + 1])
        assert found(near, q) == ranked[:k]
        assert found(ball, q) == [(far, row) for far, row in ranked if far <= 2]


@given(seed=st.integers(0, 2**32), before=st.integers(0, 30), more=st.integers(0, 30), kinds=st.integers(1, 8))
@settings(max_examples=60, deadline=None)
def test_add_and_remove_equal_an_index_of_the_remaining_rows(seed: int, before: int, more: int, kinds: int) -> None:
    rng = np.random.default_rng(seed)
    codes, ids = few_codes(rng, before + more, 20, kinds), scrambled_ids(rng, before + more)
    gone = rng.random(before + more) < 0.4
    start = hamming.build(codes[:before], ids[:before])
    grown = start.add(codes[before:], ids[before:])
    assert_same(grown, hamming.build(codes, ids))
    assert_same(grown.remove(ids[gone]), hamming.build(codes[~gone], ids[~gone]))
    assert_same(start, hamming.build(codes[:before], ids[:before]))


def assert_same(one: HammingIndex, other: HammingIndex) -> None:
    """Check that two indexes are equal, byte for byte, once compacted."""
    one, other = (index.compact() if isinstance(index, DeltaIndex) else index for index in (one, other))
    assert isinstance(one, hamming.RowIndex)
    assert isinstance(other, hamming.RowIndex)
    assert one.fingerprint == other.fingerprint
    assert one.codes.hex() == other.codes.hex()
    np.testing.assert_array_equal(one.postings.offsets, other.postings.offsets)
    np.testing.assert_array_equal(one.postings.ids, other.postings.ids)
    np.testing.assert_array_equal(one.postings.by_id, other.postings.by_id)
    assert one.postings.longest == other.postings.longest


@pytest.mark.parametrize("n_bits", [13, 64, 128])
@pytest.mark.parametrize("n_rows", [0, 1, 500])
def test_a_saved_index_answers_as_before(tmp_path: Path, n_rows: int, n_bits: int) -> None:
    rng = np.random.default_rng(n_rows)
    codes, ids = few_codes(rng, n_rows, n_bits, 40), scrambled_ids(rng, n_rows)
    built = hamming.build(codes, ids)
    built.save(tmp_path)
    opened = hamming.open(tmp_path)
    assert_same(built, opened)
    queries = BitCodes.from_bits(rng.random((20, n_bits)) < 0.5)
    np.testing.assert_array_equal(built.search(queries, 30).ids, opened.search(queries, 30).ids)
    np.testing.assert_array_equal(built.within(queries, n_bits).ids, opened.within(queries, n_bits).ids)
    assert_same(opened.remove(ids[: n_rows // 2]), built.remove(ids[: n_rows // 2]))


def test_an_opened_index_is_mapped_and_not_read(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    hamming.build(BitCodes(rng.integers(0, 256, (50_000, 32), dtype=np.uint8), 256), np.arange(50_000)).save(tmp_path)
    opened = hamming.open(tmp_path)
    assert isinstance(opened, hamming.RowIndex)
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("needs /proc/self/maps, to see what is mapped")
    mapped = maps.read_text()
    assert all(str(tmp_path / name) in mapped for name in (scan.CODES, postings.OFFSETS, postings.IDS))
    assert len(opened) == 50_000


def test_small_batches_of_many_equal_codes_give_the_same_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    codes, ids = few_codes(rng, 2_000, 16, 5), scrambled_ids(rng, 2_000)
    queries = BitCodes.from_bits(rng.random((50, 16)) < 0.5)
    whole = hamming.build(codes, ids).search(queries, 40)
    monkeypatch.setattr(hamming, "ROWS_AT_ONCE", 100)
    np.testing.assert_array_equal(hamming.build(codes, ids).search(queries, 40).ids, whole.ids)


def test_a_search_restores_the_number_of_threads() -> None:
    import faiss

    before = faiss.omp_get_max_threads()
    codes = BitCodes(np.zeros((4, 1), np.uint8), 8)
    hamming.build(codes, np.arange(4)).search(codes, 1, threads=3)
    assert faiss.omp_get_max_threads() == before


def test_a_row_finds_itself_first() -> None:
    rng = np.random.default_rng(2)
    codes = BitCodes(rng.integers(0, 256, (300, 8), dtype=np.uint8), 64)
    hits = hamming.build(codes, np.arange(300)).search(codes, 1)
    assert hits.ids[:, 0].tolist() == list(range(300))
    assert not hits.distances.any()


@pytest.fixture
def small() -> HammingIndex:
    """Four rows of eight bits."""
    return hamming.build(BitCodes(np.arange(4, dtype=np.uint8)[:, None], 8, "a" * 64), np.array([5, 6, 7, 8]))


def test_invalid_searches(small: HammingIndex) -> None:
    code = BitCodes(np.zeros((1, 1), np.uint8), 8)
    with pytest.raises(QueryError, match="0 nearest"):
        small.search(code, 0)
    with pytest.raises(QueryError, match="-1 bits"):
        small.within(code, -1)
    with pytest.raises(QueryError, match=r"where: .* not float64"):
        small.search(code, 1, np.array([0.5]))
    with pytest.raises(CodeError, match="16 bits"):
        small.search(BitCodes(np.zeros((1, 2), np.uint8), 16), 1)
    with pytest.raises(FingerprintError, match="aaaaaaaaaaaa and bbbbbbbbbbbb"):
        small.search(BitCodes(np.zeros((1, 1), np.uint8), 8, "b" * 64), 1)
    with pytest.raises(FingerprintError):
        small.within(BitCodes(np.zeros((1, 1), np.uint8), 8, "b" * 64), 1)


def test_invalid_changes(small: HammingIndex) -> None:
    code = BitCodes(np.zeros((1, 1), np.uint8), 8)
    with pytest.raises(QueryError, match="id 7 is in the index already"):
        small.add(code, np.array([7]))
    with pytest.raises(FingerprintError):
        small.add(BitCodes(code.packed, 8, "b" * 64), np.array([9]))
    with pytest.raises(QueryError, match="id 9 is not in the index"):
        small.remove(np.array([5, 9]))
    with pytest.raises(QueryError, match="id 3 is given twice"):
        hamming.build(BitCodes(np.zeros((2, 1), np.uint8), 8), np.array([3, 3]))
    with pytest.raises(CodeError, match="2 ids"):
        hamming.build(code, np.array([3, 4]))
    with pytest.raises(CodeError, match="not negative"):
        hamming.build(code, np.array([-1]))


@pytest.mark.parametrize("file", [scan.CODES, postings.OFFSETS, postings.IDS, postings.BY_ID, hamming.METADATA])
def test_a_damaged_index_is_refused(tmp_path: Path, small: HammingIndex, file: str) -> None:
    small.save(tmp_path)
    assert_damage_is_refused(tmp_path, file)


def assert_damage_is_refused(folder: Path, file: str) -> None:
    """Check that an index with an empty, shortened or missing file is not opened."""
    whole = (folder / file).read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], whole[:-1]):
        (folder / file).write_bytes(damaged)
        with pytest.raises(CorruptError, match=str(folder)):
            hamming.open(folder)
    (folder / file).unlink()
    with pytest.raises(CorruptError, match=str(folder)):
        hamming.open(folder)


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path, small: HammingIndex) -> None:
    small.save(tmp_path)
    np.save(tmp_path / postings.IDS, np.arange(3))
    with pytest.raises(CorruptError, match="do not belong together"):
        hamming.open(tmp_path)
    metadata = json.loads((tmp_path / hamming.METADATA).read_text()) | {"kind": "tree"}
    (tmp_path / hamming.METADATA).write_text(json.dumps(metadata))
    with pytest.raises(CorruptError, match="unknown kind 'tree'"):
        hamming.open(tmp_path)


def test_kinds_are_files() -> None:
    assert hamming.kinds() == ["auto", "flat", "hnsw", "ivf", "multihash"]
    assert hamming.resolve(Choice(kind="flat")).model_dump() == {}
    with pytest.raises(
        RecipeError, match=r"index\.kind: unknown kind 'tree'; allowed: auto, flat, hnsw, ivf, multihash"
    ):
        hamming.resolve(Choice(kind="tree"))
    with pytest.raises(RecipeError, match=r"index\.kind\.nlist: unknown key"):
        hamming.resolve(Choice(kind="flat", options={"nlist": 3}))


def test_an_old_index_without_the_order_of_ids_opens(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    codes, ids = few_codes(rng, 300, 64, 40), scrambled_ids(rng, 300)
    built = hamming.build(codes, ids)
    built.save(tmp_path)
    (tmp_path / postings.BY_ID).unlink()
    metadata = json.loads((tmp_path / hamming.METADATA).read_text())
    metadata |= {"schema": 1, "bytes": metadata.pop("sizes")[scan.CODES]}
    del metadata["options"]
    (tmp_path / hamming.METADATA).write_text(json.dumps(metadata))
    assert_same(hamming.open(tmp_path), built)
