"""One autoencoder, and the choices of a recipe that it is made of.

A layer of a stack is one, and so is the whole stack after it is unrolled.

Legend: B rows of a batch, H width of the code.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from aepipe.learn.corruption import Corruption
from aepipe.learn.likelihood import Likelihood
from aepipe.learn.nets import Net, NetOptions, Switches
from aepipe.learn.posterior import Encoding, Posterior


class Autoencoder(nn.Module):
    """A network between a posterior and a likelihood.

    The posterior turns the encoder's activations into codes; the likelihood compares rows with the decoder's output.
    """

    def __init__(self, net: Net, posterior: Posterior, likelihood: Likelihood) -> None:
        super().__init__()
        self.net = net
        self.posterior = posterior
        self.likelihood = likelihood

    def encode(self, x: Tensor, generator: torch.Generator | None = None) -> Encoding:
        """Return the codes of rows ``[B, *shape]``; without a generator nothing is random."""
        activation, switches = self.net.encode(x)
        # Posteriors know no pooling, so the switches pass them by.
        return self.posterior.encode(activation, generator)._replace(switches=switches)

    def decode(self, code_BH: Tensor, switches: Switches | None = None) -> Tensor:
        """Return the parameters of the likelihood, ``[B, *shape]``.

        With switches, values return to the places that pooling took them from.
        """
        return self.net.decode(code_BH, switches)


@dataclass(frozen=True, slots=True)
class Choices:
    """The choices that an objective may refuse, before anything is built."""

    net: NetOptions
    posterior: Posterior
    likelihood: Likelihood
    corruption: Corruption
