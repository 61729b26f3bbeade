"""Networks: an encoder and a decoder. One file per kind; its name is the kind in recipes.

A file holds ``Options``, a frozen options model with a ``digest_name`` that never changes and two methods
(:class:`NetOptions`): ``code_shape`` gives the shape of a code, or says why rows of a shape cannot be read; ``build``
makes the network with random weights.

Legend: B rows, H width of the code, heads the activations that a posterior needs for each unit. The units of a code are
its last axis, so ``[B, H]`` of a dense layer and ``[B, height, width, channels]`` of a convolution are read alike.
"""

from __future__ import annotations

import importlib
import math
import pkgutil
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aepipe.learn import shards
from aepipe.recipe import Options

Activation = Literal["sigmoid", "tanh", "relu", "leaky_relu", "elu", "prelu", "gelu", "linear"]
ACTIVATIONS: Mapping[Activation, type[nn.Module]] = {
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "prelu": nn.PReLU,
    "gelu": nn.GELU,
    "linear": nn.Identity,
}


class Switches(NamedTuple):
    """The places of the values that max-pooling kept.

    Attributes:
        places: int64[B, channels, h, w], positions in a plane of the map before pooling.
    """

    places: Tensor


class Head(NamedTuple):
    """The top of an encoder, as a posterior needs it.

    Attributes:
        heads: activations for each unit of the code: two, where a unit has a mean and a variance.
        linear: whether they have to be linear, because the posterior has a link function of its own.
        turned: whether they can be rotated, see :class:`Turn`; only dense networks can do it.
    """

    heads: int = 1
    linear: bool = False
    turned: bool = False


PLAIN = Head()


class Net(nn.Module):
    """An encoder and a decoder.

    Attributes:
        encoder: ``[B, *shape_in] -> [B, *shape_out]``, the last axis times the heads of the posterior.
        decoder: ``[B, *shape_out] -> [B, *shape_in]``, the parameters of a likelihood.
        shape_in: of one row.
        shape_out: of one code.
        rectified: whether codes are never negative.
        holes: whether rows may have missing cells, which are NaN.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        *,
        shape_in: Sequence[int],
        shape_out: Sequence[int],
        rectified: bool = False,
        holes: bool = False,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.shape_in = tuple(shape_in)
        self.shape_out = tuple(shape_out)
        self.rectified = rectified
        self.holes = holes

    def encode(self, x: Tensor) -> tuple[Tensor, Switches | None]:
        """Return the activations of rows, and the switches of a network that pools."""
        return self.encoder(x), None

    def decode(self, code: Tensor, switches: Switches | None = None) -> Tensor:
        """Return the parameters of the likelihood; only a network that pools uses switches."""
        return torch.as_tensor(self.decoder(code))


@runtime_checkable
class NetOptions(Protocol):
    """What every kind offers."""

    @property
    def holes(self) -> bool:
        """Whether rows may have missing cells, which are NaN."""

    def code_shape(self, shape: Sequence[int], head: Head = PLAIN) -> tuple[int, ...]:
        """Return the shape of a code for rows of a shape.

        Raises:
            RecipeError: rows of that shape cannot be read, or there is no such head; the text has the remedy.
        """

    def build(self, shape: Sequence[int], generator: torch.Generator, head: Head = PLAIN) -> Net:
        """Make the network for rows of a shape, with random weights."""


@cache
def kinds() -> Mapping[str, type[Options]]:
    """Return the options model of every kind, discovered by file name."""
    modules = {name: importlib.import_module(f"{__name__}.{name}") for _, name, _ in pkgutil.iter_modules(__path__)}
    return {name: module.Options for name, module in sorted(modules.items())}


class Standardize(nn.BatchNorm1d):
    """Standardise each unit to mean 0 and variance 1.

    Mean and variance are those of the batch while training, of all its slices where it is cut; running averages
    otherwise.

    Source: Ioffe and Szegedy, "Batch Normalization", ICML 2015, without its affine map.
    """

    def __init__(self, width: int) -> None:
        super().__init__(width, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        """Standardise float[B, H]; a single row has no variance, so it takes the running averages."""
        # In float32, as statistics of bfloat16 are too coarse.
        x = x.float()
        if self.training and shards.is_cut():
            mean, variance = self._moments(x)
            return (x - mean) * torch.rsqrt(variance + self.eps)
        training = self.training and len(x) > 1
        return F.batch_norm(x, self.running_mean, self.running_var, None, None, training, self.momentum or 0.1)

    def _moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and variance over all slices of a batch, [H] each, and note them."""
        found, share_S = shards.of_slices(torch.stack([x.mean(0), x.var(0, correction=0)]))
        (mean_SH, variance_SH), share_S1 = found.unbind(1), share_S[:, None]
        mean = (share_S1 * mean_SH).sum(0)
        variance = (share_S1 * (variance_SH + (mean_SH - mean).square())).sum(0)
        if shards.leads():
            self._note(mean.detach(), variance.detach(), shards.rows_of_all(len(x)))
        return mean, variance

    def _note(self, mean: Tensor, variance: Tensor, rows: int) -> None:
        """Move the running averages towards the moments of a batch."""
        assert self.running_mean is not None
        assert self.running_var is not None
        self.running_mean.lerp_(mean, self.momentum or 0.1)
        self.running_var.lerp_(variance * (rows / (rows - 1)), self.momentum or 0.1)


