"""Filling hash tables with distinct codes, in parts: however many they are, memory holds some of them at a time.

For each part of the bits, every code's slot and position, as one number, goes to a pile; the piles are sorted one after
another, and what they hold is written behind what those before them held.

Legend: M distinct codes, m parts, W bytes of a code, V words of it, S slots of a table.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aepipe.bits import Words, copied_words
from aepipe.index import piles
from aepipe.index.piles import Piles, scratch
from aepipe.index.tables import BITS, Tables, Values, fetched, n_slots_of, shift_of, slots_of
from aepipe.progress import step

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
            if n_codes > piles.PART:
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

    dealt = Piles(keys(slice(None, None, piles.SAMPLED)), beside)
    for start in range(0, len(packed), piles.PART):
        own = keys(slice(start, start + piles.PART))
        dealt.put(own, own)
    for (held,) in dealt:
        # One sort of plain numbers, slot and position in one, is many times faster than a stable argsort.
        in_order = np.sort(held)
        yield (in_order >> HALF).astype(np.int64), (in_order & LOW).astype(np.uint32)
