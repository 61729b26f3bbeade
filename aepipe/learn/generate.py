"""What a trained autoencoder makes by itself: draws, chains, ways between rows; and what it looks at.

All of it is for a trained model: one layer, or a stack unrolled by :func:`aepipe.learn.stack.unroll`, set to
``eval()`` as training leaves it. Whatever makes rows gives the likelihood's mean and a draw from it.

Legend: N rows, ``shape`` of one, H units of a code, T steps, k directions.
"""

# (from trained.py) What is trained, opened again: weights in files and rows as arrays go in, arrays come out.
# (from trained.py)
# (from trained.py) Legend: N rows, D elements of one, H units of a code, K bits.

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
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

Draw = Callable[[int, int, torch.Generator], Tensor]


class Rows(NamedTuple):
    """Rows that a decoder made.

    Attributes:
        mean: float[N, *shape], the likelihood's mean: the expected row, which is what pictures show.
        sample: float[N, *shape], a draw from the likelihood; without a generator, the mean.
    """

    mean: Tensor
    sample: Tensor


class Tangents(NamedTuple):
    """Directions in which a code changes most where a row lies.

    Attributes:
        directions: float[k, *shape], orthogonal and of length 1; the sign of each is arbitrary.
        strengths: float[k], the length of the code's change per length of the row's, falling.
    """

    directions: Tensor
    strengths: Tensor


def decode(
    model: Autoencoder, codes: Tensor, generator: torch.Generator | None = None, *, switches: Switches | None = None
) -> Rows:
    """Return the rows of codes, float[N, *shape of a code]."""
    with torch.no_grad():
        params = model.decode(codes, switches).float()
        mean = model.likelihood.mean(params)
        return Rows(mean, mean if generator is None else model.likelihood.sample(params, generator))


def reconstruct(model: Autoencoder, rows: Tensor, generator: torch.Generator | None = None) -> Rows:
    """Return what is decoded from the codes of rows, float[N, *shape]."""
    with torch.no_grad():
        encoding = model.encode(rows)
    return decode(model, encoding.mean, generator, switches=encoding.switches)


def from_prior(
    layers: Sequence[Autoencoder], count: int, generator: torch.Generator, *, draw: Draw | None = None
) -> Rows:
    """Return rows of codes that are drawn from a prior and decoded down the stack.

    Args:
        layers: of a stack, bottom up. Those above the topmost one with a prior are left out.
        count: N.
        generator: on the device of the model.
        draw: where the prior is not the posterior's, ``(rows, width, generator) -> codes`` of the last of the layers:
            ``Options.draw`` of the adversarial objective.

    Raises:
        QueryError: no layer has a prior.
    """
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
    """Walk the chain of a denoising autoencoder: corrupt, encode, decode, draw; give the rows of each step.

    The draws are the states of the chain. Its means are smoother, and no draws of anything.

    Source: Bengio, Yao, Alain and Vincent, "Generalized Denoising Auto-Encoders as Generative Models", NIPS 2013.

    Args:
        model: trained under that noise.
        start: float[N, *shape], where N chains begin.
        noise: the corruption of every step.
        steps: T.
        generator: on the device of the model.
    """
    rows = Rows(start, start)
    for _ in range(steps):
        with torch.no_grad():
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
    """Return the rows on the way from the code of one row to that of another, ``steps`` of them.

    The way is straight, or goes around the origin: draws from a Gaussian in many dimensions lie on a shell, which a
    straight way leaves (White, "Sampling Generative Networks", arXiv:1609.04468).

    Args:
        model: as of this module.
        a: float[*shape].
        b: float[*shape].
        steps: with both ends, at least 2.
        generator: of the draws.
        around: whether it goes around; None, where the posterior is a Gaussian.
    """
    with torch.no_grad():
        first, last = model.encode(torch.stack([a, b])).mean
    share = torch.linspace(0, 1, steps, device=first.device).view(-1, *(1,) * first.ndim)
    if isinstance(model.posterior, Gaussian) if around is None else around:
        return decode(model, _around(first, last, share), generator)
    return decode(model, (1 - share) * first + share * last, generator)


