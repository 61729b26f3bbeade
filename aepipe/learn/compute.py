"""Where the arithmetic happens: device, precision, memory, and random generators."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch

from aepipe.errors import RecipeError
from aepipe.recipe import ComputeRecipe


@dataclass(frozen=True, slots=True)
class Compute:
    """A device with a precision.

    Attributes:
        device: where tensors live.
        dtype: of matrix products; weights, sums and losses are float32 always.
        memory: bytes that the rows of one layer may take on the device.
    """

    device: torch.device
    dtype: torch.dtype
    memory: int

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context in which matrix products take ``dtype``."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def generator(self, *seeds: int) -> torch.Generator:
        """Return a generator on the device; equal seeds, equal draws."""
        return torch.Generator(self.device).manual_seed(seed_of(*seeds))

    def key(self) -> dict[str, str]:
        """Return what changes results, for a digest."""
        return {"device": self.device.type, "precision": str(self.dtype).removeprefix("torch.")}


def seed_of(*seeds: int) -> int:
    """Mix seeds into one of 63 bits."""
    return int(np.random.SeedSequence(seeds).generate_state(1, np.uint64)[0] >> 1)


def resolve(recipe: ComputeRecipe) -> Compute:
    """Find the device and the precision that a recipe asks for on this machine.

    Raises:
        RecipeError: torch knows no such device, or this machine has none.
    """
    wanted = recipe.device if recipe.device != "auto" else ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise RecipeError(f"compute.device: {wanted!r} cannot be used here: {str(error).splitlines()[0]}") from None
    precision = recipe.precision if recipe.precision != "auto" else ("bfloat16" if _has_bfloat16(device) else "float32")
    dtype: torch.dtype = getattr(torch, precision)
    return Compute(device, dtype, int(recipe.memory_gb * 1e9))


def _has_bfloat16(device: torch.device) -> bool:
    """Say whether the hardware multiplies bfloat16 faster than float32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return device.type == "cpu" and bool(torch.cpu.get_capabilities().get("avx512_bf16"))
