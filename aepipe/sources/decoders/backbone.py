"""A frozen network below the stack: decoded pixels in, the features of a row out.

The graph sees one picture at a time, on one thread: so a picture's features do not depend on those beside it. Several
threads may each show it a picture. Legend: H, W sides of a picture, F features.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aepipe.encoder import session
from aepipe.errors import CorruptError

GRAPH = "backbone.onnx"


class Backbone:
    """A network whose input is float32[1, 3, H, W], and whose first output is [1, F], or [1, F, h, w] to be averaged.

    Args:
        file: of the graph, ONNX.
        mean: taken from the pixels, 0..255: one number, or one for each of red, green and blue.
        scale: what they are then divided by.

    Attributes:
        sha256: of the file, hex.

    Raises:
        CorruptError: the file is no such graph.
    """

    def __init__(self, file: Path, *, mean: Sequence[float], scale: Sequence[float]) -> None:
        try:
            self._session = session(file.read_bytes())
            (given,) = self._session.get_inputs()
        except (OSError, RuntimeError, ValueError) as error:
            raise CorruptError(f"{file}: not a network that can be used: {str(error).splitlines()[0]}") from None
        if len(given.shape) != 4 or given.shape[1] != 3 or given.type != "tensor(float)":
            raise CorruptError(f"{file}: takes {given.type} {given.shape}, and float [1, 3, H, W] is what can be given")
        self.sha256 = digest_of(file)
        self._file = file
        self._input = given.name
        self._mean, self._scale = (np.array(one, np.float32).reshape(-1, 1, 1) for one in (mean, scale))

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float16]:
        """Return the features of uint8[H, W, 3], float16[F], of unit length.

        Raises:
            CorruptError: the network does not take pictures of that size, or gives something else.
        """
        channels = np.ascontiguousarray(pixels.transpose(2, 0, 1), np.float32)
        prepared = ((channels - self._mean) / self._scale)[None]
        try:
            found = np.asarray(self._session.run(None, {self._input: prepared})[0], np.float64)
        except Exception as error:  # the library's errors have no base in common
            raise CorruptError(f"{self._file}: {str(error).splitlines()[0]}") from None
        if found.ndim == 4:
            found = found.mean(axis=(2, 3))
        return unit(found, self._file)


def unit(found: NDArray[np.float64], file: Path) -> NDArray[np.float16]:
    """Return the features of one item, [1, F], as float16[F] of unit length.

    Raises:
        CorruptError: they are none; the text names the file of the network.
    """
    if found.ndim != 2 or len(found) != 1 or not np.isfinite(found).all():
        raise CorruptError(f"{file}: gives {list(found.shape)} for one item, and [1, F] is wanted")
    length = float(np.sqrt(np.square(found).sum()))
    features: NDArray[np.float16] = (found[0] / max(length, 1e-12)).astype(np.float16)
    return features


def digest_of(*files: Path) -> str:
    """Return the sha256 over some files, hex."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()
