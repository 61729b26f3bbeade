"""Hash tables over parts of the distinct codes: which codes have this value in these bits?

A table is two arrays: ``positions``, all codes in the order of their slots, and ``starts``, where each slot begins. A
slot is a hash of the masked words, so a part may be of any bits and any length, and a table takes about 8 bytes a code.
Other values may share a slot: whoever asks compares the codes anyway. Arrays are mapped from their files, and opening
them reads nothing.

Legend: M distinct codes, Q queries, m parts, V words of a code, S slots of a table, F values looked up for a query,
C codes touched.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aepipe.index.postings import ranges

Words = NDArray[np.unsignedinteger]

STARTS = "starts.npy"
POSITIONS = "positions.npy"
FEW = 16
"""So few buckets are joined one by one faster than by an array of places."""
LIMIT = 1 << 32
"""Positions are of 32 bits."""


def words_of(packed: NDArray[np.uint8]) -> Words:
    """Return codes, uint8[N, W], as the widest words that fit, without a copy: uint64[N, V] where W is a multiple of 8.

    The words are of the machine's own order of bytes: only equality and differing bits are asked of them.
    """
    width = packed.shape[1]
    size = next(size for size in (8, 4, 2, 1) if width % size == 0)
    return packed.view(f"u{size}")


def parts_of(n_bits: int, n_parts: int) -> NDArray[np.int64]:
    """Return to which part each bit belongs, int64[K]: in turn, for neighbouring bits may be trained together."""
    return np.arange(n_bits) % n_parts


@dataclass(frozen=True, slots=True, eq=False)
class Values:
    """Values to be looked up for a query, given what is to be changed about its own.

    Attributes:
        masks: words[F, V], the bits of the part that each is looked up in.
        flips: words[F, V], the bits of it that are turned.
        parts: int64[F].
    """

    masks: Words
    flips: Words
    parts: NDArray[np.int64]

    @classmethod
    def within(cls, n_bits: int, n_parts: int, turned: int) -> Values:
        """Return the values of every part that differ in at most ``turned`` bits from the query's own."""
        parts = parts_of(n_bits, n_parts)
        masks, flips, owners = [], [], []
        for part in range(n_parts):
            own = np.nonzero(parts == part)[0]
            for count in range(turned + 1):
                chosen = list(itertools.combinations(own.tolist(), count))
                bits = np.zeros((len(chosen), n_bits), bool)
                for row, places in enumerate(chosen):
                    bits[row, list(places)] = True
                flips.append(_words_of_bits(bits))
                masks.append(np.repeat(_words_of_bits((parts == part)[None]), len(chosen), axis=0))
                owners.append(np.full(len(chosen), part))
        return cls(np.concatenate(masks), np.concatenate(flips), np.concatenate(owners))

    def __len__(self) -> int:
        return len(self.parts)


class Tables:
    """A table for each of m parts.

    Attributes:
        n_parts: m.
        starts: uint32[m, S + 1].
        positions: uint32[m, M].
    """

    def __init__(self, starts: NDArray[np.uint32], positions: NDArray[np.uint32]) -> None:
        self.starts = starts
        self.positions = positions
        self.n_parts = len(starts)
        self._flat_starts = starts.reshape(-1)
        self._flat_positions = positions.reshape(-1)
        self._n_codes = positions.shape[1]
        self._shift = np.uint64(64 - (starts.shape[1] - 2).bit_length())

    @classmethod
    def build(cls, packed: NDArray[np.uint8], n_bits: int, n_parts: int) -> Tables:
        """Build the tables of distinct codes, uint8[M, W].

        A table has about as many slots as there are codes, so that a slot of its own is not rare.
        """
        words = words_of(np.ascontiguousarray(packed))
        own = Values.within(n_bits, n_parts, 0)
        n_slots = 1 << max(1, (len(words) - 1).bit_length())
        shift = np.uint64(64 - (n_slots - 1).bit_length())
        starts = np.zeros((n_parts, n_slots + 1), np.uint32)
        positions = np.empty((n_parts, len(words)), np.uint32)
        for part in range(n_parts):
            slots = _slots(words & own.masks[part], shift)
            positions[part] = np.argsort(slots, kind="stable")
            np.cumsum(np.bincount(slots, minlength=n_slots), out=starts[part, 1:])
        return cls(starts, positions)

    @classmethod
    def open(cls, folder: Path, n_codes: int) -> Tables:
        """Map saved tables.

        Raises:
            OSError, ValueError: a file is missing, or is not that of so many codes.
        """
        starts, positions = (
            np.asarray(np.load(folder / name, mmap_mode="r", allow_pickle=False)) for name in (STARTS, POSITIONS)
        )
        n_parts, n_slots = starts.shape[0], starts.shape[1] - 1
        sound = positions.shape == (n_parts, n_codes) and n_slots >= 2 and not n_slots & (n_slots - 1)
        if not sound or (starts[:, -1] != n_codes).any():
            raise ValueError(f"{STARTS} and {POSITIONS} are not those of {n_codes:,} codes")
        return cls(starts, positions)

    def save(self, folder: Path) -> None:
        """Write the tables into an existing folder."""
        np.save(folder / STARTS, self.starts)
        np.save(folder / POSITIONS, self.positions)

    def buckets(self, queries: Words, values: Values) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return where the codes of each value begin in all positions, and how many they are: twice int64[Q, F].

        Args:
            queries: words[Q, V].
            values: F of each query.
        """
        slots = _slots((queries[:, None, :] & values.masks) ^ values.flips, self._shift)
        slots += values.parts * self.starts.shape[1]
        begin = self._flat_starts[slots].astype(np.int64)
        slots += 1
        sizes = self._flat_starts[slots] - begin
        begin += values.parts * self._n_codes
        return begin, sizes

    def codes(self, begin: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.uint32]:
        """Return the positions of the codes in buckets, one bucket after another, uint32[C]; some may stand twice."""
        if begin.size <= FEW:
            pairs = zip(begin.tolist(), sizes.tolist(), strict=True)
            return np.concatenate([self._flat_positions[one : one + size] for one, size in pairs])
        return self._flat_positions[ranges(begin, sizes)]


def _slots(words: Words, shift: np.uint64) -> NDArray[np.int64]:
    """Return the slots of masked words[..., V], int64[...]: multiply-shift hashing, a sum over the words.

    Dietzfelbinger, Hagerup, Katajainen, Penttonen: A Reliable Randomized Algorithm for the Closest-Pair Problem, 1997.
    """
    hashed = words[..., 0] * _MULTIPLIERS[0]
    for word in range(1, words.shape[-1]):
        hashed = hashed + words[..., word] * _MULTIPLIERS[word]
    slots: NDArray[np.int64] = (hashed >> shift).astype(np.int64)
    return slots


def _words_of_bits(bits: NDArray[np.bool_]) -> Words:
    """Return bits, bool[n, K], as words."""
    return words_of(np.packbits(bits, axis=1))


# Odd, fixed: the tables on disk are made with them.
_MULTIPLIERS = np.random.default_rng(20).integers(0, 1 << 64, 4096, np.uint64) | np.uint64(1)
