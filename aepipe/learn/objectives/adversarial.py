"""The adversarial autoencoder: the codes of all rows together look like draws from a prior.

Three phases per step: the autoencoder reconstructs; a critic learns to tell codes from draws; the encoder learns to
make codes that the critic takes for draws.

Source: Makhzani et al., "Adversarial Autoencoders", ICLR workshop 2016.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from aepipe.learn import objectives
from aepipe.learn.autoencoder import Choices
from aepipe.learn.nets import affine
from aepipe.learn.objectives import Batch, Descent, Phase
from aepipe.learn.shards import backward

Prior = Literal["gaussian", "uniform", "bernoulli", "ring"]
Rate = Annotated[float, Field(gt=0)]


class Options(objectives.Options):
    """Options of the objective.

    Attributes:
        prior: ``gaussian``, standard; ``uniform``, between -1 and 1; ``bernoulli``, -1 and 1, for codes of tanh units;
            ``ring``, ten narrow Gaussians on a circle in the first two units, the others standard Gaussians.
        hidden: width of the critic's two layers.
        critic_lr: learning rate of the critic, as a factor on that of ``fit``.
        generator_lr: of the encoder against the critic, likewise.
        sharpness: weight of the critic's squared slope at the draws, which keeps the two from oscillating (Mescheder et
            al., "Which Training Methods for GANs do actually Converge?", ICML 2018).
    """

    digest_name: ClassVar[str] = "adversarial.Options"
    unrolled: ClassVar[bool] = False
    example: ClassVar[dict[str, Any]] = {"net": {"kind": "dense", "width": 4, "activation": "linear"}}
    falls: ClassVar[str] = "reconstruction"

    prior: Prior = "gaussian"
    hidden: Annotated[int, Field(ge=1)] = 256
    critic_lr: Rate = 1.0
    generator_lr: Rate = 1.0
    sharpness: Annotated[float, Field(ge=0)] = 0.1

    def refusal(self, choices: Choices) -> str | None:
        """Refuse codes of several heads, and bits."""
        if choices.posterior.head.heads > 1 or choices.posterior.binary:
            return "the critic looks at the code itself; allowed: posterior = delta, k-sparse, bernoulli or categorical"
        return None

    def draw(self, rows: int, width: int, generator: torch.Generator) -> Tensor:
        """Draw codes float[rows, width] from the prior, on the device of the generator."""
        size, device = (rows, width), generator.device
        if self.prior == "uniform":
            return 2 * torch.rand(size, generator=generator, device=device) - 1
        normal = torch.randn(size, generator=generator, device=device)
        if self.prior == "bernoulli":
            return torch.where(normal > 0, 1.0, -1.0)
        if self.prior == "ring" and width > 1:
            place = torch.randint(0, 10, (rows,), generator=generator, device=device) * (2 * math.pi / 10)
            centre = torch.stack([place.cos(), place.sin()], 1)
            return torch.cat([2 * centre + 0.1 * normal[:, :2], normal[:, 2:]], 1)
        return normal


class Objective(Descent[Options]):
    """Reconstruction, and a game between the encoder and a critic."""

    def __init__(self, *args: Any, **more: Any) -> None:  # noqa: ANN401  passed on as they are
        super().__init__(*args, **more)
        self.width = math.prod(self.model.net.shape_out)
        self.own["critic"] = _critic(self.width, self.options.hidden, torch.Generator().manual_seed(self.seed))

    def phases(self) -> list[Phase]:
        """Return the three phases of a step."""
        return [
            Phase("reconstruction", list(self.model.parameters()), self._reconstruct),
            Phase("critic", list(self.own.parameters()), self._criticise, lr=self.options.critic_lr),
            Phase("generator", list(self.model.net.encoder.parameters()), self._deceive, lr=self.options.generator_lr),
        ]

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """Return ``reconstruction`` in nats per row, and ``generator``: log 2 if the critic guesses."""
        return {"reconstruction": self._nll(batch), "generator": self._deception(batch)}

    def _reconstruct(self, batch: Batch) -> dict[str, Tensor]:
        with self.compute.autocast():
            return _descend(reconstruction=self._nll(batch))

    def _criticise(self, batch: Batch) -> dict[str, Tensor]:
        """Leave the critic's gradient: it learns to tell draws from codes."""
        assert batch.generator is not None
        # The encoder is not to learn from this phase.
        with torch.no_grad(), self.compute.autocast():
            codes = self._codes(batch)
        # The slope is taken at the draws, so they need a gradient.
        draws = self.options.draw(len(codes), self.width, batch.generator).requires_grad_()
        critic = self.own["critic"]
        of_draws = critic(draws)
        loss = F.softplus(-of_draws).mean() + F.softplus(critic(codes.float())).mean()
        (slope,) = torch.autograd.grad(of_draws.sum(), draws, create_graph=True)
        _descend(critic=loss + 0.5 * self.options.sharpness * slope.square().sum(1).mean())
        return {}

    def _deceive(self, batch: Batch) -> dict[str, Tensor]:
        # Codes are to be taken for draws.
        with self.compute.autocast():
            return _descend(generator=self._deception(batch))

    def _nll(self, batch: Batch) -> Tensor:
        encoding = self.model.encode(batch.noisy, batch.generator)
        params = self.model.decode(encoding.sample, encoding.switches)
        return self.model.likelihood.nll(params, batch.clean, batch.observed).mean()

    def _deception(self, batch: Batch) -> Tensor:
        return F.softplus(-self.own["critic"](self._codes(batch).float())).mean()

    def _codes(self, batch: Batch) -> Tensor:
        return self.model.encode(batch.noisy, batch.generator).sample.flatten(1)


def _critic(width: int, hidden: int, generator: torch.Generator) -> nn.Sequential:
    # Its logit is above zero for draws.
    sizes = [width, hidden, hidden, 1]
    maps = [affine(a, b, generator) for a, b in pairwise(sizes)]
    return nn.Sequential(maps[0], nn.LeakyReLU(0.2), maps[1], nn.LeakyReLU(0.2), maps[2])


def _descend(**term: Tensor) -> dict[str, Tensor]:
    ((name, value),) = term.items()
    backward(value)
    return {name: value.detach()}
