"""Posteriors: how activations of the encoder become codes.

Mean and sample are two things: the mean is the code of a row, the sample is passed on to the decoder while training.
Each kind is a frozen options model. Randomness is an argument; without it the sample is the mean.

There are three families: one point (delta, k-sparse); distributions with a prior (gaussian, bernoulli, categorical);
and bits, -1 and 1, which a layer of bits needs (straight-through, noise, tanh, coins, rotation).

Legend: B rows, H units of the code, K bits, the last axis; activations have ``head.heads`` times as many.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Annotated, ClassVar, NamedTuple, Protocol, Self, runtime_checkable

import torch
import torch.nn.functional as F
from pydantic import Field, PrivateAttr
from torch import Tensor

from aepipe.learn.nets import Head, Switches
from aepipe.recipe import Options


class Encoding(NamedTuple):
    """The codes of a batch.

    Attributes:
        mean: float[B, H], the code.
        sample: float[B, H], the input of the decoder while training; carries the gradient.
        kl: [B], divergence from the prior in nats; None where there is no prior.
        switches: where pooling took its values from; for the decoder only: no code depends on them.
    """

    mean: Tensor
    sample: Tensor
    kl: Tensor | None = None
    switches: Switches | None = None


@runtime_checkable
class Posterior(Protocol):
    """What every kind offers."""

    @property
    def binary(self) -> bool:
        """Whether the mean is bits, -1 and 1."""

    @property
    def head(self) -> Head:
        """The top of an encoder that it needs."""

    def refusal(self, width: int) -> str | None:
        """Return why a code of ``width`` units is impossible, with the remedy; else None."""

    def at(self, progress: float) -> Posterior:
        """Return the posterior at a point of training, from 0 at the first step to 1 after the last."""

    def encode(self, activation_BH: Tensor, generator: torch.Generator | None) -> Encoding:
        """Turn activations into codes; without a generator the sample is the mean."""


@runtime_checkable
class Stochastic(Posterior, Protocol):
    """What kinds with a prior offer in addition; their encodings have a ``kl``."""

    def prior(self, rows: int, width: int, generator: torch.Generator) -> Tensor:
        """Draw codes float[rows, width] from the prior, on the device of the generator."""

    def log_ratio(self, activation_BH: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw codes from the posterior without relaxing them.

        Returns:
            The codes, [B, H], and log prior minus log posterior of each, [B].
        """


class Kind(Options):
    """Defaults of a kind: no bits, one linear activation per unit, any width, always the same."""

    @property
    def binary(self) -> bool:
        """False."""
        return False

    @property
    def head(self) -> Head:
        """One linear activation for each unit."""
        return Head(linear=True)

    def refusal(self, width: int) -> str | None:
        """Return None: any width will do."""
        return None

    def at(self, progress: float) -> Self:
        """Return itself: nothing changes during training."""
        return self


class Delta(Kind):
    """The code is the activation itself."""

    digest_name: ClassVar[str] = "points.Delta"

    @property
    def head(self) -> Head:
        """One activation for each unit."""
        return Head()

    def encode(self, activation_BH: Tensor, generator: torch.Generator | None) -> Encoding:
        """Return the activation as mean and sample."""
        return Encoding(activation_BH, activation_BH)


class KSparse(Delta):
    """The k largest activations of a row; all others are zero.

    Source: Makhzani and Frey, "k-Sparse Autoencoders", ICLR 2014.

    Attributes:
        k: units of a code that are not zero.
    """

    digest_name: ClassVar[str] = "points.KSparse"
    k: Annotated[int, Field(ge=1)] = 16

    def refusal(self, width: int) -> str | None:
        """Refuse a code whose units would all be kept."""
        return f"k = {self.k} of {width} units keeps all; allowed: less" if self.k >= width else None

    def encode(self, activation_BH: Tensor, generator: torch.Generator | None) -> Encoding:
        """Return the k largest as mean and sample."""
        kept = activation_BH.topk(self.k, dim=-1)
        code = torch.zeros_like(activation_BH).scatter(-1, kept.indices, kept.values)
        return Encoding(code, code)


