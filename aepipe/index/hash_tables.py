"""Hash tables over parts of the distinct codes: which codes have this value in these bits?

A table is three arrays: ``positions``, all codes in the order of their slots, ``starts``, where each slot begins, and a
copy of the codes in that order, so that a bucket is read in one go; codes of more than 128 bits are not copied, but
fetched one by one. A slot is a hash of the masked words, so a part may be of any bits and any length. Other values may
share a slot: whoever asks compares the codes anyway. A table takes about 8 bytes a code, and the code. Arrays are
mapped from their files, and opening them reads nothing.

Legend: M distinct codes, m parts, V words of a code, S slots of a table, F values looked up for a query,
C codes touched.
"""

# (from filling.py) Filling hash tables with distinct codes, in parts: however many they are, memory holds some of them at a time.
# (from filling.py)
# (from filling.py) For each part of the bits, every code's slot and position, as one number, goes to a pile; the piles are sorted one after
# (from filling.py) another, and what they hold is written behind what those before them held.
# (from filling.py)
# (from filling.py) Legend: M distinct codes, m parts, W bytes of a code, V words of it, S slots of a table.

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aepipe.codes.bitcodes import Words, copied_words, words_of
from aepipe.index import external_sort
from aepipe.index.external_sort import Output, Piles, scratch
from aepipe.index.postings import ranges
from aepipe.log import step
from aepipe.store.io import mapped

STARTS = "starts.npy"
POSITIONS = "positions.npy"
COPIES = "copies.npy"
BITS = "bits.npy"
FILES = {STARTS: np.uint32, POSITIONS: np.uint32, BITS: np.uint8}
COPIED = 16
"""Codes of at most so many bytes are copied."""
FEW = 16
"""So few buckets are joined one by one faster than by an array of places."""
LIMIT = 1 << 32
"""Positions are of 32 bits."""


def lengths_of(n_bits: int, n_parts: int) -> list[int]:
    """Return how many bits each part has: as equally many as can be."""
    return [len(range(part, n_bits, n_parts)) for part in range(n_parts)]


def parts_of(bits: NDArray[np.uint8], n_parts: int) -> NDArray[np.int64]:
    """Deal the bits to parts so that those which go together are apart: then a part's values tell codes apart best.

    Bits are taken in order of how much they have to do with others, and each goes to the part with whose bits it has
    least to do.

    Args:
        bits: uint8[n, K], of some codes.
        n_parts: m.

    Returns:
        int64[K], the part of each bit.
    """
    n_bits = bits.shape[1]
    centred = bits - bits.mean(axis=0, dtype=np.float32)
    scale = np.sqrt(np.maximum(np.square(centred).sum(axis=0), 1e-6))
    together = np.square((centred.T @ centred) / np.outer(scale, scale))
    np.fill_diagonal(together, 0.0)
    room, parts = lengths_of(n_bits, n_parts), np.full(n_bits, -1)
    for bit in np.argsort(-together.sum(axis=1), kind="stable"):
        costs = [together[bit, parts == part].sum() if room[part] else np.inf for part in range(n_parts)]
        parts[bit] = int(np.argmin(costs))
        room[parts[bit]] -= 1
    return parts


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
    def within(cls, parts: NDArray[np.int64], turned: int) -> Values:
        """Return the values of every part that differ in at most ``turned`` bits from the query's own.

        Args:
            parts: int64[K], the part of each bit.
            turned: r.
        """
        single = _words_of_bits(np.eye(len(parts), dtype=bool))
        masks, flips, owners = [], [], []
        for part in range(int(parts.max()) + 1):
            own = np.nonzero(parts == part)[0].tolist()
            for count in range(turned + 1):
                chosen = list(itertools.combinations(own, count))
                places = np.array(chosen, np.int64).reshape(len(chosen), count)
                flips.append(np.bitwise_or.reduce(single[places], axis=1))
                masks.append(np.repeat(_words_of_bits((parts == part)[None]), len(chosen), axis=0))
                owners.append(np.full(len(chosen), part))
        return cls(np.concatenate(masks), np.concatenate(flips), np.concatenate(owners))

    def __len__(self) -> int:
        return len(self.parts)


