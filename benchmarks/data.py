"""Real data for benchmarks."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np


def fashion_mnist(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the training and test images of a folder of gzipped IDX files, uint8[N, 28, 28, 1]."""
    parts = []
    for name in ("train", "t10k"):
        raw = gzip.decompress((folder / f"{name}-images-idx3-ubyte.gz").read_bytes())
        parts.append(np.frombuffer(raw, np.uint8, offset=16).reshape(-1, 28, 28, 1))
    return parts[0], parts[1]
