"""Posteriors: what a code is, given the activations of the encoder.

Mean and sample are two things: the mean is what a row's code is, the sample is what training passes on to the decoder.
Each kind is a frozen options model; randomness is an argument, and without it there is no sample but the mean.

Legend: B rows, H units of the code, the last axis; activations have ``head.heads`` times as many.
"""

from __future__ import annotations

from collections.abc import Mapping

from aepipe.learn.posterior.bits import Bits, Coin, Noise, Rotation, StraightThrough, Tanh, hard_bits
from aepipe.learn.posterior.encoding import Encoding, Posterior, Stochastic
from aepipe.learn.posterior.points import Delta, KSparse
from aepipe.learn.posterior.priors import Bernoulli, Categorical, Gaussian
from aepipe.recipe import Options

__all__ = [
    "BITS",
    "KINDS",
    "Bernoulli",
    "Bits",
    "Categorical",
    "Coin",
    "Delta",
    "Encoding",
    "Gaussian",
    "KSparse",
    "Noise",
    "Posterior",
    "Rotation",
    "Stochastic",
    "StraightThrough",
    "Tanh",
    "hard_bits",
]

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
"""Those that the layer of bits on top of a stack can have; a rotation is found when that is trained."""
