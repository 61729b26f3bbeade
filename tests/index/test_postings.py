"""Postings and hash tables: the same for any number of parts, in memory or in files."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from aepipe.codes.bitcodes import BitCodes, words_of
from aepipe.index import external_sort, hamming, hash_tables, postings, scan
from aepipe.index.hits import CodeHits
from tests.index.test_kinds import near_codes

PARTS = [(64, 8), (50, 1), (1 << 20, 256)]


@pytest.fixture(params=PARTS, ids=str)
def parts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the number of records that are handled at a time."""
    for name, value in zip(("PART", "SAMPLED"), request.param, strict=True):
        monkeypatch.setattr(external_sort, name, value)


@pytest.mark.usefixtures("parts")
@pytest.mark.parametrize("on_disk", [False, True], ids=["memory", "disk"])
@pytest.mark.parametrize("width", [1, 3, 8, 16])
def test_codes_are_in_the_order_of_their_smallest_ids(width: int, on_disk: bool, tmp_path: Path) -> None:
    """And the ids of each code ascend, for rows given in any order."""
    packed, ids = _some(width)
    rows: dict[bytes, list[int]] = {}
    for at in np.argsort(ids):
        rows.setdefault(packed[at].tobytes(), []).append(int(ids[at]))
    distinct, found = postings.group(BitCodes(packed, 8 * width), ids, tmp_path if on_disk else None)
    assert [code.tobytes() for code in distinct.packed] == list(rows)
    assert [list(found.ids[a:b]) for a, b in zip(found.offsets, found.offsets[1:], strict=False)] == list(rows.values())
    assert found.longest == max(map(len, rows.values()))
    np.testing.assert_array_equal(found.ids[found.by_id], np.sort(ids))


@pytest.mark.usefixtures("parts")
@pytest.mark.parametrize("width", [3, 8, 16, 32])
def test_a_table_has_each_code_in_its_slot(width: int, tmp_path: Path) -> None:
    packed = np.unique(_some(width)[0], axis=0)
    parts = hash_tables.parts_of(np.unpackbits(packed, axis=1), 2)
    one, other = hash_tables.fill(packed, parts), hash_tables.fill(packed, parts, tmp_path)
    own, shift = hash_tables.Values.within(parts, 0).masks, hash_tables.shift_of(hash_tables.n_slots_of(len(packed)))
    for part in range(2):
        slots = hash_tables.slots_of(words_of(packed) & own[part], shift)
        np.testing.assert_array_equal(one.positions[part], np.argsort(slots, kind="stable"))
        np.testing.assert_array_equal(one.starts[part], np.searchsorted(np.sort(slots), np.arange(one.starts.shape[1])))
    np.testing.assert_array_equal(other.positions, one.positions)
    np.testing.assert_array_equal(other.starts, one.starts)
    assert (one.copies is None) == (other.copies is None) == (width > hash_tables.COPIED)
    if one.copies is not None and other.copies is not None:
        np.testing.assert_array_equal(one.copies, words_of(packed)[one.positions])
        np.testing.assert_array_equal(other.copies, one.copies)


