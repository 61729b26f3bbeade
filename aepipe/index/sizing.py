"""What an index of so many rows would take: bytes, time and recall, by what is measured here and on a collection.

How fast codes are scanned is measured on this machine; how far hits are, how full buckets are and how many codes are
distinct, on the codes of a collection where there is one. What is said of more rows than there are is careful: hits are
taken to be no nearer and codes no less distinct than now, although both become so as a collection grows.

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

TRIED = 1_000_000
"""Codes on which scanning is timed."""
ROUNDS = 9
PARTED = 100_000
"""Codes of a collection that are parted into cells, to measure recall."""
PROBES = (8, 32, 128)
ASKED = 200
PER_ROW, PER_CODE = 12, 8
"""Bytes beside the codes: ids and their order; where a code's rows begin."""
SLOWER = 1.5
"""The 95th percentile of scans, in medians."""


@dataclass(frozen=True, slots=True)
class Machine:
    """This machine.

    Attributes:
        speed: how many times as long things take as :mod:`aepipe.index.cost_model` has it.
    """

    speed: float


@dataclass(frozen=True, slots=True)
class Codes:
    """What codes are like.

    Attributes:
        n_bits: K.
        rows: of which that was measured; 0 where nothing was, and codes are taken to be without neighbours.
        distinct: the share of codes that differ.
        reaches: how far hits are and how full buckets, for some numbers of substrings; none where nothing was measured.
        recalls: probes, of how many cells, and the recall of the 10 nearest that they reach.
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
        kind: of it.
        options: as a recipe has them.
        disk: bytes.
        memory: bytes that should be held in memory, for it to be as fast as that.
        median: milliseconds of a query.
        p95: milliseconds that 95 of 100 queries take at most.
        recall: of the 10 nearest.
    """

    kind: str
    options: dict[str, int]
    disk: int
    memory: int
    median: float
    p95: float
    recall: float


def time_scan(n_bits: int) -> Machine:
    """Measure how fast this machine scans codes; takes about a second."""
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
    """Measure what a collection's codes are like.

    Args:
        codes: M distinct ones, at least 2.
        offsets: int64[M + 1], of their rows.
        approximate: measure cells, too.
    """
    reaches, rows = tuple(measured(codes, offsets)), int(offsets[-1])
    recalls = _recalls(codes) if approximate else ()
    return Codes(codes.n_bits, rows, len(codes) / rows, reaches, recalls)


def offers(rows: int, codes: Codes, machine: Machine) -> list[Offer]:
    """Return what could be built of so many rows, the exact kinds first.

    Args:
        rows: N.
        codes: what they are like.
        machine: that searches them, with one thread.
    """
    count = max(1, round(rows * codes.distinct))
    held = count * n_bytes(codes.n_bits)
    disk = held + rows * PER_ROW + count * PER_CODE
    scan = scan_cost(codes.n_bits, count) * machine.speed / 1e6
    found = [Offer("flat", {}, disk, held, scan, SLOWER * scan, 1.0)]
    if codes.reaches:
        found.append(_multihash(rows, count, codes, machine, found[0]))
    for probes, cells, recall in codes.recalls:
        # Cells grow as the root of the codes, and so do those that hold the same share of them.
        wanted = max(1, round(probes * ivf.usual_cells(count) / cells))
        took = ivf.cost(codes.n_bits, count, cells=ivf.usual_cells(count), share=probes / cells)
        median = took * machine.speed / 1e6
        more = count * (n_bytes(codes.n_bits) + 8)
        found.append(Offer("ivf", {"probes": wanted}, disk + more, more, median, SLOWER * median, recall))
    return found


def choose(found: Sequence[Offer], *, ram: int | None, p95: float | None, recall: float) -> Offer | None:
    """Return the fastest that fits, None where none does.

    Args:
        found: offers.
        ram: bytes that there are.
        p95: milliseconds that are allowed.
        recall: that is wanted.
    """
    fitting = [
        one
        for one in found
        if one.recall >= recall and (ram is None or one.memory <= ram) and (p95 is None or one.p95 <= p95)
    ]
    return min(fitting, key=lambda one: (one.median, one.memory), default=None)


def machines(found: Sequence[Offer], *, ram: int | None, p95: float | None, recall: float) -> int:
    """Return over how many machines the rows would have to be spread for one of the offers to fit each."""
    needed = []
    for one in found:
        if one.recall >= recall:
            by_ram = 1 if ram is None else -(-one.memory // ram)
            by_time = 1 if p95 is None else int(np.ceil(one.p95 / p95))
            needed.append(max(by_ram, by_time))
    return int(min(needed))


def _multihash(rows: int, count: int, codes: Codes, machine: Machine, flat: Offer) -> Offer:
    """Return what look-ups would take: of so many queries as a stage certifies, all stages up to it."""
    reach, width = cheapest(codes.reaches, codes.n_bits, count), n_bytes(codes.n_bits)
    tables = reach.n_parts * count * (8 + (width if width <= COPIED else 0))
    # Of fewer rows than were measured the tenth is as far as the hundredth or thousandth of all.
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
    """Return the recall of some numbers of probes, measured on some of the codes."""
    rng = np.random.default_rng(0)
    some = rng.choice(len(codes), min(PARTED, len(codes)), replace=False)
    part = Scan.of(BitCodes(codes.packed[np.sort(some)], codes.n_bits))
    parted = ivf.build(part, np.arange(len(part) + 1))
    if not isinstance(parted, ivf.Ivf):
        return ()
    places = rng.choice(len(part), min(ASKED, len(part)), replace=False)
    cells = int(parted.cells.nlist)
    return tuple((probes, cells, round(min(1.0, found), 3)) for probes, found in ivf.recalls(parted, places, PROBES))
