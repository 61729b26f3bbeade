"""Greedy layer-wise pretraining: each layer learns to reconstruct the codes of the layer below it.

A layer sees the clean codes of the one below as its target, and the same codes corrupted as its input: the corruption
is on what goes into a layer, never on what comes out of it.

Source: Bengio et al., "Greedy Layer-Wise Training of Deep Networks", NIPS 2006; Vincent et al., JMLR 2010.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from aepipe.disk import array_in
from aepipe.learn.compute import Compute
from aepipe.learn.feed import Feed
from aepipe.learn.layer import Autoencoder, LayerSpec


def build(specs: Sequence[LayerSpec], shape: Sequence[int], *, seed: int) -> list[Autoencoder]:
    """Make a stack with random weights, bottom up; layer k's weights do not depend on how many stand above it.

    Args:
        specs: the layers, the layer of bits last.
        shape: of one row of data.
        seed: of the weights.
    """
    layers: list[Autoencoder] = []
    for k, spec in enumerate(specs):
        generator = torch.Generator().manual_seed(seed + k)
        layers.append(spec.build(shape, generator))
        shape = layers[-1].net.shape_out
    return layers


def load(
    specs: Sequence[LayerSpec], shape: Sequence[int], files: Sequence[Path], *, seed: int, compute: Compute
) -> list[Autoencoder]:
    """Make a stack on the device: trained weights for the first layers, the seed's random ones above them.

    Args:
        specs: as :func:`build`.
        shape: as :func:`build`.
        files: the weights of the trained layers, safetensors, bottom up.
        seed: as :func:`build`.
        compute: the device.
    """
    layers = build(specs, shape, seed=seed)
    for layer, file in zip(layers, files, strict=False):
        layer.load_state_dict(load_file(file))
    return [layer.to(compute.device) for layer in layers]


def codes(below: Sequence[Autoencoder], rows: Feed, compute: Compute, *, spill: Path) -> Feed:
    """Encode all rows through the finished layers.

    Args:
        below: the finished layers, bottom up; with none, the rows themselves are returned.
        rows: clean data.
        compute: where; its memory budget says whether the codes stay on the device.
        spill: the file, ``.npy``, that they are streamed to where they do not.

    Returns:
        float32 codes ``[N, *shape]`` in the order of the rows.
    """
    if not below:
        return rows
    shape = (len(rows), *below[-1].net.shape_out)
    fits = 4 * int(np.prod(shape)) <= compute.memory
    if fits:
        on_device = torch.empty(shape, device=compute.device)
        for start, block in _blocks(below, rows):
            on_device[start : start + len(block)] = block
        return Feed(on_device, compute)
    on_disk = array_in(spill, np.float32, shape)
    for start, block in _blocks(below, rows):
        on_disk[start : start + len(block)] = block.cpu().numpy()
    return Feed(on_disk, compute)


def _blocks(below: Sequence[Autoencoder], rows: Feed) -> Iterator[tuple[int, Tensor]]:
    """Return the codes of consecutive rows, each block with the position of its first."""
    start = 0
    for block in rows.blocks():
        with torch.no_grad():
            for layer in below:
                block = layer.encode(block).mean
        yield start, block
        start += len(block)
