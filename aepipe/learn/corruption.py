"""The corruptions of :mod:`aepipe.corrupt` for tensors, on whatever device they are; equal in distribution.

Legend: B rows of a batch, ``...`` their shape.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from aepipe import corrupt, missing

Twin = Callable[[Any, Tensor, torch.Generator], tuple[Tensor, Tensor]]


def apply(options: corrupt.Corruption, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Corrupt a batch.

    Args:
        options: one of the kinds of :mod:`aepipe.corrupt`.
        x: float[B, ...]; it is left alone.
        generator: on the device of ``x``.

    Returns:
        ``(noisy, kept)``: a tensor like ``x``, and bool of its shape.
    """
    return TWINS[type(options)](options, x, generator)


def _clean(options: corrupt.Clean, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    return x, torch.ones_like(x, dtype=torch.bool)


def _mask(options: corrupt.Mask, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    kept = _uniform(x, generator) >= options.rate
    return x * (kept * options.gain if options.rescale else kept), kept


def _gaussian(options: corrupt.Gaussian, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    noise = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
    return x + options.sigma * noise, torch.ones_like(x, dtype=torch.bool)


def _salt_pepper(options: corrupt.SaltPepper, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    draw = _uniform(x, generator)
    kept = draw >= options.rate
    noise = torch.where(draw < options.rate / 2, options.low, options.high).to(x.dtype)
    return torch.where(kept, x, noise), kept


def _block(options: corrupt.Block, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    shape = tuple(x.shape)
    hidden = torch.ones(shape[:1] + (1,) * (x.ndim - 1), dtype=torch.bool, device=x.device)
    for axis, length in zip(corrupt.block_axes(shape), corrupt.block_lengths(shape, options.share), strict=True):
        last = shape[axis] - length + 1
        start = torch.randint(0, last, (shape[0], 1), generator=generator, device=x.device)
        position = torch.arange(shape[axis], device=x.device)
        inside = (position >= start) & (position < start + length)
        hidden = hidden & inside.view([shape[0], *(shape[a] if a == axis else 1 for a in range(1, x.ndim))])
    kept = (~hidden).expand(shape)
    return x * kept, kept


def _shift(options: corrupt.Shift, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    kept = torch.ones_like(x, dtype=torch.bool)
    if x.ndim != 4:
        return x, kept
    n, height, width, _ = x.shape
    padded = F.pad(x, (0, 0, *(4 * (options.pixels,))))
    moves = torch.randint(0, 2 * options.pixels + 1, (2, n, 1), generator=generator, device=x.device)
    rows = moves[0] + torch.arange(height, device=x.device)
    columns = moves[1] + torch.arange(width, device=x.device)
    each = torch.arange(n, device=x.device)[:, None, None]
    return padded[each, rows[:, :, None], columns[:, None, :]], kept


def _chain(options: corrupt.Chain, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    kept = torch.ones_like(x, dtype=torch.bool)
    for link in options.links:
        x, still = apply(link, x, generator)
        kept = kept & still
    return x, kept


def _missing(x: Tensor, chances: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Take cells away; chances are [B, cells] or what broadcasts to it."""
    kept = (_uniform(x.flatten(1), generator) >= chances).view(x.shape)
    return torch.where(kept, x, torch.nan), kept


def _mcar(options: missing.AtRandom, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    high = options.rate if options.rate_max is None else options.rate_max
    own = torch.rand((len(x), 1), generator=generator, device=x.device)
    chances = options.rate + (high - options.rate) * own
    if not options.spans:
        return _missing(x, chances, generator)
    draw = torch.rand((len(x), len(options.spans)), generator=generator, device=x.device)
    kept = (draw >= chances).repeat_interleave(torch.tensor(options.spans, device=x.device), 1).view(x.shape)
    return torch.where(kept, x, torch.nan), kept


def _mar(options: missing.ByOthers, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    flat = x.flatten(1)
    found = options.mechanism(flat.shape[1])
    there, weights = (torch.from_numpy(part).to(x.device) for part in found)
    score = flat[:, there].nan_to_num() @ weights
    chances = _by_rank(score[:, None], options.rate, generator)
    return _missing(x, torch.where(there, 0.0, chances), generator)


def _mnar(options: missing.ByItself, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    return _missing(x, _by_rank(x.flatten(1), options.rate, generator), generator)


def _by_rank(score: Tensor, rate: float, generator: torch.Generator) -> Tensor:
    """Return what :func:`aepipe.missing.by_rank` does."""
    order = torch.randperm(len(score), generator=generator, device=score.device)
    rank = torch.empty_like(score)
    rank[order] = score[order].argsort(dim=0, stable=True).argsort(0).to(score.dtype)
    return ((rank + 0.5) / len(score)) ** ((1 - rate) / rate)


def _uniform(x: Tensor, generator: torch.Generator) -> Tensor:
    """Return a draw from [0, 1) for every cell."""
    return torch.rand(x.shape, generator=generator, device=x.device)


TWINS: Mapping[type, Twin] = {
    corrupt.Clean: _clean,
    corrupt.Mask: _mask,
    corrupt.Gaussian: _gaussian,
    corrupt.SaltPepper: _salt_pepper,
    corrupt.Block: _block,
    corrupt.Shift: _shift,
    corrupt.Chain: _chain,
    missing.AtRandom: _mcar,
    missing.ByOthers: _mar,
    missing.ByItself: _mnar,
}
