"""Rows of one code: the same however many parts they are put in order in."""

from __future__ import annotations

import numpy as np
import pytest

from aepipe.bits import BitCodes
from aepipe.index import postings


@pytest.mark.parametrize("width", [1, 3, 8, 16])
@pytest.mark.parametrize(("part", "sampled"), [(64, 8), (50, 1), (1 << 20, 256)])
def test_codes_stand_in_the_order_of_their_smallest_ids(
    width: int, part: int, sampled: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the ids of each ascend, whatever the order in which rows are given."""
    monkeypatch.setattr(postings, "PART", part)
    monkeypatch.setattr(postings, "SAMPLED", sampled)
    rng = np.random.default_rng(width)
    some = rng.integers(0, 256, (300, width), np.uint8)
    packed, ids = some[rng.integers(0, 300, 1000) // rng.integers(1, 9, 1000)], rng.permutation(3000)[:1000]
    rows: dict[bytes, list[int]] = {}
    for at in np.argsort(ids):
        rows.setdefault(packed[at].tobytes(), []).append(int(ids[at]))
    distinct, found = postings.group(BitCodes(packed, 8 * width), ids)
    assert [code.tobytes() for code in distinct.packed] == list(rows)
    assert [list(found.ids[a:b]) for a, b in zip(found.offsets, found.offsets[1:], strict=False)] == list(rows.values())
    assert found.longest == max(map(len, rows.values()))
