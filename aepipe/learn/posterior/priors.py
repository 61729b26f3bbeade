"""Posteriors with a prior: Gaussians, coins, and choices among classes."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from aepipe.learn.nets import Head
from aepipe.learn.posterior.encoding import Encoding, Kind


class Gaussian(Kind):
    """Independent Gaussians around the code, whose means and variances the encoder gives; the prior is standard.

    Source: Kingma and Welling, "Auto-Encoding Variational Bayes", ICLR 2014.
    """

    digest_name: ClassVar[str] = "priors.Gaussian"

    @property
    def head(self) -> Head:
        """A mean and half a log-variance for each unit."""
        return Head(heads=2, linear=True)

    def encode(self, activation_BH: Tensor, generator: torch.Generator | None) -> Encoding:
        """Return means, samples by reparameterisation, and the divergence in closed form."""
        mean, log_sigma = self._parameters(activation_BH)
        kl = 0.5 * (mean.square() + (2 * log_sigma).exp() - 1) - log_sigma
        sample = mean if generator is None else mean + log_sigma.exp() * _normal(mean, generator)
        return Encoding(mean, sample, _per_row(kl))

    def prior(self, rows: int, width: int, generator: torch.Generator) -> Tensor:
        """Draw from the standard Gaussian."""
        return torch.randn((rows, width), generator=generator, device=generator.device)

    def log_ratio(self, activation_BH: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return codes, and by how much the prior makes each likelier than the posterior does."""
        mean, log_sigma = self._parameters(activation_BH)
        noise = _normal(mean, generator)
        code = mean + log_sigma.exp() * noise
        return code, _per_row(0.5 * (noise.square() - code.square()) + log_sigma)

    @staticmethod
    def _parameters(activation_BH: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log of the standard deviation; the latter bounded, for its exponential is squared."""
        mean, log_sigma = activation_BH.float().chunk(2, -1)
        return mean, log_sigma.clamp(-10, 5)


class Bernoulli(Kind):
    """Independent coins of which the encoder gives the logits; the code is their probability.

    Source: Maddison, Mnih and Teh, "The Concrete Distribution", ICLR 2017, for what stands in for a coin in training.

    Attributes:
        temperature: of the relaxation; the lower, the nearer to coins, and the noisier the gradient.
        rate: of the prior.
    """

    digest_name: ClassVar[str] = "priors.Bernoulli"
    temperature: Annotated[float, Field(gt=0)] = 0.5
    rate: Annotated[float, Field(gt=0, lt=1)] = 0.5

    def encode(self, activation_BH: Tensor, generator: torch.Generator | None) -> Encoding:
        """Return probabilities, relaxed coins, and the divergence in closed form."""
        logit = activation_BH.float()
        mean = logit.sigmoid()
        log_p, log_q = F.logsigmoid(logit), F.logsigmoid(-logit)
        kl = mean * (log_p - math.log(self.rate)) + (1 - mean) * (log_q - math.log(1 - self.rate))
        if generator is None:
            return Encoding(mean, mean, _per_row(kl))
        sample = ((logit + _logistic(logit, generator)) / self.temperature).sigmoid()
        return Encoding(mean, sample, _per_row(kl))

    def prior(self, rows: int, width: int, generator: torch.Generator) -> Tensor:
        """Toss coins."""
        draw = torch.rand((rows, width), generator=generator, device=generator.device)
        return (draw < self.rate).float()

    def log_ratio(self, activation_BH: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return coins, and by how much the prior makes each likelier than the posterior does."""
        logit = activation_BH.float()
        code = (_logistic(logit, generator) + logit > 0).float()
        posterior = F.logsigmoid(torch.where(code > 0, logit, -logit))
        prior = torch.where(code > 0, math.log(self.rate), math.log(1 - self.rate))
        return code, _per_row(prior - posterior)


class Categorical(Kind):
    """Choices among classes, side by side, of which the encoder gives the logits; the code is their probabilities.

    Source: Jang, Gu and Poole, "Categorical Reparameterization with Gumbel-Softmax", ICLR 2017.

    Attributes:
        classes: units of the code for one choice.
        temperature: of the relaxation.
    """

    digest_name: ClassVar[str] = "priors.Categorical"
    classes: Annotated[int, Field(ge=2)] = 8
    temperature: Annotated[float, Field(gt=0)] = 0.7

    def refusal(self, width: int) -> str | None:
        """Say where the units do not part into choices."""
        if width % self.classes:
            return f"{width} units are no multiple of {self.classes} classes; allowed: a divisor of {width}"
        return None

    def encode(self, activation_BH: Tensor, generator: torch.Generator | None) -> Encoding:
        """Return probabilities, relaxed choices, and the divergence in closed form."""
        logits = self._groups(activation_BH)
        log_p = logits.log_softmax(-1)
        mean, kl = log_p.exp(), log_p.exp() * (log_p + math.log(self.classes))
        if generator is None:
            return Encoding(mean.flatten(-2), mean.flatten(-2), _per_row(kl))
        sample = ((logits + _gumbel(logits, generator)) / self.temperature).softmax(-1)
        return Encoding(mean.flatten(-2), sample.flatten(-2), _per_row(kl))

    def prior(self, rows: int, width: int, generator: torch.Generator) -> Tensor:
        """Draw classes that are all equally likely."""
        return self._choose(torch.zeros((rows, width), device=generator.device), generator).flatten(-2)

    def log_ratio(self, activation_BH: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return choices, and by how much the prior makes each likelier than the posterior does."""
        chosen = self._choose(activation_BH, generator)
        posterior = chosen * self._groups(activation_BH).log_softmax(-1)
        return chosen.flatten(-2), _per_row(-chosen * math.log(self.classes) - posterior)

    def _choose(self, activation_BH: Tensor, generator: torch.Generator) -> Tensor:
        """Draw one class of each choice, as ones among zeros, [..., choices, classes]."""
        logits = self._groups(activation_BH)
        place = (logits + _gumbel(logits, generator)).argmax(-1, keepdim=True)
        return torch.zeros_like(logits).scatter(-1, place, 1.0)

    def _groups(self, activation_BH: Tensor) -> Tensor:
        """Return [..., choices, classes]."""
        return activation_BH.float().reshape(*activation_BH.shape[:-1], -1, self.classes)


def _per_row(cells: Tensor) -> Tensor:
    """Sum over all axes but the first."""
    return cells.flatten(1).sum(1)


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    """Return Gaussian noise in float32."""
    return torch.randn(like.shape, generator=generator, device=like.device)


def _logistic(like: Tensor, generator: torch.Generator) -> Tensor:
    """Return logistic noise; a logit plus this is above zero with the logit's probability."""
    uniform = torch.rand(like.shape, generator=generator, device=like.device).clamp(1e-7, 1 - 1e-7)
    return uniform.logit()


def _gumbel(like: Tensor, generator: torch.Generator) -> Tensor:
    """Return Gumbel noise; the largest of logits plus this is a draw of the softmax."""
    uniform = torch.rand(like.shape, generator=generator, device=like.device).clamp(1e-7, 1 - 1e-7)
    return -(-uniform.log()).log()
