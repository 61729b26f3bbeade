"""Do two samples come from one distribution? The kernel two-sample test, by permutation.

Source: Gretton et al., "A Kernel Two-Sample Test", JMLR 2012.

Legend: N and M rows of the two samples, D features.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class TwoSample(NamedTuple):
    """Outcome of the test.

    Attributes:
        statistic: squared maximum mean discrepancy, unbiased; around zero for equal distributions.
        p_value: share of random divisions of both samples together whose statistic is at least as large.
    """

    statistic: float
    p_value: float


def two_sample(x_ND: Tensor, y_MD: Tensor, *, generator: torch.Generator, permutations: int = 200) -> TwoSample:
    """Test whether two samples come from one distribution; its cost is quadratic in their size.

    The kernel is a sum of Gaussians around the median distance, so that no scale has to be guessed.

    Args:
        x_ND: float[N, D], N at least 2.
        y_MD: float[M, D], M at least 2.
        generator: of the permutations, on the CPU.
        permutations: how many; the smallest p-value is one over one more.
    """
    both = torch.cat([x_ND, y_MD]).flatten(1).double().cpu()
    kernel = _kernel(both)
    n = len(x_ND)
    found = _statistic(kernel, n)
    beyond = 0
    for _ in range(permutations):
        order = torch.randperm(len(both), generator=generator)
        beyond += bool(_statistic(kernel[order][:, order], n) >= found)
    return TwoSample(float(found), (beyond + 1) / (permutations + 1))


def _kernel(both: Tensor) -> Tensor:
    squared = torch.cdist(both, both).square()
    width = squared[~torch.eye(len(both), dtype=torch.bool)].median().clamp(min=1e-12)
    return torch.stack([torch.exp(-squared / (scale * width)) for scale in (0.25, 1.0, 4.0)]).sum(0)


def _statistic(kernel: Tensor, n: int) -> Tensor:
    """Return the unbiased statistic, the first n rows against the others."""
    m = len(kernel) - n
    within_x = (kernel[:n, :n].sum() - kernel[:n, :n].diagonal().sum()) / (n * (n - 1))
    within_y = (kernel[n:, n:].sum() - kernel[n:, n:].diagonal().sum()) / (m * (m - 1))
    return within_x + within_y - 2 * kernel[:n, n:].mean()
