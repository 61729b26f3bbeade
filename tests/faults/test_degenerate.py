"""Every verb on collections that hold next to nothing: an answer, or a line; never a signal or a traceback.

A few collections in the suite, all of them in ``make soak``.
"""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

from tests.faults import counts
from tests.faults.forge import Forge
from tests.faults.programs import wrongs

FEW = ("png: all equal", "csv: one", "npy: one component")


def test_every_verb_on_collections_of_next_to_nothing(forge: Forge, tmp_path: Path) -> None:
    found = forge.tried("degenerate", tmp_path, *(() if counts.ALL else FEW))
    wrong = wrongs(found)
    print(f"{len(found):,} verbs on {len({one['case'] for one in found})} collections, {len(wrong)} wrong")  # noqa: T201
    counts.keep("degenerate", what="verbs on degenerate collections", tried=len(found), wrong=len(wrong))
    assert {one["case"] for one in found} >= set(FEW)
    assert not wrong, "\n".join(wrong)
