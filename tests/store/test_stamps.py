"""Stamps of files are those of certain rows, whole, or not known."""

from __future__ import annotations

import numpy as np
import pytest

from aepipe.store import layout, stamps
from aepipe.store.artifacts import Ref, Store

ROWS, OTHER = Ref("rows", "a" * 64), Ref("rows", "b" * 64)


@pytest.mark.parametrize("values", [[], [0], [1, 2**64 - 1, 0]])
def test_stamps_come_back_for_the_rows_that_they_are_of(store: Store, values: list[int]) -> None:
    assert stamps.of_rows(store, "one", ROWS) is None
    stamps.keep(store, "one", ROWS, np.array(values, np.uint64))
    found = stamps.of_rows(store, "one", ROWS)
    assert found is not None
    assert found.tolist() == values
    assert stamps.of_rows(store, "one", OTHER) is None
    assert stamps.of_rows(store, "two", ROWS) is None


def test_damaged_stamps_are_not_known(store: Store) -> None:
    stamps.keep(store, "one", ROWS, np.arange(3, dtype=np.uint64))
    file = store.root / layout.Root.stamps("one")
    whole = file.read_bytes()
    for torn in (b"", b"[]\n", b"\xff\n", whole[:-1], whole[:-8], whole + b"\0", whole[:-1] + b"\1", whole[1:]):
        file.write_bytes(torn)
        assert stamps.of_rows(store, "one", ROWS) is None, torn
