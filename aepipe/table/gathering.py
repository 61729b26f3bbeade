"""Some rows' features as arrays in files, cut out of the parts in one pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aepipe.disk import array_in
from aepipe.table.reading import Rows

BLOCK_BYTES = 1 << 26


def gather(
    rows: Rows, positions: Mapping[str, NDArray[np.int64]], folder: Path, report: Callable[[int], None]
) -> dict[str, NDArray[np.generic]]:
    """Write the features of several selections of rows, each into ``<name>.npy``, in constant memory.

    Args:
        rows: the table.
        positions: of each selection, int64[n], in the order wanted.
        folder: where the files go.
        report: called with the number of rows read so far.

    Returns:
        For each selection its array ``[n, *shape]``, mapped.
    """
    out = {
        name: array_in(folder / f"{name}.npy", rows.dtype, (len(chosen), *rows.shape))
        for name, chosen in positions.items()
    }
    order = {name: np.argsort(chosen, kind="stable") for name, chosen in positions.items()}
    start = 0
    for _, items in rows.batches(max(1, BLOCK_BYTES // (int(np.prod(rows.shape)) * rows.dtype.itemsize))):
        for name, chosen in positions.items():
            first, last = np.searchsorted(chosen[order[name]], [start, start + len(items)])
            here = order[name][first:last]
            out[name][here] = items[chosen[here] - start]
        start += len(items)
        report(start)
    return out
