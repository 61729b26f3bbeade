"""Hash tables over parts of the bits: find the codes that have given values in given bits.

A table has three arrays: ``positions``, all codes sorted by slot; ``starts``, the place where each slot begins; and a
copy of the codes in that order, so that a bucket is read in one go. Codes of more than 128 bits are not copied but
fetched one by one. A slot is a hash of the masked words, so a part may have any bits and any length. Different values
may share a slot; this does no harm, for whoever looks up compares the codes anyway. A table takes about 8 bytes a code
and the copy. Arrays are mapped from their files, so opening a table reads nothing.

:func:`fill` makes the tables of any number of codes while memory holds one part of them at a time: for each part of the
bits, slot and position of every code, as one number, are partitioned, and the partitions are sorted and written one
after another (see :mod:`aepipe.index.external_sort`).

Legend: M distinct codes, m parts, K bits, W bytes of a code, V words of it, S slots of a table, F values looked up for
a query, C codes touched.
"""

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
from aepipe.index.external_sort import Output, Partitions, scratch
from aepipe.index.postings import ranges
from aepipe.log import step
from aepipe.store.io import mapped

STARTS = "starts.npy"
POSITIONS = "positions.npy"
COPIES = "copies.npy"
BITS = "bits.npy"
FILES = {STARTS: np.uint32, POSITIONS: np.uint32, BITS: np.uint8}
COPIED = 16
"""Codes of at most this number of bytes are copied into their buckets."""
FEW = 16
"""Up to this number of buckets, joining slices is faster than one array of places."""
LIMIT = 1 << 32
"""Positions have 32 bits."""
HALF, LOW = np.uint64(32), np.uint64((1 << 32) - 1)
"""Slot and position share one number: the upper and the lower 32 bits."""


def lengths_of(n_bits: int, n_parts: int) -> list[int]:
    """Return the number of bits of each part, as equal as possible."""
    return [len(range(part, n_bits, n_parts)) for part in range(n_parts)]


def parts_of(bits: NDArray[np.uint8], n_parts: int) -> NDArray[np.int64]:
    """Assign bits to parts so that correlated bits are apart, which makes buckets small.

    Greedy: the bits, in descending order of their correlation with all others, each go to the part with whose bits they
    correlate least.

    Args:
        bits: uint8[n, K], of a sample of codes.
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
    """The values to look up for any query, as differences from its own.

    Attributes:
        masks: words[F, V], the bits of the part that each value is looked up in.
        flips: words[F, V], the bits of that part that are flipped.
        parts: int64[F].
    """

    masks: Words
    flips: Words
    parts: NDArray[np.int64]

    @classmethod
    def within(cls, parts: NDArray[np.int64], flipped: int) -> Values:
        """Return all values that differ in at most ``flipped`` bits from the query's own.

        Args:
            parts: int64[K], the part of each bit.
            flipped: r, the number of bits.
        """
        single = _words_of_bits(np.eye(len(parts), dtype=bool))
        masks, flips, owners = [], [], []
        for part in range(int(parts.max()) + 1):
            own = np.nonzero(parts == part)[0].tolist()
            for count in range(flipped + 1):
                chosen = list(itertools.combinations(own, count))
                places = np.array(chosen, np.int64).reshape(len(chosen), count)
                flips.append(np.bitwise_or.reduce(single[places], axis=1))
                masks.append(np.repeat(_words_of_bits((parts == part)[None]), len(chosen), axis=0))
                owners.append(np.full(len(chosen), part))
        return cls(np.concatenate(masks), np.concatenate(flips), np.concatenate(owners))

    def __len__(self) -> int:
        return len(self.parts)


class Tables:
    """One hash table for each of m parts.

    Attributes:
        n_parts: m.
        parts: int64[K], the part of each bit.
        packed: uint8[M, W], the codes.
        starts: uint32[m, S + 1].
        positions: uint32[m, M].
        copies: words[m, M, V], or None.

    Args:
        folder: the folder that the arrays are mapped from; None where they are in memory.
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
        """Return the outputs for starts, positions and copies (None without copies).

        Args:
            sizes: m, S, M, W.
            stack: closes the outputs.
            folder: an existing folder for files, or None for memory.
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
            CorruptError: a file is missing, or is not an array.
            ValueError: an array does not belong to these codes.
        """
        words, n_codes = words_of(packed), len(packed)
        starts, positions, parts = (mapped(folder / name).astype(kind, copy=False) for name, kind in FILES.items())
        copies = mapped(folder / COPIES) if packed.shape[1] <= COPIED else None
        n_parts, n_slots = starts.shape[0], starts.shape[1] - 1
        sound = positions.shape == (n_parts, n_codes) and n_slots >= 2 and not n_slots & (n_slots - 1)
        sound &= parts.shape == (n_bits,) and set(parts.tolist()) == set(range(n_parts))
        sound &= copies is None or (copies.shape, copies.dtype) == ((n_parts, *words.shape), words.dtype)
        if not sound or (starts[:, -1] != n_codes).any():
            raise ValueError(f"{STARTS}, {POSITIONS} and {BITS} do not belong to {n_codes:,} codes of {n_bits} bits")
        return cls(parts.astype(np.int64), packed, starts, positions, copies, folder)

    def save(self, folder: Path) -> None:
        """Write the tables into an existing folder, unless they are mapped from it."""
        if folder == self._folder:
            return
        np.save(folder / STARTS, self.starts)
        np.save(folder / POSITIONS, self.positions)
        np.save(folder / BITS, self.parts.astype(np.uint8))
        if self.copies is not None:
            np.save(folder / COPIES, self.copies)

    def buckets(self, query: Words, values: Values) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the first place and the size of each value's bucket: twice int64[F].

        For several queries: twice int64[Q, F].

        Args:
            query: words[V], or words[Q, 1, V] for several.
            values: the F values to look up.
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
        """Return the codes in some buckets, in order, and their distances from a query.

        Args:
            begin: int64[F], as :meth:`buckets` returns.
            sizes: int64[F].
            query: words[V], or words[C, V]: that of each code.

        Returns:
            Positions, uint32[C], which may contain a code several times; distances, uint16[C].
        """
        places = _slices(begin, sizes) if len(begin) <= FEW else ranges(begin, sizes)
        positions = _taken(self._flat_positions, places)
        if self._flat_copies is None:
            return positions, _distances(fetched(self.packed, positions), query)
        return positions, _distances(_taken(self._flat_copies, places), query)


