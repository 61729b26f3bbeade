"""Baselines: ITQ, LSH, PCA-sign and spectral hashing on the same features.

A linear baseline is a mean and K axes: a bit is 1 where the projection of the centred row on its axis is positive.
Spectral hashing cuts its axes more than once. Baselines are fitted on a :class:`FitSample`: at most 100,000 rows, fewer
of very wide rows or for very long codes, read block by block, so the features may be memory-mapped. The sample also
finds the principal axes once for all baselines.

Legend: N rows, D features, K bits, n sampled rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
ITQ_ITERATIONS = 50


class Baseline(Protocol):
    """A fitted baseline of any kind."""

    @property
    def name(self) -> str:
        """The name in tables."""

    def codes(self, features: Features) -> BitCodes:
        """Return the codes of uint8 or float [N, D].

        Raises:
            CodeError: another number of features, or a value that is not finite.
        """

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return what :func:`of_arrays` makes an equal one of."""

    @property
    def mean(self) -> NDArray[np.float64]:
        """Subtracted from each row, float64[D]."""

    def check(self, features: Features) -> None:
        """Raise CodeError where rows have other features than it was fitted on."""

    def bits(self, block: Matrix) -> NDArray[np.bool_]:
        """Return the bits of centred rows, bool[b, K]."""


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """A fitted linear baseline.

    Attributes:
        name: ``lsh``, ``pca-sign`` or ``itq``; ``spectral`` where it is a part of :class:`Waves`.
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
        return codes_of([self], features)[0]

    def check(self, features: Features) -> None:
        """Check that rows have the features that it was fitted on.

        Raises:
            CodeError: they have not.
        """
        check_matrix(features)
        if features.shape[1] != len(self.mean):
            raise CodeError(f"{self.name} was fitted on {len(self.mean)} features, these rows have {features.shape[1]}")

    def bits(self, block: Matrix) -> NDArray[np.bool_]:
        """Return the bits of centred rows, bool[b, K]."""
        found: NDArray[np.bool_] = block @ self.axes > 0
        return found

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return what :func:`of_arrays` makes an equal one of."""
        return {"mean": self.mean, "axes": self.axes}


@dataclass(frozen=True, slots=True, eq=False)
class Waves:
    """Fitted spectral hashing: a bit is the sign of a cosine along one principal axis.

    Attributes:
        projection: the principal axes.
        low: float32[P], the smallest value of the data along each axis.
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
        return codes_of([self], features)[0]

    @property
    def mean(self) -> NDArray[np.float64]:
        """Subtracted from each row, float64[D]."""
        return self.projection.mean

    def check(self, features: Features) -> None:
        """Check that rows have the features that it was fitted on; see :meth:`Projection.check`."""
        self.projection.check(features)

    def bits(self, block: Matrix) -> NDArray[np.bool_]:
        """Return the bits of centred rows, bool[b, K]."""
        along = block @ self.projection.axes - self.low
        found: NDArray[np.bool_] = np.cos(along[:, self.axis] * self.frequency) > 0
        return found

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return what :func:`of_arrays` makes an equal one of."""
        return self.projection.arrays() | {"low": self.low, "axis": self.axis, "frequency": self.frequency}


def codes_of(fitted: Sequence[Baseline], features: Features) -> list[BitCodes]:
    """Return the codes of uint8 or float [N, D] by several baselines.

    Rows are read and centred once for all baselines of one mean, as those of one :class:`FitSample` are.

    Raises:
        CodeError: another number of features, or a value that is not finite.
    """
    of_mean: dict[bytes, list[int]] = {}
    for number, one in enumerate(fitted):
        one.check(features)
        of_mean.setdefault(one.mean.tobytes(), []).append(number)
    parts: list[list[BitCodes]] = [[] for _ in fitted]
    for numbers in of_mean.values():
        for rows in centred(features, fitted[numbers[0]].mean):
            for number in numbers:
                parts[number].append(BitCodes.from_bits(fitted[number].bits(rows)))
    return [concatenate(found) for found in parts]


