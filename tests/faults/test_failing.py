"""Every call to the system of a promotion, an addition, a night and others fails once: nothing is lost or damaged.

A part of the calls in the suite, all of them in ``make soak``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("torch")

from tests.faults import counts
from tests.faults.programs import tried, wrongs

EVERY = os.environ.get("AEPIPE_FAILING", "1" if counts.ALL else "1500")
"""One of so many failures is tried."""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``failing.c``, compiled."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs a C compiler and Linux, to let calls to the system fail")
    made = tmp_path_factory.mktemp("library") / "failing.so"
    source = Path(__file__).with_name("failing.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", made, source, "-ldl"], check=True)
    return made


def test_a_call_that_fails_leaves_the_old_answer_or_the_new_one(library: Path, tmp_path: Path) -> None:
    found = tried("failing", tmp_path, "--every", EVERY, LD_PRELOAD=str(library))
    wrong = wrongs(found)
    print(f"{len(found):,} calls failed, {len(wrong)} wrong; {dict(Counter(one['verb'] for one in found))}")  # noqa: T201
    counts.keep("failing", what="system calls of writing verbs x errors", tried=len(found), wrong=len(wrong))
    assert len(found) >= 5
    assert len({one["kind"] for one in found}) >= 3, "calls of several kinds"
    assert not wrong, "\n".join(wrong)
