"""Look-ups of several queries at once: the same answers and stages as one by one, also where some are scanned."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from aepipe.codes.bitcodes import BitCodes, words_of
from aepipe.index import cost_model
from aepipe.index.cost_model import bound, stage_cost
from aepipe.index.hits import CodeHits
from aepipe.index.kinds import multihash
from aepipe.index.kinds.multihash import SCANNED, MultiHash
from aepipe.index.postings import group
from aepipe.index.scan import Scan
from tests.index.test_kinds import near_codes

ROWS = np.arange(300)


@pytest.fixture(scope="module")
def engine() -> Iterator[MultiHash]:
    """Codes of which half share their first bits, looked up by two substrings; each look-up counts as cheap."""
    bits = near_codes(np.random.default_rng(0), 300, 32, 0.1).unpack()
    bits[::2, ::2] = 0
    codes, postings = group(BitCodes.from_bits(bits), ROWS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(multihash, "scan_cost", lambda *_: 1e9)
        built = multihash.build(codes, postings.offsets, substrings=2)
        assert isinstance(built, MultiHash)
        yield built


@pytest.fixture
def asked(engine: MultiHash) -> NDArray[np.uint8]:
    """Codes of the index, of which every third has a bit flipped, and codes far from all."""
    rng = np.random.default_rng(1)
    some = engine.packed[rng.permutation(len(engine))[:30]].copy()
    some[::3, 1] ^= 4
    return np.ascontiguousarray(np.concatenate([some, rng.integers(0, 256, (10, 4), np.uint8)]))


def touched(engine: MultiHash, packed: NDArray[np.uint8], stage: int) -> list[int]:
    """How many codes are in the buckets of each query."""
    values = engine._values_of(stage)
    return [int(engine.tables.buckets(query, values)[1].sum()) for query in words_of(packed)]


def hits_of(found: CodeHits, query: int) -> list[tuple[int, int]]:
    own = found.query == query
    return list(zip(found.distances[own].tolist(), found.positions[own].tolist(), strict=True))


def by_hand(engine: Scan, packed: NDArray[np.uint8]) -> list[list[tuple[int, int]]]:
    """All codes by distance and position, for each query."""
    far = np.bitwise_count(engine.packed[None] ^ packed[:, None]).sum(axis=2)
    return [sorted((int(one), place) for place, one in enumerate(row)) for row in far]


@pytest.mark.parametrize("together", [1, 7, 64])
@pytest.mark.parametrize("k", [1, 4, 40])
@pytest.mark.parametrize("begin", [0, 1])
def test_queries_together_are_answered_as_one_by_one(
    engine: MultiHash, asked: NDArray[np.uint8], k: int, begin: int, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those whose buckets hold too many codes are scanned; the others go on until their answer is certain."""
    sizes = touched(engine, asked, begin)
    limit = sorted(sizes)[20]
    assert min(sizes) < limit < max(sizes)
    monkeypatch.setattr(multihash, "TOGETHER", together)
    monkeypatch.setattr(engine, "_plan", lambda _: (1.0, begin))
    values = len(engine._values_of(begin))
    monkeypatch.setattr(engine, "_scan_cost", stage_cost(32, values, limit))
    found, stages = engine.staged(asked, k)
    truth = by_hand(engine, asked)
    for query in range(len(asked)):
        assert hits_of(found, query)[:k] == truth[query][:k]
        alone, stage = engine.staged(asked[query : query + 1], k)
        assert (hits_of(alone, 0), stage[0]) == (hits_of(found, query), stages[query])
        if sizes[query] >= limit:
            assert stages[query] == SCANNED
        elif truth[query][k - 1][0] <= bound(2, begin):
            assert stages[query] == begin
        else:
            assert stages[query] == SCANNED or truth[query][k - 1][0] <= bound(2, int(stages[query]))
    assert k > 1 or {SCANNED, begin} <= set(stages.tolist())


