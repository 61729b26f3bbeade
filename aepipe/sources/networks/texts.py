"""Networks that read texts, with their tokenizers.

Legend: T tokens, F features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from aepipe.errors import CorruptError
from aepipe.sources.networks.graph import Graph, digest_of, digest_of_bytes, first_line, pooled, unit, whole_graph
from aepipe.store import layout

LONGEST = 256
"""Tokens of a text that are read, including those that mark its beginning and end, where nothing else is said."""
ENGINE = "engine"
"""Under this name features of a source say which program reads, where it is no graph."""
_INPUTS = ("input_ids", "attention_mask", "token_type_ids", "position_ids")

Sort = Literal["query", "passage"]
"""What a text is: a question of some words, or what is searched."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How a network reads texts.

    Attributes:
        output: that has the features; empty for the first one.
        pooling: how tokens become one vector; see :data:`aepipe.sources.networks.graph.Pooling`.
        longest: tokens that are read; the rest of a text is left out.
        length: tokens that every text is filled up to; 0 for none.
        filler: the token that it is filled up with.
        unmasked: whether the network looks at these, too.
        lower: whether texts are put into lower case first.
        prompts: what a text begins with, by its sort; empty for nothing.
    """

    output: str = ""
    pooling: str = "mean"
    longest: int = LONGEST
    length: int = 0
    filler: int = 0
    unmasked: bool = False
    lower: bool = False
    prompts: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return it for the features of a source."""
        return {**asdict(self), "prompts": dict(self.prompts)}

    @classmethod
    def of(cls, read_by: Mapping[str, Any]) -> Self:
        """Return what :meth:`to_json` wrote; other names are passed over."""
        return cls(**{one.name: read_by[one.name] for one in fields(cls) if one.name in read_by})


class TextNetwork(Protocol):
    """What reads texts."""

    @property
    def sha256(self) -> str:
        """The sha256 over its files, hex."""

    def __call__(self, text: str, sort: Sort = "passage") -> NDArray[np.float16]:
        """Return the features of a text, float16[F], of unit length."""


def opened(folder: Path, read_by: Mapping[str, Any]) -> TextNetwork:
    """Open a network as the features of a source describe it.

    Args:
        folder: with its files, by their names in a store.
        read_by: what :class:`Reading` has, or the name of an engine.

    Raises:
        CorruptError: it cannot be used.
    """
    if ENGINE in read_by:
        from aepipe.sources.networks.native import NativeEncoder

        return NativeEncoder(folder)
    return SentenceEncoder(folder, reading=Reading.of(read_by), provider=read_by.get("provider", "cpu"))


def digest_in(folder: Path, read_by: Mapping[str, Any]) -> str:
    """Return what :attr:`TextNetwork.sha256` will be, without opening the network."""
    if ENGINE in read_by:
        from aepipe.sources.networks.native import native_digest

        return native_digest(folder)
    return digest_of(folder / layout.Backbone.GRAPH, folder / layout.Backbone.TOKENIZER)


class SentenceEncoder:
    """A network for text, with its tokenizer.

    Its output is [1, F], or [1, T, F] of tokens, which become one vector.

    Args:
        folder: with the network and ``tokenizer.json``, as the library tokenizers writes it.
        graph: name of the network's file, ONNX.
        reading: how it reads; None as a network of which nothing is said.
        tokenizer: the file, where it lies elsewhere.
        provider: see :class:`aepipe.sources.networks.graph.Graph`.

    Raises:
        CorruptError: one of them cannot be used.
    """

    def __init__(
        self,
        folder: Path,
        graph: str = layout.Backbone.GRAPH,
        reading: Reading | None = None,
        tokenizer: Path | None = None,
        provider: str = "cpu",
    ) -> None:
        from tokenizers import Tokenizer

        self._reading = reading or Reading()
        self._file, self._tokens = folder / graph, tokenizer or folder / layout.Backbone.TOKENIZER
        try:
            network = whole_graph(self._file, self._reading.output)
            self._tokenizer = Tokenizer.from_file(str(self._tokens))
        except CorruptError:
            raise
        except Exception as error:  # the libraries' errors have no base in common
            raise CorruptError(f"{folder}: no sentence encoder: {first_line(error)}") from None
        self._graph = Graph(network, self._file, self._reading.output, provider)
        if strange := set(self._graph.inputs) - set(_INPUTS):
            raise CorruptError(f"{self._file}: wants {sorted(strange)}; {', '.join(_INPUTS)} is what can be given")
        # A tokenizer's file may ask for padding, which would make features depend on its length.
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(self._reading.longest)

    @cached_property
    def sha256(self) -> str:
        """The sha256 over both files, hex; words of a release need none, and networks are large."""
        return digest_of_bytes(whole_graph(self._file, self._reading.output), self._tokens.read_bytes())

    def __call__(self, text: str, sort: Sort = "passage") -> NDArray[np.float16]:
        """Return the features of a text, float16[F], of unit length.

        Raises:
            CorruptError: the network fails, or its output has another shape.
        """
        how = self._reading
        asked = how.prompts.get(sort, "") + text
        found = self._tokenizer.encode(asked.lower() if how.lower else asked).ids
        missing = max(0, how.length - len(found))
        tokens = np.array([*found, *[how.filler] * missing], np.int64)
        own = np.arange(len(tokens)) < (len(tokens) if how.unmasked else len(found))
        given = {
            "input_ids": tokens,
            "attention_mask": own.astype(np.int64),
            "token_type_ids": np.zeros_like(tokens),
            "position_ids": np.arange(len(tokens)),
        }
        made = self._graph.run({name: given[name][None] for name in self._graph.inputs})
        return unit(pooled(made, how.pooling, own), self._file)
