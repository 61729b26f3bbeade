"""The generative stochastic network, trained with walkback: denoise along a chain.

From each row a chain starts: corrupt, encode, decode, draw, and repeat. At every step the target is the first row of
the chain. So the network also learns to return from the places that its own chain visits, and it can be sampled.

Source: Bengio, Yao, Alain and Vincent, "Generalized Denoising Auto-Encoders as Generative Models", NIPS 2013, for
walkback; Bengio, Laufer, Alain and Yosinski, "Deep Generative Stochastic Networks Trainable by Backprop", ICML 2014.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from aepipe.learn import corruption as corruptions
from aepipe.learn import objectives
from aepipe.learn.autoencoder import Choices
from aepipe.learn.objectives import Batch, Descent


class Options(objectives.Options):
    """Options of the objective. Every step has the corruption of the layer.

    Attributes:
        steps: of the chain; 1 is the denoising autoencoder.
    """

    digest_name: ClassVar[str] = "walkback.Options"
    steps: Annotated[int, Field(ge=1)] = 4

    def refusal(self, choices: Choices) -> str | None:
        """Refuse a layer without a corruption."""
        if isinstance(choices.corruption, corruptions.Clean):
            return "its chain corrupts at every step; allowed: any `corruption` but none"
        return None


class Objective(Descent[Options]):
    """Negative log-likelihood of the clean row, on average over the steps of a chain."""

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """Return the usual terms, as means over the steps.

        While evaluating nothing is random, so there is only the first step: the loss of a denoising autoencoder.
        """
        walks = batch.generator is not None and batch.corruption is not None
        parts: dict[str, list[Tensor]] = {}
        noisy = batch.noisy
        for left in reversed(range(self.options.steps if walks else 1)):
            encoding = self.model.encode(noisy, batch.generator)
            params = self.model.decode(encoding.sample, encoding.switches)
            nll = self.model.likelihood.nll(params, batch.clean, batch.observed)
            # The target is the clean row at every step: the network learns the way back.
            parts.setdefault("reconstruction", []).append(nll.mean())
            if encoding.kl is not None:
                parts.setdefault("kl", []).append(encoding.kl.mean())
            if left:
                noisy = self._onward(params, batch)
        return {name: torch.stack(part).mean() for name, part in parts.items()}

    def _onward(self, params: Tensor, batch: Batch) -> Tensor:
        """Return the next state of the chain: a draw, corrupted. No gradient passes through it."""
        assert batch.generator is not None
        assert batch.corruption is not None
        with torch.no_grad():
            drawn = self.model.likelihood.sample(params.detach().float(), batch.generator)
            return batch.corruption.corrupt_tensor(drawn, batch.generator)[0]