def _slices(begin: NDArray[np.int64], sizes: NDArray[np.int64]) -> list[slice]:
    # The empty slice stands for none: numpy cannot concatenate an empty list.
    pairs = zip(begin.tolist(), (begin + sizes).tolist(), strict=True)
    return [slice(0), *(slice(one, end) for one, end in pairs if one < end)]


def _taken(array: NDArray[Any], places: list[slice] | NDArray[np.int64]) -> NDArray[Any]:
    if isinstance(places, list):
        return np.concatenate([array[one] for one in places])
    taken: NDArray[Any] = np.take(array, places, axis=0)  # several times faster than array[places] where rows are short
    return taken


def fetched(packed: NDArray[np.uint8], positions: NDArray[np.integer]) -> Words:
    """Return some codes as words[C, V].

    They are taken as bytes first, since a mapped file is not aligned for words.
    """
    return words_of(np.take(packed, positions, axis=0))


def _distances(words: Words, query: Words) -> NDArray[np.uint16]:
    # Word by word: numpy is slow where the innermost loop is short.
    total: NDArray[np.uint16] = np.bitwise_count(words[:, 0] ^ query[..., 0]).astype(np.uint16)
    for word in range(1, words.shape[1]):
        total += np.bitwise_count(words[:, word] ^ query[..., word])
    return total


def n_slots_of(n_codes: int) -> int:
    """Return the number of slots of a table: a power of two, about the number of codes."""
    return 1 << max(1, (n_codes - 1).bit_length())


def shift_of(n_slots: int) -> np.uint64:
    """Return the shift that turns a 64-bit hash into one of S slots."""
    return np.uint64(64 - (n_slots - 1).bit_length())


def slots_of(words: Words, shift: np.uint64) -> NDArray[np.int64]:
    """Return the slots of masked words[..., V], int64[...], by multiply-shift hashing.

    Dietzfelbinger, Hagerup, Katajainen, Penttonen: A Reliable Randomized Algorithm for the Closest-Pair Problem, 1997.
    """
    hashed = words[..., 0] * _MULTIPLIERS[0]
    for word in range(1, words.shape[-1]):
        hashed = hashed + words[..., word] * _MULTIPLIERS[word]
    slots: NDArray[np.int64] = (hashed >> shift).astype(np.int64)
    return slots


def _words_of_bits(bits: NDArray[np.bool_]) -> Words:
    return words_of(np.packbits(bits, axis=1))


# Odd, and fixed: the tables on disk depend on them.
_MULTIPLIERS = np.random.default_rng(20).integers(0, 1 << 64, 4096, np.uint64) | np.uint64(1)


def fill(packed: NDArray[np.uint8], parts: NDArray[np.int64], folder: Path | None = None) -> Tables:
    """Make the tables of distinct codes.

    Args:
        packed: uint8[M, W], at least 1.
        parts: int64[K], the part of each bit.
        folder: an existing folder; the tables are written into it while they are made, and mapped from it. None to
            make them in memory.
    """
    masks, n_codes = Values.within(parts, 0).masks, len(packed)
    n_slots = n_slots_of(n_codes)
    with scratch(folder) as work, ExitStack() as stack:
        starts, positions, copies = Tables.outputs((len(masks), n_slots, *packed.shape), stack, folder)
        for number, mask in enumerate(masks):
            if n_codes > external_sort.PART:
                step("tables", number, len(masks))
            begun, filled = 0, 0
            for slots, places in _by_slot(packed, mask, n_slots, work):
                # The starts of all slots from ``begun`` to the last one here, empty ones included.
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


def _by_slot(
    packed: NDArray[np.uint8], mask: Words, n_slots: int, work: Path | None
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint32]]]:
    """Yield slots, int64[n], and positions of codes in them, uint32[n], both ascending."""

    def keys(places: slice) -> NDArray[np.uint64]:
        slots = slots_of(copied_words(packed[places]) & mask, shift_of(n_slots)).astype(np.uint64)
        return (slots << HALF) | np.arange(*places.indices(len(packed)), dtype=np.uint64)

    partitions = Partitions(keys(slice(None, None, external_sort.SAMPLED)), work)
    for start in range(0, len(packed), external_sort.PART):
        own = keys(slice(start, start + external_sort.PART))
        partitions.put(own, own)
    for (held,) in partitions:
        # Sorting plain numbers, slot and position in one, is many times faster than a stable argsort.
        in_order = np.sort(held)
        yield (in_order >> HALF).astype(np.int64), (in_order & LOW).astype(np.uint32)
