"""A sentence encoder below the stack: text in, the features of a row out.

The graph sees one text at a time, on one thread, and no padding: so its features do not depend on what stands beside.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aepipe.encoder import session
from aepipe.errors import CorruptError
from aepipe.sources.decoders.backbone import GRAPH, digest_of, unit

TOKENIZER = "tokenizer.json"
LONGEST = 256
"""Tokens of a text that are read, with those that mark its beginning and end."""
_KNOWN = ("input_ids", "attention_mask", "token_type_ids")


class Sentences:
    """A network whose first output is [1, F], or [1, T, F] to be averaged, and its tokenizer.

    Args:
        folder: with the network and ``tokenizer.json``, as the library tokenizers has it.
        graph: name of the network's file, ONNX.

    Attributes:
        sha256: of both files, hex.

    Raises:
        CorruptError: one of them cannot be used.
    """

    def __init__(self, folder: Path, graph: str = GRAPH) -> None:
        from tokenizers import Tokenizer

        try:
            self._session = session((folder / graph).read_bytes())
            self._tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        except Exception as error:  # the libraries' errors have no base in common
            raise CorruptError(f"{folder}: no sentence encoder: {str(error).splitlines()[0]}") from None
        self._inputs = [one.name for one in self._session.get_inputs()]
        if strange := set(self._inputs) - set(_KNOWN):
            raise CorruptError(f"{folder / graph}: wants {sorted(strange)}; {', '.join(_KNOWN)} is what can be given")
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(LONGEST)
        self._file = folder / graph
        self.sha256 = digest_of(self._file, folder / TOKENIZER)

    def __call__(self, text: str) -> NDArray[np.float16]:
        """Return the features of a text, float16[F], of unit length.

        Raises:
            CorruptError: the network gives something else.
        """
        tokens = np.array([self._tokenizer.encode(text).ids], np.int64)
        given = {"input_ids": tokens, "attention_mask": np.ones_like(tokens), "token_type_ids": np.zeros_like(tokens)}
        try:
            found = np.asarray(self._session.run(None, {name: given[name] for name in self._inputs})[0], np.float64)
        except Exception as error:  # the library's errors have no base in common
            raise CorruptError(f"{self._file}: {str(error).splitlines()[0]}") from None
        return unit(found.mean(axis=1) if found.ndim == 3 else found, self._file)
