"""Every kind of index: exact ones against brute force, approximate ones by their recall."""

from __future__ import annotations

import threading
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from aepipe.codes.bitcodes import BitCodes, words_of
from aepipe.errors import CorruptError, RecipeError
from aepipe.index import cost_model, hamming, hash_tables
from aepipe.index.hamming import HammingIndex
from aepipe.index.kinds import hnsw, ivf, multihash
from aepipe.recipe import Choice
from tests.index.test_hamming import assert_damage_is_refused, brute, few_codes, found, scrambled_ids

KINDS = hamming.kinds()
FILES = {
    "multihash": [hash_tables.STARTS, hash_tables.POSITIONS, hash_tables.COPIES, hash_tables.BITS, multihash.REACH],
    "ivf": [ivf.FILE],
    "hnsw": [hnsw.FILE],
}


@pytest.fixture
def free_lookups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the cost of look-ups to 0, so that tiny collections are not scanned."""
    for cost in ("BEGUN", "LOOKED_UP", "READ", "FETCHED"):
        monkeypatch.setattr(cost_model, cost, 0.0)


def near_codes(rng: np.random.Generator, rows: int, n_bits: int, flips: float = 0.04) -> BitCodes:
    """Codes like learned ones: each near one of a few centres."""
    centres = rng.random((8, n_bits)) < 0.5
    return BitCodes.from_bits(centres[rng.integers(0, 8, rows)] ^ (rng.random((rows, n_bits)) < flips), "f" * 64)


@given(
    seed=st.integers(0, 2**32),
    rows=st.integers(0, 120),
    n_bits=st.sampled_from([2, 8, 13, 32, 64, 100, 128, 256]),
    substrings=st.sampled_from([0, 1, 2, 3, 5]),
    k=st.sampled_from([1, 2, 10, 130]),
    radius=st.integers(0, 20),
    few=st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_multihash_equals_brute_force(
    seed: int, rows: int, n_bits: int, substrings: int, k: int, radius: int, few: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for cost in ("BEGUN", "LOOKED_UP", "READ", "FETCHED"):
            patch.setattr(cost_model, cost, 0.0)
        rng = np.random.default_rng(seed)
        codes = few_codes(rng, rows, n_bits, 6) if few else near_codes(rng, rows, n_bits)
        ids, queries = scrambled_ids(rng, rows), near_codes(rng, 5, n_bits)
        queries = BitCodes(np.concatenate([queries.packed, codes.packed[:2]]), n_bits, codes.fingerprint)
        one = hamming.build(codes, ids, kind="multihash", options={"substrings": substrings})
        where = rng.integers(0, 3 * rows + 5, rng.integers(0, 2 * rows + 2)).astype(np.int64)
        near, ball, some = one.search(queries, k), one.within(queries, radius), one.search(queries, k, where)
        for q in range(len(queries)):
            ranked = brute(codes, ids, queries[q : q + 1])
            assert found(near, q) == ranked[:k]
            assert found(one.search(queries[q : q + 1], k), 0) == ranked[:k]
            assert found(ball, q) == [(far, row) for far, row in ranked if far <= radius]
            assert found(some, q) == [(far, row) for far, row in ranked if row in set(where.tolist())][:k]


@pytest.mark.usefixtures("free_lookups")
def test_multihash_certifies_near_queries_and_scans_for_far_ones() -> None:
    rng = np.random.default_rng(3)
    codes = near_codes(rng, 4000, 64, 0.02)
    one = hamming.build(codes, np.arange(4000), kind="multihash", options={"substrings": 2})
    engine = one.engine
    assert isinstance(engine, multihash.MultiHash)
    queries = np.concatenate([codes.packed[:50], rng.integers(0, 256, (50, 8), dtype=np.uint8)])
    answer, stages = engine.staged(queries, 5)
    assert (stages[:50] >= 0).sum() > 40
    assert (stages[50:] == multihash.SCANNED).all()
    # Certified hits are within the bound of their stage.
    at = stages[answer.query] >= 0
    assert (answer.distances[at] <= 2 * (stages[answer.query[at]] + 1) - 1).all()
    for query in (0, 60):
        assert engine.staged(queries[query : query + 1], 5)[1][0] == stages[query]


@pytest.mark.usefixtures("free_lookups")
def test_only_costly_look_ups_use_threads_and_answers_stay_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = near_codes(np.random.default_rng(8), 3000, 64, 0.02)
    engine = hamming.build(codes, np.arange(3000), kind="multihash", options={"substrings": 3}).engine
    assert isinstance(engine, multihash.MultiHash)
    names: set[str] = set()
    touched = multihash.MultiHash._touched

    def seen(self: multihash.MultiHash, query: NDArray[np.uint64], stage: int) -> object:
        names.add(threading.current_thread().name)
        return touched(self, query, stage)

    monkeypatch.setattr(multihash.MultiHash, "_touched", seen)
    queries, answers = codes.packed[:101], []  # a prime, which no number of pieces divides
    for shared in (np.inf, 0.0):
        names.clear()
        monkeypatch.setattr(multihash, "SHARED", shared)
        answers.append((engine.nearest(queries, 7, threads=3), engine.ball(queries, 5, threads=3)))
        assert (threading.current_thread().name in names) == (shared > 0)
    for one, other in zip(*answers, strict=True):
        for field in ("query", "distances", "positions"):
            np.testing.assert_array_equal(getattr(one, field), getattr(other, field))


@pytest.mark.usefixtures("free_lookups")
@pytest.mark.parametrize("n_bits", [64, 256])
def test_a_look_up_in_a_mapped_index_copies_only_what_it_touches(tmp_path: Path, n_bits: int) -> None:
    """Codes in a mapped file are not aligned for words, so numpy would copy all of them."""
    codes = near_codes(np.random.default_rng(6), 60_000, n_bits, 0.08)
    hamming.build(codes, np.arange(60_000), kind="multihash", options={"substrings": 4}).save(tmp_path)
    opened = hamming.open(tmp_path)
    assert isinstance(opened.engine, multihash.MultiHash)
    query = codes.packed[:1]
    assert opened.engine.staged(query, 1)[1][0] >= 0, "it is looked up, not scanned"
    peaks = []
    for _ in range(5):  # other threads of this process take memory too, now and then
        tracemalloc.start()
        opened.engine.staged(query, 1)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert min(peaks) < codes.packed.nbytes / 4


def test_multihash_scans_where_that_is_cheaper() -> None:
    """Codes with half the bits constant: every bucket holds all codes."""
    rng = np.random.default_rng(4)
    bits = rng.random((5000, 256)) < 0.5
    bits[:, ::2] = False
    one = hamming.build(BitCodes.from_bits(bits), np.arange(5000), kind="multihash", options={"substrings": 2})
    assert isinstance(one.engine, multihash.MultiHash)
    far = rng.integers(0, 256, (20, 32), dtype=np.uint8)
    assert (one.engine.staged(far, 10)[1] == multihash.SCANNED).all()


@pytest.mark.parametrize("n_bits", [13, 64, 256])
def test_a_look_up_finds_every_code_within_the_flipped_bits(n_bits: int) -> None:
    rng = np.random.default_rng(5)
    packed = np.unique(near_codes(rng, 800, n_bits).packed, axis=0)
    queries = near_codes(rng, 6, n_bits).packed
    n_parts = 2
    parts = hash_tables.parts_of(np.unpackbits(packed, axis=1, count=n_bits), n_parts)
    assert np.bincount(parts).tolist() == hash_tables.lengths_of(n_bits, n_parts)
    table, words = hash_tables.fill(packed, parts), words_of(packed)
    for flipped in (0, 1, 2) if n_bits < 200 else (0, 1):
        values = hash_tables.Values.within(parts, flipped)
        assert len(values) == cost_model.n_values(n_bits, n_parts, flipped)
        own = hash_tables.Values.within(parts, 0).masks
        for query in words_of(queries):
            expected = np.bitwise_count((words ^ query)[:, None] & own).sum(axis=2).min(axis=1) <= flipped
            held = np.zeros(len(packed), bool)
            positions, far = table.compare(*table.buckets(query, values), query)
            held[positions] = True
            np.testing.assert_array_equal(far, np.bitwise_count(words[positions] ^ query).sum(axis=1))
            assert held[expected].all()
            assert not held.all()


def test_correlated_bits_go_to_different_parts() -> None:
    rng = np.random.default_rng(12)
    twins = np.repeat(rng.random((500, 8)) < 0.5, 2, axis=1).astype(np.uint8)
    parts = hash_tables.parts_of(twins, 2)
    assert (parts[::2] != parts[1::2]).all()


@pytest.mark.parametrize(("parts", "flipped", "expected"), [(2, 0, 1), (2, 1, 3), (3, 1, 5), (4, 2, 11)])
def test_the_bound_follows_from_the_pigeonhole_principle(parts: int, flipped: int, expected: int) -> None:
    assert cost_model.bound(parts, flipped) == expected


def test_the_measurements_decide_the_first_stage() -> None:
    near = cost_model.Reach(2, [[1, 1, 1, 1], [1, 1, 1, 9], [3, 3, 3, 9], []], [1e-6, 1e-5, 1e-4])
    assert near.plan(10, 64, 10_000_000)[1] == 0
    assert near.plan(100, 64, 10_000_000)[1] == 1
    assert near.plan(1000, 64, 10_000_000)[1] is None
    assert near.plan(5000, 64, 10_000_000)[1] is None
    assert near.plan(10, 64, 1000)[1] is None
    assert cost_model.Reach(2, near.distances, [0.5, 0.9]).plan(10, 64, 10_000_000)[1] is None
    assert cost_model.Reach.of_dict(near.to_dict()) == near


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_rows", [0, 1, 2, 400])
def test_every_kind_is_built_saved_and_opened(tmp_path: Path, kind: str, n_rows: int) -> None:
    rng = np.random.default_rng(n_rows)
    codes, ids = near_codes(rng, n_rows, 64), scrambled_ids(rng, n_rows)
    built = hamming.build(codes, ids, kind=kind)
    built.save(tmp_path)
    opened = hamming.open(tmp_path)
    queries = near_codes(rng, 10, 64)
    for one in (built, opened):
        assert (len(one), one.n_bits, one.fingerprint) == (n_rows, 64, codes.fingerprint)
        np.testing.assert_array_equal(one.search(queries, 5).ids, built.search(queries, 5).ids)
        np.testing.assert_array_equal(one.within(queries, 9).ids, built.within(queries, 9).ids)
    assert opened.engine.kind == built.engine.kind != "auto"
    assert opened.engine.options == built.engine.options


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_finds_a_row_by_its_code_and_returns_k_rows(kind: str) -> None:
    rng = np.random.default_rng(6)
    codes = near_codes(rng, 3000, 64)
    one = hamming.build(codes, np.arange(3000), kind=kind)
    hits = one.search(codes[:300], 20, threads=2)
    assert not hits.distances[:, 0].any()
    assert (hits.count == 20).all()
    assert (np.diff(hits.distances.astype(int), axis=1) >= 0).all()
    exact = hamming.build(codes, np.arange(3000)).search(codes[:300], 20)
    assert (hits.distances == exact.distances).mean() > 0.9
    everything = one.search(codes[:3], 5000)
    assert everything.count.tolist() == [3000] * 3


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_exact_within_a_radius_and_with_a_narrow_filter(kind: str) -> None:
    rng = np.random.default_rng(7)
    codes, ids = near_codes(rng, 2000, 64), scrambled_ids(rng, 2000)
    one, flat = hamming.build(codes, ids, kind=kind), hamming.build(codes, ids)
    queries = near_codes(rng, 10, 64)
    assert_equal(one.within(queries, 6), flat.within(queries, 6))
    few = np.sort(ids)[::200]
    assert_equal(one.search(queries, 5, few), flat.search(queries, 5, few))


def assert_equal(one: object, other: object) -> None:
    """Check that two results are equal."""
    for name in ("ids", "distances"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize(("kind", "file"), [(kind, file) for kind, files in FILES.items() for file in files])
def test_a_damaged_file_is_refused(tmp_path: Path, kind: str, file: str) -> None:
    rng = np.random.default_rng(8)
    hamming.build(near_codes(rng, 500, 64), np.arange(500), kind=kind).save(tmp_path)
    assert_damage_is_refused(tmp_path, file)


@pytest.mark.parametrize(("kind", "file"), [(kind, files[0]) for kind, files in FILES.items()])
def test_a_file_of_another_index_is_refused(tmp_path: Path, kind: str, file: str) -> None:
    rng = np.random.default_rng(9)
    for name, rows in (("one", 500), ("other", 1500)):
        (tmp_path / name).mkdir()
        hamming.build(near_codes(rng, rows, 64), np.arange(rows), kind=kind).save(tmp_path / name)
    (tmp_path / "one" / file).write_bytes((tmp_path / "other" / file).read_bytes())
    with pytest.raises(CorruptError, match=str(tmp_path / "one")):
        hamming.open(tmp_path / "one")


def test_options_of_kinds_are_checked() -> None:
    usual = {one: hamming.resolve(Choice(kind=one)).model_dump() for one in KINDS}
    assert usual == {
        "auto": {"recall": 1.0},
        "flat": {},
        "hnsw": {"links": 16, "effort": 100, "breadth": 128},
        "ivf": {"cells": 0, "probes": 32},
        "multihash": {"substrings": 0},
    }
    assert hamming.resolve(Choice(kind="ivf", options={"probes": 4})).model_dump() == {"cells": 0, "probes": 4}
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("ivf", {"probes": 0}),
        ("ivf", {"cells": -1}),
        ("ivf", {"cells": 65_537}),
        ("auto", {"recall": 1.5}),
    ]
    wrong += [("hnsw", {"links": 1}), ("hnsw", {"breadth": 0}), ("hnsw", {"effort": 3}), ("hnsw", {"links": 129})]
    wrong += [("auto", {"recall": 0}), ("multihash", {"substrings": -1}), ("multihash", {"substrings": 65})]
    for kind, options in wrong:
        with pytest.raises(RecipeError, match=rf"index\.kind\.{next(iter(options))}"):
            hamming.resolve(Choice(kind=kind, options=options))
    allowed: list[tuple[str, dict[str, Any]]] = [("ivf", {"probes": 1, "cells": 65_536}), ("auto", {"recall": 1.0})]
    allowed += [("hnsw", {"links": 2, "effort": 4, "breadth": 1}), ("hnsw", {"links": 128})]
    allowed += [("multihash", {"substrings": 64})]
    for kind, options in allowed:
        assert hamming.resolve(Choice(kind=kind, options=options)).model_dump() == usual[kind] | options


def test_with_as_many_cells_as_codes_each_has_its_own() -> None:
    codes = BitCodes(np.random.default_rng(5).integers(0, 256, (40, 8), dtype=np.uint8), 64)
    engine = hamming.build(codes, np.arange(40), kind="ivf", options={"cells": 40, "probes": 1}).engine
    assert isinstance(engine, ivf.Ivf)
    assert [engine.cells.invlists.list_size(cell) for cell in range(engine.cells.nlist)] == [1] * 40


def test_auto_chooses_flat_for_few_codes_and_multihash_for_many_near_ones() -> None:
    rng = np.random.default_rng(10)
    assert hamming.build(near_codes(rng, 2000, 64), np.arange(2000), kind="auto").engine.kind == "flat"
    centres = rng.random((2000, 64)) < 0.5
    bits = centres[rng.integers(0, 2000, 200_000)]
    codes = BitCodes(np.packbits(bits ^ (rng.random(bits.shape, np.float32) < 0.02), axis=1), 64)
    assert hamming.build(codes, np.arange(len(codes)), kind="auto").engine.kind == "multihash"
    uniform = BitCodes(rng.integers(0, 256, (200_000, 32), dtype=np.uint8), 256)
    assert hamming.build(uniform, np.arange(len(uniform)), kind="auto").engine.kind == "flat"


def test_more_probes_and_more_breadth_find_more() -> None:
    rng = np.random.default_rng(11)
    codes = BitCodes(rng.integers(0, 256, (3000, 8), dtype=np.uint8), 64)
    exact = hamming.build(codes, np.arange(3000))
    queries = BitCodes(rng.integers(0, 256, (100, 8), dtype=np.uint8), 64)
    truth = exact.search(queries, 10).distances[:, -1:]

    def recall(one: HammingIndex) -> float:
        return float((one.search(queries, 10).distances <= truth).mean())

    probes = [recall(hamming.build(codes, np.arange(3000), kind="ivf", options={"probes": n})) for n in (1, 16, 400)]
    assert probes[0] < probes[1] < probes[2] == 1
    breadth = [
        recall(hamming.build(codes, np.arange(3000), kind="hnsw", options={"breadth": n, "links": 4, "effort": 10}))
        for n in (1, 200)
    ]
    assert breadth[0] < breadth[1]
