"""Stacks: greedy layer-wise pretraining, and one deep network for fine-tuning.

Each layer learns to reconstruct the codes of the layer below it. The clean codes are its target, the same codes
corrupted its input: the corruption is on the input of a layer, never on its output. Unrolled, the stack is one network
that shares the parameters of its layers and is trained end to end; then its bits get a rotation and thresholds.

Source: Bengio et al., "Greedy Layer-Wise Training of Deep Networks", NIPS 2006; Vincent et al., JMLR 2010; for
fine-tuning, Hinton and Salakhutdinov, "Reducing the Dimensionality of Data with Neural Networks", Science 2006; with a
binary bottleneck, Salakhutdinov and Hinton, "Semantic Hashing", 2009.

Legend: N rows, K bits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load as tensors
from torch import Tensor, nn

from aepipe.evaluate.baselines import itq_rotation
from aepipe.learn.autoencoder import Autoencoder
from aepipe.learn.batches import Compute, Feed
from aepipe.learn.nets import Net, Turn
from aepipe.learn.posterior import Rotation
from aepipe.learn.spec import LayerSpec
from aepipe.store.io import array_in, weights_in

LIFT = 2.0
"""In lengths of codes. More brings angles nearer to distances, but leaves codes fewer of the values of a byte."""


def build(specs: Sequence[LayerSpec], shape: Sequence[int], *, seed: int) -> list[Autoencoder]:
    """Make a stack with random weights, bottom up; weights do not depend on the layers above.

    Args:
        specs: the layers, the layer of bits last.
        shape: of one row of data.
        seed: of the weights.
    """
    layers: list[Autoencoder] = []
    for k, spec in enumerate(specs):
        # A seed for each layer: its weights stay the same when layers above come or go.
        generator = torch.Generator().manual_seed(seed + k)
        layers.append(spec.build(shape, generator))
        shape = layers[-1].net.shape_out
    return layers


def load(
    specs: Sequence[LayerSpec], shape: Sequence[int], files: Sequence[Path], *, seed: int, compute: Compute
) -> list[Autoencoder]:
    """Make a stack on the device: trained weights for the first layers, random ones above.

    Args:
        specs: as :func:`build`.
        shape: as :func:`build`.
        files: the weights of the trained layers, safetensors, bottom up.
        seed: as :func:`build`.
        compute: the device.

    Raises:
        CorruptError: a file holds no weights.
        StoreError: the system refused to read one.
    """
    layers = build(specs, shape, seed=seed)
    for layer, file in zip(layers, files, strict=False):
        layer.load_state_dict(weights_in(file, tensors))
    return [layer.to(compute.device) for layer in layers]


def codes(below: Sequence[Autoencoder], rows: Feed, compute: Compute, *, spill: Path) -> Feed:
    """Encode all rows through the finished layers.

    Args:
        below: the finished layers, bottom up; without any, the rows themselves are returned.
        rows: clean data.
        compute: the device; its memory budget says whether the codes stay there.
        spill: the file, ``.npy``, that they are streamed to if they do not fit; of several processes that train
            together, the first one writes it for all.

    Returns:
        float32 codes ``[N, *shape]`` in the order of the rows.
    """
    if not below:
        return rows
    shape = (len(rows), *below[-1].net.shape_out)
    # Codes are float32, four bytes each.
    fits = 4 * int(np.prod(shape)) <= compute.memory
    if fits:
        on_device = torch.empty(shape, device=compute.device)
        for start, block in _blocks(below, rows):
            on_device[start : start + len(block)] = block
        return Feed(on_device, compute)
    world = compute.world
    if world.first:
        on_disk = array_in(spill, np.float32, shape)
        for start, block in _blocks(below, rows):
            on_disk[start : start + len(block)] = block.cpu().numpy()
        if isinstance(on_disk, np.memmap) and world.size > 1:
            on_disk.flush()  # the others may be on other machines
    world.tell(None)
    return Feed(on_disk if world.first else np.load(spill, mmap_mode="r", allow_pickle=False), compute)


def _blocks(below: Sequence[Autoencoder], rows: Feed) -> Iterator[tuple[int, Tensor]]:
    """Yield the codes of consecutive rows, each block with the position of its first row."""
    start = 0
    for block in rows.blocks():
        with torch.no_grad():
            for layer in below:
                block = layer.encode(block).mean
        yield start, block
        start += len(block)


def unroll(layers: Sequence[Autoencoder]) -> Autoencoder:
    """Join a stack, bottom up, into one autoencoder.

    Its posterior is that of the top layer, its likelihood that of the lowest one.
    """
    top = layers[-1]
    if len(layers) == 1:
        return top
    net = Net(
        nn.Sequential(*(Mean(layer) for layer in layers[:-1]), top.net.encoder),
        Unrolled(layers),
        shape_in=layers[0].net.shape_in,
        shape_out=top.net.shape_out,
        holes=layers[0].net.holes,
    )
    return Autoencoder(net, top.posterior, layers[0].likelihood)


class Mean(nn.Module):
    """The code of a layer: the mean of its posterior."""

    def __init__(self, layer: Autoencoder) -> None:
        super().__init__()
        self.encoder = layer.net.encoder
        self._posterior = layer.posterior

    def forward(self, x: Tensor) -> Tensor:
        """Return the codes of rows."""
        return self._posterior.encode(self.encoder(x), None).mean


class Unrolled(nn.Module):
    """The decoders of a stack, top down.

    Between two of them stands the mean of the upper one's likelihood, kept within the range of the codes that the lower
    one was trained on. Switches of pooling do not come down: decoders know the top code and nothing else.
    """

    def __init__(self, layers: Sequence[Autoencoder]) -> None:
        super().__init__()
        self.decoders = nn.ModuleList(layer.net.decoder for layer in reversed(layers))
        self._links = [
            (upper.likelihood, lower.net.rectified)
            for upper, lower in zip(reversed(layers[1:]), reversed(layers[:-1]), strict=True)
        ]

    def forward(self, code: Tensor) -> Tensor:
        """Return the parameters of the lowest likelihood."""
        for upper, (likelihood, rectified) in zip(self.decoders[:-1], self._links, strict=True):
            mean = likelihood.mean(upper(code))
            # The lower decoder has never seen a negative code if its encoder ends in a relu.
            code = F.relu(mean) if rectified else mean
        return torch.as_tensor(self.decoders[-1](code))


def load_finetuned(layers: Sequence[Autoencoder], file: Path) -> None:
    """Load the weights of an earlier fine-tuning into a stack.

    Args:
        layers: all of them, the layer of bits last; changed in place.
        file: ``weights.safetensors`` of a model of the same layers.
    """
    unroll(layers).load_state_dict(weights_in(file, tensors))


def fit_rotation(model: Autoencoder, rows: Feed) -> None:
    """Find the rotation of the code if its posterior has one, and store it in the network.

    Args:
        model: the fine-tuned network; changed in place.
        rows: the training rows.
    """
    turns = [part for part in model.net.encoder.modules() if isinstance(part, Turn)]
    if turns and isinstance(model.posterior, Rotation) and model.posterior.iterations:
        found = activations(model, rows)
        centred = (found - found.mean(0)).cpu().numpy()
        # A fixed seed: the rotation depends on the network and its rows alone.
        rotation = itq_rotation(centred, np.random.default_rng(0), iterations=model.posterior.iterations)
        turns[0].rotation.copy_(torch.from_numpy(rotation))


def thresholds(model: Autoencoder, rows: Feed, kind: Literal["zero", "median"]) -> Tensor:
    """Return the threshold of each bit, float32[K].

    Args:
        model: the fine-tuned network.
        rows: the training rows.
        kind: ``zero``, or the ``median`` of each bit's activation over the rows, so that half of them have a 1.
    """
    if kind == "zero":
        return torch.zeros(model.net.shape_out)
    return activations(model, rows).median(0).values.cpu()


def bits(model: Autoencoder, rows: Feed, kind: Literal["zero", "median"]) -> NDArray[np.uint8]:
    """Return the bits of all rows, uint8[N, K], 0 or 1.

    Args:
        model: the fine-tuned network.
        rows: the training rows.
        kind: of the thresholds.
    """
    above = activations(model, rows).cpu() > thresholds(model, rows, kind)
    found: NDArray[np.uint8] = above.numpy().astype(np.uint8)
    return found


def lift(lowest: Autoencoder, rows: Feed) -> float:
    """Return a constant for the embedding, with which the smaller distance is the smaller angle.

    Args:
        lowest: the layer.
        rows: the training rows.
    """
    with torch.no_grad():
        squares = sum(float(lowest.encode(block).mean.square().sum()) for block in rows.blocks())
    return LIFT * math.sqrt(squares / len(rows))


def activations(model: Autoencoder, rows: Feed) -> Tensor:
    """Return the activations of the bits of all rows, before their thresholds, float32[N, K]."""
    with torch.no_grad():
        return torch.cat([model.net.encoder(block).float() for block in rows.blocks()])
