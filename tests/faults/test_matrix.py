"""Each file of a store, damaged in each way, and each verb: one line of ours, or the answer of a sound store.

A part of the combinations in the suite, all of them in ``make soak``.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest.importorskip("torch")

from aepipe.store import registry
from aepipe.store.artifacts import Store
from tests.faults import counts
from tests.faults.damage import DAMAGES, as_others
from tests.faults.forge import Forge
from tests.faults.programs import wrongs

EVERY = os.environ.get("AEPIPE_MATRIX", "1" if counts.ALL else "211")
"""In the suite, one of so many combinations is tried."""


def test_no_file_that_is_damaged_gives_more_than_a_line(forge: Forge, tmp_path: Path) -> None:
    found = forge.tried("matrix", tmp_path, "--every", EVERY)
    wrong, refused = wrongs(found), sum(one["status"] != 0 for one in found)
    print(f"{len(found):,} combinations, {refused:,} refused, {len(wrong)} wrong")  # noqa: T201
    what = "files of a store x damages x verbs"
    counts.keep("matrix", what=what, tried=len(found), refused=refused, wrong=len(wrong))
    assert len(found) >= 60
    assert not wrong, "\n".join(wrong)


def test_the_damages_are_different_ones(tmp_path: Path) -> None:
    """Each damage changes what a reader finds."""
    for name, damage in DAMAGES.items():
        file = tmp_path / name
        file.write_bytes(b"0123456789" * 30)
        damage(file)
        with as_others() as stopped:
            try:
                left = file.read_bytes()
            except OSError:
                continue
        assert left != b"0123456789" * 30 or not stopped, name
    assert registry.names(Store(tmp_path)) == []
