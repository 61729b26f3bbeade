"""Searches share their queries between as many threads as they are told, and say how far long work is."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aepipe.codes.bitcodes import BitCodes
from aepipe.index import cost_model, external_sort, float_knn, hamming, near_duplicates, scan, shards
from aepipe.index.kinds import hnsw, ivf, multihash
from aepipe.index.postings import group
from tests.index.test_kinds import near_codes

CODES = near_codes(np.random.default_rng(0), 400, 32)
ASKED = CODES[np.zeros(2, np.int64)]
"""Two equal queries: where the answer to one is searched in two steps, so is that to the other."""
KINDS = ["flat", "hnsw", "ivf", "multihash"]


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of threads that searches of FAISS begin with, and those of look-ups."""
    found: list[int] = []
    plain, own = scan.threads_of_faiss, multihash._own_threads

    @contextmanager
    def counted(count: int) -> Iterator[None]:
        found.append(count)
        with plain(count):
            yield

    def looked_up(cost: float, threads: int) -> int:
        found.append(threads)
        return own(cost, threads)

    for module in (scan, ivf, hnsw):
        monkeypatch.setattr(module, "threads_of_faiss", counted)
    monkeypatch.setattr(multihash, "_own_threads", looked_up)
    return found


def searches(index: Any) -> dict[str, Callable[[BitCodes, int], object]]:
    """Every way to search an index, with queries and a number of threads."""
    some, most = np.arange(0, 500, 90), np.arange(0, 500, 2)
    found = {
        "search": lambda asked, threads: index.search(asked, 5, threads=threads),
        "few": lambda asked, threads: index.search(asked, 2, some, threads=threads),
        "many": lambda asked, threads: index.search(asked, 2, most, threads=threads),
        "within": lambda asked, threads: index.within(asked, 3, threads=threads),
        "within some": lambda asked, threads: index.within(asked, 3, most, threads=threads),
    }
    if hasattr(index, "close"):
        found["close"] = lambda asked, threads: index.close(asked, 5, 3, threads=threads)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_every_search_uses_the_threads_that_it_is_given(kind: str, used: list[int]) -> None:
    base = hamming.build(CODES[:300], np.arange(300), kind=kind)
    changed = base.add(CODES[300:], np.arange(300, 400)).remove(np.arange(0, 40, 3))
    several = shards.build(CODES, np.arange(400), 2, kind=kind).remove(np.arange(5))
    for index in (base, changed, base.remove(np.arange(9)), several):
        used.clear()
        for name, search in searches(index).items():
            used.clear()
            search(ASKED, 3)
            assert used, name
            assert set(used) == {3}, name


@pytest.mark.parametrize("kind", KINDS)
def test_one_thread_is_usual(kind: str, used: list[int]) -> None:
    base = hamming.build(CODES[:300], np.arange(300), kind=kind)
    used.clear()
    for index in (base, base.add(CODES[300:], np.arange(300, 400)), shards.build(CODES, np.arange(400), 2)):
        index.search(CODES[:4], 5)
        index.within(CODES[:4], 3)
    base.close(CODES[:4], 5, 3)
    assert set(used) == {1}


@pytest.mark.parametrize("kind", KINDS)
def test_a_single_query_runs_on_one_thread(kind: str, monkeypatch: pytest.MonkeyPatch, used: list[int]) -> None:
    base = hamming.build(CODES, np.arange(400), kind=kind)
    used.clear()
    monkeypatch.setattr(multihash, "_own_threads", lambda *_: 1)
    for _, search in searches(base).items():
        search(CODES[:1], 3)
    assert set(used) == {1}
    monkeypatch.setattr(scan, "ranged", lambda *_: True)
    monkeypatch.setattr(scan, "SAMPLE_PIECES", 16)
    used.clear()
    hamming.build(CODES, np.arange(400)).search(CODES[:1], 5, threads=3)
    assert set(used) == {1}


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Callable[[], list[tuple[str, int, int]]]:
    """Return what was said since the last call: stage, done and total of each step."""
    caplog.set_level(logging.INFO, logger="aepipe")

    def since() -> list[tuple[str, int, int]]:
        records: list[Any] = [record for record in caplog.records if hasattr(record, "stage")]
        caplog.clear()
        return [(record.stage, record.done, record.total) for record in records]

    return since


def test_long_work_says_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, told: Callable[[], list[tuple[str, int, int]]], tmp_path: Path
) -> None:
    group(CODES, np.arange(400))
    assert told() == [], "little work says nothing"
    monkeypatch.setattr(external_sort, "PART", 150)
    monkeypatch.setattr(external_sort, "SAMPLED", 2)
    codes, postings = group(CODES, np.arange(400), tmp_path)
    assert told() == [("codes", 0, 400), ("codes", 150, 400), ("codes", 300, 400), ("codes", 400, 400)]
    group(CODES[:150], np.arange(150))
    assert told() == []
    multihash.build(codes, postings.offsets, substrings=3)
    assert told() == [("tables", 0, 3), ("tables", 1, 3), ("tables", 2, 3)]
    monkeypatch.setattr(hnsw, "BLOCK", 250)
    hnsw.build(codes, postings.offsets)
    assert told() == [("index", 250, len(codes)), ("index", len(codes), len(codes))]
    monkeypatch.setattr(float_knn, "BLOCK", 30)
    float_knn.neighbours(np.random.default_rng(0).random((70, 4), np.float32), 3)
    assert told() == [("neighbours", 30, 70), ("neighbours", 60, 70), ("neighbours", 70, 70)]
    monkeypatch.setattr(near_duplicates, "REPORTED", 100)
    near_duplicates.groups(codes, 2)
    assert [step for step in told() if step[0] == "comparing"] == [
        ("comparing", 0, len(codes)),
        ("comparing", 100, len(codes)),
        ("comparing", 200, len(codes)),
        ("comparing", len(codes), len(codes)),
    ]
    assert cost_model.candidates(32) == [1, 2, 3, 4]
