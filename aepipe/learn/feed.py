"""Rows for training: on the device where they fit, else read from a memory-mapped file.

Legend: N rows, B rows of a batch.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aepipe.learn.compute import Compute

BLOCK = 4096


class Feed:
    """N rows of one shape, handed out as float32 batches on the device; uint8 is scaled to 0..1.

    Args:
        rows: uint8 or float32 ``[N, *shape]``, usually memory-mapped; or a tensor that already is on the device.
        compute: the device and its memory budget.

    Attributes:
        shape: of one row.
        holes: whether some cell is missing, which is NaN.
    """

    def __init__(self, rows: NDArray[np.generic] | Tensor, compute: Compute) -> None:
        self.shape = tuple(rows.shape[1:])
        self._n = len(rows)
        self._device = compute.device
        self._on_device: Tensor | None = None
        self._on_disk: NDArray[np.generic] | None = None
        if isinstance(rows, Tensor):
            self._on_device = rows
        elif rows.nbytes <= compute.memory:
            self._on_device = torch.from_numpy(np.array(rows)).to(compute.device)
        else:
            self._on_disk = rows
        self.holes = not isinstance(rows, Tensor) and rows.dtype.kind == "f" and _any_missing(rows)

    def __len__(self) -> int:
        return self._n

    @property
    def resident(self) -> bool:
        """Whether the rows are on the device."""
        return self._on_device is not None

    def batch(self, index: Tensor) -> Tensor:
        """Return rows by position.

        Args:
            index: int64[B] on the CPU.

        Returns:
            float32[B, *shape] on the device.
        """
        if self._on_device is not None:
            rows = self._on_device.index_select(0, index.to(self._device))
        else:
            assert self._on_disk is not None
            rows = torch.from_numpy(self._on_disk[index.numpy()]).to(self._device)
        return rows * (1 / 255) if rows.dtype == torch.uint8 else rows.float()

    def blocks(self, size: int = BLOCK) -> Iterator[Tensor]:
        """Return all rows in order, ``size`` at a time."""
        for start in range(0, len(self), size):
            yield self.batch(torch.arange(start, min(start + size, len(self))))


def _any_missing(rows: NDArray[np.generic]) -> bool:
    """Say whether a cell is NaN; rows on disk are read block by block."""
    return any(bool(np.isnan(np.asarray(rows[i : i + BLOCK], np.float32)).any()) for i in range(0, len(rows), BLOCK))
