"""Sizing: predict disk, memory, time and recall of each kind of index for a number of rows.

The speed of a scan is measured on this machine. Distances of hits, fill of buckets and the share of distinct codes are
measured on the codes of a collection, where there is one. For more rows than the collection has, the prediction is
cautious: it assumes hits no nearer and codes no less distinct than now, although both happen as a collection grows.
What does not fit on one machine is planned in shards, on as many machines as that takes.

Legend: N rows, M distinct codes, W bytes of a code, m substrings.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aepipe.codes.bitcodes import BitCodes, n_bytes
from aepipe.index.cost_model import NEAREST, TYPICAL, Reach, cheapest, measured, n_values, scan_cost, stage_cost
from aepipe.index.hash_tables import COPIED
from aepipe.index.kinds import ivf
from aepipe.index.scan import Scan
from aepipe.recipe import MOST_SHARDS

TRIED, ROUNDS = 1_000_000, 9
"""Codes and repetitions with which a scan is timed."""
IN_CELLS = 100_000
"""Codes of a collection that are split into cells to measure recall."""
PROBES = (8, 32, 128)
ASKED = 200
PER_ROW, PER_CODE = 12, 8
"""Bytes in addition to the codes: for each row its id and its place by id, for each code the start of its rows."""
SLOWER = 1.5
"""The 95th percentile of scans, in medians."""
BUILT, FILLED, PUT_IN_CELL = 0.73e-6, 0.17e-6, 5e-9
"""Seconds of building: for each row; for each code and table; for each code and cell."""
MOST_ROWS = 1_000_000_000
"""Rows of a shard."""


@dataclass(frozen=True, slots=True)
class Machine:
    """The speed of this machine.

    Attributes:
        speed: the measured time of a scan, divided by the one that :mod:`aepipe.index.cost_model` predicts.
    """

    speed: float


@dataclass(frozen=True, slots=True)
class Codes:
    """Measured properties of a collection's codes.

    Attributes:
        n_bits: K.
        rows: number of rows measured; 0 without a collection, and codes then count as without neighbours.
        distinct: M / N, the share of distinct codes.
        reaches: distances of hits and fill of buckets, for several numbers of substrings; empty without a collection.
        recalls: for each number of probes: the probes, the number of cells, and the recall of the 10 nearest rows.
    """

    n_bits: int
    rows: int = 0
    distinct: float = 1.0
    reaches: tuple[Reach, ...] = ()
    recalls: tuple[tuple[int, int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Offer:
    """An index that could be built.

    Attributes:
        kind: of the index.
        options: as a recipe has them.
        disk: bytes on disk.
        memory: bytes that must be in memory for the predicted times.
        median: median time of a query, in milliseconds.
        p95: 95th percentile of the time of a query, in milliseconds.
        recall: of the 10 nearest rows.
        build: seconds in which one thread builds it.
    """

    kind: str
    options: dict[str, int]
    disk: int
    memory: int
    median: float
    p95: float
    recall: float
    build: float


@dataclass(frozen=True, slots=True)
class Layout:
    """An index in shards, and the machines that hold them.

    Attributes:
        shard: the offer for one shard.
        rows: of a shard.
        shards: how many.
        machines: how many; each searches its shards in turn, all machines at the same time.
        median: median time of a query, in milliseconds.
        p95: 95th percentile of the time of a query, in milliseconds.
        fits: whether it does what is asked for.
    """

    shard: Offer
    rows: int
    shards: int
    machines: int
    median: float
    p95: float
    fits: bool

    @property
    def memory(self) -> int:
        """Bytes that must be in memory, of all machines."""
        return self.shards * self.shard.memory

    @property
    def disk(self) -> int:
        """Bytes on the disks of all machines."""
        return self.shards * self.shard.disk

    @property
    def build(self) -> float:
        """Seconds in which each machine builds its shards, with one thread; all work at a time."""
        return -(-self.shards // self.machines) * self.shard.build


def time_scan(n_bits: int) -> Machine:
    """Measure the speed of this machine's scans; takes about a second."""
    width = n_bytes(n_bits)
    packed = np.random.default_rng(0).integers(0, 256, (TRIED, width), np.uint8)
    codes = Scan.of(BitCodes(packed, 8 * width))
    took = []
    for place in range(ROUNDS):
        began = time.perf_counter()
        codes.nearest(packed[place : place + 1], TYPICAL[0])
        took.append(time.perf_counter() - began)
    return Machine(float(np.median(took)) * 1e9 / scan_cost(n_bits, TRIED))


def measure_codes(codes: Scan, offsets: NDArray[np.int64], *, approximate: bool) -> Codes:
    """Measure the properties of a collection's codes.

    Args:
        codes: M distinct codes, at least 2.
        offsets: int64[M + 1], of their rows.
        approximate: also measure the recall of cells.
    """
    reaches, rows = tuple(measured(codes, offsets)), int(offsets[-1])
    recalls = _recalls(codes) if approximate else ()
    return Codes(codes.n_bits, rows, len(codes) / rows, reaches, recalls)


