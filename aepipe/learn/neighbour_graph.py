"""A graph of nearest neighbours among training rows, and random walks on it.

The end of a walk is a row that is probably of the same kind as its start: more probably after few steps, from a wider
group after many. No labels are needed. The distribution of the ends of long walks is the basis of diffusion maps and
spectral clustering (Coifman and Lafon, "Diffusion Maps", 2006).

Legend: N rows, D cells of a row, F features, k neighbours, B rows of a batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aepipe.learn.batches import Compute, Feed
from aepipe.learn.pca import Components

Neighbours = Callable[[NDArray[np.float32], int], NDArray[np.int32]]
"""``(features float32[N, F], k) -> int32[N, k]``: the k nearest other rows of each by inner product."""
LIFT = 10.0
"""The constant that is put beside rows, in root mean squares of their lengths."""
LONGEST = 256
"""Most steps of a walk."""
WALKED = 1 << 18
"""Walks that are done together."""
SAMPLED = 10_000
"""Walks that measure the resemblance of starts and ends."""


def graph_of(
    rows: Feed,
    neighbours: Neighbours,
    *,
    k: int,
    components: int,
    whiten: float,
    one_way: float,
    compute: Compute,
    by: Literal["angle", "distance"] = "angle",
) -> tuple[Graph, NDArray[np.float32]]:
    """Build the graph of training rows: neighbours by cosine of their principal components.

    Args:
        rows: N of them.
        neighbours: finds nearest neighbours.
        k: edges from each row; fewer if there are fewer other rows.
        components: F at most.
        whiten: each component is divided by its standard deviation to this power. With 0.5, small differences count
            more than in the rows themselves, but noise not as much as everything else.
        one_way: see :class:`Graph`.
        compute: the device.
        by: the angle between rows, or their distance, in which rows of other lengths are far away.

    Returns:
        The graph, and the components, float32[N, F] of unit length.
    """
    found = Components.of(rows, min(components, math.prod(rows.shape)))
    features_NF = torch.cat([block.cpu() for block in found.blocks(rows, whiten)]).numpy()
    searched_NF = _unit(_lifted(features_NF) if by == "distance" else features_NF)
    return Graph(neighbours(searched_NF, min(k, len(rows) - 1)), one_way, compute), _unit(features_NF)


def _lifted(features_NF: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return features with a large constant beside them: then a smaller distance is a smaller angle."""
    length = LIFT * float(np.sqrt(np.square(features_NF).sum(1).mean()))
    return np.pad(features_NF, ((0, 0), (0, 1)), constant_values=length)


def _unit(features_NF: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return features of unit length, so that the inner product of a search is the cosine."""
    found: NDArray[np.float32] = features_NF / np.maximum(np.linalg.norm(features_NF, axis=1, keepdims=True), 1e-12)
    return found


class Graph:
    """A weighted graph of neighbours to walk on.

    An edge weighs 1 if its end has its start among its neighbours, else less: mutual neighbours are more often of one
    kind (Jegou, Harzallah and Schmid, "A contextual dissimilarity measure", CVPR 2007).

    Args:
        near_NK: int32[N, k], the neighbours of each row.
        one_way: weight of an edge whose end does not have its start among its neighbours.
        compute: the device of the walks.

    Attributes:
        near_NK: as given.
    """

    def __init__(self, near_NK: NDArray[np.int32], one_way: float, compute: Compute) -> None:
        n_rows, k = near_NK.shape
        # An edge as one number, start * N + end: int64, as int32 overflows at 46,341 rows.
        own = np.arange(n_rows, dtype=np.int64)[:, None]
        there, back = (own * n_rows + near_NK).ravel(), (near_NK.astype(np.int64) * n_rows + own).ravel()
        weight = np.where(np.isin(back, there), 1.0, one_way).reshape(n_rows, k)
        # Cumulated weights: an edge is drawn by counting those below a uniform number.
        reach = np.cumsum(weight, axis=1)
        self.near_NK = near_NK
        self._near_NK = torch.from_numpy(near_NK.astype(np.int32)).to(compute.device)
        self._reach_NK = torch.from_numpy((reach / reach[:, -1:]).astype(np.float32)).to(compute.device)

    def walk(self, start_B: Tensor, longest: int, generator: torch.Generator) -> Tensor:
        """Walk from each row, 1 to ``longest`` steps; return the ends of the walks, int64[B].

        Every number of steps is equally likely.
        """
        device = self._near_NK.device
        at_B = end_B = start_B.to(device)
        steps_B = torch.randint(1, longest + 1, at_B.shape, generator=generator, device=device)
        for step in range(1, longest + 1):
            draw_B1 = torch.rand((len(at_B), 1), generator=generator, device=device)
            # Clamped, as rounding may leave the last cumulated weight just below 1.
            edge_B1 = (self._reach_NK[at_B] <= draw_B1).sum(1, keepdim=True).clamp(max=self._near_NK.shape[1] - 1)
            at_B = self._near_NK[at_B].gather(1, edge_B1)[:, 0].long()
            # All walks go on to the longest length; each keeps the place where it was to stop. Equal work suits a GPU.
            end_B = torch.where(steps_B == step, at_B, end_B)
        return end_B

    def walk_all(self, longest: int, generator: torch.Generator) -> Tensor:
        """Walk from every row, as :meth:`walk` does; return the ends, int64[N]."""
        all_N = torch.arange(len(self._near_NK), device=self._near_NK.device)
        parts = [all_N[start : start + WALKED] for start in range(0, len(all_N), WALKED)]
        return torch.cat([self.walk(start_B, longest, generator) for start_B in parts])

    def longest(self, features_NF: NDArray[np.float32], resemblance: float) -> int:
        """Return the most steps of walks whose ends resemble their starts, 1 to :data:`LONGEST`.

        Resemblance is the mean cosine between start and end over walks of 1 to that many steps, relative to the one of
        single steps.

        Args:
            features_NF: of unit length.
            resemblance: the least; 1 for neighbours, 0 for rows that have nothing in common.
        """
        # A fixed seed: how far walks go is a fact about the data, not a draw of this training.
        generator = torch.Generator(self._near_NK.device).manual_seed(0)
        start = np.linspace(0, len(features_NF) - 1, min(len(features_NF), SAMPLED)).astype(np.int64)
        at_B, cosines = torch.from_numpy(start).to(self._near_NK.device), []
        for _ in range(LONGEST):
            at_B = self.walk(at_B, 1, generator)
            cosines.append(float((features_NF[start] * features_NF[at_B.cpu().numpy()]).sum(1).mean()))
        mean = np.cumsum(cosines) / np.arange(1, LONGEST + 1)
        # The running minimum makes the curve fall, so noise in it cannot lengthen walks.
        return max(1, int((np.minimum.accumulate(mean) >= resemblance * mean[0]).sum()))
