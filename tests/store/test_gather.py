"""gather: selections of rows in any order become array files in one pass."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aepipe.store.artifacts import Store
from aepipe.store.rows import Rows, gather
from tests.support.releases import make_release


def test_selections_in_any_order(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aepipe.store.rows.BLOCK_BYTES", 7 * 28 * 28)
    make_release(store, n=30)
    rows = Rows(store.path(store.refs("rows")[0]))
    whole = rows.features()
    seen: list[int] = []
    wanted = {"some": np.array([29, 0, 3, 3]), "none": np.empty(0, np.int64), "all": np.arange(30)[::-1]}
    cut = gather(rows, wanted, tmp_path, seen.append)
    for name, positions in wanted.items():
        np.testing.assert_array_equal(cut[name], whole[positions])
        np.testing.assert_array_equal(np.load(tmp_path / f"{name}.npy"), whole[positions])
    assert seen == [7, 14, 21, 28, 30]