class Gaussian(Kind):
    """Independent Gaussians; the encoder gives their means, which are the code, and variances.

    The prior is the standard Gaussian.

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
        # Of N(mean, sigma^2) from N(0, 1), in closed form.
        kl = 0.5 * (mean.square() + (2 * log_sigma).exp() - 1) - log_sigma
        sample = mean if generator is None else mean + log_sigma.exp() * _normal(mean, generator)
        return Encoding(mean, sample, _per_row(kl))

    def prior(self, rows: int, width: int, generator: torch.Generator) -> Tensor:
        """Draw from the standard Gaussian."""
        return torch.randn((rows, width), generator=generator, device=generator.device)

    def log_ratio(self, activation_BH: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return drawn codes, and log prior minus log posterior of each."""
        mean, log_sigma = self._parameters(activation_BH)
        noise = _normal(mean, generator)
        code = mean + log_sigma.exp() * noise
        return code, _per_row(0.5 * (noise.square() - code.square()) + log_sigma)

    @staticmethod
    def _parameters(activation_BH: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_sigma = activation_BH.float().chunk(2, -1)
        # Bounded, as its exponential is squared in the divergence and would overflow.
        return mean, log_sigma.clamp(-10, 5)


class Bernoulli(Kind):
    """Independent coins whose logits the encoder gives; the code is their probability.

    Source: Maddison, Mnih and Teh, "The Concrete Distribution", ICLR 2017, for the relaxed
    coins of training.

    Attributes:
        temperature: of the relaxation; a lower one is nearer to coins, and has a noisier gradient.
        rate: of a 1 under the prior.
    """

    digest_name: ClassVar[str] = "priors.Bernoulli"
    temperature: Annotated[float, Field(gt=0)] = 0.5
    rate: Annotated[float, Field(gt=0, lt=1)] = 0.5

    def encode(self, activation_BH: Tensor, generator: torch.Generator | None) -> Encoding:
        """Return probabilities, relaxed coins, and the divergence in closed form."""
        logit = activation_BH.float()
        mean = logit.sigmoid()
        # Logarithms from the logit: that of a probability rounded to 0 or 1 would be infinite.
        log_p, log_q = F.logsigmoid(logit), F.logsigmoid(-logit)
        kl = mean * (log_p - math.log(self.rate)) + (1 - mean) * (log_q - math.log(1 - self.rate))
        if generator is None:
            return Encoding(mean, mean, _per_row(kl))
        sample = ((logit + _logistic(logit, generator)) / self.temperature).sigmoid()
        return Encoding(mean, sample, _per_row(kl))

    def prior(self, rows: int, width: int, generator: torch.Generator) -> Tensor:
        """Draw coins of the prior's rate."""
        draw = torch.rand((rows, width), generator=generator, device=generator.device)
        return (draw < self.rate).float()

    def log_ratio(self, activation_BH: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return drawn coins, and log prior minus log posterior of each row."""
        logit = activation_BH.float()
        code = (_logistic(logit, generator) + logit > 0).float()
        posterior = F.logsigmoid(torch.where(code > 0, logit, -logit))
        prior = torch.where(code > 0, math.log(self.rate), math.log(1 - self.rate))
        return code, _per_row(prior - posterior)


class Categorical(Kind):
    """Choices among classes; the encoder gives the logits, the code is the probabilities.

    Source: Jang, Gu and Poole, "Categorical Reparameterization with Gumbel-Softmax", ICLR 2017.

    Attributes:
        classes: units of the code for one choice.
        temperature: of the relaxation.
    """

    digest_name: ClassVar[str] = "priors.Categorical"
    classes: Annotated[int, Field(ge=2)] = 8
    temperature: Annotated[float, Field(gt=0)] = 0.7

    def refusal(self, width: int) -> str | None:
        """Refuse a code whose units do not divide into choices."""
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
        """Draw classes, all equally likely."""
        return self._choose(torch.zeros((rows, width), device=generator.device), generator).flatten(-2)

    def log_ratio(self, activation_BH: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return drawn choices, and log prior minus log posterior of each row."""
        chosen = self._choose(activation_BH, generator)
        posterior = chosen * self._groups(activation_BH).log_softmax(-1)
        return chosen.flatten(-2), _per_row(-chosen * math.log(self.classes) - posterior)

    def _choose(self, activation_BH: Tensor, generator: torch.Generator) -> Tensor:
        # Ones among zeros, [..., choices, classes].
        logits = self._groups(activation_BH)
        place = (logits + _gumbel(logits, generator)).argmax(-1, keepdim=True)
        return torch.zeros_like(logits).scatter(-1, place, 1.0)

    def _groups(self, activation_BH: Tensor) -> Tensor:
        return activation_BH.float().reshape(*activation_BH.shape[:-1], -1, self.classes)


class Bits(Kind, ABC):
    """Bits by sign; a kind only gives their relaxation, as a sign has no gradient."""

    @property
    def binary(self) -> bool:
        """True."""
        return True

    def encode(self, activation_BH: Tensor, generator: torch.Generator | None) -> Encoding:
        """Return hard bits as the mean, and relaxed ones as the sample."""
        mean = hard_bits(activation_BH)
        return Encoding(mean, mean if generator is None else self.relaxed(activation_BH, generator))

    @abstractmethod
    def relaxed(self, activation_BH: Tensor, generator: torch.Generator) -> Tensor:
        """Return values like bits that carry a gradient."""


class StraightThrough(Bits):
    """Bits whose gradient is that of a clipped line (Bengio et al., arXiv:1308.3432).

    Attributes:
        noise: standard deviation of Gaussian noise on the activation while training. It drives rows away from the edge
            between two codes.
    """

    digest_name: ClassVar[str] = "bits.StraightThrough"
    noise: Annotated[float, Field(ge=0)] = 0.0

    def relaxed(self, activation_BH: Tensor, generator: torch.Generator) -> Tensor:
        """Return hard bits whose gradient is that of the clipped activation."""
        noisy = _add_noise(activation_BH, self.noise, generator)
        line = noisy.clamp(-1, 1)
        # The value is the hard bit, the gradient that of the line.
        return line + (hard_bits(noisy) - line).detach()


class Noise(Bits):
    """Logistic units that input noise drives into saturation.

    Source: Salakhutdinov and Hinton, "Semantic Hashing", 2009.

    Attributes:
        sigma: standard deviation of the noise; a larger one makes harder units.
    """

    digest_name: ClassVar[str] = "bits.Noise"
    sigma: Annotated[float, Field(gt=0)] = 4.0

    def relaxed(self, activation_BH: Tensor, generator: torch.Generator) -> Tensor:
        """Return noisy logistic units, scaled to -1..1."""
        return torch.tanh(0.5 * _add_noise(activation_BH, self.sigma, generator))


class Tanh(Bits):
    """A tanh that grows steeper during training, until it is a sign.

    Source: Cao et al., "HashNet", ICCV 2017.

    Attributes:
        start: steepness at the first step.
        end: steepness at the last; it grows by the same factor from step to step.
    """

    digest_name: ClassVar[str] = "bits.Tanh"
    start: Annotated[float, Field(gt=0)] = 1.0
    end: Annotated[float, Field(gt=0)] = 16.0
    _progress: float = PrivateAttr(default=0.0)

    def at(self, progress: float) -> Tanh:
        """Return the same tanh, as steep as it is at that point."""
        # A copy, as options are frozen; progress is no option and enters no digest.
        then = self.model_copy()
        then._progress = progress
        return then

    def relaxed(self, activation_BH: Tensor, generator: torch.Generator) -> Tensor:
        """Return values between -1 and 1."""
        return torch.tanh(self.start * (self.end / self.start) ** self._progress * activation_BH)


class Coin(Bits):
    """Bits drawn with the encoder's odds; the gradient passes through their mean.

    Source: stochastic binary units with the straight-through estimator of Bengio et al., arXiv:1308.3432.

    Attributes:
        sharpness: the odds of a 1 are those of a logistic unit of ``sharpness`` times the activation.
    """

    digest_name: ClassVar[str] = "bits.Coin"
    sharpness: Annotated[float, Field(gt=0)] = 4.0

    def relaxed(self, activation_BH: Tensor, generator: torch.Generator) -> Tensor:
        """Return drawn bits whose gradient is that of their mean."""
        odds = torch.sigmoid(self.sharpness * activation_BH)
        uniform = torch.rand(odds.shape, generator=generator, device=odds.device)
        mean, drawn = 2 * odds - 1, torch.where(uniform < odds, 1.0, -1.0).to(odds.dtype)
        # The value is the drawn bit, the gradient that of its mean.
        return mean + (drawn - mean).detach()


class Rotation(Bits):
    """Numbers while training; then rotated close to the corners of a cube, and cut to bits.

    Source: iterative quantisation, Gong and Lazebnik, CVPR 2011, on the activations in place of principal components.

    Attributes:
        iterations: of the search for the rotation; 0 cuts the numbers without a rotation.
    """

    digest_name: ClassVar[str] = "bits.Rotation"
    iterations: Annotated[int, Field(ge=0)] = 50

    @property
    def head(self) -> Head:
        """Linear activations that can be rotated."""
        return Head(linear=True, turned=True)

    def relaxed(self, activation_BH: Tensor, generator: torch.Generator) -> Tensor:
        """Return the activations."""
        return activation_BH


KINDS: Mapping[str, type[Options]] = {
    "delta": Delta,
    "k-sparse": KSparse,
    "gaussian": Gaussian,
    "bernoulli": Bernoulli,
    "categorical": Categorical,
    "straight-through": StraightThrough,
    "noise": Noise,
    "tanh": Tanh,
}
BITS: Mapping[str, type[Bits]] = {
    "straight-through": StraightThrough,
    "noise": Noise,
    "tanh": Tanh,
    "bernoulli": Coin,
    "rotation": Rotation,
}
"""Posteriors of the layer of bits on top of a stack; a rotation is found after that layer is trained."""


def hard_bits(activation_BK: Tensor) -> Tensor:
    """Return 1 where the activation is above zero, else -1."""
    return torch.where(activation_BK > 0, 1.0, -1.0).to(activation_BK.dtype)


def _add_noise(activation_BK: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    if sigma == 0:
        return activation_BK
    noise = torch.randn(activation_BK.shape, generator=generator, device=activation_BK.device)
    return activation_BK + sigma * noise.to(activation_BK.dtype)


def _per_row(cells: Tensor) -> Tensor:
    return cells.flatten(1).sum(1)


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator, device=like.device)


def _logistic(like: Tensor, generator: torch.Generator) -> Tensor:
    # A logit plus this noise is above zero with the logit's probability.
    # The clamp keeps the logarithm finite where the draw is exactly 0.
    uniform = torch.rand(like.shape, generator=generator, device=like.device).clamp(1e-7, 1 - 1e-7)
    return uniform.logit()


def _gumbel(like: Tensor, generator: torch.Generator) -> Tensor:
    # The largest of logits plus this noise is a draw of the softmax.
    uniform = torch.rand(like.shape, generator=generator, device=like.device).clamp(1e-7, 1 - 1e-7)
    return -(-uniform.log()).log()
