"""ONNX graphs of frozen networks: read whole, cut to one output, and run on one item.

A graph sees one item at a time, on one thread, so that the features of an item do not depend on the items next to it.
On a graphics card it sees those of several threads together, see :mod:`aepipe.sources.networks.together`.
Graphs of half precision and of eight bits are run as they are; what goes in and out is cast.

Legend: T tokens or places of an item, F features, h, w sides of maps.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from aepipe.codes.encoder import has_cuda, session
from aepipe.errors import CorruptError, SourceError
from aepipe.sources.networks.together import Together

Pooling = Literal["cls", "mean", "max", "last", "weighted", "pooler"]
"""How the features of tokens become those of the item; ``pooler`` takes the output of the network's own pooler."""
Provider = Literal["cpu", "cuda"]
"""What a network runs on."""
POOLED = {
    "cls": "the first token",
    "mean": "the mean of the tokens",
    "max": "the maximum of the tokens",
    "last": "the last token",
    "weighted": "the mean of the tokens, later ones counting more",
}
"""What :data:`Pooling` takes of the tokens, in words."""
REALS: Mapping[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
}
"""Types of inputs that take pixels or sound."""
WHOLE_NUMBERS: Mapping[str, type[np.generic]] = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}
"""Types of inputs that take tokens."""
_TYPES = {**REALS, **WHOLE_NUMBERS, "tensor(bool)": np.bool_}
_OPSET = re.compile(r"Opset (\d+) is under development")
_OPSET_LIMIT = re.compile(r"Current official support for domain \S* ?is till opset (\d+)")
_VERSION = re.compile(r"Unsupported model IR version: (\d+), max supported IR version: (\d+)")
_FOREIGN = re.compile(r"Fatal error: (\S+?)\(-?\d+\) is not a registered function/op")


