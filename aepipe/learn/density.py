"""The density of rows under a trained autoencoder: its gradient, and its logarithm.

:func:`score` is for denoising autoencoders. After training with Gaussian noise of variance ``sigma^2`` and squared
error, the best reconstruction of a noisy point is the mean of the clean points that it may come from. The step to that
mean is ``sigma^2`` times the score, the gradient of the log-density of noisy points.

Source: Vincent, "A Connection Between Score Matching and Denoising Autoencoders", Neural Computation 2011; Alain and
Bengio, "What Regularized Auto-Encoders Learn from the Data-Generating Distribution", JMLR 2014; the identity is due to
Miyasawa, "An Empirical Bayes Estimator of the Mean of a Normal Population", 1961.

:func:`log_likelihood` is for models with a prior: the evidence of rows, by importance sampling.

Source: Burda, Grosse and Salakhutdinov, "Importance Weighted Autoencoders", ICLR 2016, section 5: the same estimate, of
many samples, as a measure of models that were trained in any way.

Legend: B rows, S samples, H units of a code.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from aepipe.errors import TrainingError
from aepipe.learn.autoencoder import Autoencoder
from aepipe.learn.posterior import Stochastic

AT_ONCE = 1 << 15
"""Codes that are decoded in one call; more would only take memory."""


@torch.no_grad()
def displacement(model: Autoencoder, points: Tensor) -> Tensor:
    """Return the step from each point to its reconstruction, float[B, *shape] like the points.

    Args:
        model: the reconstruction is the mean of its likelihood, given the mean of its posterior.
        points: float[B, *shape], anywhere; estimates are good where noisy rows were seen in training.
    """
    encoding = model.encode(points)
    return model.likelihood.mean(model.decode(encoding.mean, encoding.switches)) - points


def score(model: Autoencoder, points: Tensor, *, sigma: float) -> Tensor:
    """Estimate the gradient of the log-density of noisy rows at each point, float[B, *shape].

    Args:
        model: trained to undo Gaussian noise, with the gaussian likelihood.
        points: as for :func:`displacement`.
        sigma: standard deviation of that noise.
    """
    return displacement(model, points) / sigma**2


def log_likelihood(model: Autoencoder, rows: Tensor, *, samples: int = 200, generator: torch.Generator) -> Tensor:
    """Estimate the log-likelihood of each row in nats, float32[B].

    It is the logarithm of the average of the weights p(row, code) / q(code | row) over codes from the posterior. On
    average it is below the truth, and comes nearer with more samples; with one sample it is the lower bound that
    training maximises.

    Args:
        model: with a posterior that has a prior.
        rows: float[B, *shape], on the device of the model.
        samples: S.
        generator: on that device.

    Raises:
        TrainingError: the posterior has no prior.
    """
    posterior = model.posterior
    if not isinstance(posterior, Stochastic):
        raise TrainingError(f"{type(posterior).__name__}: a posterior without a prior has no evidence")
    per_block = max(1, AT_ONCE // samples)
    with torch.no_grad():
        blocks = [_estimate(model, posterior, block, samples, generator) for block in torch.split(rows, per_block)]
    return torch.cat(blocks)


def _estimate(
    model: Autoencoder, posterior: Stochastic, rows: Tensor, samples: int, generator: torch.Generator
) -> Tensor:
    """Return the estimate for one block of rows."""
    activation, _ = model.net.encode(rows)
    # The encoder runs once for each row; only draws and decoding are repeated.
    repeated = activation.repeat_interleave(samples, 0)
    code, log_ratio = posterior.log_ratio(repeated, generator)
    nll = model.likelihood.nll(model.decode(code), rows.repeat_interleave(samples, 0))
    # The logarithm of the mean weight, from logarithms, as the weights themselves would overflow.
    weight = (log_ratio - nll).view(len(rows), samples).logsumexp(1) - math.log(samples)
    return weight - model.likelihood.constant(math.prod(rows.shape[1:]))