def tangents(model: Autoencoder, row: Tensor, k: int) -> Tangents:
    """Return the leading right singular vectors of the code's Jacobian at a row.

    Bits have no derivative; what is differentiated in their place are the activations that they are the signs of.

    Source: Rifai et al., "The Manifold Tangent Classifier", NIPS 2011.

    Args:
        model: as of this module.
        row: float[*shape].
        k: directions, at most as many as a row has values or a code units.
    """

    def code(one: Tensor) -> Tensor:
        activation, _ = model.net.encode(one[None])
        return (activation if model.posterior.binary else model.posterior.encode(activation, None).mean).flatten()

    jacobian: Tensor = torch.func.jacrev(code)(row.float())
    _, strengths, directions = torch.linalg.svd(jacobian.detach().flatten(1), full_matrices=False)
    return Tangents(directions[:k].view(-1, *row.shape), strengths[:k])


def filters(model: Autoencoder) -> Tensor:
    """Return what the lowest units are sensitive to: their incoming weights, as rows, or as patches of a convolution.

    Returns:
        float[units, *shape]; float[channels, kernel, kernel, C] of a convolution; of a recurrent network, whose units
        see one step at a time, float[units, 1, ...].
    """
    first = next(part for part in model.net.encoder.modules() if isinstance(part, nn.Linear | nn.Conv2d | nn.GRU))
    shape = model.net.shape_in
    if isinstance(first, nn.Conv2d):
        return first.weight.detach().permute(0, 2, 3, 1)
    if isinstance(first, nn.GRU):
        return first.get_parameter("weight_ih_l0").detach().view(-1, 1, *shape[1:])
    # A network that reads holes has the values first, and after them the marks of what is there.
    return first.weight.detach()[:, : math.prod(shape)].reshape(-1, *shape)


