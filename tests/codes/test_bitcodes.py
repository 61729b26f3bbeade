"""Codes: packing, reading and comparing, against one bit at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from aepipe.codes.bitcodes import BitCodes, check_same, concatenate, copied_words, n_bytes, words_of
from aepipe.errors import CodeError, FingerprintError

Bits = NDArray[np.uint8]
F, G = "f" * 64, "0" * 64


@st.composite
def bit_matrices(draw: st.DrawFn, rows: st.SearchStrategy[int] | None = None) -> Bits:
    """0/1 matrices of any width, from none to a few rows."""
    shape = (draw(rows or st.integers(0, 6)), draw(st.integers(1, 140)))
    return draw(arrays(np.uint8, shape, elements=st.integers(0, 1)))


@given(bit_matrices())
def test_bits_come_back(bits: Bits) -> None:
    codes = BitCodes.from_bits(bits, F)
    np.testing.assert_array_equal(codes.unpack(), bits)
    assert (len(codes), codes.n_bits, codes.fingerprint) == (*bits.shape, F)


@given(bit_matrices())
def test_bit_i_is_the_most_significant_first(bits: Bits) -> None:
    packed = BitCodes.from_bits(bits).packed
    for row, code in zip(bits, packed, strict=True):
        for i, bit in enumerate(row):
            assert (code[i // 8] >> (7 - i % 8)) & 1 == bit


@given(bit_matrices())
def test_hex_bytes_and_words_agree(bits: Bits) -> None:
    codes = BitCodes.from_bits(bits)
    text = ["".join(map(str, row)) for row in bits]
    width = 64 * -(-codes.n_bits // 64)
    for row, (digits, words) in enumerate(zip(codes.hex(), codes.words().tolist(), strict=True)):
        assert int(digits, 16) == int(text[row].ljust(8 * n_bytes(codes.n_bits), "0"), 2)
        joined = sum(word << (64 * i) for i, word in enumerate(reversed(words)))
        assert joined == int(text[row].ljust(width, "0"), 2)
    np.testing.assert_array_equal(BitCodes.from_hex(codes.hex(), codes.n_bits).packed, codes.packed)


@given(bit_matrices(), st.data())
def test_a_prefix_is_the_code_of_the_first_bits(bits: Bits, data: st.DataObject) -> None:
    wanted = data.draw(st.integers(1, bits.shape[1]))
    prefix = BitCodes.from_bits(bits, F).prefix(wanted)
    np.testing.assert_array_equal(prefix.packed, BitCodes.from_bits(bits[:, :wanted]).packed)
    assert prefix.fingerprint == (F if wanted == bits.shape[1] else f"{F}/{wanted}")


def test_a_prefix_leaves_the_code_alone() -> None:
    codes = BitCodes(np.full((1, 2), 255, np.uint8), 16)
    codes.prefix(3)
    assert codes.packed.tolist() == [[255, 255]]
    assert codes.prefix(3).fingerprint == ""
    for wanted in (0, 17):
        with pytest.raises(CodeError, match=f"prefix of {wanted} bits: these codes have 1 to 16"):
            codes.prefix(wanted)


@given(bit_matrices(), st.data())
def test_distances_count_the_bits_that_differ(bits: Bits, data: st.DataObject) -> None:
    other = data.draw(arrays(np.uint8, (data.draw(st.integers(0, 5)), bits.shape[1]), elements=st.integers(0, 1)))
    found = BitCodes.from_bits(bits).distances(BitCodes.from_bits(other))
    np.testing.assert_array_equal(found, (bits[:, None, :] != other[None, :, :]).sum(axis=2))
    assert found.dtype == np.uint16


def test_distances_of_long_codes_do_not_wrap_around() -> None:
    ones, zeros = BitCodes(np.full((1, 125), 255, np.uint8), 1000), BitCodes(np.zeros((1, 125), np.uint8), 1000)
    assert ones.distances(zeros)[0, 0] == 1000


@given(bit_matrices())
def test_distinct_codes_agree_with_numpy(bits: Bits) -> None:
    codes = BitCodes.from_bits(bits, F)
    distinct, inverse = codes.distinct()
    np.testing.assert_array_equal(distinct.packed, np.unique(codes.packed, axis=0))
    np.testing.assert_array_equal(distinct.packed[inverse], codes.packed)
    assert distinct.fingerprint == F


@given(bit_matrices(), st.data())
def test_rows_are_chosen_as_numpy_does(bits: Bits, data: st.DataObject) -> None:
    codes = BitCodes.from_bits(bits, F)
    mask = data.draw(arrays(bool, len(bits)))
    for rows in (slice(1, 4), mask, np.flatnonzero(mask)[::-1]):
        np.testing.assert_array_equal(codes[rows].unpack(), bits[rows])
        assert codes[rows].fingerprint == F


@pytest.mark.parametrize("n_bits", [1, 5, 7, 9, 100])
def test_pad_bits_must_be_zero(n_bits: int) -> None:
    packed = BitCodes.from_bits(np.ones((2, n_bits), np.uint8)).packed
    BitCodes(packed, n_bits)
    for pad in range(8 * n_bytes(n_bits) - n_bits):
        spoilt = packed.copy()
        spoilt[1, -1] |= 1 << pad
        with pytest.raises(CodeError, match="pad bits, which must be zero"):
            BitCodes(spoilt, n_bits)


@pytest.mark.parametrize(
    ("packed", "found"),
    [
        (np.zeros((2, 2), np.uint8), r"uint8\[2, 2\]"),
        (np.zeros(1, np.uint8), r"uint8\[1\]"),
        (np.zeros((2, 1), np.int8), r"int8\[2, 1\]"),
    ],
)
def test_other_arrays_are_refused(packed: NDArray[np.uint8], found: str) -> None:
    with pytest.raises(CodeError, match=rf"codes of 8 bits are uint8\[N, 1\], not {found}"):
        BitCodes(packed, 8)


@pytest.mark.parametrize("n_bits", [0, -8])
def test_a_code_has_bits(n_bits: int) -> None:
    with pytest.raises(CodeError, match="at least 1 bit"):
        BitCodes(np.zeros((1, 0), np.uint8), n_bits)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("xy", "'xy' is not hex: allowed are 4 characters"),
        ("abc", "'abc' is not hex"),
        ("ab", "has 8 bits: 12 bits are 4 hex characters"),
        ("abcdef", "has 24 bits"),
        ("", "has 0 bits"),
        ("abcd", "4 pad bits"),
    ],
)
def test_text_that_is_no_code(text: str, message: str) -> None:
    with pytest.raises(CodeError, match=message):
        BitCodes.from_hex([text], 12)


def test_no_text_is_no_codes() -> None:
    assert BitCodes.from_hex([], 12).packed.shape == (0, 2)
    assert BitCodes.from_hex(["00f0"], 12, F).fingerprint == F


@pytest.mark.parametrize(("width", "size"), [(1, 1), (2, 2), (3, 1), (4, 4), (6, 2), (8, 8), (12, 4), (16, 8)])
def test_the_widest_words_that_fit(width: int, size: int) -> None:
    """Views share memory and keep what is equal; copies do not share it, and begin at a word."""
    packed = np.random.default_rng(width).integers(0, 256, (5, width), dtype=np.uint8)
    for words in (words_of(packed), copied_words(packed), copied_words(packed[:, ::-1][:, ::-1])):
        assert words.dtype == np.dtype(f"u{size}")
        np.testing.assert_array_equal(words.view(np.uint8), packed)
    assert np.shares_memory(words_of(packed), packed)
    assert not np.shares_memory(copied_words(packed), packed)
    np.testing.assert_array_equal(copied_words(np.asfortranarray(packed)).view(np.uint8), packed)


@pytest.mark.parametrize("n_bits", [64, 65, 128, 129])
def test_words_at_their_edges(n_bits: int) -> None:
    words = BitCodes.from_bits(np.ones((1, n_bits), np.uint8)).words()
    assert words.shape == (1, -(-n_bits // 64))
    assert sum(int(word).bit_count() for word in words[0]) == n_bits


def test_codes_are_joined_in_order() -> None:
    one, two = BitCodes(np.array([[1], [2]], np.uint8), 8, F), BitCodes(np.array([[3]], np.uint8), 8, F)
    joined = concatenate([one, two])
    assert joined.packed.ravel().tolist() == [1, 2, 3]
    assert (joined.n_bits, joined.fingerprint) == (8, F)
    assert concatenate([one]).packed.ravel().tolist() == [1, 2]
    with pytest.raises(CodeError, match="no codes to join"):
        concatenate([])


def test_codes_of_two_encoders_never_meet() -> None:
    packed = np.zeros((1, 1), np.uint8)
    ours, theirs, unmarked = BitCodes(packed, 8, F), BitCodes(packed, 8, G), BitCodes(packed, 8)
    for operation in (check_same, BitCodes.distances, lambda a, b: concatenate([a, b])):
        with pytest.raises(FingerprintError, match=f"{F[:12]} and {G[:12]}"):
            operation(ours, theirs)
        operation(ours, unmarked)
    with pytest.raises(CodeError, match="8 bits and codes of 7 bits"):
        check_same(ours, BitCodes(packed, 7, F))
    with pytest.raises(FingerprintError):
        check_same(ours.prefix(4), BitCodes(packed, 4, F))