@pytest.mark.parametrize("k", [1, 5])
@pytest.mark.parametrize("radius", [0, 1, 3, 20])
def test_near_codes_together_are_those_of_one_by_one(
    engine: MultiHash, asked: NDArray[np.uint8], radius: int, k: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = next((one for one in range(len(engine.reach.shares)) if bound(2, one) >= radius), None)
    sizes = touched(engine, asked, stage or 0)
    limit = sorted(sizes)[20]
    monkeypatch.setattr(engine, "_scan_cost", stage_cost(32, len(engine._values_of(stage or 0)), limit))
    near, ball = engine.close(asked, k, radius), engine.ball(asked, radius)
    for query, truth in enumerate(by_hand(engine, asked)):
        within = [hit for hit in truth if hit[0] <= radius]
        assert hits_of(ball, query) == within
        assert hits_of(near, query)[: len(within[:k])] == within[:k]
        one = asked[query : query + 1]
        assert hits_of(engine.ball(one, radius), 0) == within
        assert hits_of(engine.close(one, k, radius), 0) == hits_of(near, query)
        if sizes[query] >= limit or stage is None:
            assert hits_of(near, query)[:k] == truth[:k], "a scan misses nothing"
    assert len(engine.close(asked[:0], k, radius)) == len(engine.ball(asked[:0], radius)) == 0
    found, stages = engine.staged(asked[:0], k)
    assert (len(found), len(stages)) == (0, 0)


def test_as_many_queries_are_looked_up_at_once_as_touch_few_codes(
    engine: MultiHash, asked: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks: list[int] = []
    plain = MultiHash._block

    def block(self: MultiHash, queries: NDArray[np.unsignedinteger], k: int, stage: int, limit: int) -> object:
        blocks.append(len(queries))
        return plain(self, queries, k, stage, limit)

    monkeypatch.setattr(MultiHash, "_block", block)
    monkeypatch.setattr(engine, "_plan", lambda _: (1.0, 0))
    each = 1 + engine.reach.shares[0] * len(engine)
    for codes, size in ((6.5 * each, 6), (0.5 * each, 1), (1e9, 9)):
        monkeypatch.setattr(multihash, "TOGETHER", 9)
        monkeypatch.setattr(multihash, "TOUCHED", codes)
        blocks.clear()
        engine.staged(asked, 3)
        assert blocks == [size] * (40 // size) + [40 % size] * (40 % size > 0)


@pytest.mark.parametrize(
    ("cost", "threads", "queries", "scanned"),
    [
        (100.0, 1, 5, False),
        (100.1, 1, 5, True),
        (50.0, 2, 5, False),  # look-ups this cheap use one thread, a scan uses both
        (50.1, 2, 5, True),
        (100.0, 2, 1, False),  # a single query runs on one thread either way
        (20.0, 8, 5, False),
        (20.1, 8, 5, True),
    ],
)
def test_look_ups_must_be_cheaper_than_a_scan_by_all_threads(
    engine: MultiHash,
    asked: NDArray[np.uint8],
    cost: float,
    threads: int,
    queries: int,
    scanned: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine, "_plan", lambda _: (cost, 0))
    monkeypatch.setattr(engine, "_scan_cost", 100.0)
    looked: list[int] = []

    def answers(packed: NDArray[np.uint8], *_: object) -> list[tuple[None, int]]:
        looked.append(len(packed))
        return [(None, SCANNED)] * len(packed)

    monkeypatch.setattr(engine, "_certain_together", answers)
    monkeypatch.setattr(engine, "_each", answers)
    engine.staged(asked[:queries], 3, threads)
    assert (looked == []) == scanned


def test_a_plan_is_made_once_for_each_number_of_hits(engine: MultiHash, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int, int]] = []
    plain = cost_model.Reach.plan

    def plan(self: cost_model.Reach, k: int, n_bits: int, n_codes: int) -> tuple[float, int | None]:
        asked.append((k, n_bits, n_codes))
        return plain(self, k, n_bits, n_codes)

    monkeypatch.setattr(cost_model.Reach, "plan", plan)
    monkeypatch.setattr(engine, "_plans", {})
    for k in (3, 4, 3, 3):
        engine.nearest(engine.packed[:1], k)
    assert asked == [(3, 32, len(engine)), (4, 32, len(engine))]


@pytest.mark.parametrize(
    ("far", "k", "parts", "stage"),
    [
        ([5, 1, 9], 3, 2, 4),
        ([5, 1, 9], 2, 2, 2),
        ([5, 1, 9], 1, 2, 0),
        ([5, 1, 9], 4, 2, 0),
        ([3], 1, 2, 1),
        ([4], 1, 2, 2),
    ],
)
def test_the_next_stage_is_that_whose_bound_reaches_the_last_hit(
    far: list[int], k: int, parts: int, stage: int
) -> None:
    found = multihash._stage_for(np.array(far, np.uint16), k, parts)
    assert found == stage
    if len(far) >= k:
        assert bound(parts, found) >= sorted(far)[k - 1] > bound(parts, found - 1)


@pytest.mark.parametrize("k", [1, 3, 10])
@pytest.mark.parametrize("most", [1, 3, 8, 100])
def test_the_first_distinct_keys_are_sorted(k: int, most: int) -> None:
    keys = np.random.default_rng(k).integers(0, 12, 60)
    assert multihash._first(keys, k, most).tolist() == sorted(set(keys.tolist()))[:k]
    assert multihash._first(keys[:0], k, most).tolist() == []
