"""Sizing: predict disk, memory, time and recall of each kind of index for a number of rows.

The speed of a scan is measured on this machine. Distances of hits, fill of buckets and the share of distinct codes are
measured on the codes of a collection, where there is one. For more rows than the collection has, the prediction is
cautious: it assumes hits no nearer and codes no less distinct than now, although both happen as a collection grows.

Legend: N rows, M distinct codes, W bytes of a code, m substrings.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aepipe.codes.bitcodes import BitCodes, n_bytes
from aepipe.index.cost_model import NEAREST, TYPICAL, Reach, cheapest, measured, n_values, scan_cost, stage_cost
from aepipe.index.hash_tables import COPIED
from aepipe.index.kinds import ivf
from aepipe.index.scan import Scan

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
    """

    kind: str
    options: dict[str, int]
    disk: int
    memory: int
    median: float
    p95: float
    recall: float


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
    found = [Offer("flat", {}, disk, held, scan, SLOWER * scan, 1.0)]
    if codes.reaches:
        found.append(_multihash(rows, count, codes, machine, found[0]))
    for probes, cells, recall in codes.recalls:
        # The number of cells grows with the root of M; probes grow alike, so they see the same share of the codes.
        wanted = max(1, round(probes * ivf.usual_cells(count) / cells))
        took = ivf.cost(codes.n_bits, count, cells=ivf.usual_cells(count), share=probes / cells)
        median = took * machine.speed / 1e6
        more = count * (n_bytes(codes.n_bits) + 8)
        found.append(Offer("ivf", {"probes": wanted}, disk + more, more, median, SLOWER * median, recall))
    return found


def choose(found: Sequence[Offer], *, ram: int | None, p95: float | None, recall: float) -> Offer | None:
    """Return the fastest offer that fits; None where none does.

    Args:
        found: the offers.
        ram: bytes available; None for no limit.
        p95: milliseconds allowed; None for no limit.
        recall: the least recall.
    """
    fitting = [
        one
        for one in found
        if one.recall >= recall and (ram is None or one.memory <= ram) and (p95 is None or one.p95 <= p95)
    ]
    return min(fitting, key=lambda one: (one.median, one.memory), default=None)


def machines(found: Sequence[Offer], *, ram: int | None, p95: float | None, recall: float) -> int:
    """Return the smallest number of machines that share the rows so that an offer fits on each."""
    needed = []
    for one in found:
        if one.recall >= recall:
            by_ram = 1 if ram is None else -(-one.memory // ram)
            by_time = 1 if p95 is None else int(np.ceil(one.p95 / p95))
            needed.append(max(by_ram, by_time))
    return int(min(needed))


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
    return Offer("multihash", options, flat.disk + tables, flat.memory + tables, median, p95, 1.0)


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