def of_arrays(name: str, arrays: Mapping[str, NDArray[Any]]) -> Baseline:
    """Make a baseline from the output of :meth:`Baseline.arrays`.

    Raises:
        KeyError: an array is missing.
    """
    projection = Projection(name, arrays["mean"], arrays["axes"])
    if "frequency" not in arrays:
        return projection
    return Waves(projection, arrays["low"], arrays["axis"], arrays["frequency"])


class Fit(Protocol):
    """A function that fits a baseline."""

    def __call__(self, features: Features, n_bits: int, seed: int, sample: FitSample | None = None) -> Baseline:
        """Return the fitted baseline; see :func:`fit_itq`."""


def fit_itq(features: Features, n_bits: int, seed: int, sample: FitSample | None = None) -> Projection:
    """Fit iterative quantisation, 50 iterations (Gong & Lazebnik, CVPR 2011).

    The K leading principal components are rotated so that they lie close to the corners of a cube.

    Args:
        features: uint8 or float [N, D].
        n_bits: K <= D.
        seed: of the sampled rows and of the first rotation.
        sample: the sampled rows, if they exist already.

    Raises:
        CodeError: more bits than features, or features that are not a finite matrix.
    """
    _check_width("ITQ", features, n_bits)
    sample = sample or FitSample(features, n_bits, seed)
    rotation = itq_rotation(sample.projected(), np.random.default_rng(seed))
    return Projection("itq", sample.mean, sample.axes @ rotation)


def fit_lsh(features: Features, n_bits: int, seed: int, sample: FitSample | None = None) -> Projection:
    """Fit random hyperplanes through the mean (Charikar, STOC 2002); any number of bits.

    Args:
        features: uint8 or float [N, D].
        n_bits: K.
        seed: of the sampled rows and of the hyperplanes.
        sample: the sampled rows, if they exist already.

    Raises:
        CodeError: features that are not a finite matrix.
    """
    sample = sample or FitSample(features, n_bits, seed)
    axes = np.random.default_rng(seed).standard_normal((len(sample.mean), n_bits)).astype(np.float32)
    return Projection("lsh", sample.mean, axes)


def fit_pca_sign(features: Features, n_bits: int, seed: int, sample: FitSample | None = None) -> Projection:
    """Fit the K leading principal axes; a bit is the sign of a component.

    Args:
        features: uint8 or float [N, D].
        n_bits: K <= D.
        seed: of the sampled rows.
        sample: the sampled rows, if they exist already.

    Raises:
        CodeError: more bits than features, or features that are not a finite matrix.
    """
    _check_width("PCA-sign", features, n_bits)
    sample = sample or FitSample(features, n_bits, seed)
    return Projection("pca-sign", sample.mean, sample.axes)


def fit_spectral(features: Features, n_bits: int, seed: int, sample: FitSample | None = None) -> Waves:
    """Fit spectral hashing (Weiss, Torralba & Fergus, NIPS 2008); any number of bits.

    The data are assumed to fill a box along their principal axes. The bits are the smoothest functions on the box:
    cosines along its sides, of which a longer side has more and slower ones.

    Args:
        features: uint8 or float [N, D].
        n_bits: K; the axes are the leading min(K, D).
        seed: of the sampled rows.
        sample: the sampled rows, if they exist already.

    Raises:
        CodeError: features that are not a finite matrix.
    """
    sample = sample or FitSample(features, n_bits, seed)
    along = sample.projected()
    low, high = along.min(axis=0), along.max(axis=0)
    slowest = np.pi / np.maximum(high - low, np.finfo(np.float32).tiny)
    # Candidates: the first K multiples of the slowest wave of each axis. The slowest K of all candidates are taken.
    candidates = np.outer(np.arange(1, n_bits + 1), slowest)
    chosen = np.argsort(candidates, axis=None, kind="stable")[:n_bits]
    axis = (chosen % len(slowest)).astype(np.int64)
    # An axis along which all rows are equal has no slow wave, and may have none that float32 can say.
    frequency = candidates.ravel()[chosen].clip(max=float(np.finfo(np.float32).max)).astype(np.float32)
    return Waves(Projection("spectral", sample.mean, sample.axes), low, axis, frequency)


