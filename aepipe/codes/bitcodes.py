"""Packed binary codes and their arithmetic.

Legend: N codes, K bits, W = ceil(K/8) bytes.

Bit i of a code is bit ``7 - i % 8`` of byte ``i // 8``: most significant first, as ``numpy.packbits`` has it. A value
above its threshold is 1. Pad bits are zero. 64-bit words are the bytes read big-endian, so hex, bytes and words agree.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from aepipe.errors import CodeError, FingerprintError

BIT_ORDER = "msb-first"
Words = NDArray[np.unsignedinteger]


@dataclass(frozen=True, slots=True, eq=False)
class BitCodes:
    """N codes of K bits.

    Attributes:
        packed: uint8[N, W], pad bits zero.
        n_bits: K.
        fingerprint: digest of the encoder that made the codes; empty if no encoder did. A prefix of longer codes has
            ``<fingerprint>/<bits>``.

    Raises:
        CodeError: the array is not uint8[N, W], or a pad bit is set.
    """

    packed: NDArray[np.uint8]
    n_bits: int
    fingerprint: str = ""

    def __post_init__(self) -> None:
        width = n_bytes(self.n_bits)
        if self.packed.dtype != np.uint8 or self.packed.ndim != 2 or self.packed.shape[1] != width:
            found = f"{self.packed.dtype}{list(self.packed.shape)}"
            raise CodeError(f"codes of {self.n_bits} bits are uint8[N, {width}], not {found}")
        # A set pad bit would count in every distance.
        pad = 8 * width - self.n_bits
        if pad and bool((self.packed[:, -1] & ((1 << pad) - 1)).any()):
            raise CodeError(f"codes of {self.n_bits} bits end in {pad} pad bits, which must be zero")

    @classmethod
    def from_bits(cls, bits: NDArray[np.generic], fingerprint: str = "") -> BitCodes:
        """Pack bits.

        Args:
            bits: bool or 0/1 integers [N, K].
            fingerprint: see the class.
        """
        return cls(np.packbits(bits.astype(bool), axis=1), bits.shape[1], fingerprint)

    @classmethod
    def from_hex(cls, texts: Iterable[str], n_bits: int, fingerprint: str = "") -> BitCodes:
        """Read codes from :meth:`hex`.

        Raises:
            CodeError: a text is not hex, or has another length than ``n_bits``.
        """
        width = n_bytes(n_bits)
        rows = [_from_hex(text, width, n_bits) for text in texts]
        packed = np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), width)
        return cls(packed, n_bits, fingerprint)

    def __len__(self) -> int:
        return len(self.packed)

    def __getitem__(self, rows: slice | NDArray[np.generic]) -> BitCodes:
        """Return the codes of some rows: a slice, an index array or a mask."""
        return BitCodes(self.packed[rows], self.n_bits, self.fingerprint)

    def unpack(self) -> NDArray[np.uint8]:
        """Return the bits, uint8[N, K] of 0 and 1."""
        return np.unpackbits(self.packed, axis=1, count=self.n_bits)

    def hex(self) -> list[str]:
        """Return each code as lower-case hex, 2 W characters."""
        return [row.tobytes().hex() for row in self.packed]

    def words(self) -> NDArray[np.uint64]:
        """Return the codes as uint64[N, ceil(K/64)]: bytes read big-endian, zero-padded at the end."""
        n_words = -(-self.n_bits // 64)
        padded = np.zeros((len(self), 8 * n_words), np.uint8)
        padded[:, : self.packed.shape[1]] = self.packed
        # Big-endian on every machine, so that words sort as bytes and hex do.
        return padded.view(">u8").astype(np.uint64)

    def prefix(self, n_bits: int) -> BitCodes:
        """Return the codes' first bits.

        Raises:
            CodeError: ``n_bits`` is not in 1..K.
        """
        if not 1 <= n_bits <= self.n_bits:
            raise CodeError(f"a prefix of {n_bits} bits: these codes have 1 to {self.n_bits}")
        if n_bits == self.n_bits:
            return self
        packed = self.packed[:, : n_bytes(n_bits)].copy()
        # The bits behind the prefix become pad bits, which are zero.
        packed[:, -1] &= np.uint8(0xFF << (8 * packed.shape[1] - n_bits) & 0xFF)
        return BitCodes(packed, n_bits, f"{self.fingerprint}/{n_bits}" if self.fingerprint else "")

    def distances(self, other: BitCodes) -> NDArray[np.uint16]:
        """Return the Hamming distances, uint16[N, M], to M other codes.

        Raises:
            CodeError: the lengths differ.
            FingerprintError: two encoders made the codes.
        """
        check_same(self, other)
        # One column of bytes at a time keeps the temporary at N x M bytes for codes of any length.
        total = np.zeros((len(self), len(other)), np.uint16)
        for column in range(self.packed.shape[1]):
            differ = self.packed[:, column, None] ^ other.packed[None, :, column]
            total += np.bitwise_count(differ)
        return total

    def distinct(self) -> tuple[BitCodes, NDArray[np.int64]]:
        """Return the distinct codes, ascending, and the position of each row's code, int64[N]."""
        # Each code as one opaque value: numpy then sorts whole rows of bytes.
        rows = np.ascontiguousarray(self.packed).view([("", np.void, self.packed.shape[1])])[:, 0]
        values, inverse = np.unique(rows, return_inverse=True)
        packed = values.view(np.uint8).reshape(len(values), self.packed.shape[1])
        return BitCodes(packed, self.n_bits, self.fingerprint), inverse.astype(np.int64)


