"""What is trained, opened again: weights in files and rows as arrays go in, arrays come out.

Legend: N rows, D elements of one, H units of a code, K bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from aepipe.learn import stack
from aepipe.learn.compute import Compute
from aepipe.learn.feed import BLOCK, Feed
from aepipe.learn.finetune import unroll
from aepipe.learn.layer import Autoencoder, LayerSpec

Rows = NDArray[np.generic]
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


def embed(model: Autoencoder, rows: Rows, compute: Compute) -> Floats:
    """Return the codes of rows: the posterior's mean, float32[N, *shape of a code].

    Args:
        model: one layer, or an unrolled stack.
        rows: uint8, which stands for 0..1, or float ``[N, *shape]``; may be memory-mapped.
        compute: the device.
    """
    return _mapped(lambda block: model.encode(block).mean, Feed(rows, compute), model.net.shape_out)


def reconstruct(model: Autoencoder, rows: Rows, compute: Compute) -> Floats:
    """Return what the decoder makes of the codes of rows: the likelihood's mean, float32[N, *shape].

    The decoder is told the code and nothing else; where pooling took its values from stays unsaid. Bits are those of
    training, cut at zero; for a release's own, give its codes to :func:`decode`.

    Args:
        model: one layer, or an unrolled stack.
        rows: as of :func:`embed`.
        compute: the device.
    """
    return _mapped(lambda block: _mean(model, model.encode(block).mean), Feed(rows, compute), model.net.shape_in)


def decode(model: Autoencoder, codes: Rows, compute: Compute) -> Floats:
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


def walk(model: Autoencoder, row: Rows, units: int, offsets: Floats, compute: Compute) -> Floats:
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
    change = decode(model, moved.reshape(-1, *shape), compute) - decode(model, code.reshape(1, *shape), compute)
    chosen = np.argsort(-np.square(change).reshape(len(change), -1).sum(1), kind="stable")[:units]
    codes = np.repeat(code[None], len(chosen) * len(offsets), 0).reshape(len(chosen), len(offsets), -1)
    codes[np.arange(len(chosen)), :, chosen] += offsets
    return decode(model, codes.reshape(-1, *shape), compute).reshape(len(chosen), len(offsets), *model.net.shape_in)


def units(model: Autoencoder, count: int, compute: Compute) -> Tensor:
    """Return the positions of the first units of a code, at most ``count``, int64 on the device."""
    return torch.arange(min(count, model.net.shape_out[-1]), device=compute.device)


def as_tensor(rows: Rows, compute: Compute) -> Tensor:
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