class Tables:
    """A table for each of m parts.

    Attributes:
        n_parts: m.
        parts: int64[K], the part of each bit.
        packed: uint8[M, W], the codes.
        starts: uint32[m, S + 1].
        positions: uint32[m, M].
        copies: words[m, M, V], or None.

    Args:
        folder: that they are mapped from; None where they are not.
    """

    def __init__(
        self,
        parts: NDArray[np.int64],
        packed: NDArray[np.uint8],
        starts: NDArray[np.uint32],
        positions: NDArray[np.uint32],
        copies: Words | None,
        folder: Path | None = None,
    ) -> None:
        self._folder = folder
        self.parts = parts
        self.packed = packed
        self.starts = starts
        self.positions = positions
        self.copies = copies
        self.n_parts = len(starts)
        self._flat_starts = starts.reshape(-1)
        self._flat_positions = positions.reshape(-1)
        self._flat_copies = None if copies is None else copies.reshape(-1, copies.shape[2])
        self._n_codes = positions.shape[1]
        self._shift = shift_of(starts.shape[1] - 1)

    @staticmethod
    def outputs(sizes: tuple[int, ...], stack: ExitStack, folder: Path | None) -> tuple[Output, Output, Output | None]:
        """Return where starts, positions and copies, which not all codes have, are written: a folder, or memory.

        Args:
            sizes: m, S, M, W.
            stack: that closes them.
            folder: an existing one, or None.
        """
        n_parts, n_slots, n_codes, width = sizes
        words = words_of(np.empty((0, width), np.uint8))
        shapes = {STARTS: (n_parts, n_slots + 1), POSITIONS: (n_parts, n_codes)}
        copied = {COPIES: (n_parts, n_codes, words.shape[1])} if width <= COPIED else {}
        starts, positions, *copies = (
            stack.enter_context(Output(shape, FILES.get(name, words.dtype), folder, name))
            for name, shape in (shapes | copied).items()
        )
        return starts, positions, next(iter(copies), None)

    @classmethod
    def open(cls, folder: Path, packed: NDArray[np.uint8], n_bits: int) -> Tables:
        """Map the saved tables of codes, uint8[M, W].

        Raises:
            CorruptError: a file is missing, or is no array.
            ValueError: one is not that of these codes.
        """
        words, n_codes = words_of(packed), len(packed)
        starts, positions, parts = (mapped(folder / name).astype(kind, copy=False) for name, kind in FILES.items())
        copies = mapped(folder / COPIES) if packed.shape[1] <= COPIED else None
        n_parts, n_slots = starts.shape[0], starts.shape[1] - 1
        sound = positions.shape == (n_parts, n_codes) and n_slots >= 2 and not n_slots & (n_slots - 1)
        sound &= parts.shape == (n_bits,) and set(parts.tolist()) == set(range(n_parts))
        sound &= copies is None or (copies.shape, copies.dtype) == ((n_parts, *words.shape), words.dtype)
        if not sound or (starts[:, -1] != n_codes).any():
            raise ValueError(f"{STARTS}, {POSITIONS} and {BITS} are not those of {n_codes:,} codes of {n_bits} bits")
        return cls(parts.astype(np.int64), packed, starts, positions, copies, folder)

    def save(self, folder: Path) -> None:
        """Write the tables into an existing folder, where they are not mapped from it."""
        if folder == self._folder:
            return
        np.save(folder / STARTS, self.starts)
        np.save(folder / POSITIONS, self.positions)
        np.save(folder / BITS, self.parts.astype(np.uint8))
        if self.copies is not None:
            np.save(folder / COPIES, self.copies)

    def buckets(self, query: Words, values: Values) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return where the codes of each value begin in all positions, and how many they are: twice int64[F].

        Args:
            query: words[V].
            values: F.
        """
        slots = slots_of((query & values.masks) ^ values.flips, self._shift)
        slots += values.parts * self.starts.shape[1]
        begin = self._flat_starts[slots].astype(np.int64)
        slots += 1
        sizes = self._flat_starts[slots] - begin
        begin += values.parts * self._n_codes
        return begin, sizes

    def compare(
        self, begin: NDArray[np.int64], sizes: NDArray[np.int64], query: Words
    ) -> tuple[NDArray[np.uint32], NDArray[np.uint16]]:
        """Return the codes in buckets, one bucket after another, and how far they are from a query.

        Args:
            begin: int64[F].
            sizes: int64[F].
            query: words[V].

        Returns:
            Positions, uint32[C], some of which may stand twice; distances, uint16[C].
        """
        places = _slices(begin, sizes) if len(begin) <= FEW else ranges(begin, sizes)
        positions = _taken(self._flat_positions, places)
        if self._flat_copies is None:
            return positions, _distances(fetched(self.packed, positions), query)
        return positions, _distances(_taken(self._flat_copies, places), query)


def _slices(begin: NDArray[np.int64], sizes: NDArray[np.int64]) -> list[slice]:
    """Return where buckets lie; an empty one in front stands for none at all."""
    pairs = zip(begin.tolist(), (begin + sizes).tolist(), strict=True)
    return [slice(0, 0), *(slice(one, end) for one, end in pairs if one < end)]


def _taken(array: NDArray[Any], places: list[slice] | NDArray[np.int64]) -> NDArray[Any]:
    """Return what lies at some places of an array."""
    if isinstance(places, list):
        return np.concatenate([array[one] for one in places])
    taken: NDArray[Any] = np.take(array, places, axis=0)  # several times faster than array[places] where rows are short
    return taken


def fetched(packed: NDArray[np.uint8], positions: NDArray[np.integer]) -> Words:
    """Return some codes as words[C, V]; as words of a mapped file, unaligned, numpy would first copy them all."""
    return words_of(np.take(packed, positions, axis=0))


def _distances(words: Words, query: Words) -> NDArray[np.uint16]:
    """Return how many bits of words[C, V] differ from a query's, uint16[C]."""
    # Word by word: numpy is slow where the innermost loop is short.
    total: NDArray[np.uint16] = np.bitwise_count(words[:, 0] ^ query[0]).astype(np.uint16)
    for word in range(1, words.shape[1]):
        total += np.bitwise_count(words[:, word] ^ query[word])
    return total