class Coded(Protocol):
    """Anything with codes of one length from one encoder."""

    @property
    def n_bits(self) -> int:
        """K."""

    @property
    def fingerprint(self) -> str:
        """Digest of the encoder; empty if no encoder made the codes."""


def check_same(a: Coded, b: Coded) -> None:
    """Check that two sets of codes may be compared; codes without a fingerprint fit all.

    Raises:
        CodeError: the lengths differ.
        FingerprintError: two encoders made the codes.
    """
    if a.n_bits != b.n_bits:
        raise CodeError(f"codes of {a.n_bits} bits and codes of {b.n_bits} bits cannot be compared")
    if a.fingerprint and b.fingerprint and a.fingerprint != b.fingerprint:
        raise FingerprintError(
            f"codes of two encoders cannot be compared: fingerprints {a.fingerprint[:12]} and {b.fingerprint[:12]}"
        )


def concatenate(parts: Iterable[BitCodes]) -> BitCodes:
    """Join codes of one length and one encoder, in order.

    Raises:
        CodeError: there is no part, or the lengths differ.
        FingerprintError: two encoders made the parts.
    """
    parts = list(parts)
    if not parts:
        raise CodeError("no codes to join")
    for part in parts[1:]:
        check_same(parts[0], part)
    return BitCodes(np.concatenate([part.packed for part in parts]), parts[0].n_bits, parts[0].fingerprint)


def n_bytes(n_bits: int) -> int:
    """Return the number of bytes of one code.

    Raises:
        CodeError: ``n_bits`` is not positive.
    """
    if n_bits < 1:
        raise CodeError(f"a code has at least 1 bit, not {n_bits}")
    return -(-n_bits // 8)


def words_of(packed: NDArray[np.uint8]) -> Words:
    """View codes, uint8[N, W], as the widest words that fit: uint64 if W is a multiple of 8.

    The words have the machine's own byte order, so use them for equality and differing bits only.
    """
    width = packed.shape[1]
    size = next(size for size in (8, 4, 2, 1) if width % size == 0)
    return packed.view(f"u{size}")


def copied_words(packed: NDArray[np.uint8]) -> Words:
    """Return :func:`words_of` of a copy.

    Codes in a mapped file may start at an address that is no multiple of a word; numpy is slow on such words.
    """
    return words_of(np.array(packed, order="C"))


def _from_hex(text: str, width: int, n_bits: int) -> bytes:
    """Return the bytes of one code, with its length checked."""
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        raise CodeError(f"code {text!r} is not hex: allowed are {2 * width} characters of 0-9 and a-f") from None
    if len(raw) != width:
        raise CodeError(f"code {text!r} has {4 * len(text)} bits: {n_bits} bits are {2 * width} hex characters")
    return raw
