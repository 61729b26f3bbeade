"""A plugin of pytest that tries mutants: tests are collected once, and each mutant gets a child of that process.

It reads the plan from the file that PLAN names, and appends the name of each mutant, whether it was killed, and the
test that failed to ``fates`` beside it. A child begins with the quickest tests, ends at the first one that fails, and
has ten times the usual time. At the end the tests that failed run once more, without a mutant.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import shutil
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

PLAN = "MUTANTS_PLAN"
FATES = "fates"
KILLER = "killer"
"""The file that a child writes the test into that failed."""
NONE = "none"
"""No mutant has this name."""
LIVES, KILLED = 0, 1
TIMES, SECONDS = 10, 20
"""A child may use so many times the usual time of its tests, and so many seconds more, of the processor's time."""
LONGEST = 3.0
"""Seconds of a test that is left out: a mutant that lives meets all of its tests, which would be minutes."""
QUICK = 100
"""Tests that are run without a mutant."""
HEAVY = ("faiss", "pyarrow.parquet", "pyarrow.compute", "pydantic", "onnxruntime", "aepipe.recipe")
"""Imported once, so that not each child does."""


def pytest_runtestloop(session: pytest.Session) -> bool:
    """Try all mutants of the plan instead of running the tests; first, that quick tests pass without any.

    The tests that killed a mutant must pass without one, too: in a child some may fail that passed while what they
    reach was counted.
    """
    plan = Path(os.environ[PLAN])
    given: dict[str, Any] = json.loads(plan.read_text(encoding="utf-8"))
    for name in HEAVY:
        importlib.import_module(name)
    items = {item.nodeid: item for item in session.items}
    scratch = Path(session.config._tmp_path_factory.getbasetemp())  # type: ignore[attr-defined]
    quick = sorted(items, key=lambda one: given["seconds"].get(one, 1.0))[:QUICK]
    killer = plan.with_name(KILLER)
    killers: set[str] = set()
    with plan.with_name(FATES).open("a", encoding="utf-8") as fates:

        def fate(mutant: str, tests: Sequence[str]) -> bool:
            usual = {one: given["seconds"].get(one, 1.0) for one in tests if one in items}
            chosen = [items[one] for one in sorted(usual, key=usual.__getitem__) if usual[one] <= LONGEST]
            killer.write_text("", encoding="utf-8")
            killed = _killed(session, mutant, chosen, int(TIMES * sum(usual.values())) + SECONDS, killer)
            by = killer.read_text(encoding="utf-8")
            killers.update([by] if by else [])
            fates.write(f"{mutant}\t{killed}\t{by}\n")
            fates.flush()
            for left in scratch.iterdir():
                shutil.rmtree(left, ignore_errors=True)
            return killed

        if not fate(NONE, quick):
            for mutant, tests in given["mutants"].items():
                fate(mutant, tests)
            fate(NONE, sorted(killers))
    return True


def _killed(session: pytest.Session, mutant: str, items: Sequence[pytest.Item], limit: int, killer: Path) -> bool:
    """Run tests under a mutant in a child; return whether one failed, or the child did not end well."""
    child = os.fork()
    if not child:
        os._exit(_child(session, mutant, items, limit, killer))
    _, status = os.waitpid(child, 0)
    with suppress(ProcessLookupError):  # what the tests of this child started and did not end
        os.killpg(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(status) != LIVES


def _child(session: pytest.Session, mutant: str, items: Sequence[pytest.Item], limit: int, killer: Path) -> int:
    from mutmut.mutation.trampoline import set_mutant_under_test

    os.setpgid(0, 0)
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 1))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(5 * limit)  # one that waits uses no time of the processor
    null = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os.dup2(null, 1)
    os.dup2(null, 2)
    try:
        set_mutant_under_test(mutant)
        for item, after in zip(items, [*items[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
            if session.testsfailed:
                killer.write_text(item.nodeid, encoding="utf-8")
                session._setupstate.teardown_exact(None)
                return KILLED
        return KILLED if session.testsfailed else LIVES
    except BaseException:  # a mutant may break what the tests stand on
        return KILLED