def offers(rows: int, codes: Codes, machine: Machine) -> list[Offer]:
    """Return the indexes that could be built for N rows, the exact kinds first.

    Args:
        rows: N.
        codes: properties of their codes.
        machine: the machine that searches them, with one thread.
    """
    count = max(1, round(rows * codes.distinct))
    held = count * n_bytes(codes.n_bits)
    disk = held + rows * PER_ROW + count * PER_CODE
    scan = scan_cost(codes.n_bits, count) * machine.speed / 1e6
    build = rows * BUILT * machine.speed
    found = [Offer("flat", {}, disk, held, scan, SLOWER * scan, 1.0, build)]
    if codes.reaches:
        found.append(_multihash(rows, count, codes, machine, found[0]))
    for probes, cells, recall in codes.recalls:
        # The number of cells grows with the root of M; probes grow alike, so they see the same share of the codes.
        wanted = max(1, round(probes * ivf.usual_cells(count) / cells))
        took = ivf.cost(codes.n_bits, count, cells=ivf.usual_cells(count), share=probes / cells)
        median = took * machine.speed / 1e6
        more = count * (n_bytes(codes.n_bits) + 8)
        cells_filled = build + count * ivf.usual_cells(count) * PUT_IN_CELL * machine.speed
        times = median, SLOWER * median
        found.append(Offer("ivf", {"probes": wanted}, disk + more, more, *times, recall, cells_filled))
    return found


def layouts(
    rows: int, codes: Codes, machine: Machine, *, ram: int | None, p95: float | None, recall: float
) -> list[Layout]:
    """Return each kind of index in as few shards as will do, the exact kinds first.

    Args:
        rows: N.
        codes: properties of their codes.
        machine: each of the machines, with one thread.
        ram: bytes available on each; None for no limit, and a machine for each shard.
        p95: milliseconds allowed; None for no limit.
        recall: the least recall.
    """
    least = -(-rows // MOST_ROWS)
    found = [_layout(rows, least, one, ram, p95, recall) for one in offers(-(-rows // least), codes, machine)]
    for shards in _more(least):
        if all(one.fits or one.shard.recall < recall for one in found):
            break
        tried = [_layout(rows, shards, one, ram, p95, recall) for one in offers(-(-rows // shards), codes, machine)]
        found = [old if old.fits else new for old, new in zip(found, tried, strict=True)]
    return found


def choose(found: Sequence[Layout]) -> Layout | None:
    """Return the fastest layout that fits; None where none does."""
    return min((one for one in found if one.fits), key=lambda one: (one.median, one.memory), default=None)


def _more(least: int) -> Iterator[int]:
    """Yield numbers of shards, each about a twentieth larger than the one before."""
    shards = least
    while (shards := max(shards + 1, shards * 21 // 20)) <= MOST_SHARDS:
        yield shards


def _layout(rows: int, shards: int, offer: Offer, ram: int | None, p95: float | None, recall: float) -> Layout:
    """Return as few machines as will do for a number of shards."""
    by_ram = 1 if ram is None else ram // offer.memory
    by_time = shards if p95 is None else int(p95 / offer.p95)
    each = min(shards, by_ram, by_time)
    machines = -(-shards // max(1, each))
    in_turn = -(-shards // machines)
    times = in_turn * offer.median, in_turn * offer.p95
    return Layout(offer, -(-rows // shards), shards, machines, *times, each > 0 and offer.recall >= recall)


def _multihash(rows: int, count: int, codes: Codes, machine: Machine, flat: Offer) -> Offer:
    """Predict look-ups: a query that a stage certifies pays for all stages up to it."""
    reach, width = cheapest(codes.reaches, codes.n_bits, count), n_bytes(codes.n_bits)
    tables = reach.n_parts * count * (8 + (width if width <= COPIED else 0))
    # With fewer rows than measured, the 10th nearest is as far away as the 100th or 1,000th of the measured rows.
    k = next((one for one in NEAREST if one >= TYPICAL[0] * max(1.0, codes.rows / rows)), NEAREST[-1])
    begin = reach.plan(k, codes.n_bits, count)[1]
    path, passed = 0.0, list[tuple[float, float]]()
    for stage in [] if begin is None else range(begin, len(reach.shares)):
        values = n_values(codes.n_bits, reach.n_parts, stage)
        path += stage_cost(codes.n_bits, values, reach.shares[stage] * count) * machine.speed / 1e6
        passed.append((reach.certified(k, stage), path))
    median, p95 = (
        next((took for share, took in passed if share >= wanted), path + scanned)
        for wanted, scanned in ((0.5, flat.median), (0.95, flat.p95))
    )
    options = {"substrings": reach.n_parts}
    build = flat.build + reach.n_parts * count * FILLED * machine.speed
    return Offer("multihash", options, flat.disk + tables, flat.memory + tables, median, p95, 1.0, build)


def _recalls(codes: Scan) -> tuple[tuple[int, int, float], ...]:
    """Measure the recall of each of PROBES on a sample of the codes."""
    rng = np.random.default_rng(0)
    some = rng.choice(len(codes), min(IN_CELLS, len(codes)), replace=False)
    part = Scan.of(BitCodes(codes.packed[np.sort(some)], codes.n_bits))
    in_cells = ivf.build(part, np.arange(len(part) + 1))
    if not isinstance(in_cells, ivf.Ivf):
        return ()
    places = rng.choice(len(part), min(ASKED, len(part)), replace=False)
    cells = int(in_cells.cells.nlist)
    return tuple((probes, cells, round(min(1.0, found), 3)) for probes, found in ivf.recalls(in_cells, places, PROBES))
