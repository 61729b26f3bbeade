"""Linear baselines at the same number of bits: what a learned encoder has to beat on the same features.

Legend: N rows, D features, K bits. Each is a mean and axes; a bit is 1 where the centred row's projection on its axis
is positive; spectral hashing cuts its axes more than once. They are fitted on at most 100,000 rows drawn by the seed
(fewer where rows are very wide or codes very long, see :mod:`aepipe.evaluate.baselines`), block by block, so a million
memory-mapped rows do no harm.
"""

# (from drawn.py) The rows that baselines are fitted on, and their principal axes, found once for all that are made of them.
# (from drawn.py)
# (from drawn.py) Legend: N rows, D features, K bits, n rows drawn.

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from aepipe.codes.bitcodes import BitCodes, concatenate
from aepipe.errors import CodeError
from aepipe.evaluate.exact_search import Features, check_matrix, feature_blocks

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


class FitSample:
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


def _subspace_axes(drawn: FitSample, n_axes: int, seed: int) -> Matrix:
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


ITQ_ITERATIONS = 50


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """A fitted baseline.

    Attributes:
        name: ``lsh``, ``pca-sign``, ``itq`` or, as a part of it, ``spectral``.
        mean: float64[D], subtracted from each row.
        axes: float32[D, K].
    """

    name: str
    mean: NDArray[np.float64]
    axes: Matrix

    def codes(self, features: Features) -> BitCodes:
        """Return the codes of uint8 or float [N, D].

        Raises:
            CodeError: another number of features, or a value that is not finite.
        """
        return concatenate(BitCodes.from_bits(block > 0) for block in self.blocks(features))

    def blocks(self, features: Features) -> Iterator[Matrix]:
        """Yield the projections of rows, float32[b, K].

        Raises:
            CodeError: as :meth:`codes`.
        """
        check_matrix(features)
        if features.shape[1] != len(self.mean):
            raise CodeError(f"{self.name} was fitted on {len(self.mean)} features, these rows have {features.shape[1]}")
        yield from (block @ self.axes for block in centred(features, self.mean))

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return what :func:`of_arrays` makes an equal one of."""
        return {"mean": self.mean, "axes": self.axes}


@dataclass(frozen=True, slots=True, eq=False)
class Waves:
    """Fitted spectral hashing: a bit is the sign of a cosine along one principal axis.

    Attributes:
        projection: the principal axes.
        low: float32[P], where the data begin along each axis.
        axis: int64[K], the axis of each bit.
        frequency: float32[K], radians per unit.
    """

    projection: Projection
    low: Matrix
    axis: NDArray[np.int64]
    frequency: Matrix

    @property
    def name(self) -> str:
        """``spectral``."""
        return self.projection.name

    def codes(self, features: Features) -> BitCodes:
        """Return the codes; see :meth:`Projection.codes`.

        Raises:
            CodeError: another number of features, or a value that is not finite.
        """
        parts = self.projection.blocks(features)
        return concatenate(
            BitCodes.from_bits(np.cos((part - self.low)[:, self.axis] * self.frequency) > 0) for part in parts
        )

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return what :func:`of_arrays` makes an equal one of."""
        return self.projection.arrays() | {"low": self.low, "axis": self.axis, "frequency": self.frequency}


