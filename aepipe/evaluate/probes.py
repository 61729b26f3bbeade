"""Probes: how much of the classes and of the rows themselves a representation holds.

A linear classifier and k-means measure the classes, and the reconstruction error measures the rows. Labels are used
here and never in training. :data:`FIGURES` names the figures by which recipes are compared. scikit-learn is imported
inside the functions, so that only they wait for it.

Legend: N rows, D cells of a row, H width of a representation, K bits.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from aepipe.codes.encoder import scaled
from aepipe.errors import CodeError
from aepipe.evaluate.baselines import DENSE_FEATURES
from aepipe.evaluate.relevance import Labels

FIGURES = (
    "reconstruction_bits", "reconstruction_float", "reconstruction_pca", "reconstruction_pca_30",
    "held_out_map_at_1000", "map", "map_at_1000", "p_at_100", "recall_at_10", "walk_map", "entropy", "distinct_share",
    "dead_bits",
    "probe_embedding", "probe_bits", "nmi_bits", "seconds", "parameters", "width", "epochs", "best_epoch",
)  # fmt: skip
"""Names of the figures. Reconstructions are squared errors of a row, summed over its cells as the network sees them."""
RETRIEVAL = ("map", "map_at_1000", "p_at_100", "recall_at_10", "walk_map")

PENALTY = 100.0
"""Weight of the probe's squared weights: strong enough that the fit converges in a few seconds."""
PROBE_STEPS, PROBE_TOLERANCE = 300, 3e-4
RESTARTS = 4
"""Restarts of k-means; the tightest clusters count."""

Matrix = NDArray[np.generic]
Floats = NDArray[np.float32]


@dataclass(slots=True)
class Figures:
    """Figures by name, and the reasons why some are missing."""

    found: dict[str, float] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, measured: Callable[[], float]) -> None:
        """Measure a figure, or note why it cannot be measured on these rows."""
        try:
            self.found[name] = measured()
        except CodeError as error:
            self.notes[name] = str(error)

    def leave_out(self, why: str, *names: str) -> None:
        """Note why some figures are missing."""
        self.notes |= dict.fromkeys(names, why)


def probe_accuracy(train: tuple[Matrix, Labels], test: tuple[Matrix, Labels]) -> float:
    """Return the accuracy of a linear classifier on the representation of test rows.

    A multinomial logistic regression is fitted on the training rows, with each unit standardised. Nothing is random.

    Args:
        train: real ``[N, H]`` and the N classes.
        test: the same of rows that the encoder was not trained on.

    Raises:
        CodeError: there are no test rows, or the training rows have fewer than two classes.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    if not len(test[1]):
        raise CodeError("a probe needs test rows: there are none")
    classes = len(np.unique(train[1]))
    if classes < 2:
        raise CodeError(f"a probe needs training rows of 2 classes at least: there {_are(classes, 'class', 'classes')}")
    known, asked = _standardized(train[0], test[0])
    model = LogisticRegression(C=1 / PENALTY, max_iter=PROBE_STEPS, tol=PROBE_TOLERANCE)
    with warnings.catch_warnings():
        # A fit that stops before it converges is still a classifier, and the same in every run.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(known, train[1])
    return float(np.mean(model.predict(asked) == test[1]))


def cluster_nmi(rows: Matrix, labels: Labels, *, seed: int) -> float:
    """Return the normalised mutual information of clusters and classes, 0 to 1.

    k-means with one cluster for each class; the mutual information of both partitions is divided by the mean of their
    entropies (Strehl and Ghosh, "Cluster Ensembles", JMLR 2002, who take the geometric mean).

    Args:
        rows: real ``[N, H]``; bits as 0 and 1, whose squared Euclidean distance is the Hamming distance.
        labels: N classes.
        seed: of the first centres.

    Raises:
        CodeError: the rows have fewer than two classes.
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.metrics import normalized_mutual_info_score

    classes = len(np.unique(labels))
    if classes < 2:
        raise CodeError(f"clusters are compared with 2 classes at least: there {_are(classes, 'class', 'classes')}")
    with warnings.catch_warnings():
        # With fewer distinct codes than classes there are fewer clusters, which is a valid result.
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = KMeans(classes, n_init=RESTARTS, random_state=seed).fit_predict(np.asarray(rows, np.float32))
    return float(normalized_mutual_info_score(labels, found))