def n_slots_of(n_codes: int) -> int:
    """Return how many slots a table has: a power of two, about as many as there are codes."""
    return 1 << max(1, (n_codes - 1).bit_length())


def shift_of(n_slots: int) -> np.uint64:
    """Return by how much a hash is shifted, so that it is one of so many slots."""
    return np.uint64(64 - (n_slots - 1).bit_length())


def slots_of(words: Words, shift: np.uint64) -> NDArray[np.int64]:
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

HALF = np.uint64(32)
LOW = np.uint64((1 << 32) - 1)


def fill(packed: NDArray[np.uint8], parts: NDArray[np.int64], folder: Path | None = None) -> Tables:
    """Return the tables of distinct codes. One has about as many slots as there are codes.

    Args:
        packed: uint8[M, W], at least 1.
        parts: int64[K], the part of each bit.
        folder: an existing one, into which they are saved while they are made, and from which they are mapped; None to
            make them in memory.
    """
    masks, n_codes = Values.within(parts, 0).masks, len(packed)
    n_slots = n_slots_of(n_codes)
    with scratch(folder) as beside, ExitStack() as stack:
        starts, positions, copies = Tables.outputs((len(masks), n_slots, *packed.shape), stack, folder)
        for number, mask in enumerate(masks):
            if n_codes > external_sort.PART:
                step("tables", number, len(masks))
            begun, filled = 0, 0
            for slots, places in _in_slots(packed, mask, n_slots, beside):
                # Where slots begin that none has been told of, up to the last one here.
                counts = np.bincount(np.maximum(slots - begun + 1, 0))
                starts.extend(filled + np.cumsum(counts)[:-1])
                begun, filled = int(slots[-1]) + 1, filled + len(slots)
                positions.extend(places)
                if copies is not None:
                    copies.extend(fetched(packed, places))
            starts.extend(np.full(n_slots + 1 - begun, n_codes))
    if folder is not None:
        np.save(folder / BITS, parts.astype(np.uint8))
        return Tables.open(folder, packed, len(parts))
    return Tables(parts, packed, starts.array, positions.array, None if copies is None else copies.array)


def _in_slots(
    packed: NDArray[np.uint8], mask: Words, n_slots: int, beside: Path | None
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint32]]]:
    """Give slots, ascending, and positions of codes, ascending in each slot: int64[n] and uint32[n]."""

    def keys(places: slice) -> NDArray[np.uint64]:
        slots = slots_of(copied_words(packed[places]) & mask, shift_of(n_slots)).astype(np.uint64)
        return (slots << HALF) | np.arange(*places.indices(len(packed)), dtype=np.uint64)

    dealt = Piles(keys(slice(None, None, external_sort.SAMPLED)), beside)
    for start in range(0, len(packed), external_sort.PART):
        own = keys(slice(start, start + external_sort.PART))
        dealt.put(own, own)
    for (held,) in dealt:
        # One sort of plain numbers, slot and position in one, is many times faster than a stable argsort.
        in_order = np.sort(held)
        yield (in_order >> HALF).astype(np.int64), (in_order & LOW).astype(np.uint32)
