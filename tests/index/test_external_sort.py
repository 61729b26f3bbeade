"""External sort: which records share a partition, in which order they come, and what is left on the disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aepipe.index import external_sort
from aepipe.index.external_sort import Output, Partitions, scratch


@pytest.fixture(params=[False, True], ids=["memory", "disk"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    """Where partitions are held."""
    return tmp_path if request.param else None


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight records are handled at a time, and every second key is in the sample."""
    monkeypatch.setattr(external_sort, "PART", 8)
    monkeypatch.setattr(external_sort, "SAMPLED", 2)


def test_a_partition_has_about_as_many_records_as_are_handled_at_a_time(place: Path | None) -> None:
    keys = np.random.default_rng(0).permutation(40)
    partitions = Partitions(np.arange(0, 40, 2), place)
    partitions.put(keys, keys)
    assert [np.sort(own).tolist() for (own,) in partitions] == [list(range(at, at + 8)) for at in range(0, 40, 8)]


def test_records_of_one_key_share_a_partition_in_the_order_of_their_coming(place: Path | None) -> None:
    rng = np.random.default_rng(1)
    keys, numbers = rng.integers(0, 3, 300) * 10, np.arange(300)
    partitions = Partitions(np.sort(keys)[::2], place)
    for start in range(0, 300, 100):
        own = slice(start, start + 100)
        partitions.put(keys[own], keys[own].astype(np.uint32), np.stack([numbers[own]] * 2, axis=1))
    found = [(own.copy(), more.copy()) for own, more in partitions]
    assert [own.dtype for own, _ in found] == [np.uint32] * len(found)
    for key in (0, 10, 20):
        (held,) = [(own, more) for own, more in found if key in own]
        assert held[1].shape[1:] == (2,)
        assert held[1][held[0] == key][:, 1].tolist() == numbers[keys == key].tolist()
    assert [int(own[0]) for own, _ in found] == sorted(int(own[0]) for own, _ in found)
    assert list(partitions) == [], "each is given once"
    if place is not None:
        assert [path for path in place.rglob("*") if path.is_file()] == []


def test_keys_beyond_those_of_the_sample_have_a_place(place: Path | None) -> None:
    partitions = Partitions(np.arange(10, 50, 2), place)
    keys = np.array([200, 3, 17, 18, 49, -5])
    partitions.put(keys, keys)
    assert [own.tolist() for (own,) in partitions] == [[3, 17, -5], [18], [200, 49]]


def test_few_records_and_none(place: Path | None) -> None:
    partitions = Partitions(np.array([5, 7]), place)
    partitions.put(np.array([7, 5, 6]), np.array([7, 5, 6]), np.array([0.5, 1.5, 2.5], np.float32))
    partitions.put(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))
    ((own, more),) = partitions
    assert (own.tolist(), more.tolist(), more.dtype.name) == ([7, 5, 6], [0.5, 1.5, 2.5], "float32")
    empty = Partitions(np.zeros(0, np.int64), place)
    empty.put(np.zeros(0, np.int64), np.zeros(0, np.int64))
    assert list(empty) == []


def test_several_partitions_lie_side_by_side(tmp_path: Path) -> None:
    both = [Partitions(np.arange(40), tmp_path) for _ in range(2)]
    for number, one in enumerate(both):
        one.put(np.arange(40), np.full(40, number))
    assert all(set(own.tolist()) == {number} for number, one in enumerate(both) for (own,) in one)


@pytest.mark.parametrize("header", [None, b"HEAD"])
def test_an_output_is_written_from_beginning_to_end(tmp_path: Path, header: bytes | None) -> None:
    parts = [np.arange(6).reshape(2, 3), np.arange(6, 9), np.arange(9, 12).reshape(1, 3)]
    for folder in (None, tmp_path):
        with Output((4, 3), np.uint16, folder, "some.npy", header=header) as out:
            assert out.done == 0
            for part, done in zip(parts, (6, 9, 12), strict=True):
                out.extend(part)
                assert out.done == done
        assert out.array.dtype == np.uint16
        if folder is None:
            assert out.array.tolist() == np.arange(12).reshape(4, 3).tolist()
    written = (tmp_path / "some.npy").read_bytes()
    if header is None:
        found = np.load(tmp_path / "some.npy")
        assert (found.dtype, found.flags.c_contiguous) == (np.uint16, True)
        assert found.tolist() == np.arange(12).reshape(4, 3).tolist()
    else:
        assert written == header + np.arange(12, dtype=np.uint16).tobytes()


def test_an_array_that_is_no_piece_of_memory_is_written_in_its_order(tmp_path: Path) -> None:
    table = np.arange(12).reshape(3, 4)
    with Output((4, 3), np.int64, tmp_path, "some.npy") as out:
        out.extend(table.T)
    assert np.load(tmp_path / "some.npy").tolist() == table.T.tolist()


def test_a_folder_for_scratch_is_gone_afterwards(tmp_path: Path) -> None:
    with scratch(None) as none:
        assert none is None
    with scratch(tmp_path) as one, scratch(tmp_path) as other:
        assert one is not None
        assert other is not None
        assert one != other
        assert {one.parent, other.parent} == {tmp_path}
        assert one.name.startswith(".parts-")
        (one / "some").write_bytes(b"x")
        Partitions(np.arange(9), one)
    assert list(tmp_path.iterdir()) == []

    def fail() -> None:
        with scratch(tmp_path):
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        fail()
    assert list(tmp_path.iterdir()) == []
