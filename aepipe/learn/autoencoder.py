"""One autoencoder: a network between a posterior and a likelihood."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aepipe.learn.likelihood import Likelihood
from aepipe.learn.nets import Net, Switches
from aepipe.learn.posterior import Encoding, Posterior


class Autoencoder(nn.Module):
    """A network between a posterior and a likelihood."""

    def __init__(self, net: Net, posterior: Posterior, likelihood: Likelihood) -> None:
        super().__init__()
        self.net = net
        self.posterior = posterior
        self.likelihood = likelihood

    def encode(self, x: Tensor, generator: torch.Generator | None = None) -> Encoding:
        """Return the codes of rows ``[B, *shape]``; without a generator nothing is random."""
        activation, switches = self.net.encode(x)
        return self.posterior.encode(activation, generator)._replace(switches=switches)

    def decode(self, code_BH: Tensor, switches: Switches | None = None) -> Tensor:
        """Return the parameters of the likelihood, ``[B, *shape]``; with switches, pooled values go back in place."""
        return self.net.decode(code_BH, switches)
