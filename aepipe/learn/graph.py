"""A graph of neighbours among training rows, and random walks on it.

Where a walk ends is a row that is probably of the same kind as the one it started from, the more so the shorter the
walk; the longer it is, the wider the group that it wanders in. Labels are not needed for that. The distribution of the
ends of long walks is what diffusion maps and spectral clustering are made of (Coifman and Lafon, "Diffusion Maps",
2006).

Legend: N rows, D cells of a row, F features, k neighbours, B rows of a batch.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aepipe.learn.compute import Compute
from aepipe.learn.feed import Feed

Neighbours = Callable[[NDArray[np.float32], int], NDArray[np.int32]]
"""``(features float32[N, F], k) -> int32[N, k]``: the k nearest other rows of each by inner product."""

WIDEST = 4096
"""Cells of a row up to which the covariance is formed; wider rows are projected at random to as many."""


class Graph:
    """Neighbours that can be walked along.

    An edge that leads back counts 1, one that does not counts less: rows that are each other's neighbours are more
    often of one kind (Jegou, Harzallah and Schmid, "A contextual dissimilarity measure", CVPR 2007).

    Args:
        near_NK: int32[N, k], the neighbours of each row.
        one_way: weight of an edge that does not lead back.
        compute: where walks go.
    """

    def __init__(self, near_NK: NDArray[np.int32], one_way: float, compute: Compute) -> None:
        n_rows, k = near_NK.shape
        own = np.arange(n_rows, dtype=np.int64)[:, None]
        there, back = (own * n_rows + near_NK).ravel(), (near_NK.astype(np.int64) * n_rows + own).ravel()
        weight = np.where(np.isin(back, there), 1.0, one_way).reshape(n_rows, k)
        reach = np.cumsum(weight, axis=1)
        self._near_NK = torch.from_numpy(near_NK.astype(np.int32)).to(compute.device)
        self._reach_NK = torch.from_numpy((reach / reach[:, -1:]).astype(np.float32)).to(compute.device)

    def walk(self, start_B: Tensor, longest: int, generator: torch.Generator) -> Tensor:
        """Walk from each row, 1 to ``longest`` steps, every number equally likely; return where walks end, int64[B]."""
        device = self._near_NK.device
        at_B = end_B = start_B.to(device)
        steps_B = torch.randint(1, longest + 1, at_B.shape, generator=generator, device=device)
        for step in range(1, longest + 1):
            draw_B1 = torch.rand((len(at_B), 1), generator=generator, device=device)
            edge_B1 = (self._reach_NK[at_B] <= draw_B1).sum(1, keepdim=True).clamp(max=self._near_NK.shape[1] - 1)
            at_B = self._near_NK[at_B].gather(1, edge_B1)[:, 0].long()
            end_B = torch.where(steps_B == step, at_B, end_B)
        return end_B


def graph_of(
    rows: Feed,
    neighbours: Neighbours,
    *,
    k: int,
    components: int,
    whiten: float,
    one_way: float,
    compute: Compute,
) -> Graph:
    """Build the graph of training rows: neighbours by cosine among their leading principal components.

    Args:
        rows: N of them.
        neighbours: finds them.
        k: edges from each row; less where there are not so many other rows.
        components: F at most.
        whiten: see :func:`principal_components`.
        one_way: see :class:`Graph`.
        compute: where.
    """
    features_NF = principal_components(rows, components, whiten=whiten)
    features_NF /= np.maximum(np.linalg.norm(features_NF, axis=1, keepdims=True), 1e-12)
    return Graph(neighbours(features_NF, min(k, len(rows) - 1)), one_way, compute)


def principal_components(rows: Feed, components: int, *, whiten: float = 0.0) -> NDArray[np.float32]:
    """Return the leading principal components of rows, float32[N, F]; missing cells count as zero.

    Args:
        rows: N of them; they are read three times, block by block.
        components: F at most; less where rows have fewer cells.
        whiten: each component is divided by its standard deviation to this power. Half-way, 0.5, small differences
            count more than in the rows themselves, and noise not as much as everything else.
    """
    squeeze = _projection(rows)
    sums = sum((squeeze(block).double().sum(0) for block in rows.blocks()), torch.zeros(()))
    mean_D = torch.as_tensor(sums) / len(rows)
    covariance_DD = torch.zeros((len(mean_D), len(mean_D)), dtype=torch.float64, device=mean_D.device)
    for block in rows.blocks():
        centred_BD = squeeze(block) - mean_D.float()
        covariance_DD += (centred_BD.T @ centred_BD).double()
    variance_D, axes_DD = torch.linalg.eigh(covariance_DD / len(rows))
    leading = variance_D.flip(0)[:components].clamp(min=1e-12)
    # Of components without any variance only rounding errors are left, which must not be blown up.
    scale_F = torch.where(leading > 1e-6 * leading[0], leading.pow(-0.5 * whiten), 0.0)
    axes_DF = (axes_DD.flip(1)[:, :components] * scale_F).float()
    found = [((squeeze(block) - mean_D.float()) @ axes_DF).cpu() for block in rows.blocks()]
    return np.asarray(torch.cat(found).numpy(), np.float32)


def _projection(rows: Feed) -> Callable[[Tensor], Tensor]:
    """Return what makes matrices of blocks of rows, at most :data:`WIDEST` wide."""
    width = int(np.prod(rows.shape))
    if width <= WIDEST:
        return lambda block: torch.nan_to_num(block.flatten(1), nan=0.0)
    generator = torch.Generator().manual_seed(0)
    axes = torch.randn((width, WIDEST), generator=generator) / width**0.5
    return lambda block: torch.nan_to_num(block.flatten(1), nan=0.0) @ axes.to(block.device)
