"""The variational autoencoder: maximise a lower bound of the likelihood.

Source: Kingma and Welling, "Auto-Encoding Variational Bayes", ICLR 2014; the weight of the divergence from Higgins et
al., "beta-VAE", ICLR 2017; free bits from Kingma et al., "Improving Variational Inference with Inverse Autoregressive
Flow", NIPS 2016.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field
from torch import Tensor

from aepipe.learn import objectives
from aepipe.learn.autoencoder import Choices
from aepipe.learn.objectives import Batch, Descent
from aepipe.learn.shards import average


class Options(objectives.Options):
    """Options of the objective.

    Attributes:
        beta: weight of the divergence from the prior; 1 is the bound itself.
        samples: codes drawn for each row.
        free_nats: divergence of a row's whole code without a cost, so that training does not give up the code early.
    """

    digest_name: ClassVar[str] = "variational.Options"
    unrolled: ClassVar[bool] = False
    example: ClassVar[dict[str, Any]] = {"posterior": "gaussian", "likelihood": "bernoulli"}

    beta: Annotated[float, Field(ge=0)] = 1.0
    samples: Annotated[int, Field(ge=1)] = 1
    free_nats: Annotated[float, Field(ge=0)] = 0.0

    def refusal(self, choices: Choices) -> str | None:
        """Refuse a posterior without a prior."""
        return objectives.needs_prior(choices)


class Objective(Descent[Options]):
    """The negative evidence lower bound, in its two terms."""

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """Return ``reconstruction`` and ``kl`` in nats per row.

        With ``beta`` 1 their sum is an upper bound of -log p(row).
        """
        model, draws = self.model, self.options.samples if batch.generator else 1
        encoding = model.encode(batch.noisy, batch.generator)
        assert encoding.kl is not None
        nll = self._nll(encoding.sample, batch)
        # More draws of the code steady the gradient; the divergence is exact, so once is enough.
        for _ in range(draws - 1):
            nll = nll + self._nll(model.encode(batch.noisy, batch.generator).sample, batch)
        kl = encoding.kl.mean()
        if self.options.free_nats:
            kl = (average(kl) - self.options.free_nats).clamp(min=0)
        return {"reconstruction": nll / draws, "kl": self.options.beta * kl}

    def _nll(self, code: Tensor, batch: Batch) -> Tensor:
        return self.model.likelihood.nll(self.model.decode(code), batch.clean, batch.observed).mean()
