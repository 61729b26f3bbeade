"""Fine-tuning: the stack unrolled into one deep autoencoder with a binary bottleneck, trained end to end.

Source: Salakhutdinov and Hinton, "Semantic Hashing", 2009.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from aepipe.learn.feed import Feed
from aepipe.learn.layer import Autoencoder
from aepipe.learn.nets import unroll


def deep(layers: Sequence[Autoencoder]) -> Autoencoder:
    """Unroll a stack whose last layer is the layer of bits; it shares the layers' parameters."""
    net = unroll([layer.net for layer in layers], [layer.likelihood for layer in layers])
    return Autoencoder(net, layers[-1].posterior, layers[0].likelihood)


def thresholds(model: Autoencoder, rows: Feed, kind: Literal["zero", "median"]) -> Tensor:
    """Return the threshold of each bit, float32[K].

    Args:
        model: the fine-tuned network.
        rows: the training rows.
        kind: ``zero``, or the ``median`` of each bit's activation over the rows, which makes it one in half of them.
    """
    with torch.no_grad():
        if kind == "zero":
            return torch.zeros(model.net.shape_out)
        activations = torch.cat([model.net.encoder(block).float() for block in rows.blocks()])
        return activations.median(0).values.cpu()
