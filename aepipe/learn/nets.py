"""Networks: pairs of an encoder and a decoder, built for the shape of what they read.

Each kind is a frozen options model with ``build(shape, generator) -> Net``. Legend: B rows, H width of the code.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from aepipe.learn.likelihood import Likelihood
from aepipe.recipe import Options

ACTIVATIONS: Mapping[str, type[nn.Module]] = {
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "linear": nn.Identity,
}
Activation = Literal["sigmoid", "tanh", "relu", "leaky_relu", "elu", "gelu", "linear"]


class Net(nn.Module):
    """An encoder and a decoder.

    Attributes:
        encoder: ``[B, *shape_in] -> [B, *shape_out]``.
        decoder: ``[B, *shape_out] -> [B, *shape_in]``, the parameters of a likelihood.
        shape_in: of one row.
        shape_out: of one code.
        rectified: whether codes are never negative.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        *,
        shape_in: Sequence[int],
        shape_out: Sequence[int],
        rectified: bool = False,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.shape_in = tuple(shape_in)
        self.shape_out = tuple(shape_out)
        self.rectified = rectified


@runtime_checkable
class NetOptions(Protocol):
    """What every kind can do."""

    def build(self, shape: Sequence[int], generator: torch.Generator) -> Net:
        """Make the network for rows of one shape, with random weights."""


class Dense(Options):
    """One affine map and an activation up, one affine map down.

    Attributes:
        width: H.
        activation: of the encoder; the decoder's output is linear, its likelihood says what it means.
        normalize: standardise each unit over the batch before the activation.
    """

    width: Annotated[int, Field(ge=1)]
    activation: Activation = "relu"
    normalize: bool = False

    def build(self, shape: Sequence[int], generator: torch.Generator) -> Net:
        """Make the network; weights and biases uniform within one over the root of the fan-in (LeCun et al., 1998)."""
        size = math.prod(shape)
        up, down = _affine(size, self.width, generator), _affine(self.width, size, generator)
        between = [Standardize(self.width)] if self.normalize else []
        return Net(
            nn.Sequential(nn.Flatten(), up, *between, ACTIVATIONS[self.activation]()),
            nn.Sequential(down, nn.Unflatten(1, tuple(shape))),
            shape_in=shape,
            shape_out=(self.width,),
            rectified=self.activation == "relu",
        )


class Standardize(nn.BatchNorm1d):
    """Each unit to mean 0 and variance 1: of the batch while training, of a running average otherwise.

    Source: Ioffe and Szegedy, "Batch Normalization", ICML 2015, without its affine map.
    """

    def __init__(self, width: int) -> None:
        super().__init__(width, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        """Standardise float[B, H]; a batch of one row has no variance and takes the running averages."""
        training = self.training and len(x) > 1
        return F.batch_norm(x.float(), self.running_mean, self.running_var, None, None, training, self.momentum or 0.1)


KINDS: Mapping[str, type[Options]] = {"dense": Dense}


class Unrolled(nn.Module):
    """The decoders of a stack, top down.

    Between two of them stands the mean of the upper one's likelihood, kept within the range of the codes that the lower
    one was trained on.
    """

    def __init__(self, nets: Sequence[Net], likelihoods: Sequence[Likelihood]) -> None:
        super().__init__()
        self.decoders = nn.ModuleList(net.decoder for net in reversed(nets))
        self._links = [
            (likelihood, net.rectified)
            for likelihood, net in zip(reversed(likelihoods[1:]), reversed(nets[:-1]), strict=True)
        ]

    def forward(self, code: Tensor) -> Tensor:
        """Return the parameters of the lowest likelihood."""
        for upper, (likelihood, rectified) in zip(self.decoders[:-1], self._links, strict=True):
            mean = likelihood.mean(upper(code))
            code = F.relu(mean) if rectified else mean
        return torch.as_tensor(self.decoders[-1](code))


def unroll(nets: Sequence[Net], likelihoods: Sequence[Likelihood]) -> Net:
    """Join a stack, bottom up, into one deep network that shares its parameters.

    Source: Hinton and Salakhutdinov, "Reducing the Dimensionality of Data with Neural Networks", Science 2006.
    """
    encoder = nn.Sequential(*(net.encoder for net in nets))
    return Net(encoder, Unrolled(nets, likelihoods), shape_in=nets[0].shape_in, shape_out=nets[-1].shape_out)


def _affine(size_in: int, size_out: int, generator: torch.Generator) -> nn.Linear:
    """Return an affine map whose weights come from ``generator``, not from torch's global state."""
    affine = nn.Linear(size_in, size_out, device="meta").to_empty(device="cpu")
    bound = 1 / math.sqrt(size_in)
    nn.init.uniform_(affine.weight, -bound, bound, generator=generator)
    nn.init.uniform_(affine.bias, -bound, bound, generator=generator)
    return affine