def pca_errors(train: Matrix, test: Matrix, components: Sequence[int], *, seed: int) -> list[float]:
    """Return the mean squared error of rows rebuilt from principal components.

    Args:
        train: real ``[N, D]``, the rows that the components are computed from.
        test: real ``[M, D]``, the rows to rebuild.
        components: the numbers of components, each at least 1 and below N and D.
        seed: of the randomised solver that is used for more than 2,048 cells.

    Raises:
        CodeError: more components than N or D allow.
    """
    most = max(components)
    if most >= min(train.shape):
        raise CodeError(f"{most} components of {train.shape[0]:,} rows and {train.shape[1]:,} cells: fewer are needed")
    mean, axes_DC = _principal(np.asarray(train, np.float32), most, seed)
    centred = np.asarray(test, np.float32) - mean
    parts = centred @ axes_DC
    whole = float(np.square(centred, dtype=np.float64).sum(1).mean())
    # The components are orthonormal, so the error is the energy of the row minus that of the kept components.
    held = np.cumsum(np.square(parts, dtype=np.float64).mean(0))
    return [max(0.0, whole - float(held[count - 1])) for count in components]


def _principal(rows: Floats, count: int, seed: int) -> tuple[Floats, Floats]:
    """Return the mean, float32[D], and the leading principal axes, float32[D, count]."""
    if rows.shape[1] > DENSE_FEATURES:
        from sklearn.decomposition import PCA

        found = PCA(count, random_state=seed).fit(rows)
        return found.mean_, found.components_.T
    mean = rows.mean(0, dtype=np.float64)
    centred = rows - mean
    axes_DD = np.linalg.eigh(centred.T @ centred)[1]
    return mean.astype(np.float32), axes_DD[:, ::-1][:, :count].astype(np.float32)


def squared_errors(rows: Matrix, rebuilt: Matrix) -> NDArray[np.float64]:
    """Return the squared error of each row, float64[N]; missing cells (NaN) do not count.

    Args:
        rows: ``[N, *shape]``, uint8, which is scaled to 0..1, or float.
        rebuilt: float ``[N, *shape]``.
    """
    seen, told = (one.astype(np.float64).reshape(len(rows), -1) for one in (scaled(rows), rebuilt))
    total: NDArray[np.float64] = np.nansum(np.square(seen - told), axis=1)
    return total


def plane(features: NDArray[np.floating], *, seed: int = 0) -> NDArray[np.float32]:
    """Project rows to a plane so that neighbours stay near each other, float32[N, 2], by t-SNE.

    Source: van der Maaten and Hinton, "Visualizing Data using t-SNE", JMLR 2008, by scikit-learn: of 64-bit codes of
    Fashion-MNIST it keeps as many of the ten neighbours as openTSNE (0.65), more than UMAP (0.56) and PaCMAP (0.49),
    and it needs no further package (``python -m benchmarks.quality.plane``).

    Args:
        features: float[N, D], of at most a few thousand rows.
        seed: of the descent.
    """
    from sklearn.manifold import TSNE

    rows = features.astype(np.float32)
    # Of equal rows the descent would start from nothing but NaN, and scikit-learn's tree dies of that.
    if len(rows) < 4 or not (rows != rows[0]).any():
        return np.zeros((len(rows), 2), np.float32)
    if rows.shape[1] == 1:  # it starts from two principal components
        rows = np.pad(rows, ((0, 0), (0, 1)))
    perplexity = min(30.0, (len(features) - 1) / 3)
    made = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(rows)
    return np.asarray(made, np.float32)


def _standardized(train: Matrix, test: Matrix) -> tuple[Floats, Floats]:
    """Scale both to mean 0 and variance 1 over the training rows; a constant unit becomes 0."""
    fitted = np.asarray(train, np.float32)
    mean, deviation = fitted.mean(0, dtype=np.float64), fitted.std(0, dtype=np.float64)
    scale = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=deviation > 1e-12 * (1 + np.abs(mean)))
    known, asked = ((np.asarray(one, np.float32) - mean) * scale for one in (train, test))
    return known.astype(np.float32), asked.astype(np.float32)


def _are(count: int, one: str, many: str) -> str:
    return f"is 1 {one}" if count == 1 else f"are {count} {many}"
