"""Batches of rows on the training device; and the device: precision, memory, generators.

Rows stay on the device if they fit its memory budget, else they are read from a memory-mapped file.

Legend: N rows, B rows of a batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aepipe.errors import RecipeError
from aepipe.learn.world import ALONE, World
from aepipe.recipe import ComputeRecipe

BLOCK = 4096
"""Rows that are read at a time where all are read in order."""


class Feed:
    """N rows of one shape, as float32 batches on the device; uint8 is scaled to 0..1.

    Args:
        rows: uint8 or float32 ``[N, *shape]``, usually memory-mapped; or a tensor that already is on the device.
        compute: the device and its memory budget.

    Attributes:
        shape: of one row.
        holes: whether some cell is missing, that is NaN.
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
            # A copy: the map of a file is read-only, and tensors are writable.
            self._on_device = torch.from_numpy(np.array(rows)).to(compute.device)
        else:
            self._on_disk = rows
        # A tensor holds the codes of a layer below, which are never missing.
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
        # uint8 stays uint8 until here: a quarter of the memory, and of the transfer to a GPU.
        return rows * (1 / 255) if rows.dtype == torch.uint8 else rows.float()

    def blocks(self, size: int = BLOCK) -> Iterator[Tensor]:
        """Yield all rows in order, ``size`` at a time."""
        yield from (self.block(number, size) for number in range(-(-len(self) // size)))

    def block(self, number: int, size: int = BLOCK) -> Tensor:
        """Return one of those blocks, counted from 0."""
        return self.batch(torch.arange(number * size, min((number + 1) * size, len(self))))


class BitGenerator(torch.Generator):
    """A generator on the CPU that draws cells with 16 bits each, four of them in a word.

    torch makes a number for each cell, which takes most of the time of a corruption. The words come from NumPy's
    fastest generator, which torch's seeds.
    """

    LEVELS: ClassVar[int] = 1 << 16

    def at_least(self, shape: Sequence[int], shares: Sequence[float]) -> list[Tensor]:
        """Return for each share which cells have a draw from 0..1 that is not below it.

        Args:
            shape: of the cells.
            shares: in 0..1, exact to 1 / 65,536; one draw serves all.

        Returns:
            bool[shape] for each share.
        """
        cells = math.prod(shape)
        seed = int(torch.randint(1 << 62, (), generator=self))
        words = np.random.SFC64(seed).random_raw(-(-cells // 4))
        draw = words.view(np.uint16)[:cells].reshape(tuple(shape))
        return [torch.from_numpy(draw >= max(1, round(share * self.LEVELS))) for share in shares]


@dataclass(frozen=True, slots=True)
class Compute:
    """A device with a precision.

    Attributes:
        device: where tensors live.
        dtype: of matrix products; weights, sums and losses are always float32.
        memory: bytes that the rows of one layer may take on the device.
        bits: whether cells are drawn by :class:`BitGenerator`.
        shards: slices of a batch; see :mod:`aepipe.learn.shards`.
        world: the processes that share them out.
    """

    device: torch.device
    dtype: torch.dtype
    memory: int
    bits: bool = False
    shards: int = 1
    world: World = ALONE

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context in which matrix products use ``dtype``."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def generator(self, *seeds: int) -> torch.Generator:
        """Return a generator on the device; equal seeds give equal draws."""
        kind = BitGenerator if self.bits else torch.Generator
        return kind(self.device).manual_seed(seed_of(*seeds))

    def key(self) -> dict[str, str]:
        """Return everything that changes results, for a digest."""
        found = {"device": self.device.type, "precision": str(self.dtype).removeprefix("torch.")}
        found |= {"draws": "bits"} if self.bits else {}
        return found | ({"shards": str(self.shards)} if self.shards > 1 else {})


def resolve(recipe: ComputeRecipe) -> Compute:
    """Find the device and the precision that a recipe asks for on this machine.

    Raises:
        RecipeError: torch knows no such device, or this machine has none.
    """
    wanted = recipe.device if recipe.device != "auto" else ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
        # torch accepts names of devices that this machine does not have; the first tensor fails.
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise RecipeError(f"compute.device: {wanted!r} cannot be used here: {str(error).splitlines()[0]}") from None
    precision = recipe.precision if recipe.precision != "auto" else ("bfloat16" if _has_bfloat16(device) else "float32")
    dtype: torch.dtype = getattr(torch, precision)
    bits = recipe.draws == "bits" and device.type == "cpu"  # other devices draw at once for all cells
    return Compute(device, dtype, int(recipe.memory_gb * 1e9), bits, recipe.shards)


def seed_of(*seeds: int) -> int:
    """Mix seeds into one of 63 bits: torch takes no more."""
    return int(np.random.SeedSequence(seeds).generate_state(1, np.uint64)[0] >> 1)


def _any_missing(rows: NDArray[np.generic]) -> bool:
    # Block by block, as rows may be on disk.
    return any(bool(np.isnan(np.asarray(rows[i : i + BLOCK], np.float32)).any()) for i in range(0, len(rows), BLOCK))


def _has_bfloat16(device: torch.device) -> bool:
    # Only where the hardware multiplies it faster than float32: elsewhere it is emulated.
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return device.type == "cpu" and bool(torch.cpu.get_capabilities().get("avx512_bf16"))
