"""Cost model: costs by hand, and measurements against a look at all pairs of codes."""

from __future__ import annotations

import json
from itertools import combinations
from math import comb

import numpy as np
import pytest

from aepipe.codes.bitcodes import BitCodes
from aepipe.index import cost_model, scan
from aepipe.index.cost_model import Reach, bound, candidates, compare_cost, measured, n_values, scan_cost, stage_cost
from aepipe.index.hash_tables import parts_of
from aepipe.index.postings import group
from tests.index.test_hamming import few_codes
from tests.index.test_kinds import near_codes

FAR = [[0, 1, 2, 3], [1, 2, 3, 9], [2, 5, 5, 9], []]
"""Distances of the 1st, 10th and 100th other row of four rows; there are no 1,000 others."""


@pytest.mark.parametrize(
    ("n_bits", "n_codes", "cost"),
    [
        (8, 1000, 1000 * (1.0 + 0.0125)),
        (9, 1000, 1000 * (1.0 + 0.0125 * 2)),
        (64, (1 << 18) - 1, ((1 << 18) - 1) * (1.0 + 0.0125 * 8)),
        (64, 1 << 18, (1 << 18) * (0.5 + 0.02 * 8)),
        (128, 1 << 18, (1 << 18) * (0.5 + 0.02 * 16)),
        (129, 1 << 18, (1 << 18) * (1.0 + 0.0125 * 17)),
    ],
)
def test_a_scan_costs_for_each_code_and_byte(n_bits: int, n_codes: int, cost: float) -> None:
    """Many short codes are scanned within a radius, which is cheaper."""
    assert scan_cost(n_bits, n_codes) == pytest.approx(cost)
    assert compare_cost(n_bits, n_codes) == pytest.approx(n_codes * (1.0 + 0.0125 * -(-n_bits // 8)))


@pytest.mark.parametrize(("n_bits", "each"), [(64, 10.0), (65, 12.5), (128, 12.5), (129, 30.0), (256, 30.0), (8, 10.0)])
def test_a_look_up_costs_for_each_value_and_code(n_bits: int, each: float) -> None:
    """Long codes are not copied into their buckets, but fetched."""
    assert stage_cost(n_bits, 7, 1000.0) == pytest.approx(25_000 + 7 * 100 + 1000 * each)


@pytest.mark.parametrize(("k", "codes", "ranged"), [(1, 1 << 18, True), (64, 1 << 18, True), (65, 1 << 18, False)])
def test_many_short_codes_are_scanned_within_a_radius(k: int, codes: int, ranged: bool) -> None:
    assert scan.ranged(128, codes, k) == ranged
    assert not scan.ranged(128, codes - 1, k)
    assert not scan.ranged(129, codes, k)
    assert scan.ranged(128, k << 12, k) == (k >= 64)


@pytest.mark.parametrize(("n_bits", "n_parts"), [(13, 1), (13, 3), (64, 4)])
def test_the_values_of_a_look_up_are_counted(n_bits: int, n_parts: int) -> None:
    lengths = [len(range(part, n_bits, n_parts)) for part in range(n_parts)]
    for flipped in range(4):
        some = sum(len(list(combinations(range(one), count))) for one in lengths for count in range(flipped + 1))
        assert n_values(n_bits, n_parts, flipped) == some
        assert bound(n_parts, flipped) == n_parts * (flipped + 1) - 1


def test_the_share_of_certified_queries_is_that_of_near_neighbours() -> None:
    """Another k counts as the next larger one that was measured; without a measurement nothing is certified."""
    reach = Reach(2, FAR, [0.1, 0.2, 0.3])
    expected = {(1, 0): 0.5, (1, 1): 1.0, (2, 0): 0.25, (10, 0): 0.25, (10, 1): 0.75, (10, 2): 0.75}
    expected |= {(11, 1): 0.25, (100, 1): 0.25, (100, 2): 0.75, (101, 2): 0.0, (1001, 2): 0.0}
    assert {at: reach.certified(*at) for at in expected} == expected


def test_a_plan_pays_for_a_stage_and_for_what_it_leaves_open() -> None:
    reach, codes = Reach(2, FAR, [1e-5, 1e-4, 1e-3]), 10_000_000
    one, two, three = (reach.stage(flipped, 64, codes) for flipped in range(3))
    scan_ = scan_cost(64, codes)
    assert one == pytest.approx(25_000 + 2 * 100 + 10 * 100)
    assert two == pytest.approx(25_000 + 2 * 33 * 100 + 10 * 1000)
    assert three == pytest.approx(25_000 + 2 * (1 + 32 + comb(32, 2)) * 100 + 10 * 10_000)
    last = three + 0.25 * scan_
    cost, begin = reach.plan(100, 64, codes)
    assert cost == pytest.approx(two + 0.75 * last)
    assert begin == 1
    assert two + 0.75 * last < last < scan_
    cost, begin = reach.plan(10, 64, codes)
    assert cost == pytest.approx(one + 0.75 * (two + 0.25 * last))
    assert begin == 0
    assert reach.cost(10, 64, codes) == cost
    assert reach.plan(1000, 64, codes) == (scan_, None)
    assert reach.plan(10, 64, 100) == (scan_cost(64, 100), None)


def test_the_first_of_equal_plans_begins_with_fewer_flipped_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BEGUN", "LOOKED_UP", "READ"):
        monkeypatch.setattr(cost_model, name, 0.0)
    assert Reach(2, FAR, [0.0, 0.0]).plan(1, 64, 1000) == (0.0, 0)


@pytest.mark.parametrize(
    ("k", "share", "stage"),
    [
        (1, 0.5, 0),
        (1, 0.51, 1),
        (0.2, 0.5, 0),
        (10, 0.25, 0),
        (10, 0.26, 1),
        (10, 0.76, None),
        (100, 0.25, 1),
        (100, 0.75, 2),
        (10**0.5 * 10, 0.5, 1),  # between 0.75 and 0.25
        (10**0.5 * 10, 0.51, 2),
        (10**1.25, 0.6, 1),
        (10**1.25, 0.63, 2),
        (10**0.5, 0.25, 0),  # those of the next larger number, weighed with those of the smaller one
        (10**0.5, 0.38, 1),
    ],
)
def test_the_stage_that_certifies_a_share_of_queries(k: float, share: float, stage: int | None) -> None:
    """The share of a k between two that were measured lies between theirs, by the logarithm of k."""
    assert Reach(2, FAR, [0.1, 0.2, 0.3]).stage_for(k, share) == stage


def test_measurements_are_written_and_read() -> None:
    reach = Reach(3, FAR, [0.5, 0.25, 0.125, 1.0])
    assert Reach.of_dict(json.loads(json.dumps(reach.to_dict()))) == reach
    whole = reach.to_dict()
    for wrong in (
        whole | {"distances": FAR[:3]},
        whole | {"distances": [*FAR, []]},
        whole | {"shares": [0.1] * 5},
    ):
        with pytest.raises(ValueError, match="not the measurements of an index"):
            Reach.of_dict(wrong)
    read = Reach.of_dict({"n_parts": "2", "distances": [["1"], [], [], []], "shares": [1]})
    assert (read.n_parts, read.distances, read.shares) == (2, [[1], [], [], []], [1.0])


@pytest.mark.parametrize(
    ("n_bits", "numbers"),
    [
        (4, [1]),
        (7, [1]),
        (8, [1]),
        (16, [1, 2]),
        (48, [1, 2, 3, 4, 5, 6]),
        (49, [2, 3, 4, 5, 6]),
        (128, list(range(3, 17))),
        (768, [16]),
        (769, [24]),
        (800, [25]),
        (3200, [100]),
    ],
)
def test_substrings_have_8_to_48_bits(n_bits: int, numbers: list[int]) -> None:
    assert candidates(n_bits) == numbers


def test_the_cheapest_number_of_substrings_is_that_of_all_typical_queries() -> None:
    near, wide = Reach(4, [[1]] * 4, [1e-3]), Reach(2, [[1]] * 4, [1e-6])
    assert cost_model.cheapest([near, wide], 64, 10_000_000) is wide
    assert cost_model.cheapest([wide, near], 64, 10_000_000) is wide
    first, second = Reach(2, [[1], [1], [9], [9]], [1e-6]), Reach(2, [[1], [9], [1], [9]], [1e-7])
    sums = [sum(one.cost(k, 64, 1_000_000) for k in (10, 100)) for one in (first, second)]
    assert cost_model.cheapest([first, second], 64, 1_000_000) is [first, second][int(np.argmin(sums))]


@pytest.mark.parametrize("rows", [5, 11, 12, 101, 200])
def test_the_distances_of_the_nearest_other_rows_are_measured(rows: int) -> None:
    """Rows that share a code count one by one; where there are no k others, nothing is measured."""
    codes = few_codes(np.random.default_rng(rows), rows, 24, 40)
    distinct, postings = group(codes, np.arange(rows))
    (reach,) = measured(distinct, postings.offsets, n_parts=2)
    far = np.sort(codes.distances(codes).astype(int), axis=1)
    expected = [sorted(far[:, k].tolist()) if rows > k else [] for k in (1, 10, 100, 1000)]
    assert reach.distances == expected
    assert reach.n_parts == 2


def test_samples_are_measured_where_there_are_many_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost_model, "ASKED", 32)
    codes = few_codes(np.random.default_rng(1), 300, 32, 200)
    distinct, postings = group(codes, np.arange(300))
    offsets = postings.offsets
    found = measured(distinct, offsets)
    assert [one.n_parts for one in found] == candidates(32)
    assert [[len(far) for far in one.distances] for one in found] == [[32, 32, 32, 0]] * len(found)
    assert measured(distinct, offsets) == found, "the same sample each time"
    assert cost_model.measure(distinct, offsets) == cost_model.cheapest(found, 32, len(distinct))
    assert cost_model.measure(distinct, offsets, n_parts=3).n_parts == 3
    rows = np.sort(np.random.default_rng(0).choice(300, 32, replace=False))
    asked = [next(code for code in range(len(distinct)) if offsets[code] <= row < offsets[code + 1]) for row in rows]
    far = np.sort(BitCodes(distinct.packed[asked], 32, codes.fingerprint).distances(codes), axis=1)
    assert found[0].distances == [*(sorted(far[:, k].tolist()) for k in (1, 10, 100)), []]
    some, everything = np.array(asked[::4]), np.arange(len(distinct))
    for one in found:
        tenth = far[::4, 10].astype(np.uint16)
        assert one.shares == pytest.approx(cost_model._shares(distinct, some, everything, one.n_parts, tenth))


@pytest.mark.parametrize("n_bits", [16, 100])
@pytest.mark.parametrize("n_parts", [1, 2, 5])
def test_the_share_of_codes_that_a_look_up_touches(n_bits: int, n_parts: int) -> None:
    """A code in the buckets of two substrings is touched twice."""
    codes = BitCodes(np.unique(near_codes(np.random.default_rng(2), 30, n_bits).packed, axis=0), n_bits)
    distinct, _ = group(codes, np.arange(len(codes)))
    parts = cost_model.deal(distinct, n_parts)
    bits = np.unpackbits(distinct.packed, axis=1, count=n_bits).astype(int)
    apart = np.stack(
        [(bits[:, None, parts == one] != bits[None, :, parts == one]).sum(axis=2) for one in range(n_parts)]
    )
    shares = cost_model.shares_of(distinct, n_parts)
    assert shares == pytest.approx([(apart <= flipped).mean(axis=(1, 2)).sum() for flipped in range(len(shares))])
    affordable = [flipped for flipped in range(4) if n_values(n_bits, n_parts, flipped) <= 2000 * n_parts]
    assert len(shares) == len(affordable)


def test_shares_are_averaged_over_the_queries_that_fewer_bits_leave_open() -> None:
    """But over the farthest eight at least."""
    distinct, _ = group(near_codes(np.random.default_rng(3), 60, 24), np.arange(60))
    n_codes = len(distinct)
    asked = compared = np.arange(n_codes)
    parts = cost_model.deal(distinct, 2)
    bits = np.unpackbits(distinct.packed, axis=1, count=24).astype(int)
    apart = np.stack([(bits[:, None, parts == one] != bits[None, :, parts == one]).sum(axis=2) for one in range(2)])
    touched = np.stack([(apart <= flipped).mean(axis=2).sum(axis=0) for flipped in range(4)])
    far = np.random.default_rng(4).permutation(n_codes).astype(np.uint16) % 9
    order = sorted(range(n_codes), key=lambda place: (-int(far[place]), place))
    rows = [n_codes] + [max(8, int((far > 2 * flipped - 1).sum())) for flipped in (1, 2, 3)]
    found = cost_model._shares(distinct, asked, compared, 2, far)
    assert found == pytest.approx([touched[flipped, order[: rows[flipped]]].mean() for flipped in range(4)])
    assert rows[1] > rows[2] > 8


def test_bits_are_dealt_by_a_sample_in_which_no_code_is_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    distinct, _ = group(near_codes(np.random.default_rng(5), 40, 24, 0.2), np.arange(40))
    bits = np.unpackbits(distinct.packed, axis=1, count=24)
    for n_parts in (2, 3):
        assert cost_model.deal(distinct, n_parts).tolist() == parts_of(bits, n_parts).tolist(), "of all few"
    seen: list[np.ndarray] = []
    monkeypatch.setattr(cost_model, "COMPARED", 25)
    monkeypatch.setattr(cost_model, "parts_of", lambda some, n_parts: seen.append(some))
    cost_model.deal(distinct, 2)
    kept = np.sort(np.random.default_rng(1).choice(len(bits), 25, replace=False))
    np.testing.assert_array_equal(seen[0], bits[kept])
