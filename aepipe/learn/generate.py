"""Use trained autoencoders: encode and decode rows, generate new ones, look inside.

:func:`open_stack` and :func:`open_finetuned` give trained networks, set to ``eval()``. Functions with a ``compute``
take arrays and give arrays, block by block, however many rows there are. All others take and give tensors on the device
of the model: one layer, or a stack unrolled by :func:`aepipe.learn.stack.unroll`. Functions that generate rows give
:class:`Rows`: the likelihood's mean and a draw from it.

Legend: N rows, ``shape`` of one, H units of a code, K bits, T steps, k directions, M offsets.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load as tensors
from torch import Tensor, nn

from aepipe.errors import QueryError
from aepipe.learn import stack
from aepipe.learn.autoencoder import Autoencoder
from aepipe.learn.batches import BLOCK, Compute, Feed
from aepipe.learn.corruption import Corruption
from aepipe.learn.nets import Switches
from aepipe.learn.posterior import Gaussian, Stochastic
from aepipe.learn.spec import LayerSpec
from aepipe.learn.stack import unroll
from aepipe.store.io import weights_in

Draw = Callable[[int, int, torch.Generator], Tensor]
"""``(rows, width, generator) -> codes``, float[rows, width]: a draw from a prior."""
RowArray = NDArray[np.generic]
"""Rows as they are stored: uint8, where 255 stands for 1, or float; may be memory-mapped."""
Floats = NDArray[np.float32]


class Rows(NamedTuple):
    """Rows from a decoder.

    Attributes:
        mean: float[N, *shape], the likelihood's mean: the expected row, for pictures.
        sample: float[N, *shape], a draw from the likelihood; without a generator, the mean.
    """

    mean: Tensor
    sample: Tensor


class Tangents(NamedTuple):
    """Directions in which a code changes most, at one row.

    Attributes:
        directions: float[k, *shape], orthogonal and of length 1; the sign of each is arbitrary.
        strengths: float[k], falling: the length of the code's change over the length of the row's.
    """

    directions: Tensor
    strengths: Tensor


def open_stack(
    specs: Sequence[LayerSpec], shape: Sequence[int], files: Sequence[Path], compute: Compute
) -> list[Autoencoder]:
    """Return the pretrained layers, bottom up, as they were before fine-tuning.

    ``unroll(open_stack(...))`` joins them into one autoencoder. Its code is the float embedding if the layer of bits is
    left out.

    Args:
        specs: the layers of the recipe; there may be files for the first few only.
        shape: of one row.
        files: ``layer.safetensors`` of each, bottom up.
        compute: the device.
    """
    layers = stack.load(specs[: len(files)], shape, files, seed=0, compute=compute)
    return [layer.eval() for layer in layers]


def open_finetuned(specs: Sequence[LayerSpec], shape: Sequence[int], file: Path, compute: Compute) -> Autoencoder:
    """Return the unrolled, fine-tuned autoencoder, whose code is bits, -1 and 1.

    Args:
        specs: all layers of the recipe, the layer of bits last.
        shape: of one row.
        file: ``weights.safetensors`` of the model.
        compute: the device.
    """
    model = unroll(stack.build(specs, shape, seed=0))
    model.load_state_dict(weights_in(file, tensors))
    return model.to(compute.device).eval()


def embed(model: Autoencoder, rows: RowArray, compute: Compute) -> Floats:
    """Return the codes of rows: the posterior's mean, float32[N, *shape of a code].

    Args:
        model: one layer, or an unrolled stack.
        rows: ``[N, *shape]``.
        compute: the device.
    """
    return _mapped(lambda block: model.encode(block).mean, Feed(rows, compute), model.net.shape_out)


def decode_codes(model: Autoencoder, codes: RowArray, compute: Compute) -> Floats:
    """Decode codes: the likelihood's mean, float32[N, *shape].

    Args:
        model: one layer, or an unrolled stack.
        codes: float ``[N, *shape of a code]``; for bits -1 and 1, as :func:`signs` gives them.
        compute: the device.
    """
    return _mapped(lambda block: _mean(model, block), Feed(codes, compute), model.net.shape_in)


def reconstruct_rows(model: Autoencoder, rows: RowArray, compute: Compute) -> Floats:
    """Encode rows and decode their codes: the likelihood's mean, float32[N, *shape].

    The decoder gets the code and nothing else, so no switches of pooling. Bits are those of training, cut at zero; for
    the bits of a release, give its codes to :func:`decode_codes`.

    Args:
        model: one layer, or an unrolled stack.
        rows: ``[N, *shape]``.
        compute: the device.
    """
    return _mapped(lambda block: _mean(model, model.encode(block).mean), Feed(rows, compute), model.net.shape_in)


def walk(model: Autoencoder, row: RowArray, units: int, offsets: Floats, compute: Compute) -> Floats:
    """Move single units of a row's code, and decode: float32[units, M, *shape].

    Args:
        model: one layer, or an unrolled stack.
        row: float ``[*shape]``.
        units: how many; those are taken whose move by the last offset changes the row most.
        offsets: float32[M], added to a unit one after the other.
        compute: the device.
    """
    code = embed(model, row[None], compute)[0].ravel()
    moved = code + np.eye(len(code), dtype=np.float32) * offsets[-1]
    shape = model.net.shape_out
    unmoved = decode_codes(model, code.reshape(1, *shape), compute)
    change = decode_codes(model, moved.reshape(-1, *shape), compute) - unmoved
    # A stable sort: equal changes keep the order of the units, so the same model gives the same picture.
    chosen = np.argsort(-np.square(change).reshape(len(change), -1).sum(1), kind="stable")[:units]
    codes = np.repeat(code[None], len(chosen) * len(offsets), 0).reshape(len(chosen), len(offsets), -1)
    codes[np.arange(len(chosen)), :, chosen] += offsets
    rows = decode_codes(model, codes.reshape(-1, *shape), compute)
    return rows.reshape(len(chosen), len(offsets), *model.net.shape_in)


def decode(
    model: Autoencoder, codes: Tensor, generator: torch.Generator | None = None, *, switches: Switches | None = None
) -> Rows:
    """Return the rows of codes, float[N, *shape of a code]."""
    with torch.no_grad():
        params = model.decode(codes, switches).float()
        mean = model.likelihood.mean(params)
        return Rows(mean, mean if generator is None else model.likelihood.sample(params, generator))


def reconstruct(model: Autoencoder, rows: Tensor, generator: torch.Generator | None = None) -> Rows:
    """Encode rows, float[N, *shape], and decode their codes."""
    with torch.no_grad():
        encoding = model.encode(rows)
    return decode(model, encoding.mean, generator, switches=encoding.switches)


def from_prior(
    layers: Sequence[Autoencoder], count: int, generator: torch.Generator, *, draw: Draw | None = None
) -> Rows:
    """Draw codes from a prior and decode them down the stack.

    Args:
        layers: of a stack, bottom up. Those above the topmost one with a prior are left out.
        count: N.
        generator: on the device of the model.
        draw: where the prior is not the posterior's: draws codes of the last of the layers, as ``Options.draw`` of the
            adversarial objective does.

    Raises:
        QueryError: no layer has a prior.
    """
    # Layers above the topmost prior have no distribution of codes to draw from.
    depth = len(layers) if draw else _depth(layers)
    model = unroll(layers[:depth])
    if draw is None:
        assert isinstance(model.posterior, Stochastic)
        draw = model.posterior.prior
    shape = model.net.shape_out
    # A map of units is drawn place by place, as a posterior's units are its last axis.
    codes = draw(count * math.prod(shape[:-1]), shape[-1], generator)
    return decode(model, codes.view(count, *shape), generator)


def chain(
    model: Autoencoder, start: Tensor, noise: Corruption, *, steps: int, generator: torch.Generator
) -> Iterator[Rows]:
    """Walk the chain of a denoising autoencoder: corrupt, encode, decode, draw; yield each step.

    The draws are the states of the chain. The means are smoother, but they are no samples.

    Source: Bengio, Yao, Alain and Vincent, "Generalized Denoising Auto-Encoders as Generative Models", NIPS 2013.

    Args:
        model: trained under that noise.
        start: float[N, *shape], the first states of N chains.
        noise: the corruption of every step.
        steps: T.
        generator: on the device of the model.
    """
    rows = Rows(start, start)
    for _ in range(steps):
        with torch.no_grad():
            # The draw, not the mean: a chain of means would settle at a point instead of visiting the data.
            noisy, _ = noise.corrupt_tensor(rows.sample, generator)
            encoding = model.encode(noisy, generator)
        rows = decode(model, encoding.sample, generator, switches=encoding.switches)
        yield rows


def interpolate(
    model: Autoencoder,
    a: Tensor,
    b: Tensor,
    steps: int,
    generator: torch.Generator | None = None,
    *,
    around: bool | None = None,
) -> Rows:
    """Interpolate between the codes of two rows, and decode ``steps`` codes on the path.

    The path is straight, or goes around the origin: draws from a Gaussian in many dimensions lie on a shell, and a
    straight path leaves it (White, "Sampling Generative Networks", arXiv:1609.04468).

    Args:
        model: as of this module.
        a: float[*shape].
        b: float[*shape].
        steps: with both ends, at least 2.
        generator: of the draws.
        around: whether the path goes around; None decides by the posterior: around for a Gaussian.
    """
    with torch.no_grad():
        first, last = model.encode(torch.stack([a, b])).mean
    share = torch.linspace(0, 1, steps, device=first.device).view(-1, *(1,) * first.ndim)
    if isinstance(model.posterior, Gaussian) if around is None else around:
        return decode(model, _around(first, last, share), generator)
    return decode(model, (1 - share) * first + share * last, generator)


def tangents(model: Autoencoder, row: Tensor, k: int) -> Tangents:
    """Return the leading right singular vectors of the code's Jacobian at a row.

    Bits have no derivative, so the activations before the sign are differentiated in their place.

    Source: Rifai et al., "The Manifold Tangent Classifier", NIPS 2011.

    Args:
        model: as of this module.
        row: float[*shape].
        k: directions, at most as many as a row has values or a code units.
    """

    def code(one: Tensor) -> Tensor:
        activation, _ = model.net.encode(one[None])
        return (activation if model.posterior.binary else model.posterior.encode(activation, None).mean).flatten()

    # Reverse mode: a code has fewer units than a row has values.
    jacobian: Tensor = torch.func.jacrev(code)(row.float())
    _, strengths, directions = torch.linalg.svd(jacobian.detach().flatten(1), full_matrices=False)
    return Tangents(directions[:k].view(-1, *row.shape), strengths[:k])


def filters(model: Autoencoder) -> Tensor:
    """Return the incoming weights of the lowest units, as rows, or as patches of a convolution.

    Returns:
        float[units, *shape]; float[channels, kernel, kernel, C] of a convolution; float[units, 1, ...] of a recurrent
        network, as its units see one step at a time.
    """
    first = next(part for part in model.net.encoder.modules() if isinstance(part, nn.Linear | nn.Conv2d | nn.GRU))
    shape = model.net.shape_in
    if isinstance(first, nn.Conv2d):
        return first.weight.detach().permute(0, 2, 3, 1)
    if isinstance(first, nn.GRU):
        return first.get_parameter("weight_ih_l0").detach().view(-1, 1, *shape[1:])
    # A network that reads holes has the values first, and after them the marks of present cells.
    return first.weight.detach()[:, : math.prod(shape)].reshape(-1, *shape)


def features(model: Autoencoder, units: Tensor, *, strength: float = 1.0) -> Tensor:
    """Decode single units of the code: the row with one unit on, minus the row with none on.

    For a linear decoder these are its columns. A map of units is switched on in its middle.

    Source: as Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014, project a unit down
    with all others of its layer at zero. It needs no gradient, so it works for every kind of network in a stack.

    Args:
        model: as of this module.
        units: int64[n], positions on the last axis of the code.
        strength: value of a unit that is on.

    Returns:
        float[n, *shape].
    """
    shape = model.net.shape_out
    codes = torch.zeros((len(units) + 1, *shape), device=units.device)
    middle = tuple(side // 2 for side in shape[:-1])
    for place, unit in enumerate(units.tolist(), 1):
        codes[(place, *middle, unit)] = strength
    # One row more, all units off, in the same call: it is the baseline of all differences.
    rows = decode(model, codes).mean
    return rows[1:] - rows[:1]


def parameters(model: Autoencoder) -> int:
    """Return the number of trained numbers; weights that encoder and decoder share count once."""
    return sum(parameter.numel() for parameter in model.parameters())


def signs(bits: NDArray[np.uint8]) -> Floats:
    """Return bits, uint8[N, K] of 0 and 1, as a decoder reads them: -1 and 1."""
    return bits.astype(np.float32) * 2 - 1


def units(model: Autoencoder, count: int, compute: Compute) -> Tensor:
    """Return the positions of the first units of a code, at most ``count``, int64 on the device."""
    return torch.arange(min(count, model.net.shape_out[-1]), device=compute.device)


def as_tensor(rows: RowArray, compute: Compute) -> Tensor:
    """Return an array as a float32 tensor on the device."""
    return torch.from_numpy(np.ascontiguousarray(rows, np.float32)).to(compute.device)


def as_array(rows: Tensor) -> Floats:
    """Return a tensor as an array."""
    found: Floats = rows.detach().float().cpu().numpy()
    return found


def _mean(model: Autoencoder, code: Tensor) -> Tensor:
    return model.likelihood.mean(model.decode(code))


def _mapped(function: Callable[[Tensor], Tensor], rows: Feed, shape: Sequence[int]) -> Floats:
    """Apply a function to rows, block by block, without gradients; return float32[N, *shape]."""
    out = np.empty((len(rows), *shape), np.float32)
    with torch.no_grad():
        for start, block in zip(range(0, len(rows), BLOCK), rows.blocks(), strict=True):
            out[start : start + len(block)] = function(block).float().cpu().numpy()
    return out


def _depth(layers: Sequence[Autoencoder]) -> int:
    """Return the number of layers up to the topmost one with a prior.

    Raises:
        QueryError: none has one.
    """
    found = [number for number, layer in enumerate(layers, 1) if isinstance(layer.posterior, Stochastic)]
    if not found:
        raise QueryError("no layer has a prior to draw codes from; allowed: a stack with a posterior that has one")
    return found[-1]


def _around(a: Tensor, b: Tensor, share: Tensor) -> Tensor:
    """Interpolate directions along the arc between them, and lengths linearly.

    Source: Shoemake, "Animating Rotation with Quaternion Curves", SIGGRAPH 1985.
    """
    lengths = [vector.norm().clamp(min=1e-12) for vector in (a, b)]
    a, b = a / lengths[0], b / lengths[1]
    # The sine is zero for the same direction twice and for opposite ones; then there is no arc, so keep away from it.
    angle = torch.acos((a * b).sum().clamp(-1, 1)).clamp(1e-3, math.pi - 1e-3)
    direction = (torch.sin((1 - share) * angle) * a + torch.sin(share * angle) * b) / torch.sin(angle)
    return torch.as_tensor(((1 - share) * lengths[0] + share * lengths[1]) * direction)
