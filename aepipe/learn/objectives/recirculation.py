"""Recirculation: train a layer from the activities of two rounds, without backpropagation.

A row gives a code, the code a row, and that row a code again. The differences between the two rounds are the updates:
the change of the row for the decoder, the change of the code for the encoder. Each weight needs only the activities at
its two ends, and nothing is differentiated.

Source: Hinton and McClelland, "Learning Representations by Recirculation", NIPS 1987 (in print 1988).
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from aepipe.learn import corruption as corruptions
from aepipe.learn import likelihood, objectives, posterior
from aepipe.learn.autoencoder import Choices
from aepipe.learn.nets import dense
from aepipe.learn.objectives import Batch, Descent, Phase

# For these, the error of the mean is the gradient with respect to the decoder's output, up to a constant.
CANONICAL = (likelihood.Gaussian, likelihood.Bernoulli)


class Options(objectives.Options):
    """Options of the objective.

    Attributes:
        regression: share of the old activity in the new one, for rows and codes. Nearer to 1 the change is smaller, and
            its direction nearer to that of the gradient once the decoder mirrors the encoder.
    """

    digest_name: ClassVar[str] = "recirculation.Options"
    unrolled: ClassVar[bool] = False
    example: ClassVar[dict[str, Any]] = {"likelihood": "bernoulli", "corruption": "none"}

    regression: Annotated[float, Field(ge=0, lt=1)] = 0.75

    def refusal(self, choices: Choices) -> str | None:
        """Refuse all layers but one map each way, with clean rows."""
        net = choices.net
        if not isinstance(net, dense.Options) or net.hidden or net.tied or net.normalize or net.holes:
            return "activities pass one map each way; allowed: a dense net without hidden, tied, normalize and holes"
        if "prelu" in {net.activation, net.code_activation}:
            return "without a gradient no slope is learnt; allowed: an activation other than prelu"
        if not isinstance(choices.posterior, posterior.Delta) or not isinstance(choices.likelihood, CANONICAL):
            return "allowed: posterior delta, with likelihood gaussian, bernoulli or kl"
        if not isinstance(choices.corruption, corruptions.Clean):
            return "a row is compared with its own reconstruction; allowed: corruption none"
        return None


class Round(NamedTuple):
    """The activities of a batch at the four moments of the paper.

    Attributes:
        row_0: float[B, D], the batch.
        code_1: float[B, H], its code.
        row_2: float[B, D], the batch, moved a little towards its reconstruction.
        code_3: float[B, H], the code, moved a little towards that of ``row_2``.
    """

    row_0: Tensor
    code_1: Tensor
    row_2: Tensor
    code_3: Tensor


class Objective(Descent[Options]):
    """The two local rules, in place of gradients for the optimiser."""

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """Return ``reconstruction``, the negative log-likelihood in nats per row."""
        params = self.model.decode(self.model.encode(batch.noisy).mean)
        return {"reconstruction": self.model.likelihood.nll(params, batch.clean, batch.observed).mean()}

    def phases(self) -> list[Phase]:
        """Return the one phase."""
        return [Phase("recirculation", list(self.model.parameters()), self.recirculate)]

    def recirculate(self, batch: Batch) -> dict[str, Tensor]:
        """Leave the negative update of each parameter as its gradient, a mean over the rows."""
        with torch.no_grad():
            one = self.go_round(batch)
            row_change, code_change = one.row_2 - one.row_0, one.code_3 - one.code_1
            # The optimiser subtracts, so the negative of an update is left: old minus new is the wanted move.
            for half, change, cause in (
                (self.model.net.decoder, row_change, one.code_1),
                (self.model.net.encoder, code_change, one.row_2),
            ):
                the_map = _map(half)
                the_map.weight.grad = change.T @ cause / len(cause)
                the_map.bias.grad = change.mean(0)
            return self.terms(batch)

    def go_round(self, batch: Batch) -> Round:
        """Return the activities of a batch, in float32, as small differences count."""
        model, share = self.model, self.options.regression
        code_1 = model.encode(batch.clean).mean
        decoded = model.likelihood.mean(model.decode(code_1))
        if batch.observed is not None:
            decoded = torch.where(batch.observed, decoded, batch.clean)
        row_2 = share * batch.clean + (1 - share) * decoded
        code_3 = share * code_1 + (1 - share) * model.encode(row_2).mean
        return Round(batch.clean.flatten(1), code_1, row_2.flatten(1), code_3)


def _map(half: nn.Module) -> nn.Linear:
    (found,) = (module for module in half.modules() if isinstance(module, nn.Linear))
    return found
