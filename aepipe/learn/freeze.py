"""Freeze a fine-tuned stack into ONNX graphs: preprocessing, weights, thresholds, bits; and the way back.

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
        """Return float32[B, H], float32[B, K] and uint8[B, K] for uint8 or float32 [B, *shape]; NaN is missing."""
        code = items * (1 / 255) if items.dtype == torch.uint8 else items
        for encoder, posterior in zip(self.below, self.posteriors, strict=True):
            code = posterior.encode(encoder(code), None).mean
        logits = self.to_bits(code) - self.threshold
        return code.flatten(1), logits, (logits > 0).to(torch.uint8)


def freeze(layers: Sequence[Autoencoder], threshold_K: Tensor, shape: Sequence[int], dtype: str = "uint8") -> bytes:
    """Return the graph as the bytes of an ONNX file; equal weights give equal bytes.

    Args:
        layers: the stack, the layer of bits last.
        threshold_K: the threshold of each bit.
        shape: of one decoded item.
        dtype: of one; kinds of floats come in as float32.
    """
    frozen = Frozen(copy.deepcopy(list(layers)), threshold_K)
    items = torch.zeros((BATCH, *shape), dtype=torch.uint8 if dtype == "uint8" else torch.float32)
    return exported(frozen, items, {"items": ["embedding", "logits", "bits"]})


class Rebuilding(nn.Module):
    """What the other graph computes: bits in, the expected item out."""

    def __init__(self, model: Autoencoder) -> None:
        super().__init__()
        self.decoder = model.net.decoder
        self._likelihood = model.likelihood

    def forward(self, bits: Tensor) -> Tensor:
        """Return float32[B, *shape] for uint8[B, K]."""
        return self._likelihood.mean(self.decoder(2 * bits.to(torch.float32) - 1))


def freeze_decoder(model: Autoencoder) -> bytes:
    """Return the way back as the bytes of an ONNX file; the number of items is free.

    Args:
        model: the unrolled stack.
    """
    bits = torch.zeros((BATCH, *model.net.shape_out), dtype=torch.uint8)
    return exported(Rebuilding(copy.deepcopy(model)), bits, {"bits": ["items"]}, free=0)


def exported(module: nn.Module, example: Tensor, names: dict[str, list[str]], *, free: int | None = None) -> bytes:
    """Return a module of one input as an ONNX file.

    Args:
        module: what it computes.
        example: an input.
        names: of the input, and with it those of the outputs.
        free: which axis of the input may have any length; None for none.
    """
    (given, found), *_ = names.items()
    # The exporter reports its own steps and what it does without; none of it is news to whoever trains a stack.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module.cpu().float().eval(),
            (example,),
            input_names=[given],
            output_names=found,
            dynamic_shapes=None if free is None else ({free: "length"},),
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