class Baseline(Protocol):
    """What every fitted baseline can do."""

    @property
    def name(self) -> str:
        """Its name in tables."""

    def codes(self, features: Features) -> BitCodes:
        """Return the codes of uint8 or float [N, D].

        Raises:
            CodeError: another number of features, or a value that is not finite.
        """

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return what :func:`of_arrays` makes an equal one of."""


def of_arrays(name: str, arrays: Mapping[str, NDArray[Any]]) -> Baseline:
    """Return the baseline of that name whose arrays these are.

    Raises:
        KeyError: one is missing.
    """
    projection = Projection(name, arrays["mean"], arrays["axes"])
    if "frequency" not in arrays:
        return projection
    return Waves(projection, arrays["low"], arrays["axis"], arrays["frequency"])


class Fit(Protocol):
    """How a baseline is fitted."""

    def __call__(self, features: Features, n_bits: int, seed: int, drawn: FitSample | None = None) -> Baseline:
        """Return the fitted one; see :func:`fit_itq`."""


def fit_lsh(features: Features, n_bits: int, seed: int, drawn: FitSample | None = None) -> Projection:
    """Fit random hyperplanes through the mean (Charikar, STOC 2002); any number of bits.

    Args:
        features: uint8 or float [N, D].
        n_bits: K.
        seed: of the rows sampled and of the hyperplanes.
        drawn: the rows, where they are drawn already.

    Raises:
        CodeError: features that are not a finite matrix.
    """
    drawn = drawn or FitSample(features, n_bits, seed)
    axes = np.random.default_rng(seed).standard_normal((len(drawn.mean), n_bits)).astype(np.float32)
    return Projection("lsh", drawn.mean, axes)


def fit_pca_sign(features: Features, n_bits: int, seed: int, drawn: FitSample | None = None) -> Projection:
    """Fit the K leading principal axes; a bit is the sign of a component.

    Args:
        features: uint8 or float [N, D].
        n_bits: K <= D.
        seed: of the rows sampled.
        drawn: the rows, where they are drawn already.

    Raises:
        CodeError: more bits than features, or features that are not a finite matrix.
    """
    _check_width("PCA-sign", features, n_bits)
    drawn = drawn or FitSample(features, n_bits, seed)
    return Projection("pca-sign", drawn.mean, drawn.axes)


def itq_rotation(components: Matrix, rng: np.random.Generator, *, iterations: int = ITQ_ITERATIONS) -> Matrix:
    """Return ITQ's rotation, float32[K, K]: signs and the orthogonal Procrustes problem in turn.

    Args:
        components: float32[n, K], centred.
        rng: for the first rotation.
        iterations: how often both are solved.
    """
    n_bits = components.shape[1]
    rotation = np.linalg.qr(rng.standard_normal((n_bits, n_bits)))[0].astype(np.float32)
    for _ in range(iterations):
        signs = np.where(components @ rotation > 0, np.float32(1), np.float32(-1))
        left, _, right = np.linalg.svd(components.T @ signs)
        rotation = left @ right
    return rotation


def fit_itq(features: Features, n_bits: int, seed: int, drawn: FitSample | None = None) -> Projection:
    """Fit iterative quantisation, 50 iterations (Gong & Lazebnik, CVPR 2011).

    The K leading principal components are rotated so that they lie close to the corners of a cube.

    Args:
        features: uint8 or float [N, D].
        n_bits: K <= D.
        seed: of the rows sampled and of the first rotation.
        drawn: the rows, where they are drawn already.

    Raises:
        CodeError: more bits than features, or features that are not a finite matrix.
    """
    _check_width("ITQ", features, n_bits)
    drawn = drawn or FitSample(features, n_bits, seed)
    rotation = itq_rotation(drawn.projected(), np.random.default_rng(seed))
    return Projection("itq", drawn.mean, drawn.axes @ rotation)


def fit_spectral(features: Features, n_bits: int, seed: int, drawn: FitSample | None = None) -> Waves:
    """Fit spectral hashing (Weiss, Torralba & Fergus, NIPS 2008); any number of bits.

    The data are taken to fill a box along their principal axes. The smoothest functions on it, cosines of which a
    longer side has more and slower ones, are the bits.

    Args:
        features: uint8 or float [N, D].
        n_bits: K; the axes are the leading min(K, D).
        seed: of the rows sampled.
        drawn: the rows, where they are drawn already.

    Raises:
        CodeError: features that are not a finite matrix.
    """
    drawn = drawn or FitSample(features, n_bits, seed)
    along = drawn.projected()
    low, high = along.min(axis=0), along.max(axis=0)
    slowest = np.pi / np.maximum(high - low, np.finfo(np.float32).tiny)
    # Of each axis the first K multiples of its slowest wave are candidates; the slowest K of them all are taken.
    candidates = np.outer(np.arange(1, n_bits + 1), slowest)
    chosen = np.argsort(candidates, axis=None, kind="stable")[:n_bits]
    axis = (chosen % len(slowest)).astype(np.int64)
    frequency = candidates.ravel()[chosen].astype(np.float32)
    return Waves(Projection("spectral", drawn.mean, drawn.axes), low, axis, frequency)


BASELINES: Mapping[str, Fit] = MappingProxyType(
    {"itq": fit_itq, "lsh": fit_lsh, "pca-sign": fit_pca_sign, "spectral": fit_spectral}
)


def _check_width(method: str, features: Features, n_bits: int) -> None:
    """Check that there are as many principal axes as bits."""
    check_matrix(features)
    if n_bits > features.shape[1]:
        raise CodeError(
            f"{method} takes one bit per principal axis: {features.shape[1]} features give no {n_bits} bits"
        )
