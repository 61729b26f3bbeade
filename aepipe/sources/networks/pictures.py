"""Networks that look at pictures.

Legend: H, W sides of a picture, T tokens, F features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from aepipe.errors import CorruptError
from aepipe.sources.networks.graph import REALS, Graph, digest_of_bytes, pooled, unit, whole_graph


class Backbone:
    """A network for pictures, [1, 3, H, W].

    Its output is [1, F]; or [1, T, F] of tokens or [1, F, h, w] of maps, which become one vector.

    Args:
        file: of the graph, ONNX.
        mean: subtracted from the pixels, 0..255: one number, or one for each channel in the network's order.
        scale: that they are then divided by.
        channels: the order that the network takes: ``rgb`` or ``bgr``.
        pooling: how tokens or maps become one vector; see :data:`aepipe.sources.networks.graph.Pooling`.
        output: that has the features; without it, the first one.
        provider: see :class:`aepipe.sources.networks.graph.Graph`.

    Attributes:
        sha256: of the graph with its weights, hex.

    Raises:
        CorruptError: the file is no such graph.
    """

    def __init__(
        self,
        file: Path,
        *,
        mean: Sequence[float],
        scale: Sequence[float],
        channels: str = "rgb",
        pooling: str = "mean",
        output: str = "",
        provider: str = "cpu",
    ) -> None:
        try:
            data = whole_graph(file, output)
        except OSError as error:
            raise CorruptError(f"{file}: not a network that can be used: {error}") from None
        self._graph = Graph(data, file, output, provider)
        (name, (kind, shape)), *others = self._graph.inputs.items()
        takes = ", ".join(f"{one} {side}" for one, side in self._graph.inputs.values())
        coloured = len(shape) == 4 and (shape[1] == 3 or not isinstance(shape[1], int))
        if others or not coloured or kind not in REALS:
            raise CorruptError(f"{file}: takes {takes}, and float [1, 3, H, W] is what can be given")
        self.sha256 = digest_of_bytes(data)
        self._file, self._input, self._pooling = file, name, pooling
        self._order = slice(None, None, -1 if channels == "bgr" else 1)
        self._mean, self._scale = (np.array(one, np.float32).reshape(-1, 1, 1) for one in (mean, scale))

    @classmethod
    def of(cls, folder: Path, graph: str, seen_by: Mapping[str, Any]) -> Self:
        """Open a network as the features of a source describe it.

        Args:
            folder: with the graph.
            graph: its name.
            seen_by: ``mean`` and ``scale``; and ``channels``, ``pooling``, ``output`` and ``provider`` where they are
                said.

        Raises:
            CorruptError: it cannot be used.
        """
        names = ("mean", "scale", "channels", "pooling", "output", "provider")
        return cls(folder / graph, **{name: seen_by[name] for name in names if name in seen_by})

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float16]:
        """Return the features of uint8[H, W, 3], float16[F], of unit length.

        Raises:
            CorruptError: the network does not take pictures of that size, or its output has another shape.
        """
        channels = np.ascontiguousarray(pixels.transpose(2, 0, 1)[self._order], np.float32)
        prepared = ((channels - self._mean) / self._scale)[None]
        return unit(pooled(self._graph.run({self._input: prepared}), self._pooling), self._file)