@pytest.mark.usefixtures("parts")
@pytest.mark.parametrize("rows", [0, 1, 700])
@pytest.mark.parametrize("kind", hamming.kinds())
def test_an_index_built_in_its_folder_equals_one_built_in_memory(kind: str, rows: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(rows)
    codes, ids = near_codes(rng, rows, 64), rng.permutation(rows)
    for folder in ("memory", "disk"):
        (tmp_path / folder).mkdir()
    hamming.build(codes, ids, kind=kind).save(tmp_path / "memory")
    built = hamming.build(codes, ids, kind=kind, folder=tmp_path / "disk")
    built.save(tmp_path / "disk")
    files = {file.name: file.read_bytes() for file in (tmp_path / "memory").iterdir()}
    assert {file.name: file.read_bytes() for file in (tmp_path / "disk").iterdir()} == files
    one = hamming.open(tmp_path / "disk")
    np.testing.assert_array_equal(one.search(codes[:9], 5).ids, built.search(codes[:9], 5).ids)
    built.save(tmp_path / "memory")
    assert {file.name: file.read_bytes() for file in (tmp_path / "memory").iterdir()} == files


MEASURE = """
import sys, tracemalloc
from pathlib import Path

import numpy as np

from aepipe.codes.bitcodes import BitCodes
from aepipe.index import external_sort, hamming
from tests.index.test_kinds import near_codes

external_sort.PART = 1 << 12
for rows in map(int, sys.argv[1:]):
    codes = np.lib.format.open_memmap("codes.npy", "w+", np.uint8, (rows, 8))
    codes[:] = near_codes(np.random.default_rng(0), rows, 64, 0.1).packed
    ids = np.lib.format.open_memmap("ids.npy", "w+", np.int64, (rows,))
    ids[:] = np.arange(rows)
    folder = Path(str(rows))
    folder.mkdir()
    tracemalloc.start()
    built = hamming.build(BitCodes(codes, 64), ids, kind="multihash", folder=folder)
    print(tracemalloc.get_traced_memory()[1])
    tracemalloc.stop()
    assert len(built) == rows
"""
"""A process of its own: in one that has run for long, the table of interned strings may grow by megabytes meanwhile."""


@pytest.mark.parametrize("k", [1, 3, 50])
def test_only_codes_with_fewer_than_k_nearer_rows_are_opened(k: int) -> None:
    rng = np.random.default_rng(k)
    query = np.sort(rng.integers(0, 7, 60))
    distances = np.concatenate([np.sort(rng.integers(0, 9, (query == one).sum())) for one in range(7)])
    sizes = rng.integers(1, 6, 60)
    nearer = (query[:, None] == query) & (distances < distances[:, None])
    found = postings._needed(CodeHits(query, distances.astype(np.uint16), np.arange(60)), sizes, k)
    assert found.tolist() == (np.where(nearer, sizes, 0).sum(axis=1) < k).tolist()


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    """This counts numpy's own memory; pages of mapped files belong to the system."""
    command = [sys.executable, "-c", MEASURE, "50000", "400000"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    found = subprocess.run(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    peaks = [int(line) for line in found.stdout.split()]
    assert peaks[1] < 1.5 * peaks[0], f"{peaks[0]:,} and {peaks[1]:,} bytes"


def test_partitions_on_disk_hold_nothing_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each block goes to its own partition, as with ascending ids."""
    monkeypatch.setattr(external_sort, "PART", 1 << 14)
    keys = np.arange(64 * external_sort.PART)
    partitions = external_sort.Partitions(keys[:: external_sort.SAMPLED], tmp_path)
    tracemalloc.start()
    for start in range(0, len(keys), external_sort.PART):
        block = keys[start : start + external_sort.PART]
        partitions.put(block, block, 2 * block)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert held < keys.nbytes / 8, f"{held:,} bytes"
    found = list(partitions)
    assert len(found) > 32
    np.testing.assert_array_equal(np.concatenate([part[0] for part in found]), keys)
    np.testing.assert_array_equal(np.concatenate([part[1] for part in found]), 2 * keys)


@pytest.mark.parametrize("n_bits", [8, 64, 256])
@pytest.mark.parametrize("count", [0, 1, 100])
def test_codes_are_written_in_the_format_of_faiss(n_bits: int, count: int, tmp_path: Path) -> None:
    packed = np.random.default_rng(0).integers(0, 256, (count, n_bits // 8), np.uint8)
    scan.Scan.of(BitCodes(packed, n_bits)).save(tmp_path)
    expected = (tmp_path / scan.CODES).read_bytes()
    with scan.Scan.output(count, n_bits, tmp_path) as out:
        out.extend(packed)
    assert (tmp_path / scan.CODES).read_bytes() == expected
    np.testing.assert_array_equal(scan.Scan.map(tmp_path, n_bits).packed, packed)


def _some(width: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return 1,000 codes with few distinct values, some of them frequent, and unsorted ids."""
    rng = np.random.default_rng(width)
    some = rng.integers(0, 256, (300, width), np.uint8)
    return some[rng.integers(0, 300, 1000) // rng.integers(1, 9, 1000)], rng.permutation(3000)[:1000]