class Turn(nn.Module):
    """A rotation of the code, found after training; the identity until then."""

    rotation: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("rotation", torch.eye(width))

    def forward(self, x: Tensor) -> Tensor:
        """Rotate float[B, H]."""
        return x @ self.rotation


class TurnBack(nn.Module):
    """The inverse of a :class:`Turn`."""

    def __init__(self, turn: Turn) -> None:
        super().__init__()
        self._turn = [turn]  # within a list, so that it is no part of this module: a buffer has one owner

    def forward(self, code: Tensor) -> Tensor:
        """Rotate float[B, H] back."""
        return code @ self._turn[0].rotation.T


class Holes(nn.Module):
    """Turn rows with missing cells (NaN) into rows of double length: values, then marks.

    A missing value becomes zero; a mark is 1 where the cell is present.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return float[B, 2 D] of float[B, D]."""
        missing = x.isnan()
        return torch.cat([torch.where(missing, 0.0, x), (~missing).to(x.dtype)], 1)


def affine(size_in: int, size_out: int, generator: torch.Generator, *, gain: float | None = None) -> nn.Linear:
    """Return an affine map whose weights come from ``generator``, not from torch's global state.

    Weights and biases are uniform within one over the root of the fan-in (LeCun et al., "Efficient BackProp", 1998).

    Args:
        size_in: the fan-in.
        size_out: the fan-out.
        generator: on the CPU.
        gain: where given, weights have a standard deviation of ``gain`` over the root of the fan-in, and biases are
            zero: then signals neither fade nor grow through a deep network (He et al., "Delving Deep into Rectifiers",
            ICCV 2015). :func:`gain_of` gives it for an activation.
    """
    # Made without values first: nn.Linear would draw them from torch's global state.
    made = nn.Linear(size_in, size_out, device="meta").to_empty(device="cpu")
    draw(made, size_in, generator)
    if gain is not None:
        # A uniform draw within b has a standard deviation of b over the root of 3.
        bound = gain * math.sqrt(3 / size_in)
        nn.init.uniform_(made.weight, -bound, bound, generator=generator)
        nn.init.zeros_(made.bias)
    return made


def gain_of(activation: Activation) -> float:
    """Return the gain of a map before an activation: rectifiers lose half of the signal."""
    return 1.0 if activation in {"linear", "tanh", "sigmoid"} else math.sqrt(2)


def draw(module: nn.Module, fan_in: int, generator: torch.Generator) -> None:
    """Draw all parameters of a module uniformly within one over the root of a fan-in."""
    bound = 1 / math.sqrt(fan_in)
    for parameter in module.parameters():
        nn.init.uniform_(parameter, -bound, bound, generator=generator)
