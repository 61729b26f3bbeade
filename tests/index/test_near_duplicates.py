"""Groups of near-duplicates against a look at all pairs, whichever way is the cheapest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from aepipe.codes.bitcodes import BitCodes
from aepipe.index import cost_model, near_duplicates
from aepipe.index.hash_tables import Tables, Values
from aepipe.index.near_duplicates import Neighbours, groups
from aepipe.index.scan import Scan
from tests.index.test_kinds import near_codes


def by_hand(packed: NDArray[np.uint8], radius: int) -> tuple[list[int], list[int]]:
    first, far = [-1] * len(packed), [0] * len(packed)
    apart = np.bitwise_count(packed[:, None] ^ packed[None]).sum(axis=2)
    for place in range(len(packed)):
        if first[place] < 0:
            for other in np.flatnonzero(apart[place] <= radius).tolist():
                if first[other] < 0:
                    first[other], far[other] = place, int(apart[place, other])
    return first, far


def noted(ways: list[str], name: str) -> Callable[..., Neighbours]:
    """Return a way to search that notes its use."""
    plain = getattr(near_duplicates, name)

    def way(*given: Any) -> Neighbours:
        ways.append(name)
        found: Neighbours = plain(*given)
        return found

    return way


@pytest.mark.parametrize("cheap", ["look-ups", "scans"])
@pytest.mark.parametrize("radius", [0, 1, 3, 9])
@pytest.mark.parametrize("n_bits", [8, 32, 100])
def test_a_group_is_what_is_near_its_first_code(
    n_bits: int, radius: int, cheap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = np.unique(near_codes(np.random.default_rng(n_bits), 150, n_bits).packed, axis=0)
    packed = packed[np.random.default_rng(0).permutation(len(packed))]
    ways: list[str] = []
    for name in ("_by_tables", "_by_scan"):
        monkeypatch.setattr(near_duplicates, name, noted(ways, name))
    if cheap == "look-ups":
        for cost in ("BEGUN", "LOOKED_UP", "READ", "FETCHED"):
            monkeypatch.setattr(cost_model, cost, 0.0)
    first, far = groups(Scan.of(BitCodes(packed, n_bits)), radius)
    assert (first.dtype.name, far.dtype.name) == ("int64", "uint16")
    assert (first.tolist(), far.tolist()) == by_hand(packed, radius)
    assert ways == ([] if not radius else ["_by_tables" if cheap == "look-ups" else "_by_scan"])


def test_no_codes_and_one_have_their_groups() -> None:
    for count in (0, 1):
        first, far = groups(Scan.of(BitCodes(np.zeros((count, 2), np.uint8), 16)), 3)
        assert (first.tolist(), far.tolist()) == ([0] * count, [0] * count)


@pytest.mark.parametrize("read", [10.0, 1e6])
@pytest.mark.parametrize("radius", [1, 2, 5, 7, 31])
def test_the_cheapest_look_up_that_misses_nothing_is_taken(
    radius: int, read: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With r flipped bits, m substrings miss nothing within (r + 1) m - 1 bits; none has fewer than two bits."""
    codes = Scan.of(near_codes(np.random.default_rng(1), 60, 16))
    taken: list[tuple[Tables, Values]] = []
    monkeypatch.setattr(near_duplicates, "scan_cost", lambda *_: np.inf)
    monkeypatch.setattr(cost_model, "READ", read)  # the number of values decides, or that of the codes
    monkeypatch.setattr(near_duplicates, "_by_tables", lambda tables, values, *_: taken.append((tables, values)))
    near_duplicates._neighbours(codes, radius)
    costs = {}
    for flipped in range(4):
        n_parts = -(-(radius + 1) // (flipped + 1))
        shares = cost_model.shares_of(codes, n_parts) if n_parts <= 8 else []
        if len(shares) > flipped:
            values = cost_model.n_values(16, n_parts, flipped)
            costs[n_parts, flipped] = cost_model.stage_cost(16, values, shares[flipped] * 60)
    best = min(costs, key=lambda way: (costs[way], way))
    ((tables, looked_up),) = taken
    assert (tables.n_parts, len(looked_up)) == (best[0], cost_model.n_values(16, *best))
