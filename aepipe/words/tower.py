"""The text half of a model with two towers: a text in, features out.

It is read from the files that exports have: the graph (``text_model.onnx``, or one of the whole model, from which the
text half is cut), ``tokenizer.json``, and where they are there ``config.json`` and ``tokenizer_config.json``.

A text is never padded, so that its features do not depend on a length, unless the graph takes one length only or the
model was trained with padding and no mask, as SigLIP (Zhai et al., 2023).

Legend: T tokens, F features.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aepipe.codes.encoder import session
from aepipe.errors import CorruptError, SourceError
from aepipe.sources.backbone import whole_graph
from aepipe.store import layout

GRAPH, TOKENIZER, SETTINGS = layout.Words.GRAPH, layout.Words.TOKENIZER, layout.Words.SETTINGS
GRAPHS = ("text_model.onnx", "model.onnx")
"""Graphs of a folder, the first that is there; each also below ``onnx/``."""
LONGEST = 77
"""Tokens of a text that are read where the model's files do not say how many."""
PADDED = "siglip"
"""Models whose texts are padded: their names in ``config.json`` begin so."""
OUTPUTS = ("text_embeds", "sentence_embedding", "pooler_output")
"""Outputs that are features of a text; else the first."""
TOKENS, PICTURES = "input_ids", "pixel_values"
"""Inputs of this half and of the other."""


class TextTower:
    """A text half, opened.

    Args:
        graph: ONNX.
        tokenizer: the content of ``tokenizer.json``.
        settings: as :func:`settings_of` gives them.
        named: for messages.

    Raises:
        CorruptError: one of them cannot be used.
    """

    def __init__(self, graph: bytes, tokenizer: str, settings: Mapping[str, Any], named: str) -> None:
        from tokenizers import Tokenizer

        self._named = named
        try:
            self._session = session(graph)
            self._tokenizer = Tokenizer.from_str(tokenizer)
        except Exception as error:  # the libraries' errors have no base in common
            raise CorruptError(f"{named}: no text tower: {_first_line(error)}") from None
        self._inputs = {one.name: _integers(one.type) for one in self._session.get_inputs()}
        if TOKENS not in self._inputs or (strange := set(self._inputs) - set(_given(np.zeros((1, 1), np.int64)))):
            wants = sorted(strange) if TOKENS in self._inputs else sorted(self._inputs)
            raise CorruptError(f"{named}: wants {wants}; input_ids and attention_mask is what can be given")
        outputs = [one.name for one in self._session.get_outputs()]
        self._output = next((name for name in OUTPUTS if name in outputs), outputs[0])
        self._set_lengths(settings)

    @classmethod
    def open(cls, folder: Path) -> TextTower:
        """Open the files of an artifact.

        Raises:
            CorruptError: one of them is missing or cannot be used.
        """
        try:
            settings = json.loads((folder / SETTINGS).read_bytes())
            graph, tokenizer = (folder / GRAPH).read_bytes(), (folder / TOKENIZER).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise CorruptError(f"{folder}: no text tower: {error}; `aepipe verify` lists the damage") from None
        return cls(graph, tokenizer, settings, str(folder))

    def vocabulary(self) -> dict[str, int]:
        """Return the tokens that are not added to the model's own, with their numbers."""
        found: dict[str, int] = self._tokenizer.get_vocab(with_added_tokens=False)
        return found

    def token(self, number: int) -> str:
        """Return the text of one token."""
        found: str = self._tokenizer.decode([number])
        return found

    def __call__(self, text: str) -> NDArray[np.float64]:
        """Return the features of a text, float64[F], of unit length.

        Raises:
            CorruptError: the network fails, or its output has another shape.
        """
        tokens = np.array([self._tokenizer.encode(text).ids], np.int64)
        given = {name: one.astype(self._inputs[name]) for name, one in _given(tokens).items() if name in self._inputs}
        try:
            found = np.asarray(self._session.run([self._output], given)[0], np.float64)
        except Exception as error:  # the library's errors have no base in common
            raise CorruptError(f"{self._named}: {_first_line(error)}") from None
        found = found.mean(axis=1) if found.ndim == 3 else found
        if found.ndim != 2 or len(found) != 1 or not np.isfinite(found).all():
            raise CorruptError(f"{self._named}: gives {list(found.shape)} for one text, and [1, F] is wanted")
        unit: NDArray[np.float64] = found[0] / max(float(np.linalg.norm(found[0])), 1e-12)
        return unit

    def _set_lengths(self, settings: Mapping[str, Any]) -> None:
        shape = next(one.shape for one in self._session.get_inputs() if one.name == TOKENS)
        fixed = shape[1] if len(shape) == 2 and isinstance(shape[1], int) and shape[1] > 1 else None
        longest = fixed or settings.get("longest") or LONGEST
        padding = self._tokenizer.padding or {}
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(longest)
        if fixed or settings.get("padded"):
            number, token = settings.get("pad_id", padding.get("pad_id", 0)), padding.get("pad_token", "[PAD]")
            self._tokenizer.enable_padding(length=longest, pad_id=number, pad_token=token)


