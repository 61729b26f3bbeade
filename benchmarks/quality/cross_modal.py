"""Hashing of two modalities with one code, as papers have it: linear maps that are fitted on pairs.

Each method gives a real value for each bit on either side; a bit is its sign.

Legend: N pairs, F features, K bits.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from aepipe.evaluate.baselines import itq_rotation

Floats = NDArray[np.float64]
Sides = tuple[Floats, Floats]
"""What is done with rows of either modality: [F, K] for pictures and for texts, after the means are taken out."""

RIDGE = 1e-3
"""Share of the mean variance that is added to that of every direction."""
NEIGHBOURS = 10
"""Pictures that CVH takes for alike to one."""


def cca(pictures: Floats, texts: Floats, n_bits: int) -> Sides:
    """Canonical correlation analysis (Hotelling, 1936): the pairs of directions that agree best."""
    left, _, right, (first, second) = _canonical(pictures, texts)
    return first @ left[:, :n_bits], second @ right[:, :n_bits]


def itq_cca(pictures: Floats, texts: Floats, n_bits: int) -> Sides:
    """Canonical directions, weighed and rotated (Gong et al., "Iterative Quantization", 2013)."""
    left, agree, right, (first, second) = _canonical(pictures, texts)
    weights = agree[:n_bits]
    both = first @ (left[:, :n_bits] * weights), second @ (right[:, :n_bits] * weights)
    components = np.concatenate([_centred(pictures) @ both[0], _centred(texts) @ both[1]]).astype(np.float32)
    rotation = itq_rotation(components, np.random.default_rng(0)).astype(np.float64)
    return both[0] @ rotation, both[1] @ rotation


def cvh(pictures: Floats, texts: Floats, n_bits: int) -> Sides:
    """Kumar and Udupa, "Learning Hash Functions for Cross-View Similarity Search", 2011.

    Neighbours by pictures are alike in both modalities: codes of alike pairs differ little, in either and across.
    """
    x, z = _centred(pictures), _centred(texts)
    alike = _alike(pictures)
    degree = alike.sum(axis=1)
    within = 2 * (np.diag(degree) - alike) + np.diag(degree)
    x_within, z_within, across = x.T @ within @ x, z.T @ within @ z, x.T @ alike @ z
    costs = np.block([[x_within, -across], [-across.T, z_within]])
    width = x.shape[1]
    zeros = np.zeros((width, z.shape[1]))
    bounds = np.block([[_ridged(x.T @ x), zeros], [zeros.T, _ridged(z.T @ z)]])
    _, vectors = scipy.linalg.eigh(costs, bounds, subset_by_index=[0, n_bits - 1])
    return vectors[:width], vectors[width:]


def pca_rotation(pictures: Floats, texts: Floats, n_bits: int) -> Sides:
    """Principal components of both modalities together, rotated by ITQ, on both sides."""
    both = np.concatenate([_centred(pictures), _centred(texts)])
    _, vectors = np.linalg.eigh(both.T @ both)
    axes = vectors[:, ::-1][:, :n_bits]
    rotation = itq_rotation((both @ axes).astype(np.float32), np.random.default_rng(0)).astype(np.float64)
    return axes @ rotation, axes @ rotation


METHODS: dict[str, Callable[[Floats, Floats, int], Sides]] = {
    "CCA + sign": cca,
    "CVH": cvh,
    "ITQ-CCA": itq_cca,
    "PCA + rotation": pca_rotation,
}


def _canonical(pictures: Floats, texts: Floats) -> tuple[Floats, Floats, Floats, Sides]:
    """Return canonical directions of either side, how far they agree, and what makes either side white."""
    x, z = _centred(pictures), _centred(texts)
    white = _inverse_root(x.T @ x), _inverse_root(z.T @ z)
    left, agree, right = np.linalg.svd(white[0] @ (x.T @ z) @ white[1])
    return left, agree, right.T, white


def _alike(pictures: Floats) -> Floats:
    """Return which pictures are neighbours of each other, float64[N, N]; each is its own."""
    unit = pictures / np.linalg.norm(pictures, axis=1, keepdims=True)
    near = np.argpartition(-(unit @ unit.T), NEIGHBOURS, axis=1)[:, : NEIGHBOURS + 1]
    found = np.eye(len(pictures))
    found[np.arange(len(pictures))[:, None], near] = 1
    return np.asarray(np.maximum(found, found.T))


def _centred(rows: Floats) -> Floats:
    return np.asarray(rows - rows.mean(axis=0))


def _ridged(spread: Floats) -> Floats:
    return np.asarray(spread + RIDGE * np.trace(spread) / len(spread) * np.eye(len(spread)))


def _inverse_root(spread: Floats) -> Floats:
    values, vectors = np.linalg.eigh(_ridged(spread))
    return np.asarray((vectors / np.sqrt(values)) @ vectors.T)
