"""Hash tables against a look at all codes: which bits go together, what is looked up, and what buckets hold."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from aepipe.codes.bitcodes import words_of
from aepipe.index import hash_tables
from aepipe.index.hash_tables import Tables, Values, fill, lengths_of, n_slots_of, parts_of, shift_of, slots_of


def test_parts_are_as_equal_as_possible() -> None:
    assert lengths_of(10, 3) == [4, 3, 3]
    assert lengths_of(9, 3) == [3, 3, 3]
    assert lengths_of(2, 3) == [1, 1, 0]
    assert lengths_of(5, 1) == [5]


def by_hand(bits: NDArray[np.uint8], n_parts: int) -> list[int]:
    """Deal bits one by one, the most correlated first, to the part with room where the sum of squares is least."""
    n_bits = bits.shape[1]
    with np.errstate(invalid="ignore", divide="ignore"):
        square = np.nan_to_num(np.corrcoef(bits.T.astype(float)) ** 2).reshape(n_bits, n_bits)
    np.fill_diagonal(square, 0)
    room, parts = [len(range(part, n_bits, n_parts)) for part in range(n_parts)], [-1] * n_bits
    for bit in sorted(range(n_bits), key=lambda one: (-round(square[one].sum(), 3), one)):
        free = [part for part in range(n_parts) if room[part]]
        costs = {part: sum(square[bit, one] for one in range(n_bits) if parts[one] == part) for part in free}
        parts[bit] = min(free, key=lambda part: (round(costs[part], 4), part))
        room[parts[bit]] -= 1
    return parts


@pytest.mark.parametrize("n_parts", [1, 2, 3, 5])
def test_correlated_bits_are_dealt_one_by_one(n_parts: int) -> None:
    rng = np.random.default_rng(n_parts)
    hidden = rng.random((400, 5))
    bits = (hidden[:, rng.integers(0, 5, 11)] + 0.6 * rng.random((400, 11)) > rng.random(11) + 0.3).astype(np.uint8)
    bits[:, 4] = 1  # correlates with nothing
    found = parts_of(bits, n_parts)
    assert found.dtype == np.int64
    assert found.tolist() == by_hand(bits, n_parts)
    assert sorted(np.bincount(found).tolist(), reverse=True) == lengths_of(11, n_parts)


def test_the_values_within_some_flipped_bits() -> None:
    parts = np.array([0, 1, 0, 1, 1, 0, 2, 2, 0])
    single = words_of(np.packbits(np.eye(9, dtype=bool), axis=1))
    for flipped in range(4):
        values = Values.within(parts, flipped)
        found = {(int(part), *flip.tolist()) for part, flip in zip(values.parts, values.flips, strict=True)}
        expected = set()
        for part in range(3):
            own = np.flatnonzero(parts == part).tolist()
            for count in range(flipped + 1):
                for some in combinations(own, count):
                    expected.add((part, *np.bitwise_or.reduce(single[list(some)], axis=0).tolist()))
        assert found == expected
        assert len(values) == len(values.masks) == len(values.flips) == len(expected)
        for part, mask in zip(values.parts, values.masks, strict=True):
            assert mask.tolist() == np.bitwise_or.reduce(single[parts == part], axis=0).tolist()


@pytest.mark.parametrize(("codes", "slots"), [(1, 2), (2, 2), (3, 4), (4, 4), (5, 8), (1024, 1024), (1025, 2048)])
def test_the_number_of_slots_is_the_next_power_of_two(codes: int, slots: int) -> None:
    assert n_slots_of(codes) == slots
    assert int(shift_of(slots)) == 64 - (slots.bit_length() - 1)


@pytest.mark.parametrize("words", [1, 2, 3])
def test_slots_are_the_upper_bits_of_a_sum_of_products(words: int) -> None:
    """Saved tables depend on these numbers."""
    factors = [int(one) | 1 for one in np.random.default_rng(20).integers(0, 1 << 64, 4096, np.uint64)]
    given = np.random.default_rng(words).integers(0, 1 << 63, (5, 2, words), np.uint64)
    found = slots_of(given, shift_of(64))
    assert (found.dtype.name, found.shape) == ("int64", (5, 2))
    for place in np.ndindex(5, 2):
        total = sum(int(word) * factor for word, factor in zip(given[place], factors, strict=False)) % (1 << 64)
        assert found[place] == total >> 58


def drawn(width: int, count: int = 300) -> NDArray[np.uint8]:
    rng = np.random.default_rng(width)
    packed: NDArray[np.uint8] = np.unique(rng.integers(0, 4, (count, width), np.uint8) * 65, axis=0)
    return packed[rng.permutation(len(packed))]


@pytest.mark.parametrize("on_disk", [False, True], ids=["memory", "disk"])
@pytest.mark.parametrize("width", [3, 8, 16, 17, 24])
def test_buckets_hold_the_codes_of_their_slot_in_order(width: int, on_disk: bool, tmp_path: Path) -> None:
    packed = drawn(width)
    parts = np.arange(8 * width) % 3
    tables = fill(packed, parts, tmp_path if on_disk else None)
    words, n_codes = words_of(packed), len(packed)
    assert tables.n_parts == 3
    assert (tables.copies is None) == (width > 16)
    assert tables.starts.dtype == tables.positions.dtype == np.uint32
    masks = Values.within(parts, 0).masks
    for part in range(3):
        slots = slots_of(words & masks[part], shift_of(n_slots_of(n_codes)))
        order = np.argsort(slots, kind="stable")
        assert tables.positions[part].tolist() == order.tolist()
        starts = np.searchsorted(slots[order], np.arange(n_slots_of(n_codes) + 1))
        assert tables.starts[part].tolist() == starts.tolist()
        if tables.copies is not None:
            np.testing.assert_array_equal(tables.copies[part], words[order])
    files = {hash_tables.STARTS, hash_tables.POSITIONS, hash_tables.BITS, *([hash_tables.COPIES] * (width <= 16))}
    assert {path.name for path in tmp_path.iterdir()} == (files if on_disk else set())


@pytest.mark.parametrize("flipped", [0, 1])
@pytest.mark.parametrize("width", [3, 16, 17])
def test_buckets_of_one_query_and_of_several(width: int, flipped: int) -> None:
    packed = drawn(width)
    parts = np.arange(8 * width) % 2
    tables, values = fill(packed, parts), Values.within(parts, flipped)
    queries = words_of(drawn(width, 9))
    many_begin, many_sizes = tables.buckets(queries[:, None], values)
    assert many_begin.shape == many_sizes.shape == (len(queries), len(values))
    for number, query in enumerate(queries):
        begin, sizes = tables.buckets(query, values)
        assert (begin.dtype.name, sizes.dtype.name) == ("int64", "int64")
        assert (begin.tolist(), sizes.tolist()) == (many_begin[number].tolist(), many_sizes[number].tolist())
        positions, far = tables.compare(begin, sizes, query)
        expected = np.concatenate(
            [
                tables.positions.ravel()[start : start + size]
                for start, size in zip(begin.tolist(), sizes.tolist(), strict=True)
            ]
        )
        assert (positions.dtype.name, far.dtype.name) == ("uint32", "uint16")
        assert positions.tolist() == expected.tolist()
        assert far.tolist() == np.bitwise_count(words_of(packed)[positions] ^ query).sum(axis=1).tolist()
        each = tables.compare(begin, sizes, np.repeat(query[None], len(positions), axis=0))
        assert each[1].tolist() == far.tolist()


@pytest.mark.parametrize("count", [0, 1, 16, 17])
def test_buckets_that_are_empty_or_few_hold_the_same(count: int) -> None:
    packed = drawn(8)
    tables = fill(packed, np.arange(64) % 2)
    begin = np.arange(0, 3 * count, 3)
    sizes = np.arange(count) % 4
    positions, far = tables.compare(begin, sizes, words_of(packed)[0])
    places = [at for start, size in zip(begin, sizes, strict=True) for at in range(start, start + size)]
    assert positions.tolist() == tables.positions.ravel()[places].tolist()
    assert len(far) == len(places)


def test_distances_of_the_longest_words_are_whole() -> None:
    ones, zeros = np.full((1, 64), 255, np.uint8), np.zeros((1, 64), np.uint8)
    tables = fill(np.concatenate([zeros, ones]), np.arange(512) % 8)
    _, far = tables.compare(np.array([0]), np.array([2]), words_of(ones)[0])
    assert sorted(far.tolist()) == [0, 512]


def test_tables_that_do_not_belong_to_their_codes_are_refused(tmp_path: Path) -> None:
    packed = drawn(3)
    fill(packed, np.arange(24) % 2, tmp_path)
    opened = Tables.open(tmp_path, packed, 24)
    assert opened.parts.dtype == np.int64
    opened.save(tmp_path)
    whole = {path.name: np.load(path) for path in tmp_path.iterdir()}
    starts, positions, bits, copies = (
        whole[name] for name in (hash_tables.STARTS, hash_tables.POSITIONS, hash_tables.BITS, hash_tables.COPIES)
    )
    late = starts.copy()
    late[1, -1] -= 1
    wrong = [
        (hash_tables.STARTS, late),
        (hash_tables.STARTS, starts[:, :-1]),
        (hash_tables.STARTS, starts[:, [0, -1]]),
        (hash_tables.STARTS, starts[:, [0, 1, 2, -1]]),
        (hash_tables.STARTS, starts[:1]),
        (hash_tables.POSITIONS, positions[:, 1:]),
        (hash_tables.POSITIONS, positions[:1]),
        (hash_tables.BITS, bits[1:]),
        (hash_tables.BITS, np.zeros(24)),
        (hash_tables.BITS, np.arange(24) % 3),
        (hash_tables.COPIES, copies[:, 1:]),
        (hash_tables.COPIES, copies.astype(np.uint16)),
    ]
    for name, array in wrong:
        np.save(tmp_path / name, array)
        with pytest.raises(ValueError, match=rf"do not belong to {len(packed)} codes of 24 bits"):
            Tables.open(tmp_path, packed, 24)
        np.save(tmp_path / name, whole[name])
    with pytest.raises(ValueError, match="of 25 bits"):
        Tables.open(tmp_path, packed, 25)
    assert Tables.open(tmp_path, packed, 24).n_parts == 2
