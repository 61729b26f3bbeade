"""The rows that baselines are fitted on, and their principal axes, found once for all that are made of them.

Legend: N rows, D features, K bits, n rows drawn.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from aepipe.evaluate.floats import Features, check_matrix, feature_blocks

Matrix: TypeAlias = NDArray[np.float32]

FIT_ROWS = 100_000
FIT_VALUES = 1 << 28
"""Most values of the sample: wider rows than 2,684 features mean fewer of them."""
ROTATION_VALUES = 1 << 25
"""Most projected values in the fit of ITQ, 128 MB: longer codes than 335 bits mean fewer rows."""
DENSE_FEATURES = 2048
"""Up to this width the covariance is formed; above, its leading axes are found by subspace iteration."""
OVERSAMPLING, POWER_ITERATIONS = 16, 4


def fitting_rows(n_rows: int, n_features: int, n_bits: int) -> int:
    """Return how many of N rows a fit uses."""
    return max(1, min(n_rows, FIT_ROWS, FIT_VALUES // n_features, ROTATION_VALUES // n_bits))


class Drawn:
    """The rows of a fit, and what several baselines make of them; found when it is first needed.

    Args:
        features: uint8 or float [N, D]; rows are drawn without replacement, all of them where they are few enough.
        n_bits: K.
        seed: of the draw.

    Raises:
        CodeError: features that are no matrix; when they are read, values that are not finite.
    """

    def __init__(self, features: Features, n_bits: int, seed: int) -> None:
        check_matrix(features)
        n_rows, n_features = features.shape
        self._count = fitting_rows(n_rows, n_features, n_bits)
        rng = np.random.default_rng(seed)
        self._rows = None if self._count == n_rows else np.sort(rng.choice(n_rows, self._count, replace=False))
        self._features, self._n_axes, self._seed = features, min(n_bits, n_features), seed

    @cached_property
    def mean(self) -> NDArray[np.float64]:
        """Mean of the rows, float64[D]."""
        total = np.zeros(self._features.shape[1])
        for _, block in feature_blocks(self._features, self._rows):
            total += block.sum(axis=0)
        return total / self._count

    @cached_property
    def axes(self) -> Matrix:
        """The leading min(K, D) principal axes, float32[D, min(K, D)], the largest variance first."""
        n_features = len(self.mean)
        if n_features > DENSE_FEATURES:
            return _subspace_axes(self, self._n_axes, self._seed)
        covariance = np.zeros((n_features, n_features))
        for block in self.centred():
            covariance += block.T @ block
        # eigh returns ascending eigenvalues.
        return np.linalg.eigh(covariance)[1][:, ::-1][:, : self._n_axes].astype(np.float32)

    def centred(self) -> Iterator[Matrix]:
        """Yield the rows less their mean, float32[b, D]."""
        return centred(self._features, self.mean, self._rows)

    def projected(self) -> Matrix:
        """Return the centred rows' projections on the axes, float32[n, min(K, D)]."""
        return np.concatenate([block @ self.axes for block in self.centred()])


def centred(features: Features, mean: NDArray[np.float64], rows: NDArray[np.int64] | None = None) -> Iterator[Matrix]:
    """Yield rows less the mean, float32[b, D]."""
    for _, block in feature_blocks(features, rows):
        # A block of float64 features is a view of them: never subtract in place.
        yield (block - mean).astype(np.float32)


def _subspace_axes(drawn: Drawn, n_axes: int, seed: int) -> Matrix:
    """Return the leading axes by randomised subspace iteration (Halko, Martinsson & Tropp, SIAM Review 2011)."""
    n_features = len(drawn.mean)
    width = min(n_axes + OVERSAMPLING, n_features)
    basis = np.random.default_rng(seed).standard_normal((n_features, width)).astype(np.float32)
    for _ in range(POWER_ITERATIONS + 1):
        basis = np.linalg.qr(basis)[0]
        image = np.zeros((n_features, width))
        for block in drawn.centred():
            image += block.T @ (block @ basis)
        previous, basis = basis, image.astype(np.float32)
    # Rayleigh-Ritz: the eigenvectors of the covariance seen inside the last basis.
    inner = previous.T.astype(np.float64) @ image
    turn = np.linalg.eigh((inner + inner.T) / 2)[1][:, ::-1][:, :n_axes]
    return previous @ turn.astype(np.float32)
