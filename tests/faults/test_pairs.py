"""Two verbs on one store at once: both succeed, or one waits, or ends in a line that names the process it met.

A part of the pairs in the suite, all of them in ``make soak``.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest.importorskip("torch")

from tests.faults import counts
from tests.faults.forge import Forge
from tests.faults.programs import tried, wrongs

EVERY = os.environ.get("AEPIPE_PAIRS", "1" if counts.ALL else "29")
"""One of so many pairs is tried."""
FIRST_RUNS = os.environ.get("AEPIPE_FIRST_RUNS", "100" if counts.ALL else "2")
"""Times that two runs begin a store."""
SERVERS = os.environ.get("AEPIPE_SERVERS", "100")
"""Times that they do with Prefect servers."""
SERVED = os.environ.get("AEPIPE_SERVED", "78")
"""Pairs of verbs below two services."""


def test_two_verbs_at_once(forge: Forge, tmp_path: Path) -> None:
    found = forge.tried("pairs", tmp_path, EVERY)
    wrong, late = wrongs(found), sum(75 in one["statuses"] for one in found)
    print(f"{len(found):,} pairs, {late} in which one came too late, {len(wrong)} wrong")  # noqa: T201
    counts.keep("pairs", what="pairs of verbs at once", tried=len(found), late=late, wrong=len(wrong))
    assert len(found) >= 5
    assert not wrong, "\n".join(wrong)


def test_two_first_runs(forge: Forge, tmp_path: Path) -> None:
    found = forge.tried("first_runs", tmp_path, FIRST_RUNS)
    wrong = wrongs(found)
    print(f"{len(found):,} times two first runs, {len(wrong)} wrong")  # noqa: T201
    counts.keep("first runs", what="two first runs on a new store", tried=len(found), wrong=len(wrong))
    assert len(found) >= 2
    assert not wrong, "\n".join(wrong)


@pytest.mark.skipif(not counts.ALL, reason="takes half an hour: make soak")
def test_two_first_runs_with_prefect_servers(tmp_path: Path) -> None:
    found = tried("first_runs", tmp_path, SERVERS, "servers")
    wrong = wrongs(found)
    counts.keep(
        "first runs with servers", what="two first runs with Prefect servers", tried=len(found), wrong=len(wrong)
    )
    assert not wrong, "\n".join(wrong)


@pytest.mark.skipif(not counts.ALL, reason="takes minutes: make soak")
def test_two_services_answer_while_two_verbs_change_their_store(tmp_path: Path) -> None:
    *pairs, asked = tried("served", tmp_path, SERVED)
    wrong = wrongs([*pairs, asked])
    print(f"{len(pairs)} pairs, {asked['questions']:,} questions, {len(wrong)} wrong")  # noqa: T201
    counts.keep("served", what="pairs of verbs below two services", tried=len(pairs), wrong=len(wrong))
    assert asked["statuses"]["200"] > 10 * len(pairs)
    assert not wrong, "\n".join(wrong)
