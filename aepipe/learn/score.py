"""What a denoising autoencoder knows of the density of its rows: the way from a point to where it came from.

Trained with Gaussian noise of variance ``sigma^2`` and squared error, the best reconstruction of a noisy point is the
mean of the clean points that it may come from. The way there is ``sigma^2`` times the score: the gradient of the
logarithm of the density of noisy points.

Source: Vincent, "A Connection Between Score Matching and Denoising Autoencoders", Neural Computation 2011; Alain and
Bengio, "What Regularized Auto-Encoders Learn from the Data-Generating Distribution", JMLR 2014; the identity is due to
Miyasawa, "An Empirical Bayes Estimator of the Mean of a Normal Population", 1961.
"""

from __future__ import annotations

import torch
from torch import Tensor

from aepipe.learn.layer import Autoencoder


@torch.no_grad()
def displacement(model: Autoencoder, points: Tensor) -> Tensor:
    """Return how far and where each point is moved by its reconstruction, float[B, *shape] like the points.

    Args:
        model: the reconstruction is the mean of its likelihood, given the mean of its posterior.
        points: float[B, *shape], anywhere; estimates are good where noisy rows were seen in training.
    """
    encoding = model.encode(points)
    return model.likelihood.mean(model.decode(encoding.mean, encoding.switches)) - points


def score(model: Autoencoder, points: Tensor, *, sigma: float) -> Tensor:
    """Return the estimated gradient of the log-density of noisy rows at each point, float[B, *shape].

    Args:
        model: trained to undo Gaussian noise, with the gaussian likelihood.
        points: as for :func:`displacement`.
        sigma: standard deviation of that noise.
    """
    return displacement(model, points) / sigma**2