def itq_rotation(components: Matrix, rng: np.random.Generator, *, iterations: int = ITQ_ITERATIONS) -> Matrix:
    """Return ITQ's rotation, float32[K, K]: take signs, solve Procrustes, in turn.

    Args:
        components: float32[n, K], centred.
        rng: for the first rotation.
        iterations: number of turns.
    """
    n_bits = components.shape[1]
    rotation = np.linalg.qr(rng.standard_normal((n_bits, n_bits)))[0].astype(np.float32)
    for _ in range(iterations):
        signs = np.where(components @ rotation > 0, np.float32(1), np.float32(-1))
        left, _, right = np.linalg.svd(components.T @ signs)
        rotation = left @ right
    return rotation


BASELINES: Mapping[str, Fit] = MappingProxyType(
    {"itq": fit_itq, "lsh": fit_lsh, "pca-sign": fit_pca_sign, "spectral": fit_spectral}
)


class FitSample:
    """The sampled rows of a fit, with their mean and principal axes.

    Args:
        features: uint8 or float [N, D]; rows are sampled without replacement, or all taken where they are few.
        n_bits: K.
        seed: of the sample.

    Raises:
        CodeError: features that are not a matrix; and, when they are read, values that are not finite.
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
        """The mean of the rows, float64[D]."""
        total = np.zeros(self._features.shape[1])
        for _, block in feature_blocks(self._features, self._rows):
            total += block.sum(axis=0)
        return total / self._count

    @cached_property
    def axes(self) -> Matrix:
        """The leading min(K, D) principal axes, float32[D, min(K, D)], largest variance first."""
        n_features = len(self.mean)
        if n_features > DENSE_FEATURES:
            return _subspace_axes(self, self._n_axes, self._seed)
        covariance = np.zeros((n_features, n_features))
        for block in self.centred():
            covariance += block.T @ block
        # eigh returns eigenvalues in ascending order.
        return np.linalg.eigh(covariance)[1][:, ::-1][:, : self._n_axes].astype(np.float32)

    def centred(self) -> Iterator[Matrix]:
        """Yield the rows minus their mean, float32[b, D]."""
        return centred(self._features, self.mean, self._rows)

    def projected(self) -> Matrix:
        """Return the centred rows' projections on the axes, float32[n, min(K, D)]."""
        return np.concatenate([block @ self.axes for block in self.centred()])


def fitting_rows(n_rows: int, n_features: int, n_bits: int) -> int:
    """Return the number of rows that a fit samples."""
    return max(1, min(n_rows, FIT_ROWS, FIT_VALUES // n_features, ROTATION_VALUES // n_bits))


def centred(features: Features, mean: NDArray[np.float64], rows: NDArray[np.int64] | None = None) -> Iterator[Matrix]:
    """Yield rows minus the mean, float32[b, D]."""
    for _, block in feature_blocks(features, rows):
        # A block of float64 features is a view of them, so never subtract in place.
        yield (block - mean).astype(np.float32)


def _subspace_axes(sample: FitSample, n_axes: int, seed: int) -> Matrix:
    """Return the leading axes by randomised subspace iteration.

    Source: Halko, Martinsson & Tropp, SIAM Review 2011.
    """
    n_features = len(sample.mean)
    width = min(n_axes + OVERSAMPLING, n_features)
    basis = np.random.default_rng(seed).standard_normal((n_features, width)).astype(np.float32)
    for _ in range(POWER_ITERATIONS + 1):
        basis = np.linalg.qr(basis)[0]
        image = np.zeros((n_features, width))
        for block in sample.centred():
            image += block.T @ (block @ basis)
        previous, basis = basis, image.astype(np.float32)
    # Rayleigh-Ritz: the eigenvectors of the covariance restricted to the last basis.
    inner = previous.T.astype(np.float64) @ image
    turn = np.linalg.eigh((inner + inner.T) / 2)[1][:, ::-1][:, :n_axes]
    return previous @ turn.astype(np.float32)


def _check_width(method: str, features: Features, n_bits: int) -> None:
    """Check that there is a principal axis for each bit."""
    check_matrix(features)
    if n_bits > features.shape[1]:
        raise CodeError(
            f"{method} takes one bit per principal axis: {features.shape[1]} features give no {n_bits} bits"
        )
