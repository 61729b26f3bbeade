"""Sizing from given measurements, so that the speed of this machine does not matter."""

from __future__ import annotations

import numpy as np
import pytest

from aepipe.index import sizing
from aepipe.index.cost_model import Reach, scan_cost
from aepipe.index.postings import group
from aepipe.index.sizing import Codes, Machine
from tests.index.test_kinds import near_codes

USUAL = Machine(1.0)
NEAR = Reach(3, [[1], [2], [4], [9]], [1e-6, 1e-5, 1e-4])
WIDE = Reach(2, [[1], [2], [4], [9]], [1e-9, 1e-8, 1e-7])


def test_bytes_and_milliseconds_of_a_scan() -> None:
    (flat,) = sizing.offers(50_000_000, Codes(64, distinct=0.5), USUAL)
    assert flat.memory == 25_000_000 * 8
    assert flat.disk == flat.memory + 50_000_000 * 12 + 25_000_000 * 8
    assert flat.median == pytest.approx(scan_cost(64, 25_000_000) / 1e6)
    (slow,) = sizing.offers(50_000_000, Codes(256), Machine(2.0))
    assert slow.median == pytest.approx(2 * scan_cost(256, 50_000_000) / 1e6)


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
