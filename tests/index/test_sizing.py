"""Sizing from given measurements, so that the speed of this machine does not matter."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest

from aepipe.codes.bitcodes import BitCodes
from aepipe.index import cost_model, sizing
from aepipe.index.cost_model import Reach, n_values, scan_cost, stage_cost
from aepipe.index.kinds import ivf
from aepipe.index.postings import group
from aepipe.index.scan import Scan
from aepipe.index.sizing import Codes, Machine, Offer
from aepipe.recipe import MOST_SHARDS
from tests.index.test_kinds import near_codes

USUAL = Machine(1.0)
NEAR = Reach(3, [[1], [2], [4], [9]], [1e-6, 1e-5, 1e-4])
WIDE = Reach(2, [[1], [2], [4], [9]], [1e-9, 1e-8, 1e-7])


def test_bytes_and_milliseconds_of_a_scan() -> None:
    (flat,) = sizing.offers(50_000_000, Codes(64, distinct=0.5), USUAL)
    assert flat.memory == 25_000_000 * 8
    assert flat.disk == flat.memory + 50_000_000 * 12 + 25_000_000 * 8
    assert flat.median == pytest.approx(scan_cost(64, 25_000_000) / 1e6, rel=1e-9)
    (slow,) = sizing.offers(50_000_000, Codes(256), Machine(2.0))
    assert slow.median == pytest.approx(2 * scan_cost(256, 50_000_000) / 1e6, rel=1e-9)


def test_certifying_look_ups_are_chosen_within_the_limits() -> None:
    codes = Codes(64, rows=10_000_000, reaches=(NEAR,))
    flat, hashed = sizing.offers(10_000_000, codes, USUAL)
    assert hashed.options == {"substrings": 3}
    assert hashed.memory == flat.memory + 3 * 10_000_000 * 16
    assert hashed.median < 0.2 < flat.median
    assert hashed.p95 < 0.2
    assert hashed.build == pytest.approx(10e6 * sizing.BUILT + 3 * 10e6 * sizing.FILLED)

    def chosen(ram: int | None, p95: float | None) -> sizing.Layout | None:
        return sizing.choose(sizing.layouts(10_000_000, codes, USUAL, ram=ram, p95=p95, recall=1.0))

    fastest = chosen(None, None)
    assert fastest is not None
    assert (fastest.shard, fastest.shards, fastest.machines) == (hashed, 1, 1)
    several = chosen(flat.memory + 1000, None)
    assert several is not None
    assert several.shard.kind == "multihash"
    assert several.shards == several.machines == 7
    assert several.shard.memory <= flat.memory + 1000 < several.memory
    assert chosen(flat.memory, 1e-9) is None


def test_hits_beyond_every_bound_cost_a_look_up_and_a_scan() -> None:
    far = Reach(3, [[30], [30], [30], [30]], [1e-6, 1e-5, 1e-4])
    flat, hashed = sizing.offers(10_000_000, Codes(64, rows=10_000_000, reaches=(far,)), USUAL)
    assert hashed.median >= flat.median


def test_hits_among_fewer_rows_are_farther() -> None:
    codes = Codes(64, rows=100_000_000, reaches=(Reach(3, [[1], [2], [30], [30]], [1e-6, 1e-5, 1e-4]),))
    assert sizing.offers(100_000_000, codes, USUAL)[1].median < 1
    assert sizing.offers(10_000_000, codes, USUAL)[1].median >= sizing.offers(10_000_000, codes, USUAL)[0].median


def test_the_number_of_substrings_is_chosen_for_the_number_of_rows() -> None:
    few = Reach(4, [[1], [2], [4], [9]], [1e-3, 1e-2, 1e-1])
    many = Reach(2, [[3], [3], [4], [9]], [1e-8, 1e-7, 1e-6])
    codes = Codes(64, rows=1_000_000, reaches=(few, many))
    assert sizing.offers(1_000_000_000, codes, USUAL)[1].options == {"substrings": 2}


def test_approximate_kinds_are_offered_where_recall_was_measured() -> None:
    codes = Codes(64, recalls=((8, 1000, 0.8), (32, 1000, 0.95)))
    found = sizing.offers(100_000_000, codes, USUAL)
    assert [one.kind for one in found] == ["flat", "ivf", "ivf"]
    assert [one.recall for one in found] == [1.0, 0.8, 0.95]
    assert found[1].median < found[2].median < found[0].median
    chosen = sizing.choose(sizing.layouts(100_000_000, codes, USUAL, ram=None, p95=None, recall=0.9))
    assert chosen is not None
    assert chosen.shard == found[2]
    assert chosen.shard.options == {"probes": round(32 * 40_000 / 1000)}


@pytest.mark.parametrize(
    ("rows", "ram", "p95", "shards", "machines"),
    [
        (1_000_000_000, None, None, 1, 1),
        (10_000_000_000, None, None, 10, 10),
        (10_000_000_000, 64 * 10**9, None, 10, 2),  # eight shards of 8 GB on a machine, which searches them in turn
        (10_000_000_000, 7 * 10**9, None, 12, 12),  # a shard has at most 875 million rows then
        (10_000_000_000, 64 * 10**9, 1000.0, 10, 10),
    ],
)
def test_what_is_too_large_for_a_machine_is_planned_in_shards(
    rows: int, ram: int | None, p95: float | None, shards: int, machines: int
) -> None:
    (flat,) = sizing.layouts(rows, Codes(64), USUAL, ram=ram, p95=p95, recall=1.0)
    assert (flat.shards, flat.machines, flat.fits) == (shards, machines, True)
    assert flat.rows * shards >= rows
    assert flat.memory == pytest.approx(8 * rows, rel=1e-6)
    assert ram is None or -(-shards // machines) * flat.shard.memory <= ram
    assert flat.median == pytest.approx(-(-shards // machines) * flat.shard.median)
    assert p95 is None or flat.p95 <= p95
    assert flat.build == pytest.approx(sizing.BUILT * flat.rows * -(-shards // machines))


def test_the_properties_of_codes_are_measured() -> None:
    rng = np.random.default_rng(0)
    codes, postings = group(near_codes(rng, 5000, 64), np.arange(5000))
    found = sizing.measure_codes(codes, postings.offsets, approximate=True)
    assert (found.rows, found.n_bits) == (5000, 64)
    assert found.distinct == len(codes) / 5000
    assert len(found.reaches) > 2
    assert [probes for probes, _, _ in found.recalls] == [8, 32, 128]
    recalls = [recall for _, _, recall in found.recalls]
    assert recalls == sorted(recalls)
    assert recalls[-1] > 0.9
    assert sizing._recalls(codes) == found.recalls, "the same sample each time"


def test_scanning_is_timed() -> None:
    assert 0.01 < sizing.time_scan(64).speed < 1000


def test_every_figure_of_look_ups_by_hand() -> None:
    """A query that a stage certifies pays for all stages up to it; one that none does, for a scan, too."""
    reach = Reach(2, [[1] * 20, [1] * 10 + [3] * 8 + [9] * 2, [9] * 20, [9] * 20], [1e-6, 1e-5])
    codes, machine = Codes(64, rows=10_000_000, distinct=0.5, reaches=(reach,)), Machine(3.0)
    flat, hashed = sizing.offers(10_000_000, codes, machine)
    count = 5_000_000
    stages = [stage_cost(64, n_values(64, 2, one), reach.shares[one] * count) * 3.0 / 1e6 for one in range(2)]
    assert (flat.kind, flat.options, flat.recall) == ("flat", {}, 1.0)
    assert flat.p95 == pytest.approx(1.5 * flat.median)
    assert flat.build == pytest.approx(10_000_000 * sizing.BUILT * 3)
    assert hashed.median == pytest.approx(stages[0], rel=1e-9), "half of the queries"
    assert hashed.p95 == pytest.approx(sum(stages) + flat.p95, rel=1e-9), "nine tenths only"
    assert hashed.disk - flat.disk == hashed.memory - flat.memory == 2 * count * (8 + 8)
    assert hashed.build == pytest.approx(flat.build + 2 * count * sizing.FILLED * 3)
    assert (hashed.recall, hashed.kind) == (1.0, "multihash")
    long = sizing.offers(10_000_000, Codes(256, rows=10_000_000, distinct=0.5, reaches=(reach,)), machine)
    assert long[1].memory - long[0].memory == 2 * count * 8, "long codes are not copied"
    edge = sizing.offers(10_000_000, Codes(128, rows=10_000_000, distinct=0.5, reaches=(reach,)), machine)
    assert edge[1].memory - edge[0].memory == 2 * count * (8 + 16)


def test_a_query_that_begins_with_flipped_bits_pays_for_no_stage_before() -> None:
    """None of these has its neighbours within the bound of the first stage, 1."""
    reach = Reach(2, [[3] * 20] * 4, [1e-6, 1e-5])
    assert reach.plan(10, 64, 10_000_000)[1] == 1
    flat, hashed = sizing.offers(10_000_000, Codes(64, rows=10_000_000, reaches=(reach,)), USUAL)
    own = stage_cost(64, n_values(64, 2, 1), 1e-5 * 10_000_000) / 1e6
    assert hashed.median == hashed.p95 == pytest.approx(own, rel=1e-9)
    assert own < flat.median


@pytest.mark.parametrize(("rows", "median"), [(10_000, True), (1000, True), (999, False)])
def test_the_nearest_of_few_rows_are_those_further_away_among_many(rows: int, median: bool) -> None:
    """With a tenth of the rows, the 10th nearest is as far away as the 100th was."""
    reach = Reach(2, [[1], [1], [1], [9]], [1e-6])
    free = [reach]
    with pytest.MonkeyPatch.context() as patch:
        for cost in ("BEGUN", "LOOKED_UP", "READ"):
            patch.setattr(cost_model, cost, 0.0)
        flat, hashed = sizing.offers(rows, Codes(64, rows=10_000, reaches=tuple(free)), USUAL)
    assert (hashed.median < flat.median) == median


def test_every_figure_of_cells_by_hand() -> None:
    machine = Machine(2.0)
    flat, cells = sizing.offers(400_000, Codes(64, distinct=0.25, recalls=((8, 100, 0.9),)), machine)
    count, wanted = 100_000, ivf.usual_cells(100_000)
    assert cells.options == {"probes": round(8 * wanted / 100)}
    assert cells.median == pytest.approx(ivf.cost(64, count, cells=wanted, share=0.08) * 2 / 1e6, rel=1e-9)
    assert cells.p95 == pytest.approx(1.5 * cells.median)
    assert cells.memory == count * 16
    assert cells.disk == flat.disk + count * 16
    assert cells.build == pytest.approx(flat.build + count * wanted * sizing.PUT_IN_CELL * 2)
    (_, least) = sizing.offers(1, Codes(64, distinct=0.1, recalls=((1, 1000, 0.9),)), machine)
    assert (least.options, least.memory) == ({"probes": 1}, 16)


def offer(kind: str = "flat", memory: int = 100, median: float = 2.0, p95: float = 3.0, recall: float = 1.0) -> Offer:
    return Offer(kind, {}, 1000, memory, median, p95, recall, 7.0)


@pytest.mark.parametrize(
    ("shards", "ram", "p95", "machines", "in_turn", "fits"),
    [
        (10, None, None, 10, 1, True),
        (10, 100, None, 10, 1, True),
        (10, 99, None, 10, 1, False),
        (10, 299, None, 5, 2, True),
        (10, 300, None, 4, 3, True),
        (10, 5000, None, 1, 10, True),
        (10, 5000, 3.0, 10, 1, True),
        (10, 5000, 2.9, 10, 1, False),
        (10, 5000, 9.1, 4, 3, True),
    ],
)
def test_each_machine_has_the_shards_that_fit_into_its_memory_and_its_time(
    shards: int, ram: int | None, p95: float | None, machines: int, in_turn: int, fits: bool
) -> None:
    """Without a limit of memory, each shard has a machine."""
    found = sizing._layout(1001, shards, offer(), ram, p95, 0.9)
    assert (found.machines, found.median, found.p95, found.fits) == (machines, 2.0 * in_turn, 3.0 * in_turn, fits)
    assert (found.rows, found.shards) == (101, shards)
    assert (found.memory, found.disk, found.build) == (100 * shards, 1000 * shards, 7.0 * -(-shards // machines))
    assert sizing._layout(1001, shards, offer(recall=0.9), None, None, 0.9).fits
    assert not sizing._layout(1001, shards, offer(recall=0.89), None, None, 0.9).fits


def test_the_fastest_layout_that_fits_is_chosen_and_of_equal_ones_the_smallest() -> None:
    slow, fast, small = (
        sizing._layout(10, 1, one, None, None, 0.9)
        for one in (offer("a"), offer("b", median=1.0), offer("c", memory=9, median=1.0))
    )
    assert sizing.choose([slow, fast, small]) == small
    assert sizing.choose([slow, fast]) == fast
    assert sizing.choose([slow, sizing._layout(10, 1, offer(median=0.1, recall=0.1), None, None, 0.9)]) == slow
    assert sizing.choose([]) is None


def test_numbers_of_shards_grow_by_a_twentieth(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = list(sizing._more(1))
    assert tried[:19] == list(range(2, 21))
    assert tried[19:60:20] == [21, 42, 97]
    assert all(later == max(one + 1, one * 21 // 20) for one, later in pairwise(tried))
    assert tried[-1] <= MOST_SHARDS < tried[-1] * 21 // 20
    for most, numbers in ((105, [105]), (104, []), (110, [105, 110])):
        monkeypatch.setattr(sizing, "MOST_SHARDS", most)
        assert list(sizing._more(100)) == numbers


def test_what_fits_as_it_is_stays_while_others_are_split() -> None:
    """And what never reaches the recall does not keep them from being split no further."""
    codes = Codes(64, rows=1_000_000, reaches=(NEAR,), recalls=((8, 1000, 0.5),))
    flat, hashed, cells = sizing.layouts(1_000_000, codes, USUAL, ram=20_000_000, p95=None, recall=0.9)
    assert (flat.shards, flat.fits) == (1, True)
    assert (hashed.shard.kind, hashed.fits) == ("multihash", True)
    assert hashed.shards > 1
    assert hashed.shard.memory <= 20_000_000
    assert not cells.fits
    assert cells.shards == hashed.shards


def test_recall_is_measured_on_a_sample_in_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    codes, _ = group(near_codes(np.random.default_rng(0), 130, 64), np.arange(130))
    monkeypatch.setattr(sizing, "IN_CELLS", 100)
    monkeypatch.setattr(sizing, "ASKED", 50)
    seen: list[tuple[int, int]] = []
    plain = ivf.recalls

    def recalls(in_cells: ivf.Ivf, places: np.ndarray, probes: tuple[int, ...]) -> object:
        seen.append((len(in_cells), len(set(places.tolist()))))
        return [(one, found * 1.00012345) for one, found in plain(in_cells, places, probes)]

    monkeypatch.setattr(ivf, "recalls", recalls)
    found = sizing._recalls(codes)
    assert seen == [(100, 50)]
    assert [(probes, cells) for probes, cells, _ in found] == [(8, 40), (32, 40)]
    assert all(recall == round(recall, 3) <= 1.0 for *_, recall in found)
    assert sizing._recalls(Scan.of(BitCodes(np.zeros((0, 8), np.uint8), 64))) == ()
    monkeypatch.setattr(sizing, "ASKED", 1000)
    sizing._recalls(codes)
    assert seen[-1] == (100, 100)
    assert sizing.measure_codes(codes, np.arange(len(codes) + 1), approximate=False).recalls == ()


@pytest.mark.parametrize("n_bits", [64, 12])
def test_the_speed_is_that_of_the_middle_scan(n_bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with a code of its own as the query."""
    monkeypatch.setattr(sizing, "TRIED", 50)
    monkeypatch.setattr(sizing, "ROUNDS", 3)
    now = iter([0.0, 5.0, 10.0, 11.0, 20.0, 22.0])
    monkeypatch.setattr("aepipe.index.sizing.time", SimpleNamespace(perf_counter=lambda: next(now)))
    asked: list[tuple[bytes, int, int]] = []
    plain = Scan.nearest

    def nearest(self: Scan, packed: np.ndarray, k: int, threads: int = 1) -> object:
        asked.append((packed.tobytes(), k, len(self)))
        return plain(self, packed, k, threads)

    monkeypatch.setattr(Scan, "nearest", nearest)
    assert sizing.time_scan(n_bits).speed == pytest.approx(2.0 * 1e9 / scan_cost(n_bits, 50), rel=1e-12)
    width = -(-n_bits // 8)
    drawn = np.random.default_rng(0).integers(0, 256, (50, width), np.uint8)
    assert asked == [(drawn[one].tobytes(), 10, 50) for one in range(3)]