def features(model: Autoencoder, units: Tensor, *, strength: float = 1.0) -> Tensor:
    """Return what units of the code stand for: what is decoded with one of them on, less what is with all of them off.

    Of a linear decoder these are its columns. A map of units is switched on in its middle.

    Source: as Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014, project a unit down
    with all others of its layer at zero. It needs no gradient, and serves every kind of network in a stack.

    Args:
        model: as of this module.
        units: int64[n], positions on the last axis of the code.
        strength: how far they are switched on.

    Returns:
        float[n, *shape].
    """
    shape = model.net.shape_out
    codes = torch.zeros((len(units) + 1, *shape), device=units.device)
    middle = tuple(side // 2 for side in shape[:-1])
    for place, unit in enumerate(units.tolist(), 1):
        codes[(place, *middle, unit)] = strength
    rows = decode(model, codes).mean
    return rows[1:] - rows[:1]


def _depth(layers: Sequence[Autoencoder]) -> int:
    """Return how many layers there are up to the topmost with a prior.

    Raises:
        QueryError: none has one.
    """
    found = [number for number, layer in enumerate(layers, 1) if isinstance(layer.posterior, Stochastic)]
    if not found:
        raise QueryError("no layer has a prior to draw codes from; allowed: a stack with a posterior that has one")
    return found[-1]


def _around(a: Tensor, b: Tensor, share: Tensor) -> Tensor:
    """Go along the arc between two directions, and straight from the one's length to the other's.

    Source: Shoemake, "Animating Rotation with Quaternion Curves", SIGGRAPH 1985.
    """
    lengths = [vector.norm().clamp(min=1e-12) for vector in (a, b)]
    a, b = a / lengths[0], b / lengths[1]
    # Where the sine is zero there is no arc: the same direction twice, or opposite ones.
    angle = torch.acos((a * b).sum().clamp(-1, 1)).clamp(1e-3, math.pi - 1e-3)
    direction = (torch.sin((1 - share) * angle) * a + torch.sin(share * angle) * b) / torch.sin(angle)
    return torch.as_tensor(((1 - share) * lengths[0] + share * lengths[1]) * direction)


RowArray = NDArray[np.generic]
Floats = NDArray[np.float32]


def open_stack(
    specs: Sequence[LayerSpec], shape: Sequence[int], files: Sequence[Path], compute: Compute
) -> list[Autoencoder]:
    """Return the pretrained layers, bottom up, as they were before fine-tuning.

    ``unroll(open_stack(...))`` is one autoencoder of them; without the last, the layer of bits, its code is the float
    embedding.

    Args:
        specs: the layers of the recipe, of which the files may be the first few.
        shape: of one row.
        files: ``layer.safetensors`` of each, bottom up.
        compute: the device.
    """
    layers = stack.load(specs[: len(files)], shape, files, seed=0, compute=compute)
    return [layer.eval() for layer in layers]


def open_finetuned(specs: Sequence[LayerSpec], shape: Sequence[int], file: Path, compute: Compute) -> Autoencoder:
    """Return the unrolled, fine-tuned autoencoder: its code is bits, -1 and 1.

    Args:
        specs: all layers of the recipe, the layer of bits last.
        shape: of one row.
        file: ``weights.safetensors`` of the model.
        compute: the device.
    """
    model = unroll(stack.build(specs, shape, seed=0))
    model.load_state_dict(load_file(file))
    return model.to(compute.device).eval()


def parameters(model: Autoencoder) -> int:
    """Return how many numbers training has set; what encoder and decoder share counts once."""
    return sum(parameter.numel() for parameter in model.parameters())


def embed(model: Autoencoder, rows: RowArray, compute: Compute) -> Floats:
    """Return the codes of rows: the posterior's mean, float32[N, *shape of a code].

    Args:
        model: one layer, or an unrolled stack.
        rows: uint8, which stands for 0..1, or float ``[N, *shape]``; may be memory-mapped.
        compute: the device.
    """
    return _mapped(lambda block: model.encode(block).mean, Feed(rows, compute), model.net.shape_out)


def reconstruct_rows(model: Autoencoder, rows: RowArray, compute: Compute) -> Floats:
    """Return what the decoder makes of the codes of rows: the likelihood's mean, float32[N, *shape].

    The decoder is told the code and nothing else; where pooling took its values from stays unsaid. Bits are those of
    training, cut at zero; for a release's own, give its codes to :func:`decode`.

    Args:
        model: one layer, or an unrolled stack.
        rows: as of :func:`embed`.
        compute: the device.
    """
    return _mapped(lambda block: _mean(model, model.encode(block).mean), Feed(rows, compute), model.net.shape_in)


def decode_codes(model: Autoencoder, codes: RowArray, compute: Compute) -> Floats:
    """Return what the decoder makes of codes: the likelihood's mean, float32[N, *shape].

    Args:
        model: one layer, or an unrolled stack.
        codes: float ``[N, *shape of a code]``; of bits, -1 and 1 (:func:`signs` makes them).
        compute: the device.
    """
    return _mapped(lambda block: _mean(model, block), Feed(codes, compute), model.net.shape_in)


def signs(bits: NDArray[np.uint8]) -> Floats:
    """Return bits, uint8[N, K] of 0 and 1, as the decoder of a layer of bits reads them: -1 and 1."""
    return bits.astype(np.float32) * 2 - 1


def walk(model: Autoencoder, row: RowArray, units: int, offsets: Floats, compute: Compute) -> Floats:
    """Return what a row becomes when single units of its code are moved, float32[units, offsets, *shape].

    Args:
        model: one layer, or an unrolled stack.
        row: float ``[*shape]``.
        units: how many; those whose move by the last offset changes the row most.
        offsets: what is added to a unit, float32[M].
        compute: the device.
    """
    code = embed(model, row[None], compute)[0].ravel()
    moved = code + np.eye(len(code), dtype=np.float32) * offsets[-1]
    shape = model.net.shape_out
    change = decode_codes(model, moved.reshape(-1, *shape), compute) - decode_codes(
        model, code.reshape(1, *shape), compute
    )
    chosen = np.argsort(-np.square(change).reshape(len(change), -1).sum(1), kind="stable")[:units]
    codes = np.repeat(code[None], len(chosen) * len(offsets), 0).reshape(len(chosen), len(offsets), -1)
    codes[np.arange(len(chosen)), :, chosen] += offsets
    return decode_codes(model, codes.reshape(-1, *shape), compute).reshape(
        len(chosen), len(offsets), *model.net.shape_in
    )


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
    """Return the expected rows for codes."""
    return model.likelihood.mean(model.decode(code))


def _mapped(function: Callable[[Tensor], Tensor], rows: Feed, shape: Sequence[int]) -> Floats:
    """Return what a function makes of rows, block by block, without gradients."""
    out = np.empty((len(rows), *shape), np.float32)
    with torch.no_grad():
        for start, block in zip(range(0, len(rows), BLOCK), rows.blocks(), strict=True):
            out[start : start + len(block)] = function(block).float().cpu().numpy()
    return out
