"""Principal components of rows: the solution of a linear autoencoder, in closed form.

Source: Baldi and Hornik, "Neural Networks and Principal Component Analysis", 1989; for wide rows, the randomised
subspace iteration of Halko, Martinsson and Tropp, SIAM Review 2011.

Legend: N rows, D cells of a row, F components.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from aepipe.learn.batches import Feed

WIDEST = 4096
"""Cells of a row up to which the covariance is formed; beyond, D x D numbers take too much memory."""
OVERSAMPLING, ITERATIONS = 16, 4
LEAST = 1e-6
"""Share of the largest variance below which a component is rounding error."""


@dataclass(frozen=True, slots=True)
class Components:
    """The leading principal components of rows, the largest variance first.

    Attributes:
        mean: float[D], of the rows.
        axes: float[D, F], orthonormal.
        variance: float[F], along each.
    """

    mean: Tensor
    axes: Tensor
    variance: Tensor

    @classmethod
    def of(cls, rows: Feed, count: int) -> Components:
        """Find the components of rows, on their device; rows are read several times, in blocks.

        Args:
            rows: N of them; missing cells count as zero.
            count: F, at most D.
        """
        width = math.prod(rows.shape)
        # float64: sums over many rows lose digits in float32.
        mean_D = torch.stack([block.double().sum(0) for block in _flat(rows)]).sum(0) / len(rows)
        if width <= WIDEST:
            covariance_DD = torch.stack([_spread(block - mean_D.float()) for block in _flat(rows)]).sum(0) / len(rows)
            variance_D, axes_DD = _decomposed(covariance_DD)
            return cls(mean_D.float(), axes_DD[:, :count].float(), variance_D[:count].float())
        return cls(mean_D.float(), *_iterated(rows, mean_D.float(), count))

    def scale(self, whiten: float) -> Tensor:
        """Return factors that divide each component by its standard deviation to a power, [F].

        Components without variance get zero: rounding errors must not be blown up.
        """
        there = self.variance > LEAST * self.variance[0]
        # Clamped first: `where` computes both sides, and a power of zero would give infinities.
        return torch.where(there, self.variance.clamp(min=1e-12).pow(-0.5 * whiten), 0.0)

    def blocks(self, rows: Feed, whiten: float) -> Iterator[Tensor]:
        """Yield the components of rows, float32[b, F]; see :meth:`scale`."""
        axes_DF = self.axes * self.scale(whiten)
        yield from ((block - self.mean) @ axes_DF for block in _flat(rows))


def _flat(rows: Feed) -> Iterator[Tensor]:
    yield from (torch.nan_to_num(block.flatten(1), nan=0.0) for block in rows.blocks())


def _spread(centred_BD: Tensor) -> Tensor:
    # Summed in float64: many small blocks would lose digits in float32.
    return (centred_BD.T @ centred_BD).double()


def _decomposed(covariance_DD: Tensor) -> tuple[Tensor, Tensor]:
    """Return variances and axes of a covariance, the largest variance first."""
    try:
        variance_D, axes_DD = torch.linalg.eigh(covariance_DD)
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]  # its stubs lack it
        # Of few wide rows most variances are zero, where the usual way may not converge. The singular values of a
        # covariance are its variances.
        axes_DD, variance_D, _ = torch.linalg.svd(covariance_DD)
        return variance_D, axes_DD
    return variance_D.flip(0), axes_DD.flip(1)


def _iterated(rows: Feed, mean_D: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return axes and variances of wide rows."""
    # On the CPU with a fixed seed: the same start on every device, so the components are those of the data.
    generator = torch.Generator().manual_seed(0)
    width = min(count + OVERSAMPLING, len(mean_D))
    basis_DF = torch.randn((len(mean_D), width), generator=generator).to(mean_D.device)
    for _ in range(ITERATIONS + 1):
        # Orthonormal again before each pass: without it, all columns would turn to the first component.
        basis_DF = torch.linalg.qr(basis_DF).Q
        image_DF = torch.zeros_like(basis_DF)
        for block in _flat(rows):
            centred_BD = block - mean_D
            image_DF += centred_BD.T @ (centred_BD @ basis_DF)
        before_DF, basis_DF = basis_DF, image_DF
    # Rayleigh-Ritz: the eigenvectors of the covariance seen inside the last basis.
    inner_FF = (before_DF.T.double() @ image_DF.double()) / len(rows)
    variance_F, turn_FF = _decomposed((inner_FF + inner_FF.T) / 2)
    return before_DF @ turn_FF[:, :count].float(), variance_F[:count].float()