class Graph:
    """An open graph.

    Args:
        data: of the file, with all of its weights.
        file: for messages.
        output: that is wanted; without it, the first one.
        provider: ``cuda`` for a graphics card, where there is one; else ``cpu``.

    Attributes:
        inputs: their types and shapes, by name; a side of any length is a name.
        output: that is computed.

    Raises:
        CorruptError: it cannot be used, or has no such output.
    """

    def __init__(self, data: bytes, file: Path, output: str = "", provider: str = "cpu") -> None:
        self._file = file
        try:
            self._session = session(data, cuda=provider == "cuda")
        except (RuntimeError, ValueError) as error:
            raise CorruptError(f"{file}: not a network that can be used: {_cause(str(error))}") from None
        self.inputs = {one.name: (str(one.type), list(one.shape)) for one in self._session.get_inputs()}
        outputs = [str(one.name) for one in self._session.get_outputs()]
        if output and output not in outputs:
            raise CorruptError(f"{file}: no output {output!r}; it has: {', '.join(outputs)}")
        self.output = output or outputs[0]
        several = provider == "cuda" and all(self.length(name, 0) is None for name in self.inputs)
        self._run = Together(self._outputs) if several else self._outputs

    def length(self, name: str, axis: int) -> int | None:
        """Return the length of an axis of an input; None where it may have any."""
        shape = self.inputs[name][1]
        found = shape[axis] if axis < len(shape) else None
        return found if isinstance(found, int) and found > 0 else None

    def run(self, given: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
        """Return the output for one item.

        Args:
            given: inputs by name; they are cast to the types that the graph takes.

        Raises:
            CorruptError: it cannot be computed.
        """
        kinds = {name: self.inputs[name][0] for name in given}
        if strange := [f"{name} of {kind}" for name, kind in kinds.items() if kind not in _TYPES]:
            raise CorruptError(f"{self._file}: wants {', '.join(strange)}; allowed types: {', '.join(_TYPES)}")
        cast: dict[str, NDArray[Any]] = {
            name: np.ascontiguousarray(value, _TYPES[kinds[name]]) for name, value in given.items()
        }
        try:
            return self._run(cast).astype(np.float64)
        except Exception as error:  # the library's errors have no base in common
            raise CorruptError(f"{self._file}: {first_line(error)}") from None

    def _outputs(self, cast: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        return np.asarray(self._session.run([self.output], dict(cast))[0])


def check_provider(provider: str) -> None:
    """Check that a provider that a recipe names is there.

    Raises:
        SourceError: it is not.
    """
    if provider == "cuda" and not has_cuda():
        raise SourceError(
            'features.provider = "cuda": the installed onnxruntime knows no graphics card; '
            "onnxruntime-gpu in its place does"
        )


def named(provider: str) -> dict[str, str]:
    """Return the provider as the features of a source have it; the processor is not named."""
    return {} if provider == "cpu" else {"provider": provider}


def pooled(found: NDArray[np.float64], pooling: str, counts: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
    """Return the features of an item: [1, F] as they are, those of tokens or maps as one vector.

    Args:
        found: [1, F], [1, T, F] or [1, F, h, w].
        pooling: one of :data:`POOLED`; maps know only ``mean`` and ``max``.
        counts: bool[T], which tokens are the item's own; None for all.
    """
    if found.ndim == 4:
        return np.asarray(found.max(axis=(2, 3)) if pooling == "max" else found.mean(axis=(2, 3)))
    if found.ndim != 3:
        return found
    own = found if counts is None or len(counts) != found.shape[1] else found[:, counts]
    if pooling == "weighted":
        weights = np.arange(1, own.shape[1] + 1, dtype=np.float64)
        return np.asarray(np.einsum("t,btf->bf", weights / weights.sum(), own))
    if pooling in {"cls", "last"}:
        return own[:, 0 if pooling == "cls" else -1]
    return np.asarray(own.max(axis=1) if pooling == "max" else own.mean(axis=1))


def unit(found: NDArray[np.float64], file: Path) -> NDArray[np.float16]:
    """Return the features of one item, [1, F], as float16[F] of unit length.

    Raises:
        CorruptError: they have another shape, or are not finite.
    """
    if found.ndim != 2 or len(found) != 1 or not np.isfinite(found).all():
        raise CorruptError(f"{file}: gives {list(found.shape)} for one item, and [1, F] is wanted")
    length = float(np.sqrt(np.square(found).sum()))
    features: NDArray[np.float16] = (found[0] / max(length, 1e-12)).astype(np.float16)
    return features


def whole_graph(file: Path, output: str = "") -> bytes:
    """Return a graph with all of its weights, also those in files of their own.

    So the store holds, and digests cover, everything that an answer depends on.

    Args:
        file: of the graph.
        output: that is wanted: what only other outputs need is left out, so one tower of two is left. Without it the
            graph stays as it is.

    Raises:
        OSError: a file cannot be read.
        CorruptError: its weights lie outside of its folder, behind a link, or are missing; it is too large for one
            file, which may have 2 GB; or it has no such output.
    """
    data = file.read_bytes()
    if (b"location" not in data and not output) or find_spec("onnx") is None:  # a graph in the store is whole
        return data
    import onnx
    from onnx.external_data_helper import load_external_data_for_model

    try:
        model = onnx.load_model_from_string(data)
        names = sorted({_location(tensor) for tensor in _outside(model)})
        for name in names:
            _check_beside(file, name)
        if names:
            load_external_data_for_model(model, str(file.parent))
        if not (_cut(model, output, file) or names):
            return data
        return bytes(model.SerializeToString(deterministic=True))
    except CorruptError:
        raise
    except Exception as error:  # the library's errors have no base in common
        raise CorruptError(f"{file}: its weights cannot be read: {first_line(error)}") from None


def _cut(model: Any, output: str, file: Path) -> bool:  # noqa: ANN401  onnx has no types
    """Leave out all that an output does not need; return whether there was anything.

    Raises:
        CorruptError: there is no such output.
    """
    graph = model.graph
    names = [one.name for one in graph.output]
    if not output or names == [output]:
        return False
    if output not in names:
        raise CorruptError(f"{file}: no output {output!r}; it has: {', '.join(names)}")
    needed, kept = {output}, []
    for node in reversed(graph.node):
        if needed & set(node.output):
            needed |= _read_by(node)
            kept.append(node)
    for held, wanted in (
        (graph.node, kept[::-1]),
        (graph.initializer, [one for one in graph.initializer if one.name in needed]),
        (graph.sparse_initializer, [one for one in graph.sparse_initializer if one.values.name in needed]),
        (graph.input, [one for one in graph.input if one.name in needed]),
        (graph.output, [one for one in graph.output if one.name == output]),
    ):
        copies = [type(one).FromString(one.SerializeToString()) for one in wanted]
        del held[:]
        held.extend(copies)
    del graph.value_info[:]
    return True


def _read_by(node: Any) -> set[str]:  # noqa: ANN401
    """Return the names that a node reads, also those that the graphs inside of it read."""
    found = set(node.input)
    for attribute in node.attribute:
        for inner in [attribute.g, *attribute.graphs]:
            for one in inner.node:
                found |= _read_by(one)
            found |= {one.name for one in inner.output}
    return found


def _outside(model: Any) -> list[Any]:  # noqa: ANN401
    """Return the tensors of a graph whose values lie in other files."""
    from onnx.external_data_helper import _get_all_tensors, uses_external_data

    return [tensor for tensor in _get_all_tensors(model) if uses_external_data(tensor)]


def _location(tensor: Any) -> str:  # noqa: ANN401
    return next((str(entry.value) for entry in tensor.external_data if entry.key == "location"), "")


def _check_beside(file: Path, name: str) -> None:
    """Refuse weights that do not lie in the folder of their graph.

    Raises:
        CorruptError: they lie elsewhere, or are missing.
    """
    beside = file.parent / name
    inside = beside.parent.resolve().is_relative_to(file.parent.resolve()) and not beside.is_symlink()
    if not name or Path(name).is_absolute() or not inside:
        raise CorruptError(f"{file}: names weights outside of its folder: {name!r}; they have to lie beside it")
    if not beside.is_file():
        raise CorruptError(f"{file}: its weights, {name}, are not beside it; copy that file, too")


def _cause(text: str) -> str:
    """Return why ONNX Runtime does not take a graph, with what to do where that is known."""
    again = "export it again with a lower opset, as by `optimum-cli export onnx --opset 17`, or update onnxruntime"
    if found := _VERSION.search(text):
        return f"written in version {found[1]} of ONNX's format, and this onnxruntime reads up to {found[2]}: {again}"
    if found := _OPSET.search(text):
        limit = _OPSET_LIMIT.search(text)
        upto = f", and this onnxruntime knows up to {limit[1]}" if limit else ""
        return f"needs opset {found[1]}{upto}: {again}"
    if found := _FOREIGN.search(text):
        return f"needs the operator {found[1]}, which onnxruntime does not have: export it without"
    return text.splitlines()[0]


def digest_of(*files: Path) -> str:
    """Return the sha256 over some files, hex."""
    return digest_of_bytes(*(file.read_bytes() for file in files))


def digest_of_bytes(*contents: bytes) -> str:
    """Return the sha256 over some contents, hex."""
    digest = hashlib.sha256()
    for data in contents:
        digest.update(hashlib.sha256(data).digest())
    return digest.hexdigest()


def first_line(error: Exception) -> str:
    """Return the first line of an error's text."""
    return (str(error).splitlines() or [type(error).__name__])[0]