def files_of(place: Path) -> dict[str, bytes]:
    """Return the files of a text tower by their names in the store: graph, tokenizer, settings.

    Args:
        place: a folder, or a graph; ``tokenizer.json`` lies beside the graph or one folder above.

    Raises:
        SourceError: there is no such folder or file, or no tokenizer.
        CorruptError: the graph cannot be read.
    """
    graph = _graph_at(place)
    folders = (graph.parent, graph.parent.parent) if graph.parent.name == "onnx" else (graph.parent,)
    tokenizer = next((file for folder in folders if (file := folder / TOKENIZER).is_file()), None)
    if tokenizer is None:
        raise SourceError(f"{place}: no {TOKENIZER} beside {graph.name}; words are cut into tokens by it")
    network, settings = _text_half(graph), json.dumps(settings_of(tokenizer.parent), sort_keys=True)
    return {GRAPH: network, TOKENIZER: tokenizer.read_bytes(), SETTINGS: settings.encode()}


def settings_of(folder: Path) -> dict[str, Any]:
    """Return what the files of a model say about its texts.

    ``longest`` tokens are read, ``padded`` tells whether shorter texts are filled up to that, with ``pad_id``.
    """
    config, tokenizer = (_object(folder / name) for name in ("config.json", "tokenizer_config.json"))
    text = config.get("text_config") or config
    found: dict[str, Any] = {}
    limits = (text.get("max_position_embeddings"), tokenizer.get("model_max_length"))
    # Some files say that there is no limit with a very large number.
    sizes = [int(one) for one in limits if isinstance(one, int | float) and 1 < one < 1e5]
    found["longest"] = min(sizes, default=LONGEST)
    kinds = (config.get("model_type"), text.get("model_type"))
    found["padded"] = any(isinstance(one, str) and one.startswith(PADDED) for one in kinds)
    if isinstance(text.get("pad_token_id"), int):
        found["pad_id"] = text["pad_token_id"]
    return found


def _graph_at(place: Path) -> Path:
    if place.is_file():
        return place
    for name in GRAPHS:
        for file in (place / name, place / "onnx" / name):
            if file.is_file():
                return file
    raise SourceError(
        f"{place}: no text tower; allowed: a folder with {' or '.join(GRAPHS)} and {TOKENIZER}, or such a file"
    )


def _text_half(file: Path) -> bytes:
    """Return the graph of a text tower; of one that also takes pictures, the half that reads text.

    Raises:
        CorruptError: it cannot be read.
    """
    try:
        data = whole_graph(file)
        inputs = [one.name for one in session(data).get_inputs()]
    except (OSError, RuntimeError) as error:
        raise CorruptError(f"{file}: not a network that can be used: {_first_line(error)}") from None
    return _cut(data, file) if {PICTURES, TOKENS} <= set(inputs) else data


def _cut(data: bytes, file: Path) -> bytes:
    import onnx
    from onnx.utils import Extractor

    model = onnx.load_model_from_string(data)
    outputs = [one.name for one in model.graph.output if one.name in OUTPUTS]
    wanted = [one.name for one in model.graph.input if one.name != PICTURES]
    try:
        half = Extractor(model).extract_model(wanted, outputs[:1])
        return bytes(half.SerializeToString(deterministic=True))
    except Exception as error:  # the library's errors have no base in common
        raise CorruptError(f"{file}: its text half cannot be cut out: {_first_line(error)}") from None


def _given(tokens: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    """Return all inputs that a text tower may want for tokens, int64[1, T]."""
    places = np.arange(tokens.shape[1])[None]
    return {
        TOKENS: tokens,
        "attention_mask": np.ones_like(tokens),
        "token_type_ids": np.zeros_like(tokens),
        "position_ids": places,
    }


def _integers(kind: str) -> type[np.signedinteger[Any]]:
    return np.int32 if kind == "tensor(int32)" else np.int64


def _object(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
