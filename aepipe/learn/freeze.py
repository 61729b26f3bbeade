"""Freeze a fine-tuned stack into one ONNX graph: preprocessing, weights, thresholds, bits.

Legend: B rows per call, H width of the embedding, K bits.
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from aepipe.learn.layer import Autoencoder

BATCH = 32
OPSET = 20


class Frozen(nn.Module):
    """What the graph computes: decoded items in, embedding, distances from the thresholds and bits out."""

    def __init__(self, layers: Sequence[Autoencoder], threshold_K: Tensor) -> None:
        super().__init__()
        self.below = nn.ModuleList(layer.net.encoder for layer in layers[:-1])
        self.posteriors = [layer.posterior for layer in layers[:-1]]
        self.to_bits = layers[-1].net.encoder
        self.register_buffer("threshold", threshold_K)

    def forward(self, items: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return float32[B, H], float32[B, K] and uint8[B, K] for uint8[B, *shape]."""
        code = items.to(torch.float32) * (1 / 255)
        for encoder, posterior in zip(self.below, self.posteriors, strict=True):
            code = posterior.encode(encoder(code), None).mean
        logits = self.to_bits(code) - self.threshold
        return code.flatten(1), logits, (logits > 0).to(torch.uint8)


def freeze(layers: Sequence[Autoencoder], threshold_K: Tensor, shape: Sequence[int]) -> bytes:
    """Return the graph as the bytes of an ONNX file; equal weights give equal bytes.

    Args:
        layers: the stack, the layer of bits last.
        threshold_K: the threshold of each bit.
        shape: of one decoded item.
    """
    frozen = Frozen(copy.deepcopy(list(layers)), threshold_K).cpu().float().eval()
    items = torch.zeros((BATCH, *shape), dtype=torch.uint8)
    # The exporter reports its own steps and what it does without; none of it is news to whoever trains a stack.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            frozen,
            (items,),
            input_names=["items"],
            output_names=["embedding", "logits", "bits"],
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    assert program is not None
    for node in program.model.graph:
        node.metadata_props.clear()  # the exporter notes source files and stack traces
    program.model.graph.metadata_props.clear()
    program.model.metadata_props.clear()
    graph: bytes = program.model_proto.SerializeToString(deterministic=True)
    return graph
